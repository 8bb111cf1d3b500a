//! Inventory files of our own.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{ImportError, Inventory, Members};

/// The most bytes of an inventory file.
pub(crate) const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

const HEAD: &str = "# Network devices, for `devices.inventory_files` of the configuration. `portcullis inventory import` writes this file;
# what is changed by hand is shown as a difference before the next import takes it back.
";

impl Inventory {
    /// Reads a file: `groups` and `inventory`, each as in the `devices` section. Variables (`${..}`) are not filled in.
    ///
    /// Error: it is no YAML, too large, or says something else.
    pub fn parse(text: &str) -> Result<Self, ImportError> {
        if text.len() > FILE_BYTES_MAX {
            return Err(ImportError(format!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        let whole: Option<Map<String, Value>> =
            serde_saphyr::from_str(text).map_err(|error| ImportError(sentence(&error)))?;
        Self::of(whole.unwrap_or_default())
    }

    /// Takes what a file says.
    pub(crate) fn of(whole: Map<String, Value>) -> Result<Self, ImportError> {
        let mut inventory = Self::default();
        for (name, value) in whole {
            let slot = match name.as_str() {
                "groups" => &mut inventory.groups,
                "inventory" => &mut inventory.devices,
                other => {
                    let what = format!("it has {other:?}; an inventory file has `groups` and `inventory`");
                    return Err(ImportError(what));
                }
            };
            *slot = entries(&name, value)?;
        }
        Ok(inventory)
    }

    /// The text of a file: one line a device, in the order of names.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for (section, entries) in [("groups", &self.groups), ("inventory", &self.devices)] {
            if entries.is_empty() {
                continue;
            }
            text.push_str(&format!("{section}:\n"));
            for (name, members) in entries {
                // A value of JSON is one of YAML.
                text.push_str(&format!(
                    "  {}: {}\n",
                    Value::from(name.as_str()),
                    Value::Object(members.clone())
                ));
            }
        }
        text
    }
}

fn entries(section: &str, value: Value) -> Result<BTreeMap<String, Members>, ImportError> {
    let Value::Object(entries) = value else {
        return match value {
            Value::Null => Ok(BTreeMap::new()),
            _ => Err(ImportError(format!("its `{section}` is no mapping"))),
        };
    };
    let entry = |(name, value)| match value {
        Value::Object(members) => Ok((name, members)),
        _ => Err(ImportError(format!("{name:?} in its `{section}` is no mapping"))),
    };
    entries.into_iter().map(entry).collect()
}

/// The parser's words, on one line.
pub(crate) fn sentence(error: &serde_saphyr::Error) -> String {
    let place = error.location().map(|at| format!("line {}, column {}: ", at.line(), at.column()));
    let text = error.without_snippet().to_string();
    format!("not valid YAML: {}{}", place.unwrap_or_default(), text.lines().next().unwrap_or_default())
}
