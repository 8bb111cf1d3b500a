use std::{fs, os::unix::fs::symlink, path::Path};

use expect_test::{Expect, expect};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{check, check_faults, read, resources};
use crate::resources::{Config, open};

/// A folder of a configuration, and beside it one with a secret.
fn folders() -> (TempDir, std::path::PathBuf) {
    let all = tempfile::tempdir().unwrap();
    let home = all.path().join("home");
    fs::create_dir_all(home.join("runbooks/deep")).unwrap();
    fs::create_dir(all.path().join("outside")).unwrap();
    fs::write(all.path().join("outside/secret.txt"), "SECRET").unwrap();
    fs::write(home.join("pepper.key"), "SECRET").unwrap();
    fs::write(home.join("runbooks/disk.md"), "# Disk\n").unwrap();
    fs::write(home.join("runbooks/.hidden.md"), "SECRET").unwrap();
    fs::write(home.join("runbooks/deep/x.md"), "deep").unwrap();
    fs::write(home.join("logo.bin"), b"\xff\xfe\x00\x01").unwrap();
    symlink(all.path().join("outside/secret.txt"), home.join("runbooks/out.md")).unwrap();
    symlink("../pepper.key", home.join("runbooks/in.md")).unwrap();
    symlink("runbooks", home.join("link")).unwrap();
    (all, home)
}

fn runbooks(symlinks: &str) -> Value {
    json!({
        "runbook:///{name}": { "name": "runbook", "file": "runbooks/{name}.md", "symlinks": symlinks },
        "runbook:///any/{+path}": { "name": "any", "file": "runbooks/{path}.md" },
        "file:///logo": { "name": "logo", "file": "logo.bin" },
    })
}

