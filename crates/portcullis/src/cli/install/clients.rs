//! What each client wants, as its makers describe it (November 2026).
//!
//! - Claude Code: <https://code.claude.com/docs/en/mcp>; `${NAME}` is expanded in `url`, `headers`, `args` and `env`.
//! - Claude Desktop: <https://modelcontextprotocol.io/docs/develop/connect-local-servers>; the file takes local
//!   programs only, and connectors take no bearer key, so HTTP goes through the bridge `mcp-remote`
//!   (<https://github.com/geelen/mcp-remote>).
//! - Cursor: <https://cursor.com/docs/context/mcp>; `${env:NAME}`.
//! - Visual Studio Code: <https://code.visualstudio.com/docs/copilot/reference/mcp-configuration>; `${input:ID}` is asked
//!   for once and kept, while `${env:NAME}` in headers does not work everywhere (microsoft/vscode#336232).
//! - Codex: <https://developers.openai.com/codex/mcp>; `bearer_token_env_var`, `http_headers`, and `env_vars`, which hands
//!   variables on under their own names.
//! - Gemini CLI: <https://github.com/google-gemini/gemini-cli/blob/main/docs/tools/mcp-server.md>; `httpUrl`, since `url`
//!   means the older SSE transport in many versions; `${NAME}`.

use http::Uri;
use serde_json::{Map, Value, json};

use super::{ClientName, KEY_VARIABLE, Key, Way};

/// What stands where the key belongs.
pub(super) const PLACEHOLDER: &str = "<your key>";

/// The id under which Visual Studio Code keeps the key.
const INPUT: &str = "portcullis-key";

/// What to write, and where.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Snippet {
    /// The client's name, for people.
    pub title: &'static str,
    /// The files that it reads, and what each is for.
    pub files: &'static [(&'static str, &'static str)],
    /// `json` or `toml`.
    pub format: &'static str,
    /// The snippet as a value.
    pub document: Value,
    /// The snippet as it is written.
    pub text: String,
    /// A command of the client's that does the same.
    pub command: Option<String>,
    /// What else to do and to know.
    pub notes: Vec<String>,
}

/// How a client's file refers to a variable of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variables {
    /// `${NAME}`.
    Braces,
    /// `${env:NAME}`.
    Editor,
    /// By the name alone, in members of their own.
    Named,
    /// Not at all: it asks for what it needs, and keeps it.
    Asked,
    /// Not at all.
    Never,
}

/// What is known of a client.
struct Client {
    name: ClientName,
    title: &'static str,
    files: &'static [(&'static str, &'static str)],
    /// The member that servers stand in.
    servers: &'static str,
    variables: Variables,
    /// How to see that it worked.
    then: &'static str,
}

const TABLE: &[Client] = &[
    Client {
        name: ClientName::ClaudeCode,
        title: "Claude Code",
        files: &[
            ("~/.claude.json", "all your projects"),
            (".mcp.json", "one project, shared with whoever has it"),
        ],
        servers: "mcpServers",
        variables: Variables::Braces,
        then: "start Claude Code anew; `/mcp` shows the server",
    },
    Client {
        name: ClientName::ClaudeDesktop,
        title: "Claude Desktop",
        files: &[
            ("~/Library/Application Support/Claude/claude_desktop_config.json", "macOS"),
            ("%APPDATA%\\Claude\\claude_desktop_config.json", "Windows"),
            ("~/.config/Claude/claude_desktop_config.json", "Linux"),
        ],
        servers: "mcpServers",
        variables: Variables::Never,
        then: "quit Claude Desktop and start it again; Settings, Developer shows the server",
    },
    Client {
        name: ClientName::Cursor,
        title: "Cursor",
        files: &[("~/.cursor/mcp.json", "all your projects"), (".cursor/mcp.json", "one project")],
        servers: "mcpServers",
        variables: Variables::Editor,
        then: "start Cursor anew; its settings for MCP show the server",
    },
    Client {
        name: ClientName::VsCode,
        title: "Visual Studio Code",
        files: &[
            (".vscode/mcp.json", "one workspace"),
            ("mcp.json of your profile", "all of them; the command `MCP: Open User Configuration` opens it"),
        ],
        servers: "servers",
        variables: Variables::Asked,
        then: "the command `MCP: List Servers` shows the server and starts it",
    },
    Client {
        name: ClientName::Codex,
        title: "Codex",
        files: &[
            ("~/.codex/config.toml", "all your projects"),
            (".codex/config.toml", "one project that is trusted"),
        ],
        servers: "mcp_servers",
        variables: Variables::Named,
        then: "start Codex anew; `/mcp` shows the server",
    },
    Client {
        name: ClientName::Gemini,
        title: "Gemini CLI",
        files: &[("~/.gemini/settings.json", "all your projects"), (".gemini/settings.json", "one project")],
        servers: "mcpServers",
        variables: Variables::Braces,
        then: "start Gemini CLI anew; `/mcp` shows the server",
    },
    Client {
        name: ClientName::Json,
        title: "An MCP client",
        files: &[("the file that holds `mcpServers`", "as the client's documentation says")],
        servers: "mcpServers",
        variables: Variables::Never,
        then: "start the client anew",
    },
];

