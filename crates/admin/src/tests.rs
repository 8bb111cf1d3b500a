mod artefacts;
mod keys;
mod maker;
mod room;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use expect_test::Expect;
use serde_json::{Value, json};
use store::SqliteStore;
use tempfile::TempDir;
use testkit::ManualClock;
use tool::{Fault, Outcome, PrincipalKind, Provider, Reply};

use crate::{AdminParts, House, KeyMaker, Principal, open};

/// The room over a real store, with its clock.
struct Bed {
    room: Arc<dyn Provider>,
    store: Arc<SqliteStore>,
    clock: Arc<ManualClock>,
    maker: KeyMaker,
    _folder: TempDir,
}

impl Bed {
    async fn new() -> Self {
        Self::with(FakeHouse { faults: Vec::new() }).await
    }

    async fn with(house: FakeHouse) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("state.db")).await.unwrap();
        let (clock, maker) = (ManualClock::new(), KeyMaker::new([7; 32]));
        let room = open(AdminParts {
            keys: Arc::clone(&store) as Arc<dyn state::Keys>,
            usage: Arc::clone(&store) as Arc<dyn state::Usage>,
            artefacts: Arc::clone(&store) as Arc<dyn state::Artefacts>,
            maker: maker.clone(),
            clock: Arc::clone(&clock) as Arc<dyn tool::Clock>,
            house: Arc::new(house),
        });
        Self { room, store, clock, maker, _folder: folder }
    }

    /// Calls a tool as the human `root`.
    async fn run(&self, name: &str, arguments: Value) -> Result<Value, Fault> {
        self.run_as("root", PrincipalKind::Human, name, arguments).await.map(|outcome| outcome.to_value())
    }

    async fn run_as(
        &self,
        who: &str,
        kind: PrincipalKind,
        name: &str,
        arguments: Value,
    ) -> Result<Outcome, Fault> {
        let tools = self.room.tools();
        let tool = tools.iter().find(|tool| tool.name.as_str() == name).unwrap();
        let caller = testkit::caller(who, kind);
        let permit = testkit::permit_for(caller, tool, arguments, Duration::from_secs(30));
        match self.room.run(permit, testkit::talk()).await? {
            Reply::Done(outcome) => Ok(outcome),
            other => panic!("not done: {other:?}"),
        }
    }
}

/// A house with three principals and one tier of its own.
struct FakeHouse {
    faults: Vec<String>,
}

#[async_trait]
impl House for FakeHouse {
    fn principals(&self) -> Vec<Principal> {
        let principal = |name: &str, kind, roles: &[&str]| Principal {
            name: name.to_owned(),
            kind,
            roles: roles.iter().map(ToString::to_string).collect(),
        };
        vec![
            principal("alice", PrincipalKind::Human, &["approver"]),
            principal("billing-bot", PrincipalKind::Agent, &["reader", "writer"]),
            principal("cron", PrincipalKind::Machine, &[]),
        ]
    }

    fn tiers(&self) -> Vec<String> {
        vec!["gold".to_owned()]
    }

    fn secret_from(&self, label: &str) -> Option<String> {
        (label == "given").then(|| "API_KEY_PRIMARY".to_owned())
    }

    async fn reload(&self) -> Result<String, Vec<String>> {
        if self.faults.is_empty() { Ok("b3:new".to_owned()) } else { Err(self.faults.clone()) }
    }

    async fn audit_tail(&self, query: Value) -> Result<Vec<Value>, Fault> {
        Ok(vec![json!({ "asked": query })])
    }

    async fn audit_verify(&self) -> Result<Value, Fault> {
        Ok(json!({ "records": 3, "problem": null }))
    }
}

fn check(result: &Result<Value, Fault>, expected: Expect) {
    let text = match result {
        Ok(Value::String(text)) => text.clone(),
        Ok(value) => serde_json::to_string_pretty(value).unwrap(),
        Err(fault) => {
            let at = fault.pointer.as_ref().map(|pointer| format!(" at {pointer:?}")).unwrap_or_default();
            format!("{:?}{at}: {}", fault.code, fault.text)
        }
    };
    expected.assert_eq(&text);
}
