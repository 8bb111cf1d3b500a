use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tool::Timestamp;

use crate::{StateError, Swap};

/// Where a task stands. The names are those of the Model Context Protocol (SEP-2663, "Task Status").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// The work goes on; after a crash, nobody works on it any more.
    Working,
    /// The work waits for something only the caller can give.
    InputRequired,
    /// Done; [`TaskRecord::result`] has what came of it.
    Completed,
    /// Not done; [`TaskRecord::error`] says why.
    Failed,
    /// The caller asked to stop.
    Cancelled,
}

impl TaskStatus {
    /// Every status there is.
    pub const ALL: [Self; 5] =
        [Self::Working, Self::InputRequired, Self::Completed, Self::Failed, Self::Cancelled];

    /// The name in answers and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::InputRequired => "input_required",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// True where nothing more will happen to it.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// Work that outlives the request that began it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Its id: nobody can guess it.
    pub id: String,
    /// The principal it was begun for; nobody else may learn of it.
    pub principal: String,
    /// The tool that works.
    pub tool: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// What is going on, for a person.
    pub message: Option<String>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it last moved.
    pub updated_at: Timestamp,
    /// From when on it may be forgotten, whatever its status; never where none is given.
    pub expires_at: Option<Timestamp>,
    /// How long whoever waits should wait between two looks, in milliseconds; up to `i64::MAX`.
    pub poll_ms: Option<u64>,
    /// What came of it, as JSON text.
    pub result: Option<String>,
    /// The error it ended with, as JSON text.
    pub error: Option<String>,
    /// The id of the change it waits for.
    pub change: Option<String>,
    /// Counts moves of this record, up to `i64::MAX`; [`Tasks::swap`] goes by it.
    pub version: u64,
}

/// Work that outlives the request that began it, and the process that began it.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// Adds a task durably: it is on disk when this returns, so that its id may be told.
    ///
    /// Error: also where the id is taken; then nothing was changed.
    async fn insert(&self, task: &TaskRecord) -> Result<(), StateError>;

    /// The task with this id, expired or not, until it is pruned.
    async fn get(&self, id: &str) -> Result<Option<TaskRecord>, StateError>;

    /// Replaces a task where its version is still `task.version`; its new version is one more. One that is final
    /// is on disk when this returns; another may be as it was before after a power cut, which ends its work too.
    async fn swap(&self, task: &TaskRecord) -> Result<Swap, StateError>;

    /// Every task that is not final, the oldest first. At a start these are the ones whose process died: the caller
    /// moves each to its end.
    async fn unfinished(&self) -> Result<Vec<TaskRecord>, StateError>;

    /// How many tasks of a principal are kept, final ones too, until they are pruned.
    async fn count(&self, principal: &str) -> Result<u64, StateError>;

    /// Forgets what has expired, whatever its status, and says how many there were.
    async fn prune(&self, now: Timestamp) -> Result<u64, StateError>;
}
