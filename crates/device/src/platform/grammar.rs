//! What a command does, told before it is sent.
//!
//! Devices take `sh ver` for `show version` and `wr er` for the end of the network, so words are judged by what they may
//! stand for: a first word counts as the one word of the platform's table that it begins, and as nothing where it begins
//! several. What is not in the table is refused. So is every character that a command line or a shell takes for more
//! than itself.

use std::collections::BTreeMap;

use regex::bytes::Regex;
use serde::Deserialize;

use super::definition::compiled;

/// The longest command, in bytes.
pub(crate) const COMMAND_BYTES_MAX: usize = 1000;

/// What acts behind a `|` on some command line or other.
const ACTING: &[&str] = &[
    "append", "bash", "cat", "copy", "email", "file", "ftp", "less", "more", "redirect", "repeat", "run",
    "save", "scp", "sftp", "sh", "tail", "tee", "tftp", "vi", "vim", "watch",
];

/// What begins another command, goes somewhere else or asks for help as it is typed.
const REFUSED: &str = "`;&<>\\?";

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    /// It shows, and changes nothing.
    Show,
    /// It changes the configuration, or leads to where that is done.
    Config,
    /// It does something else: it sends, clears, copies, restarts.
    Exec,
}

impl Class {
    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Show => "show",
            Self::Config => "config",
            Self::Exec => "exec",
        }
    }
}

/// A command that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Classed {
    /// What it does.
    pub(crate) class: Class,
    /// It with its verbs and filters written out, one blank between words: what rules and the audit go by, and what is
    /// sent.
    pub(crate) expanded: String,
}

/// Why a command is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the command is empty")]
    Empty,
    #[error("the command is longer than {COMMAND_BYTES_MAX} bytes")]
    TooLong,
    #[error("the command holds {0}; a command is one line of printable ASCII")]
    Unprintable(String),
    #[error("{0:?} is refused in commands: it may begin another command, write a file or ask for help")]
    Character(char),
    #[error("{word:?} is no command that is known of {platform}")]
    Unknown { word: String, platform: String },
    #[error("{word:?} may mean {}; write it out", candidates.join(" or "))]
    Ambiguous { word: String, candidates: Vec<String> },
    #[error("{0:?} is no filter that is known here; known are {1}")]
    UnknownFilter(String, String),
    #[error("the filter {0:?} writes somewhere or runs something")]
    Filter(String),
    #[error("the filter {0:?} takes one word here, and no path or option")]
    FilterWords(String),
    #[error("{0:?} does more than show, or does not end")]
    Trap(String),
    #[error("{0:?} is refused: {1}")]
    Never(String, String),
}

/// As it stands in the file of a platform.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrammarDefinition {
    /// First words and what they do.
    #[serde(default)]
    verbs: BTreeMap<String, Class>,
    /// First words that may stand before the command itself: `do`.
    #[serde(default)]
    lead: Vec<String>,
    /// Patterns of whole commands that only show, whatever their first word.
    #[serde(default)]
    reads: Vec<String>,
    /// Words that make a command one that does not only show, wherever they or what they begin with stand in it, whatever
    /// `reads` says: for command lines whose verb stands at the end.
    #[serde(default)]
    acts: Vec<String>,
    /// Patterns of whole commands, without their filters, that do more than show although their first word shows: they
    /// write a file, follow a log, set something back.
    #[serde(default)]
    traps: Vec<String>,
    /// Beginnings of commands that are never sent, and why. Each word of one is met by all that it begins with. Nothing
    /// as the reason takes back what was taken over.
    #[serde(default)]
    never: BTreeMap<String, Option<String>>,
    /// What may stand behind a `|`, and whether it only filters.
    #[serde(default)]
    filters: BTreeMap<String, Filter>,
    /// More characters that are refused.
    #[serde(default)]
    refused: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Filter {
    /// It lets through a part of the output.
    Passes,
    /// It does so with one word; with a path or an option it does more.
    Bare,
    /// It writes, sends or runs something, or never ends.
    Acts,
}

/// What commands of a platform do.
#[derive(Debug)]
pub(crate) struct Grammar {
    platform: String,
    verbs: BTreeMap<String, Class>,
    lead: Vec<String>,
    reads: Vec<Regex>,
    acts: Vec<String>,
    traps: Vec<Regex>,
    never: Vec<(Vec<String>, String)>,
    filters: BTreeMap<String, Filter>,
    refused: String,
}

impl Grammar {
    pub(super) fn compile(definition: &GrammarDefinition, platform: &str) -> Result<Self, String> {
        let read = |text: &String| compiled(&format!("^(?:{text})$"));
        let words = |text: &str| text.split(' ').map(str::to_owned).collect();
        let never = |(text, why): (&String, &Option<String>)| Some((words(text), why.clone()?));
        Ok(Self {
            platform: platform.to_owned(),
            verbs: definition.verbs.clone(),
            lead: definition.lead.clone(),
            reads: definition.reads.iter().map(read).collect::<Result<_, _>>()?,
            acts: definition.acts.clone(),
            traps: definition.traps.iter().map(read).collect::<Result<_, _>>()?,
            never: definition.never.iter().filter_map(never).collect(),
            filters: definition.filters.clone(),
            refused: format!("{REFUSED}{}", definition.refused),
        })
    }

    /// Says what a command does.
    pub(super) fn classify(&self, command: &str) -> Result<Classed, Refused> {
        self.check_characters(command)?;
        let mut stages = self.stages(command).into_iter();
        let (class, mut expanded) = self.head(&stages.next().unwrap_or_default())?;
        for stage in stages {
            expanded.push_str(" | ");
            expanded.push_str(&self.filter(&stage)?);
        }
        Ok(Classed { class, expanded })
    }

