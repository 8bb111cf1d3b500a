//! One message of MCP, as it comes over the wire.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mcp::fuzz::fuzz_envelope(bytes));
