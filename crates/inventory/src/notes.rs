//! What the reader should know of an import: the same remark about a thousand hosts is one line.

use std::collections::BTreeMap;

/// The most hosts that a remark names.
const NAMED_MAX: usize = 3;

/// Remarks, each with the hosts that it is about.
#[derive(Debug, Default)]
pub(crate) struct Notes(BTreeMap<String, Vec<String>>);

impl Notes {
    /// Adds a remark about a host.
    pub(crate) fn add(&mut self, what: impl Into<String>, host: &str) {
        let hosts = self.0.entry(what.into()).or_default();
        if hosts.last().is_none_or(|last| last != host) {
            hosts.push(host.to_owned());
        }
    }

    /// Adds a remark about the whole.
    pub(crate) fn say(&mut self, what: impl Into<String>) {
        self.0.entry(what.into()).or_default();
    }

    pub(crate) fn lines(self) -> Vec<String> {
        self.0
            .into_iter()
            .map(|(what, hosts)| match hosts.len() {
                0 => what,
                n if n <= NAMED_MAX => format!("{what}: {}", hosts.join(", ")),
                n => format!("{what}: {} and {} more", hosts[..NAMED_MAX].join(", "), n - NAMED_MAX),
            })
            .collect()
    }
}
