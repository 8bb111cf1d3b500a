//! What leaves is bounded: cleaned, checked, and cut where it is too large, with the whole behind a handle.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json, value::to_raw_value};
use state::{Artefact, Artefacts};
use tool::{Body, Cut, Fault, Identity, Outcome, Timestamp, Tool};

use crate::{config::OutputConfig, hygiene};

/// Of what a cut answer may hold, this share is the beginning of the result.
const PREVIEW_SHARE: usize = 2;

/// Brings an outcome into the form in which it leaves: clean JSON text of a bounded size.
pub(crate) async fn bound(
    mut outcome: Outcome,
    caller: &Identity,
    tool: &Tool,
    config: &OutputConfig,
    artefacts: &dyn Artefacts,
    now: Timestamp,
) -> Result<Outcome, Fault> {
    let secret = outcome.notes.get("secret") == Some(&Value::Bool(true));
    if let Body::Value(mut value) = outcome.body {
        if !secret {
            let removed = hygiene::clean(&mut value, tool.hygiene, &config.redact_names);
            if removed.characters > 0 {
                outcome.notes.insert("removed_characters".to_owned(), json!(removed.characters));
            }
            if removed.secrets > 0 {
                outcome.notes.insert("masked_secrets".to_owned(), json!(removed.secrets));
            }
        }
        outcome.body = Body::Raw(Arc::from(to_raw_value(&value).map_err(Fault::internal)?));
    }
    let Body::Raw(json) = &outcome.body else { return Ok(outcome) };
    if json.get().len() <= tool.bytes_max {
        return Ok(outcome);
    }
    let whole = json.get();
    let artefact = keep(whole, caller, tool, config, artefacts, now).await?;
    let preview = preview(whole, tool.bytes_max, artefact.as_deref());
    outcome.body = Body::Raw(Arc::from(to_raw_value(&preview).map_err(Fault::internal)?));
    outcome.cut = Some(Cut { bound: "bytes", artefact: artefact.map(Into::into) });
    Ok(outcome)
}

/// Keeps the whole result behind a handle, where it is not too large even for that.
async fn keep(
    whole: &str,
    caller: &Identity,
    tool: &Tool,
    config: &OutputConfig,
    artefacts: &dyn Artefacts,
    now: Timestamp,
) -> Result<Option<String>, Fault> {
    if whole.len() > config.artefact_bytes_max {
        return Ok(None);
    }
    let mut random = [0u8; 16];
    getrandom::fill(&mut random).map_err(Fault::internal)?;
    let handle = random.iter().fold("art_".to_owned(), |text, byte| text + &format!("{byte:02x}"));
    let artefact = Artefact {
        handle: handle.clone(),
        principal: caller.principal.to_string(),
        tool: tool.name.to_string(),
        content: whole.as_bytes().to_vec(),
        created_at: now,
        expires_at: now.after(Duration::from_secs(config.artefact_hours * 3600)),
    };
    artefacts.put(&artefact).await?;
    Ok(Some(handle))
}

fn preview(whole: &str, bytes_max: usize, artefact: Option<&str>) -> Value {
    let mut end = (bytes_max / PREVIEW_SHARE).min(whole.len());
    while !whole.is_char_boundary(end) {
        end -= 1;
    }
    let next = match artefact {
        Some(handle) => {
            json!({ "tool": "artefact_read", "arguments": { "artefact": handle, "offset": 0 } })
        }
        None => json!("the whole is too large to keep; narrow the question"),
    };
    json!({
        "truncated": true,
        "bytes": whole.len(),
        "bytes_max": bytes_max,
        "artefact": artefact,
        "next": next,
        "preview": &whole[..end],
    })
}
