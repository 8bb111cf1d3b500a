use clap::CommandFactory as _;
use serde_json::json;

use super::{
    Cli, Exit, Failure,
    call::{argument, given},
    command_line,
    examples::EXAMPLES,
    out::plain,
};

#[test]
fn the_command_line_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn arguments_are_texts_json_or_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.sql");
    std::fs::write(&file, "select 1\n").unwrap();
    let check = |word: &str, want: Result<serde_json::Value, &str>| {
        let got = argument(word).map(|(name, value)| json!({ name: value })).map_err(|failure| {
            assert_eq!(failure.exit, Exit::Usage);
            failure.text
        });
        assert_eq!(got.as_ref().map_err(String::as_str), want.as_ref().map_err(|text| *text), "{word}");
    };
    check("id=42", Ok(json!({ "id": "42" })));
    check("id:=42", Ok(json!({ "id": 42 })));
    check("a=", Ok(json!({ "a": "" })));
    check("a=b=c", Ok(json!({ "a": "b=c" })));
    check("a:=[1,{\"b\":null}]", Ok(json!({ "a": [1, { "b": null }] })));
    check(&format!("sql=@{}", file.display()), Ok(json!({ "sql": "select 1\n" })));
    check("a", Err("\"a\" is not an argument; write name=value or name:=json"));
    check("a:=x", Err("the value of \"a\" is not JSON: not valid JSON: expected value at line 1 column 1"));
    check(
        "a=@/none",
        Err("the file \"/none\" of \"a\" cannot be read: No such file or directory (os error 2)"),
    );
}

#[test]
fn an_argument_that_is_given_twice_is_not_silently_the_last() {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let refused = given(&words(&["customer_id=1", "a=b", "customer_id:=2"])).unwrap_err();
    assert_eq!(refused.exit, Exit::Usage);
    let text = "the argument \"customer_id\" is there twice; give it once, or a list as customer_id:=[..]";
    assert_eq!(refused.text, text);
    assert_eq!(given(&words(&["a=1", "b=2"])).unwrap().len(), 2);
}

/// The words of an example: what a shell would make of it, as far as examples go.
fn words(line: &str) -> Vec<String> {
    let line = line.rsplit_once(" | ").map_or(line, |(_, last)| last);
    let line = line.split(" > ").next().unwrap();
    let (mut words, mut is_quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words
}

#[test]
fn every_command_shows_examples_that_it_takes() {
    fn visit(command: &clap::Command, path: &str) {
        assert!(EXAMPLES.iter().any(|(name, _)| *name == path), "no example of {path:?}");
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            visit(inner, format!("{path} {}", inner.get_name()).trim());
        }
    }
    visit(&command_line(), "");
    for (path, lines) in EXAMPLES {
        let width = |of: fn(&(&str, &str)) -> usize| lines.iter().map(of).max().unwrap();
        assert!(width(|line| line.0.len()) + width(|line| line.1.len()) + 4 <= 98, "{path:?} wraps");
        for (line, _) in *lines {
            let words = words(line);
            assert!(words[1..].join(" ").starts_with(path), "{line} is no example of {path:?}");
            let taken = command_line().try_get_matches_from(words);
            assert!(taken.is_ok(), "{line}: {}", taken.unwrap_err());
        }
    }
}

#[test]
fn answers_of_a_server_become_exit_codes() {
    let check = |status: u16, exit: Exit| {
        assert_eq!(Failure::answered(status, json!({ "error": "x" })).exit, exit, "{status}");
    };
    check(400, Exit::Failed);
    check(404, Exit::Failed);
    check(500, Exit::Failed);
    check(401, Exit::Denied);
    check(403, Exit::Denied);
    check(429, Exit::Later);
    check(503, Exit::Later);
    let body = json!({ "error": "must be at most 9", "pointer": "/limit", "retry_after_seconds": 3 });
    assert_eq!(Failure::answered(429, body).text, "must be at most 9 (at /limit); come back in 3 s");
    assert_eq!(Failure::answered(500, json!("x")).text, "the server gave no reason");
}

#[test]
fn nothing_from_elsewhere_moves_the_cursor() {
    assert_eq!(plain("a\x1b[2Jb\n\tc\u{9b}1m\r"), "a[2Jb\n\tc1m");
}
