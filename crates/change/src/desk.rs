use std::{sync::Arc, time::Duration};

use serde_json::Value;
use state::{ChangeFilter, ChangeRecord, ChangeState, Changes, JournalEntry, Swap};
use tokio::sync::Mutex;
use tool::{Clock, Code, Fault, Identity, Plan, PrincipalKind};
use uuid::Uuid;

use crate::{
    Config, End, Event, Verdict,
    step::{is_due, step},
};

/// How often a move is tried again when somebody else was faster. States only ever go forward, at most four
/// times, so this is never reached by a store that works.
const ATTEMPTS_MAX: usize = 8;

/// The most waiting changes that are looked at to find those whose time is over.
const OPEN_MAX: u32 = 10_000;

/// A plan that asks to become a change.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The tool that planned it and will apply it.
    pub tool: Arc<str>,
    /// Who asks for it.
    pub requester: Identity,
    /// The canonical arguments.
    pub arguments: Value,
    /// What will be done.
    pub plan: Plan,
    /// The hash of the rules that allowed the call.
    pub rules_hash: String,
    /// The id of the planning call.
    pub request_id: String,
    /// True where the rules want an approver of another owner; the configuration may want it for all.
    pub four_eyes: bool,
}

/// Where changes wait: for approval, and then to be applied. One for the process.
///
/// Every method that reads a change first lets it expire where its time is over.
pub struct Desk {
    changes: Arc<dyn Changes>,
    clock: Arc<dyn Clock>,
    config: Config,
    /// Held while a proposal is compared with the requester's open changes and added to them. Processes that
    /// share a store do not see each other's: there `pending_max` may be passed by one for each process.
    proposing: Mutex<()>,
}

impl Desk {
    /// A desk over a store.
    #[must_use]
    pub fn new(changes: Arc<dyn Changes>, clock: Arc<dyn Clock>, config: Config) -> Arc<Self> {
        Arc::new(Self { changes, clock, config, proposing: Mutex::new(()) })
    }

    /// Makes a plan a change that waits for approval. The same plan for the same call of the same principal
    /// under the same rules is the same change as long as it is open.
    ///
    /// Fault: `Conflict` where there is nothing to change, or too many changes of this principal are open;
    /// `TooLarge` over `plan_bytes_max`; `Denied` where four eyes are wanted and nobody is declared to answer for
    /// the requester.
    pub async fn propose(&self, proposal: Proposal) -> Result<ChangeRecord, Fault> {
        self.refuse_unfit(&proposal)?;
        let record = self.record_of(proposal);
        let _alone = self.proposing.lock().await;
        let open = self.open_changes(Some(record.requester.clone())).await?;
        let mut same = open.iter().filter(|other| is_same_work(other, &record));
        if let Some(known) = same.clone().find(|other| has_same_rules(other, &record)) {
            return Ok(known.clone());
        }
        let replaced = same.next();
        if replaced.is_none() && open.len() >= self.config.pending_max as usize {
            return Err(too_many_open(&record.requester, open.len()));
        }
        let entry = JournalEntry {
            at: record.created_at,
            event: "planned".to_owned(),
            detail: format!("by {}: plan {}", record.requester, record.plan_digest),
        };
        self.changes.insert(&record, &entry).await?;
        if let Some(old) = replaced {
            self.advance(&old.id, Event::Replace { with: &record.id }).await?;
        }
        Ok(record)
    }

    /// Takes an approver's word. See [`Desk::decide_plan`].
    pub async fn decide(
        &self,
        id: &str,
        approver: &Identity,
        verdict: Verdict,
        reason: Option<String>,
    ) -> Result<ChangeRecord, Fault> {
        self.decide_plan(id, approver, verdict, reason, None).await
    }

    /// Takes an approver's word on the plan with this digest, where one is given.
    ///
    /// Fault: `NotFound`; `Denied` where the approver is no human, is the requester, or belongs to the same owner
    /// where four eyes are wanted; `Conflict` where the change does not wait for approval or has another plan.
    pub async fn decide_plan(
        &self,
        id: &str,
        approver: &Identity,
        verdict: Verdict,
        reason: Option<String>,
        plan_digest: Option<&str>,
    ) -> Result<ChangeRecord, Fault> {
        let apply_time = self.config.apply_time();
        let reason = reason.as_deref();
        self.advance(id, Event::Decide { approver, verdict, reason, plan_digest, apply_time }).await
    }

