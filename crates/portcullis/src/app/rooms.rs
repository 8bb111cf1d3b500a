//! The rooms: which sections of the configuration open which providers, and which of them a reload keeps.

use std::sync::Arc;

use serde_json::Value;
use state::{Grants, Pins};
use tool::{ConfigFault, Parts, Provider};

use crate::config::{Config, Loaded};

/// How a section opens a room; `None` where the section is not there.
type Opener = fn(&Config, &Kit) -> Option<Result<Arc<dyn Provider>, Vec<ConfigFault>>>;

/// What rooms are made of beside their sections.
#[derive(Clone)]
pub(super) struct Kit {
    /// What every room gets.
    pub(super) parts: Parts,
    /// What was taken of tool servers.
    pub(super) pins: Arc<dyn Pins>,
    /// What was granted for them.
    pub(super) grants: Arc<dyn Grants>,
    /// What is remembered of network devices.
    pub(super) devices: device::Memory,
}

/// Every room that a section opens. A new room is a new line.
const TABLE: &[(&str, Opener)] = &[
    ("sql", |config, kit| config.sql.as_ref().map(|section| sql::open(section, &kit.parts))),
    ("rest", |config, kit| config.rest.as_ref().map(|section| web::rest::open(section, &kit.parts))),
    ("fetch", |config, kit| config.fetch.as_ref().map(|section| web::fetch::open(section, &kit.parts))),
    ("files", |config, kit| config.files.as_ref().map(|section| files::open(section, &kit.parts))),
    ("devices", |config, kit| {
        config.devices.as_ref().map(|section| device::open(section, &kit.parts, &kit.devices))
    }),
    ("prompts", |config, kit| {
        config.prompts.as_ref().map(|section| content::prompts::open(section, &kit.parts))
    }),
    ("resources", |config, kit| {
        config.resources.as_ref().map(|section| content::resources::open(section, &kit.parts))
    }),
    // The last: what servers offer never takes a name of ours.
    ("upstreams", |config, kit| {
        config.upstreams.as_ref().map(|section| upstream::open(section, &kit.parts, &kit.pins, &kit.grants))
    }),
];

/// The rooms that are open.
#[derive(Clone)]
pub(super) struct Rooms {
    /// Those that no section opens: administration and changes. They stay as they are.
    fixed: Vec<Arc<dyn Provider>>,
    sections: Vec<Room>,
}

#[derive(Clone)]
struct Room {
    name: &'static str,
    /// Its section, as JSON.
    section: Value,
    provider: Arc<dyn Provider>,
}

/// What came of opening rooms.
struct Opening {
    /// Those that are open now.
    rooms: Rooms,
    /// Those of them that were opened for this.
    opened: Vec<Arc<dyn Provider>>,
    /// Every fault of the others.
    faults: Vec<ConfigFault>,
}

impl Rooms {
    /// Opens every room of a configuration, beside the fixed ones.
    pub(super) async fn open(
        loaded: &Loaded,
        kit: &Kit,
        fixed: Vec<Arc<dyn Provider>>,
    ) -> Result<Self, Vec<ConfigFault>> {
        let empty = Self { fixed, sections: Vec::new() };
        empty.renewed(loaded, loaded, kit).await
    }

    /// Opens the rooms that can be opened, and says every fault of the others.
    pub(super) async fn open_what_opens(
        loaded: &Loaded,
        kit: &Kit,
        fixed: Vec<Arc<dyn Provider>>,
    ) -> (Self, Vec<ConfigFault>) {
        let empty = Self { fixed, sections: Vec::new() };
        let Opening { rooms, faults, .. } = empty.renew(loaded, loaded, kit).await;
        (rooms, faults)
    }

    /// The rooms of a new configuration: those whose section is as it was stay, the others are opened anew.
    ///
    /// Error: every fault of every room; nothing is kept open that was opened for this.
    pub(super) async fn renewed(
        &self,
        before: &Loaded,
        loaded: &Loaded,
        kit: &Kit,
    ) -> Result<Self, Vec<ConfigFault>> {
        let Opening { rooms, opened, faults } = self.renew(before, loaded, kit).await;
        if faults.is_empty() {
            return Ok(rooms);
        }
        for provider in opened {
            provider.close().await;
        }
        Err(faults)
    }

    async fn renew(&self, before: &Loaded, loaded: &Loaded, kit: &Kit) -> Opening {
        let (mut sections, mut faults, mut opened) = (Vec::new(), Vec::new(), Vec::new());
        for (name, opener) in TABLE {
            let section = loaded.value.get(name).cloned().unwrap_or(Value::Null);
            let kept = self.sections.iter().find(|room| room.name == *name && room.section == section);
            if let Some(room) = kept.filter(|_| before.base_dir == loaded.base_dir && !refers(&section)) {
                sections.push(Room { name, section, provider: Arc::clone(&room.provider) });
                continue;
            }
            let (config, theirs) = (loaded.config.clone(), kit.clone());
            // Rooms read files and open databases while they open.
            match tokio::task::spawn_blocking(move || opener(&config, &theirs)).await {
                Ok(None) => {}
                Ok(Some(Ok(provider))) => {
                    opened.push(Arc::clone(&provider));
                    sections.push(Room { name, section, provider });
                }
                Ok(Some(Err(found))) => faults.extend(found),
                Err(error) => {
                    faults
                        .push(ConfigFault::new(format!("/{name}"), format!("it cannot be opened: {error}")));
                }
            }
        }
        Opening { rooms: Self { fixed: self.fixed.clone(), sections }, opened, faults }
    }

    /// All of them.
    pub(super) fn providers(&self) -> Vec<Arc<dyn Provider>> {
        self.fixed.iter().chain(self.sections.iter().map(|room| &room.provider)).cloned().collect()
    }

    /// Those of these rooms that the next ones do not have.
    pub(super) fn gone(&self, next: &Self) -> Vec<Arc<dyn Provider>> {
        let stays =
            |one: &Arc<dyn Provider>| next.sections.iter().any(|room| Arc::ptr_eq(&room.provider, one));
        self.sections.iter().map(|room| &room.provider).filter(|one| !stays(one)).cloned().collect()
    }
}

/// True where a section holds a reference to a secret, or names files of keys: what it leads to may have changed although
/// the section has not.
fn refers(section: &Value) -> bool {
    match section {
        Value::Object(map) if map.len() == 1 => map.iter().any(|(name, value)| {
            (name == "file" && value.is_string()) || (name == "exec" && value.is_array()) || refers(value)
        }),
        Value::Object(map) => map.iter().any(|(name, value)| {
            let is_file = |item: &Value| name == "keys" && item.is_string();
            value.as_array().is_some_and(|items| items.iter().any(is_file)) || refers(value)
        }),
        Value::Array(items) => items.iter().any(refers),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sections_with_references_to_secrets_are_told_apart() {
        assert!(refers(&json!({ "apis": { "a": { "auth": { "bearer": { "file": "x" } } } } })));
        assert!(refers(&json!([{ "exec": ["pass"] }])));
        assert!(refers(&json!({ "logins": { "a": { "user": "u", "keys": ["id_ed25519"] } } })));
        assert!(!refers(&json!({ "file": "x", "other": 1 })));
        assert!(!refers(&json!({ "bearer": "text" })));
    }
}
