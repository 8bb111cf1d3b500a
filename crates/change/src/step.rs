use std::time::Duration;

use state::{ChangeRecord, ChangeState, Decision, JournalEntry};
use tool::{Code, Fault, Identity, PrincipalKind, Timestamp};

/// The most characters of a reason or an outcome that are kept.
pub const TEXT_CHARS_MAX: usize = 1_000;

/// An approver's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Do it.
    Approve,
    /// Do not. For good: a new plan is a new change. What was approved and not yet applied can be denied, too.
    Deny,
}

/// How applying ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Done, and seen to be done.
    Applied,
    /// Not done: the target is as before. Why, for a person.
    Failed(String),
    /// Not done: the target was no longer as the plan found it. How, for a person.
    Drifted(String),
    /// Neither done nor undone, or nobody knows. What to look at, for a person.
    NeedsOperator(String),
}

/// What may happen to a change.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// An approver speaks.
    Decide {
        /// Who.
        approver: &'a Identity,
        /// What.
        verdict: Verdict,
        /// Why.
        reason: Option<&'a str>,
        /// The digest of the plan the approver has seen; it must be this one.
        plan_digest: Option<&'a str>,
        /// How long the change may then wait to be applied.
        apply_time: Duration,
    },
    /// The requester takes it back.
    Withdraw {
        /// The principal that asks for it.
        by: &'a str,
    },
    /// The same change was planned again under other rules.
    Replace {
        /// The id of the new change.
        with: &'a str,
    },
    /// Its requester begins to apply it.
    Claim {
        /// The principal that asks for it.
        by: &'a str,
        /// The hash of the rules that allow the call now.
        rules_hash: &'a str,
    },
    /// Applying has ended.
    Finish(&'a End),
    /// Its time may be over.
    Expire,
}

/// Why something may not happen to a change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another principal's change: for this one it is not there.
    #[error("no change {0:?} of yours; change_list shows them")]
    Foreign(String),
    /// Only a human may decide.
    #[error("{0:?} is not a human; a change is decided by a human principal")]
    NotHuman(String),
    /// Nobody may decide on what they asked for themselves.
    #[error("{0:?} asked for this change; another human must decide, and change_withdraw takes it back")]
    OwnChange(String),
    /// Four eyes are wanted, and these two belong to one owner.
    #[error("this change needs four eyes: {0:?} answers to the same owner as {1:?}; ask somebody else")]
    SameOwner(String, String),
    /// The approver has seen another plan.
    #[error(
        "the plan of {id:?} has the digest {digest}, not the one given; look at it again with change_review"
    )]
    OtherPlan {
        /// The change.
        id: String,
        /// The digest of its plan.
        digest: String,
    },
    /// The rules that allowed the plan are not those in force.
    #[error("the rules changed since {0:?} was planned; plan again")]
    RulesChanged(String),
    /// It is not in a state in which this can happen.
    #[error("cannot {verb} change {id:?}: {}", standing(*.state))]
    WrongState {
        /// What was asked.
        verb: &'static str,
        /// The change.
        id: String,
        /// Where it stands.
        state: ChangeState,
    },
    /// It does not wait any more, or its time is not over.
    #[error("change {0:?} does not wait, or its time is not over")]
    NotDue(String),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::Foreign(_) => Code::NotFound,
            Refusal::NotHuman(_) | Refusal::OwnChange(_) | Refusal::SameOwner(..) => Code::Denied,
            _ => Code::Conflict,
        };
        Self::new(code, refusal.to_string())
    }
}

/// Takes one step: the change as it is, what happens, and when; the change as it will be, and the line for its
/// journal. Pure: whoever calls it makes it so by compare-and-swap.
///
/// A change whose time is over can only expire, and one that is being applied can only end.
pub fn step(
    change: &ChangeRecord,
    event: Event<'_>,
    now: Timestamp,
) -> Result<(ChangeRecord, JournalEntry), Refusal> {
    let mut next = change.clone();
    let (event, detail) = match event {
        Event::Decide { approver, verdict, reason, plan_digest, apply_time } => {
            may_decide(change, approver, verdict)?;
            let (verb, wanted) = decidable(verdict);
            expect_state(change, verb, now, wanted)?;
            if plan_digest.is_some_and(|seen| seen != change.plan_digest) {
                return Err(Refusal::OtherPlan { id: change.id.clone(), digest: change.plan_digest.clone() });
            }
            decide(&mut next, approver, verdict, reason, now.after(apply_time), now)
        }
        Event::Withdraw { by } => {
            expect_requester(change, by)?;
            expect_state(change, "withdraw", now, &[ChangeState::Pending, ChangeState::Approved])?;
            end(&mut next, ChangeState::Withdrawn, None, now);
            ("withdrawn", format!("by {by}"))
        }
        Event::Replace { with } => {
            expect_state(change, "replace", now, &[ChangeState::Pending, ChangeState::Approved])?;
            let why = format!("replaced by {with}: planned again under other rules");
            end(&mut next, ChangeState::Withdrawn, Some(why.clone()), now);
            ("withdrawn", why)
        }
        Event::Claim { by, rules_hash } => {
            expect_requester(change, by)?;
            expect_state(change, "apply", now, &[ChangeState::Approved])?;
            // What was approved is what is applied: a plan that changed since then in the store is not it.
            let digest = change.plan.digest();
            if digest != change.plan_digest {
                return Err(Refusal::OtherPlan { id: change.id.clone(), digest });
            }
            if change.rules_hash != rules_hash {
                return Err(Refusal::RulesChanged(change.id.clone()));
            }
            next.state = ChangeState::Applying;
            ("intent", format!("{by} applies plan {}", change.plan_digest))
        }
        Event::Finish(how) => {
            expect_state(change, "end", now, &[ChangeState::Applying])?;
            finish(&mut next, how, now)
        }
        Event::Expire if is_due(change, now) => {
            let was = change.state.as_str();
            end(&mut next, ChangeState::Expired, None, change.expires_at);
            ("expired", format!("was {was} until {}", change.expires_at))
        }
        Event::Expire => return Err(Refusal::NotDue(change.id.clone())),
    };
    Ok((next, JournalEntry { at: now, event: event.to_owned(), detail }))
}

