use async_trait::async_trait;
use sqlx::{Sqlite, Transaction};
use state::{Claim, Ledger, LedgerKey, StateError};
use tool::Timestamp;

use super::{Durability, SqliteStore};

/// Takes a key that is new, or whose entry has expired. No row is changed where another entry holds it.
const CLAIM: &str = "INSERT INTO ledger \
     (principal, tool, idempotency_key, arguments_digest, claimed_at, expires_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
     ON CONFLICT (principal, tool, idempotency_key) DO UPDATE SET arguments_digest = excluded.arguments_digest, \
     answer_json = NULL, claimed_at = excluded.claimed_at, expires_at = excluded.expires_at \
     WHERE ledger.expires_at <= excluded.claimed_at";

const READ: &str = "SELECT arguments_digest, answer_json FROM ledger \
     WHERE principal = ?1 AND tool = ?2 AND idempotency_key = ?3";

/// Each new entry takes some expired ones with it, so the table does not outgrow what is alive.
const FORGET_SOME: &str = "DELETE FROM ledger WHERE rowid IN \
     (SELECT rowid FROM ledger WHERE expires_at <= ?1 ORDER BY expires_at LIMIT 16)";

/// The first answer stays.
const SETTLE: &str = "UPDATE ledger SET answer_json = coalesce(answer_json, ?4) \
     WHERE principal = ?1 AND tool = ?2 AND idempotency_key = ?3";

/// An answer stays: its work had an effect.
const RELEASE: &str = "DELETE FROM ledger \
     WHERE principal = ?1 AND tool = ?2 AND idempotency_key = ?3 AND answer_json IS NULL";

/// Settling twice keeps the first answer, settling what was never claimed is an error, releasing what was
/// settled does nothing.
#[async_trait]
impl Ledger for SqliteStore {
    async fn claim(
        &self,
        key: &LedgerKey,
        arguments_digest: &str,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Claim, StateError> {
        let claim = self.write_claim(key, arguments_digest, now, expires_at).await;
        claim.map_err(self.failed("claim an idempotency key"))
    }

    async fn settle(&self, key: &LedgerKey, answer_json: &str) -> Result<(), StateError> {
        self.write_answer(key, answer_json).await.map_err(self.failed("record the answer of a claimed call"))
    }

    async fn release(&self, key: &LedgerKey) -> Result<(), StateError> {
        self.write_release(key).await.map_err(self.failed("give an idempotency key back"))
    }
}

impl SqliteStore {
    async fn write_claim(
        &self,
        key: &LedgerKey,
        arguments_digest: &str,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Claim, sqlx::Error> {
        let mut transaction = self.begin(Durability::PowerCut).await?;
        let taken = sqlx::query(CLAIM)
            .bind(&key.principal)
            .bind(&key.tool)
            .bind(&key.key)
            .bind(arguments_digest)
            .bind(now.unix_ms())
            .bind(expires_at.unix_ms())
            .execute(&mut *transaction)
            .await?;
        if taken.rows_affected() == 0 {
            return standing(&mut transaction, key, arguments_digest).await;
        }
        sqlx::query(FORGET_SOME).bind(now.unix_ms()).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(Claim::Fresh)
    }

    async fn write_answer(&self, key: &LedgerKey, answer_json: &str) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin(Durability::PowerCut).await?;
        let settled = sqlx::query(SETTLE)
            .bind(&key.principal)
            .bind(&key.tool)
            .bind(&key.key)
            .bind(answer_json)
            .execute(&mut *transaction)
            .await?;
        if settled.rows_affected() == 0 {
            return Err(sqlx::Error::RowNotFound);
        }
        transaction.commit().await
    }

    async fn write_release(&self, key: &LedgerKey) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin(Durability::PowerCut).await?;
        let release = sqlx::query(RELEASE).bind(&key.principal).bind(&key.tool).bind(&key.key);
        release.execute(&mut *transaction).await?;
        transaction.commit().await
    }
}

/// What became of the claim that holds the key.
async fn standing(
    transaction: &mut Transaction<'static, Sqlite>,
    key: &LedgerKey,
    arguments_digest: &str,
) -> Result<Claim, sqlx::Error> {
    let read = sqlx::query_as(READ).bind(&key.principal).bind(&key.tool).bind(&key.key);
    let (digest, answer): (String, Option<String>) = read.fetch_one(&mut **transaction).await?;
    Ok(match answer {
        _ if digest != arguments_digest => Claim::Clash,
        Some(answer) => Claim::Done(answer),
        None => Claim::Open,
    })
}
