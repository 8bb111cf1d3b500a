//! The real binary, started as `portcullis demo` in a folder of its own.

use std::{
    fs,
    io::{BufRead, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Answer, exchange, request};

/// What a newcomer's demo is configured with.
pub(crate) const QUICKSTART: &str = include_str!("../../../../examples/quickstart/portcullis.yaml");

/// The binary.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");

/// A running server. It is killed when it is dropped, by its process id.
pub(crate) struct App {
    pub addr: SocketAddr,
    pub url: String,
    /// Where the sample API listens.
    pub lab: String,
    /// The key that may do everything, at 1,000 calls a minute.
    pub key: String,
    /// The key that reads, at 100.
    pub viewer: String,
    server: Child,
    home: TempDir,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl App {
    /// The demo as it is.
    pub(crate) fn start() -> Self {
        Self::with(str::to_owned)
    }

    /// The demo without limits of rate, for load.
    pub(crate) fn unlimited() -> Self {
        Self::unlimited_with(str::to_owned)
    }

    /// The same, with its configuration edited.
    pub(crate) fn unlimited_with(edit: impl FnOnce(&str) -> String) -> Self {
        Self::with(|config| edit(&config.replace("rate_per_minute: 1000", "rate_per_minute: 1000000")))
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.server.id()
    }

    /// The demo with its configuration edited.
    pub(crate) fn with(edit: impl FnOnce(&str) -> String) -> Self {
        let home = tempfile::Builder::new().prefix("portcullis-it-").tempdir().unwrap();
        let data = home.path().join("data");
        fs::create_dir(&data).unwrap();
        let lab = format!("127.0.0.1:{}", free_port());
        let config = edit(QUICKSTART).replace("${PORTCULLIS_LAB_LISTEN:-127.0.0.1:8098}", &lab);
        let ssh = free_port();
        let config =
            config.replace("port: 2322", &format!("port: {ssh}")).replace("[2322]", &format!("[{ssh}]"));
        fs::write(data.join("portcullis.yaml"), config).unwrap();
        Self::begin(home, lab)
    }

    /// A folder with a `portcullis.yaml` and what it needs, copied.
    pub(crate) fn of_folder(folder: &Path) -> Self {
        let home = tempfile::Builder::new().prefix("portcullis-it-").tempdir().unwrap();
        copy(folder, &home.path().join("data"));
        Self::begin(home, String::new())
    }

    /// The servers of a client's file behind the gate: `serve --mcp-json`.
    pub(crate) fn gateway(servers: &Value) -> Self {
        let home = tempfile::Builder::new().prefix("portcullis-it-").tempdir().unwrap();
        let file = home.path().join("mcp.json");
        fs::write(&file, servers.to_string()).unwrap();
        Self::begun(home, String::new(), &["serve", "--mcp-json", file.to_str().unwrap()])
    }

    fn begin(home: TempDir, lab: String) -> Self {
        Self::begun(home, lab, DEMO)
    }

    fn begun(home: TempDir, lab: String, how: &[&str]) -> Self {
        let (server, ready) = launch(home.path(), how);
        let word = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
        let url = word("url");
        let addr = url.trim_start_matches("http://").parse().unwrap();
        Self { addr, url, lab, key: word("key"), viewer: word("viewer_key"), server, home }
    }

    /// Ends it as the kernel does when memory runs out: at once, without a chance to tidy up.
    pub(crate) fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.server.wait().unwrap()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.server);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Starts it again in the same folder, with the same keys.
    pub(crate) fn restart(&mut self) {
        let (server, ready) = launch(self.home.path(), DEMO);
        self.server = server;
        ready["url"].as_str().unwrap().clone_into(&mut self.url);
        self.addr = self.url.trim_start_matches("http://").parse().unwrap();
    }

    /// The folder that it was started in.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The configuration it watches.
    pub(crate) fn config(&self) -> PathBuf {
        self.data().join("portcullis.yaml")
    }

    /// The folder that `fs_*` works in.
    pub(crate) fn files(&self) -> PathBuf {
        self.data().join("files")
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("server.log")).unwrap()
    }

    /// Calls a tool with the key that may do everything.
    pub(crate) fn call(&self, tool: &str, arguments: &Value) -> Answer {
        self.post(&format!("/v1/mcp/{tool}"), Some(&self.key), arguments)
    }

    /// Calls a tool that must succeed.
    pub(crate) fn done(&self, tool: &str, arguments: &Value) -> Value {
        let answer = self.call(tool, arguments);
        assert_eq!(answer.status, 200, "{tool} {arguments}: {}", answer.line());
        answer.json()
    }

    /// Posts JSON.
    pub(crate) fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Answer {
        self.send("POST", path, key, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    /// Gets a page.
    pub(crate) fn get(&self, path: &str, key: Option<&str>) -> Answer {
        self.send("GET", path, key, &[], b"")
    }

    /// Sends any request.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let bearer = key.map(|key| format!("Bearer {key}"));
        let mut all: Vec<(&str, &str)> = headers.to_vec();
        all.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        exchange(self.addr, &request(method, path, &all, body))
            .unwrap_or_else(|e| panic!("{method} {path}: {e}; the log ends with {}", tail(&self.log())))
    }

    /// Runs the command line on this server's folder.
    pub(crate) fn cli(&self, args: &[&str]) -> Said {
        self.cli_with_input(args, "")
    }

    /// The same, with something on its standard input.
    pub(crate) fn cli_with_input(&self, args: &[&str], input: &str) -> Said {
        let mut command = program(self.home.path());
        command.arg("--data").arg(self.data()).args(args);
        fed(command, input)
    }

    /// Makes a key through the command line and gives back its secret.
    pub(crate) fn key_for(&self, label: &str, principal: &str) -> String {
        let said = self.cli(&["keys", "create", label, "--principal", principal, "--tier", "premium"]);
        assert_eq!(said.code, 0, "{said:?}");
        said.out.trim().to_owned()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        if std::thread::panicking() {
            eprintln!("the server's log ends with:\n{}", tail(&self.log()));
        }
    }
}

/// Runs the command line in an empty folder, where no server is.
pub(crate) fn alone(home: &Path, args: &[&str]) -> Said {
    said(program(home).args(args).stdin(Stdio::null()).output().unwrap())
}

/// The same, with something on its standard input.
pub(crate) fn alone_with_input(home: &Path, args: &[&str], input: &str) -> Said {
    let mut command = program(home);
    command.args(args);
    fed(command, input)
}

fn fed(mut command: Command, input: &str) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that does not read its input closes it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    said(child.wait_with_output().unwrap())
}

