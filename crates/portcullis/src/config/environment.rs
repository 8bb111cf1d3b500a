//! The configuration that the environment makes, for `serve` without a file: each variable of the table stands for
//! members of the same configuration that a file would have, and goes through the same checks.
//!
//! A `.env` in the working folder is read too; the real environment wins over it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    Examined, Loaded, Lookup,
    document::Document,
    problem::{Problem, Problems},
};
use crate::secrets;

/// How the configuration calls itself in messages.
const NAME: &str = "environment";

/// The most bytes of a `.env`.
const DOT_ENV_BYTES_MAX: usize = 64 * 1024;

/// One variable.
pub(crate) struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it means, for `.env.example`.
    #[cfg_attr(not(test), expect(dead_code, reason = "the test of .env.example reads it"))]
    pub about: &'static str,
    take: fn(&mut Taken<'_>, &str) -> Result<(), String>,
}

/// Every variable. `.env.example` lists them with what they mean.
pub(crate) const VARIABLES: &[Variable] = &[
    variable(
        "ENVIRONMENT",
        "development, staging or production; only development takes placeholder secrets",
        environment,
    ),
    variable(
        "API_BASE_URL",
        "the REST API behind get_customer; its own host and port may be private",
        api_base_url,
    ),
    variable("API_TIMEOUT_SECONDS", "how long one request to it may take", |t, v| {
        t.scaled("/rest/apis/api/timeout_ms", v)
    }),
    variable("API_MAX_RETRIES", "how often a failed read is tried again", |t, v| {
        t.integer("/rest/apis/api/retries", v)
    }),
    variable("API_MAX_CONNECTIONS", "connections to it at once", |t, v| {
        t.integer("/rest/apis/api/max_connections", v)
    }),
    variable("API_MAX_KEEPALIVE", "idle connections to it that are kept", |t, v| {
        t.integer("/rest/apis/api/max_keepalive", v)
    }),
    variable("DB_URL", "the database: sqlite:///file.db, or sqlite:////path/to/file.db", db_url),
    variable("DB_POOL_SIZE", "queries at once", |t, v| t.add("/sql/databases/main/readers", v)),
    variable("DB_POOL_MAX_OVERFLOW", "more queries at once, when all are busy", |t, v| {
        t.add("/sql/databases/main/readers", v)
    }),
    variable("DB_POOL_RECYCLE_SECONDS", "the age at which a connection is replaced", |t, v| {
        t.integer("/sql/databases/main/recycle_seconds", v)
    }),
    variable("API_KEY_PRIMARY", "the key of callers; one is made and printed where none is given", |_, _| {
        Ok(())
    }),
    variable("API_KEY_SECONDARY", "a second key that is good as well, for rotation", |_, _| Ok(())),
    variable("RATE_LIMIT_RPM", "calls of one key in any 60 seconds", |t, v| {
        t.integer("/limits/rate_per_minute", v)
    }),
    variable("ENABLE_RAG", "retrieval; not part of this version", |t, v| t.unused_switch(v, false)),
    variable("LOG_LEVEL", "DEBUG, INFO, WARNING or ERROR", log_level),
    variable("MCP_LOG_LEVEL", "the same; wins over LOG_LEVEL", log_level),
    variable("MCP_FS_BASE", "the folder that fs_read_text, fs_list and fs_search read", |t, v| {
        t.text("/files/root", v)
    }),
    variable("MCP_MAX_FILE_SIZE", "the most bytes of one read", |t, v| t.integer("/files/bytes_max", v)),
    variable(
        "MCP_SQLITE",
        "the SQLite file of sql_query; with DB_URL as well, that one is reached as database main",
        mcp_sqlite,
    ),
    variable("MCP_MAX_SQL_ROWS", "the most rows of one query", |t, v| t.integer("/sql/query/rows_max", v)),
    variable("MCP_REQUEST_TIMEOUT", "the longest a call may take, in seconds", |t, v| {
        t.scaled("/limits/request_timeout_ms", v)
    }),
    variable("MCP_MAX_CONCURRENT", "calls at once against one source", |t, v| {
        t.integer("/limits/concurrent_per_source_max", v)
    }),
    variable(
        "MCP_ALLOWED_DOMAINS",
        "hosts that http_fetch may read, with commas between them",
        allowed_domains,
    ),
    variable("MCP_JWT_SECRET", "for tokens of other issuers; not used by this version", |t, _| t.unused()),
    variable("MCP_AUDIT_LOG_PATH", "the folder of the audit log", audit_path),
    variable("MCP_METRICS_ENABLED", "metrics are always on", |t, v| t.unused_switch(v, true)),
    variable("ANTHROPIC_API_KEY", "for agents; not used by this version", |t, _| t.unused()),
    variable("OPENAI_API_KEY", "for agents; not used by this version", |t, _| t.unused()),
];

