use async_trait::async_trait;
use sqlx::{Row as _, Sqlite, SqlitePool, Transaction, sqlite::SqliteRow};
use state::{Key, KeySecret, Keys, Slot, StateError, Swap};
use tool::Timestamp;

use super::{Durability, SqliteStore, is_taken, json, moment, moment_or_none, to_json, word};

/// A key and its secrets, a row for each secret (one row with no secret where it has none).
macro_rules! select {
    ($where_and_order:literal) => {
        concat!(
            "SELECT k.*, s.slot, s.hash, s.prefix, s.expires_at AS secret_expires_at ",
            "FROM keys k LEFT JOIN key_secrets s ON s.key_id = k.id ",
            $where_and_order
        )
    };
}

const BY_HASH: &str = select!(
    "WHERE k.id = (SELECT key_id FROM key_secrets WHERE hash = ?1) AND k.revoked_at IS NULL ORDER BY s.slot"
);

/// Where one key's label is another one's id, the id counts.
const BY_ID_OR_LABEL: &str = select!(
    "WHERE k.id = coalesce((SELECT id FROM keys WHERE id = ?1), (SELECT id FROM keys WHERE label = ?1)) \
     ORDER BY s.slot"
);

const ALL: &str = select!("ORDER BY k.label, k.id, s.slot");

const INSERT: &str = "INSERT INTO keys (id, label, principal, user_id, tier, roles, rate_per_minute, enabled, \
     created_at, expires_at, revoked_at, last_used_at, version) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

/// The last use is kept where it is later: a `touch` may have come between.
const REPLACE: &str = "UPDATE keys SET label = ?2, principal = ?3, user_id = ?4, tier = ?5, roles = ?6, \
     rate_per_minute = ?7, enabled = ?8, created_at = ?9, expires_at = ?10, revoked_at = ?11, \
     last_used_at = max(coalesce(last_used_at, ?12), coalesce(?12, last_used_at)), version = version + 1 \
     WHERE id = ?1 AND version = ?13";

const FORGET_SECRETS: &str = "DELETE FROM key_secrets WHERE key_id = ?1";

const INSERT_SECRET: &str =
    "INSERT INTO key_secrets (key_id, slot, hash, prefix, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)";

/// `?1` is `[[id, unix_ms], ..]`.
const TOUCH: &str = "UPDATE keys SET last_used_at = used.at \
     FROM (SELECT value ->> 0 AS id, max(value ->> 1) AS at FROM json_each(?1) GROUP BY 1) AS used \
     WHERE keys.id = used.id AND (last_used_at IS NULL OR last_used_at < used.at)";

/// Secrets come back with the primary first. A key has at most one in each slot; one with two is never written, and
/// answered with `Stale`.
#[async_trait]
impl Keys for SqliteStore {
    async fn by_hash(&self, hash: &str) -> Result<Option<Key>, StateError> {
        one(&self.readers, BY_HASH, hash).await.map_err(self.failed("look up a key"))
    }

    async fn get(&self, id_or_label: &str) -> Result<Option<Key>, StateError> {
        one(&self.readers, BY_ID_OR_LABEL, id_or_label).await.map_err(self.failed("read a key"))
    }

    async fn list(&self) -> Result<Vec<Key>, StateError> {
        let rows = sqlx::query(ALL).fetch_all(&self.readers).await;
        rows.and_then(|rows| keys_of(&rows)).map_err(self.failed("list the keys"))
    }

    async fn insert(&self, key: &Key) -> Result<Swap, StateError> {
        stale_where_taken(self.write_key(INSERT, key).await).map_err(self.failed("add a key"))
    }

    /// `Stale` also where the new label or a new hash is another key's.
    async fn swap(&self, key: &Key) -> Result<Swap, StateError> {
        stale_where_taken(self.write_key(REPLACE, key).await).map_err(self.failed("change a key"))
    }

    async fn touch(&self, used: &[(String, Timestamp)]) -> Result<(), StateError> {
        self.write_touches(used).await.map_err(self.failed("remember when keys were used"))
    }
}

