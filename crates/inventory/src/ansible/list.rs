//! What `ansible-inventory --list` prints: JSON with the groups and, under `_meta`, the variables of every host.

use serde_json::{Map, Value};

use super::Ansible;
use crate::{Found, ImportError, notes::Notes};

/// Reads it.
///
/// Error: it is no JSON object, or one of its members is of another kind.
pub(crate) fn read(text: &str) -> Result<Found, ImportError> {
    let whole: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| ImportError(format!("it is no list of ansible-inventory: {error}")))?;
    let mut ansible = Ansible::default();
    for (name, group) in &whole {
        if name == "_meta" {
            continue;
        }
        let names = |member: &str| {
            let names = group.get(member).and_then(Value::as_array).into_iter().flatten();
            names.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        // A script may list the hosts of a group and nothing else.
        let hosts = match group {
            Value::Array(hosts) => hosts.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Value::Object(_) => names("hosts"),
            _ => return Err(ImportError(format!("the group {name:?} is neither an object nor a list"))),
        };
        for host in hosts {
            ansible.host(name, &host, Map::new())?;
        }
        let here = ansible.group(name);
        here.children.extend(names("children"));
        if let Some(Value::Object(vars)) = group.get("vars") {
            here.vars.extend(vars.clone());
        }
    }
    let of_hosts = whole.get("_meta").and_then(|meta| meta.get("hostvars")).and_then(Value::as_object);
    for (name, vars) in of_hosts.into_iter().flatten() {
        if let Value::Object(vars) = vars {
            ansible.hosts.entry(name.clone()).or_default().extend(vars.clone());
        }
    }
    Ok(ansible.flatten(Notes::default()))
}
