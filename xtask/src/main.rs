//! The project's own commands: `cargo xtask <command>`. Each says what it does and how long it took.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what these commands are for")]
#![allow(clippy::disallowed_methods, reason = "not a room: it reads its environment and starts processes")]

mod beds;
mod bench;
mod check;
mod docs;
mod fuzz;
mod generated;
mod house;
mod proof;
mod shell;
mod test;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask check            format, lints, licences, the rules of the house, generated files
cargo xtask test             installs what the tests need, then runs all of them
cargo xtask beds             only installs what the tests need
cargo xtask proof [--long]   the batteries (kill -9, bad input); writes docs/PROOF.md
cargo xtask fuzz [SECONDS]   a fuzzer at what reads other people's bytes, 10 s a target or as many as said
cargo xtask bench [--write]  what a call costs beside a bare server, and templates beside Python; --write keeps the first
cargo xtask generate         writes the generated files anew: docs/faults.md, docs/configuration.md, the config schema
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["check"] => check::all(),
        ["test"] => test::all(),
        ["beds"] => beds::prepare(),
        ["proof"] => proof::run_all(false),
        ["proof", "--long"] => proof::run_all(true),
        ["fuzz"] => fuzz::run_all(fuzz::BRIEFLY),
        ["fuzz", seconds] => fuzz::run_for(seconds),
        ["bench"] => bench::all(false),
        ["bench", "--write"] => bench::all(true),
        ["generate"] => generated::write(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => {
            eprint!("xtask does not know {:?}; it knows:\n\n{HELP}", args.join(" "));
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
