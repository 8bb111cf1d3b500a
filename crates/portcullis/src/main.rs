//! One gate between AI agents and your networks, servers, databases and APIs.
//!
//! The binary: it takes the configuration, puts the rooms together, and is the command line. What it does with a
//! call is the gate's; what a tool does is its room's.

mod apart;
mod app;
mod bridge;
mod cli;
mod clock;
mod config;
mod data;
mod log;
mod reach;
mod secrets;
mod serving;
mod watch;

/// A sixth of what a call cost was spent in the system's allocator, half of that waiting for its lock
/// (`cargo xtask bench`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // Before there is any thread: a keeper may have none.
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|word| word == child::COMMAND) {
        return child::main(&arguments);
    }
    cli::main()
}
