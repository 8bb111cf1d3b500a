//! What is wrong with the section that its schema cannot say.

use std::collections::HashMap;

use http::HeaderName;
use place::{AllowPrivate, address};
use tool::{ConfigFault, ToolName, json::push_pointer};
use url::{Host, Url};

use crate::{
    config::{Config, Protocol, UpstreamConfig},
    filter,
    sandbox::SandboxConfig,
    tls::TlsConfig,
};

/// The longest name of a server, and the longest prefix, in bytes: names of tools have to fit 64.
const NAME_BYTES_MAX: usize = 32;

/// Headers that belong to the connection or to the protocol, and are no operator's to set.
const RESERVED: &[&str] = &[
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "accept",
    "accept-encoding",
    "last-event-id",
];

impl Config {
    /// What the schema cannot say: whether each server is a program or a place, and names, globs, URLs and headers
    /// that cannot be read.
    #[must_use]
    pub fn check(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        for (name, upstream) in &self.0 {
            let mut one = Faults { at: pointer(name), list: &mut faults };
            check_name(&mut one, name);
            check_kind(&mut one, upstream);
            check_lists(&mut one, upstream);
            check_overrides(&mut one, upstream);
            if let Some(command) = &upstream.command {
                check_command(&mut one, command, upstream);
            }
            if let Some(url) = &upstream.url {
                check_url(&mut one, url, upstream);
            }
            check_oauth(&mut one, upstream);
            if let Some((member, text)) = upstream.tls.as_ref().and_then(TlsConfig::check) {
                one.add(&["tls", member], text);
            }
        }
        faults
    }
}

/// The pointer to a server.
pub(crate) fn pointer(name: &str) -> String {
    let mut at = String::from("/upstreams");
    push_pointer(&mut at, name);
    at
}

struct Faults<'a> {
    at: String,
    list: &'a mut Vec<ConfigFault>,
}

impl Faults<'_> {
    fn add(&mut self, parts: &[&str], text: impl Into<String>) {
        self.list.push(ConfigFault::new(self.pointer(parts), text));
    }

    fn add_with(&mut self, parts: &[&str], text: impl Into<String>, hint: impl Into<String>) {
        self.list.push(ConfigFault::new(self.pointer(parts), text).hint(hint));
    }

    fn pointer(&self, parts: &[&str]) -> String {
        let mut at = self.at.clone();
        parts.iter().for_each(|part| push_pointer(&mut at, part));
        at
    }
}

fn check_name(faults: &mut Faults<'_>, name: &str) {
    if ToolName::parse(name).is_err() || name.len() > NAME_BYTES_MAX {
        let text = format!("{name:?} is not a name: use 1 to {NAME_BYTES_MAX} letters, digits, '_' or '-'");
        faults.add(&[], text);
    }
}

fn check_kind(faults: &mut Faults<'_>, upstream: &UpstreamConfig) {
    let is_jsonl = upstream.protocol == Protocol::Jsonl;
    match (&upstream.command, &upstream.url) {
        (Some(_), Some(_)) => faults.add(&["url"], "a server has either a command or a url, not both"),
        (command, url) if upstream.socket.is_some() => {
            if command.is_some() || url.is_some() {
                faults.add(&["socket"], "a server with a socket has neither a command nor a url");
            } else if !is_jsonl {
                faults.add_with(&["socket"], "it is for servers that speak lines", "add `protocol: jsonl`");
            }
        }
        (None, None) => {
            let hint = "add `command: [PROGRAM, ARGUMENT]` or `url: https://..`";
            faults.add_with(&[], "it is neither a program nor a place", hint);
        }
        (Some(_), None) => {
            for (member, is_there) in [
                ("headers", !upstream.headers.is_empty()),
                ("allow_private", !upstream.allow_private.is_empty()),
                ("tls", upstream.tls.is_some()),
                ("oauth", upstream.oauth.is_some()),
            ] {
                if is_there {
                    faults.add(&[member], "it is for a server with a url");
                }
            }
        }
        (None, Some(_)) => {
            for (member, is_there) in [
                ("env", !upstream.env.is_empty()),
                ("cwd", upstream.cwd.is_some()),
                ("sandbox", upstream.sandbox.is_some()),
            ] {
                if is_there {
                    faults.add(&[member], "it is for a server with a command");
                }
            }
        }
    }
}

fn check_oauth(faults: &mut Faults<'_>, upstream: &UpstreamConfig) {
    let Some(oauth) = &upstream.oauth else { return };
    if upstream.protocol == Protocol::Jsonl {
        faults.add(&["oauth"], "it is for servers over http and https");
    }
    if let Some(header) = upstream.headers.keys().find(|name| name.eq_ignore_ascii_case("authorization")) {
        faults.add(&["headers", header], "`oauth` says what goes out here; one of the two is too many");
    }
    if let Some(url) = upstream.url.as_deref().and_then(|text| place::parse_url(text).ok())
        && url.scheme() == "http"
        && !upstream.allow_private.contains(&format!(
            "{}:{}",
            url.host_str().unwrap_or_default(),
            place::port(&url)
        ))
    {
        let text =
            "tokens go over https; plain http is for places on our own network, which `allow_private` names";
        faults.add(&["url"], text);
    }
    for (member, text) in oauth.check() {
        faults.add(&["oauth", member], text);
    }
}

