//! What is wrong with a configuration, and how it is shown: all of it, with the place, what was expected and
//! what may have been meant. The values of `${..}` are never shown, and neither is what looks like a secret.

use std::{fmt::Write as _, sync::LazyLock};

use regex::{Captures, Regex};
use serde_json::{Value, json};
use tool::ConfigFault;

/// A place in a file: line and column from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
    /// How many characters are meant; shown as far as the line goes.
    pub width: u32,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What it is about: an RFC 6901 pointer.
    pub pointer: String,
    /// What is wrong and what was expected.
    pub text: String,
    /// What may have been meant, or what to do.
    pub hint: Option<String>,
    /// Where in the file.
    pub place: Option<Place>,
    /// The environment variable that the value came from, in the environment mode.
    pub variable: Option<String>,
}

impl Problem {
    /// A problem whose place is not known yet.
    pub(crate) fn new(pointer: impl Into<String>, text: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), text: text.into(), hint: None, place: None, variable: None }
    }

    /// Where it comes among others: in the order of the file.
    pub(crate) fn order(&self) -> (u32, u32) {
        self.place.map_or((u32::MAX, 0), |at| (at.line, at.column))
    }

    /// True where both say the same of the same: two steps may come by one thing.
    fn says_the_same(&self, other: &Self) -> bool {
        let is_known = self.place.is_some() || self.variable.is_some();
        let same_place = (self.place, &self.variable) == (other.place, &other.variable);
        self.text == other.text && same_place && (is_known || self.pointer == other.pointer)
    }

    /// Adds what may have been meant.
    pub(crate) fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

impl From<ConfigFault> for Problem {
    fn from(fault: ConfigFault) -> Self {
        Self::new(fault.pointer, fault.text).hint(fault.hint)
    }
}

/// Everything that is wrong with one configuration.
#[derive(Debug)]
pub(crate) struct Problems {
    /// The file as it was named, or `environment`.
    pub file: String,
    /// Its text, for excerpts.
    pub text: String,
    /// What is wrong, in the order of the file; never empty.
    pub list: Vec<Problem>,
}

/// Whether colours are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    /// ANSI colours, for a terminal.
    On,
    /// Plain text.
    Off,
}

impl Problems {
    /// These problems, each once and in the order of the file.
    pub(crate) fn sorted(file: &str, text: &str, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(Problem::order);
        let mut once: Vec<Problem> = Vec::with_capacity(list.len());
        for problem in list {
            if !once.iter().any(|other| other.says_the_same(&problem)) {
                once.push(problem);
            }
        }
        Self { file: file.to_owned(), text: text.to_owned(), list: once }
    }

    /// One problem that has no place in the file.
    pub(crate) fn single(file: &str, text: impl Into<String>) -> Self {
        Self { file: file.to_owned(), text: String::new(), list: vec![Problem::new("", text)] }
    }

    /// The problems for a person.
    pub(crate) fn render(&self, colours: Colours) -> String {
        let paint = Paint(colours);
        let mut out = String::new();
        for problem in &self.list {
            self.render_one(&mut out, problem, paint);
            out.push('\n');
        }
        let count = self.list.len();
        let s = if count == 1 { "" } else { "s" };
        let _ = writeln!(out, "{}: {count} problem{s}", self.file);
        out
    }

    /// The problems for a program: `{file, problems: [{line, column, pointer, error, hint}]}`.
    pub(crate) fn to_json(&self) -> Value {
        let problems: Vec<Value> = self
            .list
            .iter()
            .map(|p| {
                json!({
                    "line": p.place.map(|at| at.line),
                    "column": p.place.map(|at| at.column),
                    "variable": p.variable,
                    "pointer": p.pointer,
                    "error": p.text,
                    "hint": p.hint,
                })
            })
            .collect();
        json!({ "file": self.file, "problems": problems })
    }