/// What this client needs to reach the gate this way.
pub(super) fn snippet(client: ClientName, server: &str, way: &Way, key: &Key) -> Snippet {
    let client = TABLE.iter().find(|row| row.name == client).expect("every client has a row");
    let (asked, key) = (key, client.spelled(key));
    let mut document = Map::new();
    if key == Spelled::Asked {
        let input =
            json!({ "type": "promptString", "id": INPUT, "description": "Portcullis key", "password": true });
        document.insert("inputs".to_owned(), json!([input]));
    }
    document.insert(client.servers.to_owned(), json!({ server: entry(client.name, way, &key) }));
    let document = Value::Object(document);
    let (format, text) = match client.name {
        ClientName::Codex => ("toml", toml(&document)),
        _ => ("json", format!("{document:#}")),
    };
    Snippet {
        title: client.title,
        files: client.files,
        format,
        text,
        command: (client.name == ClientName::ClaudeCode).then(|| claude_command(server, way, &key)),
        notes: client.notes(way, asked, &key),
        document,
    }
}

/// The key as a client's file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Spelled {
    /// In clear.
    Clear(String),
    /// By a reference to a variable: its name, and the text that stands for it.
    Variable(String, String),
    /// The client asks for it.
    Asked,
    /// A person puts it there.
    Placeholder,
}

impl Spelled {
    fn text(&self) -> String {
        match self {
            Self::Clear(text) | Self::Variable(_, text) => text.clone(),
            Self::Asked => format!("${{input:{INPUT}}}"),
            Self::Placeholder => PLACEHOLDER.to_owned(),
        }
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.text())
    }
}

impl Client {
    fn spelled(&self, key: &Key) -> Spelled {
        let name = match key {
            Key::Clear(key) => return Spelled::Clear(key.clone()),
            Key::Variable(name) => name.clone(),
            Key::Unsaid => KEY_VARIABLE.to_owned(),
        };
        match self.variables {
            Variables::Braces => Spelled::Variable(name.clone(), format!("${{{name}}}")),
            Variables::Editor => Spelled::Variable(name.clone(), format!("${{env:{name}}}")),
            Variables::Named => Spelled::Variable(name.clone(), name),
            Variables::Asked => Spelled::Asked,
            // Whoever names a variable for a client of their own knows that it reads some.
            Variables::Never if self.name == ClientName::Json && matches!(key, Key::Variable(_)) => {
                Spelled::Variable(name.clone(), format!("${{{name}}}"))
            }
            Variables::Never => Spelled::Placeholder,
        }
    }

    fn notes(&self, way: &Way, asked: &Key, key: &Spelled) -> Vec<String> {
        let title = self.title;
        let is_stdio = matches!(way, Way::Stdio { .. });
        let mut notes = vec![match key {
            Spelled::Clear(_) => "the key stands in it in clear: keep the file to yourself".to_owned(),
            Spelled::Variable(..) if self.name == ClientName::Codex && is_stdio => {
                format!("Codex hands variables on under their own names: set {KEY_VARIABLE} where it starts")
            }
            Spelled::Variable(name, _) => {
                format!("the key comes from {name}: set it where the client starts")
            }
            Spelled::Asked => format!("{title} asks for the key once, and keeps it"),
            Spelled::Placeholder => {
                format!("put your key in place of {PLACEHOLDER}; `portcullis keys create` makes one")
            }
        }];
        if let (Key::Variable(name), Spelled::Asked | Spelled::Placeholder) = (asked, key) {
            notes.push(format!("{title} does not read {name} here, so it has no part in this"));
        }
        if self.name == ClientName::ClaudeDesktop && !is_stdio {
            notes.push(
                "Claude Desktop starts local programs only, and its connectors take no key: the bridge mcp-remote (npm) \
                 carries it; --stdio needs no bridge"
                    .to_owned(),
            );
        }
        notes.push(self.then.to_owned());
        notes
    }
}

