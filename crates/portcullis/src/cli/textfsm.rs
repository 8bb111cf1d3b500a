//! `portcullis textfsm`: what devices print becomes records, without a server and without a device.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, IsTerminal as _, Read as _},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::{Value, json};
use textfsm::{Library, Limits, Parsed, Status, Style, Table};

use super::{Exit, Failure, Out};

/// How much of a difference is shown for a case that failed, in bytes.
const SHOWN_BYTES: usize = 300;

/// Make records of what devices print, and try templates out.
#[derive(Debug, Subcommand)]
pub(crate) enum TextfsmCommand {
    /// Make records of what a command printed: text in, JSON out
    Parse(ParseArgs),
    /// Run templates over recorded outputs and compare with the records that they should give
    Check(CheckArgs),
}

/// Make records of what a command printed: text in, JSON out.
///
/// The answer says what came of it: `parsed`, `empty` where the template found no record, `no_template`, or
/// `template_error` where the template does not know such output. All but the first two end with exit code 1.
#[derive(Debug, Args)]
pub(crate) struct ParseArgs {
    /// The platform, as the index of the templates names it, such as cisco_ios
    #[arg(long, value_name = "NAME")]
    platform: String,
    /// The command that printed it
    #[arg(long, value_name = "COMMAND")]
    command: String,
    #[command(flatten)]
    templates: Templates,
}

/// Run templates over recorded outputs and compare with the records that they should give.
///
/// A case is a line of JSON: {"platform", "command", "raw", "expected": [{..}]}, and `template` as a remark. Records are
/// compared as Python's CliTable has them. `cpu_s` is the time that the processor takes to parse with templates that
/// are compiled, `cold_cpu_s` with those that are not.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The cases, one a line
    #[arg(long, value_name = "FILE")]
    cases: PathBuf,
    #[command(flatten)]
    templates: Templates,
}

/// Where the templates are.
#[derive(Debug, Args)]
struct Templates {
    /// A folder with templates and their `index`, such as that of the ntc-templates package, unpacked
    #[arg(long, value_name = "DIR")]
    templates: PathBuf,
}

impl Templates {
    fn open(&self) -> Result<Library, Failure> {
        Library::open(&self.templates).map_err(|error| {
            let hint = "`pip install --no-deps --target ntc ntc-templates` brings one";
            Failure::new(Exit::Failed, format!("{error}; {hint}"))
        })
    }
}

pub(super) fn run(command: &TextfsmCommand, out: &Out) -> Result<(), Failure> {
    match command {
        TextfsmCommand::Parse(args) => parse(args, out),
        TextfsmCommand::Check(args) => check(args, out),
    }
}

fn parse(args: &ParseArgs, out: &Out) -> Result<(), Failure> {
    let library = args.templates.open()?;
    let limits = Limits::default();
    if std::io::stdin().is_terminal() {
        out.note("type or paste what the command printed, then Ctrl-D");
    }
    let mut bytes = Vec::new();
    // One byte more than may be, so that what is too long is said and not cut.
    let most = limits.text_bytes_max as u64 + 1;
    std::io::stdin()
        .lock()
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot read standard input: {error}")))?;
    let parsed = library.parse(&args.platform, &args.command, &String::from_utf8_lossy(&bytes), &limits);
    out.value(&as_json(&parsed));
    match parsed.status {
        Status::Parsed | Status::Empty => Ok(()),
        // The answer holds the reason; people get it as a sentence too.
        Status::NoTemplate | Status::TemplateError if out.json => Err(Failure::said(Exit::Failed)),
        Status::NoTemplate | Status::TemplateError => {
            Err(Failure::new(Exit::Failed, parsed.error.unwrap_or_default()))
        }
    }
}

fn as_json(parsed: &Parsed) -> Value {
    let table = parsed.table.as_ref();
    let mut body = json!({
        "status": parsed.status,
        "template": parsed.template,
        "records": table.map(|table| table.records(Style::Plain)),
        "lines_unmatched": table.map(|table| table.lines_unmatched),
    });
    let notes = [("words_unknown", &parsed.words_unknown), ("error", &parsed.error)];
    for (name, note) in notes.into_iter().filter_map(|(name, note)| Some((name, note.as_ref()?))) {
        body[name] = json!(note);
    }
    body
}

