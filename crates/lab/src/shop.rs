//! The shop's table: who buys, and what they bought.

use serde::Serialize;

use crate::CUSTOMERS;

/// The customer that the documentation knows: the largest.
pub(crate) const ACME: u32 = 42;
/// The second largest.
pub(crate) const BETA: u32 = 7;

/// What orders come to.
pub(crate) const STATUSES: [&str; 3] = ["completed", "pending", "cancelled"];

const FIRST: [&str; 27] = [
    "Amber", "Birch", "Cedar", "Delta", "Ember", "Fjord", "Granite", "Harbor", "Indigo", "Juniper",
    "Keystone", "Linden", "Meadow", "North", "Orchard", "Prairie", "Quarry", "River", "Summit", "Timber",
    "Umber", "Valley", "Willow", "Xenon", "Yarrow", "Zephyr", "Copper",
];
const SECOND: [&str; 9] =
    ["Foods", "Labs", "Works", "Supply", "Media", "Textiles", "Motors", "Books", "Gardens"];
const CITIES: [&str; 8] = ["Lisbon", "Oslo", "Porto", "Turin", "Ghent", "Cork", "Graz", "Tartu"];

/// One customer. The order of the members is the order in answers.
#[derive(Debug, Serialize)]
pub(crate) struct Customer {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) city: &'static str,
    pub(crate) created_at: String,
}

/// One order.
#[derive(Debug, Serialize)]
pub(crate) struct Order {
    pub(crate) id: u32,
    pub(crate) customer_id: u32,
    pub(crate) status: &'static str,
    /// In whole units of the shop's currency.
    pub(crate) total: u32,
    pub(crate) created_at: String,
}

/// The customer of this id, where there is one.
pub(crate) fn customer(id: u32) -> Option<Customer> {
    if !(1..=CUSTOMERS).contains(&id) {
        return None;
    }
    let (name, email) = match id {
        ACME => ("Acme Corp".to_owned(), "contact@acme.com".to_owned()),
        BETA => ("Beta Inc".to_owned(), "contact@beta.example".to_owned()),
        _ => {
            let (first, second) = (FIRST[(id as usize - 1) / 9], SECOND[(id as usize - 1) % 9]);
            let host = format!("{first}-{second}").to_lowercase();
            (format!("{first} {second}"), format!("contact@{host}.example"))
        }
    };
    Some(Customer { id, name, email, city: CITIES[id as usize % CITIES.len()], created_at: day(2024, id) })
}

/// All customers, by id.
pub(crate) fn customers() -> impl Iterator<Item = Customer> {
    (1..=CUSTOMERS).filter_map(customer)
}

/// What this customer ordered, by id. Everyone has ordered something; only Acme and Beta reach 120,000 in all.
pub(crate) fn orders(customer_id: u32) -> Vec<Order> {
    let totals: Vec<u32> = match customer_id {
        ACME => vec![40_000, 35_000, 30_000, 25_000, 15_000, 5_000],
        BETA => vec![50_000, 30_000, 20_000, 15_000, 5_000],
        _ => (0..1 + customer_id % 5).map(|nth| 250 + scatter(customer_id, nth) % 19_750).collect(),
    };
    (0..)
        .zip(totals)
        .map(|(nth, total)| Order {
            id: customer_id * 10 + nth,
            customer_id,
            status: status(customer_id, nth),
            total,
            created_at: day(2025, customer_id + nth * 31),
        })
        .collect()
}

/// Most orders are completed, and everyone's first is.
fn status(customer_id: u32, nth: u32) -> &'static str {
    match (nth, scatter(nth, customer_id) % 8) {
        (0, _) | (_, 3..) => STATUSES[0],
        (_, 1 | 2) => STATUSES[1],
        _ => STATUSES[2],
    }
}

/// A number that looks like chance and is always the same.
fn scatter(customer_id: u32, nth: u32) -> u32 {
    (customer_id * 2_654_435 + nth * 40_503).wrapping_mul(2_246_822_519) >> 7
}

fn day(year: u32, nth: u32) -> String {
    format!("{year}-{:02}-{:02}T09:{:02}:00Z", 1 + nth % 12, 1 + nth % 28, nth % 60)
}
