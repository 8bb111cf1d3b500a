//! Administration as tools: keys, usage, reload, the audit log, and results kept behind a handle.
//!
//! - [`open`] offers the tools over [`AdminParts`]; what only the binary can do stands behind [`House`];
//! - [`KeyMaker`] makes and hashes the secrets of keys, [`NewKey`] makes whole keys, also for the binary's own.
//!
//! Invariants: a secret is shown once, in the answer of the call that made it, which says so
//! (`Outcome::with_secret`); the store has only hashes keyed with a pepper that is not in the store; only a human makes a
//! secret that stands for a human, so that no agent can approve its own changes.

mod artefacts;
mod keys;
mod maker;
mod tools;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use state::{Artefacts, Keys, Usage};
use tool::{Clock, Fault, PrincipalKind, Provider};

pub use keys::{BUILT_IN_TIERS, Minted, NewKey};
pub use maker::{KeyMaker, LABEL_CHARS_MAX, is_label};

/// A declared principal, as far as keys go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: PrincipalKind,
    /// The roles it has; a key of it has some of them.
    pub roles: Vec<String>,
}

/// What administration asks of the house around it. The binary implements it.
#[async_trait]
pub trait House: Send + Sync {
    /// The principals of the configuration in force.
    fn principals(&self) -> Vec<Principal>;

    /// The tiers of the configuration in force. `basic` and `premium` are known without being declared.
    fn tiers(&self) -> Vec<String>;

    /// Where the secret of the key with this label is set, where it comes from outside: the operator's value always
    /// holds.
    fn secret_from(&self, label: &str) -> Option<String>;

    /// Reads the configuration again and puts it in force: the hash of the new one.
    ///
    /// Error: every fault of the file, a line each; then the old one stays in force.
    async fn reload(&self) -> Result<String, Vec<String>>;

    /// The newest audit records that match, the newest last. The query is the checked arguments of `audit_tail`:
    /// `{count, event?, principal?, tool?, request_id?, since_seq?}`.
    async fn audit_tail(&self, query: Value) -> Result<Vec<Value>, Fault>;

    /// Verifies the whole audit log: the report, which names the first bad record.
    async fn audit_verify(&self) -> Result<Value, Fault>;
}

/// What administration is made of.
pub struct AdminParts {
    /// The keys; the same ones that the gate asks, so that it sees a change at once.
    pub keys: Arc<dyn Keys>,
    /// How much was used.
    pub usage: Arc<dyn Usage>,
    /// Results kept behind a handle.
    pub artefacts: Arc<dyn Artefacts>,
    /// Makes the secrets.
    pub maker: KeyMaker,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The house around.
    pub house: Arc<dyn House>,
}

/// Offers administration as tools.
#[must_use]
pub fn open(parts: AdminParts) -> Arc<dyn Provider> {
    tools::open(parts)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
mod tests;
