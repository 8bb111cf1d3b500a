//! A template and a text that nobody vouches for: whatever they are, they end within their limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use textfsm::{Limits, RunError, Style, Template};

const LIMITS: Limits =
    Limits { text_bytes_max: 4096, steps_max: 10_000, records_max: 100, record_bytes_max: 100_000 };

fuzz_target!(|input: &[u8]| {
    let Ok(input) = str::from_utf8(input) else { return };
    let (template, text) = input.split_once("\n---\n").unwrap_or((input, ""));
    let Ok(template) = Template::parse(template) else { return };
    match template.run(text, &LIMITS) {
        Ok(table) => {
            assert!(table.rows.len() <= LIMITS.records_max);
            assert!(table.rows.iter().all(|row| row.len() == template.values().len()));
            serde_json::to_string(&table.records(Style::CliTable)).expect("records can be written");
        }
        // A template that compiles as a whole has no rule that does not.
        Err(RunError::Template(error)) => assert!(template.check().is_err(), "{error}"),
        Err(_) => {}
    }
});
