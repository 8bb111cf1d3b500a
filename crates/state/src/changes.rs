use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tool::{Plan, Timestamp};

use crate::{StateError, Swap};

/// Where a change stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeState {
    /// Planned; waits for an approver.
    Pending,
    /// Approved; waits to be applied, once.
    Approved,
    /// An approver said no.
    Denied,
    /// Nobody decided or applied it in time.
    Expired,
    /// The requester took it back.
    Withdrawn,
    /// Being applied; after a crash, to be looked at.
    Applying,
    /// Done, and seen to be done.
    Applied,
    /// Not done: the target was as before, or was put back.
    Failed,
    /// Not done: the target had changed since the plan was made.
    Drifted,
    /// Neither done nor undone: a person must look.
    NeedsOperator,
}

impl ChangeState {
    /// The name in answers and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Applying => "applying",
            Self::Applied => "applied",
            Self::Failed => "failed",
            Self::Drifted => "drifted",
            Self::NeedsOperator => "needs_operator",
        }
    }

    /// True where nothing more will happen to it.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Approved | Self::Applying)
    }
}

/// A change from its plan to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangeRecord {
    /// Its id: `chg_` and 16 letters or digits.
    pub id: String,
    /// Where it stands.
    pub state: ChangeState,
    /// The tool that planned it and will apply it.
    pub tool: String,
    /// The principal that asked for it; only this one can apply it.
    pub requester: String,
    /// Who answers for the requester; four-eyes rules compare owners.
    pub requester_owner: Option<String>,
    /// The canonical arguments.
    pub arguments: Value,
    /// Their digest.
    pub arguments_digest: String,
    /// What will be done.
    pub plan: Plan,
    /// Its digest: what the approver approves.
    pub plan_digest: String,
    /// The hash of the rules that allowed the call; another hash voids the approval.
    pub rules_hash: String,
    /// True where the approver's owner must be another than the requester's.
    pub four_eyes: bool,
    /// When it was planned.
    pub created_at: Timestamp,
    /// Until when it can be decided and applied.
    pub expires_at: Timestamp,
    /// Who decided, when and why.
    pub decision: Option<Decision>,
    /// When it reached its end.
    pub ended_at: Option<Timestamp>,
    /// What came of it, for a person.
    pub outcome: Option<String>,
    /// The request id of the planning call.
    pub request_id: String,
    /// Counts changes of this record; [`Changes::swap`] goes by it.
    pub version: i64,
}

/// An approver's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Who decided.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, in the approver's words.
    pub reason: Option<String>,
}

/// Which changes to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeFilter {
    /// Only in this state.
    pub state: Option<ChangeState>,
    /// Only asked for by this principal.
    pub requester: Option<String>,
    /// At most so many, newest first; 0 is 100.
    pub limit: u32,
}

/// One line of a change's journal. The journal is only ever added to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// When.
    pub at: Timestamp,
    /// What: `planned`, `approved`, `intent`, `done`, `looked`, …
    pub event: String,
    /// More, for a person.
    pub detail: String,
}

/// Changes, their approvals and their journal.
#[async_trait]
pub trait Changes: Send + Sync {
    /// Adds a change and the first line of its journal, together and durably.
    async fn insert(&self, change: &ChangeRecord, entry: &JournalEntry) -> Result<(), StateError>;

    /// The change with this id.
    async fn get(&self, id: &str) -> Result<Option<ChangeRecord>, StateError>;

    /// Some changes, newest first.
    async fn list(&self, filter: &ChangeFilter) -> Result<Vec<ChangeRecord>, StateError>;

    /// Replaces a change where its version is still `change.version` (its new version is one more) and adds a
    /// line to its journal: together, durably (on disk before this returns), or not at all.
    async fn swap(&self, change: &ChangeRecord, entry: &JournalEntry) -> Result<Swap, StateError>;

    /// The journal of a change, oldest line first.
    async fn journal(&self, id: &str) -> Result<Vec<JournalEntry>, StateError>;
}
