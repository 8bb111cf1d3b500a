use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write as _},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;

use super::*;
use crate::{TailQuery, log::Disk, tail};

/// What happens to the next operations on the disk; after these all go well.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<VecDeque<Step>>>);

#[derive(Clone, Copy, Debug)]
enum Step {
    Good,
    /// A write gets so far and then there is no space.
    Full(usize),
    /// A write is short, and not an error.
    Short(usize),
    Interrupted,
    SyncFails,
}

impl Script {
    fn set(&self, steps: &[Step]) {
        *self.0.lock().unwrap() = steps.iter().copied().collect();
    }

    fn next(&self) -> Step {
        self.0.lock().unwrap().pop_front().unwrap_or(Step::Good)
    }
}

impl Disk for Script {
    fn write(&mut self, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        match self.next() {
            Step::Full(length) => {
                file.write_all(&bytes[..length.min(bytes.len())])?;
                Err(io::ErrorKind::StorageFull.into())
            }
            Step::Short(length) => file.write(&bytes[..length.min(bytes.len())]),
            Step::Interrupted => Err(io::ErrorKind::Interrupted.into()),
            Step::Good | Step::SyncFails => file.write(bytes),
        }
    }

    fn sync(&mut self, _file: &File) -> io::Result<()> {
        match self.next() {
            Step::SyncFails => Err(io::Error::from_raw_os_error(5)),
            _ => Ok(()),
        }
    }
}

fn open_on(dir: &Path, disk: impl Disk + 'static) -> Audit {
    let config = Config { checkpoint_records: 1_000, ..config() };
    Audit::open_on(dir, &config, ManualClock::new(), Box::new(disk)).unwrap()
}

fn recovered(dir: &Path) -> Vec<Value> {
    let query = TailQuery { count: 10, event: Some("audit.recovered".to_owned()), ..TailQuery::default() };
    tail(dir, &query).unwrap()
}

#[tokio::test]
async fn a_write_that_fails_is_refused_and_the_next_one_mends_the_log() {
    for (steps, cut, kept) in [
        (vec![Step::Full(0)], Some(0), false),
        (vec![Step::Full(1)], Some(1), false),
        (vec![Step::Full(200)], Some(200), false),
        (vec![Step::Full(100_000)], Some(0), true),
        (vec![Step::Good, Step::SyncFails], Some(0), true),
        (vec![Step::Short(10), Step::Full(20)], Some(30), false),
        (vec![Step::Short(10), Step::Interrupted, Step::Short(5)], None, true),
    ] {
        let (dir, script) = (tempfile::tempdir().unwrap(), Script::default());
        let audit = open_on(dir.path(), script.clone());
        audit.write(record(0), Durability::Synced).await.unwrap();
        script.set(&steps);
        let failed = audit.write(record(1), Durability::Synced).await;
        assert_eq!(failed.is_err(), cut.is_some(), "{steps:?}");
        let next = audit.write(record(2), Durability::Synced).await.unwrap();
        assert!(!audit.is_broken(), "{steps:?}");
        audit.close().await.unwrap();
        let report = sound(dir.path());
        assert_eq!(next, 2 + u64::from(kept) + u64::from(cut.is_some()), "{steps:?}");
        assert_eq!(report.last_seq, Some(next + 1));
        let recovered = recovered(dir.path());
        assert_eq!(recovered.first().and_then(|r| r["bytes_cut"].as_u64()), cut, "{steps:?}");
    }
}

#[tokio::test]
async fn a_disk_that_stays_full_refuses_everything_until_there_is_room() {
    let (dir, script) = (tempfile::tempdir().unwrap(), Script::default());
    let audit = open_on(dir.path(), script.clone());
    audit.write(record(0), Durability::Written).await.unwrap();
    script.set(&[Step::Full(7); 100]);
    for n in 1..5 {
        let error = audit.write(record(n), Durability::Written).await.unwrap_err();
        assert!(matches!(error, AuditError::Broken { .. }), "{error}");
        assert_eq!(tool::Fault::from(error).code, tool::Code::Busy);
        assert!(audit.is_broken());
    }
    script.set(&[]);
    audit.write(record(5), Durability::Written).await.unwrap();
    audit.close().await.unwrap();
    assert_eq!(sound(dir.path()).records, 4, "the first, the recovery, the last and a checkpoint");
    assert_eq!(recovered(dir.path()).len(), 1);
}

#[tokio::test]
async fn a_log_that_nobody_writes_to_any_more_mends_itself() {
    let (dir, script) = (tempfile::tempdir().unwrap(), Script::default());
    let audit = open_on(dir.path(), script.clone());
    script.set(&[Step::Full(7); 2]);
    audit.write(record(0), Durability::Written).await.unwrap_err();
    assert!(audit.is_broken());
    let mended = async {
        while audit.is_broken() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), mended).await.expect("it is tried again by itself");
    audit.close().await.unwrap();
    assert_eq!(recovered(dir.path()).len(), 1);
    sound(dir.path());
}

#[tokio::test]
async fn every_operation_may_fail_and_nothing_acknowledged_is_lost() {
    for fails_at in 0..24 {
        for fault in [Step::Full(13), Step::Full(100_000), Step::SyncFails] {
            let (dir, script) = (tempfile::tempdir().unwrap(), Script::default());
            let config = Config { checkpoint_records: 3, ..config() };
            let audit =
                Audit::open_on(dir.path(), &config, ManualClock::new(), Box::new(script.clone())).unwrap();
            let steps = [vec![Step::Good; fails_at], vec![fault]].concat();
            script.set(&steps);
            let mut acknowledged = Vec::new();
            for n in 0..24 {
                if let Ok(seq) = audit.write(record(n), Durability::Synced).await {
                    acknowledged.push((seq, n));
                }
            }
            script.set(&[]);
            audit.close().await.unwrap();
            sound(dir.path());
            let all = tail(dir.path(), &TailQuery { count: 1_000, ..TailQuery::default() }).unwrap();
            for (seq, n) in acknowledged {
                let found: Vec<_> = all.iter().filter(|record| record["n"] == n).collect();
                assert!(found.len() == 1 && found[0]["seq"] == seq, "{n} after {fault:?} at {fails_at}");
            }
        }
    }
}

