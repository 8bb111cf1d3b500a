//! The files of platforms, as the build leaves them: with what they take over, and without what tells them apart.

use std::collections::BTreeMap;

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use super::{
    Dialog, Mode, Pager, Platform, Step,
    grammar::{Grammar, GrammarDefinition},
};

/// A file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Definition {
    /// Its name, that of netmiko where it has one.
    pub(super) name: String,
    /// For people.
    pub(super) title: String,
    /// Its name in the index of ntc-templates; its own where it is left out.
    templates: Option<String>,
    /// How commands are run.
    #[serde(default)]
    channel: Channel,
    /// What ends a command.
    #[serde(default = "line_feed")]
    newline: String,
    /// What is put behind the name of the user at a login, so that the device prints plainly.
    #[serde(default)]
    login_suffix: String,
    modes: Vec<ModeDefinition>,
    /// The mode that commands are run in; the first where it is left out.
    home: Option<String>,
    /// Lines that belong to the prompt where they stand above it.
    above: Option<String>,
    /// It shows its prompt before its answer, takes it away, and shows it again after it.
    #[serde(default)]
    early_prompt: bool,
    /// Commands that are run first: no paging, wide lines.
    #[serde(default)]
    prepare: Vec<String>,
    #[serde(default)]
    pagers: Vec<PagerDefinition>,
    /// Questions between the login and the first prompt.
    #[serde(default)]
    dialog: Vec<DialogDefinition>,
    /// Questions that a command may ask. Nothing answers them: the command is broken off.
    #[serde(default)]
    questions: Vec<String>,
    #[serde(default)]
    errors: Vec<ErrorDefinition>,
    /// What breaks a command off.
    #[serde(default = "control_c")]
    interrupt: String,
    commands: GrammarDefinition,
    /// What the platform's words for protocols of routing stand for; a word in lower case stands for itself.
    #[serde(default)]
    protocols: BTreeMap<String, String>,
    /// What is asked for on every platform, and how it is asked here. Nothing takes back what was taken over.
    #[serde(default)]
    intents: BTreeMap<Intent, Option<AskedBy>>,
    /// Patterns of lines of a configuration that change without anyone changing it.
    #[serde(default)]
    volatile: Vec<String>,
    /// Patterns of lines that hold a secret, each with a group for the secret.
    #[serde(default)]
    secrets: Vec<String>,
}

/// How commands are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Channel {
    /// In one shell with a terminal.
    #[default]
    Shell,
    /// Each on a channel of its own.
    Exec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModeDefinition {
    name: String,
    prompt: String,
    above: Option<String>,
    #[serde(default)]
    to: BTreeMap<String, StepDefinition>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepDefinition {
    send: String,
    ask: Option<String>,
    #[serde(default)]
    fill: Fill,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PagerDefinition {
    prompt: String,
    #[serde(default = "blank")]
    send: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DialogDefinition {
    prompt: String,
    fill: Fill,
}

/// What is asked for on every platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Intent {
    /// The configuration that runs.
    RunningConfig,
    /// The configuration that the next start takes.
    StartupConfig,
    /// Every interface, in short.
    Interfaces,
    /// One interface, in detail; `{}` stands for its name.
    Interface,
    /// The table of routes.
    Routes,
    /// The log.
    Log,
}

/// How something is asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskedBy {
    /// Commands before it that set what the session shows, and change nothing else.
    #[serde(default)]
    pub(crate) before: Vec<String>,
    /// The command.
    pub(crate) command: String,
    /// Commands that tell the rest; what they print is read together with what it prints.
    #[serde(default)]
    pub(crate) and: Vec<String>,
    /// The template in `templates/` that makes records of what is printed.
    pub(crate) template: Option<String>,
    /// Whether what is newest is printed first.
    #[serde(default)]
    pub(crate) newest_first: bool,
}

impl AskedBy {
    /// The name of its template. Error: a sentence.
    pub(crate) fn template(&self) -> Result<&str, String> {
        self.template.as_deref().ok_or_else(|| "there is no template for it".to_owned())
    }
}

/// What a question is answered with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fill {
    /// The secret for the privileged mode.
    #[default]
    Enable,
    /// The name of the user.
    User,
    /// The password of the login.
    Password,
    /// A line, and nothing secret.
    Text(String),
    /// A key, which counts without a line end.
    Key(String),
    /// Nothing: the login cannot go on, for this reason.
    Nothing(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorDefinition {
    line: String,
    class: ErrorClass,
}

/// What kind of error a device tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErrorClass {
    /// It does not know the command.
    Syntax,
    /// The command lacks something.
    Incomplete,
    /// The command may mean several.
    Ambiguous,
    /// The user may not run it.
    Denied,
    /// Another holds what the command needs.
    Locked,
    /// The device has no time for it now.
    Busy,
    /// It failed for a reason of its own.
    Failed,
}

impl ErrorClass {
    /// Its name in answers.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Incomplete => "incomplete",
            Self::Ambiguous => "ambiguous",
            Self::Denied => "denied",
            Self::Locked => "locked",
            Self::Busy => "busy",
            Self::Failed => "failed",
        }
    }
}

