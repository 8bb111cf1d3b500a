//! A stream of events, in two pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mcp::fuzz::fuzz_sse(bytes));
