//! The one road from a request to a provider and back. Each step takes what the step before proved, and what was
//! learned on the way is written down at the end, whatever came of it.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use serde_json::{Value, value::RawValue};
use state::{CacheKey, ChangeRecord, Claim, LedgerKey};
use tokio::time::Instant;
use tool::{
    Approval, Body, Caching, Call, Caller, Code, Completing, Face, Fault, Kind, Line, Outcome, Reply,
    RequestId, Stop, StopSource, Tool, TraceSpan,
    json::{self as strict, digest},
};

use crate::{
    Answer, CacheUse, Credentials, Gate, LimitState,
    bound::bound,
    condition::Scene,
    limits::Slot,
    policy::Verdict,
    recall,
    run::{Around, Done, Granted, Settle, Work},
    snapshot::{Entry, Snapshot},
};

/// One call on its way.
pub(crate) struct Journey {
    pub(crate) gate: Arc<Gate>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) call: Arc<Call>,
    pub(crate) line: Arc<dyn Line>,
    pub(crate) gone: Stop,
    pub(crate) started: Instant,
    pub(crate) depth: u8,
    /// The door that the whole piece of work came in by: rules go by it, so that no call is hidden in another.
    pub(crate) door: Face,
    pub(crate) trail: Trail,
    /// Taken at the end.
    pub(crate) span: Option<Box<dyn TraceSpan>>,
}

/// What was learned on the way, for the record.
#[derive(Default)]
pub(crate) struct Trail {
    pub(crate) caller: Option<Arc<Caller>>,
    pub(crate) tool: Option<Arc<Tool>>,
    pub(crate) target: Option<Arc<str>>,
    pub(crate) arguments: Option<Arc<Value>>,
    pub(crate) arguments_digest: Option<Arc<str>>,
    pub(crate) rules_hash: Option<Arc<str>>,
    pub(crate) because: Option<String>,
    pub(crate) change: Option<Arc<str>>,
    pub(crate) limit: Option<LimitState>,
    pub(crate) cache: CacheUse,
}

/// What is to be called: the tool, and the approved change where one is to be applied.
struct Subject {
    entry: Arc<Entry>,
    /// Boxed: most calls have none, and would carry the room for it.
    change: Option<Box<ChangeRecord>>,
}

impl Journey {
    pub(crate) fn new(gate: Arc<Gate>, mut call: Call, line: Arc<dyn Line>, gone: Stop) -> Self {
        let snapshot = gate.snapshot();
        let span = gate.tracer.begin(&call);
        call.traceparent = span.traceparent();
        let door = call.face;
        let call = Arc::new(call);
        Self {
            gate,
            snapshot,
            call,
            line,
            gone,
            started: Instant::now(),
            depth: 0,
            door,
            trail: Trail::default(),
            span: Some(span),
        }
    }

    /// A call made by a call.
    pub(crate) fn inside(
        gate: Arc<Gate>,
        call: Call,
        line: Arc<dyn Line>,
        gone: Stop,
        depth: u8,
        door: Face,
    ) -> Self {
        Self { depth, door, ..Self::new(gate, call, line, gone) }
    }

    /// The whole way, from credentials.
    pub(crate) async fn go(mut self, credentials: &Credentials) -> Answer {
        self.gate.metrics.call_began();
        let (request_id, correlation_id) = (&self.call.request_id, &self.call.correlation_id);
        let result = match self.gate.who(credentials, &self.snapshot, request_id, correlation_id).await {
            Ok(caller) => self.walk_with_net(caller).await,
            Err(fault) => Err(fault),
        };
        if let (Credentials::Signed(signed), Err(fault), Some(_)) = (credentials, &result, &self.trail.caller)
            && fault.code != Code::OutcomeUnknown
        {
            self.gate.seen.forget(&signed.header);
        }
        self.arrive(result).await
    }

    /// The whole way, for a caller the gate has identified already.
    pub(crate) async fn go_as(mut self, caller: Arc<Caller>) -> Answer {
        self.gate.metrics.call_began();
        let result = self.walk_with_net(caller).await;
        self.arrive(result).await
    }

    /// The road with a net under it: a call that breaks the road itself is recorded and answered too.
    async fn walk_with_net(&mut self, caller: Arc<Caller>) -> Result<Reply, Fault> {
        let walk = AssertUnwindSafe(Box::pin(self.walk(caller))).catch_unwind().await;
        walk.unwrap_or_else(|_| Err(Fault::internal("the road panicked; the message is on standard error")))
    }

