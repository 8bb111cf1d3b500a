//! Network devices from the files that `devices.inventory_files` names.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use inventory::Inventory;
use serde_json::Value;

use super::{
    document::{Document, Expanded},
    io_sentence,
    problem::Problem,
};

/// Where the configuration names the files.
const MEMBER: &str = "/devices/inventory_files";

/// A file as it would be, for whoever asks before writing it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instead<'a> {
    /// The file.
    pub path: &'a Path,
    /// Its text.
    pub text: &'a str,
}

/// Lays the devices and groups of the named files under `devices`. Returns the files, and what is wrong with them.
pub(super) fn lay(
    document: &mut Document,
    base_dir: &Path,
    instead: Option<Instead<'_>>,
) -> (Vec<PathBuf>, Vec<Problem>) {
    let named = document.value.pointer(MEMBER).and_then(Value::as_array).into_iter().flatten();
    let named =
        named.enumerate().filter_map(|(i, file)| Some((format!("{MEMBER}/{i}"), file.as_str()?.to_owned())));
    let named: Vec<(String, String)> = named.collect();
    let (mut files, mut problems, mut taken) = (Vec::new(), Vec::new(), HashSet::new());
    for (at, name) in named {
        let file = base_dir.join(&name);
        let text = match instead.filter(|instead| instead.path == file) {
            Some(instead) => Ok(instead.text.to_owned()),
            None => {
                std::fs::read_to_string(&file).map_err(|e| format!("it cannot be read: {}", io_sentence(&e)))
            }
        };
        files.push(file);
        let inventory = match text.and_then(|text| Inventory::parse(&text).map_err(|error| error.to_string()))
        {
            Ok(inventory) => inventory,
            Err(what) => {
                problems.push(Problem::new(at, format!("{name}: {what}")));
                continue;
            }
        };
        for (section, entries) in [("groups", inventory.groups), ("inventory", inventory.devices)] {
            for (entry, members) in entries {
                if !taken.insert((section, entry.clone())) {
                    continue;
                }
                document.lay_entry_under(&format!("/devices/{section}"), &entry, members, &at, Expanded::No);
            }
        }
    }
    (files, problems)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn devices_of_files_lie_under_those_of_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("a.yaml"),
            "inventory: { r1: { host: a, port: 1 }, r2: { host: b } }",
        )
        .unwrap();
        std::fs::write(
            folder.path().join("b.yaml"),
            "inventory: { r2: { host: z, port: 2 }, r3: { host: c } }",
        )
        .unwrap();
        let mut document = Document::new(json!({ "devices": {
            "inventory_files": ["a.yaml", "b.yaml", "c.yaml"], "inventory": { "r1": { "host": "own" } },
        } }));
        let path = folder.path().join("c.yaml");
        let (files, problems) = lay(
            &mut document,
            folder.path(),
            Some(Instead { path: &path, text: "groups: { x: { port: 3 } }" }),
        );
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(files.len(), 3);
        assert_eq!(
            document.value["devices"]["inventory"],
            json!({
                "r1": { "host": "own", "port": 1 }, "r2": { "host": "b" }, "r3": { "host": "c" },
            })
        );
        assert_eq!(document.shown(), document.value, "nothing of it is secret");
        assert_eq!(document.value["devices"]["groups"], json!({ "x": { "port": 3 } }));
    }

    #[test]
    fn a_file_that_cannot_be_taken_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("bad.yaml"), "logins: {}").unwrap();
        let mut document =
            Document::new(json!({ "devices": { "inventory_files": ["bad.yaml", "none.yaml"] } }));
        let (_, problems) = lay(&mut document, folder.path(), None);
        let said: Vec<&str> = problems.iter().map(|problem| problem.text.as_str()).collect();
        assert_eq!(
            said,
            [
                "bad.yaml: it has \"logins\"; an inventory file has `groups` and `inventory`",
                "none.yaml: it cannot be read: there is no such file",
            ]
        );
    }
}
