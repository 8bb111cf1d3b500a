//! Ansible's inventories: groups with hosts, children and variables, whichever form they are written in.

pub(crate) mod ini;
pub(crate) mod list;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::{Found, Host, ImportError, Members, file, fit, notes::Notes};

/// Reads a text beside the source, by its relative path; none where there is none.
pub type Beside<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The deepest that groups hold one another.
const DEPTH_MAX: usize = 32;
/// The most hosts of an inventory.
const HOSTS_MAX: usize = 100_000;
/// What Ansible says of itself in the variables of a host.
const MAGIC: &[&str] = &[
    "group_names",
    "inventory_dir",
    "inventory_file",
    "inventory_hostname",
    "inventory_hostname_short",
    "omit",
];

/// A group.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) hosts: BTreeSet<String>,
    pub(crate) children: BTreeSet<String>,
    pub(crate) vars: Map<String, Value>,
}

/// An inventory.
#[derive(Debug, Default)]
pub(crate) struct Ansible {
    pub(crate) groups: BTreeMap<String, Group>,
    /// The variables that hosts have of their own.
    pub(crate) hosts: BTreeMap<String, Map<String, Value>>,
}

impl Ansible {
    /// A group by its name, made where it is not there yet.
    pub(crate) fn group(&mut self, name: &str) -> &mut Group {
        self.groups.entry(name.to_owned()).or_default()
    }

    /// Adds a host to a group, with variables of its own.
    ///
    /// Error: there are too many.
    pub(crate) fn host(
        &mut self,
        group: &str,
        name: &str,
        vars: Map<String, Value>,
    ) -> Result<(), ImportError> {
        self.hosts.entry(name.to_owned()).or_default().extend(vars);
        if self.hosts.len() > HOSTS_MAX {
            return Err(ImportError(format!("it has more than {HOSTS_MAX} hosts")));
        }
        self.group(group).hosts.insert(name.to_owned());
        Ok(())
    }

    /// Adds what `group_vars` and `host_vars` beside the inventory say.
    pub(crate) fn add_files(&mut self, beside: Beside<'_>, notes: &mut Notes) {
        self.group("all");
        for (name, group) in &mut self.groups {
            add_file(&mut group.vars, beside, &format!("group_vars/{name}"), notes);
        }
        for (name, vars) in &mut self.hosts {
            add_file(vars, beside, &format!("host_vars/{name}"), notes);
        }
    }

    /// Makes hosts of it: the variables of a host count before those of its groups, those of a group before those of
    /// the groups above it.
    pub(crate) fn flatten(self, mut notes: Notes) -> Found {
        let mut depths = BTreeMap::new();
        for name in self.groups.keys() {
            self.deepen(name, 1, &mut depths);
        }
        let mut parents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, group) in &self.groups {
            group.children.iter().for_each(|child| parents.entry(child).or_default().push(name));
        }
        let mut found = Found::default();
        for (name, own) in &self.hosts {
            let mut groups: BTreeSet<&str> = BTreeSet::from(["all"]);
            let direct = self.groups.iter().filter(|(_, group)| group.hosts.contains(name));
            let mut open: Vec<&str> = direct.map(|(group, _)| group.as_str()).collect();
            while let Some(group) = open.pop() {
                if groups.insert(group) {
                    open.extend(parents.get(group).into_iter().flatten());
                }
            }
            let depth =
                |group: &str| if group == "all" { 0 } else { depths.get(group).copied().unwrap_or(1) };
            let mut ordered: Vec<&str> = groups.into_iter().collect();
            ordered.sort_by_key(|group| (depth(group), *group));
            let mut vars = Map::new();
            for group in &ordered {
                vars.extend(self.groups.get(*group).into_iter().flat_map(|group| group.vars.clone()));
            }
            vars.extend(own.clone());
            // With us the first that says something counts: the nearest group comes first.
            let named = ordered.iter().rev().filter(|group| !matches!(**group, "all" | "ungrouped"));
            let groups = named.map(|group| (*group).to_owned()).collect();
            if let Some(host) = host(name, &vars, groups, &mut notes) {
                found.hosts.insert(name.clone(), host);
            }
        }
        found.notes = notes;
        found
    }

    /// Notes how deep below `all` each group is, at the deepest.
    fn deepen<'a>(&'a self, name: &'a str, depth: usize, depths: &mut BTreeMap<&'a str, usize>) {
        let known = depths.entry(name).or_insert(0);
        if *known >= depth || depth > DEPTH_MAX {
            return;
        }
        *known = depth;
        for child in self.groups.get(name).into_iter().flat_map(|group| &group.children) {
            self.deepen(child, depth + 1, depths);
        }
    }
}

