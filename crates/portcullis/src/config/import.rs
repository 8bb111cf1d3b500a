//! Tool servers from the files of MCP clients: `mcpServers` as Claude, Cursor and their like keep them, or `servers` as
//! VS Code does. What such a file says beside how a server is reached is the client's own and grants nothing here.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};
use tool::ToolName;

use super::{
    document::{Document, Expanded},
    expand::{Expansion, Lookup, expand},
    io_sentence,
    problem::Problem,
};

/// Where the configuration names the files.
const MEMBER: &str = "/mcp_json";

/// The largest such file, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The longest name of a server, in bytes: that of its tools begins with it.
const NAME_BYTES_MAX: usize = 32;

/// Lays the servers of the named files under `upstreams`: what the configuration itself says of a server of the same
/// name holds, member by member. Returns the files, and what is wrong with them.
pub(super) fn servers(
    document: &mut Document,
    base_dir: &Path,
    lookup: Lookup<'_>,
) -> (Vec<PathBuf>, Vec<Problem>) {
    let named: Vec<(String, String)> = match document.value.get("mcp_json") {
        Some(Value::String(file)) => vec![(MEMBER.to_owned(), file.clone())],
        Some(Value::Array(files)) => {
            let texts = files.iter().enumerate().filter_map(|(i, file)| Some((i, file.as_str()?)));
            texts.map(|(i, file)| (format!("{MEMBER}/{i}"), file.to_owned())).collect()
        }
        // The schema says what is wrong with anything else.
        _ => Vec::new(),
    };
    let mut problems = Vec::new();
    let mut taken = HashMap::new();
    let mut files = Vec::new();
    for (at, name) in named {
        let file = base_dir.join(&name);
        let mut fail = |text: String| problems.push(Problem::new(at.clone(), format!("{name}: {text}")));
        let found = read(&file).unwrap_or_else(|text| {
            fail(text);
            Map::new()
        });
        for (server, entry) in found {
            let section = section(&entry, file.parent().unwrap_or(base_dir), lookup);
            match section.and_then(|section| Ok(section.zip(free(&server, &mut taken)?))) {
                Ok(Some((section, name))) => lay(document, &at, &name, section),
                Ok(None) => {}
                Err(text) => fail(format!("the server {server:?} {text}")),
            }
        }
        files.push(file);
    }
    (files, problems)
}

/// The name that a server has here, by which it is `taken`; none where an earlier file has the same server.
///
/// Error: the end of a sentence about it.
fn free(server: &str, taken: &mut HashMap<String, String>) -> Result<Option<String>, String> {
    let name = fitted(server).ok_or("has a name without a letter or digit")?;
    match taken.get(&name) {
        None => {
            taken.insert(name.clone(), server.to_owned());
            Ok(Some(name))
        }
        Some(other) if other == server => Ok(None),
        Some(other) => Err(format!("would be {name:?} here, as {other:?} is already; rename one")),
    }
}

fn read(file: &Path) -> Result<Map<String, Value>, String> {
    let length =
        std::fs::metadata(file).map_err(|e| format!("it cannot be read: {}", io_sentence(&e)))?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("it is larger than {FILE_BYTES_MAX} bytes"));
    }
    let bytes = std::fs::read(file).map_err(|e| format!("it cannot be read: {}", io_sentence(&e)))?;
    let mut whole = tool::json::parse(&bytes).map_err(|e| format!("it is {e}"))?;
    let found = ["mcpServers", "servers"].iter().find_map(|member| whole.get_mut(*member).map(Value::take));
    match found {
        Some(Value::Object(servers)) => Ok(servers),
        Some(_) => Err("its `mcpServers` is no object".to_owned()),
        None => Err("it has neither `mcpServers` nor `servers`".to_owned()),
    }
}

