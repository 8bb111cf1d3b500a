//! Real programs: shells that do what a test says.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rustix::process::getuid;
use tokio::io::AsyncReadExt as _;

use super::*;

/// The tests are their own keeper: libtest runs a single test on the main thread.
fn shim() -> Shim {
    let own = std::env::current_exe().unwrap();
    let arguments = ["tests::is_a_keeper_where_it_is_told_so", "--exact", "--test-threads=1", "--nocapture"];
    Shim::new([own.into_os_string()].into_iter().chain(arguments.map(Into::into)).collect())
}

#[test]
fn is_a_keeper_where_it_is_told_so() {
    if is_told() {
        // One whose program does not start ends as failed.
        let _ = main(&std::env::args_os().skip(1).collect::<Vec<_>>());
    }
}

fn launch(script: &str, folder: &Path, rules: Rules) -> Launch {
    Launch {
        program: "sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        folder: folder.to_owned(),
        env: vec![("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())],
        rules,
    }
}

/// A user for each, as the kernel counts the processes of a user and not of a program.
fn own_user() -> Option<User> {
    static NEXT: AtomicU32 = AtomicU32::new(61_000);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    getuid().is_root().then_some(User { uid: id, gid: id })
}

fn strict(network: Network) -> Rules {
    let user = own_user();
    let limits = Limits { files_max: Some(256), processes_max: Some(32), ..Limits::default() };
    Rules { level: Level::Strict, required: true, network, user, limits, ..Rules::standard() }
}

fn off() -> Rules {
    Rules { level: Level::Off, ..Rules::standard() }
}

/// What a script prints, both ways, and how it ends.
async fn run(script: &str, folder: &Path, rules: Rules) -> (String, String) {
    let (mut running, mut streams) = shim().start(launch(script, folder, rules)).await.unwrap();
    drop(streams.stdin);
    let mut said = String::new();
    streams.stdout.read_to_string(&mut said).await.unwrap();
    streams.stderr.read_to_string(&mut said).await.unwrap();
    let how = running.ended().await;
    running.kill().await;
    (said, how)
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    // Another user has to get in.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = folder.path().canonicalize().unwrap();
    (folder, path)
}

#[tokio::test]
async fn a_program_runs_and_its_end_is_told() {
    let (_guard, folder) = folder();
    for rules in [off(), Rules::standard(), strict(Network::Closed)] {
        let (said, how) = run("echo \"out $0\"; echo err >&2; exit 3", &folder, rules.clone()).await;
        assert_eq!(said, "out sh\nerr\n", "{rules:?}");
        assert_eq!(how, "exit status: 3", "{rules:?}");
        let (_, how) = run("kill -9 $$", &folder, rules.clone()).await;
        assert_eq!(how, "signal: 9 (SIGKILL)", "{rules:?}");
    }
}

#[tokio::test]
async fn a_program_that_does_not_start_says_why() {
    let (_guard, folder) = folder();
    let mut wrong = launch("", &folder, off());
    wrong.program = "no-such-program-anywhere".into();
    let error = shim().start(wrong).await.unwrap_err();
    assert_eq!(error.to_string(), "no-such-program-anywhere: No such file or directory (os error 2)");
    let wrong = launch("", Path::new("/no/such/folder"), off());
    let error = shim().start(wrong).await.unwrap_err();
    assert_eq!(error.to_string(), "its folder /no/such/folder is not there");
}

#[tokio::test]
async fn it_is_asked_first() {
    let (_guard, folder) = folder();
    let script = "trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    for rules in [off(), Rules::standard(), strict(Network::Closed)] {
        let (mut running, mut streams) = shim().start(launch(script, &folder, rules)).await.unwrap();
        let mut ready = [0; 6];
        streams.stdout.read_exact(&mut ready).await.unwrap();
        running.terminate().await;
        assert_eq!(running.ended().await, "exit status: 0");
        let mut said = String::new();
        streams.stdout.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "asked\n");
    }
}

/// How many processes have this mark on their command line.
fn marked(mark: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(mark)).count()
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Processes that leave their group, their session and their parents, as those do that mean to stay.
const STAYERS: &str = "for i in 1 2 3; do (setsid sh -c 'trap \"\" TERM HUP; exec sleep MARK' &) ; done; \
                       (sh -c 'sh -c \"sleep MARK\" & exit' &); echo ready; exec sleep MARK";

