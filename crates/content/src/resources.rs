//! Declared resources: texts and files by URI, one by one or by a template of URIs.

mod room;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;
use tool::{ConfigFault, Ordered, Parts, Provider};

use crate::{
    choices::{CompleteConfig, Completion},
    faults::{Faults, pointer},
    file::{self, Symlinks},
};

/// The name of the section, and what its tools talk to, in policy and metrics.
pub(crate) const SOURCE: &str = "resources";

/// The `resources:` section: resources by URI. A URI with `{variable}` in it is a template (RFC 6570, level 1, and
/// `{+variable}` for a piece of a URI); of several that fit a URI the first in the order of their texts counts.
///
/// Rules go by the tool `resource_<name>`, and its calls touch the URI that is read.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Config(BTreeMap<String, ResourceConfig>);

/// One resource, or one template: a `text` or a `file`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceConfig {
    /// Its name, unique among resources: 1 to 55 of `a-z A-Z 0-9 _ -`.
    #[schemars(regex(pattern = r"^[a-zA-Z0-9_-]{1,55}$"))]
    pub name: String,
    /// A short title for people.
    pub title: Option<String>,
    /// What it is, for people and models.
    pub description: Option<String>,
    /// Its media type, such as `text/markdown`. Left out, lists say none, and an answer is `text/plain` where it is
    /// text and `application/octet-stream` where it is not.
    #[schemars(regex(
        pattern = r"^[a-zA-Z0-9!#$&^_.+-]{1,127}/[a-zA-Z0-9!#$&^_.+-]{1,127}( *;[ -~]{1,255})?$"
    ))]
    pub mime_type: Option<String>,
    /// What it says. In that of a template `{variable}` is filled in, decoded; `{{` stands for `{` and `}}` for `}`.
    #[schemars(length(max = 1_048_576))]
    pub text: Option<String>,
    /// The file it is, as a path below the folder of the configuration; read at each call. In that of a template
    /// `{variable}` is filled in, decoded: a name without `/` that does not begin with a dot.
    #[schemars(length(max = 1_024))]
    pub file: Option<String>,
    /// What happens to symbolic links on the way to the file.
    #[serde(default)]
    pub symlinks: Symlinks,
    /// The most bytes that it may have. A larger one is not read at all.
    #[serde(default = "bytes_max")]
    #[schemars(range(min = 1, max = 8_388_608))]
    pub bytes_max: u64,
    /// What is known of the variables of a template, by name. Those that are not here may be anything.
    #[serde(default)]
    pub variables: Ordered<VariableConfig>,
}

/// One variable of a template.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VariableConfig {
    /// The values it may have; for others there is no resource. They are offered while one is typed.
    #[serde(rename = "enum")]
    #[schemars(length(min = 1, max = 10_000))]
    pub values: Option<Vec<String>>,
    /// Where values come from that are offered while one is typed; it may have others too.
    pub complete: Option<CompleteConfig>,
}

fn bytes_max() -> u64 {
    1024 * 1024
}

impl Config {
    /// What the schema cannot say: URIs that are none, gaps that are no variable, paths that lead elsewhere. Looks at
    /// no file.
    #[must_use]
    pub fn check(&self) -> Vec<ConfigFault> {
        room::gather(self, Path::new("")).err().unwrap_or_default()
    }

    /// The tools that completions ask: each must be one that only reads.
    pub fn completions(&self) -> impl Iterator<Item = Completion<'_>> {
        self.0.iter().flat_map(|(uri, resource)| {
            resource.variables.iter().filter_map(move |(variable, config)| {
                let at = [SOURCE, uri, "variables", variable, "complete", "tool"];
                let tool = &config.complete.as_ref()?.tool;
                Some(Completion { pointer: pointer(&at), tool })
            })
        })
    }

    /// What is wrong with the files that are there by name, below the folder of the configuration.
    fn missing_files(&self, folder: &Path) -> Vec<ConfigFault> {
        let mut faults = Faults::default();
        let fixed = self.0.iter().filter(|(uri, _)| !is_template(uri));
        for (uri, resource) in fixed {
            let Some(path) = &resource.file else { continue };
            let opened = file::open(folder, Path::new(path), resource.symlinks, resource.bytes_max);
            if let Err(error) = opened {
                faults.add(&[SOURCE, uri, "file"], format!("cannot open {path:?}: {error}"));
            }
        }
        faults.0
    }
}

/// A brace cannot stand in a URI (RFC 3986), so it tells.
fn is_template(uri: &str) -> bool {
    uri.contains(['{', '}'])
}

/// Opens the room.
///
/// Faults: what [`Config::check`] finds, and files that are not there or cannot be read.
pub fn open(config: &Config, parts: &Parts) -> Result<Arc<dyn Provider>, Vec<ConfigFault>> {
    let room = room::gather(config, &parts.base_dir)?;
    let missing = config.missing_files(&parts.base_dir);
    if missing.is_empty() { Ok(Arc::new(room)) } else { Err(missing) }
}
