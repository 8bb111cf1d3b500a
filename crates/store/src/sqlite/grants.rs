use async_trait::async_trait;
use sqlx::Row as _;
use state::{Grants, StateError};
use tool::Secret;

use super::{Durability, SqliteStore};

#[async_trait]
impl Grants for SqliteStore {
    async fn granted(&self, server: &str) -> Result<Option<Secret>, StateError> {
        let query = sqlx::query("SELECT given FROM grants WHERE server = ?1").bind(server);
        let row = query.fetch_optional(&self.readers).await;
        let given = row.and_then(|row| row.map(|row| row.try_get("given").map(Secret::new)).transpose());
        given.map_err(self.failed("read what was granted for a tool server"))
    }

    async fn grant(&self, server: &str, given: Option<&Secret>) -> Result<(), StateError> {
        let written = self.write_grant(server, given).await;
        written.map_err(self.failed("keep what was granted for a tool server"))
    }
}

impl SqliteStore {
    async fn write_grant(&self, server: &str, given: Option<&Secret>) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin(Durability::PowerCut).await?;
        let query = match given {
            Some(given) => sqlx::query("INSERT OR REPLACE INTO grants (server, given) VALUES (?1, ?2)")
                .bind(server)
                .bind(given.expose().to_owned()),
            None => sqlx::query("DELETE FROM grants WHERE server = ?1").bind(server),
        };
        query.execute(&mut *transaction).await?;
        transaction.commit().await
    }
}