#[tokio::test]
async fn files_are_read_at_each_call() {
    let (_all, home) = folders();
    let room = resources(&home, runbooks("refuse"));
    let check = async |uri: &str, expected: Expect| check(read(&*room, uri).await, expected);
    check(
        "runbook:///disk",
        expect![[r##"{"contents":[{"uri":"runbook:///disk","mimeType":"text/plain","text":"# Disk\n"}]}"##]],
    )
    .await;
    check(
        "file:///logo",
        expect![[
            r#"{"contents":[{"uri":"file:///logo","mimeType":"application/octet-stream","blob":"//4AAQ=="}]}"#
        ]],
    )
    .await;
    fs::write(home.join("runbooks/disk.md"), "changed").unwrap();
    check(
        "runbook:///disk",
        expect![[r#"{"contents":[{"uri":"runbook:///disk","mimeType":"text/plain","text":"changed"}]}"#]],
    )
    .await;
    fs::remove_file(home.join("logo.bin")).unwrap();
    check("file:///logo", expect!["Upstream: the file of this resource cannot be read; ask an operator"])
        .await;
}

#[tokio::test]
async fn nothing_that_is_asked_leads_elsewhere() {
    let (_all, home) = folders();
    let room = resources(&home, runbooks("refuse"));
    let mut page = String::new();
    for uri in [
        "runbook:///none",
        "runbook:///deep%2Fx",
        "runbook:///..%2Fpepper.key%00",
        "runbook:///..",
        "runbook:///.hidden",
        "runbook:///%2Fetc%2Fpasswd",
        "runbook:///a%5Cb",
        "runbook:///out",
        "runbook:///in",
        "runbook:///any/deep/x",
        "runbook:///any/../pepper",
    ] {
        let said = match read(&*room, uri).await {
            Ok(value) => value.to_string(),
            Err(fault) => format!("{:?} {fault}", fault.code),
        };
        page.push_str(&format!("{uri}: {said}\n"));
    }
    assert!(!page.contains("SECRET"));
    expect![[r#"
        runbook:///none: NotFound Resource not found: runbook:///none
        runbook:///deep%2Fx: NotFound Resource not found: runbook:///deep%2Fx
        runbook:///..%2Fpepper.key%00: NotFound Resource not found: runbook:///..%2Fpepper.key%00
        runbook:///..: NotFound Resource not found: runbook:///..
        runbook:///.hidden: NotFound Resource not found: runbook:///.hidden
        runbook:///%2Fetc%2Fpasswd: NotFound Resource not found: runbook:///%2Fetc%2Fpasswd
        runbook:///a%5Cb: NotFound Resource not found: runbook:///a%5Cb
        runbook:///out: Denied what is there is no file that may be read; ask an operator
        runbook:///in: Denied what is there is no file that may be read; ask an operator
        runbook:///any/deep/x: NotFound Resource not found: runbook:///any/deep/x
        runbook:///any/../pepper: NotFound Resource not found: runbook:///any/../pepper
    "#]]
    .assert_eq(&page);
}

#[tokio::test]
async fn links_that_stay_beneath_can_be_followed() {
    let (_all, home) = folders();
    let room = resources(&home, runbooks("beneath"));
    let said = async |uri: &str| match read(&*room, uri).await {
        Ok(value) => value["contents"][0]["text"].to_string(),
        Err(fault) => format!("{:?}", fault.code),
    };
    assert_eq!(said("runbook:///in").await, "\"SECRET\"", "as its description warns");
    assert_eq!(said("runbook:///out").await, "Denied");
    assert_eq!(said("runbook:///disk").await, "\"# Disk\\n\"");
    // As a ConfigMap is mounted.
    fs::create_dir(home.join("..2026")).unwrap();
    fs::write(home.join("..2026/hours.md"), "9 to 5").unwrap();
    symlink("..2026", home.join("..data")).unwrap();
    symlink("..data/hours.md", home.join("hours.md")).unwrap();
    let section = |symlinks: &str| json!({ "docs:///hours": { "name": "hours", "file": "hours.md", "symlinks": symlinks } });
    let room = resources(&home, section("beneath"));
    let hours = read(&*room, "docs:///hours").await.unwrap();
    assert_eq!(hours["contents"][0]["text"], "9 to 5");
    faults(
        &home,
        section("refuse"),
        expect![[
            r#"/resources/docs:~1~1~1hours/file: cannot open "hours.md": it is or passes a symbolic link that is not followed (`symlinks`)"#
        ]],
    );
}

#[tokio::test]
async fn a_file_is_as_large_as_it_may_be_and_no_larger() {
    let (_all, home) = folders();
    let room = resources(
        &home,
        json!({ "runbook:///disk": { "name": "a", "file": "runbooks/disk.md", "bytes_max": 7 } }),
    );
    assert!(read(&*room, "runbook:///disk").await.is_ok());
    fs::write(home.join("runbooks/disk.md"), "# Disk\n!").unwrap();
    check(
        read(&*room, "runbook:///disk").await,
        expect![[
            r#"BadArguments at "/uri": the resource has more than 7 bytes, and it is read whole or not at all; ask an operator to raise its `bytes_max`"#
        ]],
    );
}

/// What opening says.
fn faults(home: &Path, section: Value, expected: Expect) {
    let config: Config = serde_json::from_value(section).unwrap();
    check_faults(open(&config, &testkit::parts(home)).err().unwrap_or_default(), expected);
}

#[test]
fn files_that_cannot_be_read_are_faults_at_the_start() {
    let (_all, home) = folders();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        home.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let one = |name: &str, file: &str| json!({ "name": name, "file": file, "bytes_max": 6 });
    faults(
        &home,
        json!({
            "docs:///a": one("a", "none.md"),
            "docs:///b": one("b", "runbooks"),
            "docs:///c": one("c", "runbooks/out.md"),
            "docs:///d": one("d", "link/disk.md"),
            "docs:///e": one("e", "pipe"),
            "docs:///f": one("f", "runbooks/disk.md"),
            "docs:///g": one("g", "pepper.key/x"),
            "docs:///h/{x}": one("h", "none/{x}"),
        }),
        expect![[r#"
            /resources/docs:~1~1~1a/file: cannot open "none.md": there is no such file
            /resources/docs:~1~1~1b/file: cannot open "runbooks": it is no regular file
            /resources/docs:~1~1~1c/file: cannot open "runbooks/out.md": it is or passes a symbolic link that is not followed (`symlinks`)
            /resources/docs:~1~1~1d/file: cannot open "link/disk.md": it is or passes a symbolic link that is not followed (`symlinks`)
            /resources/docs:~1~1~1e/file: cannot open "pipe": it is no regular file
            /resources/docs:~1~1~1f/file: cannot open "runbooks/disk.md": it has more than 6 bytes (`bytes_max`)
            /resources/docs:~1~1~1g/file: cannot open "pepper.key/x": there is no such file"#]],
    );
}
