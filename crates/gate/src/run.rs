//! The work itself: under a deadline, with two levels of cancellation, behind a breaker, retried only where that
//! is safe, and never able to bring the house down.

use std::{
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::{FutureExt as _, future::BoxFuture};
use serde_json::Value;
use tokio::{sync::oneshot, time::Instant};
use tool::{
    Blame, Breaks, Call, Caller, Code, Effect, Face, Fault, Line, Permit, Plan, Repeats, Reply, Stop,
    StopSource, Talk,
};

use crate::{
    Gate,
    breaker::Health,
    calls::GateCalls,
    limits::Slot,
    patience::{Patience, Patient},
    snapshot::{Entry, Snapshot},
};

/// What the gate granted: everything a permit is made of. One permit is made for each attempt.
#[derive(Clone)]
pub(crate) struct Granted {
    pub(crate) caller: Arc<Caller>,
    pub(crate) entry: Arc<Entry>,
    pub(crate) call: Arc<Call>,
    pub(crate) arguments: Arc<Value>,
    pub(crate) arguments_digest: Arc<str>,
    pub(crate) target: Arc<str>,
    pub(crate) rules_hash: Arc<str>,
    pub(crate) deadline: Instant,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) depth: u8,
    pub(crate) door: Face,
    /// True where the caller wants to wait less than the tool may take.
    pub(crate) hurried: bool,
}

impl Granted {
    /// What a breaker would be opened for by this call.
    fn breaker(&self) -> Option<&Arc<str>> {
        match self.entry.tool.breaks {
            Breaks::BySource => Some(&self.entry.tool.source),
            Breaks::ByTarget => Some(&self.target),
            Breaks::Never => None,
        }
    }
}

/// What is to be done with a permit.
#[derive(Clone)]
pub(crate) enum Work {
    Run,
    Plan,
    Apply(Plan),
}

/// What came of it.
pub(crate) enum Done {
    Reply(Reply),
    Plan(Plan),
}

/// The surroundings of running work.
#[derive(Clone)]
pub(crate) struct Around {
    pub(crate) line: Arc<dyn Line>,
    /// Asked when the client has gone away.
    pub(crate) gone: Stop,
    /// Held until the work has really ended.
    _slot: Arc<Slot>,
    /// The time that the call waits for its caller.
    pub(crate) patience: Arc<Patience>,
}

impl Around {
    /// The surroundings of a call on this line.
    pub(crate) fn new(line: &Arc<dyn Line>, gone: Stop, slot: Slot) -> Self {
        let patience = Arc::new(Patience::default());
        let patient = Patient { line: Arc::clone(line), patience: Arc::clone(&patience) };
        Self { line: Arc::new(patient), gone, _slot: Arc::new(slot), patience }
    }
}

/// Called with what came of work that had an effect, whether somebody still waited for it or not.
pub(crate) type Settle =
    Box<dyn FnOnce(Result<Reply, Fault>) -> BoxFuture<'static, Result<Reply, Fault>> + Send>;

impl Gate {
    /// Does work that has no effect: it stops when the client goes.
    pub(crate) async fn look(
        self: &Arc<Self>,
        granted: &Granted,
        work: Work,
        around: &Around,
    ) -> Result<Done, Fault> {
        let (source, stop) = StopSource::new();
        let attempts = pin!(self.attempts(granted, work, around, stop));
        self.until_told(attempts, granted, around, &source, Some(&around.gone)).await
    }

    /// Does work that has an effect: it runs to its end in a task of its own and is settled there. Where it takes
    /// too long, the answer is that nobody knows; its end is then recorded when it comes.
    pub(crate) async fn act(
        self: &Arc<Self>,
        granted: &Granted,
        work: Work,
        around: &Around,
        settle: Settle,
    ) -> Result<Reply, Fault> {
        let (source, stop) = StopSource::new();
        let (sender, mut receiver) = oneshot::channel();
        let (gate, owned) = (Arc::clone(self), granted.clone());
        let theirs = Around { gone: Stop::never(), ..around.clone() };
        self.tasks.spawn(async move {
            let result = gate.attempts(&owned, work, &theirs, stop).await;
            let reply = result.and_then(|done| match done {
                Done::Reply(reply) => Ok(reply),
                Done::Plan(_) => Err(Fault::internal("a plan came back from work that changes something")),
            });
            let settled = settle(reply).await;
            if let Err(late) = sender.send(settled) {
                gate.record_late(&owned, &late).await;
            }
        });
        let ended = pin!(async { (&mut receiver).await.map_err(Fault::internal)? });
        let told = self.until_told(ended, granted, around, &source, None).await;
        // An end that came between the last look and here is the answer; nobody else would record it.
        receiver.close();
        receiver.try_recv().unwrap_or(told)
    }

