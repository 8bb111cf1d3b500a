use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use expect_test::{Expect, expect};
use serde_json::{Value, json};
use tool::{Code, Plan, Risk, Standing, json::digest_bytes};

use super::{Place, SECRET, apply, open, open_to_all, shown};

fn writable(config: &mut crate::Config) {
    config.writable = true;
}

/// Plans a write over `root/f`, which holds `old`, and shows the plan.
async fn check_plan(old: Option<&[u8]>, text: &str, expected: Expect) {
    let place = Place::new(writable);
    if let Some(old) = old {
        fs::write(place.root().join("f"), old).unwrap();
    }
    let shown = match place.plan(json!({"path": "f", "text": text})).await {
        Ok(plan) => {
            assert_eq!(plan.target, "files:f");
            assert_eq!(plan.after, digest_bytes(text.as_bytes()));
            assert_eq!(plan.before, old.map_or("absent".to_owned(), digest_bytes));
            format!("{:?}, empty: {}\n{}\n{}", plan.risk, plan.is_empty(), plan.summary, plan.diff)
        }
        Err(fault) => format!("{:?} {:?}: {fault}", fault.code, fault.pointer),
    };
    expected.assert_eq(&shown);
}

#[tokio::test]
async fn a_slash_behind_the_name_of_a_new_file_is_refused() {
    let place = Place::new(writable);
    for path in ["new.txt/", "hello.txt/", "notes/new.txt/."] {
        let fault = place.plan(json!({ "path": path, "text": "x" })).await.unwrap_err();
        assert_eq!((fault.code, fault.pointer.as_deref()), (Code::BadArguments, Some("/path")), "{path}");
        assert!(fault.text.contains("it ends in '/'"), "{fault}");
    }
}

