//! Prompts and resources that the configuration declares: the `prompts:` and `resources:` sections.
//!
//! - [`prompts`]: texts with gaps, which a caller fills in for its model;
//! - [`resources`]: texts and files by URI, one by one or by a template of URIs.
//!
//! Invariants: each prompt and each resource has a tool of its own (`prompt_<name>`, `resource_<name>`) that rules,
//! limits and audit go by; what a caller gives is put in once and never read for gaps itself (`pattern.rs`); a file is
//! opened name by name below the folder of the configuration, and nothing that a caller gives leads out of the folder
//! it stands in (`file.rs`); a result is whole or a fault, since half a prompt says something else.
//!
//! It knows `mcp` for the templates of URIs, which are matched as the protocol has them.

mod choices;
mod faults;
mod file;
mod pattern;
pub mod prompts;
pub mod resources;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
mod tests;

use std::sync::Arc;

use serde_json::Value;
use tool::{Fault, Outcome};

/// A text of the configuration, as what is offered shares it.
fn shared(text: Option<&String>) -> Option<Arc<str>> {
    text.map(|text| text.as_str().into())
}

pub use choices::{CompleteConfig, Completion};
pub use file::Symlinks;

/// A result as the protocol has it.
///
/// Fault: `BadArguments` at `pointer` where it is larger than an answer of its tool may be.
fn content(result: &Value, bytes_max: usize, pointer: &str) -> Result<Outcome, Fault> {
    let raw = tool::json::raw(result);
    if raw.get().len() > bytes_max {
        return Err(too_large(bytes_max, pointer));
    }
    Ok(Outcome::content(Arc::from(raw)))
}

/// The fault of what would be larger than it may.
fn too_large(bytes_max: usize, pointer: &str) -> Fault {
    let text = format!(
        "the answer would be larger than {bytes_max} bytes, and half of it would mislead; ask for less, or let an \
         operator raise `bytes_max`"
    );
    Fault::bad_argument(pointer, text)
}
