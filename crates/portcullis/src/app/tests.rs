use std::{fs, path::Path};

use serde_json::{Value, json};
use tool::{Call, Completing, Deaf, Face, Kind, Reply, RequestId};

use super::*;
use crate::config;

const CONFIG: &str = r#"
data_dir: data
server: { listen: "127.0.0.1:0" }
principals:
  bot: { kind: machine, roles: [reader] }
roles:
  reader: { allow: ["effect:reads"] }
bootstrap:
  keys:
    - { label: bot, principal: bot, show: key }
files: { root: files, create: true }
prompts:
  greet:
    arguments: { who: { required: true, enum: [Alice, Bob] } }
    messages: [{ role: user, text: "Greet {who}." }]
resources:
  "docs:///note/{name}": { name: note, text: "Note {name}" }
"#;

fn load(folder: &Path, text: &str) -> Loaded {
    let file = folder.join("portcullis.yaml");
    fs::write(&file, text).unwrap();
    config::load(&file, &|_| None).unwrap()
}

async fn call(app: &App, secret: &str, tool: &str, arguments: Value) -> Result<Value, String> {
    ask(app, secret, Kind::tool(tool, tool::json::raw(&arguments))).await
}

async fn ask(app: &App, secret: &str, kind: Kind) -> Result<Value, String> {
    let credentials = gate::Credentials::bearer(tool::Secret::new(secret.to_owned()));
    let call = Call::new(kind, Face::Mcp, RequestId::ours("r"));
    let answer = app.gate().call(gate::Request { credentials, call, line: Arc::new(Deaf) }).await;
    match answer.result {
        Ok(Reply::Done(outcome)) => Ok(outcome.to_value()),
        Ok(_) => Err("no result".to_owned()),
        Err(fault) => Err(fault.text),
    }
}

/// Prompts and resources go down the same road as tools.
async fn prompts_and_resources_answer(app: &App, secret: &str) {
    let prompt = |who: &str| Kind::GetPrompt {
        name: "greet".into(),
        arguments: tool::json::raw(&json!({ "who": who })),
    };
    let greeted = ask(app, secret, prompt("Bob")).await.unwrap();
    assert_eq!(greeted["messages"][0]["content"]["text"], "Greet Bob.");
    let refused = ask(app, secret, prompt("Eve")).await.unwrap_err();
    assert_eq!(refused, r#""/who" must be one of ["Alice","Bob"], not "Eve""#);
    let typed = json!({ "ref": { "type": "ref/prompt", "name": "greet" }, "argument": { "name": "who", "value": "b" } });
    let of = Completing::Prompt("greet".into());
    let offered = ask(app, secret, Kind::Complete { of, arguments: tool::json::raw(&typed) }).await.unwrap();
    assert_eq!(offered["completion"]["values"], json!(["Bob"]));
    let read = |uri: &str| Kind::ReadResource { uri: uri.into() };
    let note = ask(app, secret, read("docs:///note/a%20b")).await.unwrap();
    assert_eq!(note["contents"][0]["text"], "Note a b");
    let missing = ask(app, secret, read("docs:///none")).await.unwrap_err();
    assert_eq!(missing, "Resource not found: docs:///none");
    let named = call(app, secret, "prompt_greet", json!({ "who": "Bob" })).await.unwrap_err();
    assert_eq!(named, "Tool not found: prompt_greet", "what stands for a prompt is no tool");
}

/// One test, since a process mints its seal once: the house from its first start over reloads to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_house_opens_serves_reloads_and_closes() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let app = App::open(load(folder.path(), CONFIG), &dir).await.map_err(|e| format!("{e:?}")).unwrap();
    assert!(matches!(DataFolder::open(&dir), Err(DataError::Locked(_))));
    let secret = app.shown[0].secret.expose().to_owned();
    fs::write(folder.path().join("files/a.txt"), "one").unwrap();
    let read = json!({ "path": "a.txt" });
    assert_eq!(call(&app, &secret, "fs_read_text", read.clone()).await.unwrap()["text"], "one");
    assert_eq!(call(&app, "sk_bot_nobody", "fs_list", json!({})).await.unwrap_err(), "Invalid API key");
    assert_eq!(call(&app, &secret, "keys_list", json!({})).await.unwrap_err(), "Tool not found: keys_list");
    prompts_and_resources_answer(&app, &secret).await;

    // A new folder, and the room of the old one goes.
    let other = CONFIG.replace("root: files", "root: others");
    fs::write(folder.path().join("portcullis.yaml"), &other).unwrap();
    let said = app.core().reload().await.unwrap();
    assert_eq!(said, "the configuration was taken anew; changed: files");
    fs::write(folder.path().join("others/a.txt"), "two").unwrap();
    assert_eq!(call(&app, &secret, "fs_read_text", read.clone()).await.unwrap()["text"], "two");

    // Faults of every kind keep what holds.
    for (wrong, line) in [
        ("files: [", "not valid YAML"),
        ("filez: {}\n", "unknown key \"filez\""),
        ("files: {root: ../none/there}\n", "cannot open"),
        ("principals: {a: {kind: human, roles: [x]}}\n", "there is no role \"x\""),
    ] {
        fs::write(folder.path().join("portcullis.yaml"), wrong).unwrap();
        let lines = app.core().reload().await.unwrap_err().lines();
        assert!(lines[0].contains(line), "{wrong}: {lines:?}");
        assert_eq!(
            call(&app, &secret, "fs_read_text", read.clone()).await.unwrap()["text"],
            "two",
            "{wrong}"
        );
    }

    let audit_dir = app.core().audit_dir.clone();
    app.close().await;
    let report = audit::verify(&audit_dir).unwrap();
    assert!(report.problem.is_none(), "{report:?}");
    let all = audit::TailQuery { count: 100, ..audit::TailQuery::default() };
    let events: Vec<String> = audit::tail(&audit_dir, &all)
        .unwrap()
        .iter()
        .map(|record| record["event"].as_str().unwrap().to_owned())
        .collect();
    for event in ["server.started", "auth.refused", "config.reloaded", "config.refused", "server.stopped"] {
        assert!(events.iter().any(|other| other == event), "{event} is not in {events:?}");
    }
    assert!(DataFolder::open(&dir).is_ok(), "the lock is given back");
}
