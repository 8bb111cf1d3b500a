use async_trait::async_trait;
use sqlx::{Row as _, sqlite::SqliteRow};
use state::{SessionRecord, Sessions, StateError};
use tool::Timestamp;

use super::{Durability, SqliteStore, moment, to_json};

const PUT: &str = "INSERT OR REPLACE INTO sessions \
     (id_hash, principal, credential, protocol, initialize, created_at, used_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

const GET: &str = "SELECT * FROM sessions WHERE id_hash = ?1";

/// `?1` is `[[id_hash, unix_ms], ..]`.
const TOUCH: &str = "UPDATE sessions SET used_at = used.at \
     FROM (SELECT value ->> 0 AS id_hash, max(value ->> 1) AS at FROM json_each(?1) GROUP BY 1) AS used \
     WHERE sessions.id_hash = used.id_hash AND sessions.used_at < used.at";

const REMOVE: &str = "DELETE FROM sessions WHERE id_hash = ?1";

const COUNT: &str = "SELECT count(*) FROM sessions WHERE principal = ?1";

const PRUNE: &str = "DELETE FROM sessions WHERE used_at < ?1";

#[async_trait]
impl Sessions for SqliteStore {
    async fn put(&self, session: &SessionRecord) -> Result<(), StateError> {
        self.write_session(session).await.map_err(self.failed("keep a session"))
    }

    async fn get(&self, id_hash: &str) -> Result<Option<SessionRecord>, StateError> {
        let row = sqlx::query(GET).bind(id_hash).fetch_optional(&self.readers).await;
        row.and_then(|row| row.as_ref().map(session_of).transpose()).map_err(self.failed("read a session"))
    }

    async fn touch(&self, used: &[(String, Timestamp)]) -> Result<(), StateError> {
        self.write_uses(used).await.map_err(self.failed("remember when sessions were used"))
    }

    async fn remove(&self, id_hash: &str) -> Result<bool, StateError> {
        let removed = self.forget(REMOVE, id_hash).await;
        removed.map(|removed| removed > 0).map_err(self.failed("forget a session"))
    }

    async fn count(&self, principal: &str) -> Result<u64, StateError> {
        let count = sqlx::query_scalar(COUNT).bind(principal).fetch_one(&self.readers).await;
        count.map_err(self.failed("count the sessions of a principal"))
    }

    async fn prune(&self, used_before: Timestamp) -> Result<u64, StateError> {
        self.forget(PRUNE, used_before.unix_ms()).await.map_err(self.failed("forget old sessions"))
    }
}

impl SqliteStore {
    async fn write_session(&self, session: &SessionRecord) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin(Durability::Process).await?;
        sqlx::query(PUT)
            .bind(&session.id_hash)
            .bind(&session.principal)
            .bind(&session.credential)
            .bind(&session.protocol)
            .bind(&session.initialize)
            .bind(session.created_at.unix_ms())
            .bind(session.used_at.unix_ms())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    async fn write_uses(&self, used: &[(String, Timestamp)]) -> Result<(), sqlx::Error> {
        let used: Vec<_> = used.iter().map(|(id_hash, at)| (id_hash, at.unix_ms())).collect();
        let mut transaction = self.begin(Durability::Process).await?;
        sqlx::query(TOUCH).bind(to_json(&used)?).execute(&mut *transaction).await?;
        transaction.commit().await
    }
}

fn session_of(row: &SqliteRow) -> Result<SessionRecord, sqlx::Error> {
    Ok(SessionRecord {
        id_hash: row.try_get("id_hash")?,
        principal: row.try_get("principal")?,
        credential: row.try_get("credential")?,
        protocol: row.try_get("protocol")?,
        initialize: row.try_get("initialize")?,
        created_at: moment(row, "created_at")?,
        used_at: moment(row, "used_at")?,
    })
}
