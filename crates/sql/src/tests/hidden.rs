//! What is not shown looks as if it did not exist.

use super::*;

#[tokio::test]
async fn what_is_hidden_looks_as_if_it_did_not_exist() {
    let _quiet = MEMORY.read().await;
    let folder = tempfile::tempdir().unwrap();
    let room = room(folder.path(), &config());
    // The same statements about a table that is there but hidden, and about one that is not.
    for sql in [
        "SELECT * FROM secrets",
        "SELECT nope FROM secrets",
        "SELECT k FROM main.secrets",
        "SELECT secrets.k FROM secrets, orders",
        "SELECT count(*) FROM secrets",
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM secrets)",
        "SELECT (WITH secrets AS (SELECT 1) SELECT 1), (SELECT nope FROM secrets)",
        "WITH orders AS (SELECT * FROM secrets) SELECT * FROM orders",
        "WITH big_orders AS (SELECT k FROM secrets) SELECT * FROM big_orders",
        "SELECT * FROM pragma_table_info('secrets')",
        "SELECT * FROM secrets NATURAL JOIN orders",
        "SELECT * FROM secrets WHERE k MATCH 'a'",
        "SELECT * FROM secrets('a')",
        "SELECT * FROM secrets INDEXED BY nope",
        "SELECT rowid FROM secrets",
        "EXPLAIN QUERY PLAN SELECT * FROM secrets",
        "SELECT * FROM orders JOIN secrets USING (id)",
        "SELECT * FROM (SELECT * FROM (SELECT * FROM secrets))",
        "VALUES ((SELECT k FROM secrets))",
        "SELECT secrets FROM secrets",
        "SELECT (WITH secrets AS (SELECT 1) SELECT count(*) FROM secrets), (SELECT count(*) FROM secrets)",
        "SELECT * FROM 'secrets'",
    ] {
        let seen = show(call(room.as_ref(), "sql_query", json!({ "sql": sql })).await);
        let other = sql.replace("secrets", "sekrets");
        let unseen = show(call(room.as_ref(), "sql_query", json!({ "sql": other })).await);
        assert_eq!(seen.replace("secrets", "sekrets"), unseen, "{sql}");
        assert!(seen.starts_with("400"), "{sql}: {seen}");
        assert!(!seen.contains("hunter2"));
    }
}

#[tokio::test]
async fn hidden_columns_internals_and_views_on_hidden_tables_stay_hidden() {
    let _quiet = MEMORY.read().await;
    check_sql(
        &[
            "SELECT ssn FROM customers",
            "SELECT * FROM customers",
            "SELECT 1 FROM customers WHERE ssn = '1-2'",
            "SELECT name FROM customers ORDER BY ssn",
            "SELECT * FROM leak",
            "SELECT * FROM sqlite_master",
            "SELECT * FROM sqlite_schema",
            "SELECT * FROM sqlite_temp_master",
            "SELECT * FROM dbstat",
            "SELECT * FROM docs_content",
            "SELECT * FROM boxes_node",
            "SELECT * FROM temp.customers",
            "SELECT count(*) FROM dbstat",
            "SELECT count(*) FROM pragma_table_info('secrets')",
            "SELECT count(*) FROM 'docs_content'",
            "SELECT count(*) FROM [sqlite_master]",
            "SELECT 1 FROM orders, secrets LIMIT 1",
            "WITH secrets AS (SELECT 1) SELECT count(*) FROM secrets",
            "WITH n AS (SELECT 1) SELECT count(*) FROM n",
            "WITH n AS (SELECT 1) SELECT count(*) FROM n, (WITH secrets AS (SELECT 2) SELECT 1 FROM secrets)",
        ],
        expect![[r#"
            400 /sql: no such column: ssn; sql_schema lists what there is
            400 /sql: no such column: customers.ssn; name the columns you want instead of *, sql_schema lists them
            400 /sql: no such column: ssn; sql_schema lists what there is
            400 /sql: no such column: ssn; sql_schema lists what there is
            400 /sql: no such table: leak; sql_schema lists what there is
            400 /sql: no such table: sqlite_master; sql_schema lists what there is
            400 /sql: no such table: sqlite_master; sql_schema lists what there is
            400 /sql: no such table: sqlite_temp_master; sql_schema lists what there is
            400 /sql: no such table: dbstat; sql_schema lists what there is
            400 /sql: no such table: docs_content; sql_schema lists what there is
            400 /sql: no such table: boxes_node; sql_schema lists what there is
            400 /sql: no such table: temp.customers; did you mean customers?
            400 /sql: no such table: dbstat; sql_schema lists what there is
            400 /sql: no such table: pragma_table_info; sql_schema lists what there is
            400 /sql: no such table: docs_content; sql_schema lists what there is
            400 /sql: no such table: sqlite_master; sql_schema lists what there is
            400 /sql: no such table: secrets; sql_schema lists what there is
            {"rows":[{"count(*)":1}],"columns":["count(*)"],"row_count":1,"truncated":false}
            {"rows":[{"count(*)":1}],"columns":["count(*)"],"row_count":1,"truncated":false}
            {"rows":[{"count(*)":1}],"columns":["count(*)"],"row_count":1,"truncated":false}
        "#]],
    )
    .await;
}
