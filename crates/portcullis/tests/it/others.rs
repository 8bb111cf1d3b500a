//! Tool servers that we did not write, behind the gate, used by clients that we did not write: what is between them
//! is all that is ours.

use std::path::Path;

use expect_test::expect;
use serde_json::{Value, json};

use crate::{
    app::App,
    beds,
    foreign::{check, run, script, url},
};

/// The two of a client's file, and a folder with one file for the one that shows files.
fn servers(folder: &Path) -> Option<App> {
    let (node, everything, files) =
        (beds::place("node")?, beds::place("server_everything")?, beds::place("server_filesystem")?);
    std::fs::write(folder.join("known.txt"), "known").unwrap();
    Some(App::gateway(&json!({ "mcpServers": {
        "everything": { "command": node, "args": [everything, "stdio"] },
        "files": { "command": node, "args": [files, folder], "cwd": folder },
    } })))
}

#[test]
fn the_python_sdk_uses_them_in_every_mode() {
    let folder = tempfile::tempdir().unwrap();
    let Some(app) = servers(folder.path()) else { return };
    for mode in ["auto", "legacy", "2026-07-28"] {
        let Some(mut python) = beds::program("python") else { return };
        python.arg(script("others_python.py")).args([&url(&app), mode]);
        check(&app, &mut python, &expect!["Echo: hi 4 True True True 1 1"]);
    }
}

#[test]
fn the_typescript_client_uses_them_and_is_asked_by_them() {
    let folder = tempfile::tempdir().unwrap();
    let Some(app) = servers(folder.path()) else { return };
    for mode in ["legacy", "auto", "2026-07-28"] {
        let (Some(mut node), Some(place)) = (beds::program("node"), beds::place("mcp_client")) else {
            return;
        };
        node.arg(script("others_typescript.mjs")).args([&place, &url(&app), mode]);
        check(&app, &mut node, &expect!["The sum of 20 and 22 is 42. true false"]);
    }
}

#[test]
fn the_inspector_uses_them() {
    let folder = tempfile::tempdir().unwrap();
    let Some(app) = servers(folder.path()) else { return };
    let (Some(mut node), Some(place)) = (beds::program("node"), beds::place("mcp_inspector")) else { return };
    let headers = json!({ "Authorization": format!("Bearer {}", app.key) });
    let server = json!({ "type": "streamable-http", "url": url(&app), "headers": headers });
    let config = folder.path().join("config.json");
    std::fs::write(&config, json!({ "mcpServers": { "s": server } }).to_string()).unwrap();
    node.arg(place).args(["--cli", "--server", "s", "--format", "json", "--config"]).arg(&config);
    node.args(["--method", "tools/call", "--tool-name", "everything_echo", "--tool-arg", "message=hi"]);
    let output = run(&mut node, &app.key);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    assert_eq!(shown["result"]["content"][0]["text"], "Echo: hi", "{shown}");
}
