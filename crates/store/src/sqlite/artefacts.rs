use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use sqlx::Row as _;
use state::{Artefact, Artefacts, Slice, StateError};
use tool::Timestamp;

use super::{Durability, SqliteStore, sql_integer};

/// The size of a piece. Part of the file's format: see the migration.
const PIECE_BYTES: u64 = 65_536;

const INSERT: &str = "INSERT INTO artefacts (handle, principal, tool, total_bytes, created_at, expires_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

const INSERT_PIECE: &str = "INSERT INTO artefact_pieces (artefact, piece, bytes) VALUES (?1, ?2, ?3)";

/// The pieces `?4` up to, not including, `?5`; one row without a piece where there is none.
const READ: &str = "SELECT a.total_bytes, p.piece, p.bytes \
     FROM artefacts a LEFT JOIN artefact_pieces p ON p.artefact = a.number AND p.piece >= ?4 AND p.piece < ?5 \
     WHERE a.handle = ?1 AND a.principal = ?2 AND a.expires_at > ?3 ORDER BY p.piece";

/// Adds up from the newest on: what lies beyond the bound is the oldest. Pieces go with their artefact.
const PRUNE: &str = "DELETE FROM artefacts WHERE expires_at <= ?1 OR number IN \
     (SELECT number FROM \
         (SELECT number, sum(total_bytes) OVER (ORDER BY created_at DESC, number DESC) AS so_far \
          FROM artefacts WHERE expires_at > ?1) \
      WHERE so_far > ?2)";

#[async_trait]
impl Artefacts for SqliteStore {
    async fn put(&self, artefact: &Artefact) -> Result<(), StateError> {
        self.write_artefact(artefact).await.map_err(self.failed("keep a result"))
    }

    async fn read(
        &self,
        handle: &str,
        principal: &str,
        offset: u64,
        bytes_max: u64,
        now: Timestamp,
    ) -> Result<Option<Slice>, StateError> {
        let slice = self.read_slice(handle, principal, offset, bytes_max, now).await;
        slice.map_err(self.failed("read a kept result"))
    }

    /// Returns how many were forgotten.
    async fn prune(&self, now: Timestamp, bytes_max: u64) -> Result<u64, StateError> {
        self.write_prune(now, bytes_max).await.map_err(self.failed("forget old results"))
    }
}

impl SqliteStore {
    async fn write_artefact(&self, artefact: &Artefact) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin(Durability::Process).await?;
        let inserted = sqlx::query(INSERT)
            .bind(&artefact.handle)
            .bind(&artefact.principal)
            .bind(&artefact.tool)
            .bind(sql_integer(artefact.content.len() as u64))
            .bind(artefact.created_at.unix_ms())
            .bind(artefact.expires_at.unix_ms())
            .execute(&mut *transaction)
            .await?;
        let pieces = artefact.content.chunks(PIECE_BYTES as usize);
        for (piece, bytes) in (0_i64..).zip(pieces) {
            let insert = sqlx::query(INSERT_PIECE).bind(inserted.last_insert_rowid()).bind(piece).bind(bytes);
            insert.execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    /// Holds no more than the slice and a piece at a time.
    async fn read_slice(
        &self,
        handle: &str,
        principal: &str,
        offset: u64,
        bytes_max: u64,
        now: Timestamp,
    ) -> Result<Option<Slice>, sqlx::Error> {
        let end = offset.saturating_add(bytes_max);
        let mut rows = sqlx::query(READ)
            .bind(handle)
            .bind(principal)
            .bind(now.unix_ms())
            .bind(sql_integer(offset / PIECE_BYTES))
            .bind(sql_integer(end.div_ceil(PIECE_BYTES)))
            .fetch(&self.readers);
        let mut slice = None;
        while let Some(row) = rows.try_next().await? {
            let total_bytes = row.try_get("total_bytes")?;
            let slice = slice.get_or_insert_with(|| Slice { bytes: Vec::new(), total_bytes });
            if let Some(piece) = row.try_get::<Option<u64>, _>("piece")? {
                slice.bytes.extend_from_slice(overlap(piece, row.try_get("bytes")?, offset, end));
            }
        }
        Ok(slice)
    }

    async fn write_prune(&self, now: Timestamp, bytes_max: u64) -> Result<u64, sqlx::Error> {
        let mut transaction = self.begin(Durability::Process).await?;
        let prune = sqlx::query(PRUNE).bind(now.unix_ms()).bind(sql_integer(bytes_max));
        let forgotten = prune.execute(&mut *transaction).await?.rows_affected();
        transaction.commit().await?;
        Ok(forgotten)
    }
}

/// The part of a piece that lies within `offset..end` of the whole.
fn overlap(piece: u64, bytes: &[u8], offset: u64, end: u64) -> &[u8] {
    let start = piece.saturating_mul(PIECE_BYTES);
    let within =
        |at: u64| usize::try_from(at.saturating_sub(start)).map_or(bytes.len(), |at| at.min(bytes.len()));
    &bytes[within(offset)..within(end)]
}
