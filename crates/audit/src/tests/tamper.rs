use std::sync::{LazyLock, Mutex};

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::{Anchor, hex, record::Link, verify_against};

/// A sound log of a few segments, made once.
static SOUND: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let audit = open(dir.path(), &config()).unwrap();
        for n in 0..30 {
            audit.write(record(n), Durability::Written).await.unwrap();
        }
        audit.close().await.unwrap();
    });
    dir
});

/// Does something to a sound log, and expects this verdict of `verify`.
fn check(tamper: impl Fn(&Path), expected: Expect) {
    let dir = copied(SOUND.path());
    assert_eq!(verdict(dir.path()), "sound");
    tamper(dir.path());
    expected.assert_eq(&verdict(dir.path()));
}

fn edit(dir: &Path, number: u64, change: impl Fn(&mut Vec<String>)) {
    let path = segment(dir, number);
    let mut all = lines(&path);
    change(&mut all);
    put_lines(&path, &all);
}

fn edit_checkpoints(dir: &Path, change: impl Fn(&mut Vec<String>)) {
    let path = dir.join("checkpoints.jsonl");
    let mut all = lines(&path);
    change(&mut all);
    put_lines(&path, &all);
}

fn rename(dir: &Path, from: u64, to: u64) {
    std::fs::rename(segment(dir, from), segment(dir, to)).unwrap();
}

/// Changes the members of one record and gives it and all after it the hashes that fit, as a forger could who
/// does not have the key.
fn rewrite(dir: &Path, seq: u64, change: impl Fn(&str) -> Option<String>) {
    let mut link = Link::START;
    for number in crate::folder::segments(dir).unwrap() {
        let mut text = Vec::new();
        for line in lines(&segment(dir, number)) {
            let found: Value = serde_json::from_str(&line).unwrap();
            let members = &line[line.find("\"timestamp\"").unwrap()..line.find("\"prev\"").unwrap()];
            let changed = if found["seq"] == seq { change(members) } else { Some(members.to_owned()) };
            if let Some(members) = changed {
                link = link.push_line(members.as_bytes(), &mut text);
            }
        }
        std::fs::write(segment(dir, number), text).unwrap();
    }
}

#[test]
fn the_log_that_is_tampered_with() {
    let report = sound(SOUND.path());
    expect!["36 records, 3 segments, 6 checkpoints, Some(1) to Some(36)"].assert_eq(&format!(
        "{} records, {} segments, {} checkpoints, {:?} to {:?}",
        report.records, report.segments, report.checkpoints, report.first_seq, report.last_seq
    ));
}

#[test]
fn changed_records_are_named() {
    check(
        |dir| edit(dir, 1, |lines| lines[2] = lines[2].replace("alice", "alicf")),
        expect!["audit-000001.jsonl line 3 (seq 3): its content does not fit its `hash`"],
    );
    check(
        |dir| edit(dir, 2, |lines| lines[0] = lines[0].replace("req-", "rex-")),
        expect!["audit-000002.jsonl line 1 (seq 13): its content does not fit its `hash`"],
    );
    check(
        |dir| edit(dir, 1, |lines| lines[2] = lines[2].replace("\"seq\":3", "\"seq\":4")),
        expect!["audit-000001.jsonl line 3 (seq 3): its content does not fit its `hash`"],
    );
    check(
        |dir| edit(dir, 1, |lines| lines[2] = lines[2].to_uppercase()),
        expect!["audit-000001.jsonl line 3 (seq 3): it does not end in its `hash`"],
    );
    check(
        |dir| edit(dir, 1, |lines| lines[2].push(' ')),
        expect!["audit-000001.jsonl line 3 (seq 3): it does not end in its `hash`"],
    );
    check(
        |dir| edit(dir, 1, |lines| lines[2] = "{}".to_owned()),
        expect!["audit-000001.jsonl line 3 (seq 3): it does not end in its `hash`"],
    );
    check(
        |dir| edit(dir, 1, |lines| lines[2].clear()),
        expect!["audit-000001.jsonl line 3 (seq 3): it does not end in its `hash`"],
    );
    check(
        |dir| edit(dir, 1, |lines| lines[2] = "x".repeat(9 << 20)),
        expect!["audit-000001.jsonl line 3 (seq 3): it does not end in its `hash`"],
    );
}

