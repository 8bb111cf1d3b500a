//! Programs behind the whole server: what they can get at, and that nothing of them is left.

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    app::{App, until},
    beds,
};

/// The interpreter itself, not the link to it in the beds' folder, which other users may not enter.
fn python() -> Option<PathBuf> {
    let python = beds::program("python")?;
    Some(std::fs::canonicalize(python.get_program()).unwrap())
}

/// A folder that others may look into.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

fn with(section: &Value) -> App {
    let section = format!("\nupstreams: {section}\n");
    App::with(|config| config.to_owned() + &section)
}

#[test]
fn a_strict_program_can_do_none_of_what_it_tries() {
    let Some(python) = python() else { return };
    let (folder, other) = (open_folder(), open_folder());
    let script = folder.path().join("probes.py");
    std::fs::write(&script, include_str!("sandbox/probes.py")).unwrap();
    let secret = other.path().join("secret");
    std::fs::write(&secret, "s3cret").unwrap();
    let listens = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (pid, port) = (std::process::id().to_string(), listens.local_addr().unwrap().port().to_string());
    let socket = other.path().join("socket");
    let _local = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let mut sandbox = json!({ "mode": "strict", "read": [script] });
    // Where the interpreter is root's own, nobody else can run it.
    if python.starts_with("/root") {
        sandbox["user"] = json!("root");
    }
    let server = |sandbox: &Value| {
        json!({
            "command": [python, script, secret, socket, port, pid], "cwd": "/usr", "reads": ["try"],
            "protocol": "legacy", "sandbox": sandbox,
        })
    };
    let app = with(&json!({ "held": server(&sandbox), "free": server(&json!({ "mode": "off" })) }));
    let could = |tool: &str, arguments: &Value| {
        let answer = app.call(tool, arguments);
        assert_eq!(answer.status, 200, "{}\n{}", answer.line(), app.log());
        answer.json()["structuredContent"].clone()
    };
    let result = could("held_try", &json!({}));
    assert_eq!(result["could"], json!([]), "{result}");
    assert!(result["probes"].as_u64().unwrap() >= 60, "{result}");
    // What could not be done anyway proves nothing.
    let harmless = json!([
        "reads /etc/passwd",
        "lists /tmp",
        "opens tcp",
        "opens unix",
        "connects_to_the_server",
        "connects_to_its_socket",
        "signals_the_server",
        "sees_others"
    ]);
    assert_eq!(could("free_try", &json!({ "only": harmless }))["could"], harmless);
    drop(listens);
}

/// How many processes have this mark on their command line.
fn marked(mark: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(mark)).count()
}

/// Starts whatever is to stay, and then does nothing.
fn stays(mark: &str) -> Vec<String> {
    let script = format!("setsid sleep {mark} & sleep {mark} & (sleep {mark} &) ; exec sleep {mark}");
    ["sh", "-c", &script].map(str::to_owned).to_vec()
}

#[test]
fn nothing_of_a_program_outlives_a_server_that_is_killed() {
    let mark = format!("93{}", std::process::id());
    for mode in ["off", "standard"] {
        let section = json!({ "stays": {
            "command": stays(&mark), "sandbox": { "mode": mode }, "start_wait_ms": 0, "alive_ms": 0,
        } });
        let mut app = with(&section);
        until("all of it runs", || marked(&mark) == 4);
        app.kill();
        until("nothing is left", || marked(&mark) == 0);
    }
}
