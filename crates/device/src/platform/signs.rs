//! What tells platforms apart: what devices of each answer when they are asked what they are.

use std::sync::OnceLock;

use regex::bytes::Regex;

use super::{Platform, compiled, table::FILES};

/// What a device of one platform answers.
#[derive(Debug)]
pub(crate) struct Sign {
    /// The name of the platform.
    pub(crate) platform: &'static str,
    /// What is asked.
    pub(crate) ask: &'static str,
    /// What a line of the answer fits.
    pub(crate) line: Regex,
}

impl Sign {
    /// The line of an answer that shows it.
    pub(crate) fn shown_in<'a>(&self, answer: &'a str) -> Option<&'a str> {
        answer.lines().map(str::trim).find(|line| self.line.is_match(line.as_bytes()))
    }
}

/// Every sign, by the name of its platform.
pub(crate) fn signs() -> &'static [Sign] {
    static SIGNS: OnceLock<Vec<Sign>> = OnceLock::new();
    SIGNS.get_or_init(|| {
        let all = FILES.iter().flat_map(|file| file.signs.iter().map(move |sign| (file.name, sign)));
        all.map(|(platform, (ask, line))| match compiled(line) {
            Ok(line) => Sign { platform, ask, line },
            // The files are part of the program, and a test compiles them all.
            Err(error) => unreachable!("{platform}: {error}"),
        })
        .collect()
    })
}

impl Platform {
    /// Whether a line may be the prompt of a device of this platform.
    pub(crate) fn may_prompt(&self, line: &str) -> bool {
        self.modes.iter().any(|mode| mode.prompt.is_match(line.as_bytes()))
    }
}