#[test]
fn records_removed_inserted_swapped_and_reordered_are_named() {
    check(
        |dir| edit(dir, 1, |lines| drop(lines.remove(1))),
        expect!["audit-000001.jsonl line 2 (seq 2): expected seq 2 here, found 3"],
    );
    check(
        |dir| edit(dir, 1, |lines| drop(lines.remove(0))),
        expect!["audit-000001.jsonl line 1 (seq 1): expected seq 1 here, found 2"],
    );
    check(
        |dir| edit(dir, 1, |lines| lines.insert(3, lines[2].clone())),
        expect!["audit-000001.jsonl line 4 (seq 4): expected seq 4 here, found 3"],
    );
    check(
        |dir| edit(dir, 1, |lines| lines.swap(1, 3)),
        expect!["audit-000001.jsonl line 2 (seq 2): expected seq 2 here, found 4"],
    );
    check(
        |dir| edit(dir, 2, |lines| lines.reverse()),
        expect!["audit-000002.jsonl line 1 (seq 13): expected seq 13 here, found 24"],
    );
}

#[test]
fn a_forged_record_with_hashes_that_fit_is_found_at_the_next_checkpoint() {
    check(
        |dir| rewrite(dir, 3, |members| Some(members.replace("alice", "mallory"))),
        expect!["audit-000001.jsonl line 6 (seq 6): checkpoints.jsonl holds another record with this seq"],
    );
    check(
        |dir| rewrite(dir, 3, |_| None),
        expect![
            "audit-000001.jsonl line 5 (seq 5): its signature does not fit: it is forged, or a record since the checkpoint before was rewritten"
        ],
    );
    check(
        |dir| rewrite(dir, 6, |_| None),
        expect!["audit-000001.jsonl line 6 (seq 6): checkpoints.jsonl holds another record with this seq"],
    );
    check(
        |dir| {
            rewrite(dir, 6, |_| None);
            edit_checkpoints(dir, |lines| drop(lines.remove(0)));
        },
        expect![
            "audit-000001.jsonl line 11 (seq 11): its signature does not fit: it is forged, or a record since the checkpoint before was rewritten"
        ],
    );
    check(
        |dir| rewrite(dir, 6, |members| Some(members.replace("checkpoint", "call.intent"))),
        expect!["audit-000001.jsonl line 6 (seq 6): checkpoints.jsonl holds another record with this seq"],
    );
}

#[test]
fn forged_checkpoints_are_named() {
    let other = |members: &str| {
        let start = members.find("\"signature\":\"").unwrap() + 13;
        Some(format!("{}{}{}", &members[..start], "0".repeat(128), &members[start + 128..]))
    };
    check(
        |dir| rewrite(dir, 6, other),
        expect!["audit-000001.jsonl line 6 (seq 6): checkpoints.jsonl holds another record with this seq"],
    );
    check(
        |dir| rewrite(dir, 6, |members| Some(members.replace("\"oldest\":1", "\"oldest\":2"))),
        expect!["audit-000001.jsonl line 6 (seq 6): checkpoints.jsonl holds another record with this seq"],
    );
    check(
        |dir| rewrite(dir, 6, |members| Some(members.replace("\"segment\":1", "\"segment\":2"))),
        expect!["audit-000001.jsonl line 6 (seq 6): checkpoints.jsonl holds another record with this seq"],
    );
    check(
        |dir| rewrite(dir, 6, |members| Some(format!("{members}\"extra\":1,"))),
        expect!["audit-000001.jsonl line 6 (seq 6): checkpoints.jsonl holds another record with this seq"],
    );
    check(
        |dir| rewrite(dir, 4, |_| Some("\"timestamp\":\"\",\"event\":\"checkpoint\",".to_owned())),
        expect![[
            r#"audit-000001.jsonl line 4 (seq 4): it is not a checkpoint: "" is not an RFC 3339 time: premature end of input at line 1 column 23"#
        ]],
    );
    check(
        |dir| {
            let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
            std::fs::write(dir.join("signing.pub"), hex::text(key.verifying_key().as_bytes()) + "\n")
                .unwrap();
        },
        expect![
            "audit-000001.jsonl line 6 (seq 6): its signature does not fit: it is forged, or a record since the checkpoint before was rewritten"
        ],
    );
    check(
        |dir| std::fs::remove_file(dir.join("signing.pub")).unwrap(),
        expect!["signing.pub: there is no public key in it"],
    );
}

