//! What is written down of a call: the audit record, the log line and the metrics. Before the answer leaves.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use audit::{Body as Members, Durability, Record};
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use state::{ChangeRecord, ChangeState};
use tool::{Body, Code, Fault, Identity, Plan, Reply, Standing};

use crate::{
    Gate,
    metrics::{End, UNKNOWN_TOOL},
    road::Journey,
    run::{Granted, Settle},
    snapshot::Entry,
};

/// How long a look at the target of a change may take.
const LOOK_TIME_MAX: Duration = Duration::from_secs(60);

impl Journey {
    /// Writes down that something is about to be changed. Nothing is changed that could not be written down.
    pub(crate) async fn write_intent(&self) -> Result<(), Fault> {
        let body = self.common();
        self.gate.write_audit("call.intent", body, Durability::Synced).await
    }

    /// Writes down how the call ended. Where that cannot be done, its result is withheld.
    pub(crate) async fn record(
        &self,
        result: Result<Reply, Fault>,
        elapsed: Duration,
    ) -> Result<Reply, Fault> {
        let result = self.record_outcome(result, elapsed).await.map_err(with_outcome);
        // The log and the metrics say what the caller gets, also where the audit log refused the result.
        let name = self.trail.tool.as_ref().map_or_else(|| UNKNOWN_TOOL.into(), |tool| tool.name.shared());
        let end = match &result {
            Err(fault) => End::Fault(fault),
            Ok(reply) if has_failed(reply) => End::Failed,
            Ok(_) => End::Success,
        };
        let is_refused = matches!(end, End::Fault(fault) if is_refused_login(fault));
        if self.trail.caller.is_none() && is_refused {
            // The gate has said that already, and sums up where there is too much of it.
            self.gate.metrics.login_refused(&name, &self.call, end, elapsed);
        } else {
            self.gate.metrics.call_ended(&name, &self.call, end, elapsed);
            self.log(&result, &name, elapsed);
        }
        result
    }

    async fn record_outcome(&self, result: Result<Reply, Fault>, elapsed: Duration) -> Result<Reply, Fault> {
        let Some(caller) = &self.trail.caller else {
            // Nobody was identified: the gate has noted that already, summed up where there is too much of it.
            return result;
        };
        let mut body = self.common();
        body.put("latency_ms", &millis(elapsed));
        body.put("tier", &caller.tier);
        describe(&result, &mut body);
        let changes = self.trail.tool.as_ref().is_some_and(|tool| tool.has_effect()) && result.is_ok();
        let durability = if changes { Durability::Synced } else { Durability::Written };
        match self.gate.write_audit("call.outcome", body, durability).await {
            Ok(()) => result,
            Err(_) if changes => Err(Fault::new(
                Code::OutcomeUnknown,
                "the call ended but could not be recorded; look before you ask again",
            )),
            Err(fault) => Err(fault),
        }
    }

    fn common(&self) -> Members {
        let (trail, call) = (&self.trail, &self.call);
        let mut body = Members::default();
        body.put("request_id", &call.request_id);
        if call.correlation_id != call.request_id {
            body.put("correlation_id", &call.correlation_id);
        }
        body.put("face", &call.face);
        body.put_some("label", call.label.as_ref());
        if let Some(caller) = &trail.caller {
            put_identity(&mut body, caller);
            body.put_some("toolset", caller.toolset.as_ref());
        }
        match &trail.tool {
            Some(tool) => body.put("tool", &tool.name),
            None => body.put("tool", &call.kind.subject().chars().take(128).collect::<String>()),
        }
        body.put_some("effect", trail.tool.as_ref().map(|tool| &tool.effect));
        body.put_some("target", trail.target.as_ref());
        body.put_some("change", trail.change.as_ref());
        body.put_some("params_digest", trail.arguments_digest.as_ref());
        body.put("snapshot", &self.snapshot.hash);
        body.put_some("rules", trail.rules_hash.as_ref());
        body.put_some("because", trail.because.as_ref());
        // Always there: null says that the call was refused before its arguments were looked at.
        match &trail.arguments {
            Some(sent) => body.put_redacted("params", sent, &self.snapshot.config.output.redact_names),
            None => body.put("params", &()),
        }
        body
    }

