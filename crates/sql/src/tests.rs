//! The room as the gate sees it, over a small shop on disk.

mod configs;
mod hidden;
mod hostile;
mod stopping;

use std::{path::Path, sync::Arc, time::Duration};

use expect_test::{Expect, expect};
use serde_json::{Value, json};
use tool::{Body, Fault, PrincipalKind, ProbeState, Provider, Reply};

use super::*;

/// SQLite's memory bound is one for the whole process: what runs into it on purpose runs alone.
pub(crate) static MEMORY: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());

pub(crate) const SHOP: &str = "
    CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT, ssn TEXT,
        shout TEXT GENERATED ALWAYS AS (upper(name)) VIRTUAL);
    INSERT INTO customers VALUES (1, 'Acme Corp', 'contact@acme.com', '1-2'), (2, 'Beta Inc', NULL, '3-4'),
        (3, 'O''Hara \u{1F600}', 'o@hara.ie', NULL);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers, total INTEGER,
        extra TEXT);
    INSERT INTO orders VALUES (1, 1, 100, '{\"gift\": true}'), (2, 1, 50, NULL), (3, 2, 120, '[1, 2]'),
        (4, 3, 9007199254740993, NULL);
    CREATE INDEX orders_by_customer ON orders (customer_id);
    CREATE TABLE odd (a, a_2, raw BLOB, real REAL);
    INSERT INTO odd VALUES (-9223372036854775808, 9223372036854775807, x'00ff10', 1e400), (NULL, '', x'', 0.1);
    CREATE TABLE tags (name TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID;
    CREATE TABLE secrets (k TEXT, v TEXT);
    INSERT INTO secrets VALUES ('root', 'hunter2');
    CREATE VIEW big_orders AS SELECT * FROM orders WHERE total > 60;
    CREATE VIEW leak AS SELECT * FROM secrets;
    CREATE TRIGGER watch AFTER INSERT ON tags BEGIN INSERT INTO secrets VALUES ('t', 't'); END;
    CREATE VIRTUAL TABLE docs USING fts5(title, body);
    INSERT INTO docs VALUES ('jail', 'paths beneath a root'), ('gate', 'one road');
    CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1);
    INSERT INTO boxes VALUES (1, 0, 1);
";

/// The shop, with everything shown to free SQL but the table `secrets`, the view on it and a column.
pub(crate) fn config() -> Config {
    let tables = ["customers", "orders", "odd", "tags", "big_orders", "docs", "boxes"];
    let exposure = ExposureConfig {
        tables: tables.map(str::to_owned).into(),
        columns_hidden: vec!["customers.ssn".into()],
        functions: Vec::new(),
    };
    let shop = DatabaseConfig { query: Some(exposure), ..DatabaseConfig::sqlite("shop.db") };
    let mut config = Config { databases: [("shop".to_owned(), shop)].into(), ..Config::default() };
    config.tools = serde_json::from_value(json!({
        "get_top_customers": {
            "database": "shop",
            "description": "Lists the customers with the highest order totals.",
            "statement": "SELECT c.name, SUM(o.total) AS total FROM customers c JOIN orders o ON o.customer_id = c.id \
                          GROUP BY c.id ORDER BY total DESC, c.id LIMIT :limit OFFSET :offset;",
            "parameters": {
                "limit": { "type": "integer", "default": 10, "minimum": 1, "maximum": 1000 },
                "offset": { "type": "integer", "default": 0, "minimum": 0 }
            },
            "paging": { "limit": "limit", "offset": "offset" },
            "result": { "rows": "customers" },
            "cache_seconds": 5,
            "deprecated": { "removal": "2027-01-31", "instead": "top" }
        },
        "get_customer": {
            "database": "shop",
            "description": "Reads one customer.",
            "statement": "SELECT id, name, email FROM customers WHERE id = :customer_id",
            "parameters": { "customer_id": { "type": "integer", "minimum": 1 } },
            "result": { "single": true, "not_found": "no customer {customer_id}" }
        },
        "get_orders": {
            "database": "shop",
            "description": "Lists a customer's orders.",
            "statement": "SELECT id, total FROM orders WHERE customer_id = :customer_id AND (:least IS NULL OR total >= :least)",
            "parameters": {
                "customer_id": { "type": "integer" },
                "least": { "type": "number", "required": false }
            },
            "rows_max": 1
        }
    }))
    .unwrap();
    config
}