#[test]
fn cuts_are_found_to_and_past_the_last_checkpoint() {
    let last = sound(SOUND.path()).segments;
    check(
        |dir| edit(dir, last, |lines| drop(lines.pop())),
        expect![
            "audit-000003.jsonl line 12 (seq 36): checkpoints.jsonl holds a checkpoint with seq 36 that the chain does not hold: records were cut off, or an old copy was put back"
        ],
    );
    check(
        |dir| edit(dir, last, |lines| lines.truncate(1)),
        expect![
            "audit-000003.jsonl line 2 (seq 26): checkpoints.jsonl holds a checkpoint with seq 30 that the chain does not hold: records were cut off, or an old copy was put back"
        ],
    );
    check(
        |dir| edit(dir, 1, |lines| drop(lines.pop())),
        expect!["audit-000002.jsonl line 1 (seq 12): expected seq 12 here, found 13"],
    );
    check(|dir| edit(dir, 2, Vec::clear), expect!["audit-000002.jsonl (seq 13): the segment is empty"]);
    check(
        |dir| edit(dir, last, Vec::clear),
        expect![
            "audit-000003.jsonl line 1 (seq 25): checkpoints.jsonl holds a checkpoint with seq 30 that the chain does not hold: records were cut off, or an old copy was put back"
        ],
    );
    check(
        |dir| {
            let path = segment(dir, last);
            let content = std::fs::read(&path).unwrap();
            std::fs::write(&path, &content[..content.len() - 1]).unwrap();
        },
        expect![
            "audit-000003.jsonl line 12 (seq 36): the line is torn after 384 bytes: the server was stopped while it wrote, and cuts the line when it starts, or someone cut it"
        ],
    );
}

#[test]
fn segments_removed_renumbered_swapped_and_replaced_are_named() {
    let last = sound(SOUND.path()).segments;
    let remove = |dir: &Path, number| std::fs::remove_file(segment(dir, number)).unwrap();
    check(
        |dir| remove(dir, 1),
        expect![
            "audit-000001.jsonl (seq 1): the segment is missing, and no checkpoint says that it was removed"
        ],
    );
    check(|dir| remove(dir, 2), expect!["audit-000002.jsonl (seq 13): the segment is missing"]);
    check(
        |dir| remove(dir, last),
        expect![
            "audit-000002.jsonl line 13 (seq 25): checkpoints.jsonl holds a checkpoint with seq 30 that the chain does not hold: records were cut off, or an old copy was put back"
        ],
    );
    check(
        |dir| (1..=last).for_each(|number| remove(dir, number)),
        expect!["audit-000001.jsonl (seq 1): the segment is missing"],
    );
    check(
        |dir| (1..=last).rev().for_each(|number| rename(dir, number, number + 1)),
        expect![
            "audit-000001.jsonl (seq 1): the segment is missing, and no checkpoint says that it was removed"
        ],
    );
    check(|dir| rename(dir, last, last + 1), expect!["audit-000003.jsonl (seq 25): the segment is missing"]);
    check(
        |dir| {
            remove(dir, 1);
            (2..=last).for_each(|number| rename(dir, number, number - 1));
        },
        expect!["audit-000001.jsonl line 1 (seq 1): expected seq 1 here, found 13"],
    );
    check(
        |dir| {
            rename(dir, 1, 9);
            rename(dir, 2, 1);
            rename(dir, 9, 2);
        },
        expect!["audit-000001.jsonl line 1 (seq 1): expected seq 1 here, found 13"],
    );
    check(
        |dir| assert!(std::fs::copy(segment(dir, 1), segment(dir, 2)).is_ok()),
        expect!["audit-000002.jsonl line 1 (seq 13): expected seq 13 here, found 1"],
    );
    check(
        |dir| assert!(std::fs::copy(segment(dir, last), segment(dir, last + 1)).is_ok()),
        expect!["audit-000004.jsonl line 1 (seq 37): expected seq 37 here, found 25"],
    );
}

