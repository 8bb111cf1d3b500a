use std::sync::LazyLock;

use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::{TailQuery, tail};

/// What a server that was killed leaves: records in one segment, none of them signed but the first few.
static KILLED: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    in_runtime(async {
        write_some(dir.path(), &roomy(), 3).await;
        let audit = open(dir.path(), &roomy()).unwrap();
        for n in 3..9 {
            audit.write(record(n), Durability::Synced).await.unwrap();
        }
        let left = copied(dir.path());
        audit.close().await.unwrap();
        left
    })
});

fn roomy() -> Config {
    Config { segment_bytes_max: 1 << 20, checkpoint_records: 1_000, ..Config::default() }
}

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Opens what is left, writes one more record, closes, and says what was recovered.
fn go_on(dir: &Path) -> Result<Option<Value>, AuditError> {
    in_runtime(async {
        let audit = open(dir, &roomy())?;
        audit.write(record(99), Durability::Written).await?;
        audit.close().await
    })?;
    let query = TailQuery { count: 1, event: Some("audit.recovered".to_owned()), ..TailQuery::default() };
    Ok(tail(dir, &query)?.pop())
}

#[test]
fn what_was_left_by_a_kill_is_taken_up() {
    let dir = copied(KILLED.path());
    assert_eq!(sound(dir.path()).records, 10, "3, a checkpoint and 6");
    assert_eq!(go_on(dir.path()).unwrap(), None);
    assert_eq!(sound(dir.path()).records, 12);
}

#[test]
fn a_torn_line_is_cut_and_that_is_recorded() {
    for tail in ["{\"seq\":11,\"timestamp\"", "\0\0\0\0\0\0\0\0", "x\n", "{\"seq\":11,\n", "\n"] {
        let dir = copied(KILLED.path());
        let path = segment(dir.path(), 1);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, whole.clone() + tail).unwrap();
        assert_ne!(verdict(dir.path()), "sound", "{tail:?}");
        let recovered = go_on(dir.path()).unwrap().unwrap();
        assert_eq!(recovered["bytes_cut"], tail.len(), "{tail:?}");
        assert_eq!(recovered["seq"], 11);
        assert!(std::fs::read_to_string(&path).unwrap().starts_with(&whole));
        assert_eq!(sound(dir.path()).records, 13);
    }
}

#[test]
fn anything_else_is_refused_and_left_as_it_is() {
    for (change, expected) in [
        (
            ("\"n\":4", "\"n\":5"),
            expect![
                "the audit log is damaged: audit-000001.jsonl line 6 (seq 6): its content does not fit its `hash`; look with `portcullis audit verify`, then move the log away"
            ],
        ),
        (
            ("\"n\":8", "\"n\":7"),
            expect![
                "the audit log is damaged: audit-000001.jsonl line 10 (seq 10): its content does not fit its `hash`; look with `portcullis audit verify`, then move the log away"
            ],
        ),
        (
            ("\"checkpoint\"", "\"checkpoinx\""),
            expect![
                "the audit log is damaged: audit-000001.jsonl line 4 (seq 4): its content does not fit its `hash`; look with `portcullis audit verify`, then move the log away"
            ],
        ),
    ] {
        let dir = copied(KILLED.path());
        let path = segment(dir.path(), 1);
        let changed = std::fs::read_to_string(&path).unwrap().replace(change.0, change.1);
        std::fs::write(&path, &changed).unwrap();
        expected.assert_eq(&go_on(dir.path()).unwrap_err().to_string());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), changed);
    }
}

#[test]
fn keys_that_are_gone_open_or_not_the_right_ones_are_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let check = |tamper: &dyn Fn(&Path), expected: expect_test::Expect| {
        let dir = copied(KILLED.path());
        tamper(dir.path());
        let shown = go_on(dir.path()).unwrap_err().to_string();
        expected.assert_eq(&shown.replace(dir.path().to_str().unwrap(), "DIR"));
    };
    let key = |dir: &Path| dir.join("signing.key");
    assert_eq!(std::fs::metadata(key(KILLED.path())).unwrap().permissions().mode() & 0o777, 0o600);
    check(
        &|dir| std::fs::remove_file(key(dir)).unwrap(),
        expect!["signing.key is gone though there is a log; put it back or move the log away"],
    );
    check(&|dir| std::fs::write(key(dir), "x").unwrap(), expect!["signing.key holds no key"]);
    check(
        &|dir| std::fs::write(key(dir), "0".repeat(64)).unwrap(),
        expect!["signing.pub is not the public key of signing.key"],
    );
    check(
        &|dir| std::fs::set_permissions(key(dir), std::fs::Permissions::from_mode(0o640)).unwrap(),
        expect!["others may read DIR/signing.key; run chmod 600 on it"],
    );
}

#[test]
fn a_checkpoint_that_was_not_filed_is_filed_when_the_log_is_taken_up() {
    for cut in [1, 100, 5_000] {
        let dir = copied(KILLED.path());
        let path = dir.path().join("checkpoints.jsonl");
        let filed = std::fs::read(&path).unwrap();
        std::fs::write(&path, &filed[..filed.len().saturating_sub(cut)]).unwrap();
        assert_eq!(verdict(dir.path()), "sound", "one that is not filed yet is no problem");
        go_on(dir.path()).unwrap();
        assert_eq!(sound(dir.path()).checkpoints, 2);
        assert!(std::fs::read(&path).unwrap().starts_with(&filed));
    }
}

#[test]
fn a_segment_that_was_only_just_begun_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    in_runtime(write_some(dir.path(), &roomy(), 3));
    std::fs::write(segment(dir.path(), 2), "").unwrap();
    assert_eq!(verdict(dir.path()), "sound");
    go_on(dir.path()).unwrap();
    assert_eq!(sound(dir.path()).segments, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A kill leaves any number of the bytes that were being written: after the checkpoint that was filed, a log
    /// can be cut anywhere and goes on with the whole lines before.
    #[test]
    fn a_log_cut_anywhere_after_its_last_checkpoint_goes_on(part in 0.0..1.0_f64) {
        let dir = copied(KILLED.path());
        let path = segment(dir.path(), 1);
        let content = std::fs::read(&path).unwrap();
        let signed = lines(&path)[..4].iter().map(|line| line.len() + 1).sum::<usize>();
        let cut = signed + ((content.len() - signed) as f64 * part) as usize;
        std::fs::write(&path, &content[..cut]).unwrap();
        let whole = content[..cut].iter().filter(|b| **b == b'\n').count() as u64;
        let is_torn = content[cut - 1] != b'\n';
        let recovered = go_on(dir.path()).unwrap();
        prop_assert_eq!(recovered.is_some(), is_torn);
        prop_assert_eq!(sound(dir.path()).records, whole + u64::from(is_torn) + 2);
    }

    /// Cut at or before that, it is refused.
    #[test]
    fn a_log_cut_before_its_last_checkpoint_is_refused(part in 0.0..1.0_f64) {
        let dir = copied(KILLED.path());
        let path = segment(dir.path(), 1);
        let content = std::fs::read(&path).unwrap();
        let signed = lines(&path)[..4].iter().map(|line| line.len() + 1).sum::<usize>();
        let cut = ((signed as f64) * part) as usize;
        std::fs::write(&path, &content[..cut]).unwrap();
        prop_assert!(matches!(go_on(dir.path()), Err(AuditError::Damaged(_))));
        prop_assert_eq!(std::fs::read(&path).unwrap().len(), cut);
    }
}
