//! The log as a whole: writing, taking up, tampering, failing.

mod crash;
mod failing;
mod tamper;
mod writing;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use testkit::ManualClock;
use tool::Clock as _;

use crate::{Audit, AuditError, Config, Durability, Record, Report, folder::segment_name, verify};

/// A configuration with small segments and few checkpoints.
fn config() -> Config {
    Config { segment_bytes_max: 4_096, checkpoint_records: 5, ..Config::default() }
}

fn record(n: u64) -> Record {
    let body =
        json!({ "request_id": format!("req-{n}"), "tool": "get_customer", "principal": "alice", "n": n });
    Record { at: ManualClock::new().now(), event: "call.outcome", body: object(body).into() }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("{other} is no object"),
    }
}

fn open(dir: &Path, config: &Config) -> Result<Audit, AuditError> {
    Audit::open(dir, config, ManualClock::new())
}

/// Writes so many records one after another, closes, and returns their seqs.
async fn write_some(dir: &Path, config: &Config, count: u64) -> Vec<u64> {
    let audit = open(dir, config).unwrap();
    let mut seqs = Vec::new();
    for n in 0..count {
        seqs.push(audit.write(record(n), Durability::Written).await.unwrap());
    }
    audit.close().await.unwrap();
    seqs
}

fn sound(dir: &Path) -> Report {
    let report = verify(dir).unwrap();
    assert_eq!(report.problem, None);
    report
}

/// The first problem, as one line; `sound` where there is none.
fn verdict(dir: &Path) -> String {
    let problem = verify(dir).unwrap().problem;
    problem.map_or_else(|| "sound".to_owned(), |problem| problem.to_string())
}

fn segment(dir: &Path, number: u64) -> PathBuf {
    dir.join(segment_name(number))
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(ToOwned::to_owned).collect()
}

fn put_lines(path: &Path, lines: &[String]) {
    std::fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn copied(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    copy(from, to.path());
    to
}
