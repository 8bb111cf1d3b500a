//! CPU per call over REST and over MCP with every step on, beside bare axum handlers that parse and answer the same JSON;
//! memory and start time beside it. Run by `cargo xtask bench`; `--write` keeps the table in bench/RESULTS.md, and
//! `--proxied` measures nothing but proxied calls.
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Connections that are kept open, each with one call at a time.
const CONNECTIONS: usize = 8;

/// Calls of a slice, enough that a clock tick is little beside what they cost. Slices of the servers take turns, so
/// that a slow moment of the machine meets all of them.
const SLICE: usize = 20_000;

/// Slices per server.
const SLICES: usize = 5;

/// Sessions that are begun for the measure of their memory.
const SESSIONS: usize = 10_000;

/// How often the start is timed; the median counts.
const STARTS: usize = 11;

/// Goals of the project: times the CPU of the bare handler, bytes, milliseconds.
const GOALS: (f64, u64, u64) = (3.0, 40 << 20, 150);

/// The goal of a proxied call: times the CPU of a bare pass-through.
const PROXIED_GOAL: f64 = 2.0;

/// Connections of the load that is wide, and of the one whose time is measured.
const WIDE: usize = 64;
const NARROW: usize = 2;

/// Calls of a slice of a peer that takes milliseconds for each.
const SLOW_SLICE: usize = 160;

/// The configuration of the gate.
const CONFIG: &str = include_str!("../../portcullis.yaml");

struct Server {
    child: Child,
    addr: SocketAddr,
    key: String,
}

/// One way of calling: its name in the table, the server, the request.
struct Case<'a> {
    name: &'static str,
    server: &'a Server,
    request: String,
    connections: usize,
    /// Calls of a slice.
    calls: usize,
    /// Clock ticks of its CPU, and those of them that the kernel took.
    ticks: [u64; 2],
    wall: Duration,
    /// How long single calls took.
    times: Vec<Duration>,
}

fn main() -> Result<()> {
    let write = std::env::args().any(|arg| arg == "--write");
    let folder = std::env::current_exe()?.parent().context("a program lies in a folder")?.to_owned();
    if std::env::args().any(|arg| arg == "--proxied") {
        println!("{}", proxied(&folder)?);
        return Ok(());
    }
    let home = tempfile::tempdir()?;
    fs::write(home.path().join("portcullis.yaml"), CONFIG)?;

    let bare = started(Command::new(folder.join("bare")))?;
    let gate = gate(&folder.join("portcullis"), home.path())?;
    let idle = memory(gate.child.id())?;
    let cases = [
        Case::new("bare axum handler", &bare, rest(&bare, "/v1/mcp/sum")),
        Case::new("portcullis, answer from its cache", &gate, rest(&gate, "/v1/mcp/sum_cached")),
        Case::new("portcullis, SELECT from SQLite", &gate, rest(&gate, "/v1/mcp/sum")),
    ];
    let mut page = format!("## REST\n\n{}", measured(cases, "the bare handler", GOALS.0)?);
    let loaded = memory(gate.child.id())?;
    let session = begin_session(&gate)?;
    let cases = [
        Case::new("bare axum JSON-RPC handler", &bare, legacy(&bare, "none", "sum")),
        Case::new("portcullis, 2026-07-28, answer from its cache", &gate, modern(&gate, "sum_cached")),
        Case::new(
            "portcullis, 2025-11-25 session, answer from its cache",
            &gate,
            legacy(&gate, &session, "sum_cached"),
        ),
    ];
    page.push_str(&format!("\n## MCP\n\n{}", measured(cases, "the bare handler", GOALS.0)?));
    let per_session = session_memory(&gate)?;
    drop(gate);
    let start = start_time(&folder.join("portcullis"), home.path())?;
    page.push_str(&format!("\n## A call of an MCP server behind the gate\n\n{}", proxied(&folder)?));
    page.push_str(&format!(
        "\n| | measured | goal |\n| --- | --- | --- |\n| idle memory (resident) | {:.1} MB | {} MB |\n\
         | memory after the load | {:.1} MB | |\n| memory of an idle older MCP session ({SESSIONS} of them) | {per_session} B | 2048 B |\n\
         | start to the first call | {} ms | {} ms |\n",
        megabytes(idle),
        GOALS.1 >> 20,
        megabytes(loaded),
        start.as_millis(),
        GOALS.2,
    ));
    println!("{page}");
    if write {
        keep(&page)?;
    }
    Ok(())
}