#[tokio::test]
async fn a_segment_taken_away_from_a_running_log_is_noticed_after_an_error() {
    let (dir, script) = (tempfile::tempdir().unwrap(), Script::default());
    let audit = open_on(dir.path(), script.clone());
    audit.write(record(0), Durability::Written).await.unwrap();
    std::fs::remove_file(segment(dir.path(), 1)).unwrap();
    script.set(&[Step::Full(0)]);
    for n in 1..4 {
        assert!(audit.write(record(n), Durability::Written).await.is_err());
    }
    assert!(audit.close().await.is_err());
}

#[tokio::test]
async fn a_write_in_place_that_fails_is_mended_by_the_thread() {
    let (dir, script) = (tempfile::tempdir().unwrap(), Script::default());
    let audit = open_on(dir.path(), script.clone());
    audit.write(record(0), Durability::Written).await.unwrap();
    script.set(&[Step::Full(20)]);
    assert!(matches!(audit.write(record(1), Durability::Written).await, Err(AuditError::Broken { .. })));
    assert!(audit.is_broken());
    audit.write(record(2), Durability::Written).await.unwrap();
    assert!(!audit.is_broken());
    audit.close().await.unwrap();
    sound(dir.path());
    assert_eq!(recovered(dir.path())[0]["bytes_cut"], 20);
}

/// A disk whose writes wait until they are let go.
#[derive(Clone, Default)]
struct Stuck(Arc<(Mutex<bool>, Condvar)>);

impl Stuck {
    fn let_go(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

impl Disk for Stuck {
    fn write(&mut self, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        let (is_free, bell) = &*self.0;
        drop(bell.wait_while(is_free.lock().unwrap(), |is_free| !*is_free).unwrap());
        file.write(bytes)
    }

    fn sync(&mut self, _file: &File) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_full_queue_makes_wait_and_then_refuses() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Stuck::default());
    let config = Config { queue_max: 3, queue_wait_ms: 30, ..config() };
    let audit = Audit::open_on(dir.path(), &config, ManualClock::new(), Box::new(disk.clone())).unwrap();
    let write = |n| {
        let audit = audit.clone();
        async move { audit.write(record(n), Durability::Synced).await }
    };
    let mut taken: JoinSet<_> = (0..3).map(write).collect();
    tokio::task::yield_now().await;
    let start = std::time::Instant::now();
    let refused = audit.write(record(3), Durability::Written).await.unwrap_err();
    assert!(matches!(refused, AuditError::Full { waited_ms: 30 }), "{refused}");
    assert!(start.elapsed() >= Duration::from_millis(30));
    let mut leaving = JoinSet::new();
    leaving.spawn(write(4));
    tokio::task::yield_now().await;
    leaving.shutdown().await;
    disk.let_go();
    let mut seqs = Vec::new();
    while let Some(answer) = taken.join_next().await {
        seqs.push(answer.unwrap().unwrap());
    }
    seqs.sort_unstable();
    assert_eq!(seqs, [1, 2, 3]);
    assert_eq!(audit.write(record(5), Durability::Written).await.unwrap(), 4);
    audit.close().await.unwrap();
    assert_eq!(sound(dir.path()).records, 5);
}

#[tokio::test]
async fn a_record_whose_caller_left_is_written_all_the_same() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Stuck::default());
    let audit = open_on(dir.path(), disk.clone());
    let leaver = audit.clone();
    let mut leaving = JoinSet::new();
    leaving.spawn(async move { leaver.write(record(7), Durability::Synced).await });
    tokio::task::yield_now().await;
    leaving.shutdown().await;
    disk.let_go();
    audit.close().await.unwrap();
    assert_eq!(tail(dir.path(), &TailQuery { count: 1, ..TailQuery::default() }).unwrap()[0]["n"], 7);
}

/// A disk that panics.
struct Broken;

impl Disk for Broken {
    fn write(&mut self, _file: &File, _bytes: &[u8]) -> io::Result<usize> {
        panic!("as it should")
    }

    fn sync(&mut self, _file: &File) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_thread_that_ends_leaves_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open_on(dir.path(), Broken);
    for _ in 0..2 {
        assert!(matches!(audit.write(record(0), Durability::Synced).await, Err(AuditError::Closed)));
    }
    assert!(matches!(audit.write(record(0), Durability::Written).await, Err(AuditError::Closed)));
    assert!(audit.close().await.is_err());
    assert!(audit.is_broken(), "it will never be written again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_can_be_verified_and_told_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { checkpoint_records: 7, ..config() };
    let audit = open(dir.path(), &config).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let (path, is_done) = (dir.path().to_owned(), Arc::clone(&done));
    let reader = std::thread::spawn(move || {
        let mut last = 0;
        while !is_done.load(Ordering::Relaxed) {
            let report = sound(&path);
            assert!(report.records >= last, "{} after {last}", report.records);
            last = report.records;
            tail(&path, &TailQuery { count: 5, ..TailQuery::default() }).unwrap();
        }
    });
    for n in 0..300 {
        audit.write(record(n), Durability::Written).await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    reader.join().unwrap();
    audit.close().await.unwrap();
    sound(dir.path());
}
