//! The `house` test: the rules of ARCHITECTURE.md that neither the compiler nor clippy holds. Each rule is a row of a
//! table with its reason; to add one, add a row.

mod arrows;
mod source;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod words;

use std::path::Path;

use anyhow::Result;

/// What breaks a rule of the house: one sentence each, with the place; empty where the house is in order.
///
/// # Errors
/// Where the sources cannot be read or cargo does not describe the workspace.
pub(crate) fn broken(root: &Path) -> Result<Vec<String>> {
    let mut broken = arrows::broken(root)?;
    broken.extend(source::broken(root)?);
    broken.extend(words::broken(root)?);
    Ok(broken)
}