    /// The road.
    async fn walk(&mut self, caller: Arc<Caller>) -> Result<Reply, Fault> {
        self.trail.caller = Some(Arc::clone(&caller));
        let subject = match self.find(&caller).await {
            Err(fault) if fault.code == Code::NotFound => return Err(self.count_miss(&caller, fault)),
            found => found?,
        };
        let slot = self.admit(&caller, &subject.entry.tool).await?;
        self.check_tier(&caller)?;
        let arguments = self.validate(&subject)?;
        let granted = self.authorize(caller, &subject.entry, arguments)?;
        let around = Around::new(&self.line, self.gone.clone(), slot);
        let outcome = match self.perform(&granted, subject.change, &around).await? {
            Reply::Done(outcome) => outcome,
            other => return Ok(other),
        };
        let output = &self.snapshot.config.output;
        let (gate, tool) = (&self.gate, &granted.entry.tool);
        let bounded =
            bound(outcome, &granted.caller, tool, output, &*gate.artefacts, gate.clock.now()).await?;
        Ok(Reply::Done(bounded))
    }

    /// Finds what is asked for. What this caller may not see is not found, like what is not there.
    async fn find(&mut self, caller: &Caller) -> Result<Subject, Fault> {
        let change = match &self.call.kind {
            Kind::Apply { change } => {
                self.trail.change = Some(Arc::clone(change));
                let record = Box::pin(self.gate.desk.get(change)).await?;
                let mine = record.filter(|record| record.requester == caller.principal.as_ref());
                Some(Box::new(mine.ok_or_else(|| Fault::not_found(format!("Change not found: {change}")))?))
            }
            _ => None,
        };
        let found = self.snapshot.entry(&self.call.kind, change.as_deref());
        let seen = found.filter(|entry| self.snapshot.may_see(caller, &entry.tool));
        let Some(entry) = seen else {
            self.trail.because =
                Some(if found.is_some() { "not visible" } else { "no such thing" }.to_owned());
            return Err(missing(&self.call.kind, change.as_deref()));
        };
        self.trail.tool = Some(Arc::clone(&entry.tool));
        Ok(Subject { entry: Arc::clone(entry), change })
    }

    /// Counts a call of something that is not there against its key, so that nobody guesses names without limit.
    fn count_miss(&mut self, caller: &Caller, miss: Fault) -> Fault {
        if self.depth > 0 {
            return miss;
        }
        self.count(caller, None).err().unwrap_or(miss)
    }

    fn count(&mut self, caller: &Caller, tool: Option<&Tool>) -> Result<(), Fault> {
        let (now, wall) = (Instant::now(), self.gate.clock.now());
        self.gate.ring.used(&caller.credential, wall);
        let limits = &self.snapshot.config.limits;
        let tier = self.snapshot.tier(&caller.tier);
        let (state, counted) = self.gate.limits.count(caller, tool, limits, tier, now, wall);
        self.trail.limit = Some(state);
        counted.inspect_err(|_| self.gate.metrics.limit_hit(&caller.credential))
    }

    /// Counts the call and takes its places.
    async fn admit(&mut self, caller: &Arc<Caller>, tool: &Tool) -> Result<Slot, Fault> {
        // What was let in may make the calls it needs to come to its end.
        if self.depth == 0 && self.gate.is_draining() {
            let text = "the server is stopping; ask again in a moment";
            return Err(Fault::new(Code::Busy, text).retry_after(Duration::from_secs(1)));
        }
        // A call inside another was counted with it; it still needs a place at its source.
        if self.depth > 0 {
            return self.gate.limits.admit_inside(tool, &self.snapshot.config.limits).await;
        }
        self.count(caller, Some(tool))?;
        let tier = self.snapshot.tier(&caller.tier);
        self.gate.limits.admit(caller, tool, &self.snapshot.config.limits, tier).await
    }

    /// Keeps out who is not of the tiers that the door is for.
    fn check_tier(&mut self, caller: &Caller) -> Result<(), Fault> {
        let Some(tiers) =
            self.call.tiers.as_ref().filter(|tiers| !tiers.iter().any(|tier| **tier == *caller.tier))
        else {
            return Ok(());
        };
        self.trail.because = Some(format!("the tier {} is not one of the door's", caller.tier));
        Err(Fault::new(Code::Denied, format!("This endpoint requires {} tier", tiers.join(" or "))))
    }

