use async_trait::async_trait;
use sqlx::{Row as _, sqlite::SqliteRow};
use state::{StateError, Swap, TaskRecord, Tasks};
use tool::Timestamp;

use super::{Durability, SqliteStore, moment, moment_or_none, sql_integer, word};

const INSERT: &str = "INSERT INTO tasks (id, principal, tool, status, message, created_at, updated_at, expires_at, \
     poll_ms, result, error, change, version) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

const REPLACE: &str = "UPDATE tasks SET principal = ?2, tool = ?3, status = ?4, message = ?5, created_at = ?6, \
     updated_at = ?7, expires_at = ?8, poll_ms = ?9, result = ?10, error = ?11, change = ?12, \
     version = version + 1 WHERE id = ?1 AND version = ?13";

const GET: &str = "SELECT * FROM tasks WHERE id = ?1";

/// As the partial index has it.
const UNFINISHED: &str =
    "SELECT * FROM tasks WHERE status IN ('working', 'input_required') ORDER BY created_at, number";

const COUNT: &str = "SELECT count(*) FROM tasks WHERE principal = ?1";

const PRUNE: &str = "DELETE FROM tasks WHERE expires_at <= ?1";

#[async_trait]
impl Tasks for SqliteStore {
    async fn insert(&self, task: &TaskRecord) -> Result<(), StateError> {
        let inserted = self.write_task(INSERT, Durability::PowerCut, task).await;
        inserted.map(|_| ()).map_err(self.failed("add a task"))
    }

    async fn get(&self, id: &str) -> Result<Option<TaskRecord>, StateError> {
        let row = sqlx::query(GET).bind(id).fetch_optional(&self.readers).await;
        row.and_then(|row| row.as_ref().map(task_of).transpose()).map_err(self.failed("read a task"))
    }

    async fn swap(&self, task: &TaskRecord) -> Result<Swap, StateError> {
        // What goes on ends with the power anyway.
        let outlives = if task.status.is_final() { Durability::PowerCut } else { Durability::Process };
        self.write_task(REPLACE, outlives, task).await.map_err(self.failed("move a task on"))
    }

    async fn unfinished(&self) -> Result<Vec<TaskRecord>, StateError> {
        let rows = sqlx::query(UNFINISHED).fetch_all(&self.readers).await;
        let tasks = rows.and_then(|rows| rows.iter().map(task_of).collect());
        tasks.map_err(self.failed("list the unfinished tasks"))
    }

    async fn count(&self, principal: &str) -> Result<u64, StateError> {
        let count = sqlx::query_scalar(COUNT).bind(principal).fetch_one(&self.readers).await;
        count.map_err(self.failed("count the tasks of a principal"))
    }

    async fn prune(&self, now: Timestamp) -> Result<u64, StateError> {
        self.forget(PRUNE, now.unix_ms()).await.map_err(self.failed("forget old tasks"))
    }
}

impl SqliteStore {
    /// Writes a task by `statement`; `Stale` where that found no row.
    async fn write_task(
        &self,
        statement: &'static str,
        outlives: Durability,
        task: &TaskRecord,
    ) -> Result<Swap, sqlx::Error> {
        let mut transaction = self.begin(outlives).await?;
        let written = sqlx::query(statement)
            .bind(&task.id)
            .bind(&task.principal)
            .bind(&task.tool)
            .bind(task.status.as_str())
            .bind(&task.message)
            .bind(task.created_at.unix_ms())
            .bind(task.updated_at.unix_ms())
            .bind(task.expires_at.map(Timestamp::unix_ms))
            .bind(task.poll_ms.map(sql_integer))
            .bind(&task.result)
            .bind(&task.error)
            .bind(&task.change)
            .bind(sql_integer(task.version))
            .execute(&mut *transaction)
            .await?;
        if written.rows_affected() == 0 {
            return Ok(Swap::Stale);
        }
        transaction.commit().await?;
        Ok(Swap::Done)
    }
}

fn task_of(row: &SqliteRow) -> Result<TaskRecord, sqlx::Error> {
    Ok(TaskRecord {
        id: row.try_get("id")?,
        principal: row.try_get("principal")?,
        tool: row.try_get("tool")?,
        status: word(row, "status")?,
        message: row.try_get("message")?,
        created_at: moment(row, "created_at")?,
        updated_at: moment(row, "updated_at")?,
        expires_at: moment_or_none(row, "expires_at")?,
        poll_ms: row.try_get("poll_ms")?,
        result: row.try_get("result")?,
        error: row.try_get("error")?,
        change: row.try_get("change")?,
        version: row.try_get("version")?,
    })
}
