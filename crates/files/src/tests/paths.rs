use std::{collections::BTreeMap, path::Path};

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::json;
use tool::Code;

use super::{Place, SECRET, open_to_all, run};
use crate::{
    Hidden,
    path::{RelPath, Rules},
};

fn rules() -> Rules {
    let exclude = ["private".to_owned(), "**/*.key".to_owned()];
    Rules::new(&["/srv/data"], 255, Hidden::Refuse, &exclude).unwrap()
}

fn check(sent: &str, expected: Expect) {
    expected.assert_eq(&rules().normal(sent).map_or_else(|e| e.to_string(), |path| path.to_string()));
}

#[test]
fn every_path_has_one_normal_form_or_none() {
    check("a.txt", expect!["a.txt"]);
    check("./a//b/./c/", expect!["a/b/c"]);
    check(".", expect!["."]);
    check("/srv/data", expect!["."]);
    check("//srv/./data///a.txt", expect!["a.txt"]);
    check(
        "/srv/database/a.txt",
        expect![[r#""/srv/database/a.txt" leads out of the folder; give a path beneath it, without '..'"#]],
    );
    check(
        "/etc/passwd",
        expect![[r#""/etc/passwd" leads out of the folder; give a path beneath it, without '..'"#]],
    );
    check(
        "/srv/data/../data/a",
        expect![[r#""/srv/data/../data/a" leads out of the folder; give a path beneath it, without '..'"#]],
    );
    check("a/../b", expect![[r#""a/../b" leads out of the folder; give a path beneath it, without '..'"#]]);
    check("..", expect![[r#"".." leads out of the folder; give a path beneath it, without '..'"#]]);
    check("...", expect![[r#""..." is hidden, and hidden files are not served (`files.hidden`)"#]]);
    check("", expect![[r#""" is no path here: it is empty; '.' is the folder itself"#]]);
    check(
        "a\0b",
        expect![[
            r#""a\0b" is no path here: it holds a backslash, a control character or an invisible character"#
        ]],
    );
    check(
        "..\\a",
        expect![[
            r#""..\\a" is no path here: it holds a backslash, a control character or an invisible character"#
        ]],
    );
    check(
        "a\u{202e}txt.exe",
        expect![[
            r#""a\u{202e}txt.exe" is no path here: it holds a backslash, a control character or an invisible character"#
        ]],
    );
    check(".ssh/id", expect![[r#"".ssh/id" is hidden, and hidden files are not served (`files.hidden`)"#]]);
    check(
        "a/.portcullis-0.tmp",
        expect![[r#"there is no "a/.portcullis-0.tmp"; fs_list shows what there is"#]],
    );
    check("private", expect![[r#"there is no "private"; fs_list shows what there is"#]]);
    check("private/a", expect![[r#"there is no "private/a"; fs_list shows what there is"#]]);
    check("x/y/z.key", expect![[r#"there is no "x/y/z.key"; fs_list shows what there is"#]]);
    check("%2e%2e/etc", expect!["%2e%2e/etc"]);
    check("．．/etc", expect!["．．/etc"]);
    check("~root/a", expect!["~root/a"]);
    check(
        &"ä".repeat(256),
        expect![[
            r#""ääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääää…" is no path here: it is longer than `files.path_chars_max`"#
        ]],
    );
    check(
        &"ä".repeat(128),
        expect![[
            r#""ääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääää…" is no path here: a name in it is longer than 255 bytes"#
        ]],
    );
}

#[test]
fn the_bounds_hold_at_their_edges() {
    let rules = rules();
    let long = |chars: usize| "a/".repeat(chars / 2) + &"b".repeat(chars % 2);
    assert!(rules.normal(&long(255)).is_ok());
    assert!(rules.normal(&long(256)).is_err());
    assert!(rules.normal(&"n".repeat(255)).is_ok());
    let rules = Rules::new(&[], 1000, Hidden::Allow, &[]).unwrap();
    assert!(rules.normal(&"n".repeat(256)).is_err());
    assert_eq!(rules.normal(".a/..b/c..").unwrap().as_str(), ".a/..b/c..");
}

#[test]
fn a_path_knows_its_folder() {
    for (path, split) in [("a/b/c", Some(("a/b", "c"))), ("a", Some((".", "a"))), (".", None)] {
        let path = rules().normal(path).unwrap();
        let found = path.split();
        assert_eq!(found.as_ref().map(|(folder, name)| (folder.as_str(), *name)), split);
        if let Some((folder, name)) = found {
            assert_eq!(folder.join(name), path);
        }
    }
    assert_eq!(RelPath::root().names().count(), 0);
}

proptest! {
    #[test]
    fn a_normal_form_stays_as_it_is_and_never_climbs(sent in "[a./ \\\\\u{0}\u{202e}é~%]{0,24}") {
        let rules = Rules::new(&["/a"], 255, Hidden::Allow, &[]).unwrap();
        if let Ok(path) = rules.normal(&sent) {
            prop_assert_eq!(rules.normal(path.as_str()).unwrap(), path.clone());
            prop_assert!(!path.as_str().starts_with('/'));
            prop_assert!(path.names().all(|name| !name.is_empty() && name != "."  && name != ".."));
        }
    }
}

/// Ways up and out.
#[rustfmt::skip]
const UPS: &[&str] = &[
    "..", "../", "..//", "./..", ".././", "notes/..", "notes/../..", "notes/./../..",
    "notes/deep/../../..", "/..", "//..", "/../..", "..\\", "..\\..", "..%2f", "%2e%2e", "%2e%2e%2f",
    "..%252f", "%252e%252e", "..%c0%af", "%c0%ae%c0%ae", "..;", "..;/", "....", "..../", "....//",
    "...//", "．．", "․․", "‥", "..\u{200b}", "\u{200b}..", ".\u{200d}.", "..\u{feff}", ".. ", " ..",
    "..\t", "..\0", "..\r\n", "~", "~/..", "~root", "out_folder/..", "in_folder/../..", "out_folder",
    "out_folder/.", "out_folder/folder/..", "in_folder/..",
];

/// Ways to another place at once.
#[rustfmt::skip]
const ABSOLUTE: &[&str] = &[
    "/etc/passwd", "//etc/passwd", "///etc///passwd", "/./etc/passwd", "/proc/self/environ",
    "/proc/self/root/etc/passwd", "/proc/self/cwd", "/proc/self/fd/0", "/proc/1/root", "/dev/zero",
    "/dev/stdin", "/dev/tty", "/dev/fd/0", "/sys/kernel", "\\etc\\passwd", "C:\\Windows\\win.ini",
    "C:/Windows/win.ini", "\\\\server\\share\\x", "//server/share/x", "file:///etc/passwd",
    "file:/etc/passwd", "\\\\?\\C:\\x", "CON", "NUL", "aux.txt", "a:stream", "\0/etc/passwd",
    "hello.txt\0.png", "hello.txt\0", "hello.txt/../../outside/secret.txt", "hello.txt/.", "hello.txt/x",
    "out_file", "./out_file", "out_file/", "out_file/.", "notes/../out_file", "out_folder/secret.txt",
    "\u{202e}txt.terces", ".git/../../outside/secret.txt", ".env/../../outside", "\u{1b}[31m", "\n", "\r",
    "\t", "\u{7f}", "\u{85}", " ", "",
];

/// Ways to name `outside/secret.txt`, or anything else that is not beneath the root, as attackers spell them.
fn hostile(all: &Path) -> Vec<String> {
    let all = all.to_str().unwrap();
    let tails = ["outside/secret.txt", "/outside/secret.txt", "outside"];
    let mut paths: Vec<String> = Vec::new();
    for up in UPS {
        paths.extend(tails.iter().map(|tail| format!("{up}/{tail}")));
        paths.push(format!("{up}/secret.txt"));
        paths.push(format!("{}etc/passwd", format!("{up}/").repeat(12)));
    }
    let root = format!("{all}/root");
    for absolute in ABSOLUTE {
        paths.push((*absolute).to_owned());
    }
    for tail in [
        "/../outside/secret.txt",
        "side/secret.txt",
        "/./../outside",
        "\0",
        "/out_file",
        "/out_folder/secret.txt",
        "/..",
    ] {
        paths.push(format!("{root}{tail}"));
        paths.push(format!("/{root}{tail}"));
    }
    paths.push(format!("{all}/outside/secret.txt"));
    paths.push(format!("{all}/root/../outside/secret.txt"));
    paths.push("a/".repeat(5000));
    paths.push("../".repeat(5000) + "etc/passwd");
    paths.push("x".repeat(100_000));
    paths.push("notes/".repeat(40) + "x");
    paths
}

fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(tree(&path));
            found.insert(path.display().to_string(), Vec::new());
        } else {
            found.insert(path.display().to_string(), std::fs::read(&path).unwrap());
        }
    }
    found
}

#[tokio::test]
async fn no_hostile_path_reads_anything_outside() {
    for open in [false, true] {
        let place = Place::new(|config| {
            if open {
                open_to_all(config);
            }
        });
        let paths = hostile(place.all.path());
        assert!(paths.len() >= 250, "{}", paths.len());
        for path in &paths {
            for (tool, arguments) in [
                ("fs_read_text", json!({"path": path})),
                ("fs_list", json!({"path": path, "recursive": true})),
                ("fs_list", json!({"path": ".", "after": path})),
                ("fs_search", json!({"path": path, "query": SECRET})),
            ] {
                let result = run(&*place.provider, tool, arguments).await;
                if let Err(fault) = &result {
                    let expected = [Code::BadArguments, Code::Denied, Code::NotFound];
                    assert!(expected.contains(&fault.code), "{tool} {path:?}: {:?} {fault}", fault.code);
                    assert!(
                        !fault.text.contains(place.all.path().to_str().unwrap()) || path.starts_with('/')
                    );
                }
                let text = result.map_or_else(|fault| fault.text, |value| value.to_string());
                assert!(!text.contains(SECRET), "{tool} {path:?}: {text}");
                assert!(!text.contains("root:x:"), "{tool} {path:?}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn no_hostile_path_writes_anything_outside() {
    let place = Place::new(open_to_all);
    let outside = place.all.path().join("outside");
    let before = tree(&outside);
    let mut applied = 0;
    for path in hostile(place.all.path()) {
        let planned = place.plan(json!({"path": path, "text": "pwned\n", "create_parents": true})).await;
        match planned {
            Ok(plan) => applied += usize::from(place.apply(&plan).await.contains("digest")),
            Err(fault) => {
                let expected = [Code::BadArguments, Code::Denied, Code::NotFound];
                assert!(expected.contains(&fault.code), "{path:?}: {:?} {fault}", fault.code);
            }
        }
        assert_eq!(tree(&outside), before, "{path:?}");
    }
    assert_eq!(std::fs::read_dir(place.all.path()).unwrap().count(), 2);
    assert!(applied > 10, "names that only look hostile are names: {applied}");
}
