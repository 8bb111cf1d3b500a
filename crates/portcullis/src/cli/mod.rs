//! The command line. Data goes to standard output, everything else to standard error.

mod add;
mod audit;
mod call;
mod callback;
mod changes;
mod check;
mod config;
mod demo;
mod devices;
mod doctor;
mod examples;
mod health;
mod install;
mod inventory;
mod keys;
mod lab;
mod out;
mod probe;
mod serve;
mod stdio;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod textfsm;
mod tools;
mod upstream;
mod whole;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub(crate) use out::{Exit, Failure, Out};

const AFTER: &str = "\x1b[1mExit codes:\x1b[0m
  0  done
  1  failed or refused; the reason is on standard error
  2  the command line is wrong
  3  no server can be reached, and the data folder cannot be used either
  4  denied: not allowed, or not with these arguments
  5  not now: too many calls, or something is down; try again

Commands that need a server use the one that runs on the data folder, through its socket. Where
none runs, they take the folder's lock and do the same in process. The data folder is --data, else
$PORTCULLIS_DATA, else `data_dir` of --config or ./portcullis.yaml, else that of the last `demo`.";

/// One gate between AI agents and your networks, servers, databases and APIs.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, about, after_help = AFTER)]
#[command(propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Globals {
    /// The configuration file; ./portcullis.yaml where there is one
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data folder: state, audit log, socket
    #[arg(long, global = true, value_name = "DIR", env = "PORTCULLIS_DATA")]
    pub data: Option<PathBuf>,
    /// Print JSON for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// No colours; NO_COLOR does the same
    #[arg(long, global = true)]
    pub no_color: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a whole server to try: a sample shop, keys, a folder
    Demo(demo::DemoArgs),
    /// Start the server
    Serve(serve::ServeArgs),
    /// Speak MCP over standard input and output
    Stdio(stdio::StdioArgs),
    /// Say everything that is wrong with a configuration
    Check(check::CheckArgs),
    /// Try a tool server out: what it speaks, offers and answers
    Probe(Box<probe::ProbeArgs>),
    /// Say what this machine can keep programs from, and whether what a server needs is there
    Doctor,
    /// List the tools that can be called
    Tools,
    /// Call a tool
    Call(call::CallArgs),
    /// Make, list and end keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Read and verify the audit log
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Look at tool servers, and take what they offer
    #[command(subcommand)]
    Upstream(upstream::UpstreamCommand),
    /// Ask network devices, and trust their host keys
    #[command(subcommand)]
    Devices(devices::DevicesCommand),
    /// Take network devices from where they are kept already
    #[command(subcommand)]
    Inventory(inventory::InventoryCommand),
    /// Start emulated network devices to try things on
    Lab(lab::LabArgs),
    /// List the changes that wait for approval
    Pending,
    /// Approve a change, after reading its plan
    Approve(changes::ApproveArgs),
    /// Deny a change
    Deny(changes::DenyArgs),
    /// Apply an approved change
    Apply(changes::ApplyArgs),
    /// Ask whether a server is ready, for containers without curl: exit code 0 where it is
    Health(health::HealthArgs),
    /// Print what an MCP client needs in its configuration to reach this server
    Install(install::InstallArgs),
    /// Make records of what devices print, and try templates out
    #[command(subcommand)]
    Textfsm(textfsm::TextfsmCommand),
    /// Show the configuration as it is taken, or its schema
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

fn command_line() -> clap::Command {
    examples::with_examples(Cli::command())
}

/// Runs the command line of this process.
pub(crate) fn main() -> ExitCode {
    let parsed = command_line().try_get_matches().and_then(|found| Cli::from_arg_matches(&found));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            let code = error.exit_code();
            // Where not even help can be printed there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(code).unwrap_or(2));
        }
    };
    let out = Out::new(cli.globals.json, cli.globals.no_color);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return out.fail(&Failure::new(Exit::Failed, format!("cannot start: {error}")));
        }
    };
    let done = runtime.block_on(run(cli, &out));
    // Blocking work that was given up must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => out.fail(&failure),
    }
}

async fn run(cli: Cli, out: &Out) -> Result<(), Failure> {
    let globals = &cli.globals;
    match cli.command {
        Command::Demo(args) => Box::pin(demo::run(args, globals, out)).await,
        Command::Serve(args) => Box::pin(serve::run(args, globals, out)).await,
        Command::Stdio(args) => Box::pin(stdio::run(args, globals, out)).await,
        Command::Check(args) => check::run(&args, globals, out).await,
        Command::Probe(args) => Box::pin(probe::run(*args, globals, out)).await,
        Command::Doctor => doctor::run(globals, out).await,
        Command::Tools => tools::run(globals, out).await,
        Command::Call(args) => call::run(args, globals, out).await,
        Command::Keys(command) => keys::run(command, globals, out).await,
        Command::Audit(command) => audit::run(&command, globals, out).await,
        Command::Upstream(command) => upstream::run(command, globals, out).await,
        Command::Devices(command) => devices::run(command, globals, out).await,
        Command::Inventory(command) => Box::pin(inventory::run(command, globals, out)).await,
        Command::Lab(args) => lab::run(args, out).await,
        Command::Pending => changes::pending(globals, out).await,
        Command::Approve(args) => changes::approve(args, globals, out).await,
        Command::Deny(args) => changes::deny(args, globals, out).await,
        Command::Apply(args) => changes::apply(args, globals, out).await,
        Command::Health(args) => health::run(args, globals, out).await,
        Command::Install(args) => install::run(&args, globals, out),
        Command::Textfsm(command) => textfsm::run(&command, out),
        Command::Config(command) => config::run(&command, globals, out),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command_line(), "portcullis", &mut script);
            out.data(&String::from_utf8_lossy(&script));
            Ok(())
        }
    }
}
