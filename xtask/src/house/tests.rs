use expect_test::{Expect, expect};
use serde_json::json;

use super::{arrows, source, words};
use crate::shell::root;

fn check(broken: &[String], expect: &Expect) {
    expect.assert_eq(&broken.join("\n"));
}

#[test]
fn the_house_is_in_order() {
    check(&super::broken(root()).unwrap(), &expect![""]);
}

#[test]
fn arrows_point_down_only() {
    let dependency = |name: &str, kind: serde_json::Value| json!({ "name": name, "kind": kind });
    let metadata = json!({ "packages": [
        { "name": "tool", "dependencies": [dependency("tokio", json!(null)), dependency("serde", json!(null))] },
        { "name": "gate", "dependencies": [dependency("tool", json!(null)), dependency("testkit", json!("dev"))] },
        { "name": "sql", "dependencies": [dependency("gate", json!(null)), dependency("rusqlite", json!(null))] },
        { "name": "files", "dependencies": [dependency("web", json!("dev")), dependency("sqlx", json!(null))] },
        { "name": "web", "dependencies": [] },
        { "name": "testkit", "dependencies": [] },
        { "name": "cellar", "dependencies": [] },
    ] });
    check(
        &arrows::wrong(&metadata).unwrap(),
        &expect![[r#"
        crate tool may not depend on tokio: it has no IO and no runtime
        crate sql may not know gate; ARCHITECTURE.md has the table of arrows
        crate files may not know web; ARCHITECTURE.md has the table of arrows
        crate files may not depend on sqlx: only the store and the sql room talk to databases
        crate cellar has no row in MAY_KNOW (xtask/src/house/arrows.rs): say whom it may know"#]],
    );
}

#[test]
fn what_may_not_be_written_is_found_where_it_may_not() {
    let sources = [
        ("crates/sql/src/lib.rs", "#[cfg(test)]\n#[allow(x)]\nmod beds;\nfn f() {\n    a.unwrap();\n}\n"),
        ("crates/sql/src/beds.rs", "fn f() {\n    a.unwrap();\n    tokio::spawn(b);\n    todo!()\n}\n"),
        ("crates/sql/src/beds/deep.rs", "fn f() {\n    a.unwrap();\n}\n"),
        (
            "crates/sql/src/run.rs",
            "/// No `std::env` here.\nfn f() {\n    std::env::args();\n}\n#[cfg(test)]\nmod tests {\n    x.unwrap()\n}\n",
        ),
        ("crates/gate/src/run.rs", "fn f() {\n    provider.run(permit, talk)\n}\n"),
        ("crates/serve/src/run.rs", "fn f() {\n    provider.run(permit, talk)\n}\n"),
    ];
    let sources: Vec<_> = sources.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
    check(
        &source::wrong(&sources),
        &expect![[r#"
        crates/sql/src/lib.rs:5: `.unwrap()`: use `?`, or `expect` with the reason why it cannot fail
        crates/sql/src/beds.rs:4: `todo!(`: leave a thing out whole, or do it
        crates/sql/src/run.rs:3: `std::env`: only the binary reads the environment
        crates/serve/src/run.rs:2: `.run(permit`: nothing but the gate runs a provider"#]],
    );
}

#[test]
fn long_files_and_functions_are_found() {
    let body = "    x();\n".repeat(101);
    let long = format!("impl A {{\n    pub(crate) async fn long<T>(a: T) {{\n{body}    }}\n}}\n");
    let edge = format!("fn edge() {{\n{}}}\n", "    x();\n".repeat(99));
    let sources = [
        ("crates/a/src/long.rs".to_owned(), long),
        ("crates/a/src/edge.rs".to_owned(), edge),
        ("crates/a/src/file.rs".to_owned(), "\n".repeat(701)),
        ("crates/a/src/table.rs".to_owned(), "\n".repeat(700)),
    ];
    check(
        &source::wrong(&sources),
        &expect![[r#"
        crates/a/src/long.rs:2: long has 102 lines; a function fits a screen
        crates/a/src/file.rs: 701 lines; a file is one thought of at most 700"#]],
    );
}

#[test]
fn words_of_one_machine_are_found() {
    let text = "see /home/someone/x\nGET /v1/work/items\n\"/root/.ssh\"\n/work/\npath=/work/main\nAKIAABCDEFGHIJKLMNOP\nAKIA short\n";
    check(
        &words::wrong("docs/a.md", text),
        &expect![[r#"
        docs/a.md:1: a path below /home is a path of one machine; name it relative to the repository
        docs/a.md:5: a path below /work is a path of one machine; name it relative to the repository
        docs/a.md:6: `AKIA..` looks like a real secret"#]],
    );
    check(&words::wrong("xtask/src/house/words.rs", text), &expect![""]);
}
