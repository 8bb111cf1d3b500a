use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use state::{ChangeFilter, ChangeRecord, ChangeState, JournalEntry};
use tool::{
    Answered, Audience, Code, Effect, Fault, Identity, Permit, PrincipalKind, Provider, Question, Reply,
    Talk, Tool, ToolName, json::closed_object, spelled_out,
};

use crate::{
    Desk, Verdict,
    show::{row, show},
    step::TEXT_CHARS_MAX,
};

/// What these tools talk to, in policy, health and metrics.
const SOURCE: &str = "changes";

/// The longest that applying may take: the tool that is applied has its own limit within it.
const APPLY_TIME_MAX: Duration = Duration::from_secs(15 * 60);

/// How much of a difference is shown to whoever is asked to approve it, in characters; `change_review` has all.
const SHOWN_CHARS_MAX: usize = 8_000;

/// The most changes in one list.
const LIST_MAX: u32 = 100;

/// The most bytes of an answer: a whole plan with its difference.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Offers the desk as tools.
///
/// For callers: `change_list`, `change_show`, `change_withdraw` and `change_apply`, each for the caller's own
/// changes only. For administration (a role must name them): `change_pending`, `change_review`, `change_approve`
/// and `change_deny`, for everybody's. So what another principal planned is seen only by those whom a role lets
/// decide on it.
#[must_use]
pub fn open(desk: Arc<Desk>) -> Arc<dyn Provider> {
    let tools = TABLE.iter().map(|line| Arc::new(line.tool())).collect();
    Arc::new(Room { desk, tools })
}

/// One tool of this room.
struct Line {
    name: &'static str,
    about: &'static str,
    effect: Effect,
    audience: Audience,
    time_max: Duration,
    input: fn() -> Value,
    example: fn() -> Value,
}

const SHORT: Duration = Duration::from_secs(10);

const TABLE: &[Line] = &[
    Line {
        name: "change_list",
        about: "Lists the changes that the caller asked for, newest first, without their differences.",
        effect: Effect::Reads,
        audience: Audience::Callers,
        time_max: SHORT,
        input: || closed_object(&json!({ "state": state_schema(), "limit": limit_schema() }), &[]),
        example: || json!({ "state": "applied", "limit": 10 }),
    },
    Line {
        name: "change_show",
        about: "Shows a change that the caller asked for: its plan with the difference and digest, its approval and its journal.",
        effect: Effect::Reads,
        audience: Audience::Callers,
        time_max: SHORT,
        input: || closed_object(&json!({ "change_id": id_schema() }), &["change_id"]),
        example: one_change,
    },
    Line {
        name: "change_withdraw",
        about: "Takes back a change that the caller asked for and that was not applied yet.",
        effect: Effect::Changes,
        audience: Audience::Callers,
        time_max: SHORT,
        input: || closed_object(&json!({ "change_id": id_schema() }), &["change_id"]),
        example: one_change,
    },
    Line {
        name: "change_apply",
        about: "Applies an approved change that the caller asked for: exactly as planned, once, and only where its target is still as it was.",
        effect: Effect::Changes,
        audience: Audience::Callers,
        time_max: APPLY_TIME_MAX,
        input: || closed_object(&json!({ "change_id": id_schema() }), &["change_id"]),
        example: one_change,
    },
    Line {
        name: "change_pending",
        about: "Lists everybody's changes that wait for approval, or those in another state, newest first, without their differences.",
        effect: Effect::Reads,
        audience: Audience::Admins,
        time_max: SHORT,
        input: || closed_object(&json!({ "state": pending_schema(), "limit": limit_schema() }), &[]),
        example: || json!({ "limit": 10 }),
    },
    Line {
        name: "change_review",
        about: "Shows anybody's change to whoever decides on it: its plan with the difference and digest, its approval and its journal.",
        effect: Effect::Reads,
        audience: Audience::Admins,
        time_max: SHORT,
        input: || closed_object(&json!({ "change_id": id_schema() }), &["change_id"]),
        example: one_change,
    },
    Line {
        name: "change_approve",
        about: "Approves a change, so that its requester can apply it once. The caller must be a human other than the requester.",
        effect: Effect::Changes,
        audience: Audience::Admins,
        time_max: SHORT,
        input: || {
            let members = json!({ "change_id": id_schema(), "plan_digest": digest_schema(), "reason": reason_schema() });
            closed_object(&members, &["change_id"])
        },
        example: one_change,
    },
    Line {
        name: "change_deny",
        about: "Denies a change for good, as long as it is not being applied. The caller must be a human other than the requester.",
        effect: Effect::Changes,
        audience: Audience::Admins,
        time_max: SHORT,
        input: || {
            closed_object(&json!({ "change_id": id_schema(), "reason": reason_schema() }), &["change_id"])
        },
        example: one_change,
    },
];

