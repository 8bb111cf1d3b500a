//! Hosts of others as devices of ours: names, platforms and logins are those of the configuration.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Value, json};

use crate::{Found, Host, Imported, Inventory, Members, notes::Notes};

/// The longest name of a device, in characters.
const NAME_CHARS_MAX: usize = 64;

/// How an import fits a source to the configuration.
pub struct How<'a> {
    /// Our name of a platform, by one of its names.
    pub platform_of: &'a dyn Fn(&str) -> Option<String>,
    /// The logins of the configuration: the name of each, by the name of its user.
    pub logins: &'a BTreeMap<String, String>,
    /// The platform of hosts whose source tells none.
    pub platform: Option<&'a str>,
    /// The login of hosts whose source tells none that is known.
    pub login: Option<&'a str>,
    /// The groups of the configuration that tell a platform.
    pub group_platforms: &'a BTreeSet<String>,
    /// Groups that every device is put into.
    pub groups: &'a [String],
    /// Labels that every device gets, where it has none of that name.
    pub labels: &'a [(String, String)],
}

/// Makes devices of hosts.
pub(crate) fn fit(found: Found, how: &How<'_>) -> Imported {
    let Found { mut hosts, ready, mut notes } = found;
    add_hops(&mut hosts);
    let names = names(&hosts, &mut notes);
    let mut inventory = Inventory { groups: ready.groups, devices: BTreeMap::new() };
    for (name, mut members) in ready.devices {
        common(&mut members, how);
        inventory.devices.insert(name, members);
    }
    for (source, host) in hosts {
        let Some(name) = names.get(&source) else { continue };
        let mut members = Members::new();
        let mut put = |member: &str, value: Value| members.insert(member.to_owned(), value);
        put("host", json!(host.address.as_deref().unwrap_or(&source)));
        if let Some(port) = host.port {
            put("port", json!(port));
        }
        let of_group = host.groups.iter().chain(how.groups).any(|group| how.group_platforms.contains(group));
        if let Some(platform) = platform(&host, how, name, of_group, &mut notes) {
            put("platform", json!(platform));
        }
        if let Some(login) = login(&host, how, name, &mut notes) {
            put("login", json!(login));
        }
        let via: Vec<&String> = host.via.iter().map(|hop| names.get(hop).unwrap_or(hop)).collect();
        if !via.is_empty() {
            put("via", json!(via));
        }
        if host.is_telnet {
            put("transport", json!("telnet"));
        }
        if let Some(algorithms) = host.algorithms {
            put("algorithms", json!(algorithms));
        }
        if !host.groups.is_empty() {
            put("groups", json!(host.groups));
        }
        if !host.labels.is_empty() {
            put("labels", json!(host.labels));
        }
        common(&mut members, how);
        inventory.devices.insert(name.clone(), members);
    }
    Imported { inventory, notes: notes.lines() }
}

/// What a hop says, `user@host:port`: the user, the host, the port.
pub(crate) fn hop(text: &str) -> (Option<&str>, &str, Option<u16>) {
    let (user, rest) = text.rsplit_once('@').map_or((None, text), |(user, rest)| (Some(user), rest));
    match rest.rsplit_once(':') {
        // More colons than one are an address of IPv6, which stands in brackets where a port follows it.
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            (user, name.trim_matches(['[', ']']), port.parse().ok())
        }
        _ => (user, rest.trim_matches(['[', ']']), None),
    }
}

/// Makes hosts of the hops that are none yet: a connection goes through devices of the inventory only.
fn add_hops(hosts: &mut BTreeMap<String, Host>) {
    let mut added = BTreeMap::new();
    for host in hosts.values_mut() {
        for via in &mut host.via {
            let (user, name, port) = hop(via);
            let made = Host {
                address: Some(name.to_owned()),
                port: port.filter(|port| *port != 22),
                user: user.map(str::to_owned),
                platform: Some("linux".to_owned()),
                ..Host::default()
            };
            let name = name.to_owned();
            added.entry(name.clone()).or_insert(made);
            *via = name;
        }
    }
    for (name, made) in added {
        hosts.entry(name).or_insert(made);
    }
}

