//! A write is killed at random moments, again and again: the file is wholly one text or wholly another.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;

use tool::{Plan, Risk, json::digest_bytes};

use super::open;
use crate::{halt::Halt, write};

/// Names the folder to a test process that is there to be killed.
const VICTIM: &str = "FILES_TEST_VICTIM";
const KILLS_MIN: u32 = 120;
/// On a busy machine it takes longer until kills have come at all moments.
const KILLS_MAX: u32 = 2000;
/// Kills come within so long of the first write; a write takes a few milliseconds.
const WINDOW: Duration = Duration::from_millis(25);

fn texts() -> [String; 2] {
    // Larger than one chunk, so that a half-written file could be seen.
    ["a", "b"].map(|letter| letter.repeat(200_000))
}

fn writable(config: &mut crate::Config) {
    config.writable = true;
}

/// The plan of writing `after` over `before`.
fn plan_of(before: Option<&str>, after: &str) -> Plan {
    let payload = json!({"path": "deep/f", "text": after, "mode": "0644", "create_parents": true});
    Plan {
        target: "files:deep/f".into(),
        summary: String::new(),
        diff: String::new(),
        risk: Risk::Low,
        before: before.map_or("absent".into(), |text| digest_bytes(text.as_bytes())),
        after: digest_bytes(after.as_bytes()),
        payload,
    }
}

/// What the process that is killed does: it makes the file, writes one text over the other and removes all of it,
/// for ever.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test process is told by its environment that it is a victim"
)]
fn victim() {
    let Ok(all) = std::env::var(VICTIM) else { return };
    let room = super::room(Path::new(&all), writable);
    let folder = room.root.join("deep");
    let [a, b] = texts();
    let plans = [plan_of(None, &a), plan_of(Some(&a), &b), plan_of(Some(&b), &a), plan_of(Some(&a), &b)];
    let _ = std::fs::remove_dir_all(&folder);
    std::io::stderr().write_all(b"ready\n").unwrap();
    loop {
        for plan in &plans {
            write::apply(&room, plan, &Halt::at(Instant::now() + Duration::from_secs(60))).unwrap();
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn a_kill_at_any_moment_leaves_the_old_or_the_new() {
    let all = tempfile::tempdir().unwrap();
    std::fs::create_dir(all.path().join("root")).unwrap();
    let (mut absent, mut left, mut seen) = (0, 0, [0, 0]);
    for kill in 0..KILLS_MAX {
        if kill >= KILLS_MIN && left > 0 && !seen.contains(&0) {
            return;
        }
        kill_a_victim(all.path());
        let file = all.path().join("root/deep/f");
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                let which = texts().iter().position(|known| *known == text);
                seen[which.unwrap_or_else(|| panic!("a mix of {} bytes", text.len()))] += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
                absent += 1;
            }
        }
        left += leftovers(&all.path().join("root")).len();
        open(all.path(), writable);
        assert_eq!(leftovers(&all.path().join("root")), Vec::<PathBuf>::new(), "swept at the next start");
    }
    panic!("the kills did not come at all moments: {seen:?} {absent} {left}");
}

/// After a kill, the same plan either was done or can be done; it never drifts by itself.
#[test]
fn a_plan_can_be_applied_again_after_a_kill() {
    let all = tempfile::tempdir().unwrap();
    std::fs::create_dir(all.path().join("root")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..10 {
        kill_a_victim(all.path());
        let provider = open(all.path(), writable);
        let present = std::fs::read_to_string(all.path().join("root/deep/f")).unwrap_or_default();
        let text = texts().into_iter().find(|text| *text != present).unwrap();
        runtime.block_on(async {
            let arguments = json!({"path": "deep/f", "text": text, "create_parents": true});
            let permit = testkit::permit_of(&*provider, "fs_write_text", arguments).unwrap();
            let plan = provider.plan(permit, testkit::talk()).await.unwrap();
            assert_eq!(provider.look(&plan).await.unwrap(), tool::Standing::Before);
            super::apply(&*provider, &plan).await.unwrap();
            assert_eq!(provider.look(&plan).await.unwrap(), tool::Standing::After);
        });
    }
}

/// Starts a process that writes, and kills it at a random moment after it has begun.
fn kill_a_victim(all: &Path) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::crash::victim", "--nocapture", "--test-threads=1"])
        .env(VICTIM, all)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"), "the victim never began");
    let mut random = [0; 4];
    getrandom::fill(&mut random).unwrap();
    let moment = WINDOW.mul_f64(f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX));
    let began = Instant::now();
    while began.elapsed() < moment {
        std::hint::spin_loop();
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
}

fn leftovers(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(leftovers(&entry.path()));
        } else if entry.file_name().to_string_lossy().starts_with(".portcullis-") {
            found.push(entry.path());
        }
    }
    found
}
