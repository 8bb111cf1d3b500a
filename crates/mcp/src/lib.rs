//! The wire of the Model Context Protocol, for both eras and both sides, without IO and without a runtime.
//!
//! Bytes come in, meaning comes out, and the other way round: [`Message`] borrows from the bytes it was read
//! from, answers are spliced from raw JSON ([`Splice`], [`Edit`]), and whatever needs the time takes it as an
//! argument. Nothing here knows a tool, a caller or a socket; the server and the client are built on it.
//!
//! Invariants: what is not understood is passed on byte for byte; every table and every buffer has a bound; no
//! bytes of a peer make anything here panic.
//!
//! Source: the specification of `2026-07-28` ("modern") and of `2025-11-25` and older ("legacy"). Where a
//! docstring names a page without a revision it is one of the former.

mod capabilities;
pub mod code;
mod envelope;
mod fault;
pub mod fuzz;
pub mod headers;
mod id;
pub mod inflight;
pub mod lines;
pub mod meta;
pub mod methods;
pub mod mirror;
mod object;
pub mod page;
pub mod result;
pub mod seal;
mod splice;
pub mod sse;
pub mod template;
mod version;

pub use capabilities::{Capabilities, Need, TASKS};
pub use envelope::{
    Failure, METHOD_BYTES_MAX, Message, Notification, PeerError, Request, Response, Unreadable, write_error,
    write_notification, write_request, write_result,
};
pub use fault::{WIRE_ROWS, WireError, WireRow};
pub use id::{ID_BYTES_MAX, Id, IdError};
pub use object::Object;
pub use splice::{Edit, Splice, push_plain, to_vec};
pub use version::{Era, Feature, Version};