/// The server as its entry says it.
fn entry(client: ClientName, way: &Way, key: &Spelled) -> Value {
    match way {
        Way::Http { url } => by_url(client, url, key),
        Way::Stdio { program, args } => {
            let mut entry = Map::new();
            if matches!(client, ClientName::ClaudeCode | ClientName::Cursor | ClientName::VsCode) {
                entry.insert("type".to_owned(), json!("stdio"));
            }
            entry.insert("command".to_owned(), json!(program));
            entry.insert("args".to_owned(), json!(args));
            let (member, value) = match (client, key) {
                (ClientName::Codex, Spelled::Variable(..)) => ("env_vars", json!([KEY_VARIABLE])),
                _ => ("env", json!({ KEY_VARIABLE: key.text() })),
            };
            entry.insert(member.to_owned(), value);
            Value::Object(entry)
        }
    }
}

fn by_url(client: ClientName, url: &str, key: &Spelled) -> Value {
    let headers = json!({ "Authorization": key.bearer() });
    match client {
        ClientName::ClaudeCode | ClientName::VsCode | ClientName::Json => {
            json!({ "type": "http", "url": url, "headers": headers })
        }
        ClientName::Cursor => json!({ "url": url, "headers": headers }),
        ClientName::Gemini => json!({ "httpUrl": url, "headers": headers }),
        ClientName::Codex => match key {
            Spelled::Variable(name, _) => json!({ "url": url, "bearer_token_env_var": name }),
            _ => json!({ "url": url, "http_headers": headers }),
        },
        ClientName::ClaudeDesktop => {
            // No space within an argument: some systems tear it apart there.
            let mut args = vec!["-y", "mcp-remote", url, "--header", "Authorization:${AUTH_HEADER}"];
            if needs_consent(url) {
                args.push("--allow-http");
            }
            json!({ "command": "npx", "args": args, "env": { "AUTH_HEADER": key.bearer() } })
        }
    }
}

/// Whether the bridge wants to be told that the key may go over a network unencrypted.
fn needs_consent(url: &str) -> bool {
    let uri: Uri = url.parse().unwrap_or_default();
    uri.scheme_str() == Some("http") && !matches!(uri.host(), Some("127.0.0.1" | "localhost"))
}

/// The command of Claude Code that adds the server for all projects.
fn claude_command(server: &str, way: &Way, key: &Spelled) -> String {
    let mut words = ["claude", "mcp", "add", "--scope", "user"].map(str::to_owned).to_vec();
    match way {
        Way::Http { url } => {
            words.extend(["--transport", "http", server].map(str::to_owned));
            words.extend([quoted(url), "--header".to_owned()]);
            words.push(quoted(&format!("Authorization: {}", key.bearer())));
        }
        Way::Stdio { program, args } => {
            words.extend(["--transport", "stdio", server, "--env"].map(str::to_owned));
            words.push(quoted(&format!("{KEY_VARIABLE}={}", key.text())));
            words.extend(["--".to_owned(), quoted(program)]);
            words.extend(args.iter().map(|arg| quoted(arg)));
        }
    }
    words.join(" ")
}

/// A word for a shell, in quotes where it needs them.
fn quoted(word: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&b);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A document of tables of tables, as TOML. Names are bare keys, and a JSON text is a basic string of TOML too, since
/// there are no control characters in it.
fn toml(document: &Value) -> String {
    let mut text = String::new();
    for (outer, servers) in document.as_object().into_iter().flatten() {
        for (server, entry) in servers.as_object().into_iter().flatten() {
            text.push_str(&format!("[{outer}.{server}]\n"));
            for (name, value) in entry.as_object().into_iter().flatten() {
                text.push_str(&format!("{name} = {}\n", toml_value(value)));
            }
        }
    }
    text.trim_end().to_owned()
}

fn toml_value(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml_value).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) => {
            let members: Vec<_> =
                members.iter().map(|(name, value)| format!("{name} = {}", toml_value(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        plain => plain.to_string(),
    }
}