#[test]
fn the_copies_of_the_checkpoints_are_guarded_too() {
    check(
        |dir| edit_checkpoints(dir, |lines| drop(lines.remove(1))),
        expect!["audit-000001.jsonl line 12 (seq 12): this checkpoint is missing from checkpoints.jsonl"],
    );
    check(
        |dir| edit_checkpoints(dir, |lines| lines.swap(0, 1)),
        expect!["audit-000001.jsonl line 6 (seq 6): this checkpoint is missing from checkpoints.jsonl"],
    );
    check(
        |dir| edit_checkpoints(dir, |lines| lines[0] = lines[0].replace("2026", "2027")),
        expect!["checkpoints.jsonl line 1: its content does not fit its `hash`"],
    );
    check(
        |dir| edit_checkpoints(dir, |lines| lines.push("{}".to_owned())),
        expect!["checkpoints.jsonl line 7: it does not end in its `hash`"],
    );
    check(
        |dir| std::fs::remove_file(dir.join("checkpoints.jsonl")).unwrap(),
        expect!["audit-000001.jsonl line 6 (seq 6): this checkpoint is missing from checkpoints.jsonl"],
    );
}

#[tokio::test]
async fn an_old_copy_put_back_is_found() {
    let dir = tempfile::tempdir().unwrap();
    write_some(dir.path(), &config(), 4).await;
    let old = copied(dir.path());
    write_some(dir.path(), &config(), 4).await;
    let filed = std::fs::read(dir.path().join("checkpoints.jsonl")).unwrap();
    copy(old.path(), dir.path());
    std::fs::write(dir.path().join("checkpoints.jsonl"), &filed).unwrap();
    expect!["audit-000001.jsonl line 6 (seq 6): checkpoints.jsonl holds a checkpoint with seq 10 that the chain does not hold: records were cut off, or an old copy was put back"].assert_eq(&verdict(dir.path()));
    expect!["the audit log is damaged: audit-000001.jsonl (seq 10): checkpoints.jsonl holds a checkpoint with seq 10 that the chain does not hold: records were cut off, or an old copy was put back; look with `portcullis audit verify`, then move the log away"].assert_eq(&open(dir.path(), &config()).err().unwrap().to_string());
}

