use std::sync::Arc;

use async_trait::async_trait;
use expect_test::{Expect, expect};
use serde_json::{Value, json};
use tool::{Audience, Caller, Calls, Deaf, Fault, Identity, Outcome, PrincipalKind, Provider, Stop, Talk};

use super::{alice, bot, desk, minutes, proposal, value};
use crate::{Config, open, show};

fn caller(identity: Identity) -> Arc<Caller> {
    Arc::new(Caller::vouch(testkit::seal(), identity))
}

async fn run(room: &dyn Provider, who: Identity, name: &str, arguments: Value) -> Result<Value, Fault> {
    let tools = room.tools();
    let tool = tools.iter().find(|tool| tool.name.as_str() == name).unwrap();
    let permit = testkit::permit_for(caller(who), tool, arguments, minutes(1));
    let talk = Talk::new(Arc::new(Deaf), Stop::never(), Arc::new(Echo));
    room.run(permit, talk).await.map(value)
}

/// Says which change it would apply.
struct Echo;

#[async_trait]
impl Calls for Echo {
    async fn call(&self, tool: &str, _arguments: Value) -> Result<Outcome, Fault> {
        Err(Fault::not_found(tool))
    }

    async fn apply(&self, change: &str) -> Result<Outcome, Fault> {
        Ok(Outcome::new(json!({ "would_apply": change })))
    }

    fn may_reach(&self, _tool: &str, _target: &str) -> Option<bool> {
        None
    }
}

fn check(shown: &Result<Value, Fault>, id: &str, expected: Expect) {
    let text = match shown {
        Ok(value) => serde_json::to_string_pretty(value).unwrap(),
        Err(fault) => format!("{:?}: {}", fault.code, fault.text),
    };
    expected.assert_eq(&text.replace(id, "chg_X"));
}

