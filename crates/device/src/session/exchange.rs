//! One thing that is typed, and what is waited for in return.

use std::time::{Duration, Instant};

use regex::bytes::Regex;

use super::Bounds;
use crate::platform::{Fill, Platform, Step};

/// How many lines after the one that was typed on may come before its echo: messages that the device printed meanwhile.
const ROWS_BEFORE_ECHO_MAX: usize = 40;

/// What an exchange is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The first prompt.
    Login,
    /// Another mode.
    Mode,
    /// No paging, and the like. What comes of it is not looked at.
    Prepare,
    /// A command that someone asked for.
    Command,
}

/// Whether the device has answered what was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// A prompt now is the one after it.
    Yes,
    /// A prompt now may be the one from before.
    Perhaps,
    /// A prompt now is the one from before.
    NotYet,
}

/// One exchange.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) purpose: Purpose,
    /// What is typed; nothing where only the first prompt is waited for.
    pub(super) line: Option<String>,
    /// The question on the way, and what fills it in.
    pub(super) ask: Option<(Regex, Fill)>,
    /// The mode that it leads to.
    pub(super) target: Option<usize>,
    pub(super) filled: Vec<Fill>,
    pub(super) questions: u32,
    pub(super) pages: u32,
    /// It was broken off.
    pub(super) interrupted: bool,
    /// The line was emptied that the device had filled with the command again.
    pub(super) cleared: bool,
    /// Its output is more than is kept.
    pub(super) cut: bool,
    /// Why it was broken off, where that is an error.
    pub(super) failed: Option<super::SessionError>,
    pub(super) began: Instant,
    /// When it ends at the latest, where that is not what the bounds say.
    pub(super) ends: Option<Instant>,
    pub(super) looked_at: Option<Instant>,
    /// How often the screen had been wiped before it.
    pub(super) wiped_before: u64,
    /// The row it was typed on.
    typed_on: u64,
    /// How many of the lines above belong to the echo and what came before it.
    echo_lines: Option<usize>,
}

impl Exchange {
    fn new(purpose: Purpose, line: Option<&str>, now: Instant) -> Self {
        Self {
            purpose,
            line: line.map(str::to_owned),
            ask: None,
            target: None,
            filled: Vec::new(),
            questions: 0,
            pages: 0,
            interrupted: false,
            cleared: false,
            cut: false,
            failed: None,
            began: now,
            ends: None,
            looked_at: None,
            wiped_before: 0,
            typed_on: 0,
            echo_lines: None,
        }
    }

    pub(super) fn login(now: Instant) -> Self {
        Self::new(Purpose::Login, None, now)
    }

    pub(super) fn prepare(line: &str, now: Instant) -> Self {
        Self::new(Purpose::Prepare, Some(line), now)
    }

    pub(super) fn command(line: &str, now: Instant) -> Self {
        Self::new(Purpose::Command, Some(line), now)
    }

    pub(super) fn mode(step: &Step, now: Instant) -> Self {
        let mut exchange = Self::new(Purpose::Mode, Some(&step.send), now);
        exchange.ask.clone_from(&step.ask);
        exchange.target = Some(step.to);
        exchange
    }

    pub(super) fn begin(&mut self, now: Instant, row: u64, wiped: u64) {
        self.began = now;
        self.typed_on = row;
        self.wiped_before = wiped;
    }

    /// A question was answered on this row: what comes after it is new.
    pub(super) fn asked_on(&mut self, row: u64) {
        self.typed_on = row;
        // Secrets are not echoed.
        self.echo_lines.get_or_insert(0);
    }

    pub(super) fn ends_at(&self, bounds: &Bounds) -> Instant {
        let most = match self.purpose {
            Purpose::Login => bounds.login_max,
            _ => bounds.command_max,
        };
        self.ends.unwrap_or(self.began + most)
    }

    pub(super) fn silence_max(&self, bounds: &Bounds) -> Duration {
        match self.purpose {
            Purpose::Login => bounds.login_max,
            _ => bounds.silence_max,
        }
    }

    /// Looks for the echo among the lines that are done.
    pub(super) fn find_echo(&mut self, above: &str, row: u64) {
        let Some(line) = &self.line else { return };
        if self.echo_lines.is_some() || row == self.typed_on {
            return;
        }
        let typed = squashed(line);
        let echoed = |shown: &str| typed.is_empty() || squashed(shown).ends_with(&typed);
        let at = above.lines().take(ROWS_BEFORE_ECHO_MAX).position(echoed);
        self.echo_lines = at.map(|at| at + 1);
    }

    /// Whether a prompt in this row may be the one after what was typed.
    pub(super) fn is_answered(&self, row: u64) -> Answered {
        match (&self.line, self.echo_lines) {
            (None, None) => Answered::Yes,
            _ if self.interrupted => Answered::Perhaps,
            (_, Some(_)) if row > self.typed_on => Answered::Yes,
            (Some(_), _) if row > self.typed_on => Answered::Perhaps,
            _ => Answered::NotYet,
        }
    }

    /// Whether the device has put the command behind its new prompt, as some do with one that they do not take.
    pub(super) fn is_left_standing(&self, line: &str, prompt: Option<&str>, quiet: Duration) -> bool {
        let (Some(typed), Some(prompt)) = (&self.line, prompt) else { return false };
        let behind = line.strip_prefix(prompt).map(squashed);
        !self.cleared
            && quiet >= super::SETTLE
            && self.echo_lines.is_some()
            && behind.is_some_and(|behind| !behind.is_empty() && behind == squashed(typed))
    }

    /// Whether anything stands among the lines that are done but the echo.
    pub(super) fn has_output(&self, above: &str) -> bool {
        above.lines().skip(self.lines_of_echo()).any(|line| !line.trim().is_empty())
    }

    /// How many lines the echo takes.
    fn lines_of_echo(&self) -> usize {
        self.echo_lines.unwrap_or(usize::from(self.line.is_some()))
    }

    /// The output among the lines that are done.
    pub(super) fn text(&self, above: &str, platform: &Platform) -> String {
        let mut lines: Vec<&str> = above.lines().collect();
        let echo = self.lines_of_echo().min(lines.len());
        lines.drain(..echo);
        let is_prompt =
            |line: &str| platform.above.as_ref().is_some_and(|above| above.is_match(line.as_bytes()));
        while lines.last().is_some_and(|line| line.trim().is_empty() || is_prompt(line.trim_end())) {
            lines.pop();
        }
        let blank = lines.iter().take_while(|line| line.trim().is_empty()).count();
        lines.drain(..blank);
        lines.join("\n")
    }
}

/// A line without its blanks: devices break and space what they echo.
fn squashed(line: &str) -> String {
    line.chars().filter(|c| !c.is_whitespace()).collect()
}