    /// Brings the arguments into canonical form.
    fn validate(&mut self, subject: &Subject) -> Result<(Value, String), Fault> {
        let bytes_max = self.snapshot.config.limits.arguments_bytes_max;
        let entry = &subject.entry;
        let mut arguments = match &subject.change {
            Some(change) => change.arguments.clone(),
            None => {
                let sent = self.call.kind.sent();
                let canonical = match &self.call.kind {
                    // The schema is that of the whole; of one argument of it only the form is known.
                    Kind::Complete { .. } => strict::parse(sent.get().as_bytes())
                        .map_err(|e| Fault::new(Code::Malformed, e.to_string())),
                    _ => entry.input.canonical(&sent, bytes_max),
                };
                canonical.inspect_err(|_| self.trail.arguments = as_sent(&sent, bytes_max))?
            }
        };
        match entry.provider.target(&entry.tool, &mut arguments) {
            Ok(target) => Ok((arguments, target)),
            Err(fault) => {
                self.trail.arguments = Some(Arc::new(arguments));
                Err(fault)
            }
        }
    }

    /// Asks the rules, now that it is known exactly what is asked for.
    fn authorize(
        &mut self,
        caller: Arc<Caller>,
        entry: &Arc<Entry>,
        (arguments, target): (Value, String),
    ) -> Result<Granted, Fault> {
        let arguments = Arc::new(arguments);
        let arguments_digest: Arc<str> = digest(&arguments).into();
        let target: Arc<str> = target.into();
        self.trail.arguments = Some(Arc::clone(&arguments));
        self.trail.arguments_digest = Some(Arc::clone(&arguments_digest));
        self.trail.target = Some(Arc::clone(&target));
        let (tool, now) = (&entry.tool, self.gate.clock.now());
        let scene = Scene::new(&caller, tool, &arguments, &target, self.door, now).known_by(&*entry.provider);
        let verdict = self.snapshot.policy.decide(&scene);
        let rules_hash: Arc<str> = match verdict {
            Verdict::Allowed { rules_hash } => rules_hash.into(),
            Verdict::Denied { because } => {
                self.trail.because = Some(because);
                let text = format!("tool not allowed: {} may not be called with these arguments", tool.name);
                return Err(Fault::new(Code::Denied, text));
            }
        };
        self.trail.rules_hash = Some(Arc::clone(&rules_hash));
        // A change takes as long as its tool says; cutting it short would only leave its outcome unknown.
        let cap = Duration::from_millis(self.snapshot.config.limits.request_timeout_ms);
        let most = if tool.has_effect() { tool.time_max } else { tool.time_max.min(cap) };
        let time = self.call.time_max.map_or(most, |wanted| wanted.min(most));
        Ok(Granted {
            caller,
            entry: Arc::clone(entry),
            call: Arc::clone(&self.call),
            arguments,
            arguments_digest,
            target,
            rules_hash,
            deadline: Instant::now() + time,
            snapshot: Arc::clone(&self.snapshot),
            depth: self.depth,
            door: self.door,
            hurried: time < most,
        })
    }

    /// Does what was granted: looks, plans, applies or acts.
    async fn perform(
        &mut self,
        granted: &Granted,
        change: Option<Box<ChangeRecord>>,
        around: &Around,
    ) -> Result<Reply, Fault> {
        let tool = &granted.entry.tool;
        // What is rarely taken and long is boxed, so that a call that only looks stays small.
        match change {
            Some(change) => Box::pin(self.apply(granted, &change.id, around)).await,
            None if tool.approval == Approval::Needed => Box::pin(self.plan(granted, around)).await,
            None if tool.has_effect() => Box::pin(self.act(granted, around)).await,
            None => match tool.caching {
                Caching::Off => self.look(granted, around).await,
                // What came with a login is for whoever brought it.
                Caching::For(_) if self.call.logins.is_some() => self.look(granted, around).await,
                Caching::For(keep) => self.look_cached(granted, around, keep).await,
            },
        }
    }

    async fn look(&self, granted: &Granted, around: &Around) -> Result<Reply, Fault> {
        let Done::Reply(reply) = self.gate.look(granted, Work::Run, around).await? else {
            return Err(Fault::internal("a plan came back from work that only looks"));
        };
        check_output(granted, &reply)?;
        Ok(reply)
    }

