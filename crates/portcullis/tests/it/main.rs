//! The whole server from outside: each test starts the real binary with the demo's configuration, in a folder of its
//! own, and talks to it as a client does. What the binary has no room for is put together in this process (`house.rs`). Tests that need a bed (see `cargo xtask beds`) say so when they skip.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, reason = "a test's way to fail")]
#![allow(clippy::disallowed_methods, reason = "not a room: it reads its environment and starts processes")]

mod app;
mod audit;
mod auth_matrix;
mod bad_input;
mod battery;
mod beds;
mod bridge;
mod change;
mod cli;
mod client;
mod conformance;
mod demo;
mod devices;
mod docs;
mod environment;
mod examples;
mod fixture;
mod foreign;
mod fuzzer;
mod gateway_suites;
mod house;
mod http;
mod inventory;
mod limits;
mod login;
mod mcp;
mod misbehaving;
mod openapi;
mod others;
mod pages;
mod probe;
mod procs;
mod proxy;
mod reload;
mod sandbox;
mod secure;
mod slow;
mod suite;
mod tenants;
mod textfsm;
mod toolsets;
mod upstream;