impl Line {
    fn tool(&self) -> Tool {
        let name = ToolName::parse(self.name).expect("the names in the table are tool names");
        let mut tool = Tool::reading(name, SOURCE, self.about, (self.input)());
        tool.effect = self.effect;
        tool.audience = self.audience;
        tool.time_max = self.time_max;
        tool.bytes_max = BYTES_MAX;
        tool.examples = vec![(self.example)()];
        tool
    }
}

fn one_change() -> Value {
    json!({ "change_id": "chg_4fJ0aZ81kQm2Xc9T" })
}

fn id_schema() -> Value {
    json!({ "type": "string", "pattern": "^chg_[0-9A-Za-z]{16}$", "description": "The id of the change." })
}

fn reason_schema() -> Value {
    json!({ "type": "string", "maxLength": TEXT_CHARS_MAX, "description": "Why, for the record." })
}

fn digest_schema() -> Value {
    json!({
        "type": "string",
        "pattern": "^b3:[0-9a-f]{64}$",
        "description": "The digest of the plan you have seen (`plan.digest`); refused where the change has another.",
    })
}

fn limit_schema() -> Value {
    json!({
        "type": "integer", "minimum": 1, "maximum": LIST_MAX, "default": 50,
        "description": "How many at most.",
    })
}

fn state_schema() -> Value {
    json!({ "enum": STATES, "description": "Only changes in this state." })
}

fn pending_schema() -> Value {
    json!({ "enum": STATES, "default": "pending", "description": "Changes in this state." })
}

const STATES: &[&str] = &[
    "pending",
    "approved",
    "denied",
    "expired",
    "withdrawn",
    "applying",
    "applied",
    "failed",
    "drifted",
    "needs_operator",
];

#[derive(Deserialize)]
struct One {
    change_id: String,
    plan_digest: Option<String>,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Many {
    state: Option<ChangeState>,
    limit: Option<u32>,
}

struct Room {
    desk: Arc<Desk>,
    tools: Arc<[Arc<Tool>]>,
}

#[async_trait]
impl Provider for Room {
    fn name(&self) -> &str {
        SOURCE
    }

    fn tools(&self) -> Arc<[Arc<Tool>]> {
        Arc::clone(&self.tools)
    }