#[tokio::test]
async fn plans_show_what_changes() {
    check_plan(
        None,
        "one\ntwo\n",
        expect![[r#"
        Low, empty: false
        create "f" with 8 bytes in 2 lines
        --- /dev/null
        +++ b/f
        @@ -0,0 +1,2 @@
        +one
        +two
    "#]],
    )
    .await;
    check_plan(
        None,
        "",
        expect![[r#"
        Low, empty: false
        create "f" with 0 bytes in 0 lines
    "#]],
    )
    .await;
    check_plan(
        Some(b"one\ntwo\n"),
        "one\n2\n",
        expect![[r#"
            Low, empty: false
            replace "f": 8 bytes become 6, 1 line added, 1 removed
            --- a/f
            +++ b/f
            @@ -1,2 +1,2 @@
             one
            -two
            +2
        "#]],
    )
    .await;
    check_plan(
        Some(b"one"),
        "one\n",
        expect![[r#"
            Low, empty: false
            replace "f": 3 bytes become 4, 1 line added, 1 removed
            --- a/f
            +++ b/f
            @@ -1 +1 @@
            -one
            \ No newline at end of file
            +one
        "#]],
    )
    .await;
    check_plan(
        Some(b"same"),
        "same",
        expect![[r#"
        Low, empty: true
        leave "f" as it is
    "#]],
    )
    .await;
    check_plan(
        Some(b"a\r\n"),
        "a\n",
        expect![[r#"
            Low, empty: false
            replace "f": 3 bytes become 2, 1 line added, 1 removed
            --- a/f
            +++ b/f
            @@ -1 +1 @@
            -a\r
            +a
        "#]],
    )
    .await;
    check_plan(
        Some(b"\x00\xff"),
        "text\n",
        expect![[r#"
            High, empty: false
            replace "f": 2 bytes become 5, 1 line added, 0 removed; what is there is not text
            the file is not text: 2 bytes, b3:1878e767f1a09c64a9e3b73ffc1af306482097367e3809bbc800350d2b255dc0
            all of it is replaced by:
            text
        "#]],
    )
    .await;
    check_plan(
        None,
        "#!/bin/sh\nrm -r x\n",
        expect![[r#"
        High, empty: false
        create "f" with 18 bytes in 2 lines
        --- /dev/null
        +++ b/f
        @@ -0,0 +1,2 @@
        +#!/bin/sh
        +rm -r x
    "#]],
    )
    .await;
    check_plan(
        None,
        "safe\u{1b}[8m rm -r /\u{1b}[0m \u{202e}gnp.\n",
        expect![[r#"
            Medium, empty: false
            create "f" with 29 bytes in 1 line; it holds 3 control or invisible characters, shown as escapes
            --- /dev/null
            +++ b/f
            @@ -0,0 +1 @@
            +safe\u{1b}[8m rm -r /\u{1b}[0m \u{202e}gnp.
        "#]],
    )
    .await;
    let twelve: String = (0..12).map(|i| format!("{i}\n")).collect();
    check_plan(
        Some(twelve.as_bytes()),
        "0\n",
        expect![[r#"
            Medium, empty: false
            replace "f": 26 bytes become 2, 0 lines added, 11 removed
            --- a/f
            +++ b/f
            @@ -1,12 +1 @@
             0
            -1
            -2
            -3
            -4
            -5
            -6
            -7
            -8
            -9
            -10
            -11
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_plan_carries_what_apply_needs() {
    let place = Place::new(open_to_all);
    let plan = place.plan(json!({"path": "./new//file", "text": "x", "create_parents": true})).await.unwrap();
    assert_eq!(
        plan.payload,
        json!({"path": "new/file", "text": "x", "mode": "0644", "create_parents": true})
    );
    fs::set_permissions(place.root().join("hello.txt"), Permissions::from_mode(0o750)).unwrap();
    let plan = place.plan(json!({"path": "hello.txt", "text": "x"})).await.unwrap();
    assert_eq!((plan.payload["mode"].as_str(), plan.risk), (Some("0750"), Risk::High));
    let plan = place.plan(json!({"path": ".env", "text": "x"})).await.unwrap();
    assert_eq!(plan.risk, Risk::High);
    let plan = place.plan(json!({"path": "big", "text": "x\n".repeat(32 * 1024 + 1)})).await.unwrap();
    assert_eq!(plan.risk, Risk::High);
    let again = place.plan(json!({"path": "big", "text": "x\n".repeat(32 * 1024 + 1)})).await.unwrap();
    assert_eq!(again.digest(), plan.digest(), "the same write has the same plan");
}

#[tokio::test]
async fn what_cannot_be_planned() {
    let place = Place::new(|config| {
        config.writable = true;
        config.write_bytes_max = 64;
        config.diff_bytes_max = 150;
    });
    let fifo = place.root().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    fs::write(place.root().join("large"), "x".repeat(65)).unwrap();
    fs::write(place.root().join("outlined"), "y\n".repeat(32)).unwrap();
    fs::hard_link(place.all.path().join("outside/secret.txt"), place.root().join("hard")).unwrap();
    let mut lines = String::new();
    for (path, text) in [
        ("notes", "x".to_owned()),
        (".", "x".to_owned()),
        ("none/f", "x".to_owned()),
        ("hello.txt/f", "x".to_owned()),
        ("out_file", "x".to_owned()),
        ("in_file", "x".to_owned()),
        ("out_folder/f", "x".to_owned()),
        ("hard", "x".to_owned()),
        (".env", "x".to_owned()),
        ("f", "x".repeat(65)),
        ("f", "é".repeat(33)),
        ("large", "x".to_owned()),
        ("outlined", "z\n".repeat(32)),
        ("../f", "x".to_owned()),
        ("fifo", "x".to_owned()),
        ("f/.portcullis-1.tmp", "x".to_owned()),
    ] {
        let planned = place.plan(json!({"path": path, "text": text})).await;
        let fault = planned.expect_err(path);
        lines += &format!("{path}: {:?} {}: {fault}\n", fault.code, fault.pointer.clone().unwrap());
    }
    expect![[r#"
        notes: BadArguments /path: "notes" is a folder; fs_list shows what is in it
        .: BadArguments /path: "." is a folder; fs_list shows what is in it
        none/f: BadArguments /create_parents: there is no folder "none"; set create_parents to make it
        hello.txt/f: BadArguments /path: "hello.txt" is not a folder; fs_read_text reads a file
        out_file: Denied /path: "out_file" is or passes a symbolic link that is not followed (`files.symlinks`)
        in_file: Denied /path: "in_file" is or passes a symbolic link that is not followed (`files.symlinks`)
        out_folder/f: Denied /path: "out_folder" is or passes a symbolic link that is not followed (`files.symlinks`)
        hard: Denied /path: "hard" has more than one name (hard links), and such files are not served (`files.hard_links`)
        .env: Denied /path: ".env" is hidden, and hidden files are not served (`files.hidden`)
        f: BadArguments /text: the text is larger than 64 bytes (`files.write_bytes_max`)
        f: BadArguments /text: the text is larger than 64 bytes (`files.write_bytes_max`)
        large: BadArguments /path: "large" is larger than 64 bytes (`files.write_bytes_max`)
        outlined: BadArguments /text: the difference is larger than 150 bytes (`files.diff_bytes_max`) and cannot be shown to an approver; write it in smaller steps
        ../f: Denied /path: "../f" leads out of the folder; give a path beneath it, without '..'
        fifo: BadArguments /path: "fifo" is neither a file nor a folder
        f/.portcullis-1.tmp: NotFound /path: there is no "f/.portcullis-1.tmp"; fs_list shows what there is
    "#]].assert_eq(&lines);
    assert!(place.plan(json!({"path": "f", "text": "x".repeat(64)})).await.is_ok());
}

/// Plans a write over `root/f`, lets `meanwhile` happen, and applies it; shows the answer, and the file after it.
async fn check_apply(old: Option<&str>, meanwhile: impl FnOnce(&Path), expected: Expect) {
    let place = Place::new(writable);
    let file = place.root().join("f");
    if let Some(old) = old {
        fs::write(&file, old).unwrap();
    }
    let plan = place.plan(json!({"path": "f", "text": "new"})).await.unwrap();
    meanwhile(&file);
    let answer = place.apply(&plan).await;
    let after = match fs::symlink_metadata(&file) {
        Ok(meta) if meta.is_file() => fs::read_to_string(&file).unwrap().chars().take(8).collect(),
        Ok(meta) => format!("{:?}", meta.file_type()).chars().take(8).collect(),
        Err(error) => error.kind().to_string(),
    };
    let looked = place.provider.look(&plan).await.unwrap();
    let looked =
        if let Standing::Elsewhere(_) = looked { "Elsewhere".to_owned() } else { format!("{looked:?}") };
    expected.assert_eq(&format!("{answer}\n{after}, {looked}"));
    no_leftovers(&place);
    assert_eq!(fs::read_to_string(place.all.path().join("outside/secret.txt")).unwrap(), SECRET);
}

fn no_leftovers(place: &Place) {
    for entry in fs::read_dir(place.root()).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(!name.to_string_lossy().starts_with(".portcullis-"), "{name:?}");
    }
}

#[tokio::test]
async fn applying() {
    let swap = |file: &Path, with: &dyn Fn()| {
        fs::remove_file(file).unwrap();
        with();
    };
    check_apply(None, |_| {}, expect![[r#"
        {"path":"f","bytes":3,"digest":"b3:b20ab0a020a48d349e0c64d109c441f87c9bc43d49fc701c4a5f6f1b16aa4e32","created":true}
        new, After"#]]).await;
    check_apply(Some("old"), |_| {}, expect![[r#"
        {"path":"f","bytes":3,"digest":"b3:b20ab0a020a48d349e0c64d109c441f87c9bc43d49fc701c4a5f6f1b16aa4e32","created":false}
        new, After"#]]).await;
    check_apply(Some("new"), |_| {}, expect![[r#"
        {"path":"f","bytes":3,"digest":"b3:b20ab0a020a48d349e0c64d109c441f87c9bc43d49fc701c4a5f6f1b16aa4e32","created":false}
        new, After"#]]).await;
    // Done by somebody else meanwhile: there is nothing left to do.
    check_apply(Some("old"), |file| fs::write(file, "new").unwrap(), expect![[r#"
        {"path":"f","bytes":3,"digest":"b3:b20ab0a020a48d349e0c64d109c441f87c9bc43d49fc701c4a5f6f1b16aa4e32","created":false}
        new, After"#]]).await;
    check_apply(None, |file| fs::write(file, "new").unwrap(), expect![[r#"
        {"path":"f","bytes":3,"digest":"b3:b20ab0a020a48d349e0c64d109c441f87c9bc43d49fc701c4a5f6f1b16aa4e32","created":true}
        new, After"#]]).await;
    // Written and written back: it is as the plan found it.
    check_apply(Some("old"), |file| swap(file, &|| fs::write(file, "old").unwrap()), expect![[r#"
        {"path":"f","bytes":3,"digest":"b3:b20ab0a020a48d349e0c64d109c441f87c9bc43d49fc701c4a5f6f1b16aa4e32","created":false}
        new, After"#]]).await;
    check_apply(
        Some("old"),
        |file| fs::write(file, "other").unwrap(),
        expect![[r#"
        Drifted : "f" is no longer as the plan found it; nothing was changed, plan again
        other, Elsewhere"#]],
    )
    .await;
    check_apply(
        Some("old"),
        |file| fs::remove_file(file).unwrap(),
        expect![[r#"
        Drifted : "f" is no longer as the plan found it; nothing was changed, plan again
        entity not found, Elsewhere"#]],
    )
    .await;
    check_apply(
        None,
        |file| fs::write(file, "other").unwrap(),
        expect![[r#"
        Drifted : "f" is no longer as the plan found it; nothing was changed, plan again
        other, Elsewhere"#]],
    )
    .await;
    check_apply(
        None,
        |file| fs::create_dir(file).unwrap(),
        expect![[r#"
            Drifted : "f" is no longer as the plan found it; nothing was changed, plan again
            FileType, Elsewhere"#]],
    )
    .await;
    let outside = |file: &Path| symlink("../outside/secret.txt", file).unwrap();
    check_apply(
        Some("old"),
        |file| swap(file, &|| outside(file)),
        expect![[r#"
            Drifted : "f" is no longer as the plan found it; nothing was changed, plan again
            FileType, Elsewhere"#]],
    )
    .await;
    check_apply(
        None,
        outside,
        expect![[r#"
            Drifted : "f" is no longer as the plan found it; nothing was changed, plan again
            FileType, Elsewhere"#]],
    )
    .await;
    let grown = |file: &Path| fs::write(file, "x".repeat(300_000)).unwrap();
    check_apply(
        Some("old"),
        |file| grown(file),
        expect![[r#"
            Drifted : "f" is no longer as the plan found it; nothing was changed, plan again
            xxxxxxxx, Elsewhere"#]],
    )
    .await;
}

#[tokio::test]
async fn applying_twice_is_applying_once() {
    let place = Place::new(writable);
    let plan = place.plan(json!({"path": "hello.txt", "text": "new"})).await.unwrap();
    assert_eq!(place.provider.look(&plan).await.unwrap(), Standing::Before);
    let first = place.apply(&plan).await;
    let inode = fs::metadata(place.root().join("hello.txt")).unwrap().ino();
    let second = place.apply(&plan).await;
    assert_eq!(second, first, "a caller who asks again hears the same");
    assert_eq!(fs::metadata(place.root().join("hello.txt")).unwrap().ino(), inode);
    assert_eq!(place.provider.look(&plan).await.unwrap(), Standing::After);
}

#[tokio::test]
async fn two_plans_for_one_file_cannot_both_be_applied() {
    let place = Place::new(writable);
    let first = place.plan(json!({"path": "hello.txt", "text": "first"})).await.unwrap();
    let second = place.plan(json!({"path": "hello.txt", "text": "second"})).await.unwrap();
    let (a, b) = tokio::join!(apply(&*place.provider, &first), apply(&*place.provider, &second));
    assert!(a.is_ok() != b.is_ok());
    assert_eq!(a.err().or(b.err()).unwrap().code, Code::Drifted);
}

#[tokio::test]
async fn owner_group_and_permissions_stay() {
    let place = Place::new(writable);
    let file = place.root().join("hello.txt");
    let note = |file: &Path| {
        let mut value = [0; 16];
        rustix::fs::getxattr(file, "user.note", &mut value[..]).map(|length| value[..length].to_vec())
    };
    // Where the file system of the tests has no such attributes, there is nothing to keep.
    let _ = rustix::fs::setxattr(&file, "user.note", b"kept", rustix::fs::XattrFlags::empty());
    let noted = note(&file);
    fs::set_permissions(&file, Permissions::from_mode(0o4751)).unwrap();
    // Only root can give files away; for others the owner is their own, before and after.
    let owners =
        std::os::unix::fs::chown(&file, Some(1234), Some(4321)).map_or(None, |()| Some((1234, 4321)));
    let before = fs::metadata(&file).unwrap();
    let plan = place.plan(json!({"path": "hello.txt", "text": "new"})).await.unwrap();
    place.apply(&plan).await;
    let after = fs::metadata(&file).unwrap();
    assert_ne!(before.ino(), after.ino());
    assert_eq!((before.uid(), before.gid()), (after.uid(), after.gid()));
    assert!(owners.is_none_or(|owners| owners == (after.uid(), after.gid())));
    assert_eq!(after.mode() & 0o7777, 0o751, "set-uid goes, the rest stays");
    assert_eq!(note(&file), noted);
    let plan = place.plan(json!({"path": "fresh", "text": "new"})).await.unwrap();
    place.apply(&plan).await;
    assert_eq!(fs::metadata(place.root().join("fresh")).unwrap().mode() & 0o7777, 0o644);
}

#[tokio::test]
async fn folders_on_the_way_are_made_and_unmade() {
    let place = Place::new(writable);
    let arguments = json!({"path": "x/y/z/f", "text": "new", "create_parents": true});
    let plan = place.plan(arguments.clone()).await.unwrap();
    assert!(!place.root().join("x").exists(), "a plan changes nothing");
    let answer = place.apply(&plan).await;
    assert!(answer.contains(r#""created":true"#), "{answer}");
    assert_eq!(fs::read_to_string(place.root().join("x/y/z/f")).unwrap(), "new");
    // A name too long to stage next to fails after the folders were made; they go again.
    let long = format!("p/q/{}", "n".repeat(245));
    let mut plan = place.plan(json!({"path": long, "text": "new", "create_parents": true})).await.unwrap();
    plan.payload["mode"] = json!("no mode");
    assert!(place.apply(&plan).await.starts_with("Upstream"), "a broken mode is refused");
    assert!(!place.root().join("p").exists());
}

#[tokio::test]
async fn a_folder_that_went_away_is_drift() {
    let place = Place::new(writable);
    let plan = place.plan(json!({"path": "empty/f", "text": "new"})).await.unwrap();
    fs::remove_dir(place.root().join("empty")).unwrap();
    assert!(place.apply(&plan).await.starts_with("Drifted"));
    fs::write(place.root().join("empty"), "a file").unwrap();
    assert!(place.apply(&plan).await.starts_with("Drifted"));
    assert!(matches!(place.provider.look(&plan).await.unwrap(), Standing::Elsewhere(_)));
}

#[tokio::test]
async fn a_plan_that_was_tampered_with_is_refused() {
    let place = Place::new(writable);
    let plan = place.plan(json!({"path": "hello.txt", "text": "new"})).await.unwrap();
    let with = |change: &dyn Fn(&mut Plan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        plan
    };
    let mut lines = String::new();
    for tampered in [
        with(&|plan| plan.payload["path"] = json!("notes/todo.txt")),
        with(&|plan| plan.payload["path"] = json!("../outside/secret.txt")),
        with(&|plan| plan.payload["text"] = json!("other")),
        with(&|plan| plan.target = "files:notes/todo.txt".into()),
        with(&|plan| plan.payload = Value::Null),
        with(&|plan| plan.payload["more"] = json!(1)),
    ] {
        lines += &shown(apply(&*place.provider, &tampered).await);
        lines.push('\n');
    }
    expect![[r#"
        Conflict : this is no plan of fs_write_text: its target is not its path; plan again
        Denied /path: "../outside/secret.txt" leads out of the folder; give a path beneath it, without '..'
        Conflict : this is no plan of fs_write_text: its text is not what its digest says; plan again
        Conflict : this is no plan of fs_write_text: its target is not its path; plan again
        BadArguments /path: "null" is no path here: a path is a text
        Conflict : this is no plan of fs_write_text: unknown field `more`, expected one of `path`, `text`, `mode`, `create_parents`; plan again
    "#]].assert_eq(&lines);
    assert_eq!(fs::read_to_string(place.root().join("hello.txt")).unwrap(), "hello, hands\n");
}

#[tokio::test]
async fn a_plan_for_other_arguments_is_refused() {
    let place = Place::new(writable);
    let plan = place.plan(json!({"path": "hello.txt", "text": "new"})).await.unwrap();
    for arguments in
        [json!({"path": "other.txt", "text": "new"}), json!({"path": "hello.txt", "text": "newer"})]
    {
        let permit = testkit::permit_of(&*place.provider, "fs_write_text", arguments).unwrap();
        let fault = place.provider.apply(permit, plan.clone(), testkit::talk()).await.unwrap_err();
        assert_eq!(fault.code, Code::Conflict);
    }
}

#[tokio::test]
async fn a_write_does_not_run_without_a_plan_and_stops_when_asked() {
    let place = Place::new(writable);
    let arguments = json!({"path": "f", "text": "new"});
    let permit = || testkit::permit_of(&*place.provider, "fs_write_text", arguments.clone()).unwrap();
    assert_eq!(place.provider.run(permit(), testkit::talk()).await.unwrap_err().code, Code::Internal);
    let plan = place.plan(arguments.clone()).await.unwrap();
    let (source, talk) = testkit::talk_that_stops();
    source.ask();
    assert_eq!(place.provider.apply(permit(), plan, talk).await.unwrap_err().code, Code::Cancelled);
    assert!(!place.root().join("f").exists());
}

#[tokio::test]
async fn what_a_killed_write_left_is_swept_at_the_next_start_and_seen_by_nobody() {
    let place = Place::new(open_to_all);
    for left in [".portcullis-00.tmp", "notes/deep/.portcullis-ff.tmp"] {
        fs::write(place.root().join(left), "half").unwrap();
    }
    let held = fs::File::create(place.root().join(".portcullis-held.tmp")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    symlink("../outside/secret.txt", place.root().join(".portcullis-link.tmp")).unwrap();
    let list = place.call("fs_list", json!({"recursive": true})).await;
    assert!(!list.contains(".portcullis-"), "{list}");
    assert!(place.call("fs_read_text", json!({"path": ".portcullis-00.tmp"})).await.starts_with("NotFound"));
    open(place.all.path(), |_| {});
    assert!(place.root().join(".portcullis-00.tmp").exists(), "without `writable` nothing is removed");
    open(place.all.path(), writable);
    assert!(!place.root().join(".portcullis-00.tmp").exists());
    assert!(!place.root().join("notes/deep/.portcullis-ff.tmp").exists());
    assert!(place.root().join(".portcullis-held.tmp").exists(), "a write that runs just now keeps its file");
    assert_eq!(fs::read_to_string(place.all.path().join("outside/secret.txt")).unwrap(), SECRET);
}

/// Writes through a folder that turns into a link out of the root and back: nothing ever lands outside.
#[tokio::test]
async fn a_rename_race_writes_nothing_outside() {
    const EACH_MIN: usize = 100;
    for links in [false, true] {
        let place = Place::new(|config| if links { open_to_all(config) } else { writable(config) });
        let root = place.root();
        fs::create_dir(root.join("there")).unwrap();
        symlink("../outside", root.join("bad")).unwrap();
        let outside = place.all.path().join("outside");
        let before = fs::read_dir(&outside).unwrap().count();
        let plan = place.plan(json!({"path": "there/f", "text": "new"})).await.unwrap();
        let room = super::room(
            place.all.path(),
            |config| if links { open_to_all(config) } else { writable(config) },
        );
        let (mut done, mut refused, over) = (0, 0, AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let rename = |from: &str, to: &str| fs::rename(root.join(from), root.join(to)).unwrap();
                while !over.load(Ordering::Relaxed) {
                    rename("there", "real");
                    rename("bad", "there");
                    rename("there", "bad");
                    rename("real", "there");
                }
            });
            while done < EACH_MIN || refused < EACH_MIN {
                match crate::write::apply(&room, &plan, &room.halt()) {
                    Ok(_) => done += 1,
                    Err(_) => refused += 1,
                }
                for folder in ["there", "real"] {
                    let _ = fs::remove_file(root.join(folder).join("f"));
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        assert_eq!(fs::read_dir(&outside).unwrap().count(), before);
    }
}

/// Readers meanwhile see one text or the other, never a part and never nothing.
#[tokio::test]
async fn a_reader_sees_the_old_or_the_new() {
    const READS_MIN: u32 = 2_000;
    let place = Place::new(writable);
    let texts = ["a", "b"].map(|letter| letter.repeat(100_000));
    let file = place.root().join("f");
    fs::write(&file, &texts[0]).unwrap();
    let mut plans = Vec::new();
    for (old, new) in [(0, 1), (1, 0)] {
        fs::write(&file, &texts[old]).unwrap();
        plans.push(place.plan(json!({"path": "f", "text": texts[new]})).await.unwrap());
    }
    fs::write(&file, &texts[0]).unwrap();
    let room = super::room(place.all.path(), writable);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut reads, mut seen) = (0, [false, false]);
            while reads < READS_MIN || seen.contains(&false) {
                let text = fs::read_to_string(&file).unwrap();
                let which = texts.iter().position(|known| *known == text);
                seen[which.unwrap_or_else(|| panic!("a mix of {} bytes", text.len()))] = true;
                reads += 1;
            }
            over.store(true, Ordering::Relaxed);
        });
        for plan in plans.iter().cycle().take_while(|_| !over.load(Ordering::Relaxed)) {
            crate::write::apply(&room, plan, &room.halt()).unwrap();
        }
    });
}