    /// Looks into the cache first; of several that miss the same answer, one fetches it.
    async fn look_cached(
        &mut self,
        granted: &Granted,
        around: &Around,
        keep: Duration,
    ) -> Result<Reply, Fault> {
        let key = recall::cache_key(granted);
        if let Some(reply) = self.cached(&key).await? {
            return Ok(reply);
        }
        let turn = self.gate.flights.turn(&key);
        let (source, _stop) = StopSource::new();
        let locked = pin!(async { Ok(turn.lock().await) });
        let _turn = self.gate.until_told(locked, granted, around, &source, Some(&around.gone)).await?;
        if let Some(reply) = self.cached(&key).await? {
            return Ok(reply);
        }
        self.gate.metrics.cache_asked(false);
        self.trail.cache = CacheUse::Miss;
        let reply = self.look(granted, around).await?;
        if let Reply::Done(outcome) = &reply {
            self.keep(key, outcome, keep).await?;
        }
        Ok(reply)
    }

    async fn cached(&mut self, key: &CacheKey) -> Result<Option<Reply>, Fault> {
        // A cache that fails is a cache that misses.
        let found = self.gate.cache.get(key).await.unwrap_or_else(|error| {
            tracing::warn!(error = %error, "the answer cache cannot be read");
            None
        });
        let Some(answer) = found else { return Ok(None) };
        let reply = recall::remembered(&answer)?;
        self.gate.metrics.cache_asked(true);
        self.trail.cache = CacheUse::Hit;
        Ok(Some(reply))
    }

    async fn keep(&self, key: CacheKey, outcome: &Outcome, time: Duration) -> Result<(), Fault> {
        if let Some(answer) = recall::remember(outcome)?
            && let Err(error) = self.gate.cache.put(key, answer, time).await
        {
            tracing::warn!(error = %error, "the answer cannot be cached");
        }
        Ok(())
    }

    /// Plans, once for each idempotency key: the same key gets the same change.
    async fn plan(&mut self, granted: &Granted, around: &Around) -> Result<Reply, Fault> {
        let Some(key) = &self.call.idempotency_key else { return self.propose(granted, around).await };
        let key = recall::ledger_key(granted, key)?;
        if let Some(reply) = self.claim(granted, &key).await? {
            return Ok(reply);
        }
        let planned = self.propose(granted, around).await;
        match &planned {
            Ok(Reply::Done(outcome)) => self.gate.ledger.settle(&key, &recall::kept(outcome)).await?,
            // A plan changes nothing, so a key that got none may be used again.
            _ => self.gate.ledger.release(&key).await?,
        }
        planned
    }

    /// Plans, and leaves the plan with the desk.
    async fn propose(&mut self, granted: &Granted, around: &Around) -> Result<Reply, Fault> {
        let Done::Plan(plan) = self.gate.look(granted, Work::Plan, around).await? else {
            return Err(Fault::internal("an answer came back where a plan was asked for"));
        };
        let record = self.gate.desk.propose(change::Proposal {
            tool: granted.entry.tool.name.shared(),
            requester: tool::Identity::clone(&granted.caller),
            arguments: granted.arguments.as_ref().clone(),
            plan,
            rules_hash: granted.rules_hash.to_string(),
            request_id: self.call.request_id.to_string(),
            four_eyes: self.snapshot.config.four_eyes,
        });
        let record = record.await?;
        self.trail.change = Some(record.id.as_str().into());
        Ok(Reply::value(change::show(&record)))
    }

    /// Consumes an approval and applies its plan.
    async fn apply(&self, granted: &Granted, id: &str, around: &Around) -> Result<Reply, Fault> {
        let claimed = self.gate.desk.claim(id, &granted.caller, &granted.rules_hash).await?;
        let work = Work::Apply(claimed.plan.clone());
        if let Err(fault) = self.write_intent().await {
            let end = change::End::Failed("it could not be recorded, so it was not begun".to_owned());
            self.gate.desk.finish(claimed, end).await?;
            return Err(fault);
        }
        let settle = self.gate.settle_change(Arc::clone(&granted.entry), claimed);
        self.gate.act(granted, work, around, settle).await
    }

    /// Changes something at once, at most once for each idempotency key.
    async fn act(&self, granted: &Granted, around: &Around) -> Result<Reply, Fault> {
        let key = match &self.call.idempotency_key {
            Some(key) => Some(recall::ledger_key(granted, key)?),
            None => None,
        };
        if let Some(key) = &key
            && let Some(reply) = self.claim(granted, key).await?
        {
            return Ok(reply);
        }
        if let Err(fault) = self.write_intent().await {
            if let Some(key) = &key {
                self.gate.ledger.release(key).await?;
            }
            return Err(fault);
        }
        let settle = self.settle_ledger(granted, key);
        self.gate.act(granted, Work::Run, around, settle).await
    }

