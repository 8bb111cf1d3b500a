use std::time::Duration;

use expect_test::{Expect, expect};

use super::*;
use crate::{SyncMode, TailQuery, tail};

#[tokio::test]
async fn a_record_is_one_line_that_anyone_can_check() {
    let dir = tempfile::tempdir().unwrap();
    write_some(dir.path(), &config(), 1).await;
    let lines = lines(&segment(dir.path(), 1));
    expect![[r#"{"seq":1,"timestamp":"2026-01-01T00:00:00.000Z","event":"call.outcome","request_id":"req-0","tool":"get_customer","principal":"alice","n":0,"prev":"0000000000000000000000000000000000000000000000000000000000000000","hash":"4b3e5a5a5d66bb3a47f64afd616fa681bac4812ed6241978852dd3311861e56d"}"#]].assert_eq(&lines[0]);
    let start = lines[0].find(r#","hash":""#).unwrap();
    let hash = blake3::hash(format!("{}}}", &lines[0][..start]).as_bytes()).to_hex();
    assert!(lines[0].contains(hash.as_str()));
    assert!(
        lines[1].contains(r#""event":"checkpoint","segment":1,"oldest":1,"signature":""#),
        "{}",
        lines[1]
    );
    assert_eq!(super::lines(&dir.path().join("checkpoints.jsonl")), [lines[1].clone()]);
}

#[tokio::test]
async fn seqs_go_on_over_segments_and_restarts_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = 1;
    for _ in 0..3 {
        for seq in write_some(dir.path(), &config(), 23).await {
            assert!(seq >= expected, "{seq} after {expected}");
            expected = seq + 1;
        }
    }
    let report = sound(dir.path());
    assert!(report.segments > 3, "{report:?}");
    assert_eq!(report.first_seq, Some(1));
    assert_eq!(report.last_seq, Some(report.records));
    assert_eq!(report.records, 69 + report.checkpoints);
}

#[tokio::test]
async fn segments_end_at_their_bound_and_with_a_checkpoint() {
    for size in [1, 500, 1_000, 3_000] {
        let dir = tempfile::tempdir().unwrap();
        let audit = open(dir.path(), &Config { checkpoint_records: 1_000, ..config() }).unwrap();
        for n in 0..30 {
            let mut record = record(n);
            record.body.put("text", &"x".repeat(size));
            audit.write(record, Durability::Written).await.unwrap();
        }
        audit.close().await.unwrap();
        let report = sound(dir.path());
        for number in 1..=report.segments {
            let length = std::fs::metadata(segment(dir.path(), number)).unwrap().len();
            let last = lines(&segment(dir.path(), number)).pop().unwrap();
            assert!(length <= 4_096 && last.contains(r#""event":"checkpoint""#), "{length}");
            let line = 350 + size as u64;
            assert!(number == report.segments || length + line > 4_096 - 640, "{length} is short for {size}");
        }
    }
}

#[tokio::test]
async fn a_record_larger_than_a_segment_gets_one_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path(), &config()).unwrap();
    for n in 0..3 {
        let mut record = record(n);
        record.body.put("text", &"x".repeat(10_000));
        audit.write(record, Durability::Written).await.unwrap();
    }
    audit.close().await.unwrap();
    assert_eq!(sound(dir.path()).segments, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_writers_share_one_chain() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(
        dir.path(),
        &Config {
            segment_bytes_max: 200_000,
            queue_max: 8,
            queue_wait_ms: 60_000,
            checkpoint_records: 1_000,
            ..config()
        },
    )
    .unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..50 {
        let audit = audit.clone();
        tasks.spawn(async move {
            let mut seqs = Vec::new();
            for n in 0..200 {
                seqs.push(audit.write(record(task * 1_000 + n), Durability::Written).await.unwrap());
            }
            assert!(seqs.is_sorted(), "one caller's records keep their order");
            seqs
        });
    }
    let mut seqs: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    audit.close().await.unwrap();
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), 10_000);
    let report = sound(dir.path());
    assert_eq!(report.records, 10_000 + report.checkpoints);
}

#[tokio::test]
async fn old_segments_are_removed_and_the_rest_is_still_sound() {
    for keep in [1, 2, 3] {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { keep_segments: Some(keep), checkpoint_records: 50, ..config() };
        for _ in 0..3 {
            write_some(dir.path(), &config, 60).await;
            let report = sound(dir.path());
            assert_eq!(report.segments, u64::from(keep));
            assert!(report.first_seq > Some(1));
        }
    }
}

#[tokio::test]
async fn a_checkpoint_comes_after_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path(), &Config { checkpoint_seconds: 1, ..Config::default() }).unwrap();
    audit.write(record(0), Durability::Written).await.unwrap();
    let start = std::time::Instant::now();
    while sound(dir.path()).checkpoints == 0 {
        assert!(start.elapsed() < Duration::from_secs(30), "no checkpoint came");
        tokio::task::yield_now().await;
    }
    assert!(start.elapsed() > Duration::from_millis(500));
    audit.close().await.unwrap();
    assert_eq!(sound(dir.path()).checkpoints, 1, "nothing new to sign at the end");
}

#[tokio::test]
async fn names_and_events_of_the_log_itself_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path(), &config()).unwrap();
    for name in ["seq", "timestamp", "event", "prev", "hash"] {
        let mut record = record(0);
        record.body.put(name, &1);
        assert!(
            matches!(audit.write(record, Durability::Written).await, Err(AuditError::Record(_))),
            "{name}"
        );
    }
    let forged = Record { event: "checkpoint", ..record(0) };
    assert!(matches!(audit.write(forged, Durability::Written).await, Err(AuditError::Record(_))));
    assert_eq!(audit.write(record(0), Durability::Written).await.unwrap(), 1);
}