/// Variables that hold secrets: never shown, and no placeholders outside development.
const SECRETS: &[&str] =
    &["API_KEY_PRIMARY", "API_KEY_SECONDARY", "MCP_JWT_SECRET", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"];

/// Those of them that are the secret of a key.
const KEYS: &[&str] = &["API_KEY_PRIMARY", "API_KEY_SECONDARY"];

const fn variable(
    name: &'static str,
    about: &'static str,
    take: fn(&mut Taken<'_>, &str) -> Result<(), String>,
) -> Variable {
    Variable { name, about, take }
}

/// Builds the configuration from the environment and the `.env` in `folder`; relative paths start there. Everything is
/// checked that can be without opening anything.
///
/// Error: everything that is wrong.
pub(crate) fn from_environment(lookup: Lookup<'_>, folder: &Path) -> Result<Loaded, Problems> {
    let mut examined = examine_environment(lookup, folder)?;
    let faults = examined.loaded.config.check();
    examined.add(faults);
    examined.whole()
}

/// The same, as far as the variables fit; names and statements are not looked at yet.
///
/// Error: nothing of it can be taken.
pub(crate) fn examine_environment(lookup: Lookup<'_>, folder: &Path) -> Result<Examined, Problems> {
    let dot_env = read_dot_env(&folder.join(".env"))?;
    let lookup = |name: &str| lookup(name).or_else(|| dot_env.get(name).cloned());
    let mut document = Document::new(base());
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    for row in VARIABLES {
        let Some(value) = lookup(row.name).filter(|value| !value.is_empty()) else { continue };
        let mut taken = Taken { document: &mut document, name: row.name, notes: &mut notes };
        if let Err(text) = (row.take)(&mut taken, value.trim()) {
            let mut problem = Problem::new("", text);
            problem.variable = Some(row.name.to_owned());
            problems.push(problem);
        }
    }
    drop_headless(&mut document, &mut notes);
    problems.extend(placeholders(&lookup));
    keys(&mut document, &lookup);
    let base_dir = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let mut examined = Examined::new((NAME, ""), document, problems, &[], base_dir)?;
    examined.loaded.notes = notes;
    examined.loaded.takes_placeholders = secrets::placeholders_allowed(&lookup);
    Ok(examined)
}

/// Settings of something that no variable names are left out: a pool size without a database.
fn drop_headless(document: &mut Document, notes: &mut Vec<String>) {
    for (head, member, name) in [
        ("/rest/apis/api", "base_url", "API_BASE_URL"),
        ("/sql/databases/main", "sqlite", "DB_URL"),
        ("/files", "root", "MCP_FS_BASE"),
    ] {
        let Some(found) = document.value.pointer(head) else { continue };
        if found.get(member).is_some() {
            continue;
        }
        notes.push(format!("{name} is not set, so the variables that go with it are not used"));
        if let Some((above, last)) = head.rsplit_once('/')
            && let Some(Value::Object(map)) = document.value.pointer_mut(above)
        {
            map.remove(last);
        }
    }
}

/// What holds whatever the variables say: one machine that may read everything there is, and whoever sits at the
/// machine.
fn base() -> Value {
    json!({
        "principals": { "api": { "kind": "machine", "roles": ["caller"] } },
        "roles": { "caller": { "allow": ["effect:reads", "effect:changes"] } },
    })
}

/// The key of callers, with its two secrets.
fn keys(document: &mut Document, lookup: Lookup<'_>) {
    let mut key = json!({ "label": "api", "principal": "api", "show": "key" });
    let (first, second) = (lookup("API_KEY_PRIMARY"), lookup("API_KEY_SECONDARY"));
    let present = |value: Option<String>| value.map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
    if let Some(first) = present(first) {
        key["secret"] = json!(first);
    }
    if let Some(second) = present(second) {
        key["secondary"] = json!(second);
    }
    document.set("/bootstrap/keys", json!([key]), "API_KEY_PRIMARY");
    document.came_from("/bootstrap/keys/0/secret", "API_KEY_PRIMARY");
    document.came_from("/bootstrap/keys/0/secondary", "API_KEY_SECONDARY");
}

fn placeholders(lookup: Lookup<'_>) -> Vec<Problem> {
    if secrets::placeholders_allowed(lookup) {
        return Vec::new();
    }
    let held = |name: &&&str| lookup(name).is_some_and(|value| secrets::is_placeholder(&value));
    let problem = |name: &&str| {
        let mut problem = Problem::new("", secrets::PLACEHOLDER);
        problem.variable = Some((*name).to_owned());
        problem
    };
    let short = KEYS.iter().filter_map(|name| {
        let value = lookup(name)?;
        let value = value.trim();
        let why =
            secrets::unfit_for_a_key(value).filter(|_| !value.is_empty() && !secrets::is_placeholder(value));
        why.map(|why| Problem { variable: Some((*name).to_owned()), ..Problem::new("", why) })
    });
    SECRETS.iter().filter(held).map(problem).chain(short).collect()
}

/// A variable being taken.
struct Taken<'a> {
    document: &'a mut Document,
    name: &'static str,
    notes: &'a mut Vec<String>,
}

impl Taken<'_> {
    fn set(&mut self, pointer: &str, value: Value) {
        self.document.set(pointer, value, self.name);
    }

    fn text(&mut self, pointer: &str, value: &str) -> Result<(), String> {
        self.set(pointer, json!(value));
        Ok(())
    }

    fn integer(&mut self, pointer: &str, value: &str) -> Result<(), String> {
        self.set(pointer, json!(whole(value)?));
        Ok(())
    }

    /// Seconds, as milliseconds.
    fn scaled(&mut self, pointer: &str, value: &str) -> Result<(), String> {
        let seconds: f64 = value.parse().map_err(|_| format!("expected seconds, found {value:?}"))?;
        if !(seconds.is_finite() && (0.001..=86_400.0).contains(&seconds)) {
            return Err(format!("expected 0.001 to 86400 seconds, found {value}"));
        }
        self.set(pointer, json!((seconds * 1000.0).round() as u64));
        Ok(())
    }

    /// Adds to what another variable set.
    fn add(&mut self, pointer: &str, value: &str) -> Result<(), String> {
        let before = self.document.value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        let sum = before.checked_add(whole(value)?).ok_or("the number is too large")?;
        self.set(pointer, json!(sum));
        Ok(())
    }

    /// A SQLite file, open to free SQL.
    fn database(&mut self, name: &str, path: &str) -> Result<(), String> {
        self.set(&format!("/sql/databases/{name}/sqlite"), json!(path));
        self.set(&format!("/sql/databases/{name}/query/tables"), json!(["*"]));
        Ok(())
    }

    fn unused(&mut self) -> Result<(), String> {
        self.notes.push(format!("{} is set, but this version does not use it", self.name));
        Ok(())
    }

    /// A switch that can only be as it is.
    fn unused_switch(&mut self, value: &str, fixed: bool) -> Result<(), String> {
        let wanted = match value.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => return Err(format!("expected true or false, found {value:?}")),
        };
        if wanted != fixed {
            self.notes.push(format!("{} is {wanted}, but this version always has it {fixed}", self.name));
        }
        Ok(())
    }
}

