use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

/// The name of a tool: 1 to 64 of `a-z A-Z 0-9 _ -` (the strictest of what MCP clients and model APIs take).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ToolName(Arc<str>);

/// A text that is no tool name.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a tool name: use 1 to 64 letters, digits, '_' or '-'")]
pub struct NameError(String);

impl ToolName {
    /// Takes a name.
    ///
    /// Error: where it is empty, too long, or holds another character.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if fits { Ok(Self(text.into())) } else { Err(NameError(text.chars().take(80).collect())) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a tool does to the world; MCP shows it as `readOnlyHint` and `destructiveHint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Looks, and leaves everything as it was.
    Reads,
    /// Changes something that can be changed back.
    Changes,
    /// Removes something for good.
    Destroys,
}

impl Effect {
    /// The name in configuration, audit and CEL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Changes => "changes",
            Self::Destroys => "destroys",
        }
    }
}

/// Whether the same call twice has the effect of one. Only what is declared `Safe` is ever retried by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repeats {
    /// Idempotent: doing it again changes nothing more.
    Safe,
    /// Each call counts.
    Counts,
}

/// Whether a change runs at once or as plan, approval and apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Approval {
    /// The call does the work.
    NotNeeded,
    /// The call ends in a plan; an approved plan is applied by a call of its own.
    Needed,
}

/// What a breaker is opened for when calls keep failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Breaks {
    /// For the source: one that fails is spared by every tool that talks to it.
    BySource,
    /// For the target of the call alone: one host that is down says nothing about the others.
    ByTarget,
    /// Never: what fails is what the caller wrote, such as free SQL.
    Never,
}

/// Who gets to see a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Everyone whose role allows it.
    Callers,
    /// Administration: matched by no glob, only by a role that names the tool or the group `admin`.
    Admins,
}

/// What calls reach a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Those that name it: it stands in the lists of tools.
    Call,
    /// Those that read the resources it stands for. Rules, limits and audit go by the tool; no list shows it.
    Resource,
    /// Those that get, or complete, the prompt it stands for. Rules, limits and audit go by the tool; no list shows it.
    Prompt,
}

/// How a result is cleaned before it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hygiene {
    /// Escape sequences, control and invisible characters go, and known shapes of secrets are masked.
    Strict,
    /// As strict, but secrets are masked only where the configuration names them.
    Standard,
    /// Passed on as it came.
    Off,
}

/// So many calls in any window of so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Calls in any one window, at least 1.
    pub calls: u32,
    /// The window.
    pub window: Duration,
    /// True to space the calls evenly (GCRA) instead of counting them.
    pub smooth: bool,
}

impl Rate {
    /// So many calls in any 60 seconds.
    #[must_use]
    pub fn per_minute(calls: u32) -> Self {
        Self { calls, window: Duration::from_secs(60), smooth: false }
    }
}

/// How a failed attempt is tried again. Used only for what repeats safely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts after the first.
    pub again_max: u32,
    /// The first wait; doubled each time, with jitter.
    pub wait: Duration,
    /// The longest wait.
    pub wait_max: Duration,
}

/// How long an answer may be given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Never.
    Off,
    /// To the same principal, under the same configuration, for so long.
    For(Duration),
}

/// An end announced in advance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deprecation {
    /// Since when, as `YYYY-MM-DD`.
    pub since: Option<Arc<str>>,
    /// The day it goes away, as `YYYY-MM-DD`.
    pub removal: Arc<str>,
    /// What to use instead.
    pub instead: Option<Arc<str>>,
}