    /// Attempts, until one does not fail in a way that may pass, or no more may be made. Only what repeats safely
    /// is ever tried again. However many there are, the breaker learns of one call.
    async fn attempts(
        self: &Arc<Self>,
        granted: &Granted,
        work: Work,
        around: &Around,
        stop: Stop,
    ) -> Result<Done, Fault> {
        let tool = &granted.entry.tool;
        let mut waits = tool.retry.filter(|_| tool.repeats == Repeats::Safe).map(|retry| {
            ExponentialBuilder::default()
                .with_min_delay(retry.wait)
                .with_max_delay(retry.wait_max)
                .with_max_times(retry.again_max as usize)
                .with_jitter()
                .build()
        });
        // A source that is left alone is not waited for: whoever asks learns it at once.
        self.ask_breaker(granted)?;
        let mut learn = Learn { gate: self, granted, around, calls: None, health: Health::Unknown };
        loop {
            let fault = match self.attempt(granted, work.clone(), &mut learn, stop.clone()).await {
                Err(fault) if fault.is_transient() => fault,
                other => return other,
            };
            let Some(wait) = waits.as_mut().and_then(Iterator::next) else { return Err(fault) };
            let wait = wait.max(fault.retry_after.unwrap_or_default());
            if around.patience.due(granted.deadline).is_none_or(|due| Instant::now() + wait >= due) {
                return Err(fault);
            }
            tracing::debug!(tool_name = %tool.name, error = %fault, "trying again");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.asked() => return Err(fault),
            }
            // Others have found it down meanwhile: what this call was told by it says more than that.
            if self.ask_breaker(granted).is_err() {
                return Err(fault);
            }
        }
    }

    fn ask_breaker(&self, granted: &Granted) -> Result<(), Fault> {
        let Some(breaker) = granted.breaker() else { return Ok(()) };
        self.breakers.admit(breaker, &granted.snapshot.config.breaker, Instant::now())
    }

    /// One attempt that the breaker let through: with a permit of its own, and a net under it.
    async fn attempt(
        self: &Arc<Self>,
        granted: &Granted,
        work: Work,
        learn: &mut Learn<'_>,
        stop: Stop,
    ) -> Result<Done, Fault> {
        let calls = Arc::new(GateCalls::new(self, granted, stop.clone()));
        learn.calls = Some(Arc::clone(&calls));
        let talk = Talk::new(Arc::clone(&learn.around.line), stop, calls);
        let result = AssertUnwindSafe(self.work(granted, work, talk)).catch_unwind().await;
        let result = result.unwrap_or_else(|panic| {
            Err(Fault::internal(format!("{} panicked: {}", granted.entry.tool.name, panic_text(&*panic))))
        });
        learn.hear(&result);
        result
    }

    async fn work(self: &Arc<Self>, granted: &Granted, work: Work, talk: Talk) -> Result<Done, Fault> {
        let permit = Permit::grant(
            &self.seal,
            Arc::clone(&granted.caller),
            Arc::clone(&granted.entry.tool),
            Arc::clone(&granted.call),
            Arc::clone(&granted.arguments),
            granted.deadline.into_std(),
        );
        let provider = &granted.entry.provider;
        match work {
            Work::Run => provider.run(permit, talk).await.map(Done::Reply),
            Work::Plan => provider.plan(permit, talk).await.map(Done::Plan),
            Work::Apply(plan) => provider.apply(permit, plan, talk).await.map(Done::Reply),
        }
    }

    /// Waits for work until it ends, its time is up, its client is gone (where that matters) or the house closes.
    /// Then it is asked to stop, and a moment later let go: dropping it aborts what reads; what changes goes on
    /// in its own task. The work is pinned by who calls: by value it would lie here twice, and be copied.
    pub(crate) async fn until_told<T>(
        &self,
        mut work: Pin<&mut impl Future<Output = Result<T, Fault>>>,
        granted: &Granted,
        around: &Around,
        source: &StopSource,
        gone: Option<&Stop>,
    ) -> Result<T, Fault> {
        let left = async {
            match gone {
                Some(gone) => gone.asked().await,
                None => std::future::pending().await,
            }
        };
        let told = tokio::select! {
            biased;
            result = work.as_mut() => return result,
            () = around.patience.time_is_up(granted.deadline) => Told::TimeIsUp,
            () = left => Told::ClientLeft,
            () = self.closing.cancelled() => Told::Closing,
        };
        source.ask();
        let grace = Duration::from_millis(granted.snapshot.config.limits.cancel_grace_ms);
        match tokio::time::timeout(grace, work).await {
            // It stopped because it was asked: what it says of that is less than we know.
            Ok(Err(fault)) if matches!(fault.code, Code::Cancelled | Code::TimedOut) => {
                Err(told.fault(granted))
            }
            Ok(result) => result,
            Err(_) => Err(told.fault(granted)),
        }
    }
}

