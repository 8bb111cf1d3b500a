use std::{
    fmt::Write as _,
    io::Read as _,
    os::{
        fd::AsFd as _,
        unix::{
            fs::{FileTypeExt as _, symlink},
            net::UnixListener,
        },
    },
    path::Path,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use expect_test::{Expect, expect};
use rustix::fs::{CWD, Dir, FileType, Mode, mknodat};

use super::SECRET;
use crate::{
    HardLinks, Hidden, Symlinks,
    jail::{Jail, Way},
    path::{RelPath, Rules},
};

#[cfg(target_os = "linux")]
const WAYS: &[Way] = &[Way::Kernel, Way::Steps];
#[cfg(not(target_os = "linux"))]
const WAYS: &[Way] = &[Way::Steps];

fn path(text: &str) -> RelPath {
    Rules::new(&[], 255, Hidden::Allow, &[]).unwrap().normal(text).unwrap()
}

/// Everything a folder can hold, and one outside.
fn tree() -> tempfile::TempDir {
    let all = tempfile::tempdir().unwrap();
    let at = |name: &str| all.path().join(name);
    std::fs::create_dir_all(at("root/folder/deep")).unwrap();
    std::fs::create_dir_all(at("outside")).unwrap();
    std::fs::write(at("root/folder/file"), "inside").unwrap();
    std::fs::write(at("outside/secret"), SECRET).unwrap();
    for (link, to) in [
        ("link_in", "folder/file"),
        ("link_in_folder", "folder"),
        ("link_out", "../outside/secret"),
        ("link_out_folder", "../outside"),
        ("link_self", "link_self"),
        ("link_chain", "link_chain_2"),
        ("link_chain_2", "link_out"),
        ("link_dangling", "nothing"),
        ("link_root", "/"),
        ("link_up", ".."),
        ("link_up_and_in", "../root/folder/file"),
        ("link_proc", "/proc/self/root/etc/passwd"),
        ("link_stdin", "/dev/stdin"),
        ("folder/link_up_one", "../folder/file"),
    ] {
        symlink(to, at("root").join(link)).unwrap();
    }
    symlink(at("outside/secret"), at("root/link_absolute")).unwrap();
    symlink(at("root/folder/file"), at("root/link_absolute_in")).unwrap();
    std::fs::hard_link(at("outside/secret"), at("root/hard")).unwrap();
    mknodat(CWD, at("root/fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _listener = UnixListener::bind(at("root/socket")).unwrap();
    all
}

#[rustfmt::skip]
const NAMES: &[&str] = &[
    ".", "folder", "folder/file", "folder/none", "folder/file/below", "none/below", "link_in",
    "link_in_folder", "link_in_folder/file", "folder/link_up_one", "link_out", "link_out_folder",
    "link_out_folder/secret", "link_self", "link_chain", "link_dangling", "link_root",
    "link_root/etc/passwd", "link_up", "link_up/outside/secret", "link_up_and_in", "link_proc",
    "link_stdin", "link_absolute", "link_absolute_in", "hard", "fifo", "socket",
];

fn check(symlinks: Symlinks, hard_links: HardLinks, expected: Expect) {
    let all = tree();
    let verdicts = |way: Way| {
        let jail = Jail::open(&all.path().join("root"), symlinks, hard_links).unwrap().by(way);
        let mut lines = String::new();
        for name in NAMES {
            let verdict = match jail.file(&path(name)) {
                Ok(mut opened) => {
                    let mut text = String::new();
                    opened.file.read_to_string(&mut text).unwrap();
                    format!("opened: {text}")
                }
                Err(error) => error.to_string(),
            };
            let _ = writeln!(lines, "{name:24}{verdict}");
        }
        lines
    };
    let found: Vec<String> = WAYS.iter().map(|way| verdicts(*way)).collect();
    expected.assert_eq(&found[0]);
    for other in &found[1..] {
        assert_eq!(*other, found[0], "the two ways of opening disagree");
    }
}

#[test]
fn without_links() {
    check(
        Symlinks::Refuse,
        HardLinks::Refuse,
        expect![[r#"
        .                       "." is a folder; fs_list shows what is in it
        folder                  "folder" is a folder; fs_list shows what is in it
        folder/file             opened: inside
        folder/none             there is no "folder/none"; fs_list shows what there is
        folder/file/below       there is no "folder/file/below"; fs_list shows what there is
        none/below              there is no "none/below"; fs_list shows what there is
        link_in                 "link_in" is or passes a symbolic link that is not followed (`files.symlinks`)
        link_in_folder          "link_in_folder" is or passes a symbolic link that is not followed (`files.symlinks`)
        link_in_folder/file     "link_in_folder/file" is or passes a symbolic link that is not followed (`files.symlinks`)
        folder/link_up_one      "folder/link_up_one" is or passes a symbolic link that is not followed (`files.symlinks`)
        link_out                "link_out" is or passes a symbolic link that is not followed (`files.symlinks`)
        link_out_folder         "link_out_folder" is or passes a symbolic link that is not followed (`files.symlinks`)
        link_out_folder/secret  "link_out_folder/secret" is or passes a symbolic link that is not followed (`files.symlinks`)
        link_self               "link_self" is or passes a symbolic link that is not followed (`files.symlinks`)
        link_chain              "link_chain" is or passes a symbolic link that is not followed (`files.symlinks`)
        link_dangling           "link_dangling" is or passes a symbolic link that is not followed (`files.symlinks`)
        link_root               "link_root" is or passes a symbolic link that is not followed (`files.symlinks`)
        link_root/etc/passwd    "link_root/etc/passwd" is or passes a symbolic link that is not followed (`files.symlinks`)
        link_up                 "link_up" is or passes a symbolic link that is not followed (`files.symlinks`)
        link_up/outside/secret  "link_up/outside/secret" is or passes a symbolic link that is not followed (`files.symlinks`)
        link_up_and_in          "link_up_and_in" is or passes a symbolic link that is not followed (`files.symlinks`)
        link_proc               "link_proc" is or passes a symbolic link that is not followed (`files.symlinks`)
        link_stdin              "link_stdin" is or passes a symbolic link that is not followed (`files.symlinks`)
        link_absolute           "link_absolute" is or passes a symbolic link that is not followed (`files.symlinks`)
        link_absolute_in        "link_absolute_in" is or passes a symbolic link that is not followed (`files.symlinks`)
        hard                    "hard" has more than one name (hard links), and such files are not served (`files.hard_links`)
        fifo                    "fifo" is neither a file nor a folder
        socket                  "socket" is neither a file nor a folder
    "#]],
    );
}

#[test]
fn with_links_beneath() {
    check(
        Symlinks::Beneath,
        HardLinks::Allow,
        expect![[r#"
        .                       "." is a folder; fs_list shows what is in it
        folder                  "folder" is a folder; fs_list shows what is in it
        folder/file             opened: inside
        folder/none             there is no "folder/none"; fs_list shows what there is
        folder/file/below       there is no "folder/file/below"; fs_list shows what there is
        none/below              there is no "none/below"; fs_list shows what there is
        link_in                 opened: inside
        link_in_folder          "link_in_folder" is a folder; fs_list shows what is in it
        link_in_folder/file     opened: inside
        folder/link_up_one      opened: inside
        link_out                "link_out" leads out of the folder; give a path beneath it, without '..'
        link_out_folder         "link_out_folder" leads out of the folder; give a path beneath it, without '..'
        link_out_folder/secret  "link_out_folder/secret" leads out of the folder; give a path beneath it, without '..'
        link_self               "link_self" is or passes a symbolic link that is not followed (`files.symlinks`)
        link_chain              "link_chain" leads out of the folder; give a path beneath it, without '..'
        link_dangling           there is no "link_dangling"; fs_list shows what there is
        link_root               "link_root" leads out of the folder; give a path beneath it, without '..'
        link_root/etc/passwd    "link_root/etc/passwd" leads out of the folder; give a path beneath it, without '..'
        link_up                 "link_up" leads out of the folder; give a path beneath it, without '..'
        link_up/outside/secret  "link_up/outside/secret" leads out of the folder; give a path beneath it, without '..'
        link_up_and_in          "link_up_and_in" leads out of the folder; give a path beneath it, without '..'
        link_proc               "link_proc" leads out of the folder; give a path beneath it, without '..'
        link_stdin              "link_stdin" leads out of the folder; give a path beneath it, without '..'
        link_absolute           "link_absolute" leads out of the folder; give a path beneath it, without '..'
        link_absolute_in        "link_absolute_in" leads out of the folder; give a path beneath it, without '..'
        hard                    opened: canary-0b5c
        fifo                    "fifo" is neither a file nor a folder
        socket                  "socket" is neither a file nor a folder
    "#]],
    );
}

#[test]
fn folders_are_opened_by_the_same_rules() {
    let all = tree();
    for way in WAYS {
        for symlinks in [Symlinks::Refuse, Symlinks::Beneath] {
            let jail = Jail::open(&all.path().join("root"), symlinks, HardLinks::Refuse).unwrap().by(*way);
            for name in NAMES {
                let inside = match symlinks {
                    Symlinks::Refuse => matches!(*name, "." | "folder"),
                    Symlinks::Beneath => matches!(*name, "." | "folder" | "link_in_folder"),
                };
                let entries =
                    jail.folder(&path(name)).ok().map(|folder| Dir::read_from(folder).unwrap().count());
                assert_eq!(entries.is_some(), inside, "{way:?} {symlinks:?} {name}");
                assert!(entries.is_none_or(|count| count > 2), "{way:?} {symlinks:?} {name} can be listed");
            }
        }
    }
}

/// A folder of the system's own, full of devices and magic links.
#[cfg(target_os = "linux")]
#[test]
fn devices_and_magic_links_are_not_opened() {
    for way in WAYS {
        for symlinks in [Symlinks::Refuse, Symlinks::Beneath] {
            let devices = Jail::open(Path::new("/dev"), symlinks, HardLinks::Allow).unwrap().by(*way);
            for name in ["null", "zero", "random", "tty", "stdin", "fd/0"] {
                assert!(devices.file(&path(name)).is_err(), "{way:?} {symlinks:?} {name}");
            }
            let process = Jail::open(Path::new("/proc/self"), symlinks, HardLinks::Allow).unwrap().by(*way);
            for name in [
                "root/etc/passwd",
                "cwd/Cargo.toml",
                "exe",
                "fd/0",
                "fd/2",
                "task/self",
                "ns/net",
                "root",
                "cwd",
            ] {
                assert!(process.file(&path(name)).is_err(), "{way:?} {symlinks:?} {name}");
                assert!(process.folder(&path(name)).is_err(), "{way:?} {symlinks:?} {name}");
            }
            assert!(process.file(&path("status")).is_ok(), "an ordinary file of /proc opens");
        }
    }
}

#[test]
fn a_fifo_is_one_and_nobody_waits_for_its_other_end() {
    let all = tree();
    assert!(std::fs::symlink_metadata(all.path().join("root/fifo")).unwrap().file_type().is_fifo());
    for way in WAYS {
        let jail =
            Jail::open(&all.path().join("root"), Symlinks::Refuse, HardLinks::Refuse).unwrap().by(*way);
        // Were it to wait, this test would never end.
        assert_eq!(
            jail.file(&path("fifo")).unwrap_err().to_string(),
            r#""fifo" is neither a file nor a folder"#
        );
    }
}

#[test]
fn names_that_only_look_alike_are_different_files() {
    let all = tree();
    std::fs::write(all.path().join("root/Zo\u{eb}"), "composed").unwrap();
    let jail = Jail::open(&all.path().join("root"), Symlinks::Refuse, HardLinks::Refuse).unwrap();
    assert!(jail.file(&path("Zo\u{eb}")).is_ok());
    assert!(jail.file(&path("Zoe\u{308}")).unwrap_err().is_absent());
    assert!(jail.file(&path("FOLDER/file")).unwrap_err().is_absent());
}

/// One thread turns a folder into a link that leads out and back again, as fast as it can, while others open files
/// through it.
#[test]
fn a_rename_race_opens_nothing_outside() {
    const OPENS_MIN: u32 = 30_000;
    for symlinks in [Symlinks::Refuse, Symlinks::Beneath] {
        for way in WAYS {
            let all = tempfile::tempdir().unwrap();
            let root = all.path().join("root");
            std::fs::create_dir_all(root.join("real")).unwrap();
            std::fs::create_dir_all(all.path().join("outside")).unwrap();
            std::fs::write(root.join("real/file"), "inside").unwrap();
            std::fs::write(all.path().join("outside/file"), SECRET).unwrap();
            symlink("../outside", root.join("bad")).unwrap();
            let jail = Jail::open(&root, symlinks, HardLinks::Refuse).unwrap().by(*way);
            let (over, flips) = (AtomicBool::new(false), AtomicU32::new(0));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let rename =
                        |from: &str, to: &str| std::fs::rename(root.join(from), root.join(to)).unwrap();
                    while !over.load(Ordering::Relaxed) {
                        rename("real", "there");
                        rename("there", "real");
                        rename("bad", "there");
                        rename("there", "bad");
                        flips.fetch_add(1, Ordering::Relaxed);
                    }
                });
                open_many(&jail, OPENS_MIN);
                over.store(true, Ordering::Relaxed);
            });
            assert!(flips.load(Ordering::Relaxed) > 10);
        }
    }
}

/// Opens so many times, and on until the race had both ends often enough.
fn open_many(jail: &Jail, times_min: u32) {
    const EACH_MIN: u32 = 100;
    let file = path("there/file");
    let (mut opened, mut refused) = (0, 0);
    while opened + refused < times_min || opened < EACH_MIN || refused < EACH_MIN {
        match jail.file(&file) {
            Ok(mut found) => {
                let mut text = String::new();
                found.file.read_to_string(&mut text).unwrap();
                assert_eq!(text, "inside");
                opened += 1;
            }
            Err(_) => refused += 1,
        }
    }
}

/// SQLite's locks on the state of the server are POSIX locks: a process loses all of them on a file when it closes any
/// descriptor of it (fcntl(2)), and what was committed is lost at the next kill.
#[cfg(target_os = "linux")]
#[test]
fn a_refused_hard_link_is_not_opened_and_keeps_the_locks_of_its_file() {
    use std::os::unix::fs::MetadataExt as _;
    let all = tree();
    let locked = std::fs::OpenOptions::new().write(true).open(all.path().join("outside/secret")).unwrap();
    rustix::fs::fcntl_lock(&locked, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let inode = format!(":{} ", locked.metadata().unwrap().ino());
    let held = || std::fs::read_to_string("/proc/locks").unwrap().lines().any(|line| line.contains(&inode));
    assert!(held());
    for way in WAYS {
        let jail =
            Jail::open(&all.path().join("root"), Symlinks::Refuse, HardLinks::Refuse).unwrap().by(*way);
        let root = jail.folder(&path(".")).unwrap();
        assert!(jail.file(&path("hard")).is_err());
        assert!(jail.file_in(root.as_fd(), "hard", &path("hard")).is_err());
        assert!(held(), "{way:?}");
    }
    let staged = format!("{}{:032x}{}", crate::path::STAGED_PREFIX, 1, crate::path::STAGED_SUFFIX);
    std::fs::hard_link(all.path().join("outside/secret"), all.path().join("root").join(&staged)).unwrap();
    let config = crate::Config { writable: true, ..crate::Config::of_folder(all.path().join("root")) };
    drop(crate::open(&config, &testkit::parts(all.path())).unwrap());
    assert!(!all.path().join("root").join(&staged).exists(), "it was swept");
    assert!(held(), "by the sweep");
}
