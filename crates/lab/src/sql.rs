//! The shop as a database.

use std::fmt::Write as _;

use crate::shop;

/// The tables of the shop and all of its rows, as one SQL script that SQLite and PostgreSQL take:
/// `customers(id, name, email, city, created_at)` and `orders(id, customer_id, status, total, created_at)`. Whoever
/// runs it does so in one transaction.
///
/// By the sum of their orders the first two of the 243 customers are Acme Corp with 150,000 and Beta Inc with
/// 120,000; nobody else comes near.
#[must_use]
pub fn shop_sql() -> String {
    let mut script = String::from(SCHEMA);
    for c in shop::customers() {
        let line = format!(
            "INSERT INTO customers VALUES ({}, {}, {}, {}, {});\n",
            c.id,
            text(&c.name),
            text(&c.email),
            text(c.city),
            text(&c.created_at)
        );
        script.push_str(&line);
    }
    for o in shop::customers().flat_map(|c| shop::orders(c.id)) {
        let (status, created_at) = (text(o.status), text(&o.created_at));
        writeln!(
            script,
            "INSERT INTO orders VALUES ({}, {}, {status}, {}, {created_at});",
            o.id, o.customer_id, o.total
        )
        .expect("a string takes all that is written");
    }
    script
}

const SCHEMA: &str = "\
CREATE TABLE customers (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  email TEXT NOT NULL,
  city TEXT NOT NULL,
  created_at TEXT NOT NULL
);
CREATE TABLE orders (
  id INTEGER PRIMARY KEY,
  customer_id INTEGER NOT NULL REFERENCES customers (id),
  status TEXT NOT NULL,
  total INTEGER NOT NULL,
  created_at TEXT NOT NULL
);
CREATE INDEX orders_by_customer ON orders (customer_id);
";

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