/// A recorded output, and what should come of it.
#[derive(Debug, Deserialize)]
struct Case {
    platform: String,
    command: String,
    raw: String,
    expected: Value,
}

/// What came of the cases.
#[derive(Debug, Default)]
struct Tally {
    cases: u64,
    cold_cpu_s: f64,
    cpu_s: f64,
    failed: Vec<Value>,
}

fn check(args: &CheckArgs, out: &Out) -> Result<(), Failure> {
    let library = args.templates.open()?;
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Failed, format!("cannot read {}: {error}", args.cases.display()))
    };
    let file = File::open(&args.cases).map_err(|error| cannot(&error))?;
    let mut tally = Tally::default();
    for (at, line) in (1_u64..).zip(BufReader::new(file).lines()) {
        let line = line.map_err(|error| cannot(&error))?;
        if line.trim().is_empty() {
            continue;
        }
        let case: Case = serde_json::from_str(&line).map_err(|error| {
            let shape = "a case is {\"platform\", \"command\", \"raw\", \"expected\": [{..}]}";
            cannot(&format!("line {at}: {error}; {shape}"))
        })?;
        tally.take(&library, at, &case)?;
    }
    if tally.cases == 0 {
        return Err(cannot(&"there is no case in it"));
    }
    let passed = tally.cases - tally.failed.len() as u64;
    let rounded = |seconds: f64| (seconds * 1e4).round() / 1e4;
    let line = json!({
        "cases": tally.cases,
        "passed": passed,
        "cpu_s": rounded(tally.cpu_s),
        "cold_cpu_s": rounded(tally.cold_cpu_s),
        "failed": tally.failed,
    });
    out.line(&line.to_string());
    if tally.failed.is_empty() { Ok(()) } else { Err(Failure::said(Exit::Failed)) }
}

impl Tally {
    fn take(&mut self, library: &Library, at: u64, case: &Case) -> Result<(), Failure> {
        let limits = Limits::default();
        let parse = || library.parse(&case.platform, &case.command, &case.raw, &limits);
        self.cases += 1;
        let started = cpu_s();
        let parsed = parse();
        let between = cpu_s();
        // Once more, now that all that it needs is compiled.
        parse();
        self.cold_cpu_s += between - started;
        self.cpu_s += cpu_s() - between;
        let said = match (&parsed.table, &parsed.error) {
            (_, Some(error)) => error.clone(),
            (table, None) => match difference(table.as_ref(), &case.expected)? {
                None => return Ok(()),
                Some(difference) => difference,
            },
        };
        self.failed.push(json!({
            "line": at,
            "platform": case.platform,
            "command": case.command,
            "template": parsed.template,
            "status": parsed.status,
            "error": said,
        }));
        Ok(())
    }
}

/// The first record that is not as it should be.
fn difference(table: Option<&Table>, expected: &Value) -> Result<Option<String>, Failure> {
    let empty = Table::default();
    let records = serde_json::to_value(table.unwrap_or(&empty).records(Style::CliTable))
        .map_err(|error| Failure::new(Exit::Failed, format!("records cannot be written: {error}")))?;
    if records == *expected {
        return Ok(None);
    }
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (ours, theirs) = (list(&records), list(expected));
    let at = ours.iter().zip(&theirs).position(|(one, other)| one != other);
    let shown = |records: &[Value], at: usize| {
        let mut text = records.get(at).map_or_else(|| "nothing".to_owned(), Value::to_string);
        text.truncate(text.floor_char_boundary(SHOWN_BYTES));
        text
    };
    let at = at.unwrap_or_else(|| ours.len().min(theirs.len()));
    let (ours, theirs) = (shown(&ours, at), shown(&theirs, at));
    Ok(Some(format!("record {}: {theirs} is expected, not {ours}", at + 1)))
}

/// What this thread has taken of the processor so far.
#[expect(clippy::cast_precision_loss, reason = "a run is far shorter than 2^53 ns")]
fn cpu_s() -> f64 {
    let taken = clock_gettime(ClockId::ThreadCPUTime);
    taken.tv_sec as f64 + taken.tv_nsec as f64 / 1e9
}
