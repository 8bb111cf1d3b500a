//! Toolsets: chosen parts of what there is, each as if it were a server of its own. They grant nothing: what a caller
//! sees in one is what its roles let it see anyway, less everything else.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use tool::{ConfigFault, Identity, Tool, ToolName};

use crate::{
    config::{ToolsetConfig, pointer},
    policy::{Selector, known_name},
    snapshot::Catalogue,
};

/// The toolsets of a snapshot: the names of their tools.
pub(crate) struct Toolsets(HashMap<Arc<str>, HashSet<Arc<str>>>);

/// Finds what is wrong with them that needs no tools.
pub(crate) fn check(toolsets: &BTreeMap<String, ToolsetConfig>) -> Vec<ConfigFault> {
    let mut faults = Vec::new();
    for (name, toolset) in toolsets {
        if ToolName::parse(name).is_err() {
            let text = format!("{name:?} is not a name: use 1 to 64 letters, digits, '_' or '-'");
            faults.push(ConfigFault::new(pointer(&["toolsets", name]), text));
        }
        if toolset.tools.is_empty() {
            let text = "an empty list selects nothing, so nobody would see anything here";
            faults.push(ConfigFault::new(pointer(&["toolsets", name, "tools"]), text));
        }
        for (i, text) in toolset.tools.iter().enumerate() {
            if let Err(why) = Selector::parse(text) {
                faults.push(ConfigFault::new(pointer(&["toolsets", name, "tools", &i.to_string()]), why));
            }
        }
    }
    faults
}

/// Finds names of tools in them that are not there.
pub(crate) fn check_names(
    toolsets: &BTreeMap<String, ToolsetConfig>,
    catalogue: &Catalogue,
) -> Vec<ConfigFault> {
    let all = toolsets
        .iter()
        .flat_map(|(name, toolset)| toolset.tools.iter().enumerate().map(move |(i, text)| (name, i, text)));
    all.filter_map(|(name, i, text)| {
        known_name(text, catalogue, || pointer(&["toolsets", name, "tools", &i.to_string()])).err()
    })
    .collect()
}

impl Toolsets {
    /// The toolsets over these tools. What [`check`] refuses selects nothing.
    pub(crate) fn new(toolsets: &BTreeMap<String, ToolsetConfig>, tools: &[Arc<Tool>]) -> Self {
        let chosen = |toolset: &ToolsetConfig| {
            let selectors: Vec<_> =
                toolset.tools.iter().filter_map(|text| Selector::parse(text).ok()).collect();
            let chosen = tools.iter().filter(|tool| selectors.iter().any(|one| one.chooses(tool)));
            chosen.map(|tool| tool.name.shared()).collect()
        };
        Self(toolsets.iter().map(|(name, toolset)| (name.as_str().into(), chosen(toolset))).collect())
    }

    /// True where there is one of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether a tool is in the toolset that the caller came for. Who came for none came for all of them; who came for
    /// one that is not there, for nothing.
    pub(crate) fn shows(&self, caller: &Identity, tool: &Tool) -> bool {
        let Some(name) = &caller.toolset else { return true };
        self.0.get(name).is_some_and(|chosen| chosen.contains(tool.name.as_str()))
    }
}