    fn log(&self, result: &Result<Reply, Fault>, name: &str, elapsed: Duration) {
        let request_id = self.call.request_id.as_str();
        let correlation_id = self.call.correlation_id.as_str();
        let user_id = self.trail.caller.as_ref().map_or("", |caller| &*caller.user_id);
        let latency_ms = millis(elapsed);
        match result {
            Ok(reply) if has_failed(reply) => tracing::warn!(
                request_id,
                correlation_id,
                tool_name = name,
                user_id,
                latency_ms,
                "Tool failed, and says why in its result"
            ),
            Ok(_) => tracing::info!(
                request_id,
                correlation_id,
                tool_name = name,
                user_id,
                latency_ms,
                "Tool executed successfully"
            ),
            Err(fault) if fault.code == Code::Internal => tracing::error!(
                request_id,
                correlation_id,
                tool_name = name,
                user_id,
                latency_ms,
                cause = fault.cause(),
                "{}",
                audit::mask_text(&fault.text)
            ),
            Err(fault) => tracing::warn!(
                request_id,
                correlation_id,
                tool_name = name,
                user_id,
                latency_ms,
                code = fault.code.row().name,
                cause = fault.cause(),
                because = self.trail.because,
                "{}",
                audit::mask_text(&fault.text)
            ),
        }
    }
}

impl Gate {
    /// Writes an audit record.
    ///
    /// Fault: `Busy` where it cannot be written: what is not recorded does not happen.
    pub(crate) async fn write_audit(
        &self,
        event: &'static str,
        body: Members,
        durability: Durability,
    ) -> Result<(), Fault> {
        let record = Record { at: self.clock.now(), event, body };
        match self.audit.write(record, durability).await {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::error!(error = %error, event, "the audit log cannot be written");
                let text = "the audit log cannot be written, and nothing happens that is not recorded";
                Err(Fault::new(Code::Busy, text).retry_after(Duration::from_secs(5)).because(error))
            }
        }
    }

    /// Writes down the end of work that nobody waited for any more.
    pub(crate) async fn record_late(&self, granted: &Granted, result: &Result<Reply, Fault>) {
        let mut body = Members::default();
        body.put("request_id", &granted.call.request_id);
        body.put("principal", &granted.caller.principal);
        body.put("key", &granted.caller.credential);
        body.put("tool", &granted.entry.tool.name);
        body.put("target", &granted.target);
        body.put("params", &self.redact(&granted.arguments, &granted.snapshot));
        describe(result, &mut body);
        let request_id = granted.call.request_id.as_str();
        tracing::warn!(request_id, tool_name = %granted.entry.tool.name, ok = result.is_ok(), "a change ended after its caller was told that its outcome is unknown");
        // Where this cannot be written the log has it; there is nobody left to tell.
        let _ = self.write_audit("call.late", body, Durability::Synced).await;
    }

    /// Settles a change that was applied: looks whether it is done, and writes that into its journal.
    pub(crate) fn settle_change(self: &Arc<Self>, entry: Arc<Entry>, claimed: ChangeRecord) -> Settle {
        let gate = Arc::clone(self);
        Box::new(move |result| {
            Box::pin(async move {
                let standing = look_at(&entry, &claimed.plan).await;
                let (end, answer) = judge(&claimed, result, standing);
                let record = gate.desk.finish(claimed, end).await?;
                answer.map(|details| {
                    let mut shown = change::show(&record);
                    if let (Some(members), Value::Object(details)) = (shown.as_object_mut(), details) {
                        members.insert("result".to_owned(), Value::Object(details));
                    }
                    Reply::value(shown)
                })
            })
        })
    }

    /// Looks at every change that was being applied when the process died, and settles it by what is there.
    /// Called once, before the first call.
    ///
    /// Returns the changes and how they ended.
    pub async fn recover(self: &Arc<Self>) -> Result<Vec<ChangeRecord>, Fault> {
        let mut settled = Vec::new();
        loop {
            // A store lists so many at a time; what is settled is not listed again.
            let unfinished = self.desk.unfinished().await?;
            if unfinished.is_empty() {
                return Ok(settled);
            }
            for change in unfinished {
                settled.push(self.settle_interrupted(change).await?);
            }
        }
    }

    async fn settle_interrupted(&self, change: ChangeRecord) -> Result<ChangeRecord, Fault> {
        let snapshot = self.snapshot();
        let standing = match snapshot.catalogue.find(&change.tool) {
            Some(entry) => look_at(entry, &change.plan).await,
            None => Err(Fault::not_found(format!("its tool {:?} is gone", change.tool))),
        };
        let interrupted = Err(Fault::new(Code::OutcomeUnknown, "the server died while it was being applied"));
        let (end, _) = judge(&change, interrupted, standing);
        let record = self.desk.finish(change, end).await?;
        let mut body = Members::default();
        body.put("change", &record.id);
        body.put("tool", &record.tool);
        body.put("state", &record.state);
        self.write_audit("change.recovered", body, Durability::Synced).await?;
        tracing::warn!(
            change = record.id,
            state = record.state.as_str(),
            "a change was interrupted by the end of the process and is settled now"
        );
        Ok(record)
    }
}