/// The section of one server; none where it is switched off.
///
/// Error: the end of a sentence about it.
fn section(entry: &Value, folder: &Path, lookup: Lookup<'_>) -> Result<Option<Value>, String> {
    let Value::Object(entry) = entry else { return Err("is no object".to_owned()) };
    if entry.get("disabled") == Some(&Value::Bool(true)) {
        return Ok(None);
    }
    let kind = entry.get("type").or_else(|| entry.get("transport")).and_then(Value::as_str);
    if kind == Some("sse") {
        return Err(
            "speaks the transport of 2024 (HTTP with SSE), which was replaced; use its streamable HTTP \
                    endpoint, with the type \"http\""
                .to_owned(),
        );
    }
    let mut section = Map::new();
    match (entry.get("command"), entry.get("url").or_else(|| entry.get("httpUrl"))) {
        (Some(command), None) => {
            let mut words = vec![filled(command, "command", lookup)?];
            for argument in list(entry, "args")? {
                words.push(filled(argument, "args", lookup)?);
            }
            section.insert("command".to_owned(), json!(words));
            section.insert("env".to_owned(), texts(entry, "env", lookup)?);
            let own = entry.get("cwd").map(|cwd| filled(cwd, "cwd", lookup)).transpose()?;
            let cwd = folder.join(own.unwrap_or_default());
            section.insert("cwd".to_owned(), json!(cwd.to_string_lossy()));
        }
        (None, Some(url)) => {
            let url = filled(url, "url", lookup)?;
            // Whoever wrote the file down meant this very place, wherever it is.
            if let Ok(place) = place::parse_url(&url) {
                let host = place.host_str().unwrap_or_default();
                section
                    .insert("allow_private".to_owned(), json!([format!("{host}:{}", place::port(&place))]));
            }
            section.insert("url".to_owned(), json!(url));
            section.insert("headers".to_owned(), texts(entry, "headers", lookup)?);
        }
        (Some(_), Some(_)) => return Err("has both a `command` and a `url`".to_owned()),
        (None, None) => return Err("has neither a `command` nor a `url`".to_owned()),
    }
    Ok(Some(Value::Object(section)))
}

fn list<'a>(entry: &'a Map<String, Value>, member: &str) -> Result<&'a [Value], String> {
    match entry.get(member) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(format!("has a `{member}` that is no list")),
    }
}

/// An object of texts, as they are or with variables in them.
fn texts(entry: &Map<String, Value>, member: &str, lookup: Lookup<'_>) -> Result<Value, String> {
    match entry.get(member) {
        None | Some(Value::Null) => Ok(json!({})),
        Some(Value::Object(members)) => {
            let filled = members.iter().map(|(name, text)| {
                Ok((name.clone(), Value::String(filled(text, &format!("{member}.{name}"), lookup)?)))
            });
            filled.collect::<Result<Map<_, _>, String>>().map(Value::Object)
        }
        Some(_) => Err(format!("has `{member}` that is no object")),
    }
}

/// A text with its variables filled in: `${VAR}` and `${VAR:-default}`, and `${env:VAR}` as VS Code has it.
fn filled(text: &Value, member: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let Value::String(text) = text else { return Err(format!("has a `{member}` that is no text")) };
    if let Some(at) = text.find("${input:") {
        let input = text[at..].split_inclusive('}').next().unwrap_or_default();
        return Err(format!("wants to be asked for {input} (`{member}`); put a `${{VARIABLE}}` there"));
    }
    match expand(&text.replace("${env:", "${"), lookup) {
        Ok(Expansion::Unchanged) => Ok(text.clone()),
        Ok(Expansion::Text(filled)) => Ok(filled),
        Err(error) => Err(format!("cannot be taken: `{member}`: {error}")),
    }
}

/// The name with `_` for what does not fit into one; none where nothing of it does.
fn fitted(name: &str) -> Option<String> {
    let fit = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    let fitted: String = name.chars().map(fit).take(NAME_BYTES_MAX).collect();
    let has_letter = fitted.contains(|c: char| c.is_ascii_alphanumeric());
    (has_letter && ToolName::parse(&fitted).is_ok()).then_some(fitted)
}