fn line_feed() -> String {
    "\n".to_owned()
}

fn control_c() -> String {
    "\u{3}".to_owned()
}

fn blank() -> String {
    " ".to_owned()
}

impl Definition {
    /// Its name in the index of ntc-templates.
    pub(super) fn templates(&self) -> &str {
        self.templates.as_ref().unwrap_or(&self.name)
    }

    /// Compiles it.
    ///
    /// Error: a sentence that says which part of it does not hold.
    pub(super) fn compile(&self) -> Result<Platform, String> {
        let pattern = |text: &String| compiled(text);
        let index = |name: &String| {
            let found = self.modes.iter().position(|mode| mode.name == *name);
            found.ok_or_else(|| format!("there is no mode {name:?}"))
        };
        let mode = |definition: &ModeDefinition| {
            let step = |(to, step): (&String, &StepDefinition)| {
                let ask = step.ask.as_ref().map(pattern).transpose()?;
                let ask = ask.map(|ask| (ask, step.fill.clone()));
                Ok(Step { to: index(to)?, send: step.send.clone(), ask })
            };
            Ok::<_, String>(Mode {
                name: definition.name.clone(),
                prompt: compiled(&format!("^(?:{})$", definition.prompt))?,
                above: definition.above.as_ref().map(pattern).transpose()?,
                steps: definition.to.iter().map(step).collect::<Result<_, String>>()?,
            })
        };
        let patterns = |texts: &[String]| texts.iter().map(pattern).collect::<Result<Vec<_>, _>>();
        let pager =
            |one: &PagerDefinition| Ok(Pager { prompt: compiled(&one.prompt)?, send: one.send.clone() });
        let dialog =
            |one: &DialogDefinition| Ok(Dialog { prompt: compiled(&one.prompt)?, fill: one.fill.clone() });
        let error = |one: &ErrorDefinition| Ok((compiled(&one.line)?, one.class));
        Ok(Platform {
            name: self.name.clone(),
            title: self.title.clone(),
            templates: self.templates().to_owned(),
            channel: self.channel,
            newline: self.newline.clone(),
            login_suffix: self.login_suffix.clone(),
            modes: self.modes.iter().map(mode).collect::<Result<_, _>>()?,
            home: self.home.as_ref().map(index).transpose()?.unwrap_or(0),
            above: self.above.as_ref().map(pattern).transpose()?,
            early_prompt: self.early_prompt,
            prepare: self.prepare.clone(),
            pagers: self.pagers.iter().map(pager).collect::<Result<_, String>>()?,
            dialog: self.dialog.iter().map(dialog).collect::<Result<_, String>>()?,
            questions: patterns(&self.questions)?,
            errors: self.errors.iter().map(error).collect::<Result<_, String>>()?,
            interrupt: self.interrupt.clone(),
            grammar: Grammar::compile(&self.commands, &self.title)?,
            secrets: patterns(&self.secrets)?,
            protocols: self.protocols.clone(),
            intents: self.intents.iter().filter_map(|(intent, by)| Some((*intent, by.clone()?))).collect(),
            volatile: patterns(&self.volatile)?,
        })
    }
}

pub(crate) fn compiled(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .unicode(false)
        .build()
        .map_err(|error| format!("the pattern {text:?} does not compile: {error}"))
}