/// Why work was asked to stop.
#[derive(Clone, Copy)]
enum Told {
    TimeIsUp,
    ClientLeft,
    Closing,
}

impl Told {
    fn fault(self, granted: &Granted) -> Fault {
        let tool = &granted.entry.tool;
        let name = &tool.name;
        match self {
            Self::ClientLeft => {
                Fault::new(Code::Cancelled, format!("{name} was stopped because the caller left"))
            }
            _ if tool.effect != Effect::Reads => Fault::new(
                Code::OutcomeUnknown,
                format!(
                    "{name} did not end in time, and it is not known whether it took effect; look before you ask again"
                ),
            ),
            Self::TimeIsUp => {
                let most = tool.time_max.as_millis();
                Fault::new(
                    Code::TimedOut,
                    format!("{name} took longer than it may ({most} ms at most) and was stopped"),
                )
            }
            Self::Closing => Fault::new(Code::Busy, "the server is stopping; ask again in a moment")
                .retry_after(Duration::from_secs(1)),
        }
    }
}

/// Tells the breaker how a call ended, by its last attempt, also where it was dropped.
struct Learn<'a> {
    gate: &'a Gate,
    granted: &'a Granted,
    around: &'a Around,
    /// The calls of the attempt that was begun last.
    calls: Option<Arc<GateCalls>>,
    health: Health,
}

impl Learn<'_> {
    fn was_let_down(&self) -> bool {
        self.calls.as_ref().is_some_and(|calls| calls.was_let_down())
    }

    /// Hears how an attempt ended.
    fn hear(&mut self, result: &Result<Done, Fault>) {
        self.health = match result {
            Err(fault) if fault.code == Code::Cancelled => Health::Unknown,
            // It answered, in its own protocol and in time: one tool that fails takes the others of its server with it
            // no more than one that was asked for nonsense does.
            Err(fault) if fault.as_sent.is_some() => Health::Good,
            Err(fault) => match fault.blame() {
                Blame::Source if self.was_let_down() => Health::Unknown,
                Blame::Source if self.granted.hurried && is_late(fault) => Health::Unknown,
                Blame::Source => Health::Bad,
                // What broke on our side says nothing about the source.
                Blame::Us => Health::Unknown,
                Blame::Caller => Health::Good,
            },
            Ok(_) => Health::Good,
        };
    }
}

fn is_late(fault: &Fault) -> bool {
    matches!(fault.code, Code::TimedOut | Code::OutcomeUnknown)
}

impl Drop for Learn<'_> {
    fn drop(&mut self) {
        // An attempt that ran out of time is the source's doing, unless its caller gave it less than it may take
        // or it waited for another call; one whose client left says nothing.
        let excused = self.granted.hurried || self.was_let_down();
        let due = self.around.patience.due(self.granted.deadline);
        let late = due.is_some_and(|due| Instant::now() >= due) && !excused;
        let health = if self.health == Health::Unknown && late { Health::Bad } else { self.health };
        if let Some(breaker) = self.granted.breaker() {
            let config = &self.granted.snapshot.config.breaker;
            self.gate.breakers.learn(breaker, health, config, Instant::now());
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
