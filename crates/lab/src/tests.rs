use std::collections::{BTreeMap, BTreeSet};

use expect_test::{Expect, expect};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tool::StopSource;

use super::*;

/// Asks the running API and shows status line and body.
async fn ask(address: SocketAddr, target: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    format!("{}\n{body}", head.lines().next().unwrap())
}

async fn check(targets: &[&str], expected: Expect) {
    let api = ShopApi::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = api.local_addr();
    let (source, stop) = StopSource::new();
    let running = tokio::spawn(api.run(stop));
    let mut seen = String::new();
    for target in targets {
        seen.push_str(&format!("{target}\n{}\n\n", ask(address, target).await));
    }
    source.ask();
    running.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "the port is free again");
    expected.assert_eq(&seen);
}

#[tokio::test]
async fn the_api_answers() {
    check(
        &[
            "/health",
            "/customers/42",
            "/customers/7",
            "/customers/243",
            "/customers?limit=2&offset=241",
            "/customers/42/orders",
            "/customers/42/orders?status=completed",
            "/slow?ms=1",
        ],
        expect![[r#"
            /health
            HTTP/1.1 200 OK
            {"status":"ok"}

            /customers/42
            HTTP/1.1 200 OK
            {"id":42,"name":"Acme Corp","email":"contact@acme.com","city":"Porto","created_at":"2024-07-15T09:42:00Z"}

            /customers/7
            HTTP/1.1 200 OK
            {"id":7,"name":"Beta Inc","email":"contact@beta.example","city":"Tartu","created_at":"2024-08-08T09:07:00Z"}

            /customers/243
            HTTP/1.1 200 OK
            {"id":243,"name":"Copper Gardens","email":"contact@copper-gardens.example","city":"Turin","created_at":"2024-04-20T09:03:00Z"}

            /customers?limit=2&offset=241
            HTTP/1.1 200 OK
            {"customers":[{"id":242,"name":"Copper Books","email":"contact@copper-books.example","city":"Porto","created_at":"2024-03-19T09:02:00Z"},{"id":243,"name":"Copper Gardens","email":"contact@copper-gardens.example","city":"Turin","created_at":"2024-04-20T09:03:00Z"}],"limit":2,"offset":241,"total_count":243}

            /customers/42/orders
            HTTP/1.1 200 OK
            {"customer_id":42,"orders":[{"id":420,"customer_id":42,"status":"completed","total":40000,"created_at":"2025-07-15T09:42:00Z"},{"id":421,"customer_id":42,"status":"pending","total":35000,"created_at":"2025-02-18T09:13:00Z"},{"id":422,"customer_id":42,"status":"pending","total":30000,"created_at":"2025-09-21T09:44:00Z"},{"id":423,"customer_id":42,"status":"cancelled","total":25000,"created_at":"2025-04-24T09:15:00Z"},{"id":424,"customer_id":42,"status":"completed","total":15000,"created_at":"2025-11-27T09:46:00Z"},{"id":425,"customer_id":42,"status":"completed","total":5000,"created_at":"2025-06-02T09:17:00Z"}]}

            /customers/42/orders?status=completed
            HTTP/1.1 200 OK
            {"customer_id":42,"orders":[{"id":420,"customer_id":42,"status":"completed","total":40000,"created_at":"2025-07-15T09:42:00Z"},{"id":424,"customer_id":42,"status":"completed","total":15000,"created_at":"2025-11-27T09:46:00Z"},{"id":425,"customer_id":42,"status":"completed","total":5000,"created_at":"2025-06-02T09:17:00Z"}]}

            /slow?ms=1
            HTTP/1.1 200 OK
            {"waited_ms":1}

        "#]],
    )
    .await;
}

#[tokio::test]
async fn what_it_does_not_know_is_refused_in_json() {
    check(
        &[
            "/customers/0",
            "/customers/244",
            "/customers/acme",
            "/customers/42/orders?status=lost",
            "/customers?limit=0",
            "/customers?limit=ten",
            "/slow?ms=-1",
            "/nothing",
        ],
        expect![[r#"
            /customers/0
            HTTP/1.1 404 Not Found
            {"error":"there is no such customer"}

            /customers/244
            HTTP/1.1 404 Not Found
            {"error":"there is no such customer"}

            /customers/acme
            HTTP/1.1 404 Not Found
            {"error":"there is no such customer"}

            /customers/42/orders?status=lost
            HTTP/1.1 400 Bad Request
            {"error":"status must be all, completed, pending or cancelled"}

            /customers?limit=0
            HTTP/1.1 400 Bad Request
            {"error":"limit must be 1 to 1000"}

            /customers?limit=ten
            HTTP/1.1 400 Bad Request
            {"error":"limit and offset must be whole numbers"}

            /slow?ms=-1
            HTTP/1.1 400 Bad Request
            {"error":"ms must be a whole number"}

            /nothing
            HTTP/1.1 404 Not Found
            {"error":"there is no such page"}

        "#]],
    )
    .await;
}

#[test]
fn acme_and_beta_lead_and_every_name_is_one_customers() {
    let mut totals = BTreeMap::new();
    let (mut names, mut orders) = (BTreeSet::new(), BTreeSet::new());
    for customer in shop::customers() {
        let bought = shop::orders(customer.id);
        assert!(!bought.is_empty(), "{customer:?} has ordered nothing");
        assert!(bought.iter().all(|order| orders.insert(order.id)), "an order id twice");
        assert!(names.insert(customer.name.clone()), "{customer:?} twice");
        totals.insert(bought.iter().map(|order| order.total).sum::<u32>(), customer.name);
    }
    let lead: Vec<_> = totals.iter().rev().take(3).collect();
    expect![[r#"
        [
            (
                150000,
                "Acme Corp",
            ),
            (
                120000,
                "Beta Inc",
            ),
            (
                77427,
                "Zephyr Gardens",
            ),
        ]
    "#]]
    .assert_debug_eq(&lead);
    assert_eq!(names.len(), CUSTOMERS as usize);
    let used: BTreeSet<_> = shop::customers().flat_map(|c| shop::orders(c.id)).map(|o| o.status).collect();
    assert_eq!(used, shop::STATUSES.into_iter().collect());
}

#[test]
fn the_script_has_a_row_for_everyone() {
    let script = shop_sql();
    assert_eq!(script.matches("INSERT INTO customers ").count(), CUSTOMERS as usize);
    let lines = script.lines().filter(|line| line.contains("(42, 'Acme") || line.contains(" 42, "));
    expect![[r#"
        INSERT INTO customers VALUES (42, 'Acme Corp', 'contact@acme.com', 'Porto', '2024-07-15T09:42:00Z');
        INSERT INTO orders VALUES (420, 42, 'completed', 40000, '2025-07-15T09:42:00Z');
        INSERT INTO orders VALUES (421, 42, 'pending', 35000, '2025-02-18T09:13:00Z');
        INSERT INTO orders VALUES (422, 42, 'pending', 30000, '2025-09-21T09:44:00Z');
        INSERT INTO orders VALUES (423, 42, 'cancelled', 25000, '2025-04-24T09:15:00Z');
        INSERT INTO orders VALUES (424, 42, 'completed', 15000, '2025-11-27T09:46:00Z');
        INSERT INTO orders VALUES (425, 42, 'completed', 5000, '2025-06-02T09:17:00Z');"#]]
    .assert_eq(&lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn it_stays_on_loopback() {
    let config: Config = serde_json::from_str(r#"{"shop_api": {"listen": "0.0.0.0:8098"}}"#).unwrap();
    let faults: Vec<_> = config.check().iter().map(ToString::to_string).collect();
    expect![[r#"
        [
            "/lab/shop_api/listen: 0.0.0.0:8098 is not a loopback address, and the sample API asks for no key (use 127.0.0.1:8098)",
        ]
    "#]].assert_debug_eq(&faults);
    let config: Config = serde_json::from_str(r#"{"shop_api": {}}"#).unwrap();
    assert_eq!(config.check(), []);
    assert_eq!(config.shop_api.unwrap().listen.to_string(), "127.0.0.1:8098");
}