pub(crate) fn room(folder: &Path, config: &Config) -> Arc<dyn Provider> {
    if !folder.join("shop.db").exists() {
        create_from_script(&folder.join("shop.db"), SHOP).unwrap();
    }
    open(config, &testkit::parts(folder)).unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// One call, good for so long; its answer must hold the tool's bytes.
pub(crate) async fn call_for(
    room: &dyn Provider,
    name: &str,
    mut arguments: Value,
    time: Duration,
) -> Result<Value, Fault> {
    let tools = room.tools();
    let tool = tools.iter().find(|tool| tool.name.as_str() == name).unwrap();
    room.target(tool, &mut arguments)?;
    let caller = testkit::caller("tester", PrincipalKind::Human);
    let permit = testkit::permit_for(caller, tool, arguments, time);
    match room.run(permit, testkit::talk()).await? {
        Reply::Done(outcome) => match outcome.body {
            Body::Value(value) => {
                assert!(value.to_string().len() <= tool.bytes_max, "{} bytes", value.to_string().len());
                assert_eq!(outcome.cut.is_some(), value["truncated"] == json!(true));
                Ok(value)
            }
            Body::Raw(raw) => panic!("{raw}"),
        },
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn call(room: &dyn Provider, name: &str, arguments: Value) -> Result<Value, Fault> {
    call_for(room, name, arguments, Duration::from_secs(30)).await
}

pub(crate) fn show(result: Result<Value, Fault>) -> String {
    match result {
        Ok(value) => value.to_string(),
        Err(fault) => {
            let pointer = fault.pointer.as_deref().map(|at| format!(" {at}")).unwrap_or_default();
            format!("{}{pointer}: {}", fault.code.row().http, fault.text)
        }
    }
}

async fn check(calls: &[(&str, Value)], expected: Expect) {
    let folder = tempfile::tempdir().unwrap();
    let room = room(folder.path(), &config());
    let mut lines = String::new();
    for (name, arguments) in calls {
        lines += &show(call(room.as_ref(), name, arguments.clone()).await);
        lines.push('\n');
    }
    expected.assert_eq(&lines);
}

async fn check_sql(statements: &[&str], expected: Expect) {
    let calls: Vec<_> = statements.iter().map(|sql| ("sql_query", json!({ "sql": sql }))).collect();
    check(&calls, expected).await;
}

#[tokio::test]
async fn declared_tools_answer_in_the_declared_shape() {
    let _quiet = MEMORY.read().await;
    check(
        &[
            ("get_top_customers", json!({ "limit": 2, "offset": 0 })),
            ("get_top_customers", json!({ "limit": 2, "offset": 2 })),
            ("get_top_customers", json!({ "limit": 1000, "offset": 1000 })),
            ("get_customer", json!({ "customer_id": 1 })),
            ("get_customer", json!({ "customer_id": 99 })),
            ("get_customer", json!({ "customer_id": 1.0 })),
            ("get_customer", json!({ "customer_id": 18_446_744_073_709_551_615_u64 })),
            ("get_orders", json!({ "customer_id": 1 })),
            ("get_orders", json!({ "customer_id": 1, "least": 60 })),
            ("get_orders", json!({ "customer_id": 7, "least": null })),
        ],
        expect![[r#"
            {"customers":[{"name":"O'Hara 😀","total":9007199254740993},{"name":"Acme Corp","total":150}],"limit":2,"offset":0,"total_count":3}
            {"customers":[{"name":"Beta Inc","total":120}],"limit":2,"offset":2,"total_count":3}
            {"customers":[],"limit":1000,"offset":1000,"total_count":3}
            {"id":1,"name":"Acme Corp","email":"contact@acme.com"}
            404: no customer 99
            {"id":1,"name":"Acme Corp","email":"contact@acme.com"}
            400 /customer_id: 18446744073709551615 does not fit 64 bits
            {"rows":[{"id":1,"total":100}],"row_count":1,"truncated":true,"next":"there are more rows than the 1 that one answer holds; give arguments that match fewer rows"}
            {"rows":[{"id":1,"total":100}],"row_count":1}
            {"rows":[],"row_count":0}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_tool_shows_what_its_configuration_says() {
    let _quiet = MEMORY.read().await;
    let folder = tempfile::tempdir().unwrap();
    let room = room(folder.path(), &config());
    let tools = room.tools();
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["get_customer", "get_orders", "get_top_customers", "sql_query", "sql_schema"]);
    let top = &tools[2];
    expect![[r#"{"type":"object","properties":{"limit":{"type":"integer","default":10,"minimum":1,"maximum":1000},"offset":{"type":"integer","default":0,"minimum":0}},"required":[],"additionalProperties":false}"#]].assert_eq(&top.input.to_string());
    expect![[r#"{"type":"object","properties":{"customers":{"type":"array","items":{"type":"object","properties":{"name":true,"total":true},"required":["name","total"]}},"truncated":{"type":"boolean","description":"True where rows were left out."},"next":{"type":"string","description":"Where rows were left out: why, and how to get them."},"limit":{"type":"integer","minimum":0,"description":"How many rows were asked for."},"offset":{"type":"integer","minimum":0,"description":"How many rows were skipped."},"total_count":{"type":"integer","minimum":0,"description":"How many rows there are in all."},"next_offset":{"type":"integer","minimum":0,"description":"Where rows were left out: the offset of the first one that is missing."}},"required":["customers","limit","offset","total_count"]}"#]].assert_eq(&top.output.as_ref().unwrap().to_string());
    assert_eq!(top.deprecation.as_ref().unwrap().removal.as_ref(), "2027-01-31");
    assert_eq!(tools[3].aliases, ["sql.query".into()]);
    expect![[r#"{"type":"object","properties":{"sql":{"type":"string","minLength":1,"maxLength":10000,"description":"One SELECT in SQLite's dialect, with ?1 or :name for each value."},"params":{"type":["array","object"],"default":[],"description":"The values: an array for ?1, ?2, an object for :name. A blob is {\"base64\": \"..\"}."},"database":{"type":"string","enum":["shop"],"description":"The database.","default":"shop"},"offset":{"type":"integer","minimum":0,"default":0,"description":"Rows to skip: next_offset of a truncated answer. Needs an ORDER BY to mean anything."}},"required":["sql"],"additionalProperties":false}"#]].assert_eq(&tools[3].input.to_string());
}

#[tokio::test]
async fn free_sql_reads_what_it_is_shown() {
    let _quiet = MEMORY.read().await;
    check_sql(
        &[
            "SELECT name, email FROM customers ORDER BY id",
            "SELECT * FROM odd",
            "SELECT a, a, a_2, 1 AS a FROM odd LIMIT 1",
            "SELECT total FROM orders WHERE id = 4",
            "SELECT * FROM orders WHERE 0",
            "SELECT * FROM big_orders",
            "WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n LIMIT 3) SELECT sum(x) AS s FROM n",
            "SELECT id, row_number() OVER (ORDER BY total DESC) AS place FROM orders ORDER BY place LIMIT 2",
            "SELECT j.value FROM orders, json_each(extra) AS j WHERE orders.id = 3",
            "SELECT extra ->> '$.gift' AS gift, json_extract(extra, '$.gift') AS g FROM orders WHERE id = 1",
            "SELECT title FROM docs WHERE docs MATCH 'road' ORDER BY rank",
            "SELECT snippet(docs, 1, '[', ']', '..', 3) AS s FROM docs('root')",
            "SELECT * FROM boxes WHERE x0 < 1",
            "SELECT shout FROM customers WHERE id = 1",
            "SELECT rowid, count(*) AS n FROM orders",
            "EXPLAIN QUERY PLAN SELECT * FROM orders WHERE customer_id = 1",
            "VALUES (1, 'a'), (2, NULL)",
            "SELECT 9223372036854775807 AS big, 1e999 AS inf, -0.5 AS r, x'00' AS b, 'a' || char(0) || 'b' AS nul",
            "SELECT CAST(x'ff41' AS TEXT) AS t",
            "select date('2026-11-21', '+1 day') as d, printf('%05d', 7) as p, upper('x') as u;",
            "SELECT name FROM customers WHERE name LIKE '%hara%' OR name GLOB 'A*' ORDER BY 1",
            "SELECT replace('aXbX', 'X', '--') r, instr('häy', 'y') i, trim('xxaxx', 'x') t, ltrim('  a') l, rtrim('ab', 'b') e, replace(1.0, '.', ',') n, instr(x'0102', x'02') b, trim(NULL, 'x') z",
        ],
        expect![[r#"
            {"rows":[{"name":"Acme Corp","email":"contact@acme.com"},{"name":"Beta Inc","email":null},{"name":"O'Hara 😀","email":"o@hara.ie"}],"columns":["name","email"],"row_count":3,"truncated":false}
            {"rows":[{"a":-9223372036854775808,"a_2":9223372036854775807,"raw":{"base64":"AP8Q"},"real":null},{"a":null,"a_2":"","raw":{"base64":""},"real":0.1}],"columns":["a","a_2","raw","real"],"row_count":2,"truncated":false}
            {"rows":[{"a":-9223372036854775808,"a_2":-9223372036854775808,"a_2_2":9223372036854775807,"a_3":1}],"columns":["a","a_2","a_2_2","a_3"],"row_count":1,"truncated":false}
            {"rows":[{"total":9007199254740993}],"columns":["total"],"row_count":1,"truncated":false}
            {"rows":[],"columns":["id","customer_id","total","extra"],"row_count":0,"truncated":false}
            {"rows":[{"id":1,"customer_id":1,"total":100,"extra":"{\"gift\": true}"},{"id":3,"customer_id":2,"total":120,"extra":"[1, 2]"},{"id":4,"customer_id":3,"total":9007199254740993,"extra":null}],"columns":["id","customer_id","total","extra"],"row_count":3,"truncated":false}
            {"rows":[{"s":6}],"columns":["s"],"row_count":1,"truncated":false}
            {"rows":[{"id":4,"place":1},{"id":3,"place":2}],"columns":["id","place"],"row_count":2,"truncated":false}
            {"rows":[{"value":1},{"value":2}],"columns":["value"],"row_count":2,"truncated":false}
            {"rows":[{"gift":1,"g":1}],"columns":["gift","g"],"row_count":1,"truncated":false}
            {"rows":[{"title":"gate"}],"columns":["title"],"row_count":1,"truncated":false}
            {"rows":[{"s":"..beneath a [root]"}],"columns":["s"],"row_count":1,"truncated":false}
            {"rows":[{"id":1,"x0":0.0,"x1":1.0}],"columns":["id","x0","x1"],"row_count":1,"truncated":false}
            {"rows":[{"shout":"ACME CORP"}],"columns":["shout"],"row_count":1,"truncated":false}
            {"rows":[{"id":1,"n":4}],"columns":["id","n"],"row_count":1,"truncated":false}
            {"rows":[{"id":3,"parent":0,"notused":61,"detail":"SEARCH orders USING INDEX orders_by_customer (customer_id=?)"}],"columns":["id","parent","notused","detail"],"row_count":1,"truncated":false}
            {"rows":[{"column1":1,"column2":"a"},{"column1":2,"column2":null}],"columns":["column1","column2"],"row_count":2,"truncated":false}
            {"rows":[{"big":9223372036854775807,"inf":null,"r":-0.5,"b":{"base64":"AA=="},"nul":"a\u0000b"}],"columns":["big","inf","r","b","nul"],"row_count":1,"truncated":false}
            {"rows":[{"t":"�A"}],"columns":["t"],"row_count":1,"truncated":false}
            {"rows":[{"d":"2026-11-22","p":"00007","u":"X"}],"columns":["d","p","u"],"row_count":1,"truncated":false}
            {"rows":[{"name":"Acme Corp"},{"name":"O'Hara 😀"}],"columns":["name"],"row_count":2,"truncated":false}
            {"rows":[{"r":"a--b--","i":3,"t":"a","l":"a","e":"a","n":"1,0","b":2,"z":null}],"columns":["r","i","t","l","e","n","b","z"],"row_count":1,"truncated":false}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn parameters_are_bound_by_position_or_by_name() {
    let _quiet = MEMORY.read().await;
    let q = |sql: &str, params: Value| ("sql_query", json!({ "sql": sql, "params": params }));
    check(
        &[
            q("SELECT ?1 AS a, ?2 AS b", json!(["x' OR 1=1 --", 9_007_199_254_740_993_i64])),
            q("SELECT :a AS a, @b AS b, $c AS c, :a AS d", json!({ "a": true, "b": null, "c": 1.5 })),
            q("SELECT hex(?) AS h, typeof(?) AS t", json!([{ "base64": "AP8=" }, { "base64": "" }])),
            q("SELECT ?", json!([])),
            q("SELECT 1", json!([1])),
            q("SELECT :name", json!({ "nane": 1 })),
            q("SELECT :name", json!({ "name": 1, "nane": 1 })),
            q("SELECT :name, ?", json!({ "name": 1 })),
            q("SELECT ?", json!([[1]])),
            q("SELECT ?", json!([{ "base64": "?" }])),
            q("SELECT ?", json!([18_446_744_073_709_551_615_u64])),
            q("SELECT ?", json!(["x".repeat(1_000_001)])),
            q("SELECT length(?) AS n", json!(["x".repeat(1_000_000)])),
            q("SELECT ?", json!("x")),
            q("SELECT ?3", json!([1])),
            q("SELECT ?9999", json!([1])),
            ("sql_query", json!({ "sql": "SELECT 1", "database": "shop" })),
            ("sql_query", json!({ "sql": "SELECT 1", "database": "other" })),
        ],
        expect![[r#"
            {"rows":[{"a":"x' OR 1=1 --","b":9007199254740993}],"columns":["a","b"],"row_count":1,"truncated":false}
            {"rows":[{"a":1,"b":null,"c":1.5,"d":1}],"columns":["a","b","c","d"],"row_count":1,"truncated":false}
            {"rows":[{"h":"00FF","t":"blob"}],"columns":["h","t"],"row_count":1,"truncated":false}
            400 /params: the statement has 1 parameter and params has 0 values
            400 /params: the statement has 0 parameters and params has 1 value
            400 /params: the statement needs "name", and params does not have it
            400 /params/nane: the statement has no parameter "nane"; did you mean "name"?
            400 /params: parameter 2 has no name; give params as an array
            400 /params/0: a parameter is a text, a number, true, false, null or {"base64": ".."}; pass a list as JSON text and read it with json_each()
            400 /params/0: not base64: Invalid symbol 63, offset 0.
            400 /params/0: 18446744073709551615 does not fit 64 bits with a sign
            400 /params/0: the value is longer than `limits.value_bytes_max` allows
            {"rows":[{"n":1000000}],"columns":["n"],"row_count":1,"truncated":false}
            400 /params: params must be an array or an object
            400 /params: the statement has 3 parameters and params has 1 value
            400 /sql: variable number must be between ?1 and ?500 at line 1 column 8
            {"rows":[{"1":1}],"columns":["1"],"row_count":1,"truncated":false}
            400 /database: there is no database "other"
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_page_that_was_cut_by_its_bytes_says_where_the_next_one_begins() {
    let _quiet = MEMORY.read().await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.tools = serde_json::from_value(json!({ "long": {
        "database": "shop",
        "description": "Lists long rows.",
        "statement": "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 10) \
                      SELECT n, printf('%0200d', n) AS t FROM c ORDER BY n LIMIT :limit OFFSET :offset",
        "parameters": {
            "limit": { "type": "integer", "default": 100, "minimum": 1, "maximum": 100 },
            "offset": { "type": "integer", "default": 0, "minimum": 0 }
        },
        "paging": { "limit": "limit", "offset": "offset" },
        "bytes_max": 1024
    } }))
    .unwrap();
    let room = room(folder.path(), &config);
    let (mut seen, mut offset) = (Vec::new(), Some(0));
    while let Some(at) = offset {
        let answer = call(room.as_ref(), "long", json!({ "limit": 100, "offset": at })).await.unwrap();
        seen.extend(answer["rows"].as_array().unwrap().iter().map(|row| row["n"].as_u64().unwrap()));
        offset = answer["next_offset"].as_u64();
        assert_eq!(offset.is_some(), answer["next"].is_string());
        assert_eq!(answer["total_count"], 10);
    }
    assert_eq!(seen, (1..=10).collect::<Vec<_>>());
    let first = call(room.as_ref(), "long", json!({ "limit": 100, "offset": 0 })).await.unwrap();
    expect!["the rows take more bytes than the 512 that one answer holds; ask again with offset 2"]
        .assert_eq(first["next"].as_str().unwrap());
}

#[tokio::test]
async fn free_sql_goes_to_the_usual_database_where_a_call_names_none() {
    let _quiet = MEMORY.read().await;
    let folder = tempfile::tempdir().unwrap();
    create_from_script(&folder.path().join("other.db"), "CREATE TABLE t (a); INSERT INTO t VALUES (7);")
        .unwrap();
    let mut config = config();
    let other =
        DatabaseConfig { query: Some(ExposureConfig::everything()), ..DatabaseConfig::sqlite("other.db") };
    config.databases.insert("other".to_owned(), other);
    let calls = [
        ("sql_query", json!({ "sql": "SELECT a FROM t" })),
        ("sql_query", json!({ "sql": "SELECT count(*) AS n FROM orders", "database": "shop" })),
        ("sql_schema", json!({})),
    ];
    let mut lines = String::new();
    for usual in [None, Some("other")] {
        config.query.database = usual.map(str::to_owned);
        let room = room(folder.path(), &config);
        for (name, arguments) in &calls {
            lines += &format!("{}\n", show(call(room.as_ref(), name, arguments.clone()).await));
        }
        let tools = room.tools();
        let query = tools.iter().find(|tool| tool.name.as_str() == "sql_query").unwrap();
        let input = &query.input;
        lines += &format!("{} {}\n", input["properties"]["database"], input["required"]);
    }
    expect![[r#"
        400 /database: say which database
        {"rows":[{"n":4}],"columns":["n"],"row_count":1,"truncated":false}
        400 /database: say which database
        {"type":"string","enum":["other","shop"],"description":"The database."} ["sql","database"]
        {"rows":[{"a":7}],"columns":["a"],"row_count":1,"truncated":false}
        {"rows":[{"n":4}],"columns":["n"],"row_count":1,"truncated":false}
        {"database":"other","tables":[{"name":"t","kind":"table","columns":[{"name":"a","type":"","nullable":true,"primary_key":false}]}]}
        {"type":"string","enum":["other","shop"],"description":"The database.","default":"other"} ["sql"]
    "#]].assert_eq(&lines);
}

#[tokio::test]
async fn mistakes_get_a_place_and_a_hint() {
    let _quiet = MEMORY.read().await;
    check_sql(
        &[
            "SELEC 1",
            "SELECT *\nFORM orders",
            "SELECT * FROM order",
            "SELECT * FROM orderz",
            "SELECT * FROM nothing_like_it",
            "SELECT nane FROM customers",
            "SELECT customers.nane FROM customers",
            "SELECT \"Acme Corp\" FROM customers",
            "SELECT nosuch(1)",
            "SELECT abs(1, 2)",
            "SELECT 1 FROM orders WHERE",
            "SELECT json_extract('{', '$')",
            "SELECT abs(-9223372036854775808)",
            "SELECT title FROM docs WHERE docs MATCH '\"'",
            "",
            "  ;; -- nothing",
        ],
        expect![[r#"
            400 /sql: near "SELEC": syntax error at line 1 column 1
            400 /sql: near "FORM": syntax error at line 2 column 1
            400 /sql: near "order": syntax error at line 1 column 15
            400 /sql: no such table: orderz; did you mean orders?
            400 /sql: no such table: nothing_like_it; sql_schema lists what there is
            400 /sql: no such column: nane; did you mean name?
            400 /sql: no such column: customers.nane; did you mean name?
            400 /sql: no such column: "Acme Corp" - should this be a string literal in single-quotes?; sql_schema lists what there is
            400 /sql: no such function: nosuch at line 1 column 8
            400 /sql: wrong number of arguments to function abs() at line 1 column 8
            400 /sql: incomplete input
            400 /sql: malformed JSON
            400 /sql: integer overflow
            400 /sql: unterminated string
            400 /sql: there is no statement
            400 /sql: there is no statement
        "#]],
    )
    .await;
}

#[tokio::test]
async fn the_schema_shows_what_free_sql_sees() {
    let _quiet = MEMORY.read().await;
    check(&[("sql_schema", json!({}))], expect![[r#"
        {"database":"shop","tables":[{"name":"big_orders","kind":"view","columns":[{"name":"id","type":"INTEGER","nullable":true,"primary_key":false},{"name":"customer_id","type":"INTEGER","nullable":true,"primary_key":false},{"name":"total","type":"INTEGER","nullable":true,"primary_key":false},{"name":"extra","type":"TEXT","nullable":true,"primary_key":false}]},{"name":"boxes","kind":"virtual","columns":[{"name":"id","type":"INT","nullable":true,"primary_key":false},{"name":"x0","type":"REAL","nullable":true,"primary_key":false},{"name":"x1","type":"REAL","nullable":true,"primary_key":false}]},{"name":"customers","kind":"table","columns":[{"name":"id","type":"INTEGER","nullable":true,"primary_key":true},{"name":"name","type":"TEXT","nullable":false,"primary_key":false},{"name":"email","type":"TEXT","nullable":true,"primary_key":false},{"name":"shout","type":"TEXT","nullable":true,"primary_key":false}]},{"name":"docs","kind":"virtual","columns":[{"name":"title","type":"","nullable":true,"primary_key":false},{"name":"body","type":"","nullable":true,"primary_key":false}]},{"name":"odd","kind":"table","columns":[{"name":"a","type":"","nullable":true,"primary_key":false},{"name":"a_2","type":"","nullable":true,"primary_key":false},{"name":"raw","type":"BLOB","nullable":true,"primary_key":false},{"name":"real","type":"REAL","nullable":true,"primary_key":false}]},{"name":"orders","kind":"table","columns":[{"name":"id","type":"INTEGER","nullable":true,"primary_key":true},{"name":"customer_id","type":"INTEGER","nullable":true,"primary_key":false},{"name":"total","type":"INTEGER","nullable":true,"primary_key":false},{"name":"extra","type":"TEXT","nullable":true,"primary_key":false}]},{"name":"tags","kind":"table","columns":[{"name":"name","type":"TEXT","nullable":false,"primary_key":true},{"name":"n","type":"INTEGER","nullable":true,"primary_key":false}]}]}
    "#]]).await;
}

#[tokio::test]
async fn rows_and_bytes_end_at_their_bounds() {
    let _quiet = MEMORY.read().await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.query.rows_max = 3;
    config.query.bytes_max = 2_048;
    let room = room(folder.path(), &config);
    let n = "WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n LIMIT ";
    let mut lines = String::new();
    for (sql, offset) in [
        (format!("{n}3) SELECT x FROM n"), 0),
        (format!("{n}4) SELECT x FROM n"), 0),
        (format!("{n}4) SELECT x FROM n"), 3),
        (format!("{n}4) SELECT x FROM n"), 9),
        (format!("{n}1000000) SELECT x FROM n"), 999_999),
        (
            "SELECT printf('%.700c', 'x') AS t UNION ALL SELECT 2 UNION ALL SELECT printf('%.900c', 'y')"
                .into(),
            0,
        ),
        ("SELECT printf('%.1527c', 'x') AS t".into(), 0),
        ("SELECT printf('%.1528c', 'x') AS t".into(), 0),
    ] {
        let answer = show(call(room.as_ref(), "sql_query", json!({ "sql": sql, "offset": offset })).await);
        lines += &answer.replace(&"x".repeat(700), "<700x>").replace(&"y".repeat(900), "<900y>");
        lines.push('\n');
    }
    expect![[r#"
        {"rows":[{"x":1},{"x":2},{"x":3}],"columns":["x"],"row_count":3,"truncated":false}
        {"rows":[{"x":1},{"x":2},{"x":3}],"columns":["x"],"row_count":3,"truncated":true,"next_offset":3,"next":"there are more rows than the 3 that one answer holds; ask again with offset 3, and with an ORDER BY so that the order stays"}
        {"rows":[{"x":4}],"columns":["x"],"row_count":1,"truncated":false}
        {"rows":[],"columns":["x"],"row_count":0,"truncated":false}
        {"rows":[{"x":1000000}],"columns":["x"],"row_count":1,"truncated":false}
        {"rows":[{"t":"<700x>"},{"t":2}],"columns":["t"],"row_count":2,"truncated":true,"next_offset":2,"next":"the rows take more bytes than the 1536 that one answer holds; ask again with offset 2, and with an ORDER BY so that the order stays"}
        {"rows":[{"t":"<700x><700x>xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}],"columns":["t"],"row_count":1,"truncated":false}
        400 /sql: one row alone takes 1537 bytes, more than an answer may hold; select fewer columns or parts of them with substr()
    "#]].assert_eq(&lines);
    let sql = format!("SELECT 1{}", " ".repeat(9_992));
    assert!(call(room.as_ref(), "sql_query", json!({ "sql": sql })).await.is_ok());
    let fault = call(room.as_ref(), "sql_query", json!({ "sql": format!("{sql} ") })).await;
    assert_eq!(show(fault), "400 /sql: the statement is longer than 10000 characters");
}

#[tokio::test]
async fn a_new_table_is_seen_and_a_writer_is_waited_for() {
    let _quiet = MEMORY.read().await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    let shop = config.databases.get_mut("shop").unwrap();
    shop.query = Some(ExposureConfig::everything());
    shop.busy_timeout_ms = 0;
    let room = room(folder.path(), &config);
    let ask = |sql: &'static str| call(room.as_ref(), "sql_query", json!({ "sql": sql }));
    assert_eq!(
        show(ask("SELECT * FROM later").await),
        "400 /sql: no such table: later; sql_schema lists what there is"
    );
    let writer = rusqlite::Connection::open(folder.path().join("shop.db")).unwrap();
    writer.execute_batch("CREATE TABLE later (x); INSERT INTO later VALUES (1)").unwrap();
    assert!(ask("SELECT * FROM later").await.is_ok());
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    expect!["503: the database \"shop\" is locked by a writer; try again"]
        .assert_eq(&show(ask("SELECT * FROM later").await));
    assert_eq!(room.probe().await[0].state, ProbeState::Degraded);
    writer.execute_batch("COMMIT").unwrap();
    assert!(ask("SELECT * FROM later").await.is_ok());
}

#[tokio::test]
async fn a_probe_tells_life_from_death() {
    let _quiet = MEMORY.read().await;
    let folder = tempfile::tempdir().unwrap();
    let room = room(folder.path(), &config());
    let probe = room.probe().await.remove(0);
    assert_eq!(
        (probe.source.as_ref(), probe.kind, probe.state),
        ("sql:shop", "database", ProbeState::Healthy)
    );
    expect![[r#"{"connections":1,"max_connections":4}"#]].assert_eq(&json!(probe.details).to_string());
    std::fs::write(folder.path().join("shop.db"), "this is no database, whatever its name may be").unwrap();
    let probe = room.probe().await.remove(0);
    assert_eq!(probe.state, ProbeState::Unhealthy);
    expect![[r#"{"connections":1,"max_connections":4,"error":"the database \"shop\" cannot be read"}"#]]
        .assert_eq(&json!(probe.details).to_string());
    let fault = call(room.as_ref(), "sql_query", json!({ "sql": "SELECT count(*) FROM orders" })).await;
    expect![[r#"502: the database "shop" cannot be read"#]].assert_eq(&show(fault));
    room.close().await;
    let fault = call(room.as_ref(), "sql_query", json!({ "sql": "SELECT 1" })).await;
    expect!["499: the query was stopped"].assert_eq(&show(fault));
}

#[test]
fn a_script_makes_a_database_wholly_or_not_at_all() {
    let _quiet = MEMORY.blocking_read();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.db");
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    let failed = create_from_script(&path, "CREATE TABLE a (x); INSERT INTO b VALUES (1);");
    assert!(matches!(failed, Err(ScriptError::Script { .. })) && files() == 0);
    create_from_script(&path, "CREATE TABLE a (x);").unwrap();
    assert_eq!(files(), 1);
    let before = std::fs::read(&path).unwrap();
    let again = create_from_script(&path, "CREATE TABLE b (x);");
    assert!(matches!(again, Err(ScriptError::Exists(_))) && files() == 1);
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

/// The widest limits that an operator may set still leave room on a thread's stack, also in a debug build.
#[tokio::test]
async fn the_widest_limits_fit_the_stack() {
    let _quiet = MEMORY.read().await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.limits.nesting_max = 100;
    config.limits.selects_max = 200;
    config.limits.expression_depth_max = 1_000;
    config.limits.columns_max = 2_000;
    let room = room(folder.path(), &config);
    let links: Vec<_> = (1..198).map(|i| format!("a{i} AS (SELECT * FROM a{})", i - 1)).collect();
    for sql in [
        format!("SELECT {}1{}", "(SELECT ".repeat(99), ")".repeat(99)),
        format!("SELECT * FROM {}orders{}", "(SELECT * FROM ".repeat(99), ")".repeat(99)),
        format!("SELECT {}1{}", "abs(".repeat(99), ")".repeat(99)),
        format!("SELECT {}", ["1"; 990].join("+")),
        format!("SELECT {}1", "NOT ".repeat(990)),
        ["SELECT 1"; 200].join(" UNION "),
        format!("WITH a0 AS (SELECT 1), {} SELECT * FROM a197", links.join(", ")),
    ] {
        let answer = call(room.as_ref(), "sql_query", json!({ "sql": sql })).await;
        assert!(
            matches!(answer.as_ref().map_err(|fault| fault.code), Ok(_) | Err(Code::BadArguments)),
            "{answer:?}"
        );
    }
}

/// A database in write-ahead mode is read beside its writer, and its own file is left alone.
#[tokio::test]
async fn a_database_in_write_ahead_mode_is_read_beside_its_writer() {
    let _quiet = MEMORY.read().await;
    let folder = tempfile::tempdir().unwrap();
    create_from_script(&folder.path().join("shop.db"), SHOP).unwrap();
    let writer = rusqlite::Connection::open(folder.path().join("shop.db")).unwrap();
    writer.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    let room = room(folder.path(), &config());
    writer.execute_batch("BEGIN IMMEDIATE; DELETE FROM orders;").unwrap();
    let count = || call(room.as_ref(), "sql_query", json!({ "sql": "SELECT count(*) AS n FROM orders" }));
    assert_eq!(count().await.unwrap()["rows"][0]["n"], 4);
    writer.execute_batch("COMMIT").unwrap();
    let before = std::fs::read(folder.path().join("shop.db")).unwrap();
    assert_eq!(count().await.unwrap()["rows"][0]["n"], 0);
    room.close().await;
    assert_eq!(std::fs::read(folder.path().join("shop.db")).unwrap(), before);
}

/// Sorting too much ends at the memory bound, not in a temporary file.
#[tokio::test]
async fn a_query_that_needs_too_much_memory_fails_alone() {
    let _alone = MEMORY.write().await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.memory_bytes_max = 64 * 1024 * 1024;
    let room = room(folder.path(), &config);
    let sql = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 1000) \
               SELECT length(t) AS n FROM (SELECT printf('%.500000c', 'a') || x AS t FROM c ORDER BY t)";
    expect!["400 /sql: the query needs more memory than it may; sort, group or collect fewer rows"]
        .assert_eq(&show(call(room.as_ref(), "sql_query", json!({ "sql": sql })).await));
    assert!(call(room.as_ref(), "sql_query", json!({ "sql": "SELECT * FROM tags" })).await.is_ok());
}