/// What a call costs that another MCP server answers, beside the least that stands between the two.
fn proxied(folder: &Path) -> Result<String> {
    let upstream = started(Command::new(folder.join("upstream")))?;
    let mut pass = Command::new(folder.join("pass"));
    pass.arg(upstream.addr.to_string());
    let pass = started(pass)?;
    let home = tempfile::tempdir()?;
    let server =
        format!(r#"{{ url: "http://{0}/mcp", allow_private: ["{0}"], reads: [sum] }}"#, upstream.addr);
    fs::write(home.path().join("portcullis.yaml"), format!("{CONFIG}\nupstreams: {{ up: {server} }}\n"))?;
    let gate = gate(&folder.join("portcullis"), home.path())?;
    let session = begin_session(&gate)?;
    let floor = || Case::new("bare pass-through", &pass, modern(&pass, "sum"));
    let ours = || Case::new("portcullis, 2026-07-28 to 2026-07-28", &gate, modern(&gate, "up_sum"));
    let old =
        Case::new("portcullis, 2025-11-25 session to 2026-07-28", &gate, legacy(&gate, &session, "up_sum"));
    let mut page = measured([floor(), ours(), old], "the bare pass-through", PROXIED_GOAL)?;
    let cases = [floor().over(WIDE), ours().over(WIDE)];
    let table = measured(cases, "the bare pass-through", PROXIED_GOAL)?;
    page.push_str(&format!("\nOver {WIDE} connections:\n\n{table}"));
    page.push_str(&added_time(floor().over(NARROW), ours().over(NARROW))?);
    match peer(&upstream)? {
        Some(peer) => {
            let slow = Case::new("FastMCP's proxy, default settings", &peer, modern(&peer, "sum"));
            let table = measured([ours(), slow.slowly()], "portcullis", 100.0)?;
            page.push_str(&format!(
                "\nBeside the proxy of FastMCP, which is to take 100 times as much:\n\n{table}"
            ));
        }
        None => page.push_str("\nFastMCP is not measured: `cargo xtask beds` installs it.\n"),
    }
    Ok(page)
}

/// What the gate adds to the time of a call where nobody has to wait for a turn.
fn added_time(floor: Case<'_>, ours: Case<'_>) -> Result<String> {
    let mut cases = [floor, ours];
    measure(&mut cases)?;
    let [floor, ours] = cases.map(|mut case| {
        case.times.sort();
        case.times[case.times.len() / 2]
    });
    let added = ours.saturating_sub(floor);
    Ok(format!(
        "\nOver {NARROW} connections half of the calls take at most {} us through the bare pass-through and {} us through \
         portcullis: {} us are added ({:.2} times).\n",
        floor.as_micros(),
        ours.as_micros(),
        added.as_micros(),
        ours.as_secs_f64() / floor.as_secs_f64()
    ))
}

/// The proxy of FastMCP before the same server, where the beds have it.
fn peer(upstream: &Server) -> Result<Option<Server>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Ok(beds) = fs::read(root.join("../.beds/env.json")) else { return Ok(None) };
    let beds: Value = serde_json::from_slice(&beds).context(".beds/env.json is broken")?;
    let Some(python) = beds["python"].as_str() else { return Ok(None) };
    let mut command = Command::new(python);
    command.arg(root.join("fastmcp_proxy.py")).arg(format!("http://{}/mcp", upstream.addr));
    started(command).map(Some)
}

impl<'a> Case<'a> {
    fn new(name: &'static str, server: &'a Server, request: String) -> Self {
        let (ticks, wall, times) = ([0; 2], Duration::ZERO, Vec::new());
        Self { name, server, request, connections: CONNECTIONS, calls: SLICE, ticks, wall, times }
    }

    /// Over so many connections.
    fn over(self, connections: usize) -> Self {
        Self { connections, ..self }
    }

    /// Fewer calls, each of which is slow.
    fn slowly(self) -> Self {
        Self { calls: SLOW_SLICE, ..self }
    }

    /// So many calls over all connections, and what they cost the server.
    fn slice(&mut self, calls: usize) -> Result<()> {
        let pid = self.server.child.id();
        let (server, base, connections) = (self.server, self.request.as_str(), self.connections);
        let (before, started) = (cpu_ticks(pid)?, Instant::now());
        let times = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..connections)
                .map(|connection| {
                    // Ids are a session's own: no two connections may use one at once. Each has two digits.
                    let request = base.replacen("\"id\":77", &format!("\"id\":{}", 10 + connection), 1);
                    scope.spawn(move || client(server, &request, calls / connections))
                })
                .collect();
            let joined = clients.into_iter().map(|client| client.join().expect("a client does not panic"));
            joined.collect::<Result<Vec<_>>>()
        })?;
        self.times.extend(times.into_iter().flatten());
        self.wall += started.elapsed();
        let after = cpu_ticks(pid)?;
        self.ticks = std::array::from_fn(|i| self.ticks[i] + after[i] - before[i]);
        Ok(())
    }

    /// CPU of one call, and what of it the kernel took, in microseconds.
    fn cost(&self, ticks_per_second: f64) -> [f64; 2] {
        self.ticks.map(|ticks| ticks as f64 / ticks_per_second * 1e6 / (SLICES * self.calls) as f64)
    }
}