fn whole(value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("expected a whole number, found {value:?}"))
}

fn environment(_: &mut Taken<'_>, value: &str) -> Result<(), String> {
    match value {
        "development" | "staging" | "production" | "test" => Ok(()),
        other => Err(format!("expected development, staging or production, found {other:?}")),
    }
}

fn api_base_url(taken: &mut Taken<'_>, value: &str) -> Result<(), String> {
    let uri: http::Uri = value.parse().map_err(|_| "it is not a URL".to_owned())?;
    let (Some(scheme @ ("http" | "https")), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err("it is not a URL such as https://api.example.com".to_owned());
    };
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    let host = host.to_owned();
    taken.text("/rest/apis/api/base_url", value)?;
    // Whoever sets the variable names this one host and port; nothing else private can be reached through it.
    taken.set("/rest/apis/api/allow_private", json!([format!("{host}:{port}")]));
    let tool = json!({
        "api": "api",
        "method": "GET",
        "path": "/customers/{customer_id}",
        "description": "Fetches a customer by id.",
        "parameters": { "customer_id": { "in": "path", "type": "integer", "minimum": 1, "description": "The customer's id." } },
        "errors": [
            { "status": 404, "error": "Not found", "code": "not_found" },
            { "status": "5xx", "error": "Upstream error", "code": "retry" },
            { "status": "timeout", "error": "API timeout", "code": "retry" },
        ],
    });
    taken.set("/rest/tools/get_customer", tool);
    Ok(())
}

