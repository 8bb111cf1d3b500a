//! Inventories in YAML: ours, Ansible's, Nornir's (`SimpleInventory`) and that of netmiko's tools, told apart by their
//! members.

use serde_json::{Map, Value};

use crate::{
    Found, Host, ImportError, Inventory,
    ansible::{Ansible, Beside},
    file::{self},
    fit,
    notes::Notes,
};

/// The deepest that groups hold one another.
const DEPTH_MAX: usize = 32;

/// Reads it.
///
/// Error: it is no YAML, or of none of these forms.
pub(crate) fn read(text: &str, beside: Beside<'_>) -> Result<Found, ImportError> {
    let whole = mapping(text)?;
    let has =
        |members: &Map<String, Value>, names: &[&str]| names.iter().any(|name| members.contains_key(*name));
    let any = |names: &[&str]| whole.values().filter_map(Value::as_object).any(|members| has(members, names));
    if let Some(Value::Object(devices)) = whole.get("devices")
        && has(devices, &["inventory"])
    {
        // A whole configuration: its devices and groups are taken, its logins stay where they are.
        let ours = ["groups", "inventory"]
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), devices.get(*name)?.clone())));
        return Ok(Found { ready: Inventory::of(ours.collect())?, ..Found::default() });
    }
    if whole.contains_key("inventory") {
        return Ok(Found { ready: Inventory::of(whole)?, ..Found::default() });
    }
    if any(&["hosts", "children"]) {
        let mut ansible = Ansible::default();
        for (name, group) in &whole {
            ansible_group(&mut ansible, name, group, 0)?;
        }
        let mut notes = Notes::default();
        ansible.add_files(beside, &mut notes);
        return Ok(ansible.flatten(notes));
    }
    if any(&["device_type"]) {
        return netmiko(&whole);
    }
    if any(&["hostname", "platform", "groups", "data"]) {
        return nornir(&whole, beside);
    }
    let forms = "ours (`inventory`), Ansible's (`hosts`, `children`), Nornir's (`hostname`, `platform`) and netmiko's (`device_type`)";
    Err(ImportError(format!("it is none of the forms that are known: {forms}")))
}

/// Whether it is one of Ansible.
pub(crate) fn is_ansible(text: &str) -> bool {
    let whole = mapping(text).unwrap_or_default();
    let is_group =
        |members: &Map<String, Value>| members.contains_key("hosts") || members.contains_key("children");
    !whole.contains_key("inventory") && whole.values().filter_map(Value::as_object).any(is_group)
}

fn mapping(text: &str) -> Result<Map<String, Value>, ImportError> {
    let whole: Option<Map<String, Value>> =
        serde_saphyr::from_str(text).map_err(|error| ImportError(file::sentence(&error)))?;
    whole.ok_or_else(|| ImportError("it is empty".to_owned()))
}

fn ansible_group(ansible: &mut Ansible, name: &str, group: &Value, depth: usize) -> Result<(), ImportError> {
    if depth > DEPTH_MAX {
        return Err(ImportError(format!("groups lie deeper than {DEPTH_MAX} in one another")));
    }
    ansible.group(name);
    let empty = Map::new();
    let member = |member: &str| match group.get(member) {
        None | Some(Value::Null) => Ok(&empty),
        Some(Value::Object(members)) => Ok(members),
        Some(_) => Err(ImportError(format!("`{member}` of the group {name:?} is no mapping"))),
    };
    for (pattern, vars) in member("hosts")? {
        let vars = vars.as_object().cloned().unwrap_or_default();
        let hosts = crate::ansible::ini::expand(pattern).map_err(ImportError)?;
        for host in hosts {
            ansible.host(name, &host, vars.clone())?;
        }
    }
    ansible.group(name).vars.extend(member("vars")?.clone());
    for (child, inner) in member("children")? {
        ansible.group(name).children.insert(child.clone());
        ansible_group(ansible, child, inner, depth + 1)?;
    }
    Ok(())
}

