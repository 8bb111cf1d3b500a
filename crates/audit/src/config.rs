use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tool::ConfigFault;

/// The `audit:` section: the log of who did what, as a signed chain of records.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The folder of the log. Default: `audit` in the data directory.
    pub directory: Option<PathBuf>,
    /// When a record counts as written: `written` (the kernel has it; survives a crash of the server), `changes`
    /// (records of calls that change something are on the disk; the default), `always` (every record is on the
    /// disk before the answer; survives a power cut).
    pub sync: SyncMode,
    /// A segment file is closed and the next one begun before it would grow over this, in bytes. At least 4,096.
    pub segment_bytes_max: u64,
    /// How many of the newest segment files are kept; older ones are removed when a new one is begun. Default:
    /// all, for ever.
    pub keep_segments: Option<u32>,
    /// A signed checkpoint is written after this many records.
    pub checkpoint_records: u64,
    /// A signed checkpoint is written at the latest this long after a record, in seconds.
    pub checkpoint_seconds: u64,
    /// The most bytes of one record's own members; of a larger one the long members are replaced by their length
    /// and digest. At least 1,024.
    pub record_bytes_max: usize,
    /// The most records that wait to be written.
    pub queue_max: u32,
    /// How long a record waits for room in the queue before its call is refused, in milliseconds.
    pub queue_wait_ms: u64,
}

/// When a record counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    /// As soon as the kernel has it.
    Written,
    /// When it is on the disk.
    Always,
    /// When it is on the disk, for records that ask for it; as soon as the kernel has it, for the others.
    Changes,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            directory: None,
            sync: SyncMode::Changes,
            segment_bytes_max: 32 << 20,
            keep_segments: None,
            checkpoint_records: 1_000,
            checkpoint_seconds: 10,
            record_bytes_max: 32 << 10,
            queue_max: 1_024,
            queue_wait_ms: 250,
        }
    }
}

impl Config {
    /// What the schema cannot say: every bound within its limits. No IO.
    #[must_use]
    pub fn check(&self) -> Vec<ConfigFault> {
        let bounds = [
            ("segment_bytes_max", self.segment_bytes_max, 4_096, 1 << 40),
            ("keep_segments", self.keep_segments.map_or(1, u64::from), 1, 1 << 32),
            ("checkpoint_records", self.checkpoint_records, 1, 1_000_000),
            ("checkpoint_seconds", self.checkpoint_seconds, 1, 86_400),
            ("record_bytes_max", self.record_bytes_max as u64, 1_024, 4 << 20),
            ("queue_max", self.queue_max.into(), 1, 1_000_000),
            ("queue_wait_ms", self.queue_wait_ms, 0, 60_000),
        ];
        let mut faults = Vec::new();
        for (name, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                let text = format!("{value} is out of range; expected {least} to {most}");
                faults.push(ConfigFault::new(format!("/audit/{name}"), text));
            }
        }
        faults
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(json: &str, expected: Expect) {
        let shown = match serde_json::from_str::<Config>(json) {
            Ok(config) => config.check().iter().map(|fault| format!("{fault}\n")).collect(),
            Err(error) => format!("{error}\n"),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn bounds_hold_at_their_edges() {
        check("{}", expect![""]);
        check(r#"{"segment_bytes_max":4096,"keep_segments":1,"checkpoint_records":1}"#, expect![""]);
        check(
            r#"{"checkpoint_seconds":1,"record_bytes_max":1024,"queue_max":1,"queue_wait_ms":0}"#,
            expect![""],
        );
        check(
            r#"{"segment_bytes_max":4095,"keep_segments":0,"checkpoint_records":0,"checkpoint_seconds":0}"#,
            expect![[r#"
                /audit/segment_bytes_max: 4095 is out of range; expected 4096 to 1099511627776
                /audit/keep_segments: 0 is out of range; expected 1 to 4294967296
                /audit/checkpoint_records: 0 is out of range; expected 1 to 1000000
                /audit/checkpoint_seconds: 0 is out of range; expected 1 to 86400
            "#]],
        );
        check(
            r#"{"record_bytes_max":1023,"queue_max":0,"queue_wait_ms":60001}"#,
            expect![[r#"
            /audit/record_bytes_max: 1023 is out of range; expected 1024 to 4194304
            /audit/queue_max: 0 is out of range; expected 1 to 1000000
            /audit/queue_wait_ms: 60001 is out of range; expected 0 to 60000
        "#]],
        );
        check(
            r#"{"sync":"never"}"#,
            expect![[r#"
            unknown variant `never`, expected one of `written`, `always`, `changes` at line 1 column 15
        "#]],
        );
        check(
            r#"{"fsync":"always"}"#,
            expect![[r#"
            unknown field `fsync`, expected one of `directory`, `sync`, `segment_bytes_max`, `keep_segments`, `checkpoint_records`, `checkpoint_seconds`, `record_bytes_max`, `queue_max`, `queue_wait_ms` at line 1 column 8
        "#]],
        );
    }
}
