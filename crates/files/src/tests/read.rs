use std::{
    io::{Seek as _, SeekFrom, Write as _},
    time::{Duration, Instant},
};

use expect_test::{Expect, expect};
use serde_json::json;
use tool::{Code, PrincipalKind};

use super::{Place, open_to_all, room, run};
use crate::{
    error::FilesError,
    halt::Halt,
    tools::{ListArguments, SearchArguments},
};

async fn check(tool: &str, arguments: serde_json::Value, expected: Expect) {
    let place = Place::new(|config| {
        config.bytes_max = 64;
        config.entries_max = 5;
        config.search_matches_max = 3;
        config.search_line_chars_max = 10;
    });
    let answer = place.call(tool, arguments).await;
    // Times of files differ from run to run.
    let answer = regex::Regex::new(r#""modified_at":"20[^"]+Z""#)
        .unwrap()
        .replace_all(&answer, r#""modified_at":"T""#);
    expected.assert_eq(&answer);
}

#[tokio::test]
async fn reading() {
    check("fs_read_text", json!({"path": "hello.txt"}), expect![[r#"{"text":"hello, hands\n","path":"hello.txt","offset":0,"bytes":13,"total_bytes":13,"truncated":false}"#]]).await;
    check("fs_read_text", json!({"path": "./notes//todo.txt", "offset": 9, "limit": 10}), expect![[r#"{"text":"TODO: call","path":"notes/todo.txt","offset":9,"bytes":10,"total_bytes":25,"truncated":true,"next_offset":19}"#]]).await;
    check(
        "fs_read_text",
        json!({"path": "empty.txt"}),
        expect![[r#"{"text":"","path":"empty.txt","offset":0,"bytes":0,"total_bytes":0,"truncated":false}"#]],
    )
    .await;
    check(
        "fs_read_text",
        json!({"path": "empty.txt", "offset": 1}),
        expect![[r#"BadArguments /offset: the offset lies behind the end; "empty.txt" has 0 bytes"#]],
    )
    .await;
    check(
        "fs_read_text",
        json!({"path": "hello.txt", "offset": 13}),
        expect![[
            r#"{"text":"","path":"hello.txt","offset":13,"bytes":0,"total_bytes":13,"truncated":false}"#
        ]],
    )
    .await;
    check(
        "fs_read_text",
        json!({"path": "latin1.txt"}),
        expect![[r#"BadArguments /path: "latin1.txt" is not UTF-8 text near byte 3"#]],
    )
    .await;
    check(
        "fs_read_text",
        json!({"path": "binary.bin"}),
        expect![[r#"BadArguments /path: "binary.bin" is not UTF-8 text near byte 2"#]],
    )
    .await;
    check(
        "fs_read_text",
        json!({"path": "notes"}),
        expect![[r#"BadArguments /path: "notes" is a folder; fs_list shows what is in it"#]],
    )
    .await;
    check(
        "fs_read_text",
        json!({"path": "."}),
        expect![[r#"BadArguments /path: "." is a folder; fs_list shows what is in it"#]],
    )
    .await;
    check(
        "fs_read_text",
        json!({"path": "none.txt"}),
        expect![[r#"NotFound /path: there is no "none.txt"; fs_list shows what there is"#]],
    )
    .await;
    check(
        "fs_read_text",
        json!({"path": "out_file"}),
        expect![[
            r#"Denied /path: "out_file" is or passes a symbolic link that is not followed (`files.symlinks`)"#
        ]],
    )
    .await;
    check(
        "fs_read_text",
        json!({"path": ".env"}),
        expect![[r#"Denied /path: ".env" is hidden, and hidden files are not served (`files.hidden`)"#]],
    )
    .await;
}

#[tokio::test]
async fn a_slash_behind_the_name_of_a_file_is_refused() {
    for (tool, sent) in [
        ("fs_read_text", "hello.txt/"),
        ("fs_read_text", "hello.txt/."),
        ("fs_read_text", "notes//todo.txt//"),
        ("fs_read_text", "notes/"),
        ("fs_read_text", "none.txt/"),
    ] {
        let place = Place::new(|_| {});
        let said = place.call(tool, json!({ "path": sent })).await;
        let want = format!(
            "BadArguments /path: {sent:?} is no path here: it ends in '/', which names a folder; a file has nothing \
             behind its name"
        );
        assert_eq!(said, want);
    }
    check("fs_list", json!({"path": "notes/", "limit": 1}), expect![[r#"{"path":"notes","entries":[{"name":"deep","path":"notes/deep","kind":"folder","bytes":0,"modified_at":"T"}],"truncated":true,"next":"notes/deep","skipped":0}"#]]).await;
    check(
        "fs_list",
        json!({"path": "hello.txt/"}),
        expect![[r#"BadArguments /path: "hello.txt" is not a folder; fs_read_text reads a file"#]],
    )
    .await;
}

#[tokio::test]
async fn listing() {
    check("fs_list", json!({}), expect![[r#"{"path":".","entries":[{"name":"binary.bin","path":"binary.bin","kind":"file","bytes":3,"modified_at":"T"},{"name":"empty","path":"empty","kind":"folder","bytes":0,"modified_at":"T"},{"name":"empty.txt","path":"empty.txt","kind":"file","bytes":0,"modified_at":"T"},{"name":"hello.txt","path":"hello.txt","kind":"file","bytes":13,"modified_at":"T"},{"name":"in_file","path":"in_file","kind":"link","bytes":0,"modified_at":"T"}],"truncated":true,"next":"in_file","skipped":2}"#]]).await;
    check("fs_list", json!({"after": "latin1.txt"}), expect![[r#"{"path":".","entries":[{"name":"notes","path":"notes","kind":"folder","bytes":0,"modified_at":"T"},{"name":"out_file","path":"out_file","kind":"link","bytes":0,"modified_at":"T"},{"name":"out_folder","path":"out_folder","kind":"link","bytes":0,"modified_at":"T"}],"truncated":false,"next":null,"skipped":2}"#]]).await;
    check("fs_list", json!({"recursive": true, "path": "notes", "limit": 2}), expect![[r#"{"path":"notes","entries":[{"name":"deep","path":"notes/deep","kind":"folder","bytes":0,"modified_at":"T"},{"name":"er","path":"notes/deep/er","kind":"folder","bytes":0,"modified_at":"T"}],"truncated":true,"next":"notes/deep/er","skipped":0}"#]]).await;
    check("fs_list", json!({"recursive": true, "path": "notes", "after": "notes/deep/er"}), expect![[r#"{"path":"notes","entries":[{"name":"a.md","path":"notes/deep/er/a.md","kind":"file","bytes":18,"modified_at":"T"},{"name":"todo.txt","path":"notes/todo.txt","kind":"file","bytes":25,"modified_at":"T"}],"truncated":false,"next":null,"skipped":0}"#]])
        .await;
    check(
        "fs_list",
        json!({"path": "empty"}),
        expect![[r#"{"path":"empty","entries":[],"truncated":false,"next":null,"skipped":0}"#]],
    )
    .await;
    check(
        "fs_list",
        json!({"path": "hello.txt"}),
        expect![[r#"BadArguments /path: "hello.txt" is not a folder; fs_read_text reads a file"#]],
    )
    .await;
    check(
        "fs_list",
        json!({"path": "none"}),
        expect![[r#"NotFound /path: there is no "none"; fs_list shows what there is"#]],
    )
    .await;
    check("fs_list", json!({"path": "in_folder"}), expect![[r#"Denied /path: "in_folder" is or passes a symbolic link that is not followed (`files.symlinks`)"#]]).await;
    check(
        "fs_list",
        json!({"after": "../x"}),
        expect![[r#"Denied /after: "../x" leads out of the folder; give a path beneath it, without '..'"#]],
    )
    .await;
}

#[tokio::test]
async fn searching() {
    check("fs_search", json!({"query": "TODO"}), expect![[r#"{"matches":[{"path":"notes/deep/er/a.md","line":2,"text":"TODO deep","offset":8},{"path":"notes/todo.txt","line":2,"text":"TODO: call","offset":9,"cut":true}],"files_searched":5,"files_skipped":1,"folders_skipped":0,"truncated":false,"next":null}"#]]).await;
    check("fs_search", json!({"query": "(?i)todo.*zoë", "regex": true}), expect![[r#"{"matches":[{"path":"notes/todo.txt","line":2,"text":"TODO: call","offset":9,"cut":true}],"files_searched":5,"files_skipped":1,"folders_skipped":0,"truncated":false,"next":null}"#]]).await;
    check(
        "fs_search",
        json!({"query": "o.*"}),
        expect![[r#"{"matches":[],"files_searched":5,"files_skipped":1,"folders_skipped":0,"truncated":false,"next":null}"#]],
    )
    .await;
    check("fs_search", json!({"query": "TODO", "glob": "*.md"}), expect![[r#"{"matches":[{"path":"notes/deep/er/a.md","line":2,"text":"TODO deep","offset":8}],"files_searched":1,"files_skipped":0,"folders_skipped":0,"truncated":false,"next":null}"#]]).await;
    check(
        "fs_search",
        json!({"query": "TODO", "glob": "notes/*.md"}),
        expect![[r#"{"matches":[],"files_searched":0,"files_skipped":0,"folders_skipped":0,"truncated":false,"next":null}"#]],
    )
    .await;
    check("fs_search", json!({"query": "hello", "path": "hello.txt"}), expect![[r#"{"matches":[{"path":"hello.txt","line":1,"text":"hello, han","offset":0,"cut":true}],"files_searched":1,"files_skipped":0,"folders_skipped":0,"truncated":false,"next":null}"#]]).await;
    check(
        "fs_search",
        json!({"query": "hidden"}),
        expect![[r#"{"matches":[],"files_searched":5,"files_skipped":1,"folders_skipped":0,"truncated":false,"next":null}"#]],
    )
    .await;
    check("fs_search", json!({"query": "e", "limit": 1}), expect![[r#"{"matches":[{"path":"hello.txt","line":1,"text":"hello, han","offset":0,"cut":true}],"files_searched":4,"files_skipped":1,"folders_skipped":0,"truncated":true,"next":"0:0:notes/deep/er/a.md"}"#]]).await;
    check(
        "fs_search",
        json!({"query": "(", "regex": true}),
        expect!["BadArguments /query: not a regular expression that can be used: unclosed group"],
    )
    .await;
    check("fs_search", json!({"query": "(a{1000}){1000}", "regex": true}), expect!["BadArguments /query: not a regular expression that can be used: Compiled regex exceeds size limit of 1048576 bytes."]).await;
    check(
        "fs_search",
        json!({"query": "x", "glob": "[a"}),
        expect![[r#"BadArguments /glob: "[a" is not a glob: unclosed character class; missing ']'"#]],
    )
    .await;
    check(
        "fs_search",
        json!({"query": "x", "path": "none"}),
        expect![[r#"NotFound /path: there is no "none"; fs_list shows what there is"#]],
    )
    .await;
}

/// However it is cut, a text can be put together again, and no piece begins or ends within a letter.
#[tokio::test]
async fn windows_hold_whole_letters() {
    let place = Place::new(|_| {});
    let text = "aé漢😀z\u{301}😀😀é\n";
    std::fs::write(place.root().join("letters"), text).unwrap();
    let read = async |offset: usize, limit: usize| {
        let arguments = json!({"path": "letters", "offset": offset, "limit": limit});
        run(&*place.provider, "fs_read_text", arguments).await.unwrap()
    };
    for limit in 4..=text.len() + 1 {
        let (mut whole, mut offset) = (String::new(), 0);
        loop {
            let answer = read(offset, limit).await;
            let piece = answer["text"].as_str().unwrap();
            assert!(piece.len() <= limit && answer["offset"] == offset);
            whole.push_str(piece);
            match answer["next_offset"].as_u64() {
                Some(next) => offset = usize::try_from(next).unwrap(),
                None => break,
            }
        }
        assert_eq!(whole, text, "{limit}");
    }
    for offset in 0..=text.len() {
        let begin = (0..=offset).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        let answer = read(offset, 1000).await;
        assert_eq!(
            (answer["offset"].as_u64().unwrap(), &answer["text"]),
            (begin as u64, &json!(&text[begin..]))
        );
    }
}

#[tokio::test]
async fn the_byte_bound_holds_at_its_edge() {
    let place = Place::new(|config| config.bytes_max = 8);
    for (length, truncated) in [(7, false), (8, false), (9, true)] {
        std::fs::write(place.root().join("edge"), "x".repeat(length)).unwrap();
        let answer =
            run(&*place.provider, "fs_read_text", json!({"path": "edge", "limit": 1000})).await.unwrap();
        assert_eq!(
            (answer["truncated"].as_bool(), answer["total_bytes"].as_u64()),
            (Some(truncated), Some(length as u64))
        );
        assert_eq!(answer["text"].as_str().unwrap().len(), length.min(8));
    }
}

#[tokio::test]
async fn a_huge_file_is_read_at_its_end() {
    let place = Place::new(|_| {});
    let mut file = std::fs::File::create(place.root().join("huge")).unwrap();
    file.seek(SeekFrom::Start(5 << 30)).unwrap();
    file.write_all("the end".as_bytes()).unwrap();
    let answer = place.call("fs_read_text", json!({"path": "huge", "offset": 5_u64 << 30})).await;
    assert!(answer.contains(r#""text":"the end""#), "{answer}");
    let answer = run(&*place.provider, "fs_read_text", json!({"path": "huge"})).await.unwrap();
    assert_eq!((answer["bytes"].as_u64(), answer["truncated"].as_bool()), (Some(1 << 20), Some(true)));
}

#[tokio::test]
async fn bounds_on_the_way_end_a_walk() {
    let many = |change: fn(&mut crate::Config)| async move {
        let place = Place::new(change);
        for i in 0..20 {
            std::fs::write(place.root().join(format!("empty/{i:02}")), "needle\n").unwrap();
        }
        let list = place.call("fs_list", json!({"path": "empty"})).await;
        let search = place.call("fs_search", json!({"path": "empty", "query": "needle"})).await;
        let found = search.matches("needle").count();
        (list.chars().take(80).collect::<String>(), found, search.contains(r#""truncated":true"#))
    };
    let (list, found, truncated) = many(|config| config.scan_entries_max = 20).await;
    assert!(!list.contains("too many") && found == 20 && !truncated);
    let (list, ..) = many(|config| config.scan_entries_max = 19).await;
    assert!(list.contains("too many entries"), "{list}");
    for (files_max, expected) in [(19, (19, true)), (20, (20, false))] {
        let place = Place::new(|config| config.search_files_max = files_max);
        for i in 0..20 {
            std::fs::write(place.root().join(format!("empty/{i:02}")), "needle\n").unwrap();
        }
        let search = place.call("fs_search", json!({"path": "empty", "query": "needle"})).await;
        assert_eq!((search.matches("needle").count(), search.contains(r#""truncated":true"#)), expected);
    }
    let (_, found, truncated) = many(|config| config.search_bytes_max = 21).await;
    assert_eq!((found, truncated), (3, true));
    let (_, found, truncated) = many(|config| config.search_bytes_max = 140).await;
    assert_eq!((found, truncated), (20, false));
}

/// Searches all of `place` by as many calls as it takes; the matches, and the bounds that were met on the way.
async fn searched_through(place: &Place, arguments: serde_json::Value) -> (Vec<String>, Vec<&'static str>) {
    let (mut found, mut bounds, mut next) = (Vec::new(), Vec::new(), json!(null));
    loop {
        let mut arguments = arguments.clone();
        if next.is_string() {
            arguments["after"] = next;
        }
        let permit = testkit::permit_of(&*place.provider, "fs_search", arguments).unwrap();
        let tool::Reply::Done(outcome) = place.provider.run(permit, testkit::talk()).await.unwrap() else {
            panic!()
        };
        let answer = outcome.to_value();
        for one in answer["matches"].as_array().unwrap() {
            found.push(format!("{} {} {}", one["path"], one["line"], one["offset"]));
        }
        assert_eq!(answer["truncated"], json!(outcome.cut.is_some()));
        assert_eq!(answer["next"].is_string(), outcome.cut.is_some());
        let Some(cut) = outcome.cut else { return (found, bounds) };
        bounds.push(cut.bound);
        next = answer["next"].clone();
        assert!(bounds.len() < 1_000, "it does not get on: {next}");
    }
}

#[tokio::test]
async fn a_search_that_was_cut_is_gone_on_with_and_finds_the_same() {
    let lines = "first e\nsecond e\n\nthe fourth e\nnothing here, but long enough\ne at the end";
    let places = |change: fn(&mut crate::Config)| {
        let place = Place::new(change);
        for name in ["a", "b:1:2", "notes/z"] {
            std::fs::write(place.root().join(name), lines).unwrap();
        }
        place
    };
    let (whole, bounds) = searched_through(&places(|_| {}), json!({ "query": "e" })).await;
    assert!(whole.len() > 15 && bounds.is_empty(), "{whole:?} {bounds:?}");
    for limit in 1..=whole.len() {
        let (found, bounds) =
            searched_through(&places(|_| {}), json!({ "query": "e", "limit": limit })).await;
        assert_eq!((found, bounds.len()), (whole.clone(), (whole.len() - 1) / limit), "{limit}");
        assert!(bounds.iter().all(|bound| *bound == "rows"));
    }
    let (found, bounds) =
        searched_through(&places(|c| c.search_files_max = 2), json!({ "query": "e" })).await;
    assert_eq!((found, bounds), (whole.clone(), vec!["rows"; 4]));
    for change in [
        (|c: &mut crate::Config| c.search_bytes_max = 31) as fn(&mut crate::Config),
        |c| c.search_bytes_max = 32,
        |c| c.search_bytes_max = 77,
    ] {
        let (found, bounds) = searched_through(&places(change), json!({ "query": "e" })).await;
        assert!(found == whole && bounds.iter().all(|bound| *bound == "bytes"), "{found:?} {bounds:?}");
        assert!(!bounds.is_empty());
    }
    // A line longer than all that one call may read is gone through all the same.
    let (found, _) = searched_through(&places(|c| c.search_bytes_max = 1), json!({ "query": "e" })).await;
    assert!(found.len() >= whole.len(), "{found:?}");
    let (one, _) =
        searched_through(&places(|_| {}), json!({ "query": "e", "path": "b:1:2", "limit": 1 })).await;
    assert_eq!(one.len(), 5);
}

#[tokio::test]
async fn a_mark_of_another_search_is_refused() {
    for after in ["hello.txt", "0:hello.txt", "-1:0:hello.txt", "0:0:../x", "0:0:.env", "0:0:hello.txt"] {
        let place = Place::new(|_| {});
        let said = place.call("fs_search", json!({ "query": "e", "path": "notes", "after": after })).await;
        assert!(said.contains(" /after: "), "{after}: {said}");
    }
}

/// Time runs out at every moment of a search and of a list: whatever was found before is given, and the rest by the
/// calls that follow.
#[test]
fn what_there_was_time_for_is_given_and_the_rest_can_be_had() {
    let place = Place::new(|_| {});
    for i in 0..400 {
        std::fs::write(place.root().join(format!("empty/{i:03}")), "needle\n").unwrap();
    }
    let room = room(place.all.path(), |_| {});
    let (mut cuts, mut late) = ((0, 0), 0);
    let patience = Instant::now() + Duration::from_secs(60);
    for us in (0..).map(|step| step * 50) {
        let halt = || Halt::at(Instant::now() + Duration::from_micros(us));
        let (mut found, mut listed) = (0, 0);
        let mut arguments = SearchArguments {
            query: "needle".to_owned(),
            path: "empty".to_owned(),
            glob: None,
            regex: false,
            limit: Some(1000),
            after: None,
        };
        match room.search(&arguments, &halt()) {
            Ok(outcome) if outcome.cut.is_some() => {
                assert_eq!(outcome.cut.as_ref().map(|cut| cut.bound), Some("time"));
                let answer = outcome.to_value();
                found += answer["matches"].as_array().unwrap().len();
                arguments.after = answer["next"].as_str().map(str::to_owned);
                let rest = room.search(&arguments, &room.halt()).unwrap();
                assert_eq!(rest.cut, None);
                found += rest.to_value()["matches"].as_array().unwrap().len();
                assert_eq!(found, 400);
                cuts.0 += 1;
            }
            Ok(_) => {}
            Err(error) => {
                assert!(matches!(error, FilesError::Late), "{error}");
                late += 1;
            }
        }
        let mut arguments =
            ListArguments { path: "empty".to_owned(), recursive: false, limit: Some(1000), after: None };
        if let Ok(outcome) = room.list(&arguments, &halt())
            && outcome.cut.is_some()
        {
            let answer = outcome.to_value();
            listed += answer["entries"].as_array().unwrap().len();
            arguments.after = answer["next"].as_str().map(str::to_owned);
            listed +=
                room.list(&arguments, &room.halt()).unwrap().to_value()["entries"].as_array().unwrap().len();
            assert_eq!(listed, 400);
            cuts.1 += 1;
        }
        if cuts.0 > 2 && cuts.1 > 2 && late > 0 {
            return;
        }
        assert!(Instant::now() < patience, "{cuts:?} {late}");
    }
}

#[tokio::test]
async fn a_walk_goes_so_deep_and_no_deeper() {
    for (depth_max, sees_file) in [(1, false), (2, false), (3, true)] {
        let place = Place::new(|config| config.depth_max = depth_max);
        let list = place.call("fs_list", json!({"recursive": true})).await;
        assert_eq!(list.contains("notes/deep/er/a.md"), sees_file, "{depth_max}: {list}");
        let search = run(&*place.provider, "fs_search", json!({"query": "deep"})).await.unwrap();
        let skipped = u64::from(!sees_file);
        assert_eq!(search["folders_skipped"], skipped, "{depth_max}: {search}");
    }
}

#[tokio::test]
async fn a_line_without_end_is_searched_in_pieces() {
    let place = Place::new(|_| {});
    std::fs::write(place.root().join("long"), "x".repeat(200_000) + "needle\nneedle\n").unwrap();
    let search =
        run(&*place.provider, "fs_search", json!({"path": "long", "query": "needle"})).await.unwrap();
    let lines: Vec<_> =
        search["matches"].as_array().unwrap().iter().map(|m| m["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [1, 2]);
}

#[tokio::test]
async fn names_that_no_path_can_be_are_counted_and_not_shown() {
    use std::os::unix::ffi::OsStrExt as _;
    let place = Place::new(|_| {});
    for name in [&b"caf\xe9"[..], b"a\\b", b"esc\x1b[31m", "bidi\u{202e}".as_bytes(), b"fine"] {
        std::fs::write(place.root().join("empty").join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
    }
    let list = run(&*place.provider, "fs_list", json!({"path": "empty"})).await.unwrap();
    assert_eq!((list["skipped"].as_u64(), list["entries"].as_array().unwrap().len()), (Some(4), 1));
}

#[tokio::test]
async fn links_beneath_are_followed_where_allowed_but_not_walked_into() {
    let place = Place::new(open_to_all);
    assert!(place.call("fs_read_text", json!({"path": "in_folder/todo.txt"})).await.contains("buy milk"));
    assert!(place.call("fs_read_text", json!({"path": "out_folder/secret.txt"})).await.starts_with("Denied"));
    let list = place.call("fs_list", json!({"recursive": true})).await;
    assert!(list.contains(r#""path":"in_folder","kind":"link""#) && !list.contains("in_folder/"), "{list}");
    assert!(list.contains(r#""path":".git/config""#));
}

#[tokio::test]
async fn work_ends_when_asked_and_when_its_time_is_up() {
    let place = Place::new(|_| {});
    let tools = place.provider.tools();
    let tool = tools.iter().find(|tool| tool.name.as_str() == "fs_search").unwrap();
    let arguments = json!({"query": "x", "path": "."});
    let (source, talk) = testkit::talk_that_stops();
    source.ask();
    let stopped = place.provider.run(testkit::permit(tool, arguments.clone()), talk).await.unwrap_err();
    assert_eq!(stopped.code, Code::Cancelled);
    let caller = testkit::caller("tester", PrincipalKind::Human);
    let permit = testkit::permit_for(caller, tool, arguments, Duration::ZERO);
    assert_eq!(place.provider.run(permit, testkit::talk()).await.unwrap_err().code, Code::TimedOut);
}

#[tokio::test]
async fn work_ends_when_nobody_waits_for_it() {
    use std::{sync::mpsc, task::Poll};

    use crate::halt::{Halt, on_thread};
    let (started, start) = mpsc::channel();
    let (ended, end) = mpsc::channel();
    let halt = Halt::at(Instant::now() + Duration::from_secs(600));
    let mut work = Box::pin(on_thread(halt, move |halt| {
        started.send(()).unwrap();
        loop {
            if let Err(error) = halt.check() {
                let _ = ended.send(error.to_string());
                return Err::<(), _>(error);
            }
            std::thread::yield_now();
        }
    }));
    let first = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_pending())).await;
    assert!(first);
    start.recv().unwrap();
    drop(work);
    assert_eq!(end.recv().unwrap(), "the call was stopped, and nothing was changed");
}
