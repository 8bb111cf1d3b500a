use async_trait::async_trait;
use sqlx::{QueryBuilder, Row as _, Sqlite, Transaction, sqlite::SqliteRow};
use state::{ChangeFilter, ChangeRecord, Changes, JournalEntry, StateError, Swap};
use tool::{Plan, Risk, Timestamp};

use super::{Durability, SqliteStore, json, moment, moment_or_none, to_json, word};

/// How many changes a list has where the filter names no number.
const LIST_USUAL: u32 = 100;

/// How many changes a list has at most: each may hold a long diff.
const LIST_MAX: u32 = 1_000;

/// Arguments, payload and decision are JSON in columns of their own, so that no nesting is added to them.
const INSERT: &str = "INSERT INTO changes (id, state, tool, requester, requester_owner, arguments, \
     arguments_digest, plan_target, plan_summary, plan_diff, plan_risk, plan_before, plan_after, plan_payload, \
     plan_digest, rules_hash, four_eyes, created_at, expires_at, decision, ended_at, outcome, request_id, \
     version) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, \
     ?20, ?21, ?22, ?23, ?24)";

const REPLACE: &str = "UPDATE changes SET state = ?2, tool = ?3, requester = ?4, requester_owner = ?5, \
     arguments = ?6, arguments_digest = ?7, plan_target = ?8, plan_summary = ?9, plan_diff = ?10, \
     plan_risk = ?11, plan_before = ?12, plan_after = ?13, plan_payload = ?14, plan_digest = ?15, \
     rules_hash = ?16, four_eyes = ?17, created_at = ?18, expires_at = ?19, decision = ?20, ended_at = ?21, \
     outcome = ?22, request_id = ?23, version = version + 1 WHERE id = ?1 AND version = ?24";

const INSERT_ENTRY: &str =
    "INSERT INTO change_journal (change_id, at, event, detail) VALUES (?1, ?2, ?3, ?4)";

const JOURNAL: &str = "SELECT at, event, detail FROM change_journal WHERE change_id = ?1 ORDER BY number";

/// A list has at most 1,000 changes, whatever the filter wants. The journal cannot be changed: the database
/// itself refuses.
#[async_trait]
impl Changes for SqliteStore {
    async fn insert(&self, change: &ChangeRecord, entry: &JournalEntry) -> Result<(), StateError> {
        let inserted = self.write_change(INSERT, change, entry).await;
        inserted.map(|_| ()).map_err(self.failed("add a change"))
    }

    async fn get(&self, id: &str) -> Result<Option<ChangeRecord>, StateError> {
        let row =
            sqlx::query("SELECT * FROM changes WHERE id = ?1").bind(id).fetch_optional(&self.readers).await;
        row.and_then(|row| row.as_ref().map(change_of).transpose()).map_err(self.failed("read a change"))
    }

    async fn list(&self, filter: &ChangeFilter) -> Result<Vec<ChangeRecord>, StateError> {
        let rows = list_query(filter).build().fetch_all(&self.readers).await;
        rows.and_then(|rows| rows.iter().map(change_of).collect()).map_err(self.failed("list changes"))
    }

    async fn swap(&self, change: &ChangeRecord, entry: &JournalEntry) -> Result<Swap, StateError> {
        self.write_change(REPLACE, change, entry).await.map_err(self.failed("move a change on"))
    }

    async fn journal(&self, id: &str) -> Result<Vec<JournalEntry>, StateError> {
        let rows = sqlx::query(JOURNAL).bind(id).fetch_all(&self.readers).await;
        let entries = rows.and_then(|rows| rows.iter().map(entry_of).collect());
        entries.map_err(self.failed("read the journal of a change"))
    }
}

impl SqliteStore {
    /// Writes a change by `statement`, and the line of its journal where that found its row.
    async fn write_change(
        &self,
        statement: &'static str,
        change: &ChangeRecord,
        entry: &JournalEntry,
    ) -> Result<Swap, sqlx::Error> {
        let mut transaction = self.begin(Durability::PowerCut).await?;
        if write_record(&mut transaction, statement, change).await? == 0 {
            return Ok(Swap::Stale);
        }
        sqlx::query(INSERT_ENTRY)
            .bind(&change.id)
            .bind(entry.at.unix_ms())
            .bind(&entry.event)
            .bind(&entry.detail)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Swap::Done)
    }
}

