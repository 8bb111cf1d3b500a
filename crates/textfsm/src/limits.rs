/// What one text may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest text, in bytes.
    pub text_bytes_max: usize,
    /// How many times a rule may be tried against a line.
    pub steps_max: u64,
    /// How many records may come of it.
    pub records_max: usize,
    /// How many bytes all records may hold together; a value that is filled down counts in each.
    pub record_bytes_max: usize,
}

impl Default for Limits {
    /// 16 MiB of text, 50 million steps, a million records, 64 MiB in them.
    fn default() -> Self {
        Self {
            text_bytes_max: 16 << 20,
            steps_max: 50_000_000,
            records_max: 1_000_000,
            record_bytes_max: 64 << 20,
        }
    }
}
