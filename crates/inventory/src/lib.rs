//! Inventories that others keep, made into ours: the SSH client's configuration, Ansible, Nornir, netmiko's tools, CSV.
//!
//! Text goes in and comes out; files and programs are the caller's. Nothing secret is ever taken over: whoever logs in is
//! named in our own configuration, and what looks like a password in a source is left there.

mod ansible;
mod csv_table;
mod difference;
mod file;
mod fit;
mod notes;
mod ssh_config;
mod yaml;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub use crate::{
    ansible::Beside,
    difference::{Change, Difference},
    fit::How,
    ssh_config::with_includes,
};

/// The members of a device or a group, as the `devices` section of the configuration has them.
pub type Members = Map<String, Value>;

/// What an inventory file of ours holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// What devices have in common, by the name of their group.
    pub groups: BTreeMap<String, Members>,
    /// The devices, by name.
    pub devices: BTreeMap<String, Members>,
}

/// The form of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML: ours, Nornir's, that of netmiko's tools, or Ansible's; its members tell which.
    Yaml,
    /// The configuration of the OpenSSH client (ssh_config(5)).
    SshConfig,
    /// Ansible's INI.
    AnsibleIni,
    /// What `ansible-inventory --list` prints.
    AnsibleList,
    /// A table with a header; `,`, `;` or tabs between its columns.
    Csv,
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ImportError(pub String);

/// What a source says, made ours.
#[derive(Debug)]
pub struct Imported {
    /// The devices and groups.
    pub inventory: Inventory,
    /// What the reader should know: what was left out, and why.
    pub notes: Vec<String>,
}

/// A host as its source describes it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Host {
    address: Option<String>,
    port: Option<u16>,
    /// By whichever name the source has for it.
    platform: Option<String>,
    /// The name of a login of ours.
    login: Option<String>,
    /// Who logs in there, by the name of the user.
    user: Option<String>,
    via: Vec<String>,
    is_telnet: bool,
    algorithms: Option<&'static str>,
    groups: Vec<String>,
    labels: BTreeMap<String, String>,
}

/// What a source says.
#[derive(Debug, Default)]
struct Found {
    hosts: BTreeMap<String, Host>,
    /// Where the source is of our own form already.
    ready: Inventory,
    notes: notes::Notes,
}

/// Tells the form of a source from its name and its text.
#[must_use]
pub fn guess(name: &str, text: &str) -> Format {
    let (name, text) = (name.to_ascii_lowercase(), text.trim_start());
    let ends = |all: &[&str]| all.iter().any(|end| name.ends_with(end));
    let first = |line: &str| line.split([' ', '\t', '=']).next().unwrap_or_default().to_ascii_lowercase();
    let is_ssh = |line: &str| matches!(first(line.trim()).as_str(), "host" | "include" | "match");
    if ends(&[".csv", ".tsv"]) {
        Format::Csv
    } else if ends(&[".yml", ".yaml"]) {
        Format::Yaml
    } else if text.starts_with('{') {
        Format::AnsibleList
    } else if name.contains(".ssh/") || name.ends_with("ssh_config") || text.lines().any(is_ssh) {
        Format::SshConfig
    } else {
        Format::AnsibleIni
    }
}

/// Whether a source is Ansible's, which its own tools read better than we do.
#[must_use]
pub fn is_ansible(format: Format, text: &str) -> bool {
    match format {
        Format::AnsibleIni => true,
        Format::Yaml => yaml::is_ansible(text),
        Format::SshConfig | Format::AnsibleList | Format::Csv => false,
    }
}

/// Reads a source. `beside` reads what a source refers to: Ansible's `group_vars`, Nornir's `groups.yaml`.
///
/// Error: the text is not of this form; the sentence says where.
pub fn import(
    format: Format,
    text: &str,
    beside: Beside<'_>,
    how: &How<'_>,
) -> Result<Imported, ImportError> {
    let text = text.trim_start_matches('\u{feff}');
    let found = match format {
        Format::Yaml => yaml::read(text, beside)?,
        Format::SshConfig => ssh_config::read(text)?,
        Format::AnsibleIni => ansible::ini::read(text, beside)?,
        Format::AnsibleList => ansible::list::read(text)?,
        Format::Csv => csv_table::read(text)?,
    };
    Ok(fit::fit(found, how))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