    fn check_characters(&self, command: &str) -> Result<(), Refused> {
        if command.len() > COMMAND_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        for c in command.chars() {
            if !matches!(c, ' '..='~') {
                let name = match c {
                    '\n' | '\r' => "a line end".to_owned(),
                    '\t' => "a tab".to_owned(),
                    c if c.is_control() => format!("the control character U+{:04X}", u32::from(c)),
                    c => format!("U+{:04X}", u32::from(c)),
                };
                return Err(Refused::Unprintable(name));
            }
            if self.refused.contains(c) {
                return Err(Refused::Character(c));
            }
        }
        Ok(())
    }

    /// The command and what it is piped through. A `|` without a blank on either side is part of a filter's pattern, unless
    /// what follows may be a filter, or is a word that elsewhere is one that acts.
    fn stages(&self, command: &str) -> Vec<String> {
        let mut stages = vec![String::new()];
        let pieces: Vec<&str> = command.split('|').collect();
        for (index, piece) in pieces.iter().enumerate() {
            let before = index.checked_sub(1).map(|at| pieces[at]);
            let first = piece.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
            let is_pipe = before.is_some_and(|before| {
                before.ends_with(' ')
                    || before.trim().is_empty()
                    || piece.starts_with(' ')
                    || first.is_empty()
                    || stages.len() == 1
                    || ACTING.contains(&first.as_str())
                    || self
                        .filters
                        .keys()
                        .any(|filter| filter.starts_with(&first) || first.starts_with(filter))
            });
            match stages.last_mut() {
                Some(last) if before.is_some() && !is_pipe => {
                    last.push('|');
                    last.push_str(piece);
                }
                Some(last) if before.is_none() => last.push_str(piece),
                _ => stages.push((*piece).to_owned()),
            }
        }
        stages
    }

    /// The command itself, written out.
    fn head(&self, stage: &str) -> Result<(Class, String), Refused> {
        let mut words: Vec<String> = stage.split_whitespace().map(str::to_owned).collect();
        while words.first().is_some_and(|word| self.lead.iter().any(|lead| is_beginning(word, lead))) {
            words.remove(0);
        }
        let first = words.first().ok_or(Refused::Empty)?.clone();
        let as_typed = words.join(" ");
        let class = match written_out(&first, self.verbs.keys()) {
            Ok(verb) => {
                words[0].clone_from(verb);
                Ok(self.verbs[verb])
            }
            Err(candidates) if candidates.is_empty() => {
                Err(Refused::Unknown { word: first, platform: self.platform.clone() })
            }
            Err(candidates) => Err(Refused::Ambiguous { word: first, candidates }),
        };
        let expanded = words.join(" ");
        let met = |never: &[String]| {
            never.len() <= words.len()
                && never.iter().zip(&words).all(|(never, word)| is_beginning(word, never))
        };
        if let Some((never, why)) = self.never.iter().find(|(never, _)| met(never)) {
            return Err(Refused::Never(never.join(" "), why.clone()));
        }
        if self
            .traps
            .iter()
            .any(|trap| trap.is_match(expanded.as_bytes()) || trap.is_match(as_typed.as_bytes()))
        {
            return Err(Refused::Trap(expanded));
        }
        let only_shows = |text: &str| self.reads.iter().any(|read| read.is_match(text.as_bytes()));
        let is_acting = |word: &str| {
            let whole = word.split('-').next().unwrap_or_default();
            self.acts.iter().any(|act| is_beginning(word, act) || whole.eq_ignore_ascii_case(act))
        };
        // Where the path of a command may be typed as one word, each of its parts is a word.
        let acts = words.iter().flat_map(|word| word.split('/')).any(is_acting);
        match !acts && (only_shows(&expanded) || only_shows(&as_typed)) {
            true => Ok((Class::Show, expanded)),
            false => Ok((class?, expanded)),
        }
    }

    fn filter(&self, stage: &str) -> Result<String, Refused> {
        let mut words: Vec<&str> = stage.split_whitespace().collect();
        let known = || self.filters.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let first = words.first().copied().unwrap_or_default().to_owned();
        let filter = match written_out(&first, self.filters.keys()) {
            Ok(filter) => filter,
            Err(candidates) if candidates.is_empty() => return Err(Refused::UnknownFilter(first, known())),
            Err(candidates) => return Err(Refused::Ambiguous { word: first, candidates }),
        };
        match self.filters[filter] {
            Filter::Acts => Err(Refused::Filter(filter.clone())),
            Filter::Bare
                if words.len() > 2
                    || words.iter().any(|word| word.starts_with('-') || word.contains('/')) =>
            {
                Err(Refused::FilterWords(filter.clone()))
            }
            Filter::Passes | Filter::Bare => {
                words[0] = filter;
                Ok(words.join(" "))
            }
        }
    }
}

/// Whether a word may be typed for another: it begins it. Devices know no case.
fn is_beginning(typed: &str, whole: &str) -> bool {
    !typed.is_empty() && whole.to_ascii_lowercase().starts_with(&typed.to_ascii_lowercase())
}

/// The one word of a table that a typed word stands for.
///
/// Error: those that it may stand for; none or several.
fn written_out<'a>(typed: &str, table: impl Iterator<Item = &'a String>) -> Result<&'a String, Vec<String>> {
    let fits: Vec<&String> = table.filter(|whole| is_beginning(typed, whole)).collect();
    let exact = fits.iter().find(|whole| whole.eq_ignore_ascii_case(typed));
    match (exact, fits.as_slice()) {
        (Some(whole), _) => Ok(whole),
        (None, [one]) => Ok(one),
        _ => Err(fits.into_iter().cloned().collect()),
    }
}