/// Lets the cases take turns, and puts them into a table.
fn measured<const N: usize>(mut cases: [Case<'_>; N], floor: &str, goal: f64) -> Result<String> {
    measure(&mut cases)?;
    table(&cases, floor, goal)
}

/// Lets the cases take turns.
fn measure(cases: &mut [Case<'_>]) -> Result<()> {
    for case in &mut *cases {
        case.slice(case.calls / 4)?;
        (case.ticks, case.wall) = ([0; 2], Duration::ZERO);
        case.times.clear();
    }
    for _ in 0..SLICES {
        for case in &mut *cases {
            case.slice(case.calls)?;
        }
    }
    Ok(())
}

fn request(server: &Server, path: &str, fields: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         {fields}content-length: {}\r\n\r\n{body}",
        server.key,
        body.len()
    )
}

fn rest(server: &Server, path: &str) -> String {
    request(server, path, "", r#"{"a":20,"b":22}"#)
}

const ACCEPT: &str = "accept: application/json, text/event-stream\r\n";

/// A call by 2026-07-28: the request speaks for itself.
fn modern(server: &Server, tool: &str) -> String {
    let meta = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let params = format!(r#"{{"name":"{tool}","arguments":{{"a":20,"b":22}},"_meta":{meta}}}"#);
    let fields =
        format!("{ACCEPT}mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: {tool}\r\n");
    request(
        server,
        "/mcp",
        &fields,
        &format!(r#"{{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{params}}}"#),
    )
}

/// A call in a session of 2025-11-25.
fn legacy(server: &Server, session: &str, tool: &str) -> String {
    let params = format!(r#"{{"name":"{tool}","arguments":{{"a":20,"b":22}}}}"#);
    let fields = format!("{ACCEPT}mcp-protocol-version: 2025-11-25\r\nmcp-session-id: {session}\r\n");
    request(
        server,
        "/mcp",
        &fields,
        &format!(r#"{{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{params}}}"#),
    )
}

fn initialize(server: &Server) -> String {
    let params = r#"{"protocolVersion":"2025-11-25","capabilities":{"sampling":{},"elicitation":{},"roots":{"listChanged":true}},"clientInfo":{"name":"bench","version":"1"}}"#;
    request(
        server,
        "/mcp",
        ACCEPT,
        &format!(r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{params}}}"#),
    )
}

/// Begins a session, and gives its id.
fn begin_session(server: &Server) -> Result<String> {
    let mut stream = TcpStream::connect(server.addr)?;
    let answer = ask(&mut stream, &initialize(server))?;
    let id = answer.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
    Ok(id.with_context(|| format!("no session: {answer}"))?.trim().to_owned())
}

/// What an idle session adds to the memory of the server.
fn session_memory(server: &Server) -> Result<u64> {
    let mut stream = TcpStream::connect(server.addr)?;
    stream.set_nodelay(true)?;
    let begun = initialize(server);
    for _ in 0..SESSIONS / 10 {
        ask(&mut stream, &begun)?;
    }
    let before = memory(server.child.id())?;
    for _ in 0..SESSIONS {
        ask(&mut stream, &begun)?;
    }
    Ok(memory(server.child.id())?.saturating_sub(before) / SESSIONS as u64)
}

/// Sends a request and reads its answer.
fn ask(stream: &mut TcpStream, request: &str) -> Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut buffer = Vec::new();
    let mut piece = [0; 4096];
    while !whole(&buffer) {
        let got = stream.read(&mut piece)?;
        ensure!(got > 0, "closed: {}", String::from_utf8_lossy(&buffer));
        buffer.extend_from_slice(&piece[..got]);
    }
    Ok(String::from_utf8_lossy(&buffer).into_owned())
}

/// One connection, one call after the other. Every answer must be the sum.
fn client(server: &Server, request: &str, calls: usize) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(server.addr)?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 * 1024];
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let asked = Instant::now();
        stream.write_all(request.as_bytes())?;
        let mut length = 0;
        while !whole(&buffer[..length]) {
            let got = stream.read(&mut buffer[length..])?;
            ensure!(got > 0, "closed: {}", String::from_utf8_lossy(&buffer[..length]));
            length += got;
        }
        times.push(asked.elapsed());
        let answer = String::from_utf8_lossy(&buffer[..length]);
        ensure!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"sum\":42"), "{answer}");
    }
    Ok(times)
}

