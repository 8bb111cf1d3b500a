//! What an import would change, device by device.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value, json};

use crate::{Inventory, Members};

/// What differs between two inventories.
#[derive(Debug, Default, PartialEq)]
pub struct Difference {
    /// By `groups` or `devices` and the name.
    entries: BTreeMap<(&'static str, String), Change>,
    /// How many stay as they are.
    pub unchanged: usize,
}

/// What happens to a device or a group.
#[derive(Debug, PartialEq)]
pub enum Change {
    /// It is new.
    Added(Members),
    /// Some of its members differ: what they were and what they will be; null for a member that is not there.
    Changed(BTreeMap<String, (Value, Value)>),
    /// It is not in the source, and goes.
    Removed,
    /// It is not in the source, and stays.
    Kept,
}

/// What a source need not tell: where it does not, what the inventory says already stays.
const OURS: [&str; 4] = ["login", "host_key", "algorithms", "platform"];

impl Inventory {
    /// What an import makes of this inventory: the source's devices and groups as it has them, but for what only we know
    /// of them. Others stay, unless `prune` is set.
    #[must_use]
    pub fn with(&self, source: &Self, prune: bool) -> (Self, Difference) {
        let mut difference = Difference::default();
        let mut merged = |kind, before: &BTreeMap<String, Members>, after: &BTreeMap<String, Members>| {
            let mut merged = after.clone();
            for (name, members) in &mut merged {
                before.get(name).into_iter().for_each(|old| keep(old, members));
            }
            for (name, members) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
                let change = if prune { Change::Removed } else { Change::Kept };
                difference.entries.insert((kind, name.clone()), change);
                if !prune {
                    merged.insert(name.clone(), members.clone());
                }
            }
            for (name, members) in merged.iter().filter(|(name, _)| after.contains_key(*name)) {
                match before.get(name) {
                    None => {
                        difference.entries.insert((kind, name.clone()), Change::Added(members.clone()));
                    }
                    Some(old) if old == members => difference.unchanged += 1,
                    Some(old) => {
                        let change = Change::Changed(changed(old, members));
                        difference.entries.insert((kind, name.clone()), change);
                    }
                }
            }
            merged
        };
        let groups = merged("groups", &self.groups, &source.groups);
        let devices = merged("devices", &self.devices, &source.devices);
        (Self { groups, devices }, difference)
    }
}

fn keep(old: &Members, members: &mut Members) {
    for name in OURS {
        if let Some(value) = old.get(name).filter(|_| !members.contains_key(name)) {
            members.insert(name.to_owned(), value.clone());
        }
    }
    // Found by asking the device, or told by a person.
    if let Some(known) =
        old.get("platform").filter(|_| members.get("platform") == Some(&Value::from("autodetect")))
    {
        members.insert("platform".to_owned(), known.clone());
    }
}

fn changed(old: &Members, new: &Members) -> BTreeMap<String, (Value, Value)> {
    let value = |members: &Members, name: &String| members.get(name).cloned().unwrap_or(Value::Null);
    let names = old.keys().chain(new.keys());
    let differs = |name: &&String| old.get(*name) != new.get(*name);
    names.filter(differs).map(|name| (name.clone(), (value(old, name), value(new, name)))).collect()
}

impl Difference {
    /// True where an import would write the file as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.values().all(|change| *change == Change::Kept)
    }

    /// How many entries come, differ, go, and stay although the source does not have them.
    #[must_use]
    pub fn counts(&self) -> [usize; 4] {
        let mut counts = [0; 4];
        for change in self.entries.values() {
            counts[match change {
                Change::Added(_) => 0,
                Change::Changed(_) => 1,
                Change::Removed => 2,
                Change::Kept => 3,
            }] += 1;
        }
        counts
    }

    /// One line for each: `+` comes, `~` differs, `-` goes, `=` stays although the source does not have it.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let group = |kind: &str| if kind == "groups" { "group " } else { "" };
        let line = |((kind, name), change): (&(&'static str, String), &Change)| {
            let (mark, rest) = match change {
                Change::Added(members) => ('+', shown(members)),
                Change::Changed(members) => ('~', moves(members)),
                Change::Removed => ('-', String::new()),
                Change::Kept => ('=', "not in the source, stays".to_owned()),
            };
            format!("{mark} {}{name}  {rest}", group(kind)).trim_end().to_owned()
        };
        self.entries.iter().map(line).collect()
    }

    /// The same for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut all = json!({ "groups": {}, "devices": {} });
        for ((kind, name), change) in &self.entries {
            all[kind][name] = match change {
                Change::Added(members) => json!({ "change": "added", "members": members }),
                Change::Changed(members) => {
                    let pair = |(name, (from, to)): (&String, &(Value, Value))| {
                        (name.clone(), json!({ "from": from, "to": to }))
                    };
                    let members: Members = members.iter().map(pair).collect();
                    json!({ "change": "changed", "members": members })
                }
                Change::Removed => json!({ "change": "removed" }),
                Change::Kept => json!({ "change": "kept" }),
            };
        }
        all["unchanged"] = json!(self.unchanged);
        all
    }
}

/// A value without the quotes of a text.
fn bare(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "(none)".to_owned(),
        Value::Array(items) => items.iter().map(bare).collect::<Vec<_>>().join(","),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| format!("{name}={}", bare(value)))
            .collect::<Vec<_>>()
            .join(","),
        other => other.to_string(),
    }
}

fn shown(members: &Members) -> String {
    let mut text = String::new();
    for (name, value) in members {
        let _ = write!(text, "{name}: {}  ", bare(value));
    }
    text
}

fn moves(members: &BTreeMap<String, (Value, Value)>) -> String {
    let one =
        |(name, (from, to)): (&String, &(Value, Value))| format!("{name}: {} -> {}", bare(from), bare(to));
    members.iter().map(one).collect::<Vec<_>>().join("  ")
}
