//! MCP servers behind the gate: the client side of the protocol, in both eras, over HTTP and over the standard input
//! and output of a program.
//!
//! Callers' arguments go out as they came, and results come back as they are: nothing in here parses what it need not.
//! What is said of progress on the way, asked, and carried from round to round passes between the server and the
//! caller of the call it belongs to, and nobody else.
//!
//! Invariants: a server that is down, slow or wrong costs its own calls and no others; what it says of its tools
//! grants nothing; everything that waits has an end, and everything that is kept a bound.

mod admin;
mod attend;
mod budget;
mod call;
mod catalogue;
mod check;
mod config;
mod error;
mod filter;
mod guard;
mod handshake;
mod http;
mod hub;
mod jsonl;
mod lanes;
mod lists;
mod names;
mod news;
mod oauth;
mod open;
mod peer;
mod pinning;
mod pipe;
mod probe;
mod provider;
mod request;
mod restarts;
mod sample;
mod sandbox;
mod socket;
mod stdio;
mod supervise;
mod suspicion;
mod table;
mod tasks;
mod tls;
mod upstream;

pub use config::{Config, LogLevelName, PinMode, Protocol, ToolOverride, UpstreamConfig};
pub use oauth::{GrantType, OAuthConfig, SigningAlgorithm};
pub use open::open;
pub use probe::{Report, Trial, Tried, probe};
pub use tls::TlsConfig;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests;
