use serde_json::{Value, json};
use state::{ChangeRecord, ChangeState};
use tool::spelled_out;

/// A change as every answer shows it: `{change_id, status, tool, requester, approval, plan, next, ..}`.
///
/// The arguments and the plan's payload are not in it, only their digests. Characters that a screen does not
/// show as they are (controls, bidirectional overrides, zero-width ones) stand as `\u{202e}`, so that nobody
/// approves what they did not see.
#[must_use]
pub fn show(record: &ChangeRecord) -> Value {
    let mut shown = row(record);
    shown["plan"]["diff"] = spelled_out(&record.plan.diff).into();
    shown["arguments_digest"] = record.arguments_digest.clone().into();
    shown["request_id"] = record.request_id.clone().into();
    shown
}

/// A change as a list shows it: without the difference.
#[must_use]
pub fn row(record: &ChangeRecord) -> Value {
    let decision = record.decision.as_ref();
    json!({
        "change_id": record.id,
        "status": status(record.state),
        "tool": record.tool,
        "requester": record.requester,
        "created_at": record.created_at,
        "ended_at": record.ended_at,
        "outcome": record.outcome.as_deref().map(spelled_out),
        "approval": {
            "state": approval(record.state),
            "expires_at": record.expires_at,
            "four_eyes": record.four_eyes,
            "by": decision.map(|decision| &decision.by),
            "at": decision.map(|decision| decision.at),
            "reason": decision.and_then(|decision| decision.reason.as_deref()).map(spelled_out),
        },
        "plan": {
            "target": spelled_out(&record.plan.target),
            "summary": spelled_out(&record.plan.summary),
            "risk": record.plan.risk,
            "digest": record.plan_digest,
        },
        "next": next(record),
    })
}

fn status(state: ChangeState) -> &'static str {
    match state {
        ChangeState::Pending => "pending_approval",
        other => other.as_str(),
    }
}

fn approval(state: ChangeState) -> &'static str {
    match state {
        ChangeState::Pending
        | ChangeState::Approved
        | ChangeState::Denied
        | ChangeState::Expired
        | ChangeState::Withdrawn => state.as_str(),
        ChangeState::Applying
        | ChangeState::Applied
        | ChangeState::Failed
        | ChangeState::Drifted
        | ChangeState::NeedsOperator => "used",
    }
}

/// What to do next, in one sentence.
fn next(record: &ChangeRecord) -> String {
    let ChangeRecord { id, requester, .. } = record;
    match record.state {
        ChangeState::Pending => {
            let whose = if record.four_eyes { " and of another owner" } else { "" };
            format!(
                "a human other than {requester}{whose} approves it with change_approve {{\"change_id\": \"{id}\"}}; then {requester} calls change_apply with the same change_id"
            )
        }
        ChangeState::Approved => {
            format!("{requester} calls change_apply {{\"change_id\": \"{id}\"}} before {}", record.expires_at)
        }
        ChangeState::Applying => {
            format!("it is being applied; change_show {{\"change_id\": \"{id}\"}} tells how it ends")
        }
        ChangeState::Applied => "nothing: it is done".to_owned(),
        ChangeState::Denied | ChangeState::Expired | ChangeState::Withdrawn | ChangeState::Failed => {
            format!("nothing was changed; call {} again for a new plan", record.tool)
        }
        ChangeState::Drifted => {
            format!("the target had changed and was left alone; call {} again for a new plan", record.tool)
        }
        ChangeState::NeedsOperator => format!("an operator looks at {}", spelled_out(&record.plan.target)),
    }
}
