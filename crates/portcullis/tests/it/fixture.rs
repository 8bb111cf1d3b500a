//! The MCP server of known behaviour, started beside the server that is tested.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::app;

/// A running fixture. It is killed when it is dropped, by its process id.
pub(crate) struct Fixture {
    pub url: String,
    pub addr: SocketAddr,
    server: Child,
}

impl Fixture {
    /// One that speaks HTTP on a port of its own; nothing where it was not built.
    pub(crate) fn start() -> Option<Self> {
        let mut command = Command::new(program()?);
        Some(Self::of(command.args(["--http", "127.0.0.1:0"])))
    }

    /// Any server that says its URL in the first line that it prints.
    pub(crate) fn of(command: &mut Command) -> Self {
        let mut server = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let url = url.trim().to_owned();
        let authority = url.trim_start_matches("http://").trim_end_matches("/mcp");
        let addr = authority.parse().unwrap_or_else(|_| panic!("it did not start: {url:?}"));
        Self { url, addr, server }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The binary, which lies beside ours. `cargo test --workspace` builds it, `cargo test` alone does not; then the test
/// skips and says so, but under `cargo xtask test`.
pub(crate) fn program() -> Option<PathBuf> {
    let program = Path::new(app::PROGRAM).with_file_name("mcp-fixture");
    if program.is_file() {
        return Some(program);
    }
    assert!(std::env::var("PORTCULLIS_BEDS").is_err(), "there is no {}", program.display());
    eprintln!("skipped: there is no mcp-fixture; `cargo build -p fixture` builds it");
    None
}
