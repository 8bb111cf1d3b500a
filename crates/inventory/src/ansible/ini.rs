//! Ansible's INI: `[group]`, `[group:children]`, `[group:vars]`, and hosts with ranges such as `r[01:20].example.net`.

use serde_json::{Map, Value};

use super::{Ansible, Beside};
use crate::{Found, ImportError, notes::Notes};

/// The most hosts of one range.
const RANGE_MAX: usize = 65_536;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Hosts,
    Children,
    Vars,
}

/// Reads it, with the `group_vars` and `host_vars` beside it.
///
/// Error: a line that cannot be read, with its number.
pub(crate) fn read(text: &str, beside: Beside<'_>) -> Result<Found, ImportError> {
    let mut ansible = Ansible::default();
    let (mut group, mut section) = ("ungrouped".to_owned(), Section::Hosts);
    for (index, line) in text.lines().enumerate() {
        let wrong = |what: String| ImportError(format!("line {}: {what}", index + 1));
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with('[') && !line.contains("]:") {
            let head = line.split(" #").next().unwrap_or(line).trim_end();
            let head = head.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let head = head.ok_or_else(|| wrong(format!("{line:?} is no head of a section")))?;
            let (name, kind) = head.split_once(':').unwrap_or((head, "hosts"));
            section = match kind {
                "hosts" => Section::Hosts,
                "children" => Section::Children,
                "vars" => Section::Vars,
                other => return Err(wrong(format!("{other:?} is neither `vars` nor `children`"))),
            };
            group = name.to_owned();
            ansible.group(&group);
            continue;
        }
        match section {
            Section::Children => {
                let child = line.split([' ', '\t']).next().unwrap_or(line);
                ansible.group(child);
                ansible.group(&group).children.insert(child.to_owned());
            }
            Section::Vars => {
                let (name, value) =
                    line.split_once('=').ok_or_else(|| wrong(format!("{line:?} is no `name = value`")))?;
                let value = Value::from(value.trim().trim_matches(['"', '\'']));
                ansible.group(&group).vars.insert(name.trim().to_owned(), value);
            }
            Section::Hosts => {
                let words = shlex::split(line).ok_or_else(|| wrong("a quote is not closed".to_owned()))?;
                let Some((pattern, rest)) = words.split_first() else { continue };
                let mut vars = Map::new();
                for word in rest {
                    let (name, value) = word
                        .split_once('=')
                        .ok_or_else(|| wrong(format!("{word:?} after the host is no `name=value`")))?;
                    vars.insert(name.to_owned(), Value::from(value));
                }
                let (pattern, port) = with_port(pattern);
                if let Some(port) = port {
                    vars.entry("ansible_port").or_insert(Value::from(port));
                }
                for host in expand(pattern).map_err(wrong)? {
                    ansible.host(&group, &host, vars.clone())?;
                }
            }
        }
    }
    if ansible.hosts.is_empty() {
        return Err(ImportError("it names no host; is it of another form? --format tells it".to_owned()));
    }
    let mut notes = Notes::default();
    ansible.add_files(beside, &mut notes);
    Ok(ansible.flatten(notes))
}

/// A host and the port behind it: `r1:2222`, `[2001:db8::1]:22`. Colons within a range are not about a port.
fn with_port(pattern: &str) -> (&str, Option<u16>) {
    let end = pattern.rfind(']').map_or(0, |at| at + 1);
    match pattern[end..].split_once(':') {
        Some((name, port)) if !port.contains(':') => match port.parse() {
            Ok(port) => (&pattern[..end + name.len()], Some(port)),
            Err(_) => (pattern, None),
        },
        _ => (pattern, None),
    }
}

/// The hosts that a pattern stands for: `r[1:3]` is r1, r2, r3; `r[01:10:3]` keeps the width and takes steps.
pub(crate) fn expand(pattern: &str) -> Result<Vec<String>, String> {
    let mut hosts = vec![String::new()];
    let mut rest = pattern;
    while let Some((before, from)) = rest.split_once('[') {
        let (range, after) =
            from.split_once(']').ok_or_else(|| format!("{pattern:?} has a `[` without `]`"))?;
        let parts: Vec<String> = if range.matches(':').count() > 2 || !range.contains(':') {
            // An IPv6 address in brackets.
            vec![range.to_owned()]
        } else {
            steps(range).ok_or_else(|| format!("{range:?} is no range such as 01:20 or a:f"))?
        };
        if hosts.len() * parts.len() > RANGE_MAX {
            return Err(format!("{pattern:?} stands for more than {RANGE_MAX} hosts"));
        }
        hosts = hosts
            .iter()
            .flat_map(|host| parts.iter().map(move |part| format!("{host}{before}{part}")))
            .collect();
        rest = after;
    }
    Ok(hosts.into_iter().map(|host| format!("{host}{rest}")).collect())
}

fn steps(range: &str) -> Option<Vec<String>> {
    let mut parts = range.split(':');
    let (from, to) = (parts.next()?, parts.next()?);
    let step: usize = parts.next().map_or(Some(1), |step| step.parse().ok()).filter(|step| *step > 0)?;
    if let (Ok(first), Ok(last)) = (from.parse::<usize>(), to.parse::<usize>()) {
        let width = if from.starts_with('0') { from.len() } else { 0 };
        let fits = first <= last && (last - first) / step < RANGE_MAX;
        return fits.then(|| (first..=last).step_by(step).map(|n| format!("{n:0width$}")).collect());
    }
    let (mut from, mut to) = (from.chars(), to.chars());
    match (from.next()?, from.next(), to.next()?, to.next()) {
        (first, None, last, None)
            if first.is_ascii_alphabetic() && last.is_ascii_alphabetic() && first <= last =>
        {
            Some((first..=last).step_by(step).map(String::from).collect())
        }
        _ => None,
    }
}
