use thiserror::Error;

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct TemplateError {
    /// The line of the template, from 1; 0 where it is the whole of it.
    pub line: u32,
    /// What, and what is expected there.
    pub what: String,
}

impl TemplateError {
    pub(crate) fn new(line: u32, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }
}

/// Why a text came to no records.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RunError {
    /// The template has an `Error` rule for such a line: it does not know this output.
    #[error("the template does not know line {text_line}, {text:?}{}", said(message.as_deref()))]
    Declared {
        /// What the rule says.
        message: Option<String>,
        /// The line of the text, from 1.
        text_line: usize,
        /// How it begins.
        text: String,
    },
    /// A rule is no regular expression, or one that is too large.
    #[error("{0}")]
    Template(#[from] TemplateError),
    /// A rule with lookaround went back and forth too often.
    #[error("the rule in line {rule_line} of the template takes too many steps for line {text_line}")]
    Backtracks {
        /// The line of the template.
        rule_line: u32,
        /// The line of the text, from 1.
        text_line: usize,
    },
    /// One of the [`Limits`](crate::Limits) was met.
    #[error("the text takes more than {most} {of}")]
    TooMuch {
        /// Of what.
        of: &'static str,
        /// The bound.
        most: u64,
    },
}

fn said(message: Option<&str>) -> String {
    message.map(|message| format!(": {message}")).unwrap_or_default()
}
