//! Declared prompts: texts with gaps that a caller fills in for its model.

mod room;

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tool::{ConfigFault, Ordered, Parts, Provider};

use crate::{
    choices::{CompleteConfig, Completion},
    faults::pointer,
};

/// The name of the section, and what its tools talk to, in policy and metrics.
pub(crate) const SOURCE: &str = "prompts";

/// The `prompts:` section: prompts by name.
///
/// Rules go by the tool `prompt_<name>`, and its calls touch `prompt:<name>`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Config(BTreeMap<String, PromptConfig>);

/// One prompt. Its name is 1 to 57 of `a-z A-Z 0-9 _ -`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptConfig {
    /// A short title for people.
    pub title: Option<String>,
    /// What it is for, for people and models.
    pub description: Option<String>,
    /// What is filled into its messages, by name, in the order in which clients ask for it.
    #[serde(default)]
    pub arguments: Ordered<ArgumentConfig>,
    /// What it says, in order.
    #[schemars(length(min = 1, max = 64))]
    pub messages: Vec<MessageConfig>,
}

/// One argument of a prompt: a text. Its name is 1 to 64 of `a-z A-Z 0-9 _ . -`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArgumentConfig {
    /// What goes there.
    pub description: Option<String>,
    /// Whether it must be given. One that is not given is empty.
    #[serde(default)]
    pub required: bool,
    /// The most characters that it may have.
    #[serde(default = "chars_max")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub chars_max: u32,
    /// The values it may have. They are offered while one is typed.
    #[serde(rename = "enum")]
    #[schemars(length(min = 1, max = 10_000))]
    pub values: Option<Vec<String>>,
    /// Where values come from that are offered while one is typed; it may have others too.
    pub complete: Option<CompleteConfig>,
}

/// One message of a prompt.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageConfig {
    /// Whose it is.
    pub role: Role,
    /// What it says. `{argument}` is filled in as it was given; `{{` stands for `{` and `}}` for `}`.
    #[schemars(length(max = 262_144))]
    pub text: String,
}

/// Whose a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The person's.
    User,
    /// The model's.
    Assistant,
}

fn chars_max() -> u32 {
    16_384
}

impl Config {
    /// What the schema cannot say: names that are none, gaps that are no argument.
    #[must_use]
    pub fn check(&self) -> Vec<ConfigFault> {
        room::gather(self).err().unwrap_or_default()
    }

    /// The tools that completions ask: each must be one that only reads.
    pub fn completions(&self) -> impl Iterator<Item = Completion<'_>> {
        self.0.iter().flat_map(|(name, prompt)| {
            prompt.arguments.iter().filter_map(move |(argument, config)| {
                let at = [SOURCE, name, "arguments", argument, "complete", "tool"];
                let tool = &config.complete.as_ref()?.tool;
                Some(Completion { pointer: pointer(&at), tool })
            })
        })
    }
}

/// Opens the room.
///
/// Faults: what [`Config::check`] finds.
pub fn open(config: &Config, _parts: &Parts) -> Result<Arc<dyn Provider>, Vec<ConfigFault>> {
    Ok(Arc::new(room::gather(config)?))
}
