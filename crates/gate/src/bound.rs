//! What leaves is bounded: cleaned, checked, and cut where it is too large, with the whole behind a handle.

use std::{sync::Arc, time::Duration};

use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};
use state::{Artefact, Artefacts};
use tool::{Body, Code, Cut, Fault, Hygiene, Identity, Outcome, Shape, Timestamp, Tool, json::parse};

use crate::{config::OutputConfig, hygiene};

/// Of what a cut answer may hold, at most this share is the beginning of the result.
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
    // What holds a secret is delivered once, as it is, and kept nowhere.
    let secret = outcome.holds_secret();
    let profile = if secret { Hygiene::Off } else { tool.hygiene };
    let json = clean(&mut outcome, profile, &config.redact_names)?;
    if secret || json.get().len() <= tool.bytes_max {
        outcome.body = Body::Raw(json);
        return Ok(outcome);
    }
    let whole = json.get();
    let kept = keep(whole, caller, tool, config, artefacts, now).await;
    let artefact = kept.unwrap_or_else(|fault| {
        tracing::warn!(tool_name = %tool.name, cause = fault.cause(), "a large result cannot be kept behind a handle");
        None
    });
    let preview = preview(whole, tool.bytes_max, artefact.as_deref());
    outcome.body = Body::Raw(Arc::from(to_raw_value(&preview).map_err(Fault::internal)?));
    outcome.shape = Shape::Value;
    outcome.cut = Some(Cut { bound: "bytes", artefact: artefact.map(Into::into) });
    Ok(outcome)
}

/// The body as clean JSON text. A source's own text of which nothing had to go stays as it came, byte for byte.
///
/// Fault: `Upstream` where a source's text cannot be looked into, so that nobody knows what it hides.
fn clean(outcome: &mut Outcome, profile: Hygiene, names: &[String]) -> Result<Arc<RawValue>, Fault> {
    let (mut value, as_sent) = match &mut outcome.body {
        Body::Raw(raw) if profile == Hygiene::Off => return Ok(Arc::clone(raw)),
        Body::Raw(raw) if hygiene::is_surely_clean(raw, names) => return Ok(Arc::clone(raw)),
        Body::Raw(raw) => match parse(raw.get().as_bytes()) {
            Ok(value) => (value, Some(Arc::clone(raw))),
            // A name that stands twice could hide its first member: only what was looked at goes on.
            Err(_) => (serde_json::from_str(raw.get()).map_err(opaque)?, None),
        },
        Body::Value(value) => (value.take(), None),
    };
    let removed = hygiene::clean(&mut value, profile, names);
    if removed.characters > 0 {
        outcome.notes.insert("removed_characters".to_owned(), json!(removed.characters));
    }
    if removed.secrets > 0 {
        outcome.notes.insert("masked_secrets".to_owned(), json!(removed.secrets));
    }
    match as_sent {
        Some(raw) if removed == hygiene::Removed::default() => Ok(raw),
        _ => Ok(Arc::from(to_raw_value(&value).map_err(Fault::internal)?)),
    }
}

fn opaque(error: serde_json::Error) -> Fault {
    let text = "the source answered with JSON that cannot be looked into, so it is not passed on";
    Fault::new(Code::Upstream, text).because(error)
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

/// The beginning of a result and how to get the rest. A beginning full of quotes is longer as a JSON string, and
/// is cut further until the answer fits.
fn preview(whole: &str, bytes_max: usize, artefact: Option<&str>) -> Value {
    let mut bytes = bytes_max / PREVIEW_SHARE;
    loop {
        let shown = preview_of(whole, bytes, bytes_max, artefact);
        if bytes == 0 || shown.to_string().len() <= bytes_max {
            return shown;
        }
        bytes /= 2;
    }
}

fn preview_of(whole: &str, bytes: usize, bytes_max: usize, artefact: Option<&str>) -> Value {
    let end = whole.floor_char_boundary(bytes);
    let next = match artefact {
        Some(handle) => {
            json!({ "tool": "artefact_read", "arguments": { "artefact": handle, "offset": 0 } })
        }
        None => json!("the whole could not be kept; narrow the question"),
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
