//! Another tool server, or another file of devices, in the text of a configuration, whose other lines stay as they are.

use serde_json::{Map, Value};

use super::yaml::{self, Content, Node};

/// The text with a tool server more.
///
/// Error: a sentence, where there is no place for it: `upstreams` is written in one line, or has one of this name.
pub(crate) fn with_upstream(text: &str, name: &str, server: &Map<String, Value>) -> Result<String, String> {
    with_entry(text, "upstreams", name, &|indent| lines(name, server, indent))
}

/// The text with a file of devices, where it names none yet.
///
/// Error: a sentence, where there is no place for it, likewise.
pub(crate) fn with_inventory_file(text: &str, file: &str) -> Result<String, String> {
    let files = Value::from(vec![file]);
    let line = |indent: usize| format!("{:indent$}inventory_files: {files}\n", "");
    with_entry(text, "devices", "inventory_files", &line)
}

/// The text with an entry more at the head of a section; `lines` are those of the entry, so far indented.
fn with_entry(
    text: &str,
    section: &str,
    name: &str,
    lines: &dyn Fn(usize) -> String,
) -> Result<String, String> {
    let parsed = yaml::parse(text).map_err(|problem| problem.text)?;
    let entries = match parsed.tree.map(|tree| tree.content) {
        Some(Content::Map(entries)) => entries,
        None | Some(Content::Scalar(Value::Null)) => Vec::new(),
        Some(_) => return Err("the file is no mapping".to_owned()),
    };
    let whole = if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
    let Some((key, found)) = entries.into_iter().find(|(key, _)| key.text == section) else {
        let gap = if whole.is_empty() { "" } else { "\n" };
        return Ok(format!("{whole}{gap}{section}:\n{}", lines(2)));
    };
    let (before_line, indent) = place(section, &found, key.place.line, name)?;
    let mut edited = String::with_capacity(whole.len() + 256);
    let mut all = whole.split_inclusive('\n');
    all.by_ref().take(before_line as usize - 1).for_each(|line| edited.push_str(line));
    edited.push_str(&lines(indent));
    all.for_each(|line| edited.push_str(line));
    Ok(edited)
}

/// The line that it comes before, from 1, and how far it is indented.
fn place(section: &str, found: &Node, key_line: u32, name: &str) -> Result<(u32, usize), String> {
    let entries = match &found.content {
        Content::Scalar(Value::Null) => return Ok((key_line + 1, 2)),
        Content::Map(entries) => entries,
        Content::Scalar(_) | Content::List(_) => return Err(format!("`{section}` is no mapping")),
    };
    if entries.iter().any(|(key, _)| key.text == name) {
        return Err(format!("`{section}` has {name:?} already"));
    }
    match entries.first() {
        Some((first, _)) if first.place.line > key_line => {
            Ok((first.place.line, first.place.column as usize - 1))
        }
        _ => Err(format!("`{section}` is written in one line, which is not edited")),
    }
}

/// The lines of a server: its members, each a value of JSON, which is one of YAML.
pub(crate) fn lines(name: &str, server: &Map<String, Value>, indent: usize) -> String {
    let mut text = format!("{:indent$}{name}:\n", "");
    for (member, value) in server {
        text.push_str(&format!("{:1$}{member}: {value}\n", "", indent + 2));
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::PathBuf;

    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn value(text: &str) -> Value {
        let examined = super::super::examine_text("t", text, PathBuf::from("."), None, &|_| None);
        examined.map_or(json!({}), |examined| examined.loaded.value)
    }

    fn server() -> Map<String, Value> {
        let server = json!({ "command": ["a b", "\"x\": #y"], "env": { "K": "v" }, "reads": ["*"] });
        server.as_object().unwrap().clone()
    }

    #[test]
    fn one_is_added_and_everything_else_stays() {
        for text in [
            "",
            "server: {}",
            "server: {}\n# the end\n",
            "# head\nupstreams:\nserver: {}\n",
            "upstreams:\n  # known\n  docs: { command: [x] }  # inline\nserver: {}\n",
            "server: {}\nupstreams:\n      docs:\n        command: [x]\n",
            "upstreams:\n  docs: { command: [x] }",
        ] {
            let edited = with_upstream(text, "new-one", &server()).unwrap();
            let mut expected = value(text);
            if !expected["upstreams"].is_object() {
                expected["upstreams"] = json!({});
            }
            expected["upstreams"]["new-one"] = json!(server());
            assert_eq!(value(&edited)["upstreams"], expected["upstreams"], "{edited}");
            assert_eq!(value(&edited)["server"], expected["server"], "{edited}");
            let kept = |line: &str| edited.lines().any(|other| other == line);
            assert!(text.lines().all(kept), "{edited}");
        }
        let edited = with_upstream("server: {}\n", "docs", &server()).unwrap();
        expect![[r##"
            server: {}

            upstreams:
              docs:
                command: ["a b","\"x\": #y"]
                env: {"K":"v"}
                reads: ["*"]
        "##]]
        .assert_eq(&edited);
    }

    #[test]
    fn a_file_of_devices_is_named() {
        let edited = with_inventory_file("devices:\n    logins: {}\nlog: {}\n", "in ventory.yaml").unwrap();
        assert_eq!(edited, "devices:\n    inventory_files: [\"in ventory.yaml\"]\n    logins: {}\nlog: {}\n");
        let error = with_inventory_file("devices:\n  inventory_files: []\n", "x").unwrap_err();
        assert_eq!(error, "`devices` has \"inventory_files\" already");
    }

    #[test]
    fn where_there_is_no_place_it_is_said() {
        for (text, said) in [
            ("upstreams: {}", "in one line"),
            ("upstreams: { docs: { command: [x] } }", "in one line"),
            ("upstreams:\n  new-one: { command: [x] }\n", "already"),
            ("upstreams: [1]", "is no mapping"),
            ("- 1", "is no mapping"),
            ("a: [", "not valid YAML"),
        ] {
            let error = with_upstream(text, "new-one", &server()).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