/// True where a change waits and its time is over: at `expires_at` it is.
pub(crate) fn is_due(change: &ChangeRecord, now: Timestamp) -> bool {
    matches!(change.state, ChangeState::Pending | ChangeState::Approved) && now >= change.expires_at
}

/// A text for people, on one line, without control characters and within [`TEXT_CHARS_MAX`].
pub(crate) fn clean(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let short: String = plain.take(TEXT_CHARS_MAX).collect();
    short.trim().to_owned()
}

/// What a verdict is called, and where a change may stand for it: what was approved can still be denied, as long
/// as nobody has begun to apply it.
fn decidable(verdict: Verdict) -> (&'static str, &'static [ChangeState]) {
    match verdict {
        Verdict::Approve => ("approve", &[ChangeState::Pending]),
        Verdict::Deny => ("deny", &[ChangeState::Pending, ChangeState::Approved]),
    }
}

/// Where a change stands and what can be done about it, as the end of a sentence.
fn standing(state: ChangeState) -> &'static str {
    match state {
        ChangeState::Pending => "it waits for a human to approve it with change_approve",
        ChangeState::Approved => "it was approved already; its requester applies it with change_apply",
        ChangeState::Denied => "it was denied; plan again",
        ChangeState::Expired => "it expired; plan again",
        ChangeState::Withdrawn => "it was withdrawn; plan again",
        ChangeState::Applying => "it is being applied; change_show tells how it ends",
        ChangeState::Applied => "it was applied already",
        ChangeState::Failed => "applying it failed; plan again",
        ChangeState::Drifted => "its target had changed; plan again",
        ChangeState::NeedsOperator => "it ended half-way; an operator must look at its target",
    }
}

fn expect_requester(change: &ChangeRecord, by: &str) -> Result<(), Refusal> {
    if change.requester == by { Ok(()) } else { Err(Refusal::Foreign(change.id.clone())) }
}

fn expect_state(
    change: &ChangeRecord,
    verb: &'static str,
    now: Timestamp,
    wanted: &[ChangeState],
) -> Result<(), Refusal> {
    let state = if is_due(change, now) { ChangeState::Expired } else { change.state };
    if wanted.contains(&state) {
        return Ok(());
    }
    Err(Refusal::WrongState { verb, id: change.id.clone(), state })
}

/// A human, another principal than the requester, and where four eyes are wanted nobody of the same house: no
/// name of the one side (principal or owner) may be a name of the other.
fn may_decide(change: &ChangeRecord, approver: &Identity, verdict: Verdict) -> Result<(), Refusal> {
    let name = approver.principal.as_ref();
    if approver.kind != PrincipalKind::Human {
        return Err(Refusal::NotHuman(name.to_owned()));
    }
    if name == change.requester {
        return Err(Refusal::OwnChange(name.to_owned()));
    }
    let theirs = [Some(change.requester.as_str()), change.requester_owner.as_deref()];
    let ours = [Some(name), approver.owner.as_deref()];
    let one_house = ours.iter().flatten().any(|our| theirs.contains(&Some(our)));
    if verdict == Verdict::Approve && change.four_eyes && one_house {
        return Err(Refusal::SameOwner(name.to_owned(), change.requester.clone()));
    }
    Ok(())
}

fn decide(
    next: &mut ChangeRecord,
    approver: &Identity,
    verdict: Verdict,
    reason: Option<&str>,
    apply_until: Timestamp,
    now: Timestamp,
) -> (&'static str, String) {
    let reason = reason.map(clean).filter(|reason| !reason.is_empty());
    let mut detail = format!("by {}", approver.principal);
    if let Some(reason) = &reason {
        detail.push_str(": ");
        detail.push_str(reason);
    }
    next.decision = Some(Decision { by: approver.principal.to_string(), at: now, reason });
    match verdict {
        Verdict::Approve => {
            next.state = ChangeState::Approved;
            next.expires_at = apply_until;
            ("approved", detail)
        }
        Verdict::Deny => {
            end(next, ChangeState::Denied, None, now);
            ("denied", detail)
        }
    }
}

fn finish(next: &mut ChangeRecord, how: &End, now: Timestamp) -> (&'static str, String) {
    let (state, text) = match how {
        End::Applied => (ChangeState::Applied, None),
        End::Failed(why) => (ChangeState::Failed, Some(clean(why))),
        End::Drifted(why) => (ChangeState::Drifted, Some(clean(why))),
        End::NeedsOperator(why) => (ChangeState::NeedsOperator, Some(clean(why))),
    };
    end(next, state, text.clone(), now);
    let event = if state == ChangeState::Applied { "done" } else { state.as_str() };
    (event, text.unwrap_or_else(|| format!("the target is as planned: {}", next.plan.after)))
}

fn end(next: &mut ChangeRecord, state: ChangeState, outcome: Option<String>, at: Timestamp) {
    next.state = state;
    next.outcome = outcome;
    next.ended_at = Some(at);
}