fn text(members: &Map<String, Value>, name: &str) -> Option<String> {
    let text = members.get(name).and_then(Value::as_str)?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn port(members: &Map<String, Value>) -> Option<u16> {
    members
        .get("port")
        .and_then(Value::as_u64)
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port != 0)
}

fn labels(host: &mut Host, values: &Map<String, Value>) {
    for (name, value) in values {
        if let Some(label) = fit::label(name, value) {
            host.labels.entry(name.clone()).or_insert(label);
        }
    }
}

const SECRETS: &str = "passwords are not taken; `devices.logins` names who logs in";

/// `name: { device_type, host, username, port }`, and groups as lists of names.
fn netmiko(whole: &Map<String, Value>) -> Result<Found, ImportError> {
    let mut found = Found::default();
    for (name, entry) in whole {
        let Value::Object(members) = entry else { continue };
        let mut host = Host {
            address: text(members, "host").or_else(|| text(members, "ip")),
            port: port(members),
            user: text(members, "username"),
            ..Host::default()
        };
        let kind = text(members, "device_type");
        // netmiko tells by the name how a device is reached.
        host.is_telnet = kind.as_ref().is_some_and(|kind| kind.ends_with("_telnet"));
        let bare = |kind: String| kind.trim_end_matches("_telnet").trim_end_matches("_ssh").to_owned();
        host.platform = kind.map(bare).filter(|kind| kind != "autodetect");
        if members.keys().any(|member| fit::is_secret(member)) {
            found.notes.add(SECRETS, name);
        }
        found.hosts.insert(name.clone(), host);
    }
    for (group, names) in whole.iter().filter_map(|(group, names)| Some((group, names.as_array()?))) {
        for name in names.iter().filter_map(Value::as_str) {
            match found.hosts.get_mut(name) {
                Some(host) => host.groups.push(group.clone()),
                None => found.notes.add(format!("the group {group:?} names what is no device"), name),
            }
        }
    }
    Ok(found)
}

/// `name: { hostname, port, username, platform, groups, data }`, with what `groups.yaml` and `defaults.yaml` say.
fn nornir(whole: &Map<String, Value>, beside: Beside<'_>) -> Result<Found, ImportError> {
    let other = |name: &str| {
        let text = beside(&format!("{name}.yaml")).or_else(|| beside(&format!("{name}.yml")));
        text.map_or_else(|| Ok(Map::new()), |text| mapping(&text))
    };
    let (groups, defaults) = (other("groups")?, other("defaults")?);
    let mut found = Found::default();
    for (name, entry) in whole {
        let empty = Map::new();
        let own = entry.as_object().unwrap_or(&empty);
        let mut chain = vec![own];
        let mut named = Vec::new();
        above(own, &groups, &mut chain, &mut named, 0);
        chain.push(&defaults);
        let first = |member: &str| chain.iter().find_map(|members| text(members, member));
        let mut host = Host {
            address: first("hostname"),
            port: chain.iter().find_map(|members| port(members)),
            platform: first("platform"),
            user: first("username"),
            groups: named,
            ..Host::default()
        };
        for data in chain.iter().filter_map(|members| members.get("data")?.as_object()) {
            labels(&mut host, data);
        }
        if chain.iter().any(|members| text(members, "password").is_some()) {
            found.notes.add(SECRETS, name);
        }
        found.hosts.insert(name.clone(), host);
    }
    Ok(found)
}

/// The groups of a host and those above them, the nearest first.
fn above<'a>(
    members: &Map<String, Value>,
    groups: &'a Map<String, Value>,
    chain: &mut Vec<&'a Map<String, Value>>,
    named: &mut Vec<String>,
    depth: usize,
) {
    let names = members.get("groups").and_then(Value::as_array).into_iter().flatten();
    for name in names.filter_map(Value::as_str) {
        if depth > DEPTH_MAX || named.iter().any(|known| known == name) {
            continue;
        }
        named.push(name.to_owned());
        if let Some(Value::Object(group)) = groups.get(name) {
            chain.push(group);
            above(group, groups, chain, named, depth + 1);
        }
    }
}