impl SqliteStore {
    /// Writes a key by `statement`, and its secrets where that found its row.
    async fn write_key(&self, statement: &'static str, key: &Key) -> Result<Swap, sqlx::Error> {
        let mut transaction = self.begin(Durability::PowerCut).await?;
        let written = sqlx::query(statement)
            .bind(&key.id)
            .bind(&key.label)
            .bind(&key.principal)
            .bind(&key.user_id)
            .bind(&key.tier)
            .bind(to_json(&key.roles)?)
            .bind(key.rate_per_minute)
            .bind(key.enabled)
            .bind(key.created_at.unix_ms())
            .bind(key.expires_at.map(Timestamp::unix_ms))
            .bind(key.revoked_at.map(Timestamp::unix_ms))
            .bind(key.last_used_at.map(Timestamp::unix_ms))
            .bind(key.version)
            .execute(&mut *transaction)
            .await?;
        if written.rows_affected() == 0 {
            return Ok(Swap::Stale);
        }
        write_secrets(&mut transaction, key).await?;
        transaction.commit().await?;
        Ok(Swap::Done)
    }

    async fn write_touches(&self, used: &[(String, Timestamp)]) -> Result<(), sqlx::Error> {
        let used: Vec<_> = used.iter().map(|(id, at)| (id, at.unix_ms())).collect();
        let mut transaction = self.begin(Durability::Process).await?;
        sqlx::query(TOUCH).bind(to_json(&used)?).execute(&mut *transaction).await?;
        transaction.commit().await
    }
}

async fn write_secrets(transaction: &mut Transaction<'static, Sqlite>, key: &Key) -> Result<(), sqlx::Error> {
    sqlx::query(FORGET_SECRETS).bind(&key.id).execute(&mut **transaction).await?;
    for secret in &key.secrets {
        sqlx::query(INSERT_SECRET)
            .bind(&key.id)
            .bind(slot_name(secret.slot))
            .bind(&secret.hash)
            .bind(&secret.prefix)
            .bind(secret.expires_at.map(Timestamp::unix_ms))
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

async fn one(readers: &SqlitePool, statement: &'static str, by: &str) -> Result<Option<Key>, sqlx::Error> {
    let rows = sqlx::query(statement).bind(by).fetch_all(readers).await?;
    Ok(keys_of(&rows)?.pop())
}

/// The keys of rows where all rows of a key stand together.
fn keys_of(rows: &[SqliteRow]) -> Result<Vec<Key>, sqlx::Error> {
    let mut keys: Vec<Key> = Vec::new();
    for row in rows {
        let id: String = row.try_get("id")?;
        if keys.last().is_none_or(|key| key.id != id) {
            keys.push(key_of(row, id)?);
        }
        if let (Some(key), Some(hash)) = (keys.last_mut(), row.try_get("hash")?) {
            key.secrets.push(secret_of(row, hash)?);
        }
    }
    Ok(keys)
}

fn key_of(row: &SqliteRow, id: String) -> Result<Key, sqlx::Error> {
    Ok(Key {
        id,
        label: row.try_get("label")?,
        principal: row.try_get("principal")?,
        user_id: row.try_get("user_id")?,
        tier: row.try_get("tier")?,
        roles: json(row, "roles")?,
        rate_per_minute: row.try_get("rate_per_minute")?,
        enabled: row.try_get("enabled")?,
        created_at: moment(row, "created_at")?,
        expires_at: moment_or_none(row, "expires_at")?,
        revoked_at: moment_or_none(row, "revoked_at")?,
        last_used_at: moment_or_none(row, "last_used_at")?,
        secrets: Vec::new(),
        version: row.try_get("version")?,
    })
}

fn secret_of(row: &SqliteRow, hash: String) -> Result<KeySecret, sqlx::Error> {
    Ok(KeySecret {
        slot: word(row, "slot")?,
        hash,
        prefix: row.try_get("prefix")?,
        expires_at: moment_or_none(row, "secret_expires_at")?,
    })
}

fn slot_name(slot: Slot) -> &'static str {
    match slot {
        Slot::Primary => "primary",
        Slot::Secondary => "secondary",
    }
}

/// What was taken has been put there by somebody else: nothing was changed.
fn stale_where_taken(result: Result<Swap, sqlx::Error>) -> Result<Swap, sqlx::Error> {
    match result {
        Err(error) if is_taken(&error) => Ok(Swap::Stale),
        result => result,
    }
}