/// One thing a caller can ask for. Everything every face shows of it is here.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its name.
    pub name: ToolName,
    /// Older or dotted names under which REST accepts it too (`fs.read_text`).
    pub aliases: Vec<Arc<str>>,
    /// A short title for people.
    pub title: Option<Arc<str>>,
    /// One or two sentences in the present tense, for models and people alike.
    pub about: Arc<str>,
    /// What the arguments may look like: JSON Schema 2020-12 of an object.
    pub input: Arc<Value>,
    /// What the result looks like, where that is promised: JSON Schema 2020-12.
    pub output: Option<Arc<Value>>,
    /// Arguments for the documentation and the try-it form.
    pub examples: Vec<Value>,
    /// What it does to the world.
    pub effect: Effect,
    /// Whether the same call twice has the effect of one.
    pub repeats: Repeats,
    /// Whether a change must be approved.
    pub approval: Approval,
    /// Who gets to see it.
    pub audience: Audience,
    /// What calls reach it.
    pub purpose: Purpose,
    /// What it talks to, such as `sql:shop`: the unit of breakers, health and source metrics.
    pub source: Arc<str>,
    /// Labels that policy may use, such as `pii` or `egress`.
    pub labels: Vec<Arc<str>>,
    /// The longest a call may take.
    pub time_max: Duration,
    /// The most bytes of JSON that an answer holds; the rest is kept behind a handle.
    pub bytes_max: usize,
    /// How the result is cleaned.
    pub hygiene: Hygiene,
    /// What a breaker is opened for when calls keep failing.
    pub breaks: Breaks,
    /// How long an answer may be given again.
    pub caching: Caching,
    /// How a failed attempt is tried again.
    pub retry: Option<Retry>,
    /// How often everyone together may call it.
    pub rate: Option<Rate>,
    /// How many calls of it may run at once.
    pub concurrent_max: Option<u32>,
    /// How many calls its source takes at once, where its room knows that better than the operator's limit for all
    /// sources: what stands behind it is many, and each is bounded by itself.
    pub source_concurrent_max: Option<u32>,
    /// Its version, where it has several.
    pub version: Option<Arc<str>>,
    /// Set where it is going away.
    pub deprecation: Option<Deprecation>,
    /// What it is called where it came from, which may be another name than ours.
    pub origin: Option<Arc<str>>,
    /// The protocol's own description of it, where it came from elsewhere: MCP lists pass it on as it is.
    pub as_sent: Option<Arc<RawValue>>,
}

impl Tool {
    /// A reading tool with the house's usual bounds: 30 s, 1 MiB, no cache, no retry.
    #[must_use]
    pub fn reading(name: ToolName, source: &str, about: &str, input: Value) -> Self {
        Self {
            name,
            aliases: Vec::new(),
            title: None,
            about: about.into(),
            input: Arc::new(input),
            output: None,
            examples: Vec::new(),
            effect: Effect::Reads,
            repeats: Repeats::Safe,
            approval: Approval::NotNeeded,
            audience: Audience::Callers,
            purpose: Purpose::Call,
            source: source.into(),
            labels: Vec::new(),
            time_max: Duration::from_secs(30),
            bytes_max: 1024 * 1024,
            hygiene: Hygiene::Strict,
            breaks: Breaks::BySource,
            caching: Caching::Off,
            retry: None,
            rate: None,
            concurrent_max: None,
            source_concurrent_max: None,
            version: None,
            deprecation: None,
            origin: None,
            as_sent: None,
        }
    }

    /// True where a lost or timed-out call may have had its effect: anything but reading.
    #[must_use]
    pub fn has_effect(&self) -> bool {
        self.effect != Effect::Reads
    }
}

/// A text with gaps that a caller fills in for its model.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Its name.
    pub name: Arc<str>,
    /// A short title for people.
    pub title: Option<Arc<str>>,
    /// What it is for.
    pub about: Option<Arc<str>>,
    /// The gaps.
    pub arguments: Vec<PromptArgument>,
    /// The tool that stands for it on the road, with [`Purpose::Prompt`].
    pub tool: ToolName,
    /// The protocol's own description of it, where it came from elsewhere: passed on as it is.
    pub as_sent: Option<Arc<RawValue>>,
}

/// One gap of a prompt.
#[derive(Clone, Debug)]
pub struct PromptArgument {
    /// Its name.
    pub name: Arc<str>,
    /// What goes there.
    pub about: Option<Arc<str>>,
    /// Whether it must be filled.
    pub required: bool,
}

/// Something to read, by its URI.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Where it is: a URI, or of a template an RFC 6570 template of URIs.
    pub uri: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// A short title for people.
    pub title: Option<Arc<str>>,
    /// What it is.
    pub about: Option<Arc<str>>,
    /// Its media type, where all of it has one.
    pub mime: Option<Arc<str>>,
    /// Its size in bytes, where that is known.
    pub size: Option<u64>,
    /// The tool that stands for it on the road, with [`Purpose::Resource`].
    pub tool: ToolName,
    /// The protocol's own description of it, where it came from elsewhere: passed on as it is.
    pub as_sent: Option<Arc<RawValue>>,
}

/// What changed in what there is, for callers who want to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The list of tools.
    Tools,
    /// The list of prompts.
    Prompts,
    /// The list of resources.
    Resources,
    /// The content of the resource with this URI.
    Resource(Arc<str>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_the_common_ground_of_clients() {
        for good in ["a", "get_customer", "fs-read", "A9_-", &"x".repeat(64)] {
            assert_eq!(ToolName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "fs.read", "a b", "ä", "a/b", "a\n", &"x".repeat(65)] {
            assert!(ToolName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
