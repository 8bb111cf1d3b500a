use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tool::{Approval, Effect, Timestamp, Tool, ToolName};

use crate::Config;

/// The source of every tool here, and the prefix of every target.
pub(crate) const SOURCE: &str = "files";
pub(crate) const READ: &str = "fs_read_text";
pub(crate) const LIST: &str = "fs_list";
pub(crate) const SEARCH: &str = "fs_search";
pub(crate) const WRITE: &str = "fs_write_text";

/// The longest query of a search, in characters.
const QUERY_CHARS_MAX: u32 = 1000;
/// How many matches a search returns where the caller names no limit.
pub(crate) const MATCHES_USUAL: u32 = 100;

/// How much longer than its path a mark of a search is: two numbers of 64 bits, each with a colon.
const MARK_CHARS_EXTRA: u32 = 42;

/// Room for an answer around its text: every byte may need an escape, and the members have names.
const ANSWER_BYTES_EXTRA: usize = 4096;

/// The tools, as the configuration has them.
pub(crate) fn table(config: &Config) -> Arc<[Arc<Tool>]> {
    let mut tools = vec![read(config), list(config), search(config)];
    if config.writable {
        tools.push(write(config));
    }
    tools.into_iter().map(Arc::new).collect()
}

/// What `fs_read_text` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadArguments {
    /// The file, relative to the folder.
    #[schemars(length(min = 1))]
    pub(crate) path: String,
    /// The byte to begin at; inside a letter, the letter's first byte is taken. `next_offset` of the answer before.
    #[serde(default)]
    pub(crate) offset: u64,
    /// The most bytes of text to return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub(crate) limit: Option<u64>,
}

/// What `fs_read_text` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReadResult {
    /// The text.
    pub(crate) text: String,
    /// The file, in normal form.
    pub(crate) path: String,
    /// The byte the text begins at.
    pub(crate) offset: u64,
    /// The bytes of this text.
    pub(crate) bytes: u64,
    /// The bytes of the whole file.
    pub(crate) total_bytes: u64,
    /// True where the file goes on.
    pub(crate) truncated: bool,
    /// The offset to go on at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub(crate) next_offset: Option<u64>,
}

/// What `fs_list` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListArguments {
    /// The folder to list; `.` is all of it.
    #[serde(default = "here")]
    #[schemars(length(min = 1))]
    pub(crate) path: String,
    /// Lists folders within folders too. Links are named, not followed.
    #[serde(default)]
    pub(crate) recursive: bool,
    /// The most entries to return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    pub(crate) limit: Option<u32>,
    /// Begins behind this path: `next` of the answer before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), with = "String")]
    pub(crate) after: Option<String>,
}

/// What `fs_list` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ListResult {
    /// The folder, in normal form.
    pub(crate) path: String,
    /// Its entries in the order of their names, each folder before what is in it.
    pub(crate) entries: Vec<Entry>,
    /// True where there is more.
    pub(crate) truncated: bool,
    /// What to give as `after` for the rest; null where there is none.
    pub(crate) next: Option<String>,
    /// How many entries are left out: hidden or excluded, named in a way that no path here can be, too deep, or
    /// not open to the server.
    pub(crate) skipped: u64,
}

/// One entry of a folder.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Entry {
    /// Its own name.
    pub(crate) name: String,
    /// Its path, for the other tools.
    pub(crate) path: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// Its size in bytes; 0 for what is not a file.
    pub(crate) bytes: u64,
    /// When its content last changed.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub(crate) modified_at: Timestamp,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A socket, a pipe or a device; nothing here opens it.
    Other,
}

/// What `fs_search` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchArguments {
    /// The text to look for, letter for letter, or a regular expression where `regex` says so.
    #[schemars(length(min = 1))]
    pub(crate) query: String,
    /// The folder to search, with all beneath it, or a single file.
    #[serde(default = "here")]
    #[schemars(length(min = 1))]
    pub(crate) path: String,
    /// Only files like this, such as `*.md`; with a `/` it is compared with the whole path: `notes/**/*.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), with = "String")]
    pub(crate) glob: Option<String>,
    /// True to take `query` as a regular expression, line by line; `(?i)` at its start ignores case.
    #[serde(default)]
    pub(crate) regex: bool,
    /// The most matches to return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    pub(crate) limit: Option<u32>,
    /// Goes on where the answer before ended: its `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), with = "String")]
    pub(crate) after: Option<String>,
}

/// What `fs_search` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SearchResult {
    /// The lines that match, by path and line.
    pub(crate) matches: Vec<Match>,
    /// How many files were looked through.
    pub(crate) files_searched: u64,
    /// How many files were left out: not text, or not open to the server.
    pub(crate) files_skipped: u64,
    /// How many folders were left out: too deep (`files.depth_max`), or not open to the server.
    pub(crate) folders_skipped: u64,
    /// True where a bound ended the search early.
    pub(crate) truncated: bool,
    /// What to give as `after` for the rest; null where there is none.
    pub(crate) next: Option<String>,
}

