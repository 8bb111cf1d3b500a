//! Runs TextFSM templates: what a network device prints becomes records.
//!
//! The language is that of Google's TextFSM 2.1 (<https://github.com/google/textfsm/wiki/TextFSM>), with the index of
//! templates that its CliTable reads and that the `ntc-templates` package ships. Templates are written in the dialect
//! of Python's `re`; `pattern.rs` translates it.
//!
//! Invariants: a text costs no more than [`Limits`] say, in bytes, in steps and in records. Without lookaround a rule
//! takes time linear in its line; with it, a bounded number of steps. Nothing here panics, whatever template or text
//! it is given. What went wrong is said ([`Status`]), never passed over as an empty result.

mod error;
mod library;
mod limits;
mod pattern;
mod run;
mod table;
mod template;

pub use crate::{
    error::{RunError, TemplateError},
    library::{Library, LibraryError, Parsed, Status},
    limits::Limits,
    table::{Cell, Groups, Item, Records, Style, Table},
    template::{Template, Value},
};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
mod tests;
