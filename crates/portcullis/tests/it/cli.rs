//! The command line, with a server and without.

use expect_test::expect;
use serde_json::Value;

use crate::app::{App, Said, alone};

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {said:?}"))
}

#[test]
fn calls_through_the_socket_and_says_how_it_ended() {
    let app = App::start();
    let good = app.cli(&["call", "get_top_customers", "limit=1", "--json"]);
    assert_eq!((good.code, json(&good)["customers"][0]["name"].as_str()), (0, Some("Acme Corp")), "{good:?}");
    let ends = [
        (&["call", "fs_read_text", "path=none.txt"][..], 1),
        (&["call", "fs_read_text", "path=../x"], 4),
        (&["call", "no_such_tool"], 1),
        (&["call", "get_top_customers", "limit=many"], 1),
        (&["call", "get_top_customers", "nonsense"], 2),
        (&["call"], 2),
        (&["no-such-command"], 2),
        (&["health"], 0),
        (&["tools"], 0),
    ];
    let mut page = String::new();
    for (args, code) in ends {
        let said = app.cli(args);
        page.push_str(&format!(
            "{}: {} {}\n",
            args.join(" "),
            said.code,
            said.err.lines().next().unwrap_or_default()
        ));
        assert_eq!(said.code, code, "{args:?}: {said:?}");
        assert!(code == 0 || said.out.is_empty(), "only data goes to standard output: {said:?}");
    }
    expect![[r#"
        call fs_read_text path=none.txt: 1 portcullis: there is no "none.txt"; fs_list shows what there is (at /path)
        call fs_read_text path=../x: 4 portcullis: "../x" leads out of the folder; give a path beneath it, without '..' (at /path)
        call no_such_tool: 1 portcullis: Tool not found: no_such_tool
        call get_top_customers limit=many: 1 portcullis: "/limit" must be an integer, not "many" (at /limit)
        call get_top_customers nonsense: 2 portcullis: "nonsense" is not an argument; write name=value or name:=json
        call: 2 error: the following required arguments were not provided:
        no-such-command: 2 error: unrecognized subcommand 'no-such-command'
        health: 0 
        tools: 0 
    "#]].assert_eq(&page);
}

#[test]
fn arguments_come_from_standard_input_too() {
    let app = App::start();
    let said = app
        .cli_with_input(&["call", "fs_read_text", "--json-args", "-", "--json"], r#"{"path":"hello.txt"}"#);
    assert_eq!(json(&said)["text"], "hello, mcp\n", "{said:?}");
}

#[test]
fn keys_from_first_to_last() {
    let app = App::start();
    let list = |key: &str| app.post("/v1/mcp/fs_list", Some(key), &serde_json::json!({})).status;
    let first = app.key_for("ci", "viewer");
    assert!(first.starts_with("sk_ci_"));
    assert_eq!(list(&first), 200);
    let second = app.cli(&["keys", "rotate", "ci", "--overlap-hours", "1"]).out.trim().to_owned();
    assert_eq!((list(&first), list(&second)), (200, 200), "both are good while they overlap");
    assert_eq!(app.cli(&["keys", "disable", "ci"]).code, 0);
    let off = app.post("/v1/mcp/fs_list", Some(&second), &serde_json::json!({}));
    assert_eq!((off.status, off.json()["error"].as_str()), (403, Some("API key disabled")));
    assert_eq!(app.cli(&["keys", "enable", "ci"]).code, 0);
    assert_eq!(list(&second), 200);
    assert_eq!(app.cli(&["keys", "revoke", "ci"]).code, 0);
    let gone = app.post("/v1/mcp/fs_list", Some(&second), &serde_json::json!({}));
    assert_eq!((gone.status, gone.json()["error"].as_str()), (401, Some("Invalid API key")));
    let keys = app.cli(&["keys", "list", "--json"]);
    assert!(keys.out.contains("\"ci\"") && !keys.out.contains(&second), "{keys:?}");
    assert_eq!(app.cli(&["keys", "create", "ci", "--principal", "nobody"]).code, 1);
}

#[test]
fn without_a_server_it_works_under_the_lock() {
    let mut app = App::start();
    app.terminate();
    let said = app.cli(&["call", "fs_read_text", "path=hello.txt", "--json"]);
    assert_eq!((said.code, json(&said)["text"].as_str()), (0, Some("hello, mcp\n")), "{said:?}");
    assert_eq!(app.cli(&["audit", "verify"]).code, 0);
    let tail = app.cli(&["audit", "tail", "-n", "1", "--event", "call.outcome"]);
    assert!(tail.out.contains("fs_read_text"), "{tail:?}");
}

#[test]
fn where_there_is_nothing_it_says_so() {
    let home = tempfile::tempdir().unwrap();
    let mut page = String::new();
    for args in [
        &["tools"][..],
        &["health", "--url", "http://127.0.0.1:1"],
        &["check", "none.yaml"],
        &["serve", "none.yaml"],
        &["audit", "verify"],
    ] {
        let said = alone(home.path(), args);
        let line = said.err.replace(home.path().to_str().unwrap(), "HOME");
        page.push_str(&format!(
            "{}: {} {}\n",
            args.join(" "),
            said.code,
            line.lines().next().unwrap_or_default()
        ));
    }
    expect![[r#"
        tools: 3 portcullis: no data folder is known; name one with --data, or start a server with `portcullis demo`
        health --url http://127.0.0.1:1: 3 portcullis: the server at 127.0.0.1:1 cannot be reached: Connection refused (os error 111)
        check none.yaml: 1 error: the file cannot be read: there is no such file
        serve none.yaml: 1 error: the file cannot be read: there is no such file
        audit verify: 3 portcullis: no data folder is known; name one with --data, or start a server with `portcullis demo`
    "#]].assert_eq(&page);
}

#[test]
fn check_names_every_fault_with_its_place() {
    let home = tempfile::tempdir().unwrap();
    let faulty = crate::app::QUICKSTART
        .replace("  listen: 127.0.0.1:8000", "  listne: 127.0.0.1:8000")
        .replace("kind: agent, owner: you, roles: [viewer]", "kind: agnet, owner: you, roles: [viewer]");
    std::fs::write(home.path().join("portcullis.yaml"), faulty).unwrap();
    let said = alone(home.path(), &["check"]);
    assert_eq!(said.code, 1, "{said:?}");
    expect![[r#"
        error: unknown key "listne"
          --> portcullis.yaml:11:3 (/server/listne)
            |
         11 |   listne: 127.0.0.1:8000
            |   ^^^^^^
          help: did you mean "listen"?

        error: expected human, agent or machine, found "agnet"
          --> portcullis.yaml:17:19 (/principals/viewer/kind)
            |
         17 |   viewer: { kind: agnet, owner: you, roles: [viewer] }
            |                   ^^^^^
          help: did you mean "agent"?

        portcullis.yaml: 2 problems
    "#]]
    .assert_eq(&said.err.replace(home.path().to_str().unwrap(), "HOME"));
    std::fs::write(home.path().join("portcullis.yaml"), crate::app::QUICKSTART).unwrap();
    let good = alone(home.path(), &["check"]);
    assert_eq!(good.code, 0, "{good:?}");
}

#[test]
fn check_says_what_every_step_finds_at_once() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("portcullis.yaml");
    let text = "\
principals:
  a: { kind: human, roles: [reader, writer] }
roles:
  reader: { allow: [5] }
lab: { shop_database: shop.db }
files: { root: made, create: true, timeout_ms: soon }
sql:
  databases:
    shop: { sqlite: shop.db, readers: 0, query: { tables: [\"*\"] } }
    gone: { sqlite: none.db }
  query: { database: gone }
  tools:
    good: { database: shop, description: Works., statement: SELECT 1 }
    wrong: { database: shop, description: Fails., statement: SELECT * FROM nowhere, rows_max: many }
    half: { database: shop, description: Lacks., statement: \"SELECT :a\", parameters: { a: { typ: string } } }
rest:
  apis:
    shop: { base_url: \"https://shop.example\", auth: { bearer: { file: none.txt } } }
  tools:
    late: { api: shop, method: GET, path: /x, description: Ends., deprecated: { removal: soon } }
telemetry: { otlp: { endpoint: \"http://127.0.0.1:4318\", headers: { k: { file: none.txt } } } }
log: { level: \"${PORTCULLIS_TEST_NONE}\" }
";
    std::fs::write(&file, text).unwrap();
    let said = alone(home.path(), &["check"]);
    assert_eq!(said.code, 1, "{said:?}");
    let lines: Vec<&str> =
        said.err.lines().filter(|line| line.starts_with("error") || line.contains("-->")).collect();
    expect![[r#"
        error: there is no role "writer"
          --> portcullis.yaml:2:37 (/principals/a/roles/1)
        error: expected text or a mapping with `tools`, found 5
          --> portcullis.yaml:4:21 (/roles/reader/allow/0)
        error: expected an integer, found "soon"
          --> portcullis.yaml:6:48 (/files/timeout_ms)
        error: 0 is not between 1 and 64
          --> portcullis.yaml:9:39 (/sql/databases/shop/readers)
        error: cannot read "none.db": unable to open database file: HOME/none.db
          --> portcullis.yaml:10:21 (/sql/databases/gone/sqlite)
        error: the database "gone" is closed to free SQL
          --> portcullis.yaml:11:22 (/sql/query/database)
        error: no such table: nowhere
          --> portcullis.yaml:14:62 (/sql/tools/wrong/statement)
        error: expected an integer, found "many"
          --> portcullis.yaml:14:95 (/sql/tools/wrong/rows_max)
        error: the key "type" is missing
          --> portcullis.yaml:15:88 (/sql/tools/half/parameters/a)
        error: unknown key "typ"
          --> portcullis.yaml:15:93 (/sql/tools/half/parameters/a/typ)
        error: the secret file "none.txt" cannot be read: No such file or directory (os error 2)
          --> portcullis.yaml:18:47 (/rest/apis/shop/auth)
        error: expected a day as YYYY-MM-DD
          --> portcullis.yaml:20:90 (/rest/tools/late/deprecated/removal)
        error: the secret file "none.txt" cannot be read: No such file or directory (os error 2)
          --> portcullis.yaml:21:68 (/telemetry/otlp/headers/k)
        error: the environment variable PORTCULLIS_TEST_NONE is not set; set it, or write `${PORTCULLIS_TEST_NONE:-default}`
          --> portcullis.yaml:22:15 (/log/level)"#]].assert_eq(&lines.join("\n").replace(home.path().to_str().unwrap(), "HOME"));
    let left: Vec<_> =
        std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["portcullis.yaml"], "a check makes nothing");
}

#[test]
fn check_finds_an_operation_of_no_tool_and_files_that_hold_the_data() {
    let home = tempfile::tempdir().unwrap();
    let check = |text: &str| {
        std::fs::write(home.path().join("portcullis.yaml"), text).unwrap();
        let said = alone(home.path(), &["check"]);
        let lines = said.err.lines().filter(|line| line.starts_with("error") || line.contains("help:"));
        format!("{} {}", said.code, lines.map(str::trim).collect::<Vec<_>>().join("\n"))
    };
    std::fs::create_dir(home.path().join("data")).unwrap();
    let both =
        "files: { root: . }\noperations: { x: { tool: fs_lst }, y: { tool: fs.list }, z: { tool: nope } }\n";
    let found = [check(both), check(&both.replace("root: .", "root: shared, create: true"))];
    expect![[r#"
        1 error: the data folder is in this folder, and nothing that callers can reach may hold it
        help: name a folder that holds nothing but their files, or move data_dir
        error: there is no tool "fs_lst"
        help: did you mean "fs_list"?
        error: there is no tool "nope"
        help: `portcullis tools` lists what there is
        1 error: there is no tool "fs_lst"
        help: did you mean "fs_list"?
        error: there is no tool "nope"
        help: `portcullis tools` lists what there is"#]]
    .assert_eq(&found.join("\n"));
}

#[test]
fn help_leads_with_examples() {
    let home = tempfile::tempdir().unwrap();
    let help = alone(home.path(), &["--help"]);
    assert_eq!(help.code, 0);
    assert!(help.out.find("Examples:").unwrap() < help.out.find("Usage:").unwrap(), "{}", help.out);
}

/// The snippet alone is on standard output, so that it can be piped.
#[test]
fn what_a_client_needs_is_printed_and_nothing_is_written() {
    let home = tempfile::tempdir().unwrap();
    let said = alone(home.path(), &["install", "claude-code"]);
    let url = |said: &Said| json(said)["mcpServers"]["portcullis"]["url"].as_str().unwrap().to_owned();
    assert_eq!((said.code, url(&said).as_str()), (0, "http://127.0.0.1:8000/mcp"), "{said:?}");
    assert!(said.err.contains("~/.claude.json") && !said.out.contains("claude mcp add"), "{said:?}");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing is written");
    let codex = alone(
        home.path(),
        &["install", "codex", "--name", "gate", "--url", "https://gate.example.com", "--json"],
    );
    assert_eq!(
        json(&codex)["snippet"]["mcp_servers"]["gate"]["url"],
        "https://gate.example.com/mcp",
        "{codex:?}"
    );
    assert_eq!((json(&codex)["format"].as_str(), codex.err.as_str()), (Some("toml"), ""));
    let unknown = alone(home.path(), &["install", "gemini", "--stdio"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (2, ""), "{unknown:?}");
    let both = alone(home.path(), &["install", "gemini", "--stdio", "--url", "http://x"]);
    assert_eq!(both.code, 2, "{both:?}");

    let app = App::start();
    let said = app.cli(&["install", "cursor"]);
    assert_eq!(url(&said), format!("{}/mcp", app.url));
    let said = app.cli(&["install", "claude-desktop", "--stdio"]);
    let entry = json(&said)["mcpServers"]["portcullis"].clone();
    assert_eq!(entry["command"], crate::app::PROGRAM, "{said:?}");
    let (config, data) = (app.config().canonicalize().unwrap(), app.data());
    let args = ["stdio", "--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()];
    assert_eq!(entry["args"], serde_json::json!(args));
}
