use async_trait::async_trait;
use state::{StateError, Usage, UsageCount};
use tool::Timestamp;

use super::{Durability, SqliteStore, to_json};

/// `?1` is `[[key, day, calls], ..]`. `WHERE true` keeps the parser from taking `ON CONFLICT` for a join.
const ADD: &str = "INSERT INTO usage_by_day (key_id, day, calls) \
     SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1) WHERE true \
     ON CONFLICT (key_id, day) DO UPDATE SET calls = calls + excluded.calls";

/// The days of a month lie between its name and its name with `-99`.
const READ: &str = "SELECT coalesce(sum(calls) FILTER (WHERE day = ?2), 0), coalesce(sum(calls), 0) \
     FROM usage_by_day WHERE key_id = ?1 AND day BETWEEN ?3 AND ?3 || '-99'";

/// A count goes up to `i64::MAX`; what would go beyond is an error and adds nothing.
#[async_trait]
impl Usage for SqliteStore {
    async fn add(&self, counts: &[UsageCount]) -> Result<(), StateError> {
        self.write_counts(counts).await.map_err(self.failed("count calls"))
    }

    async fn read(&self, key: &str, now: Timestamp) -> Result<(u64, u64), StateError> {
        let counts = sqlx::query_as(READ).bind(key).bind(now.day()).bind(now.month());
        counts.fetch_one(&self.readers).await.map_err(self.failed("read how many calls there were"))
    }
}

impl SqliteStore {
    async fn write_counts(&self, counts: &[UsageCount]) -> Result<(), sqlx::Error> {
        let counts: Vec<_> = counts.iter().map(|count| (&count.key, &count.day, count.calls)).collect();
        let mut transaction = self.begin(Durability::Process).await?;
        sqlx::query(ADD).bind(to_json(&counts)?).execute(&mut *transaction).await?;
        transaction.commit().await
    }
}
