//! What was answered before: the cache for what reads, the ledger for what changes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use state::{CacheKey, Cached, LedgerKey};
use tool::{Code, Cut, Fault, Outcome, Reply, Shape};

use crate::run::Granted;

/// The longest idempotency key, in bytes (the draft-ietf-httpapi-idempotency-key-header leaves it open).
const KEY_BYTES_MAX: usize = 255;

/// The largest answer that is kept for an idempotency key.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Turns at the same missing answer: one call fetches it, the others wait and find it in the cache.
#[derive(Default)]
pub(crate) struct Flights {
    turns: Mutex<HashMap<CacheKey, Weak<tokio::sync::Mutex<()>>>>,
}

impl Flights {
    /// The turn for an answer. Lock it, look into the cache again, and only then fetch.
    pub(crate) fn turn(&self, key: &CacheKey) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(key).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        turns.insert(key.clone(), Arc::downgrade(&turn));
        turn
    }
}

/// The key of an answer: the principal and its roles, the snapshot, the tool and the canonical arguments.
///
/// The snapshot goes in as the one it is, not by its hash: behind the same definition of a tool a reload may have
/// put another statement or another address.
pub(crate) fn cache_key(granted: &Granted) -> CacheKey {
    let caller = &granted.caller;
    let key = (
        &caller.principal,
        &caller.roles,
        &granted.snapshot.serial,
        granted.call.kind.method(),
        &granted.entry.tool.name,
        &granted.arguments_digest,
    );
    CacheKey(serde_json::to_string(&key).expect("texts can always be written").into())
}

/// The ledger's key of a call that carries an idempotency key.
///
/// Fault: `Malformed` where the key is empty, too long or not printable.
pub(crate) fn ledger_key(granted: &Granted, key: &str) -> Result<LedgerKey, Fault> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX || !key.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        let text = format!("an idempotency key has 1 to {KEY_BYTES_MAX} printable ASCII characters");
        return Err(Fault::new(Code::Malformed, text));
    }
    Ok(LedgerKey {
        principal: granted.caller.principal.to_string(),
        tool: granted.entry.tool.name.to_string(),
        key: key.to_owned(),
    })
}

/// True where a fault proves that nothing was done, so the same idempotency key may be used again.
pub(crate) fn surely_had_no_effect(fault: &Fault) -> bool {
    let may_follow_an_effect = matches!(
        fault.code,
        Code::Upstream | Code::OutcomeUnknown | Code::TimedOut | Code::Cancelled | Code::Internal
    );
    fault.no_effect || !may_follow_an_effect
}

/// What the ledger keeps of an answer: one that held a secret is not kept.
pub(crate) fn kept(outcome: &Outcome) -> String {
    let told = |told: Value| json!({ "cut": null, "shape": Shape::Value, "body": told }).to_string();
    if outcome.holds_secret() {
        return told(json!({ "repeated": true, "detail": "the first answer held a secret and is not kept" }));
    }
    let json = outcome.to_json();
    if json.len() > KEPT_BYTES_MAX {
        let detail = "the call was made and answered; its answer is too large to be kept";
        return told(json!({ "repeated": true, "bytes": json.len(), "detail": detail }));
    }
    let body = RawValue::from_string(json).unwrap_or_else(|_| tool::json::raw(&outcome.to_value()));
    let kept = Remembered { cut: None, shape: outcome.shape, failed: outcome.failed, body };
    serde_json::to_string(&kept).unwrap_or_else(|_| told(Value::Null))
}

/// The reply that a kept text stands for: the text as it is, so that whatever was answered once can be answered
/// again.
///
/// Fault: the kept one, where the work ended with one.
pub(crate) fn reply_of(json: String) -> Result<Reply, Fault> {
    match serde_json::from_str::<KeptFault>(&json) {
        Ok(kept) => Err(kept.into_fault()),
        Err(_) => remembered(&Cached { json: json.into() }),
    }
}

/// What the ledger keeps of a fault that may have come after the effect: what callers are told, not its causes.
pub(crate) fn kept_fault(fault: &Fault) -> String {
    let kept = KeptFault {
        fault: fault.code.row().name.to_owned(),
        text: fault.text.clone(),
        pointer: fault.pointer.clone(),
        retry_after_ms: fault.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        details: fault.details.as_deref().cloned(),
        status: fault.status.as_deref().map(str::to_owned),
        as_sent: fault.as_sent.as_ref().map(|sent| sent.get().to_owned()),
    };
    json!(kept).to_string()
}

/// A fault as the ledger keeps it.
#[derive(Serialize, Deserialize)]
struct KeptFault {
    /// The name of its code.
    fault: String,
    text: String,
    pointer: Option<String>,
    retry_after_ms: Option<u64>,
    details: Option<Value>,
    status: Option<String>,
    as_sent: Option<String>,
}

impl KeptFault {
    fn into_fault(self) -> Fault {
        let row = Code::table().iter().find(|row| row.name == self.fault);
        let mut fault = Fault::new(row.map_or(Code::OutcomeUnknown, |row| row.code), self.text);
        fault.pointer = self.pointer;
        fault.retry_after = self.retry_after_ms.map(Duration::from_millis);
        fault.details = self.details.map(Box::new);
        fault.status = self.status.map(Into::into);
        fault.as_sent = self.as_sent.and_then(|sent| RawValue::from_string(sent).ok());
        fault.with_log("told again for the same idempotency key")
    }
}

/// An answer as the cache keeps it: with the mark that it was cut.
#[derive(Serialize, Deserialize)]
struct Remembered {
    cut: Option<String>,
    shape: Shape,
    #[serde(default)]
    failed: bool,
    body: Box<RawValue>,
}

/// What the cache keeps of an outcome; `None` where it holds a secret, or where it failed or there was no time for all
/// of it: another time it may not, and there may be.
pub(crate) fn remember(outcome: &Outcome) -> Result<Option<Cached>, Fault> {
    if outcome.failed || outcome.holds_secret() || outcome.cut.as_ref().is_some_and(|cut| cut.bound == "time")
    {
        return Ok(None);
    }
    let body = RawValue::from_string(outcome.to_json()).map_err(Fault::internal)?;
    let cut = outcome.cut.as_ref().map(|cut| cut.bound.to_owned());
    let json = serde_json::to_string(&Remembered { cut, shape: outcome.shape, failed: outcome.failed, body })
        .map_err(Fault::internal)?;
    Ok(Some(Cached { json: json.into() }))
}

/// The reply that a cached answer stands for.
pub(crate) fn remembered(answer: &Cached) -> Result<Reply, Fault> {
    let Remembered { cut, shape, failed, body } =
        serde_json::from_str(&answer.json).map_err(Fault::internal)?;
    let bound = cut.map(|bound| if bound == "rows" { "rows" } else { "bytes" });
    let cut = bound.map(|bound| Cut { bound, artefact: None });
    Ok(Reply::Done(Outcome { cut, shape, failed, ..Outcome::raw(Arc::from(body)) }))
}
