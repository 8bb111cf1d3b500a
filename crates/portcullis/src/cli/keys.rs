//! `portcullis keys`: make, list and end keys.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{Failure, Globals, Out, out::plain};
use crate::reach::Reach;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key; its secret is shown once
    Create(CreateArgs),
    /// List the keys
    List,
    /// End a key for good
    Revoke(KeyArgs),
    /// Give a key a new secret; the old one stays good for a while
    Rotate(RotateArgs),
    /// Switch a key off: its callers get 403
    Disable(KeyArgs),
    /// Switch a key on again
    Enable(KeyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Its name, part of the secret: sk_<label>_..
    label: String,
    /// The principal it stands for, as the configuration declares it
    #[arg(long)]
    principal: String,
    /// A role it may use, of those its principal has; may be given several times. All of them where none is given
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// Its tier
    #[arg(long)]
    tier: Option<String>,
    /// Calls in any 60 seconds
    #[arg(long, value_name = "CALLS")]
    rate_per_minute: Option<u32>,
    /// Ends after so many days
    #[arg(long, value_name = "DAYS")]
    expires_days: Option<u32>,
    /// The operator's own name for the user
    #[arg(long)]
    user_id: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// The key: its id or its label
    key: String,
}

#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// The key: its id or its label
    key: String,
    /// How long the old secret stays good
    #[arg(long, value_name = "HOURS")]
    overlap_hours: Option<u32>,
}

pub(super) async fn run(command: KeysCommand, globals: &Globals, out: &Out) -> Result<(), Failure> {
    let (tool, arguments) = match &command {
        KeysCommand::Create(args) => ("keys_create", create(args)),
        KeysCommand::List => ("keys_list", json!({})),
        KeysCommand::Revoke(args) => ("keys_revoke", json!({ "key": args.key })),
        KeysCommand::Rotate(args) => ("keys_rotate", rotate(args)),
        KeysCommand::Disable(args) => ("keys_update", json!({ "key": args.key, "enabled": false })),
        KeysCommand::Enable(args) => ("keys_update", json!({ "key": args.key, "enabled": true })),
    };
    let reach = Reach::connect(globals, out).await?;
    let answer = reach.call(tool, arguments).await;
    reach.close().await;
    let answer = answer?;
    match command {
        _ if out.json => out.line(&answer.to_string()),
        KeysCommand::List => list(&answer, out),
        KeysCommand::Create(_) | KeysCommand::Rotate(_) => secret(&answer, out),
        KeysCommand::Revoke(args) => out.note(&format!("{} is revoked", args.key)),
        KeysCommand::Disable(args) => out.note(&format!("{} is switched off", args.key)),
        KeysCommand::Enable(args) => out.note(&format!("{} is switched on", args.key)),
    }
    Ok(())
}

fn create(args: &CreateArgs) -> Value {
    let mut map = Map::new();
    let mut put = |name: &str, value: Option<Value>| value.map(|value| map.insert(name.to_owned(), value));
    put("label", Some(json!(args.label)));
    put("principal", Some(json!(args.principal)));
    put("roles", (!args.roles.is_empty()).then(|| json!(args.roles)));
    put("tier", args.tier.as_ref().map(|tier| json!(tier)));
    put("rate_per_minute", args.rate_per_minute.map(|rate| json!(rate)));
    put("expires_days", args.expires_days.map(|days| json!(days)));
    put("user_id", args.user_id.as_ref().map(|id| json!(id)));
    Value::Object(map)
}

fn rotate(args: &RotateArgs) -> Value {
    match args.overlap_hours {
        Some(hours) => json!({ "key": args.key, "overlap_hours": hours }),
        None => json!({ "key": args.key }),
    }
}

/// The secret alone goes to standard output, so that it can be piped to where it belongs.
fn secret(answer: &Value, out: &Out) {
    out.line(&plain(answer["key"].as_str().unwrap_or_default()));
    let text = |name: &str| plain(answer[name].as_str().unwrap_or_default());
    out.note(&format!(
        "{} ({}): the secret above is shown this once and kept nowhere",
        text("label"),
        text("id")
    ));
}

fn list(answer: &Value, out: &Out) {
    let keys = answer.get("keys").unwrap_or(answer);
    let cell = |key: &Value, name: &str| match &key[name] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    let names =
        ["label", "id", "prefix", "principal", "roles", "tier", "rate_per_minute", "state", "last_used_at"];
    let lines = keys.as_array().into_iter().flatten().map(|key| {
        names.iter().map(|name| if *name == "state" { state(key) } else { cell(key, name) }).collect()
    });
    let header = ["label", "id", "prefix", "principal", "roles", "tier", "rate", "state", "last used"];
    out.table(&header, lines.collect(), keys);
}

/// As the server says, which knows what time it is; a key that is good says until when.
fn state(key: &Value) -> String {
    let status = key["status"].as_str().unwrap_or_default();
    if status != "active" {
        plain(status)
    } else if let Some(end) = key["expires_at"].as_str() {
        format!("until {end}")
    } else {
        "good".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_whose_time_is_over_is_not_shown_as_good_until_then() {
        let check = |status: &str, expires_at: Value, want: &str| {
            assert_eq!(state(&json!({ "status": status, "expires_at": expires_at })), want);
        };
        check("active", Value::Null, "good");
        check("active", json!("2027-01-31T12:00:00Z"), "until 2027-01-31T12:00:00Z");
        check("expired", json!("2021-01-31T12:00:00Z"), "expired");
        check("disabled", Value::Null, "disabled");
        check("revoked", json!("2021-01-31T12:00:00Z"), "revoked");
    }
}