    async fn run(&self, permit: Permit, talk: Talk) -> Result<Reply, Fault> {
        let caller = permit.caller();
        match permit.tool().name.as_str() {
            "change_list" => self.list(permit.parse()?, Some(caller)).await,
            "change_pending" => {
                let mut which: Many = permit.parse()?;
                which.state = which.state.or(Some(ChangeState::Pending));
                self.list(which, None).await
            }
            "change_show" => self.show(&permit.parse::<One>()?.change_id, Some(caller)).await,
            "change_review" => self.show(&permit.parse::<One>()?.change_id, None).await,
            "change_approve" => {
                let one = self.confirm(permit.parse()?, caller, &talk).await?;
                self.decide(one, caller, Verdict::Approve).await
            }
            "change_deny" => self.decide(permit.parse()?, caller, Verdict::Deny).await,
            "change_withdraw" => {
                let record = self.desk.withdraw(&permit.parse::<One>()?.change_id, caller).await?;
                Ok(Reply::value(show(&record)))
            }
            "change_apply" => {
                let one: One = permit.parse()?;
                Ok(Reply::Done(talk.calls().apply(&one.change_id).await?))
            }
            other => Err(Fault::internal(format!("{other} is not in the table of {SOURCE}"))),
        }
    }
}

impl Room {
    /// Lists one principal's changes, or everybody's.
    async fn list(&self, which: Many, of: Option<&Identity>) -> Result<Reply, Fault> {
        let filter = ChangeFilter {
            state: which.state,
            requester: of.map(|caller| caller.principal.to_string()),
            limit: which.limit.unwrap_or(50).clamp(1, LIST_MAX),
        };
        let rows: Vec<_> = self.desk.list(&filter).await?.iter().map(row).collect();
        Ok(Reply::value(json!({ "count": rows.len(), "changes": rows })))
    }

    /// Shows a change with its journal: one principal's own, or anybody's.
    async fn show(&self, id: &str, of: Option<&Identity>) -> Result<Reply, Fault> {
        let mine = |record: &ChangeRecord| of.is_none_or(|caller| *caller.principal == record.requester);
        let Some(record) = self.desk.get(id).await?.filter(mine) else {
            let list = if of.is_some() { "change_list" } else { "change_pending" };
            return Err(Fault::not_found(format!("no change {id:?}; {list} shows what there is")));
        };
        let mut shown = show(&record);
        let lines = self.desk.journal(id).await?;
        shown["journal"] = lines.iter().map(line).collect();
        Ok(Reply::value(shown))
    }

    /// Asks the person at the other end, where that can be done while the call runs, whether exactly this is meant: a
    /// client that can show a form may be driven by a model, and an approval is a person's. What was shown is what is
    /// then approved.
    ///
    /// Fault: `Conflict` where the person does not say yes.
    async fn confirm(&self, one: One, approver: &Identity, talk: &Talk) -> Result<One, Fault> {
        let Some(record) = self.desk.get(&one.change_id).await? else { return Ok(one) };
        // Who may not approve is told so, and asked nothing.
        let may_approve =
            approver.kind == PrincipalKind::Human && record.requester != approver.principal.as_ref();
        let plan = &record.plan;
        let diff: String = spelled_out(&plan.diff).chars().take(SHOWN_CHARS_MAX).collect();
        let text = format!(
            "Approve {} by {}: {}?\n\n{diff}",
            record.id,
            record.requester,
            spelled_out(&plan.summary)
        );
        let approve = json!({ "type": "boolean", "title": "Approve this change", "default": false });
        let schema =
            json!({ "type": "object", "properties": { "approve": approve }, "required": ["approve"] });
        if !may_approve || !talk.could_ask(&Question::form("approve", &text, schema.clone())) {
            return Ok(one);
        }
        match talk.ask_form("approve", &text, schema).await? {
            Answered::Accept(answer) if answer["approve"] == true => {
                let digest = one.plan_digest.unwrap_or_else(|| plan.digest());
                Ok(One { plan_digest: Some(digest), ..one })
            }
            _ => Err(Fault::new(
                Code::Conflict,
                format!("{} was not approved: the person asked did not say yes", record.id),
            )),
        }
    }

    async fn decide(&self, one: One, approver: &Identity, verdict: Verdict) -> Result<Reply, Fault> {
        let seen = one.plan_digest.as_deref();
        let record = self.desk.decide_plan(&one.change_id, approver, verdict, one.reason, seen).await?;
        Ok(Reply::value(show(&record)))
    }
}

fn line(entry: &JournalEntry) -> Value {
    json!({ "at": entry.at, "event": entry.event, "detail": spelled_out(&entry.detail) })
}