    /// Takes a change back, for the principal that asked for it.
    ///
    /// Fault: `NotFound` for anybody else's; `Conflict` where it no longer waits.
    pub async fn withdraw(&self, id: &str, caller: &Identity) -> Result<ChangeRecord, Fault> {
        self.advance(id, Event::Withdraw { by: &caller.principal }).await
    }

    /// The change with this id.
    pub async fn get(&self, id: &str) -> Result<Option<ChangeRecord>, Fault> {
        let Some(record) = self.changes.get(id).await? else { return Ok(None) };
        self.settle(record).await.map(Some)
    }

    /// Some changes, newest first.
    pub async fn list(&self, filter: &ChangeFilter) -> Result<Vec<ChangeRecord>, Fault> {
        if filter.state.is_none_or(|state| !state.is_final() || state == ChangeState::Expired) {
            self.open_changes(filter.requester.clone()).await?;
        }
        Ok(self.changes.list(filter).await?)
    }

    /// The journal of a change, oldest line first.
    pub async fn journal(&self, id: &str) -> Result<Vec<JournalEntry>, Fault> {
        Ok(self.changes.journal(id).await?)
    }

    /// Begins to apply an approved change: from here on it is `applying`, durably, and nobody else can. Whoever
    /// gets it must call [`Desk::finish`], whatever comes of it.
    ///
    /// Fault: `NotFound` where another principal asked for it; `Conflict` where it is not approved, not any more,
    /// or the rules changed.
    pub async fn claim(&self, id: &str, caller: &Identity, rules_hash: &str) -> Result<ChangeRecord, Fault> {
        self.advance(id, Event::Claim { by: &caller.principal, rules_hash }).await
    }

    /// Records how applying a claimed change ended.
    ///
    /// Fault: `Conflict` where its end is recorded already.
    pub async fn finish(&self, claimed: ChangeRecord, end: End) -> Result<ChangeRecord, Fault> {
        self.advance_from(claimed, Event::Finish(&end)).await
    }

    /// What was being applied and has no end: after a start, what a crash left behind. Whoever gets these looks
    /// at each target and calls [`Desk::finish`].
    pub async fn unfinished(&self) -> Result<Vec<ChangeRecord>, Fault> {
        let filter =
            ChangeFilter { state: Some(ChangeState::Applying), limit: OPEN_MAX, ..ChangeFilter::default() };
        Ok(self.changes.list(&filter).await?)
    }

    /// Moves a change by compare-and-swap; reads again where somebody else was faster.
    async fn advance(&self, id: &str, event: Event<'_>) -> Result<ChangeRecord, Fault> {
        let record = self.get(id).await?.ok_or_else(|| no_change(id))?;
        self.advance_from(record, event).await
    }

    async fn advance_from(&self, mut record: ChangeRecord, event: Event<'_>) -> Result<ChangeRecord, Fault> {
        for _ in 0..ATTEMPTS_MAX {
            let (next, entry) = step(&record, event, self.clock.now())?;
            if let Some(done) = self.swap(next, &entry).await? {
                return Ok(done);
            }
            record = self.get(&record.id).await?.ok_or_else(|| no_change(&record.id))?;
        }
        Err(Fault::new(Code::Busy, format!("change {:?} is being changed by others; try again", record.id))
            .retry_after(Duration::from_secs(1)))
    }

    /// Lets a change expire where its time is over, and gives it as it then is.
    async fn settle(&self, mut record: ChangeRecord) -> Result<ChangeRecord, Fault> {
        for _ in 0..ATTEMPTS_MAX {
            let now = self.clock.now();
            if !is_due(&record, now) {
                return Ok(record);
            }
            let (next, entry) = step(&record, Event::Expire, now)?;
            if let Some(expired) = self.swap(next, &entry).await? {
                return Ok(expired);
            }
            record = self.changes.get(&record.id).await?.ok_or_else(|| no_change(&record.id))?;
        }
        Ok(record)
    }