/// How many rows were written: one or none.
async fn write_record(
    transaction: &mut Transaction<'static, Sqlite>,
    statement: &'static str,
    change: &ChangeRecord,
) -> Result<u64, sqlx::Error> {
    let written = sqlx::query(statement)
        .bind(&change.id)
        .bind(change.state.as_str())
        .bind(&change.tool)
        .bind(&change.requester)
        .bind(&change.requester_owner)
        .bind(to_json(&change.arguments)?)
        .bind(&change.arguments_digest)
        .bind(&change.plan.target)
        .bind(&change.plan.summary)
        .bind(&change.plan.diff)
        .bind(risk_name(change.plan.risk))
        .bind(&change.plan.before)
        .bind(&change.plan.after)
        .bind(to_json(&change.plan.payload)?)
        .bind(&change.plan_digest)
        .bind(&change.rules_hash)
        .bind(change.four_eyes)
        .bind(change.created_at.unix_ms())
        .bind(change.expires_at.unix_ms())
        .bind(change.decision.as_ref().map(to_json).transpose()?)
        .bind(change.ended_at.map(Timestamp::unix_ms))
        .bind(&change.outcome)
        .bind(&change.request_id)
        .bind(change.version)
        .execute(&mut **transaction)
        .await?;
    Ok(written.rows_affected())
}

/// One of four statements, each of constants and parameters, so that an index serves each.
fn list_query(filter: &ChangeFilter) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT * FROM changes WHERE true");
    if let Some(state) = filter.state {
        query.push(" AND state = ").push_bind(state.as_str());
    }
    if let Some(requester) = &filter.requester {
        query.push(" AND requester = ").push_bind(requester.clone());
    }
    query.push(" ORDER BY created_at DESC, number DESC LIMIT ").push_bind(list_limit(filter.limit));
    query
}

fn list_limit(wanted: u32) -> u32 {
    if wanted == 0 { LIST_USUAL } else { wanted.min(LIST_MAX) }
}

fn change_of(row: &SqliteRow) -> Result<ChangeRecord, sqlx::Error> {
    let decision: Option<String> = row.try_get("decision")?;
    Ok(ChangeRecord {
        id: row.try_get("id")?,
        state: word(row, "state")?,
        tool: row.try_get("tool")?,
        requester: row.try_get("requester")?,
        requester_owner: row.try_get("requester_owner")?,
        arguments: json(row, "arguments")?,
        arguments_digest: row.try_get("arguments_digest")?,
        plan: plan_of(row)?,
        plan_digest: row.try_get("plan_digest")?,
        rules_hash: row.try_get("rules_hash")?,
        four_eyes: row.try_get("four_eyes")?,
        created_at: moment(row, "created_at")?,
        expires_at: moment(row, "expires_at")?,
        decision: decision.map(|_| json(row, "decision")).transpose()?,
        ended_at: moment_or_none(row, "ended_at")?,
        outcome: row.try_get("outcome")?,
        request_id: row.try_get("request_id")?,
        version: row.try_get("version")?,
    })
}

fn plan_of(row: &SqliteRow) -> Result<Plan, sqlx::Error> {
    Ok(Plan {
        target: row.try_get("plan_target")?,
        summary: row.try_get("plan_summary")?,
        diff: row.try_get("plan_diff")?,
        risk: word(row, "plan_risk")?,
        before: row.try_get("plan_before")?,
        after: row.try_get("plan_after")?,
        payload: json(row, "plan_payload")?,
    })
}

fn entry_of(row: &SqliteRow) -> Result<JournalEntry, sqlx::Error> {
    Ok(JournalEntry { at: moment(row, "at")?, event: row.try_get("event")?, detail: row.try_get("detail")? })
}

fn risk_name(risk: Risk) -> &'static str {
    match risk {
        Risk::Low => "low",
        Risk::Medium => "medium",
        Risk::High => "high",
    }
}

#[cfg(test)]
mod tests {
    use super::list_limit;

    #[test]
    fn a_list_is_as_long_as_wanted_up_to_its_bound() {
        for (wanted, limit) in
            [(0, 100), (1, 1), (999, 999), (1_000, 1_000), (1_001, 1_000), (u32::MAX, 1_000)]
        {
            assert_eq!(list_limit(wanted), limit, "{wanted}");
        }
    }
}
