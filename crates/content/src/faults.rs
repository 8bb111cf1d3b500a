use std::fmt::Display;

use tool::{ConfigFault, json::push_pointer, nearest};

/// What is wrong with a section, as it is found.
#[derive(Default)]
pub(crate) struct Faults(pub(crate) Vec<ConfigFault>);

impl Faults {
    /// Adds a fault at a place.
    pub(crate) fn add(&mut self, at: &[&str], text: impl Into<String>) {
        self.0.push(ConfigFault::new(pointer(at), text));
    }

    /// Adds a fault and what to do about it.
    pub(crate) fn add_with(&mut self, at: &[&str], text: impl Into<String>, hint: impl Into<String>) {
        self.0.push(ConfigFault::new(pointer(at), text).hint(hint));
    }

    /// Adds a fault for a name that points nowhere, and what may have been meant.
    pub(crate) fn unknown(&mut self, at: &[&str], what: &str, name: &str, known: &[&str]) {
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None if known.is_empty() => format!("no {what} is declared"),
            None => format!("there is {}", known.join(", ")),
        };
        self.add_with(at, format!("there is no {what} {name:?}"), hint);
    }

    /// The value, or nothing and a fault at a place.
    pub(crate) fn take<T, E: Display>(&mut self, at: &[&str], result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(at, error.to_string())).ok()
    }
}

/// A pointer into the configuration.
pub(crate) fn pointer(at: &[&str]) -> String {
    let mut text = String::new();
    for part in at {
        push_pointer(&mut text, part);
    }
    text
}
