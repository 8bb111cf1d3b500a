//! Changes: a plan ends its call, a human approves it, and a call of its own applies it, once.
//!
//! - [`step`] is the whole state machine as one pure function;
//! - [`Desk`] keeps it over [`state::Changes`], by compare-and-swap;
//! - [`open`] offers it as tools, [`show`] is how a change looks in every answer.
//!
//! Invariants: every move is one durable compare-and-swap together with its line of the journal; an approval is
//! for one plan (its digest), one requester, one set of rules, one time, and one use; what is `applying` when the
//! process dies stays so until somebody has looked at the target.

mod config;
mod desk;
mod show;
mod step;
mod tools;

pub use config::Config;
pub use desk::{Desk, Proposal};
pub use show::{row, show};
pub use step::{End, Event, Refusal, TEXT_CHARS_MAX, Verdict, step};
pub use tools::open;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
mod tests;