/// Copies a folder and all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Asks again until it is so; a test that waits longer than half a minute has failed.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How most are started; in a folder with a configuration it goes by that.
const DEMO: &[&str] = &["demo"];

fn launch(home: &Path, how: &[&str]) -> (Child, Value) {
    let log = fs::OpenOptions::new().create(true).append(true).open(home.join("server.log")).unwrap();
    let mut command = program(home);
    command.args(how).args(["--json", "--listen", "127.0.0.1:0", "--data"]).arg(home.join("data"));
    let mut server = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let log = || tail(&fs::read_to_string(home.join("server.log")).unwrap_or_default());
    let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the server did not start: {}", log()));
    (server, ready)
}

/// The binary with an environment of its own.
pub(crate) fn program(home: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.current_dir(home).env_clear().env("HOME", home).env("XDG_STATE_HOME", home.join("state"));
    command.env("NO_COLOR", "1").env("TMPDIR", std::env::temp_dir()).env("PATH", "/usr/bin:/bin");
    command
}

/// What a finished command said.
pub(crate) fn said(Output { status, stdout, stderr }: Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

/// A port below those that the kernel hands out, so that no other test's connection takes it.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let from = 12_000 + u16::try_from(std::process::id() % 150).unwrap() * 100;
    loop {
        let port = from + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// A change of a file, planned and approved: its id. `approver` is a human's key.
pub(crate) fn approved_write(app: &App, approver: &str, path: &str, text: &str) -> String {
    let planned = app.done("fs_write_text", &json!({ "path": path, "text": text }));
    let id = planned["change_id"].as_str().unwrap().to_owned();
    let approved = app.post("/v1/mcp/change_approve", Some(approver), &json!({ "change_id": id }));
    assert_eq!(approved.status, 200, "{}", approved.line());
    id
}
