//! `portcullis audit`: read and verify the audit log. Both only read, and need neither a server nor a lock.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Exit, Failure, Globals, Out};
use crate::data;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show the last records, a row each; with --json whole, one a line
    Tail(TailArgs),
    /// Check the log, link by link; names the first bad record
    Verify,
}

#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// How many
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Only this event, such as call.outcome
    #[arg(long)]
    event: Option<String>,
    /// Only this principal
    #[arg(long)]
    principal: Option<String>,
    /// Only this tool
    #[arg(long)]
    tool: Option<String>,
    /// Only this request
    #[arg(long)]
    request_id: Option<String>,
}

pub(super) async fn run(command: &AuditCommand, globals: &Globals, out: &Out) -> Result<(), Failure> {
    let folder = data::audit_dir(globals)?;
    match command {
        AuditCommand::Tail(args) => {
            let query = audit::TailQuery {
                count: args.count as usize,
                event: args.event.clone(),
                principal: args.principal.clone(),
                tool: args.tool.clone(),
                request_id: args.request_id.clone(),
                since_seq: None,
            };
            let records = tokio::task::spawn_blocking(move || audit::tail(&folder, &query)).await;
            let records = records.map_err(anyhow::Error::from)?.map_err(anyhow::Error::from)?;
            show(&records, out);
        }
        AuditCommand::Verify => {
            let report = tokio::task::spawn_blocking(move || audit::verify(&folder)).await;
            let report = report.map_err(anyhow::Error::from)?.map_err(anyhow::Error::from)?;
            let shown = serde_json::to_value(&report).unwrap_or(Value::Null);
            return verdict(&shown, out);
        }
    }
    Ok(())
}

/// A row a record for people, as a log is read: the newest last. Whole records, one a line, for programs.
fn show(records: &[Value], out: &Out) {
    if out.json {
        return records.iter().for_each(|record| out.line(&record.to_string()));
    }
    if records.is_empty() {
        return out.note("no record matches");
    }
    let header = ["time", "seq", "event", "who", "tool", "outcome", "ms", "about"];
    out.table(&header, records.iter().map(row).collect(), &Value::Null);
}

fn row(record: &Value) -> Vec<String> {
    let cell = |names: &[&str]| match names.iter().map(|name| &record[*name]).find(|value| !value.is_null()) {
        None => "-".to_owned(),
        Some(Value::String(text)) => text.replace(['\n', '\t'], " "),
        Some(other) => other.to_string(),
    };
    vec![
        cell(&["timestamp"]),
        cell(&["seq"]),
        cell(&["event"]),
        cell(&["principal"]),
        cell(&["tool"]),
        cell(&["outcome"]),
        cell(&["latency_ms"]),
        cell(&["error", "change", "target", "note", "change_id", "version", "problems", "segment", "count"]),
    ]
}

fn verdict(report: &Value, out: &Out) -> Result<(), Failure> {
    let problem = &report["problem"];
    if out.json {
        out.line(&report.to_string());
        return if problem.is_null() { Ok(()) } else { Err(Failure::said(Exit::Failed)) };
    }
    if problem.is_null() {
        let line = format!(
            "good: {} records in {} segments, {} checkpoints, head {}",
            report["records"],
            report["segments"],
            report["checkpoints"],
            report["head"].as_str().unwrap_or("-")
        );
        out.line(&line);
        return Ok(());
    }
    let text = |name: &str| problem[name].as_str().map_or_else(|| problem[name].to_string(), str::to_owned);
    let sentence =
        format!("{} line {} (seq {}): {}", text("segment"), text("line"), text("seq"), text("what"));
    Err(Failure::new(Exit::Failed, sentence))
}