#[tokio::test]
async fn nothing_outlives_it() {
    let (_guard, folder) = folder();
    for (i, rules) in [off(), Rules::standard(), strict(Network::Closed)].into_iter().enumerate() {
        for how in ["killed", "dropped"] {
            let mark = format!("98{}{i}{}", std::process::id(), how.len());
            let script = STAYERS.replace("MARK", &mark);
            let (running, mut streams) = shim().start(launch(&script, &folder, rules.clone())).await.unwrap();
            let mut ready = [0; 6];
            streams.stdout.read_exact(&mut ready).await.unwrap();
            until("all of it runs", || marked(&mark) >= 5).await;
            match how {
                "killed" => {
                    running.kill().await;
                    assert_eq!(marked(&mark), 0, "{rules:?}");
                }
                _ => {
                    drop(running);
                    until("nothing is left", || marked(&mark) == 0).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_program_that_ends_takes_along_what_it_left_behind() {
    let (_guard, folder) = folder();
    for (i, rules) in [off(), Rules::standard()].into_iter().enumerate() {
        let mark = format!("97{}{i}", std::process::id());
        let script = STAYERS.replace("MARK", &mark).replace("exec sleep", ": ");
        let (mut running, _streams) = shim().start(launch(&script, &folder, rules)).await.unwrap();
        assert_eq!(running.ended().await, "exit status: 0");
        until("nothing is left", || marked(&mark) == 0).await;
    }
}

/// Without namespaces the keeper hunts down what it adopted, however fast it multiplies.
#[test]
fn what_multiplies_is_stopped_before_it_is_killed() {
    let own = std::env::current_exe().unwrap();
    let done = std::process::Command::new(own)
        .args(["tests::hunts_in_a_process_of_its_own", "--exact", "--test-threads=1", "--nocapture"])
        .env("PORTCULLIS_TEST_HUNTS", "1")
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
#[allow(clippy::disallowed_methods, reason = "tells the process of its own from the test run")]
fn hunts_in_a_process_of_its_own() {
    if std::env::var("PORTCULLIS_TEST_HUNTS").is_err() {
        return;
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let mark = format!("96{}", std::process::id());
    // Each starts the next and leaves: whoever is looked at is gone already.
    let script = format!("f() {{ sleep {mark} & (setsid sh -c \"$1\" x \"$1\" &); }}; f \"$1\"");
    let looping = format!("{script}; sleep 0.002");
    for _ in 0..4 {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &looping, "x", &looping]).stderr(std::process::Stdio::null());
        drop(command.spawn().unwrap());
    }
    std::thread::sleep(Duration::from_millis(300));
    assert!(marked(&mark) > 4);
    tree::end_all();
    assert_eq!(marked(&mark), 0);
}

#[tokio::test]
async fn a_strict_program_gets_nowhere() {
    let (_guard, inside) = folder();
    let (_other, outside) = folder();
    std::fs::write(outside.join("secret"), "s3cret").unwrap();
    std::fs::write(inside.join("own"), "own").unwrap();
    let out = outside.display();
    for (script, expected) in [
        ("cat own".to_owned(), "own"),
        ("echo x > $TMPDIR/a && cat $TMPDIR/a".to_owned(), "x\n"),
        (format!("cat {out}/secret >/dev/null && echo through"), ""),
        (format!("echo x > {out}/new && echo through"), ""),
        ("echo x > new && echo through".to_owned(), ""),
        ("cat /etc/passwd >/dev/null && echo through".to_owned(), ""),
        ("mount -t tmpfs x /mnt && echo through".to_owned(), ""),
        ("unshare -U true && echo through".to_owned(), ""),
        ("ls /proc | grep -c '^[0-9]*$'".to_owned(), "FEW"),
        ("kill -0 1 && kill -9 $PPID; echo alive".to_owned(), "alive\n"),
    ] {
        let (said, _) = run(&format!("exec 2>/dev/null; {script}"), &inside, strict(Network::Closed)).await;
        match expected {
            "FEW" => assert!(said.trim().parse::<usize>().is_ok_and(|n| n <= 6), "{said}"),
            expected => assert_eq!(said, expected, "{script}"),
        }
    }
}

#[tokio::test]
async fn a_user_of_its_own_has_no_more_processes_than_it_may() {
    if !getuid().is_root() {
        return eprintln!("skipped: only root can give a program a user of its own");
    }
    let (_guard, folder) = folder();
    let script = "i=0; while [ $i -lt 200 ]; do sleep 9 & i=$((i+1)); done; echo through";
    let (said, how) = run(script, &folder, strict(Network::Closed)).await;
    assert!(said.contains("Cannot fork") && !said.contains("through"), "{said} {how}");
}

#[tokio::test]
async fn what_holds_is_told() {
    let (_guard, folder) = folder();
    let rules = strict(Network::Closed);
    let (running, _streams) = shim().start(launch("sleep 5", &folder, rules.clone())).await.unwrap();
    let held = running.held().clone();
    assert!(held.seccomp && held.landlock != "none", "{held:?}");
    assert_eq!(held.own_network, held.tree == Tree::Namespace, "{held:?}");
    assert_eq!(held.uid, rules.user.map(|user| user.uid));
    running.kill().await;
}
