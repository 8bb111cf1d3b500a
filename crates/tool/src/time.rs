use std::{fmt, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A moment by the wall clock, in whole milliseconds since the Unix epoch.
///
/// Shown and serialized as RFC 3339 in UTC with milliseconds: `2026-11-21T10:30:45.123Z`. Used for records,
/// expiries and answers; durations and limits are measured with the monotonic clock instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Where the wall clock is read. The binary has the one real implementation; tests have their own.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}

impl Timestamp {
    /// From milliseconds since the Unix epoch; kept within the years 0 to 9999 so that it can always be shown.
    #[must_use]
    pub fn from_unix_ms(ms: i64) -> Self {
        Self(ms.clamp(-62_167_219_200_000, 253_402_300_799_999))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn unix_ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment and a while.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self::from_unix_ms(self.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This moment less a while.
    #[must_use]
    pub fn before(self, wait: Duration) -> Self {
        Self::from_unix_ms(self.0.saturating_sub(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; zero where it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The day in UTC: `2026-11-21`. Usage is counted by it.
    #[must_use]
    pub fn day(self) -> String {
        self.utc().format("%Y-%m-%d").to_string()
    }

    /// The month in UTC: `2026-11`.
    #[must_use]
    pub fn month(self) -> String {
        self.utc().format("%Y-%m").to_string()
    }

    /// As chrono's type, for rooms that compute with calendars.
    #[must_use]
    pub fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl std::str::FromStr for Timestamp {
    type Err = chrono::ParseError;

    /// Parses RFC 3339, with any offset.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::from_unix_ms(DateTime::parse_from_rfc3339(text)?.timestamp_millis()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|e| D::Error::custom(format!("{text:?} is not an RFC 3339 time: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_and_reads_back_the_same_millisecond() {
        for ms in [0, 1, 1_763_719_845_123, -1, i64::MAX, i64::MIN] {
            let time = Timestamp::from_unix_ms(ms);
            assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time, "{ms}");
        }
        assert_eq!(Timestamp::from_unix_ms(1_763_719_845_123).to_string(), "2025-11-21T10:10:45.123Z");
    }

    #[test]
    fn a_while_later_and_a_while_earlier_stay_within_what_can_be_shown() {
        let time = Timestamp::from_unix_ms(1_000);
        assert_eq!(time.after(Duration::from_millis(1)).unix_ms(), 1_001);
        assert_eq!(time.before(Duration::from_millis(1_001)).unix_ms(), -1);
        assert_eq!(time.after(Duration::MAX).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(time.before(Duration::MAX).to_string(), "0000-01-01T00:00:00.000Z");
    }
}
