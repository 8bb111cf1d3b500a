//! The header fields of a call and its body, which must agree.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mcp::fuzz::fuzz_headers(bytes));
