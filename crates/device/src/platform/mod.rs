//! Platforms: what there is to know of a vendor's command line, as data.
//!
//! A platform is a YAML file in `platforms/`; `like: <name>` takes over what it does not say itself. Patterns are those
//! of the `regex` crate over bytes (`\w` is ASCII), and are held against one line without blanks at its end.

mod definition;
mod grammar;
mod signs;
mod table;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use regex::bytes::Regex;

use self::{
    definition::Definition,
    grammar::Grammar,
    table::{FILES, File},
};
pub(crate) use self::{
    definition::compiled,
    definition::{AskedBy, Channel, ErrorClass, Fill, Intent},
    grammar::{COMMAND_BYTES_MAX, Class, Classed, Refused},
    signs::{Sign, signs},
};

/// A platform, ready to be used.
#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) name: String,
    pub(crate) title: String,
    /// What `textfsm` calls it.
    pub(crate) templates: String,
    pub(crate) channel: Channel,
    pub(crate) newline: String,
    pub(crate) login_suffix: String,
    pub(crate) modes: Vec<Mode>,
    /// The mode that commands are run in.
    pub(crate) home: usize,
    /// Lines that belong to the prompt where they stand above it.
    pub(crate) above: Option<Regex>,
    /// It shows its prompt before its answer, takes it away, and shows it again after it.
    pub(crate) early_prompt: bool,
    pub(crate) prepare: Vec<String>,
    pub(crate) pagers: Vec<Pager>,
    pub(crate) dialog: Vec<Dialog>,
    pub(crate) questions: Vec<Regex>,
    pub(crate) errors: Vec<(Regex, ErrorClass)>,
    pub(crate) interrupt: String,
    pub(crate) grammar: Grammar,
    pub(crate) secrets: Vec<Regex>,
    pub(crate) protocols: BTreeMap<String, String>,
    pub(crate) intents: BTreeMap<Intent, AskedBy>,
    pub(crate) volatile: Vec<Regex>,
}

/// A mode of a command line.
#[derive(Debug)]
pub(crate) struct Mode {
    pub(crate) name: String,
    pub(crate) prompt: Regex,
    /// What the line above the prompt must be.
    pub(crate) above: Option<Regex>,
    pub(crate) steps: Vec<Step>,
}

/// A way from one mode to another.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) to: usize,
    pub(crate) send: String,
    /// A question on the way, and what fills it in.
    pub(crate) ask: Option<(Regex, Fill)>,
}

/// A prompt of a pager, and the key that goes on.
#[derive(Debug)]
pub(crate) struct Pager {
    pub(crate) prompt: Regex,
    pub(crate) send: String,
}

/// A question between the login and the first prompt.
#[derive(Debug)]
pub(crate) struct Dialog {
    pub(crate) prompt: Regex,
    pub(crate) fill: Fill,
}

impl Platform {
    /// The mode whose prompt this is: the last line, and the one above it.
    pub(crate) fn mode_of(&self, line: &str, above: &str) -> Option<usize> {
        let fits = |mode: &Mode| {
            mode.prompt.is_match(line.as_bytes())
                && mode.above.as_ref().is_none_or(|pattern| pattern.is_match(above.as_bytes()))
        };
        self.modes.iter().position(fits)
    }

    /// The shortest way between two modes; `None` where there is none.
    pub(crate) fn way(&self, from: usize, to: usize) -> Option<Vec<&Step>> {
        let mut reached: BTreeMap<usize, Vec<&Step>> = BTreeMap::from([(from, Vec::new())]);
        let mut edge = vec![from];
        while !edge.is_empty() && !reached.contains_key(&to) {
            let mut next = Vec::new();
            for mode in edge {
                for step in &self.modes[mode].steps {
                    if !reached.contains_key(&step.to) {
                        let mut way = reached[&mode].clone();
                        way.push(step);
                        reached.insert(step.to, way);
                        next.push(step.to);
                    }
                }
            }
            edge = next;
        }
        reached.remove(&to)
    }

    /// What kind of error an output tells of, by the first of its lines that says so.
    pub(crate) fn error_in<'a>(&self, output: &'a str) -> Option<(ErrorClass, &'a str)> {
        let of = |line: &'a str| {
            let found = self.errors.iter().find(|(pattern, _)| pattern.is_match(line.trim_end().as_bytes()));
            found.map(|(_, class)| (*class, line.trim()))
        };
        output.lines().find_map(of)
    }

    /// What a command does.
    pub(crate) fn classify(&self, command: &str) -> Result<Classed, Refused> {
        self.grammar.classify(command)
    }
}

/// A platform that is known. Patterns are compiled when it is first used: nobody has devices of every vendor.
pub(crate) struct Known {
    file: &'static File,
    platform: OnceLock<Arc<Platform>>,
}

impl Known {
    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        self.file.name
    }

    /// Its name, what it is, and the names that others give it.
    pub(crate) fn names(&self) -> (&'static str, &'static str, &'static [&'static str]) {
        (self.file.name, self.file.title, self.file.aliases)
    }

    /// It, ready to be used.
    pub(crate) fn platform(&self) -> &Arc<Platform> {
        self.platform.get_or_init(|| match self.compile() {
            Ok(platform) => Arc::new(platform),
            // The files are part of the program, and a test compiles them all.
            Err(error) => unreachable!("{} does not compile: {error}", self.name()),
        })
    }

    fn compile(&self) -> Result<Platform, String> {
        let definition: Definition =
            serde_json::from_str(self.file.text).map_err(|error| error.to_string())?;
        definition.compile()
    }
}

/// Every platform, by its name and by the names that others give it.
pub(crate) fn known() -> &'static BTreeMap<&'static str, Arc<Known>> {
    static KNOWN: OnceLock<BTreeMap<&'static str, Arc<Known>>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let named = |file: &'static File| {
            let known = Arc::new(Known { file, platform: OnceLock::new() });
            file.aliases.iter().copied().chain([file.name]).map(move |name| (name, Arc::clone(&known)))
        };
        FILES.iter().flat_map(named).collect()
    })
}

/// A platform by any of its names, also with what netmiko puts behind one to say how a device is reached.
pub(crate) fn resolved(name: &str) -> Option<&'static Arc<Known>> {
    let bare = || name.strip_suffix("_ssh").or_else(|| name.strip_suffix(TELNET));
    known().get(name).or_else(|| known().get(bare()?))
}

/// What netmiko puts behind the name of a platform that is reached by telnet.
pub(crate) const TELNET: &str = "_telnet";

/// A platform by any of its names.
pub(crate) fn named(name: &str) -> Option<&'static Arc<Platform>> {
    resolved(name).map(|known| known.platform())
}

#[cfg(test)]
mod tests;
