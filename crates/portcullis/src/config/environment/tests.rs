use expect_test::{Expect, expect};

use super::*;
use crate::config::Colours;

/// The configuration that these variables make, or what is wrong with them.
#[allow(clippy::needless_pass_by_value)]
fn check(variables: &[(&str, &str)], want: Expect) {
    let folder = tempfile::tempdir().unwrap();
    let lookup =
        |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
    let got = match from_environment(&lookup, folder.path()) {
        Ok(loaded) => {
            let mut value = loaded.value;
            for fixed in ["principals", "roles"] {
                value.as_object_mut().unwrap().remove(fixed);
            }
            let notes = loaded.notes.iter().map(|note| format!("note: {note}\n")).collect::<String>();
            format!("{value}\n{notes}")
        }
        Err(problems) => problems.render(Colours::Off),
    };
    want.assert_eq(&got);
}

#[test]
fn each_variable_stands_for_a_member() {
    check(
        &[],
        expect![[r#"
        {"bootstrap":{"keys":[{"label":"api","principal":"api","show":"key"}]}}
    "#]],
    );
    check(
        &[("API_KEY_PRIMARY", "sk_prod_a1b2c3d4e5f6"), ("API_KEY_SECONDARY", "sk_prod_d4e5f6a1b2c3")],
        expect![[r#"
            {"bootstrap":{"keys":[{"label":"api","principal":"api","show":"key","secret":"sk_prod_a1b2c3d4e5f6","secondary":"sk_prod_d4e5f6a1b2c3"}]}}
        "#]],
    );
    check(
        &[
            ("API_BASE_URL", "http://localhost:9000/v2"),
            ("API_TIMEOUT_SECONDS", "2.5"),
            ("API_MAX_RETRIES", "3"),
            ("API_MAX_CONNECTIONS", "10"),
            ("API_MAX_KEEPALIVE", "5"),
        ],
        expect![[r#"
            {"bootstrap":{"keys":[{"label":"api","principal":"api","show":"key"}]},"rest":{"apis":{"api":{"base_url":"http://localhost:9000/v2","allow_private":["localhost:9000"],"timeout_ms":2500,"retries":3,"max_connections":10,"max_keepalive":5}},"tools":{"get_customer":{"api":"api","method":"GET","path":"/customers/{customer_id}","description":"Fetches a customer by id.","parameters":{"customer_id":{"in":"path","type":"integer","minimum":1,"description":"The customer's id."}},"errors":[{"status":404,"error":"Not found","code":"not_found"},{"status":"5xx","error":"Upstream error","code":"retry"},{"status":"timeout","error":"API timeout","code":"retry"}]}}}}
        "#]],
    );
    check(
        &[
            ("DB_URL", "sqlite:////srv/shop.db"),
            ("DB_POOL_SIZE", "5"),
            ("DB_POOL_MAX_OVERFLOW", "10"),
            ("DB_POOL_RECYCLE_SECONDS", "3600"),
            ("MCP_SQLITE", "./other.db"),
            ("MCP_MAX_SQL_ROWS", "500"),
        ],
        expect![[r#"
            {"bootstrap":{"keys":[{"label":"api","principal":"api","show":"key"}]},"sql":{"databases":{"main":{"sqlite":"/srv/shop.db","query":{"tables":["*"]},"readers":15,"recycle_seconds":3600},"mcp":{"sqlite":"./other.db","query":{"tables":["*"]}}},"query":{"database":"mcp","rows_max":500}}}
        "#]],
    );
    check(
        &[
            ("RATE_LIMIT_RPM", "60"),
            ("LOG_LEVEL", "INFO"),
            ("MCP_LOG_LEVEL", "WARN"),
            ("MCP_FS_BASE", "/srv/files"),
            ("MCP_MAX_FILE_SIZE", "1048576"),
            ("MCP_REQUEST_TIMEOUT", "15"),
            ("MCP_MAX_CONCURRENT", "4"),
            ("MCP_ALLOWED_DOMAINS", "example.com, api.example.org,"),
            ("MCP_AUDIT_LOG_PATH", "/var/log/mcp/audit.log"),
        ],
        expect![[r#"
            {"bootstrap":{"keys":[{"label":"api","principal":"api","show":"key"}]},"audit":{"directory":"/var/log/mcp/audit"},"limits":{"rate_per_minute":60,"request_timeout_ms":15000,"concurrent_per_source_max":4},"log":{"level":"warning"},"files":{"root":"/srv/files","bytes_max":1048576},"fetch":{"allow":["example.com","api.example.org"]}}
        "#]],
    );
    check(
        &[
            ("ENABLE_RAG", "true"),
            ("MCP_METRICS_ENABLED", "true"),
            ("OPENAI_API_KEY", "sk-real"),
            ("MCP_JWT_SECRET", "q8"),
        ],
        expect![[r#"
            {"bootstrap":{"keys":[{"label":"api","principal":"api","show":"key"}]}}
            note: ENABLE_RAG is true, but this version always has it false
            note: MCP_JWT_SECRET is set, but this version does not use it
            note: OPENAI_API_KEY is set, but this version does not use it
        "#]],
    );
}

#[test]
fn settings_without_what_they_belong_to_are_left_out() {
    check(
        &[("DB_POOL_SIZE", "5"), ("MCP_MAX_FILE_SIZE", "5"), ("API_MAX_RETRIES", "1")],
        expect![[r#"
            {"bootstrap":{"keys":[{"label":"api","principal":"api","show":"key"}]},"sql":{"databases":{}},"rest":{"apis":{}}}
            note: API_BASE_URL is not set, so the variables that go with it are not used
            note: DB_URL is not set, so the variables that go with it are not used
            note: MCP_FS_BASE is not set, so the variables that go with it are not used
        "#]],
    );
}

#[test]
fn what_does_not_fit_is_said_with_the_name_of_the_variable() {
    check(
        &[
            ("API_BASE_URL", "ftp://x"),
            ("API_TIMEOUT_SECONDS", "soon"),
            ("DB_URL", "postgresql://u:secret@db/shop"),
            ("DB_POOL_SIZE", "-1"),
            ("RATE_LIMIT_RPM", "many"),
            ("LOG_LEVEL", "LOUD"),
            ("ENVIRONMENT", "prod"),
            ("ENABLE_RAG", "maybe"),
        ],
        expect![[r#"
            error: expected development, staging or production, found "prod"
              --> environment: ENVIRONMENT

            error: it is not a URL such as https://api.example.com
              --> environment: API_BASE_URL

            error: expected seconds, found "soon"
              --> environment: API_TIMEOUT_SECONDS

            error: databases of postgresql are not part of this version; expected sqlite:///file.db, or sqlite:////path/to/file.db
              --> environment: DB_URL

            error: expected a whole number, found "-1"
              --> environment: DB_POOL_SIZE

            error: expected a whole number, found "many"
              --> environment: RATE_LIMIT_RPM

            error: expected true or false, found "maybe"
              --> environment: ENABLE_RAG

            error: expected DEBUG, INFO, WARNING or ERROR, found "LOUD"
              --> environment: LOG_LEVEL

            environment: 8 problems
        "#]],
    );
    check(
        &[("RATE_LIMIT_RPM", "0")],
        expect![[r#"
        error: must be at least 1, is the value from the environment (not shown)
          --> environment: RATE_LIMIT_RPM (/limits/rate_per_minute)

        environment: 1 problem
    "#]],
    );
}

#[test]
fn a_variable_that_does_not_fit_does_not_hide_the_others() {
    check(
        &[
            ("DB_POOL_SIZE", "many"),
            ("DB_URL", "sqlite:///shop.db"),
            ("RATE_LIMIT_RPM", "0"),
            ("MCP_FS_BASE", "/"),
            ("API_KEY_SECONDARY", "change-me"),
        ],
        expect![[r#"
            error: expected a whole number, found "many"
              --> environment: DB_POOL_SIZE

            error: the secret is still a placeholder; set a real one, or ENVIRONMENT=development to try things out
              --> environment: API_KEY_SECONDARY

            error: must be at least 1, is the value from the environment (not shown)
              --> environment: RATE_LIMIT_RPM (/limits/rate_per_minute)

            error: the whole file system is no folder to serve
              --> environment: MCP_FS_BASE (/files/root)
              help: name the one folder that callers need

            error: a second secret needs a first one
              --> environment: API_KEY_SECONDARY (/bootstrap/keys/0/secondary)
              help: add `secret`

            environment: 5 problems
        "#]],
    );
}

#[test]
fn placeholders_do_not_start_outside_development() {
    let variables = [("API_KEY_PRIMARY", "change-me-in-production"), ("MCP_JWT_SECRET", "your-secret-here")];
    check(
        &variables,
        expect![[r#"
        error: the secret is still a placeholder; set a real one, or ENVIRONMENT=development to try things out
          --> environment: API_KEY_PRIMARY

        error: the secret is still a placeholder; set a real one, or ENVIRONMENT=development to try things out
          --> environment: MCP_JWT_SECRET

        environment: 2 problems
    "#]],
    );
    check(
        &[("ENVIRONMENT", "production"), variables[0]],
        expect![[r#"
        error: the secret is still a placeholder; set a real one, or ENVIRONMENT=development to try things out
          --> environment: API_KEY_PRIMARY

        environment: 1 problem
    "#]],
    );
    check(
        &[("ENVIRONMENT", "development"), variables[0]],
        expect![[r#"
        {"bootstrap":{"keys":[{"label":"api","principal":"api","show":"key","secret":"change-me-in-production"}]}}
    "#]],
    );
}

#[test]
fn a_dot_env_is_read_and_never_wins() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), "RATE_LIMIT_RPM=7\nLOG_LEVEL=debug\n").unwrap();
    let lookup = |name: &str| (name == "LOG_LEVEL").then(|| "error".to_owned());
    let value = from_environment(&lookup, folder.path()).unwrap().value;
    assert_eq!((&value["limits"]["rate_per_minute"], &value["log"]["level"]), (&json!(7), &json!("error")));
    std::fs::write(folder.path().join(".env"), "RATE_LIMIT_RPM\n").unwrap();
    let problems = from_environment(&lookup, folder.path()).unwrap_err();
    assert_eq!(problems.lines(), [".env: line 1 is not NAME=value"]);
}

#[test]
fn lines_of_a_dot_env() {
    let text = "# c\n\nA=1\nexport B = two words \nC=\"a # b\" # c\nD='x\"y'\nE=x # c\nF=\nG=a=b\n";
    let want =
        [("A", "1"), ("B", "two words"), ("C", "a # b"), ("D", "x\"y"), ("E", "x"), ("F", ""), ("G", "a=b")];
    let got = dot_env(text).unwrap();
    assert_eq!(got, want.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    for wrong in ["A", "=1", "A B=1", "A=\"x", "A='x' y"] {
        assert_eq!(dot_env(wrong).unwrap_err(), "line 1 is not NAME=value", "{wrong}");
    }
}

#[test]
fn the_example_lists_every_variable_and_no_other() {
    let example = include_str!("../../../../../.env.example");
    let names: Vec<&str> = example
        .lines()
        .map(|line| line.trim_start_matches(['#', ' ']))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    let want: Vec<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
    assert_eq!(names, want);
    for variable in VARIABLES {
        assert!(
            example.contains(&format!("# {}\n", variable.about)),
            "{}: {}",
            variable.name,
            variable.about
        );
    }
}

#[test]
fn a_secret_that_can_be_guessed_is_no_key_outside_development() {
    let variables = [("API_KEY_PRIMARY", "123456789012345"), ("API_KEY_SECONDARY", "1234567890123456")];
    check(
        &variables,
        expect![[r#"
        error: the secret of a key has at least 16 characters; take one that cannot be guessed, such as the output of `openssl rand -hex 32`
          --> environment: API_KEY_PRIMARY

        environment: 1 problem
    "#]],
    );
    check(
        &[variables[0], ("ENVIRONMENT", "development")],
        expect![[r#"
        {"bootstrap":{"keys":[{"label":"api","principal":"api","show":"key","secret":"123456789012345"}]}}
    "#]],
    );
}
