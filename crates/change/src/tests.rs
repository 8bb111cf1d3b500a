mod desk;
mod fake;
mod step;
mod tools;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use state::Changes;
use testkit::ManualClock;
use tool::{Identity, Plan, PrincipalKind, Risk};

use crate::{Config, Desk, Proposal};

const RULES: &str = "b3:rules";

fn identity(name: &str, kind: PrincipalKind, owner: Option<&str>) -> Identity {
    let mut identity = Identity::clone(&testkit::caller(name, kind));
    identity.owner = owner.map(Into::into);
    identity
}

fn bot() -> Identity {
    identity("bot", PrincipalKind::Agent, Some("ops"))
}

fn alice() -> Identity {
    identity("alice", PrincipalKind::Human, Some("security"))
}

fn plan(file: &str) -> Plan {
    Plan {
        target: format!("files:{file}"),
        summary: format!("write 2 bytes to {file}"),
        diff: "-a\n+b\n".to_owned(),
        risk: Risk::Low,
        before: "b3:a".to_owned(),
        after: "b3:b".to_owned(),
        payload: json!({ "text": "b" }),
    }
}

fn proposal(file: &str, requester: Identity) -> Proposal {
    Proposal {
        tool: "fs_write_text".into(),
        requester,
        arguments: json!({ "path": file, "text": "b" }),
        plan: plan(file),
        rules_hash: RULES.to_owned(),
        request_id: "req-1".to_owned(),
        four_eyes: false,
    }
}

/// A desk over a store in memory, with its clock.
fn desk(config: Config) -> (Arc<Desk>, Arc<ManualClock>, Arc<fake::Memory>) {
    let store = Arc::new(fake::Memory::default());
    let (desk, clock) = desk_over(Arc::clone(&store) as Arc<dyn Changes>, config);
    (desk, clock, store)
}

fn desk_over(store: Arc<dyn Changes>, config: Config) -> (Arc<Desk>, Arc<ManualClock>) {
    let clock = ManualClock::new();
    (Desk::new(store, Arc::clone(&clock) as Arc<dyn tool::Clock>, config), clock)
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

fn value(reply: tool::Reply) -> Value {
    match reply {
        tool::Reply::Done(outcome) => outcome.to_value(),
        other => panic!("not done: {other:?}"),
    }
}