fn check_lists(faults: &mut Faults<'_>, upstream: &UpstreamConfig) {
    if let Some(prefix) = &upstream.prefix
        && !prefix.is_empty()
        && (ToolName::parse(prefix).is_err() || prefix.len() > NAME_BYTES_MAX)
    {
        let text =
            format!("{prefix:?} is not a prefix: use up to {NAME_BYTES_MAX} letters, digits, '_' or '-'");
        faults.add(&["prefix"], text);
    }
    for (member, globs) in [("allow", &upstream.allow), ("deny", &upstream.deny), ("reads", &upstream.reads)]
    {
        for (i, text) in globs.iter().enumerate() {
            if let Err(e) = filter::glob(text) {
                faults.add(&[member, &i.to_string()], format!("{text:?} is not a glob: {e}"));
            }
        }
    }
}

/// Two tools of one name here are one too many.
fn check_overrides(faults: &mut Faults<'_>, upstream: &UpstreamConfig) {
    let mut names = HashMap::new();
    for (origin, tool) in &upstream.tools {
        let Some(name) = &tool.name else { continue };
        if ToolName::parse(name).is_err() {
            let text = format!("{name:?} is not the name of a tool: use 1 to 64 letters, digits, '_' or '-'");
            faults.add(&["tools", origin, "name"], text);
        } else if let Some(other) = names.insert(name, origin) {
            faults.add(&["tools", origin, "name"], format!("{other:?} is called {name:?} already"));
        }
    }
}

fn check_command(faults: &mut Faults<'_>, command: &[String], upstream: &UpstreamConfig) {
    if command.first().is_none_or(String::is_empty) {
        faults.add_with(&["command"], "it names no program", "such as [npx, -y, some-server]");
    }
    if let Some(i) = command.iter().position(|word| word.contains('\0')) {
        faults.add(&["command", &i.to_string()], "it holds a NUL, which no argument can");
    }
    for (at, text) in upstream.sandbox.iter().flat_map(SandboxConfig::check) {
        let at: Vec<&str> = ["sandbox"].into_iter().chain(at.iter().map(String::as_str)).collect();
        faults.add(&at, text);
    }
    for name in upstream.env.keys() {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_name) {
            faults.add(&["env", name], format!("{name:?} is not the name of a variable"));
        }
    }
}

fn check_url(faults: &mut Faults<'_>, text: &str, upstream: &UpstreamConfig) {
    let (parsed, example) = match upstream.protocol {
        Protocol::Jsonl => (tls_url(text), "such as tls://tools.example.com:9000"),
        _ => (place::parse_url(text), "such as https://mcp.example.com/mcp"),
    };
    match parsed {
        Err(e) => faults.add_with(&["url"], e, example),
        Ok(url) => check_reach(faults, &url, upstream),
    }
    if upstream.protocol == Protocol::Jsonl && !upstream.headers.is_empty() {
        faults.add(&["headers"], "there are none over a socket");
    }
    for (i, entry) in upstream.allow_private.iter().enumerate() {
        if let Err(e) = AllowPrivate::parse_entry(entry) {
            faults.add_with(&["allow_private", &i.to_string()], e, "such as 127.0.0.1:8098");
        }
    }
    for name in upstream.headers.keys() {
        let lower = name.to_ascii_lowercase();
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            faults.add(&["headers", name], format!("{name:?} is not the name of a header"));
        } else if RESERVED.contains(&lower.as_str()) || lower.starts_with("mcp-") {
            faults.add(&["headers", name], format!("the header {name:?} is set by the client itself"));
        }
    }
}

/// Where a server is that speaks lines over TLS.
pub(crate) fn tls_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("{text:?} is not a URL: {e}"))?;
    let is_bare = url.username().is_empty() && url.password().is_none() && matches!(url.path(), "" | "/");
    let is_bare = is_bare && url.query().is_none() && url.fragment().is_none();
    if url.scheme() != "tls" || url.host().is_none() || url.port().is_none() || !is_bare {
        return Err(format!("{text:?} is not tls://host:port, as a server that speaks lines has it"));
    }
    Ok(url)
}

