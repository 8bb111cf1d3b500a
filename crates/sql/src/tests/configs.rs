//! What `check` and `open` say about configurations.

use super::*;

/// The faults of this section over the shop, one a line.
fn check(section: Value, expected: Expect) {
    let _quiet = MEMORY.blocking_read();
    let folder = tempfile::tempdir().unwrap();
    create_from_script(&folder.path().join("shop.db"), SHOP).unwrap();
    std::fs::write(folder.path().join("text.db"), "certainly not a database file, but text").unwrap();
    let config: Config = serde_json::from_value(section).unwrap();
    let lines = match open(&config, &testkit::parts(folder.path())) {
        Ok(_) => "opens".to_owned(),
        Err(faults) => faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    };
    expected.assert_eq(&lines.replace(&folder.path().display().to_string(), "<folder>"));
}

/// The faults of one tool with this statement and these parameters.
fn check_statement(statement: &str, parameters: Value, expected: Expect) {
    check(
        json!({
            "databases": { "shop": { "sqlite": "shop.db" } },
            "tools": { "t": {
                "database": "shop", "description": "Does.", "statement": statement, "parameters": parameters
            } }
        }),
        expected,
    );
}

#[test]
fn statements_are_prepared_before_anyone_calls_them() {
    let none = json!({});
    check_statement("SELECT * FROM secrets", none.clone(), expect!["opens"]);
    check_statement("SELECT 1;", none.clone(), expect!["opens"]);
    check_statement(
        "SELECT * FROM odrers",
        none.clone(),
        expect![[r#"/sql/tools/t/statement: no such table: odrers (did you mean "orders"?)"#]],
    );
    check_statement(
        "SELECT *\nFORM orders",
        none.clone(),
        expect![[r#"/sql/tools/t/statement: near "FORM": syntax error at line 2 column 1 of the statement"#]],
    );
    check_statement(
        "DELETE FROM orders",
        none.clone(),
        expect![
            "/sql/tools/t/statement: only read-only SELECT statements are allowed, one at a time: this one begins with DELETE"
        ],
    );
    check_statement(
        "WITH x AS (SELECT 1) DELETE FROM orders",
        none.clone(),
        expect![
            "/sql/tools/t/statement: only read-only SELECT statements are allowed, one at a time: this one ends in DELETE"
        ],
    );
    check_statement(
        "SELECT 1; SELECT 2",
        none.clone(),
        expect![
            "/sql/tools/t/statement: only read-only SELECT statements are allowed, one at a time: there are several"
        ],
    );
    check_statement(
        "PRAGMA user_version",
        none.clone(),
        expect![
            "/sql/tools/t/statement: only read-only SELECT statements are allowed, one at a time: this one begins with PRAGMA"
        ],
    );
    check_statement(
        "SELECT load_extension('x')",
        none.clone(),
        expect![
            "/sql/tools/t/statement: the function load_extension is not allowed (the database's `query.functions` allows more)"
        ],
    );
    check_statement(
        "SELECT randomblob(8)",
        none.clone(),
        expect![
            "/sql/tools/t/statement: the function randomblob is not allowed (the database's `query.functions` allows more)"
        ],
    );
    check_statement("", none.clone(), expect!["/sql/tools/t/statement: there is no statement"]);
    check_statement(
        "SELECT ?",
        none.clone(),
        expect!["/sql/tools/t/statement: a parameter without a name; name it, as in `:customer_id`"],
    );
    check_statement(
        "SELECT :idd",
        json!({ "id": { "type": "integer" } }),
        expect![[r#"
            /sql/tools/t/statement: the statement uses :idd, which `parameters` does not have (did you mean "id"?)
            /sql/tools/t/parameters/id: the statement does not use the parameter "id""#]],
    );
    check_statement(
        "SELECT 1",
        json!({ "id": { "type": "integer" } }),
        expect![[r#"/sql/tools/t/parameters/id: the statement does not use the parameter "id""#]],
    );
}

#[test]
fn databases_are_looked_at() {
    check(json!({}), expect!["opens"]);
    check(
        json!({ "databases": { "no": { "sqlite": "no.db" }, "text": { "sqlite": "text.db" } } }),
        expect![[r#"
            /sql/databases/no/sqlite: cannot read "no.db": unable to open database file: <folder>/no.db (the file must be a SQLite database that exists)
            /sql/databases/text/sqlite: cannot read "text.db": file is not a database (the file must be a SQLite database that exists)"#]],
    );
    check(
        json!({ "databases": { "shop": { "sqlite": "shop.db", "query": { "tables": ["ordres", "leak", "ORDERS"] } } } }),
        expect![[r#"
            /sql/databases/shop/query/tables/0: there is no table "ordres" in shop (did you mean "orders"?)
            /sql/databases/shop/query/tables: the view "leak" reads "secrets", which is not listed (list that table too, or declare a tool for what the view shows)"#]],
    );
    check(
        json!({ "databases": { "shop": { "sqlite": "shop.db", "query": { "tables": ["*"] } } } }),
        expect!["opens"],
    );
}

#[test]
fn the_usual_database_is_one_that_is_open_to_free_sql() {
    let section = |usual: &str| {
        json!({
            "databases": {
                "shop": { "sqlite": "shop.db", "query": { "tables": ["*"] } },
                "closed": { "sqlite": "shop.db" },
                "other": { "sqlite": "shop.db", "query": { "tables": ["*"] } }
            },
            "query": { "database": usual }
        })
    };
    check(section("shop"), expect!["opens"]);
    check(
        section("closed"),
        expect![[
            r#"/sql/query/database: the database "closed" is closed to free SQL (open it with `databases.closed.query`, or name another one)"#
        ]],
    );
    check(
        section("shpo"),
        expect![[
            r#"/sql/query/database: there is no database "shpo" in /sql/databases (did you mean "shop"?)"#
        ]],
    );
}

#[test]
fn what_is_wrong_without_looking_is_found_all_at_once() {
    check(
        json!({
            "databases": {
                "the shop": { "sqlite": "", "readers": 0, "query": {
                    "tables": [], "columns_hidden": ["ssn"], "functions": ["LOAD_EXTENSION"]
                } },
                "shop": { "sqlite": "shop.db" }
            },
            "query": { "rows_max": 0 },
            "limits": { "value_bytes_max": 1 },
            "tools": {
                "sql_query": { "database": "shpo", "description": " ", "statement": "SELECT 1" },
                "a.b": {
                    "database": "shop", "description": "x", "statement": "SELECT :n",
                    "parameters": {
                        "n": { "type": "integer", "default": "x", "minimum": 3, "maximum": 2, "pattern": "a" },
                        "no-name": { "type": "string", "minimum": 1, "default": "abc", "maxLength": 2 },
                        "e": { "type": "string", "enum": ["a", 1], "default": "b" },
                        "r": { "type": "boolean", "default": true, "required": true }
                    },
                    "paging": { "limit": "n", "offset": "m" },
                    "result": { "single": true },
                    "rate_per_minute": 0, "concurrent_max": 0,
                    "deprecated": { "removal": "soon", "since": "2026-13-01" },
                    "examples": [1]
                }
            }
        }),
        expect![[r#"
            /sql/databases/the shop: "the shop" is no name for a database: use 1 to 64 letters, digits, '_' or '-'
            /sql/databases/the shop/sqlite: the path of the SQLite file is empty
            /sql/databases/the shop/readers: 0 is not between 1 and 64
            /sql/databases/the shop/query/columns_hidden/0: "ssn" is not of the form table.column
            /sql/databases/the shop/query/functions/0: LOAD_EXTENSION runs code of a caller's choice; it cannot be allowed
            /sql/tools/a.b: "a.b" is not a tool name: use 1 to 64 letters, digits, '_' or '-'
            /sql/tools/a.b/deprecated/removal: "soon" is not a day of the form YYYY-MM-DD
            /sql/tools/a.b/deprecated/since: "2026-13-01" is not a day of the form YYYY-MM-DD
            /sql/tools/a.b/rate_per_minute: 0 calls a minute would be none; leave it out for no limit
            /sql/tools/a.b/concurrent_max: 0 calls at once would be none; leave it out for no limit
            /sql/tools/a.b/examples/0: an example is an object of arguments
            /sql/tools/a.b/parameters/e/default: "b" is not among the values of enum
            /sql/tools/a.b/parameters/e/enum/1: 1 is not of the parameter's type
            /sql/tools/a.b/parameters/n/default: "x" is not of the parameter's type
            /sql/tools/a.b/parameters/n/pattern: pattern is for texts
            /sql/tools/a.b/parameters/n/maximum: 2 is less than the minimum 3
            /sql/tools/a.b/parameters/no-name: "no-name" is no name for a parameter: use letters, digits and '_'
            /sql/tools/a.b/parameters/no-name/default: "abc" is outside minLength and maxLength
            /sql/tools/a.b/parameters/no-name/minimum: minimum is for numbers
            /sql/tools/a.b/parameters/r/default: a parameter that must be given needs no default
            /sql/tools/a.b/paging: a single row has no pages; leave out `paging` or `result.single`
            /sql/tools/a.b/paging/offset: there is no parameter "m"
            /sql/tools/sql_query: sql_query is the name of a built-in tool; give this one another
            /sql/tools/sql_query/description: the description is empty; say what the tool does
            /sql/tools/sql_query/database: there is no database "shpo" in /sql/databases (did you mean "shop"?)
            /sql/query/rows_max: 0 is not between 1 and 100000
            /sql/limits/value_bytes_max: 1 is not between 1000 and 100000000"#]],
    );
}

#[test]
fn unknown_keys_are_refused_and_defaults_filled_in() {
    let error =
        serde_json::from_value::<Config>(json!({ "databases": { "a": { "sqlite": "a", "reader": 1 } } }));
    assert!(error.unwrap_err().to_string().contains("unknown field `reader`"));
    let config: Config =
        serde_json::from_value(json!({ "databases": { "a": { "sqlite": "a.db" } } })).unwrap();
    assert_eq!(config.databases["a"].readers, 4);
    assert_eq!(config.query.sql_chars_max, 10_000);
    let schema = serde_json::to_string(&schemars::schema_for!(Config)).unwrap();
    assert!(schema.contains("minLength") && schema.contains("columns_hidden"));
}