/// Whether a head and the body it announces are there.
fn whole(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.split("content-length:").nth(1).and_then(|rest| rest.split("\r\n").next());
    length
        .and_then(|text| text.trim().parse::<usize>().ok())
        .is_some_and(|length| bytes.len() >= end + 4 + length)
}

/// A program of ours that says where it listens.
fn started(mut program: Command) -> Result<Server> {
    let name = program.get_program().to_owned();
    let mut child =
        program.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {name:?}"))?;
    let line = first_line(&mut child)?;
    Ok(Server { child, addr: line.trim().parse()?, key: "none".to_owned() })
}

/// The server on a folder with its configuration; its log goes to a file, as it would. The key is shown once, so it is
/// kept there for the next start.
fn gate(program: &Path, home: &Path) -> Result<Server> {
    // Not beside the configuration, whose folder the server watches.
    fs::create_dir_all(home.join("log"))?;
    let log = fs::OpenOptions::new().create(true).append(true).open(home.join("log/server.log"))?;
    let mut command = Command::new(program);
    command.args(["demo", "--json", "--listen", "127.0.0.1:0", "--data"]).arg(home);
    command.env("XDG_STATE_HOME", home).env_remove("PORTCULLIS_DATA");
    let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().context("cannot start portcullis")?;
    let line = first_line(&mut child)?;
    let ready: Value = serde_json::from_str(&line).with_context(|| {
        format!(
            "portcullis did not start: {}",
            fs::read_to_string(home.join("log/server.log")).unwrap_or_default()
        )
    })?;
    let addr = ready["url"].as_str().unwrap_or_default().trim_start_matches("http://").parse()?;
    Ok(Server { child, addr, key: ready["key"].as_str().unwrap_or_default().to_owned() })
}

fn start_time(program: &Path, home: &Path) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let started = Instant::now();
        let server = gate(program, home)?;
        TcpStream::connect(server.addr)?;
        times.push(started.elapsed());
    }
    times.sort();
    Ok(times[STARTS / 2])
}

fn first_line(child: &mut Child) -> Result<String> {
    let mut line = String::new();
    let stdout = child.stdout.take().context("its output is ours")?;
    BufReader::new(stdout).read_line(&mut line)?;
    Ok(line)
}

/// User and system time of a process together, all threads, and the latter alone, in clock ticks: fields 14 and 15 of
/// proc(5)'s stat.
fn cpu_ticks(pid: u32) -> Result<[u64; 2]> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(") ").context("no name in stat")?.1;
    let field = |n: usize| after_name.split(' ').nth(n - 3).and_then(|text| text.parse::<u64>().ok());
    field(14).zip(field(15)).map(|(user, system)| [user + system, system]).context("stat has too few fields")
}

/// Resident memory of a process, in bytes.
fn memory(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

fn table(cases: &[Case<'_>], floor: &str, goal: f64) -> Result<String> {
    let ticks = output("getconf", &["CLK_TCK"])?.trim().parse::<f64>()?;
    let [base, _] = cases[0].cost(ticks);
    if base <= 0.0 {
        bail!("too few calls to measure");
    }
    let mut page = format!(
        "| | CPU per call | of it in the kernel | times {floor} | calls per second |\n| --- | --- | --- | --- | --- |\n"
    );
    for case in cases {
        let [cost, kernel] = case.cost(ticks);
        let rate = (SLICES * case.calls) as f64 / case.wall.as_secs_f64();
        page.push_str(&format!(
            "| {} | {cost:.1} us | {kernel:.1} us | {:.2} | {rate:.0} |\n",
            case.name,
            cost / base
        ));
    }
    page.push_str(&format!("\nGoal: {goal:.0} times {floor}.\n"));
    Ok(page)
}

fn keep(page: &str) -> Result<()> {
    let commit = output("git", &["rev-parse", "--short", "HEAD"])?;
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or_default()
        .trim_matches([' ', '\t', ':']);
    let cores = std::thread::available_parallelism()?;
    let text = format!(
        "# What a call costs\n\n`cargo xtask bench --write` at commit {}, {cores} cores of {cpu}; server and client share \
         them. {} calls of each kind in {SLICES} slices that take turns, {CONNECTIONS} connections kept open, one call \
         at a time on each. CPU is the server process's user and system time.\n\n{page}",
        commit.trim(),
        SLICES * SLICE
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md");
    fs::write(file, text).context("cannot write bench/RESULTS.md")
}

fn output(program: &str, args: &[&str]) -> Result<String> {
    let done =
        Command::new(program).args(args).output().with_context(|| format!("cannot start {program}"))?;
    String::from_utf8(done.stdout).with_context(|| format!("{program} printed no text"))
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
