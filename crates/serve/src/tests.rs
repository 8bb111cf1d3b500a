#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a test ends with its runtime, and so do its tasks")]

mod connection;
mod fake;
mod rest;