/// How the target of a plan stands, within a time and with a net: a look that hangs or breaks leaves a change to a
/// person, never unsettled.
async fn look_at(entry: &Entry, plan: &Plan) -> Result<Standing, Fault> {
    let look = AssertUnwindSafe(entry.provider.look(plan)).catch_unwind();
    match tokio::time::timeout(LOOK_TIME_MAX, look).await {
        Ok(Ok(standing)) => standing,
        Ok(Err(_)) => Err(Fault::internal("looking at the target panicked")),
        Err(_) => Err(Fault::new(Code::TimedOut, "looking at the target took too long")),
    }
}

/// How a change ended: by what the provider says and by what is really there; what is there counts.
fn judge(
    change: &ChangeRecord,
    result: Result<Reply, Fault>,
    standing: Result<Standing, Fault>,
) -> (change::End, Result<Value, Fault>) {
    debug_assert_eq!(change.state, ChangeState::Applying);
    match (result, standing) {
        (Ok(Reply::Done(outcome)), Ok(Standing::After)) => (change::End::Applied, Ok(outcome.to_value())),
        (Ok(_), Ok(standing)) => {
            let text = format!("it was reported done, but the target is {standing:?}");
            (change::End::NeedsOperator(text.clone()), Err(Fault::new(Code::OutcomeUnknown, text)))
        }
        (Ok(_), Err(e)) => {
            let text = format!("it was reported done, but the target cannot be looked at: {e}");
            (change::End::NeedsOperator(text.clone()), Err(Fault::new(Code::OutcomeUnknown, text)))
        }
        (Err(fault), Ok(Standing::Before)) => (change::End::Failed(fault.text.clone()), Err(fault)),
        (Err(fault), Ok(Standing::After)) if fault.code == Code::OutcomeUnknown => {
            (change::End::Applied, Ok(json!({ "note": fault.text })))
        }
        (Err(fault), _) if fault.code == Code::Drifted => {
            (change::End::Drifted(fault.text.clone()), Err(fault))
        }
        (Err(fault), standing) => {
            let text = format!("{fault}; the target is {standing:?}");
            (change::End::NeedsOperator(text), Err(fault))
        }
    }
}

/// True for the faults of credentials that stand for nobody.
pub(crate) fn is_refused_login(fault: &Fault) -> bool {
    matches!(fault.code, Code::Unauthenticated | Code::Disabled)
}

/// Says for programs too that nobody knows what happened, whoever found that out.
fn with_outcome(mut fault: Fault) -> Fault {
    if fault.code == Code::OutcomeUnknown {
        let details = fault.details.get_or_insert_with(|| Box::new(json!({})));
        if let Value::Object(members) = &mut **details {
            members.insert("outcome".to_owned(), json!("unknown"));
        }
    }
    fault
}

/// True where a result says that the work failed.
fn has_failed(reply: &Reply) -> bool {
    matches!(reply, Reply::Done(outcome) if outcome.failed)
}

/// How it ended, for the record.
fn describe(result: &Result<Reply, Fault>, body: &mut Members) {
    match result {
        Ok(Reply::Done(outcome)) => {
            let size = match &outcome.body {
                Body::Raw(json) => json.get().len(),
                Body::Value(value) => tool::json::text_len(value),
            };
            body.put("outcome", if outcome.failed { "failed" } else { "success" });
            body.put("result_size", &size);
            body.put_some("cut", outcome.cut.as_ref());
            body.put_some("suspicious", outcome.notes.get("suspicious"));
        }
        Ok(Reply::NeedsInput(_)) => body.put("outcome", "needs_input"),
        Ok(Reply::Task(id)) => {
            body.put("outcome", "task");
            body.put("task", id);
        }
        Err(fault) => {
            body.put("outcome", fault.code.row().name);
            body.put("result_size", &0);
            body.put_redacted("error", &json!(fault.text), &[]);
        }
    }
}

fn put_identity(body: &mut Members, caller: &Identity) {
    body.put("principal", &caller.principal);
    body.put("kind", &caller.kind);
    body.put("user_id", &caller.user_id);
    body.put("key", &caller.credential);
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