fn add_file(vars: &mut Members, beside: Beside<'_>, path: &str, notes: &mut Notes) {
    for ending in ["", ".yml", ".yaml", ".json"] {
        let Some(text) = beside(&format!("{path}{ending}")) else { continue };
        if text.starts_with("$ANSIBLE_VAULT") {
            notes.say(format!("{path}{ending} is encrypted and was not read"));
            continue;
        }
        match serde_saphyr::from_str::<Option<Map<String, Value>>>(&text) {
            Ok(more) => {
                for (name, value) in more.into_iter().flatten() {
                    vars.entry(name).or_insert(value);
                }
            }
            Err(error) => notes.say(format!("{path}{ending} was not read: {}", file::sentence(&error))),
        }
    }
}

fn text(vars: &Members, names: &[&str]) -> Option<String> {
    let value = names.iter().find_map(|name| vars.get(*name))?;
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty() && !text.contains("{{")).then_some(text)
}

/// A host by its variables; none for one that Ansible does not connect to.
fn host(name: &str, vars: &Members, groups: Vec<String>, notes: &mut Notes) -> Option<Host> {
    let connection = text(vars, &["ansible_connection"]).unwrap_or_default();
    let connection = connection.rsplit('.').next().unwrap_or_default();
    if matches!(connection, "local" | "docker" | "winrm" | "psrp") {
        notes.add(format!("left out, Ansible reaches it by {connection:?}"), name);
        return None;
    }
    let mut host = Host {
        address: text(vars, &["ansible_host", "ansible_ssh_host"]),
        platform: text(vars, &["ansible_network_os"]),
        user: text(vars, &["ansible_user", "ansible_ssh_user"]),
        groups,
        ..Host::default()
    };
    // The port of an API is not that of its SSH.
    if !matches!(connection, "httpapi" | "netconf" | "grpc") {
        host.port = text(vars, &["ansible_port", "ansible_ssh_port"]).and_then(|port| port.parse().ok());
    }
    if host.address.is_none() && vars.contains_key("ansible_host") {
        notes.add("its address is a template that only Ansible can fill in; its name is used", name);
    }
    for arguments in ["ansible_ssh_common_args", "ansible_ssh_extra_args"] {
        let Some(words) = text(vars, &[arguments]).and_then(|text| shlex::split(&text)) else { continue };
        hops(&words, name, &mut host, notes);
    }
    let mut secrets = 0;
    for (variable, value) in vars {
        if variable.starts_with("ansible_") || MAGIC.contains(&variable.as_str()) {
            secrets += usize::from(fit::is_secret(variable));
            continue;
        }
        secrets += usize::from(fit::is_secret(variable));
        if let Some(label) = fit::label(variable, value) {
            host.labels.insert(variable.clone(), label);
        }
    }
    if secrets > 0 {
        notes.add("variables that look like secrets are not taken; `devices.logins` names who logs in", name);
    }
    Some(host)
}

/// The hops that arguments of `ssh` name.
fn hops(words: &[String], name: &str, host: &mut Host, notes: &mut Notes) {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let option = match word.strip_prefix("-o") {
            Some("") => words.next().cloned(),
            Some(option) => Some(option.to_owned()),
            None => match word.strip_prefix("-J") {
                Some("") => words.next().map(|hop| format!("ProxyJump={hop}")),
                Some(hop) => Some(format!("ProxyJump={hop}")),
                None => None,
            },
        };
        let Some(option) = option else { continue };
        let (key, value) = option.split_once(['=', ' ']).unwrap_or((&option, ""));
        if key.eq_ignore_ascii_case("proxyjump") {
            host.via = value.split(',').filter(|hop| !hop.is_empty()).map(str::to_owned).collect();
        } else if key.eq_ignore_ascii_case("proxycommand") {
            notes.add("`ProxyCommand` is not taken; `via` names the hops", name);
        }
    }
}
