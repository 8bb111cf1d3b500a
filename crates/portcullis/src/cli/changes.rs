//! `portcullis pending|approve|deny|apply`: changes and the people who decide them.

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Failure, Globals, Out, out::plain};
use crate::reach::Reach;

#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// The change, as `portcullis pending` lists it
    change: String,
    /// Why, for the record
    #[arg(long)]
    reason: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DenyArgs {
    /// The change
    change: String,
    /// Why, for the record
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// The change; it must be yours, and approved
    change: String,
}

pub(super) async fn pending(globals: &Globals, out: &Out) -> Result<(), Failure> {
    let reach = Reach::connect(globals, out).await?;
    let answer = reach.call("change_pending", json!({})).await;
    reach.close().await;
    let answer = answer?;
    let changes = answer.get("changes").unwrap_or(&answer);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let lines = changes.as_array().into_iter().flatten().map(|change| {
        let plan = &change["plan"];
        vec![
            text(&change["change_id"]),
            text(&change["tool"]),
            text(&change["requester"]),
            text(&plan["target"]),
            text(&plan["risk"]),
            text(&plan["summary"]),
        ]
    });
    out.table(&["change", "tool", "asked by", "target", "risk", "summary"], lines.collect(), changes);
    Ok(())
}

/// Shows the plan, asks where a person sits there, and approves exactly what was shown: the approval names the
/// plan's digest.
pub(super) async fn approve(args: ApproveArgs, globals: &Globals, out: &Out) -> Result<(), Failure> {
    let reach = Reach::connect(globals, out).await?;
    let done = approve_through(&reach, &args, out).await;
    reach.close().await;
    done
}

async fn approve_through(reach: &Reach, args: &ApproveArgs, out: &Out) -> Result<(), Failure> {
    let shown = reach.call("change_review", json!({ "change_id": args.change })).await?;
    let plan = &shown["plan"];
    if !out.json {
        out.note(&plain(plan["summary"].as_str().unwrap_or_default()));
        out.note(plain(plan["diff"].as_str().unwrap_or_default()).trim_end());
    }
    if !args.yes {
        out.confirm("approve this?", "not approved", "say --yes")?;
    }
    let mut arguments = decision(&args.change, args.reason.as_deref());
    if let Some(digest) = plan["digest"].as_str() {
        arguments["plan_digest"] = json!(digest);
    }
    let answer = reach.call("change_approve", arguments).await?;
    say(&answer, &format!("{} is approved; its requester applies it now", args.change), out);
    Ok(())
}

pub(super) async fn deny(args: DenyArgs, globals: &Globals, out: &Out) -> Result<(), Failure> {
    let reach = Reach::connect(globals, out).await?;
    let answer = reach.call("change_deny", decision(&args.change, args.reason.as_deref())).await;
    reach.close().await;
    say(&answer?, &format!("{} is denied", args.change), out);
    Ok(())
}

pub(super) async fn apply(args: ApplyArgs, globals: &Globals, out: &Out) -> Result<(), Failure> {
    let reach = Reach::connect(globals, out).await?;
    let answer = reach.call("change_apply", json!({ "change_id": args.change })).await;
    reach.close().await;
    out.value(&answer?);
    Ok(())
}

fn decision(change: &str, reason: Option<&str>) -> Value {
    let mut map = Map::new();
    map.insert("change_id".to_owned(), json!(change));
    if let Some(reason) = reason {
        map.insert("reason".to_owned(), json!(reason));
    }
    Value::Object(map)
}

fn say(answer: &Value, text: &str, out: &Out) {
    if out.json {
        out.line(&answer.to_string());
    } else {
        out.note(text);
    }
}