fn lay(document: &mut Document, from: &str, server: &str, section: Value) {
    let Value::Object(members) = section else { return };
    document.lay_entry_under("/upstreams", server, members, from, Expanded::Quoted);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, config: &Value, expected: Expect) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mcp.json"), text).unwrap();
        let lookup = |name: &str| (name == "TOKEN").then(|| "t0ken".to_owned());
        let mut document = Document::new(config.clone());
        let (files, problems) = servers(&mut document, folder.path(), &lookup);
        assert_eq!(files, [folder.path().join("mcp.json")]);
        let mut shown: String = problems.iter().map(|p| format!("{}: {}\n", p.pointer, p.text)).collect();
        if problems.is_empty() {
            shown = serde_json::to_string_pretty(&document.value["upstreams"]).unwrap() + "\n";
            shown += &document.shown()["upstreams"].to_string();
        }
        expected.assert_eq(&shown.replace(folder.path().to_str().unwrap(), "FOLDER"));
    }

    #[test]
    fn servers_of_clients_are_taken() {
        let text = r#"{ "mcpServers": {
            "files": { "command": "npx", "args": ["-y", "server", "${HOME:-/tmp}"], "env": { "A": "${env:TOKEN}" } },
            "My Server!": { "type": "http", "url": "http://localhost:3000/mcp", "headers": { "Authorization": "Bearer x" } },
            "off": { "command": "x", "disabled": true }
        } }"#;
        let config =
            json!({ "mcp_json": "mcp.json", "upstreams": { "files": { "cwd": "/own", "reads": ["*"] } } });
        check(
            text,
            &config,
            expect![[r#"
            {
              "files": {
                "cwd": "/own",
                "reads": [
                  "*"
                ],
                "command": [
                  "npx",
                  "-y",
                  "server",
                  "/tmp"
                ],
                "env": {
                  "A": "t0ken"
                }
              },
              "My_Server_": {
                "allow_private": [
                  "localhost:3000"
                ],
                "url": "http://localhost:3000/mcp",
                "headers": {
                  "Authorization": "Bearer x"
                }
              }
            }
            {"files":{"cwd":"/own","reads":["*"],"command":["[from the environment]","[from the environment]","[from the environment]","[from the environment]"],"env":{"A":"[from the environment]"}},"My_Server_":{"allow_private":["[from the environment]"],"url":"[from the environment]","headers":{"Authorization":"[from the environment]"}}}"#]],
        );
    }

    #[test]
    fn what_cannot_be_taken_is_said_with_its_server() {
        let config = json!({ "mcp_json": ["mcp.json"] });
        let text = r#"{ "servers": {
            "a": { "type": "sse", "url": "https://example.com/sse" },
            "b": {},
            "c": { "command": "x", "url": "https://example.com/" },
            "d": { "command": ["x"] },
            "e": { "command": "x", "args": "y" },
            "f": { "command": "x", "env": { "KEY": "${input:key}" } },
            "g": { "command": "${NOT_SET}" },
            "...": { "command": "x" },
            "h": 1, "i i": { "command": "x" }, "i.i": { "command": "y" }
        } }"#;
        check(
            text,
            &config,
            expect![[r#"
                /mcp_json/0: mcp.json: the server "a" speaks the transport of 2024 (HTTP with SSE), which was replaced; use its streamable HTTP endpoint, with the type "http"
                /mcp_json/0: mcp.json: the server "b" has neither a `command` nor a `url`
                /mcp_json/0: mcp.json: the server "c" has both a `command` and a `url`
                /mcp_json/0: mcp.json: the server "d" has a `command` that is no text
                /mcp_json/0: mcp.json: the server "e" has a `args` that is no list
                /mcp_json/0: mcp.json: the server "f" wants to be asked for ${input:key} (`env.KEY`); put a `${VARIABLE}` there
                /mcp_json/0: mcp.json: the server "g" cannot be taken: `command`: the environment variable NOT_SET is not set; set it, or write `${NOT_SET:-default}`
                /mcp_json/0: mcp.json: the server "..." has a name without a letter or digit
                /mcp_json/0: mcp.json: the server "h" is no object
                /mcp_json/0: mcp.json: the server "i.i" would be "i_i" here, as "i i" is already; rename one
            "#]],
        );
        check(
            "{",
            &config,
            expect![[r#"
            /mcp_json/0: mcp.json: it is not valid JSON: EOF while parsing an object at line 1 column 1
        "#]],
        );
        check(
            "[]",
            &config,
            expect![[r#"
            /mcp_json/0: mcp.json: it has neither `mcpServers` nor `servers`
        "#]],
        );
        check(
            r#"{ "mcpServers": [] }"#,
            &config,
            expect![[r#"
            /mcp_json/0: mcp.json: its `mcpServers` is no object
        "#]],
        );
    }
}