    /// Claims an idempotency key; the earlier answer where there is one.
    async fn claim(&self, granted: &Granted, key: &LedgerKey) -> Result<Option<Reply>, Fault> {
        let now = self.gate.clock.now();
        let until = now.after(Duration::from_secs(self.snapshot.config.output.idempotency_hours * 3600));
        match self.gate.ledger.claim(key, &granted.arguments_digest, now, until).await? {
            Claim::Fresh => Ok(None),
            Claim::Done(json) => recall::reply_of(json).map(Some),
            Claim::Open => Err(Fault::new(
                Code::Conflict,
                "a call with this idempotency key has begun and its outcome is not known yet; look before you ask again",
            )),
            Claim::Clash => Err(Fault::new(
                Code::Conflict,
                "this idempotency key was used with other arguments; use a new key for another call",
            )),
        }
    }

    fn settle_ledger(&self, granted: &Granted, key: Option<LedgerKey>) -> Settle {
        let (gate, granted) = (Arc::clone(&self.gate), granted.clone());
        Box::new(move |result| {
            Box::pin(async move {
                let result = result.and_then(|reply| check_output(&granted, &reply).map(|()| reply));
                let Some(key) = key else { return result };
                match &result {
                    Ok(Reply::Done(outcome)) => gate.ledger.settle(&key, &recall::kept(outcome)).await?,
                    Err(fault) if recall::surely_had_no_effect(fault) => gate.ledger.release(&key).await?,
                    // It has ended, and may have had its effect: whoever asks again gets the same answer.
                    Err(fault) => gate.ledger.settle(&key, &recall::kept_fault(fault)).await?,
                    Ok(_) => {}
                }
                result
            })
        })
    }

    /// The end of the way: records, and only then answers.
    async fn arrive(&mut self, result: Result<Reply, Fault>) -> Answer {
        let elapsed = self.started.elapsed();
        let result = self.record(result, elapsed).await;
        if let Some(span) = self.span.take() {
            let facts = if span.is_recording() { facts(&self.trail, &self.call) } else { Vec::new() };
            span.end(&facts, result.as_ref().err());
        }
        let Trail { caller, tool, limit, cache, .. } = std::mem::take(&mut self.trail);
        let request_id = RequestId::clone(&self.call.request_id);
        Answer { request_id, caller, tool, result, limit, cache, elapsed }
    }
}

/// What a trace tells of a call, by the OpenTelemetry conventions for MCP.
fn facts(trail: &Trail, call: &Call) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("mcp.method.name", call.kind.method().to_owned()),
        ("gen_ai.operation.name", "execute_tool".to_owned()),
        ("portcullis.request_id", call.request_id.to_string()),
        ("portcullis.face", call.face.as_str().to_owned()),
    ];
    if let Some(tool) = &trail.tool {
        facts.push(("gen_ai.tool.name", tool.name.to_string()));
        facts.push(("portcullis.source", tool.source.to_string()));
    }
    if let Some(caller) = &trail.caller {
        facts.push(("enduser.id", caller.user_id.to_string()));
        facts.push(("portcullis.principal", caller.principal.to_string()));
    }
    facts
}

/// Arguments that were refused, for the record. Too many, or no JSON at all, are not read for that.
fn as_sent(sent: &RawValue, bytes_max: usize) -> Option<Arc<Value>> {
    let text = Some(sent.get()).filter(|text| text.len() <= bytes_max)?;
    strict::parse(text.as_bytes()).ok().map(Arc::new)
}

/// What is asked for is not there, or not for this caller.
fn missing(kind: &Kind, change: Option<&ChangeRecord>) -> Fault {
    let what = match kind {
        Kind::Tool { .. } | Kind::Apply { .. } => "Tool",
        Kind::ReadResource { .. } => "Resource",
        Kind::GetPrompt { .. } | Kind::Complete { of: Completing::Prompt(_), .. } => "Prompt",
        Kind::Complete { of: Completing::Template(_), .. } => "Resource template",
    };
    let name = change.map_or(kind.subject(), |change| &change.tool);
    let shown: String = name.chars().take(128).collect();
    Fault::not_found(format!("{what} not found: {shown}"))
}

/// An output that breaks its promised schema is ours to mend.
fn check_output(granted: &Granted, reply: &Reply) -> Result<(), Fault> {
    let (Some(schema), Reply::Done(Outcome { body: Body::Value(value), .. })) =
        (&granted.entry.output, reply)
    else {
        return Ok(());
    };
    schema.check_output(value).map_err(|e| {
        Fault::internal(format!("the result of {} breaks its output schema: {e}", granted.entry.tool.name))
    })
}
