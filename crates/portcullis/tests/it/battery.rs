//! Batteries: rounds and seed from the environment, and a row for docs/PROOF.md where `cargo xtask proof` asks.

use serde_json::json;

/// How many rounds a battery runs: its own number, unless `PORTCULLIS_ROUNDS` says another.
pub(crate) fn rounds(usual: u32) -> u32 {
    std::env::var("PORTCULLIS_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Numbers that look random and can be had again: xorshift64 (Marsaglia, 2003).
pub(crate) struct Dice(u64);

impl Dice {
    /// Seeded by `PORTCULLIS_SEED`, else always the same.
    pub(crate) fn new() -> Self {
        let seed = std::env::var("PORTCULLIS_SEED").ok().and_then(|text| text.parse().ok());
        Self(seed.unwrap_or(0x9E37_79B9_7F4A_7C15).max(1))
    }

    /// Others, that are as good.
    pub(crate) fn of(&self, salt: u64) -> Self {
        Self((self.0 ^ salt.wrapping_add(1).wrapping_mul(0x2545_F491_4F6C_DD1D)).max(1))
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Notes what came of a battery and fails where something did.
pub(crate) fn conclude(battery: &str, goal: &str, cases: usize, failures: &[String]) {
    if let Ok(folder) = std::env::var("PORTCULLIS_PROOF") {
        let row = json!({ "battery": battery, "goal": goal, "cases": cases, "failures": failures.len() });
        std::fs::write(format!("{folder}/{battery}.json"), row.to_string()).unwrap();
    }
    assert!(failures.is_empty(), "{} of {cases}:\n{}", failures.len(), failures.join("\n"));
}
