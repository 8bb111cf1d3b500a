//! Tools on the web: declared REST APIs ([`rest`]) and the guarded fetch of pages ([`fetch`]).
//!
//! Both go out through one client that looks at every address before it connects to it: loopback, private,
//! link-local and other special addresses are refused, on every redirect anew, unless an operator listed the
//! very host and port in `allow_private`.

mod client;
mod error;
mod html;
mod text;

pub mod fetch;
pub mod rest;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod beds;