#[tokio::test]
async fn a_whole_folder_put_back_is_found_with_an_anchor_from_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    write_some(dir.path(), &config(), 4).await;
    let old = copied(dir.path());
    let first = sound(dir.path());
    write_some(dir.path(), &config(), 4).await;
    let report = sound(dir.path());
    let check = |dir: &Path, anchor: &Anchor, expected: Expect| {
        let problem = verify_against(dir, anchor).unwrap().problem;
        expected.assert_eq(&problem.map_or_else(|| "sound".to_owned(), |problem| problem.to_string()));
    };
    let anchor = |seq: Option<u64>, head: Option<String>| Anchor { record: seq.zip(head), public_key: None };
    assert_eq!(verdict(old.path()), "sound", "by itself it looks sound");
    check(
        old.path(),
        &anchor(report.last_seq, report.head.clone()),
        expect![
            "audit-000001.jsonl line 6 (seq 6): the chain ends before record 10, which is known to have been there"
        ],
    );
    check(
        old.path(),
        &anchor(report.last_seq, first.head.clone()),
        expect![
            "audit-000001.jsonl line 6 (seq 6): the chain ends before record 10, which is known to have been there"
        ],
    );
    check(dir.path(), &anchor(report.last_seq, report.head), expect!["sound"]);
    check(dir.path(), &anchor(first.last_seq, first.head.clone()), expect!["sound"]);
    check(
        dir.path(),
        &anchor(report.last_seq, first.head),
        expect!["audit-000001.jsonl line 10 (seq 10): it is not the record that is known to have been there"],
    );
    let public = std::fs::read_to_string(dir.path().join("signing.pub")).unwrap();
    let key = |public_key: &str| Anchor { public_key: Some(public_key.to_owned()), record: None };
    check(dir.path(), &key(&public), expect!["sound"]);
    check(dir.path(), &key(&"0".repeat(64)), expect!["signing.pub: it is not the key that was expected"]);
    assert!(verify(&dir.path().join("none")).is_err(), "a folder that is not there");
    assert_eq!(verify(tempfile::tempdir().unwrap().path()).unwrap(), Report::default(), "an empty folder");
}

#[tokio::test]
async fn with_old_segments_removed_by_us_more_cannot_be_removed() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { keep_segments: Some(3), ..config() };
    write_some(dir.path(), &config, 80).await;
    assert_eq!(verdict(dir.path()), "sound");
    let first = crate::folder::segments(dir.path()).unwrap()[0];
    let name = segment_name(first);
    std::fs::remove_file(dir.path().join(&name)).unwrap();
    assert!(verdict(dir.path()).starts_with(&name), "{}", verdict(dir.path()));
    let error = open(dir.path(), &config).err().unwrap().to_string();
    assert!(error.contains(&name) && error.contains("missing"), "{error}");
}

/// The files that are written: what `flip` chooses from.
static FILES: LazyLock<Mutex<Vec<(String, Vec<u8>)>>> = LazyLock::new(|| {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(SOUND.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "signing.key" {
            files.push((name.clone(), std::fs::read(SOUND.path().join(name)).unwrap()));
        }
    }
    files.sort();
    Mutex::new(files)
});

#[test]
fn a_changed_line_end_of_the_last_filed_checkpoint_is_found() {
    let dir = copied(SOUND.path());
    let file = dir.path().join("checkpoints.jsonl");
    let mut content = std::fs::read(&file).unwrap();
    *content.last_mut().unwrap() ^= 1;
    std::fs::write(&file, &content).unwrap();
    let problem = verify(dir.path()).unwrap().problem.unwrap();
    assert_eq!(problem.segment, "checkpoints.jsonl");
    assert!(problem.what.contains("its last line is torn"), "{problem}");
    // A copy that a kill cut short is no tampering: the next start completes it.
    content.truncate(content.len() - 10);
    std::fs::write(&file, &content).unwrap();
    assert_eq!(verify(dir.path()).unwrap().problem, None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_byte_that_changes_is_found(file in 0_usize..8, at in 0.0..1.0_f64, mask in 1_u8..) {
        let files = FILES.lock().unwrap();
        let (name, content) = &files[file % files.len()];
        let at = (content.len() as f64 * at) as usize;
        let mut flipped = content.clone();
        flipped[at] ^= mask;
        let dir = copied(SOUND.path());
        std::fs::write(dir.path().join(name), flipped).unwrap();
        let problem = verify(dir.path()).unwrap().problem;
        prop_assert!(problem.is_some(), "{name} byte {at} mask {mask:#x}");
        let line = content[..at].iter().filter(|b| **b == b'\n').count() as u64 + 1;
        let problem = problem.unwrap();
        if name.starts_with("audit-") {
            prop_assert_eq!(&problem.segment, name);
            prop_assert_eq!(problem.line, line, "{}", problem);
        }
    }
}
