//! What a command says, and how it ends.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    process::ExitCode,
};

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use crate::{
    config::{Colours, Problems},
    data,
};

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Failed or refused.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No server, and no data folder that could be used instead.
    Unreachable = 3,
    /// Not allowed.
    Denied = 4,
    /// Not now.
    Later = 5,
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How it ends.
    pub exit: Exit,
    /// What to say; empty where everything is said already.
    pub text: String,
    /// The same for a program, where there is more than the text.
    pub body: Option<Value>,
}

impl Failure {
    /// A failure with a sentence.
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into(), body: None }
    }

    /// A failure whose reasons are printed already.
    pub(crate) fn said(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// What a server answered instead of a result.
    pub(crate) fn answered(status: u16, body: Value) -> Self {
        let exit = match status {
            401 | 403 => Exit::Denied,
            429 | 502..=504 => Exit::Later,
            _ => Exit::Failed,
        };
        let text = body.get("error").and_then(Value::as_str).unwrap_or("the server gave no reason");
        let mut text = text.to_owned();
        if let Some(pointer) = body.get("pointer").and_then(Value::as_str).filter(|p| !p.is_empty()) {
            text = format!("{text} (at {pointer})");
        }
        if let Some(wait) = body.get("retry_after_seconds").filter(|wait| wait.is_number()) {
            text = format!("{text}; come back in {wait} s");
        }
        Self { exit, text, body: Some(body) }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failed, format!("{error:#}"))
    }
}

/// Where a command says things.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    /// JSON is wanted.
    pub json: bool,
    colours: bool,
}

impl Out {
    /// As the command line and the environment want it.
    pub(crate) fn new(json: bool, no_color: bool) -> Self {
        let refused = no_color || data::environment("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json, colours: !refused }
    }

    /// Data, as it is.
    pub(crate) fn data(&self, text: &str) {
        // A reader that went away (`| head`) is no failure of ours.
        let _ = io::stdout().lock().write_all(text.as_bytes());
        let _ = io::stdout().flush();
    }

    /// A line of data.
    pub(crate) fn line(&self, text: &str) {
        self.data(&format!("{text}\n"));
    }

    /// A message.
    pub(crate) fn note(&self, text: &str) {
        let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
    }

    /// A value: on one line for programs, spread out for people.
    pub(crate) fn value(&self, value: &Value) {
        if self.json || !io::stdout().is_terminal() {
            self.line(&value.to_string());
        } else {
            self.line(&format!("{value:#}"));
        }
    }

    /// Rows: a table for people, `rows` as JSON for programs.
    pub(crate) fn table(&self, header: &[&str], lines: Vec<Vec<String>>, rows: &Value) {
        if self.json {
            return self.line(&rows.to_string());
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(header.iter().map(|name| name.to_uppercase()));
        for line in lines {
            table.add_row(line.into_iter().map(|cell| plain(&cell)));
        }
        let lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
        self.line(&lines.join("\n"));
    }

    /// Whether a person sits at both ends.
    pub(crate) fn interactive(&self) -> bool {
        !self.json && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks a person whether to go on. Failure: the answer is no, or there is nobody to ask; `undone` says what was not
    /// done for that, and `instead` what to do where nobody sits.
    pub(crate) fn confirm(&self, question: &str, undone: &str, instead: &str) -> Result<(), Failure> {
        if !self.interactive() {
            let text = format!("{undone}: there is nobody here to ask; {instead}");
            return Err(Failure::new(Exit::Failed, text));
        }
        self.note(&format!("{question} [y/N]"));
        let mut answer = String::new();
        // An end of input is a no.
        let _ = io::stdin().lock().read_line(&mut answer);
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::new(Exit::Failed, undone)),
        }
    }

    /// Colours for messages.
    pub(crate) fn colours(&self) -> Colours {
        if self.colours && io::stderr().is_terminal() { Colours::On } else { Colours::Off }
    }

    /// Says what is wrong with a configuration.
    pub(crate) fn problems(&self, problems: &Problems) {
        if self.json {
            self.line(&problems.to_json().to_string());
        } else {
            self.note(problems.render(self.colours()).trim_end());
        }
    }

    /// Says a failure, and gives the code to end with.
    pub(crate) fn fail(&self, failure: &Failure) -> ExitCode {
        if !failure.text.is_empty() {
            if self.json {
                let body = failure.body.clone().unwrap_or_else(|| json!({ "error": failure.text }));
                self.line(&body.to_string());
            } else {
                self.note(&format!("portcullis: {}", plain(&failure.text)));
            }
        }
        ExitCode::from(failure.exit as u8)
    }
}

/// A text from elsewhere, fit for a terminal: no control characters but line ends and tabs.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}