    /// The change as stored; `None` where it was no longer what the step started from.
    async fn swap(
        &self,
        mut next: ChangeRecord,
        entry: &JournalEntry,
    ) -> Result<Option<ChangeRecord>, Fault> {
        if self.changes.swap(&next, entry).await? == Swap::Stale {
            return Ok(None);
        }
        next.version += 1;
        Ok(Some(next))
    }

    /// What waits, of one principal or of all; what was due has expired.
    async fn open_changes(&self, requester: Option<String>) -> Result<Vec<ChangeRecord>, Fault> {
        let mut open = Vec::new();
        for state in [ChangeState::Pending, ChangeState::Approved] {
            let filter = ChangeFilter { state: Some(state), requester: requester.clone(), limit: OPEN_MAX };
            for record in self.changes.list(&filter).await? {
                let record = self.settle(record).await?;
                let waits = matches!(record.state, ChangeState::Pending | ChangeState::Approved);
                // One approved between the two lists is in both of them.
                if waits && open.iter().all(|other: &ChangeRecord| other.id != record.id) {
                    open.push(record);
                }
            }
        }
        Ok(open)
    }

    fn refuse_unfit(&self, proposal: &Proposal) -> Result<(), Fault> {
        let Proposal { plan, requester, .. } = proposal;
        if plan.is_empty() {
            let text = format!("nothing to change: {} is already as wanted", plan.target);
            return Err(Fault::new(Code::Conflict, text));
        }
        let bytes = plan.diff.len() + plan.payload.to_string().len() + proposal.arguments.to_string().len();
        if bytes > self.config.plan_bytes_max {
            let text = format!(
                "the plan takes {bytes} bytes, and no more than {} are kept (changes.plan_bytes_max); change less at once",
                self.config.plan_bytes_max
            );
            return Err(Fault::new(Code::TooLarge, text));
        }
        let four_eyes = proposal.four_eyes || self.config.four_eyes;
        if four_eyes && requester.kind != PrincipalKind::Human && requester.owner.is_none() {
            let text = format!(
                "this change needs four eyes, and nobody is declared to answer for {:?}; an operator sets its owner",
                requester.principal
            );
            return Err(Fault::new(Code::Denied, text));
        }
        Ok(())
    }

    fn record_of(&self, proposal: Proposal) -> ChangeRecord {
        let now = self.clock.now();
        ChangeRecord {
            id: new_id(),
            state: ChangeState::Pending,
            tool: proposal.tool.to_string(),
            requester: proposal.requester.principal.to_string(),
            requester_owner: proposal.requester.owner.as_deref().map(ToOwned::to_owned),
            arguments_digest: tool::json::digest(&proposal.arguments),
            arguments: proposal.arguments,
            plan_digest: proposal.plan.digest(),
            plan: proposal.plan,
            rules_hash: proposal.rules_hash,
            four_eyes: proposal.four_eyes || self.config.four_eyes,
            created_at: now,
            expires_at: now.after(self.config.approval_time()),
            decision: None,
            ended_at: None,
            outcome: None,
            request_id: proposal.request_id,
            version: 1,
        }
    }
}

fn is_same_work(one: &ChangeRecord, other: &ChangeRecord) -> bool {
    one.tool == other.tool
        && one.requester == other.requester
        && one.arguments_digest == other.arguments_digest
        && one.plan_digest == other.plan_digest
}

fn has_same_rules(one: &ChangeRecord, other: &ChangeRecord) -> bool {
    one.rules_hash == other.rules_hash
        && one.four_eyes == other.four_eyes
        && one.requester_owner == other.requester_owner
}

fn too_many_open(requester: &str, open: usize) -> Fault {
    let text = format!(
        "{requester:?} has {open} changes waiting, as many as it may (changes.pending_max); change_list shows them and change_withdraw takes one back"
    );
    Fault::new(Code::Conflict, text)
}

fn no_change(id: &str) -> Fault {
    Fault::not_found(format!(
        "no change {:?}; change_list shows yours",
        id.chars().take(64).collect::<String>()
    ))
}

/// `chg_` and 16 letters or digits, at random: about 89 bits.
fn new_id() -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = Uuid::new_v4().as_u128();
    let mut id = String::from("chg_");
    for _ in 0..16 {
        id.push(char::from(DIGITS[(rest % 62) as usize]));
        rest /= 62;
    }
    id
}