/// The name that each host has with us.
fn names(hosts: &BTreeMap<String, Host>, notes: &mut Notes) -> HashMap<String, String> {
    let mut taken = HashSet::new();
    let mut names = HashMap::new();
    for source in hosts.keys() {
        let is_fit = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let fitted: String =
            source.chars().map(|c| if is_fit(c) { c } else { '-' }).take(NAME_CHARS_MAX).collect();
        let fitted = fitted.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        if fitted.is_empty() || !taken.insert(fitted.to_owned()) {
            notes.add("left out, its name cannot be that of a device here or is another's already", source);
            continue;
        }
        if fitted != source {
            notes.add("named differently here, where names are of A-Z a-z 0-9 . _ -", source);
        }
        names.insert(source.clone(), fitted.to_owned());
    }
    names
}

/// The platform of a host; none where one of its groups tells it.
fn platform(host: &Host, how: &How<'_>, name: &str, of_group: bool, notes: &mut Notes) -> Option<String> {
    if let Some(said) = &host.platform {
        // Ansible names a platform by its collection: `cisco.ios.ios`.
        let short = said.rsplit('.').next().unwrap_or(said);
        let lower = said.to_ascii_lowercase();
        let known = [said.as_str(), &lower, short].into_iter().find_map(|one| (how.platform_of)(one));
        if let Some(known) = known {
            return Some(known);
        }
        notes.add(format!("the platform {said:?} is not known here"), name);
    }
    if of_group {
        return None;
    }
    if how.platform.is_none() {
        notes.add("no platform is known (`portcullis devices detect` finds it)", name);
    }
    Some(how.platform.unwrap_or("autodetect").to_owned())
}

fn login(host: &Host, how: &How<'_>, name: &str, notes: &mut Notes) -> Option<String> {
    let of_user = host.user.as_ref().and_then(|user| how.logins.get(user)).cloned();
    let login = host.login.clone().or(of_user).or_else(|| how.login.map(str::to_owned));
    if login.is_none() {
        let what = match &host.user {
            Some(user) => format!("no login in `devices.logins` has the user {user:?} (--login names one)"),
            None => "the source does not say who logs in (--login names a login)".to_owned(),
        };
        notes.add(what, name);
    }
    login
}

/// What every device gets.
fn common(members: &mut Members, how: &How<'_>) {
    if !how.groups.is_empty() {
        let groups = members.entry("groups").or_insert_with(|| json!([]));
        if let Value::Array(groups) = groups {
            let more = how.groups.iter().map(|group| json!(group));
            let more: Vec<Value> = more.filter(|group| !groups.contains(group)).collect();
            groups.extend(more);
        }
    }
    for (name, value) in how.labels {
        if let Value::Object(labels) = members.entry("labels").or_insert_with(|| json!({})) {
            labels.entry(name.clone()).or_insert_with(|| json!(value));
        }
    }
}

/// True for the name of a variable that holds something secret, or may.
pub(crate) fn is_secret(name: &str) -> bool {
    const PARTS: [&str; 21] = [
        "pass",
        "secret",
        "token",
        "communit",
        "key",
        "credential",
        "private",
        "vault",
        "become",
        "pwd",
        "psk",
        "enable",
        "auth",
        "md5",
        "snmp",
        "hash",
        "cert",
        "cookie",
        "radius",
        "tacacs",
        "ldap",
    ];
    let name = name.to_ascii_lowercase();
    let words = || name.split(|c: char| !c.is_ascii_alphanumeric());
    PARTS.iter().any(|part| name.contains(part))
        || words().any(|word| matches!(word, "pw" | "pin" | "ro" | "rw"))
}

/// True for a value that is a secret by its form: a hash of crypt(3) or of a device, a URL with a login.
fn looks_secret(value: &str) -> bool {
    let is_hash = value.starts_with('$') && value[1..].contains('$');
    let has_login =
        value.split_once("://").is_some_and(|(_, rest)| rest.split('/').next().unwrap_or("").contains('@'));
    is_hash || has_login || value.contains("PRIVATE KEY")
}

/// A label, where a value can be one: a short scalar that is no template and not secret.
pub(crate) fn label(name: &str, value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    let fits =
        !text.is_empty() && text.len() <= 256 && !text.contains("{{") && !text.contains(char::is_control);
    (fits && !is_secret(name) && !looks_secret(&text)).then_some(text)
}
