use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tool::ConfigFault;

const WEEK_MINUTES: u32 = 7 * 24 * 60;

/// The `changes:` section: how long a plan waits, and who may approve it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a plan waits for an approver before it expires.
    #[schemars(range(min = 1, max = 10_080))]
    pub approval_minutes: u32,
    /// How long an approved plan waits to be applied before it expires.
    #[schemars(range(min = 1, max = 10_080))]
    pub apply_minutes: u32,
    /// How many plans of one principal may wait at once, for approval or to be applied.
    #[schemars(range(min = 1, max = 1_000))]
    pub pending_max: u32,
    /// The largest plan that is kept: its arguments, difference and payload as JSON.
    #[schemars(range(min = 1_024, max = 67_108_864))]
    pub plan_bytes_max: usize,
    /// True where an approver must answer to another owner than the requester does, for every change.
    pub four_eyes: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            approval_minutes: 30,
            apply_minutes: 30,
            pending_max: 20,
            plan_bytes_max: 8 * 1024 * 1024,
            four_eyes: false,
        }
    }
}

impl Config {
    /// What is out of its bounds, under `/changes`.
    #[must_use]
    pub fn check(&self) -> Vec<ConfigFault> {
        let rows = [
            ("approval_minutes", self.approval_minutes as usize, 1, WEEK_MINUTES as usize),
            ("apply_minutes", self.apply_minutes as usize, 1, WEEK_MINUTES as usize),
            ("pending_max", self.pending_max as usize, 1, 1_000),
            ("plan_bytes_max", self.plan_bytes_max, 1_024, 64 * 1024 * 1024),
        ];
        let outside = rows.into_iter().filter(|(_, value, min, max)| !(min..=max).contains(&value));
        outside
            .map(|(name, value, min, max)| {
                ConfigFault::new(format!("/changes/{name}"), format!("{value} is not within {min} and {max}"))
            })
            .collect()
    }

    pub(crate) fn approval_time(&self) -> Duration {
        Duration::from_secs(u64::from(self.approval_minutes) * 60)
    }

    pub(crate) fn apply_time(&self) -> Duration {
        Duration::from_secs(u64::from(self.apply_minutes) * 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_at_their_edges() {
        assert_eq!(Config::default().check(), []);
        let edge = Config {
            approval_minutes: 1,
            apply_minutes: WEEK_MINUTES,
            pending_max: 1_000,
            plan_bytes_max: 1_024,
            four_eyes: true,
        };
        assert_eq!(edge.check(), []);
        let beyond = Config {
            approval_minutes: 0,
            apply_minutes: WEEK_MINUTES + 1,
            pending_max: 0,
            plan_bytes_max: 1,
            ..edge
        };
        let pointers: Vec<_> = beyond.check().into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(
            pointers,
            [
                "/changes/approval_minutes",
                "/changes/apply_minutes",
                "/changes/pending_max",
                "/changes/plan_bytes_max"
            ]
        );
    }
}
