use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::json::digest;

/// How much can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Seen and undone with ease.
    Low,
    /// Worth a second look.
    Medium,
    /// Can take something down.
    High,
}

/// What a change will do, exactly: made by the provider, shown to the approver, and handed back to the provider
/// when it was approved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What is changed, such as `files:notes/todo.txt`; policy and drift go by it.
    pub target: String,
    /// One sentence for the approver.
    pub summary: String,
    /// The exact difference, as a unified diff or the platform's own.
    pub diff: String,
    /// How much can go wrong.
    pub risk: Risk,
    /// The digest of the target as it was when this plan was made.
    pub before: String,
    /// The digest of the target as it will be.
    pub after: String,
    /// What the provider needs to apply it. Part of the digest, so it cannot be swapped.
    pub payload: Value,
}

/// How a target stands against a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As it was when the plan was made: nothing was done.
    Before,
    /// As the plan wants it: it was done.
    After,
    /// Neither: somebody else changed it. Its digest.
    Elsewhere(String),
}

impl Plan {
    /// The digest an approval binds to: over every member, in canonical form.
    #[must_use]
    pub fn digest(&self) -> String {
        digest(&json!({
            "target": self.target,
            "summary": self.summary,
            "diff": self.diff,
            "risk": self.risk,
            "before": self.before,
            "after": self.after,
            "payload": self.payload,
        }))
    }

    /// True where there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.before == self.after
    }
}