/// One line that matches.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Match {
    /// The file.
    pub(crate) path: String,
    /// The number of the line, from 1.
    pub(crate) line: u64,
    /// The line, cut where it is long.
    pub(crate) text: String,
    /// The byte of the file that the line begins at: the offset for `fs_read_text`.
    pub(crate) offset: u64,
    /// True where the line is longer than its text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cut: bool,
}

/// What `fs_write_text` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteArguments {
    /// The file, relative to the folder. It is made or replaced as a whole.
    #[schemars(length(min = 1))]
    pub(crate) path: String,
    /// All that the file will hold.
    pub(crate) text: String,
    /// Makes the folders that are missing on the way.
    #[serde(default)]
    pub(crate) create_parents: bool,
}

/// What an applied `fs_write_text` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WriteResult {
    /// The file, in normal form.
    pub(crate) path: String,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    /// The digest of its content: `b3:` and a BLAKE3 hash in hex.
    pub(crate) digest: String,
    /// True where there was no such file before.
    pub(crate) created: bool,
}

fn read(config: &Config) -> Tool {
    let about = "Reads a UTF-8 text file beneath the served folder, whole or from an offset on.";
    let mut input = bounded::<ReadArguments>(config);
    bound(&mut input, "limit", 4, config.bytes_max, config.bytes_max);
    let mut tool = base(config, READ, "Read a text file", about, input);
    tool.aliases = vec!["fs.read_text".into()];
    tool.output = Some(Arc::new(schema::<ReadResult>()));
    tool.examples =
        vec![json!({"path": "hello.txt"}), json!({"path": "logs/app.log", "offset": 4096, "limit": 1024})];
    let bytes_max = usize::try_from(config.bytes_max).unwrap_or(usize::MAX);
    tool.bytes_max = bytes_max.saturating_mul(2).saturating_add(ANSWER_BYTES_EXTRA);
    tool
}

fn list(config: &Config) -> Tool {
    let about = "Lists a folder beneath the served folder: names, kinds, sizes and times, a page at a time.";
    let mut input = bounded::<ListArguments>(config);
    let most = u64::from(config.entries_max);
    bound(&mut input, "limit", 1, most, most);
    let mut tool = base(config, LIST, "List a folder", about, input);
    tool.aliases = vec!["fs.list".into()];
    tool.output = Some(Arc::new(schema::<ListResult>()));
    tool.examples = vec![json!({}), json!({"path": "notes", "recursive": true, "limit": 50})];
    tool
}

fn search(config: &Config) -> Tool {
    let about = "Finds lines in text files beneath the served folder, by a text or a regular expression.";
    let mut input = bounded::<SearchArguments>(config);
    input["properties"]["query"]["maxLength"] = json!(QUERY_CHARS_MAX);
    input["properties"]["after"]["maxLength"] = json!(config.path_chars_max + MARK_CHARS_EXTRA);
    let most = config.search_matches_max;
    bound(&mut input, "limit", 1, most.into(), MATCHES_USUAL.min(most).into());
    let mut tool = base(config, SEARCH, "Search files", about, input);
    tool.aliases = vec!["fs.search".into()];
    tool.output = Some(Arc::new(schema::<SearchResult>()));
    tool.examples = vec![
        json!({"query": "TODO", "glob": "*.md"}),
        json!({"query": "(?i)error: \\d+", "path": "logs", "regex": true}),
    ];
    tool
}

fn write(config: &Config) -> Tool {
    let about = "Makes or replaces a text file beneath the served folder. The call ends in a plan with the exact \
                 difference; once a person has approved it, it is applied in one step.";
    let mut input = bounded::<WriteArguments>(config);
    input["properties"]["text"]["maxLength"] = json!(config.write_bytes_max);
    let mut tool = base(config, WRITE, "Write a text file", about, input);
    tool.aliases = vec!["fs.write_text".into()];
    tool.output = Some(Arc::new(schema::<WriteResult>()));
    tool.examples = vec![json!({"path": "notes/todo.txt", "text": "buy milk\n", "create_parents": true})];
    tool.effect = Effect::Changes;
    tool.approval = Approval::Needed;
    tool
}

fn base(config: &Config, name: &str, title: &str, about: &str, input: Value) -> Tool {
    let name = ToolName::parse(name).expect("a name written in this file fits");
    let mut tool = Tool::reading(name, SOURCE, about, input);
    tool.title = Some(title.into());
    tool.time_max = Duration::from_millis(config.timeout_ms);
    tool.concurrent_max = Some(config.concurrent_max);
    tool
}

fn schema<T: JsonSchema>() -> Value {
    tool::json::without_rust_formats(schemars::schema_for!(T).to_value())
}

/// The schema of some arguments, with the configured bound on each path in it.
fn bounded<T: JsonSchema>(config: &Config) -> Value {
    let mut schema = schema::<T>();
    for name in ["path", "after", "glob"] {
        if let Some(property) = schema["properties"].get_mut(name) {
            property["maxLength"] = json!(config.path_chars_max);
        }
    }
    schema
}

/// Sets the bounds and the default of a number.
fn bound(schema: &mut Value, name: &str, min: u64, max: u64, default: u64) {
    let property = &mut schema["properties"][name];
    property["minimum"] = json!(min);
    property["maximum"] = json!(max);
    property["default"] = json!(default);
}

fn here() -> String {
    ".".to_owned()
}