/// A server on our own network that nobody allowed would refuse every call: better said at the start.
fn check_reach(faults: &mut Faults<'_>, url: &Url, upstream: &UpstreamConfig) {
    let what = match url.host() {
        Some(Host::Domain("localhost")) => Some("a loopback address"),
        _ => place::literal(url).and_then(address::forbidden),
    };
    let Some(what) = what else { return };
    let (host, port) = (url.host_str().unwrap_or_default(), place::port(url));
    let private = AllowPrivate::new(&upstream.allow_private);
    let local = [std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()];
    let addresses = place::literal(url).map_or(local.to_vec(), |address| vec![address]);
    if !addresses.into_iter().any(|address| private.admits(host, port, address)) {
        let text = format!("{host}:{port} is {what} and would be refused");
        faults.add_with(&["url"], text, format!("add \"{host}:{port}\" to allow_private"));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(section: serde_json::Value, expected: Expect) {
        let config: Config = serde_json::from_value(section).unwrap();
        let faults: Vec<String> = config.check().iter().map(ToString::to_string).collect();
        expected.assert_eq(&faults.join("\n"));
    }

    #[test]
    fn what_is_wrong_is_said_where_it_stands() {
        check(
            json!({
                "docs": { "command": ["docs-server"], "env": { "TOKEN": "x" }, "prefix": "" },
                "web": { "url": "https://mcp.example.com/mcp", "headers": { "Authorization": "x" } },
                "near": { "url": "http://127.0.0.1:9/mcp", "allow_private": ["127.0.0.1:9"] },
            }),
            expect![""],
        );
        check(
            json!({
                "both": { "command": ["x"], "url": "https://a.test/" },
                "neither": {},
                "a b": { "command": ["x"] },
                "mixed": { "command": ["x"], "headers": { "a": "b" }, "allow_private": ["127.0.0.1:1"] },
                "mixed2": { "url": "https://a.test/", "env": { "A": "b" }, "cwd": ".", "sandbox": {} },
                "lines": { "socket": "x" }, "lines2": { "socket": "x", "url": "tls://a:1", "protocol": "jsonl" },
                "lines3": { "url": "tls://a.test", "protocol": "jsonl", "tls": { "certificate": "x" } },
                "boxed": { "command": ["x"], "sandbox": { "write": ["/"] } },
                "program": { "command": [""], "env": { "1A": "x", "A=B": "x" } },
                "lists": { "command": ["x"], "prefix": "a.", "allow": ["[a"], "deny": ["ok"], "reads": ["{"] },
                "named": { "command": ["x"], "tools": {
                    "a": { "name": "one" }, "b": { "name": "one" }, "c": { "name": "o n e" }, "d": { "description": "D" },
                } },
            }),
            expect![[r#"
                /upstreams/a b: "a b" is not a name: use 1 to 32 letters, digits, '_' or '-'
                /upstreams/both/url: a server has either a command or a url, not both
                /upstreams/boxed/sandbox/write: it is for the mode `strict`
                /upstreams/lines/socket: it is for servers that speak lines (add `protocol: jsonl`)
                /upstreams/lines2/socket: a server with a socket has neither a command nor a url
                /upstreams/lines3/url: "tls://a.test" is not tls://host:port, as a server that speaks lines has it (such as tls://tools.example.com:9000)
                /upstreams/lines3/tls/certificate: it is of no use without its `key`
                /upstreams/lists/prefix: "a." is not a prefix: use up to 32 letters, digits, '_' or '-'
                /upstreams/lists/allow/0: "[a" is not a glob: unclosed character class; missing ']'
                /upstreams/lists/reads/0: "{" is not a glob: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)
                /upstreams/mixed/headers: it is for a server with a url
                /upstreams/mixed/allow_private: it is for a server with a url
                /upstreams/mixed2/env: it is for a server with a command
                /upstreams/mixed2/cwd: it is for a server with a command
                /upstreams/mixed2/sandbox: it is for a server with a command
                /upstreams/named/tools/b/name: "a" is called "one" already
                /upstreams/named/tools/c/name: "o n e" is not the name of a tool: use 1 to 64 letters, digits, '_' or '-'
                /upstreams/neither: it is neither a program nor a place (add `command: [PROGRAM, ARGUMENT]` or `url: https://..`)
                /upstreams/program/command: it names no program (such as [npx, -y, some-server])
                /upstreams/program/env/1A: "1A" is not the name of a variable
                /upstreams/program/env/A=B: "A=B" is not the name of a variable"#]],
        );
        check(
            json!({
                "a": { "url": "ftp://a.test/" },
                "b": { "url": "http://localhost:8080/mcp" },
                "c": { "url": "http://10.0.0.7/mcp", "allow_private": ["10.0.0.7"] },
                "d": { "url": "https://a.test/", "headers": { "Mcp-Name": "x", "Host": "x", "a b": "x" } },
            }),
            expect![[r#"
                /upstreams/a/url: the scheme "ftp" is not taken; use http or https (such as https://mcp.example.com/mcp)
                /upstreams/b/url: localhost:8080 is a loopback address and would be refused (add "localhost:8080" to allow_private)
                /upstreams/c/url: 10.0.0.7:80 is an address of a private network and would be refused (add "10.0.0.7:80" to allow_private)
                /upstreams/c/allow_private/0: "10.0.0.7" names no port; write host:port (such as 127.0.0.1:8098)
                /upstreams/d/headers/Host: the header "Host" is set by the client itself
                /upstreams/d/headers/Mcp-Name: the header "Mcp-Name" is set by the client itself
                /upstreams/d/headers/a b: "a b" is not the name of a header"#]],
        );
    }

    #[test]
    fn keys_that_are_not_known_are_refused() {
        let unknown = json!({ "docs": { "command": ["x"], "prefiks": "" } });
        assert!(serde_json::from_value::<Config>(unknown).is_err());
    }
}