fn db_url(taken: &mut Taken<'_>, value: &str) -> Result<(), String> {
    let rest = value.strip_prefix("sqlite://").or_else(|| value.strip_prefix("sqlite:"));
    let Some(rest) = rest else {
        let scheme = value.split(':').next().unwrap_or_default();
        return Err(format!(
            "databases of {scheme} are not part of this version; expected sqlite:///file.db, or sqlite:////path/to/file.db"
        ));
    };
    // SQLAlchemy's spelling: three slashes for a relative path, four for an absolute one.
    let path = rest.strip_prefix('/').unwrap_or(rest);
    if path.is_empty() || path == ":memory:" {
        return Err("it names no file; expected sqlite:///file.db, or sqlite:////path/to/file.db".to_owned());
    }
    taken.database("main", path)
}

/// `sql_query` goes here, whatever else there is.
fn mcp_sqlite(taken: &mut Taken<'_>, value: &str) -> Result<(), String> {
    taken.database("mcp", value)?;
    taken.text("/sql/query/database", "mcp")
}

fn log_level(taken: &mut Taken<'_>, value: &str) -> Result<(), String> {
    let level = match value.to_ascii_lowercase().as_str() {
        "debug" | "trace" => "debug",
        "info" => "info",
        "warning" | "warn" => "warning",
        "error" | "critical" => "error",
        _ => return Err(format!("expected DEBUG, INFO, WARNING or ERROR, found {value:?}")),
    };
    taken.text("/log/level", level)
}

fn allowed_domains(taken: &mut Taken<'_>, value: &str) -> Result<(), String> {
    let hosts: Vec<&str> = value.split(',').map(str::trim).filter(|host| !host.is_empty()).collect();
    taken.set("/fetch/allow", json!(hosts));
    Ok(())
}

/// The log is a folder; a name such as `audit.log` stands for the folder `audit`.
fn audit_path(taken: &mut Taken<'_>, value: &str) -> Result<(), String> {
    let mut path = PathBuf::from(value);
    if matches!(path.extension().and_then(|e| e.to_str()), Some("log" | "jsonl" | "json")) {
        path.set_extension("");
    }
    taken.set("/audit/directory", json!(path));
    Ok(())
}

fn read_dot_env(path: &Path) -> Result<BTreeMap<String, String>, Problems> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(Problems::single(".env", format!("the file cannot be read: {error}"))),
    };
    dot_env(&text).map_err(|text| Problems::single(".env", text))
}

/// `NAME=value` lines, as `docker --env-file` and shells have them: comments, `export`, quotes. Nothing is
/// expanded.
pub(super) fn dot_env(text: &str) -> Result<BTreeMap<String, String>, String> {
    if text.len() > DOT_ENV_BYTES_MAX {
        return Err(format!("the file has more than {DOT_ENV_BYTES_MAX} bytes"));
    }
    let mut variables = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = || format!("line {} is not NAME=value", number + 1);
        let (name, value) = line.split_once('=').ok_or_else(wrong)?;
        let name = name.trim();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(wrong());
        }
        variables.insert(name.to_owned(), unquoted(value.trim()).ok_or_else(wrong)?);
    }
    Ok(variables)
}

fn unquoted(value: &str) -> Option<String> {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            let end = rest.find(quote)?;
            let after = rest[end + 1..].trim_start();
            return (after.is_empty() || after.starts_with('#')).then(|| rest[..end].to_owned());
        }
    }
    let end = value.find(" #").unwrap_or(value.len());
    Some(value[..end].trim_end().to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