    /// The problems as single lines, `file:line:column: text`, for the log.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.list.iter().map(|p| format!("{}: {}{}", self.locate(p), p.text, hint_in_line(p))).collect()
    }

    fn locate(&self, problem: &Problem) -> String {
        match (&problem.variable, problem.place) {
            (Some(variable), _) => format!("{}: {variable}", self.file),
            (None, Some(at)) => format!("{}:{}:{}", self.file, at.line, at.column),
            (None, None) => self.file.clone(),
        }
    }

    fn render_one(&self, out: &mut String, problem: &Problem, paint: Paint) {
        let _ = writeln!(out, "{} {}", paint.red("error:"), paint.bold(&problem.text));
        let at = if problem.pointer.is_empty() { String::new() } else { format!(" ({})", problem.pointer) };
        let _ = writeln!(out, "  {} {}{at}", paint.blue("-->"), self.locate(problem));
        if let Some(place) = problem.place {
            self.render_excerpt(out, place, paint);
        }
        if let Some(hint) = &problem.hint {
            let _ = writeln!(out, "  {} {hint}", paint.blue("help:"));
        }
    }

    fn render_excerpt(&self, out: &mut String, place: Place, paint: Paint) {
        let Some(line) = self.text.lines().nth(place.line.saturating_sub(1) as usize) else { return };
        let (line, column) = excerpt(line, place.column.saturating_sub(1) as usize);
        let width = (place.width as usize).min(line.chars().count().saturating_sub(column)).max(1);
        let number = place.line.to_string();
        let gap = " ".repeat(number.len());
        let _ = writeln!(out, " {gap} {}", paint.blue("|"));
        let _ = writeln!(out, " {} {} {line}", paint.blue(&number), paint.blue("|"));
        let caret = format!("{}{}", " ".repeat(column), paint.red(&"^".repeat(width)));
        let _ = writeln!(out, " {gap} {} {caret}", paint.blue("|"));
    }
}

fn hint_in_line(problem: &Problem) -> String {
    problem.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default()
}

/// The most characters of a source line that are shown.
const LINE_CHARS_MAX: usize = 110;

/// A source line fit to be shown, and where the column went: tabs as one space, control characters gone, what
/// looks like a secret masked, long lines cut around the column.
fn excerpt(line: &str, column: usize) -> (String, usize) {
    let shown: Vec<char> =
        mask(line).chars().map(|c| if c.is_control() || tool::is_invisible(c) { ' ' } else { c }).collect();
    let column = column.min(shown.len());
    if shown.len() <= LINE_CHARS_MAX {
        return (shown.into_iter().collect::<String>().trim_end().to_owned(), column);
    }
    let start = column.saturating_sub(LINE_CHARS_MAX / 2);
    let end = shown.len().min(start + LINE_CHARS_MAX);
    (shown[start..end].iter().collect(), column - start)
}

/// A member whose name looks like a secret's, up to its value, and the value.
static SECRET: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?i)([a-z0-9_-]*(?:passw|passphrase|secret|token|bearer|api[_-]?key|private[_-]?key)[a-z0-9_-]*["']?\s*:\s*)([^\s{$#&*|>][^,}]*)"#,
    )
    .expect("the pattern is a constant")
});

/// Covers the values after names that look like a secret's, unless they are a `${..}` or a reference. The number
/// of characters stays, so that carets stay right.
fn mask(line: &str) -> String {
    let cover = |found: &Captures<'_>| format!("{}{}", &found[1], "*".repeat(found[2].chars().count()));
    SECRET.replace_all(line, cover).into_owned()
}

#[derive(Clone, Copy)]
struct Paint(Colours);

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        match self.0 {
            Colours::On => format!("\x1b[{code}m{text}\x1b[0m"),
            Colours::Off => text.to_owned(),
        }
    }

    fn red(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    fn blue(self, text: &str) -> String {
        self.wrap("34", text)
    }

    fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }
}
