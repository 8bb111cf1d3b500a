use async_trait::async_trait;
use sqlx::{Row as _, sqlite::SqliteRow};
use state::{Pin, Pins, StateError};

use super::{Durability, SqliteStore, moment};

const PUT: &str = "INSERT OR REPLACE INTO pins (server, tool, digest, definition, pinned_at, pinned_by) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

const OF_SERVER: &str = "SELECT * FROM pins WHERE server = ?1 ORDER BY tool";

#[async_trait]
impl Pins for SqliteStore {
    async fn pinned(&self, server: &str) -> Result<Vec<Pin>, StateError> {
        let rows = sqlx::query(OF_SERVER).bind(server).fetch_all(&self.readers).await;
        let pins = rows.and_then(|rows| rows.iter().map(pin_of).collect());
        pins.map_err(self.failed("read what was taken of a tool server"))
    }

    async fn pin(&self, pins: &[Pin]) -> Result<(), StateError> {
        self.write_pins(pins).await.map_err(self.failed("keep what was taken of a tool server"))
    }
}

impl SqliteStore {
    async fn write_pins(&self, pins: &[Pin]) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin(Durability::PowerCut).await?;
        for pin in pins {
            sqlx::query(PUT)
                .bind(&pin.server)
                .bind(&pin.tool)
                .bind(&pin.digest)
                .bind(&pin.definition)
                .bind(pin.pinned_at.unix_ms())
                .bind(&pin.pinned_by)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await
    }
}

fn pin_of(row: &SqliteRow) -> Result<Pin, sqlx::Error> {
    Ok(Pin {
        server: row.try_get("server")?,
        tool: row.try_get("tool")?,
        digest: row.try_get("digest")?,
        definition: row.try_get("definition")?,
        pinned_at: moment(row, "pinned_at")?,
        pinned_by: row.try_get("pinned_by")?,
    })
}