#[test]
fn the_table() {
    let (desk, _clock, _store) = desk(Config::default());
    let lines: Vec<_> = open(desk)
        .tools()
        .iter()
        .map(|tool| {
            let who = if tool.audience == Audience::Admins { "admins" } else { "callers" };
            format!("{} {} {who} {}", tool.name, tool.effect.as_str(), tool.input["properties"])
        })
        .collect();
    expect![[r#"
        change_list reads callers {"state":{"enum":["pending","approved","denied","expired","withdrawn","applying","applied","failed","drifted","needs_operator"],"description":"Only changes in this state."},"limit":{"type":"integer","minimum":1,"maximum":100,"default":50,"description":"How many at most."}}
        change_show reads callers {"change_id":{"type":"string","pattern":"^chg_[0-9A-Za-z]{16}$","description":"The id of the change."}}
        change_withdraw changes callers {"change_id":{"type":"string","pattern":"^chg_[0-9A-Za-z]{16}$","description":"The id of the change."}}
        change_apply changes callers {"change_id":{"type":"string","pattern":"^chg_[0-9A-Za-z]{16}$","description":"The id of the change."}}
        change_pending reads admins {"state":{"enum":["pending","approved","denied","expired","withdrawn","applying","applied","failed","drifted","needs_operator"],"default":"pending","description":"Changes in this state."},"limit":{"type":"integer","minimum":1,"maximum":100,"default":50,"description":"How many at most."}}
        change_review reads admins {"change_id":{"type":"string","pattern":"^chg_[0-9A-Za-z]{16}$","description":"The id of the change."}}
        change_approve changes admins {"change_id":{"type":"string","pattern":"^chg_[0-9A-Za-z]{16}$","description":"The id of the change."},"plan_digest":{"type":"string","pattern":"^b3:[0-9a-f]{64}$","description":"The digest of the plan you have seen (`plan.digest`); refused where the change has another."},"reason":{"type":"string","maxLength":1000,"description":"Why, for the record."}}
        change_deny changes admins {"change_id":{"type":"string","pattern":"^chg_[0-9A-Za-z]{16}$","description":"The id of the change."},"reason":{"type":"string","maxLength":1000,"description":"Why, for the record."}}"#]].assert_eq(&lines.join("\n"));
}

#[tokio::test]
async fn a_change_as_everyone_sees_it() {
    let (desk, clock, _store) = desk(Config::default());
    let room = open(Arc::clone(&desk));
    let record = desk.propose(proposal("a.txt", bot())).await.unwrap();
    let id = record.id.as_str();
    let one = json!({ "change_id": id });
    check(
        &Ok(show(&record)),
        id,
        expect![[r#"
        {
          "change_id": "chg_X",
          "status": "pending_approval",
          "tool": "fs_write_text",
          "requester": "bot",
          "created_at": "2026-01-01T00:00:00.000Z",
          "ended_at": null,
          "outcome": null,
          "approval": {
            "state": "pending",
            "expires_at": "2026-01-01T00:30:00.000Z",
            "four_eyes": false,
            "by": null,
            "at": null,
            "reason": null
          },
          "plan": {
            "target": "files:a.txt",
            "summary": "write 2 bytes to a.txt",
            "risk": "low",
            "digest": "b3:d2ee11692e5118eecf56803204afc7df4bc01cb546e73c40217be7436227a73c",
            "diff": "-a\n+b\n"
          },
          "next": "a human other than bot approves it with change_approve {\"change_id\": \"chg_X\"}; then bot calls change_apply with the same change_id",
          "arguments_digest": "b3:8628aaaa9b9fffc8eab0b4c4e02d3f311267ab0bb52855786120790a7b6a6ddb",
          "request_id": "req-1"
        }"#]],
    );
    check(
        &run(&*room, bot(), "change_list", json!({ "limit": 50 })).await,
        id,
        expect![[r#"
        {
          "count": 1,
          "changes": [
            {
              "change_id": "chg_X",
              "status": "pending_approval",
              "tool": "fs_write_text",
              "requester": "bot",
              "created_at": "2026-01-01T00:00:00.000Z",
              "ended_at": null,
              "outcome": null,
              "approval": {
                "state": "pending",
                "expires_at": "2026-01-01T00:30:00.000Z",
                "four_eyes": false,
                "by": null,
                "at": null,
                "reason": null
              },
              "plan": {
                "target": "files:a.txt",
                "summary": "write 2 bytes to a.txt",
                "risk": "low",
                "digest": "b3:d2ee11692e5118eecf56803204afc7df4bc01cb546e73c40217be7436227a73c"
              },
              "next": "a human other than bot approves it with change_approve {\"change_id\": \"chg_X\"}; then bot calls change_apply with the same change_id"
            }
          ]
        }"#]],
    );
    check(
        &run(&*room, alice(), "change_list", json!({})).await,
        id,
        expect![[r#"
        {
          "count": 0,
          "changes": []
        }"#]],
    );
    check(
        &run(&*room, alice(), "change_show", one.clone()).await,
        id,
        expect![[r#"NotFound: no change "chg_X"; change_list shows what there is"#]],
    );
    check(
        &run(&*room, alice(), "change_withdraw", one.clone()).await,
        id,
        expect![[r#"NotFound: no change "chg_X" of yours; change_list shows them"#]],
    );
    check(
        &run(&*room, bot(), "change_approve", one.clone()).await,
        id,
        expect![[r#"Denied: "bot" is not a human; a change is decided by a human principal"#]],
    );
    let pending = run(&*room, alice(), "change_pending", json!({})).await.unwrap();
    assert_eq!(pending["changes"][0]["change_id"], id);
    clock.pass(minutes(1));
    let seen = json!({ "change_id": id, "plan_digest": record.plan_digest, "reason": "fine" });
    let approved = run(&*room, alice(), "change_approve", seen).await.unwrap();
    assert_eq!(approved["status"], "approved");
    assert_eq!(run(&*room, alice(), "change_pending", json!({})).await.unwrap()["count"], 0);
    check(
        &run(&*room, alice(), "change_review", one.clone()).await,
        id,
        expect![[r#"
        {
          "change_id": "chg_X",
          "status": "approved",
          "tool": "fs_write_text",
          "requester": "bot",
          "created_at": "2026-01-01T00:00:00.000Z",
          "ended_at": null,
          "outcome": null,
          "approval": {
            "state": "approved",
            "expires_at": "2026-01-01T00:31:00.000Z",
            "four_eyes": false,
            "by": "alice",
            "at": "2026-01-01T00:01:00.000Z",
            "reason": "fine"
          },
          "plan": {
            "target": "files:a.txt",
            "summary": "write 2 bytes to a.txt",
            "risk": "low",
            "digest": "b3:d2ee11692e5118eecf56803204afc7df4bc01cb546e73c40217be7436227a73c",
            "diff": "-a\n+b\n"
          },
          "next": "bot calls change_apply {\"change_id\": \"chg_X\"} before 2026-01-01T00:31:00.000Z",
          "arguments_digest": "b3:8628aaaa9b9fffc8eab0b4c4e02d3f311267ab0bb52855786120790a7b6a6ddb",
          "request_id": "req-1",
          "journal": [
            {
              "at": "2026-01-01T00:00:00.000Z",
              "event": "planned",
              "detail": "by bot: plan b3:d2ee11692e5118eecf56803204afc7df4bc01cb546e73c40217be7436227a73c"
            },
            {
              "at": "2026-01-01T00:01:00.000Z",
              "event": "approved",
              "detail": "by alice: fine"
            }
          ]
        }"#]],
    );
    check(
        &run(&*room, bot(), "change_apply", one.clone()).await,
        id,
        expect![[r#"
        {
          "would_apply": "chg_X"
        }"#]],
    );
    check(
        &run(&*room, bot(), "change_withdraw", one).await.map(|v| v["next"].clone()),
        id,
        expect![[r#""nothing was changed; call fs_write_text again for a new plan""#]],
    );
}

#[tokio::test]
async fn another_digest_is_not_approved_and_denied_is_for_good() {
    let (desk, _clock, _store) = desk(Config::default());
    let room = open(Arc::clone(&desk));
    let id = desk.propose(proposal("a.txt", bot())).await.unwrap().id;
    let other = json!({ "change_id": id, "plan_digest": format!("b3:{}", "0".repeat(64)) });
    let fault = run(&*room, alice(), "change_approve", other).await;
    assert_eq!(fault.unwrap_err().code, tool::Code::Conflict);
    let denied = run(&*room, alice(), "change_deny", json!({ "change_id": id, "reason": "not today" })).await;
    assert_eq!(denied.unwrap()["status"], "denied");
    check(
        &run(&*room, alice(), "change_approve", json!({ "change_id": id })).await,
        &id,
        expect![[r#"Conflict: cannot approve change "chg_X": it was denied; plan again"#]],
    );
}

#[tokio::test]
async fn nobody_approves_what_a_screen_hides() {
    let (desk, _clock, _store) = desk(Config::default());
    let mut sly = proposal("a.txt", bot());
    sly.plan.diff = "+ok \u{202e}tac\u{1b}[2K\r\n\tä\u{200b}\u{e0041}\n".to_owned();
    sly.plan.summary = "write\u{feff} 👍🏽".to_owned();
    let shown = show(&desk.propose(sly).await.unwrap());
    let text = format!("{}\n{}", shown["plan"]["summary"], shown["plan"]["diff"]);
    expect![[r#"
        "write\\u{feff} 👍🏽"
        "+ok \\u{202e}tac\\u{1b}[2K\\u{d}\n\tä\\u{200b}\\u{e0041}\n""#]]
    .assert_eq(&text);
}

#[tokio::test]
async fn an_agent_of_the_same_name_as_a_human_is_no_human() {
    let (desk, _clock, _store) = desk(Config::default());
    let room = open(Arc::clone(&desk));
    let id = desk.propose(proposal("a.txt", bot())).await.unwrap().id;
    let agent = super::identity("alice", PrincipalKind::Agent, None);
    check(
        &run(&*room, agent, "change_approve", json!({ "change_id": id })).await,
        &id,
        expect![[r#"Denied: "alice" is not a human; a change is decided by a human principal"#]],
    );
}

#[tokio::test]
async fn a_person_who_can_be_asked_is_asked_before_a_change_is_approved() {
    use testkit::Scripted;
    let ask = async |who: Identity, line: Scripted| {
        let (desk, _clock, _store) = desk(Config::default());
        let room = open(Arc::clone(&desk));
        let record = desk.propose(proposal("a.txt", bot())).await.unwrap();
        let tools = room.tools();
        let tool = tools.iter().find(|tool| tool.name.as_str() == "change_approve").unwrap();
        let arguments = json!({ "change_id": record.id });
        let permit = testkit::permit_for(caller(who), tool, arguments, minutes(1));
        let line = Arc::new(line);
        let told = Arc::clone(&line) as Arc<dyn tool::Line>;
        let answer = room.run(permit, Talk::new(told, Stop::never(), Arc::new(Echo))).await.map(value);
        let end =
            answer.map_or_else(|fault| format!("{:?}", fault.code), |shown| shown["status"].to_string());
        (end, line.heard())
    };
    let person = || Scripted::new().declaring(&["elicitation"]);
    let says = |answer: Value| person().answering("approve", answer);
    let yes = json!({ "action": "accept", "content": { "approve": true } });
    let (end, heard) = ask(alice(), says(yes.clone())).await;
    assert_eq!(end, "\"approved\"");
    assert!(heard.contains("write 2 bytes to a.txt") && heard.contains("-a"), "the plan is shown: {heard}");
    for no in [
        json!({ "action": "accept", "content": { "approve": false } }),
        json!({ "action": "decline" }),
        json!({ "action": "cancel" }),
    ] {
        assert_eq!(ask(alice(), says(no)).await.0, "Conflict");
    }
    // Who cannot be asked is taken by its word, as over REST; who may not approve is asked nothing.
    assert_eq!(ask(alice(), Scripted::new()).await.0, "\"approved\"");
    let (end, heard) = ask(bot(), says(yes)).await;
    assert_eq!((end.as_str(), heard.as_str()), ("Denied", ""));
}