#[tokio::test]
async fn a_body_over_its_bound_is_shortened() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path(), &Config { record_bytes_max: 1_024, ..config() }).unwrap();
    let mut long = record(0);
    long.body.put("params", &json!({ "rows": vec![1; 10_000] }));
    long.body.put("result_size", &json!(7));
    audit.write(long, Durability::Written).await.unwrap();
    let many = (0..1_000).map(|n| (format!("member{n}"), json!(n)));
    let many = Record { body: Map::from_iter(many).into(), ..record(0) };
    audit.write(many, Durability::Written).await.unwrap();
    audit.close().await.unwrap();
    sound(dir.path());
    let found = tail(dir.path(), &TailQuery { count: 10, ..TailQuery::default() }).unwrap();
    expect!["req-0 7 [cut: 20010 bytes, b3:4f1c7]"].assert_eq(&format!(
        "{} {} {}]",
        found[0]["request_id"].as_str().unwrap(),
        found[0]["result_size"],
        &found[0]["params"].as_str().unwrap()[..27],
    ));
    assert_eq!(found[1]["member0"], 0);
    assert!(found[1]["members_left_out"].as_u64().unwrap() > 900);
    assert!(found[1].to_string().len() < 1_024 + 256, "{}", found[1].to_string().len());
}

#[tokio::test]
async fn hostile_texts_stay_on_their_line() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path(), &config()).unwrap();
    let hostile = "\n{\"seq\":2}\r\u{2028}\0\",\"prev\":\"\",\"hash\":\"\"}\n";
    let mut bad = record(0);
    bad.body.put(hostile, hostile);
    audit.write(bad, Durability::Written).await.unwrap();
    audit.close().await.unwrap();
    assert_eq!(sound(dir.path()).records, 2);
    let found = tail(dir.path(), &TailQuery { count: 1, ..TailQuery::default() }).unwrap();
    assert_eq!(found[0][hostile], hostile);
}

#[tokio::test]
async fn a_closed_log_refuses_and_closing_twice_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path(), &config()).unwrap();
    audit.close().await.unwrap();
    audit.close().await.unwrap();
    assert!(matches!(audit.write(record(0), Durability::Written).await, Err(AuditError::Closed)));
    let fault = tool::Fault::from(AuditError::Closed);
    assert_eq!(fault.code, tool::Code::Busy);
}

#[tokio::test]
async fn there_is_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path(), &config()).unwrap();
    assert!(matches!(open(dir.path(), &config()), Err(AuditError::Locked { .. })));
    audit.close().await.unwrap();
    open(dir.path(), &config()).unwrap().close().await.unwrap();
}

#[tokio::test]
async fn a_log_that_is_dropped_is_written_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path(), &config()).unwrap();
    audit.write(record(0), Durability::Written).await.unwrap();
    drop(audit);
    open(dir.path(), &config()).unwrap().close().await.unwrap();
    assert_eq!(sound(dir.path()).checkpoints, 1);
}

#[tokio::test]
async fn every_sync_mode_keeps_everything() {
    for sync in [SyncMode::Written, SyncMode::Always, SyncMode::Changes] {
        let dir = tempfile::tempdir().unwrap();
        let audit = open(dir.path(), &Config { sync, ..config() }).unwrap();
        audit.write(record(0), Durability::Synced).await.unwrap();
        audit.write(record(1), Durability::Written).await.unwrap();
        audit.close().await.unwrap();
        assert_eq!(sound(dir.path()).records, 3);
    }
}

#[tokio::test]
async fn the_newest_that_match_are_told_newest_last() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path(), &config()).unwrap();
    for n in 0..40 {
        let tool = ["get_customer", "sql_query", "a \"quoted\" one"][n as usize % 3];
        let body = json!({ "request_id": format!("req-{n}"), "tool": tool, "principal": "alice", "n": n });
        let event = if n % 2 == 0 { "call.intent" } else { "call.outcome" };
        let record = Record { event, body: object(body).into(), ..record(n) };
        audit.write(record, Durability::Written).await.unwrap();
    }
    let check = |query: TailQuery, expected: Expect| {
        let found = tail(dir.path(), &query).unwrap();
        let shown: Vec<_> = found.iter().map(|record| record["n"].to_string()).collect();
        expected.assert_eq(&shown.join(" "));
    };
    let all = || TailQuery { count: 100, ..TailQuery::default() };
    check(TailQuery { count: 3, ..all() }, expect!["37 38 39"]);
    check(TailQuery { count: 0, ..all() }, expect![""]);
    check(TailQuery { event: Some("call.intent".into()), count: 3, ..all() }, expect!["34 36 38"]);
    check(TailQuery { tool: Some("sql_query".into()), count: 2, ..all() }, expect!["34 37"]);
    check(TailQuery { tool: Some("a \"quoted\" one".into()), count: 2, ..all() }, expect!["35 38"]);
    check(TailQuery { request_id: Some("req-7".into()), ..all() }, expect!["7"]);
    check(TailQuery { principal: Some("mallory".into()), ..all() }, expect![""]);
    check(TailQuery { principal: Some("alice".into()), tool: Some("sql".into()), ..all() }, expect![""]);
    check(TailQuery { since_seq: Some(u64::MAX), ..all() }, expect![""]);
    let seq = tail(dir.path(), &TailQuery { request_id: Some("req-36".into()), ..all() }).unwrap()[0]["seq"]
        .as_u64();
    check(TailQuery { since_seq: seq, ..all() }, expect!["37 38 39"]);
    check(TailQuery { event: Some("checkpoint".into()), count: 1, ..all() }, expect!["null"]);
    assert_eq!(crate::tail_until(dir.path(), &all(), &|| true).unwrap(), Vec::<Value>::new());
    audit.close().await.unwrap();
}
