//! Changes: planned, approved, applied once, and settled by what is there.

use super::*;

#[tokio::test]
async fn a_change_is_planned_approved_and_applied_once() {
    let house = House::open().await;
    let planned = planned(&house, "new").await;
    let apply = || async {
        let kind = Kind::Apply { change: planned.as_str().into() };
        let answer = house.send("sk_b", Call::new(kind, Face::Rest, RequestId::ours("r2"))).await;
        shown(&answer).replace(&planned, "chg_1")
    };
    expect![[
        r#"conflict: cannot apply change "chg_1": it waits for a human to approve it with change_approve"#
    ]]
    .assert_eq(&apply().await);
    let desk = &house.gate.desk;
    let alice = testkit::caller("alice", tool::PrincipalKind::Human);
    desk.decide(&planned, &alice, change::Verdict::Approve, None).await.unwrap();
    assert_eq!(house.shaky.now(), "old");
    let applied = apply().await;
    assert!(applied.contains(r#""status":"applied""#), "{applied}");
    assert_eq!(house.shaky.now(), "new");
    expect![[r#"conflict: cannot apply change "chg_1": it was applied already"#]].assert_eq(&apply().await);
    expect![[r#"
        call.outcome write success
        call.outcome write conflict
        call.intent write -
        call.outcome write success
        call.outcome write conflict
    "#]]
    .assert_eq(&house.trail().await);
}

#[tokio::test]
async fn a_change_of_something_that_drifted_is_refused() {
    let house = House::open().await;
    for (wanted, meanwhile, expected) in [
        ("new", "other", expect!["drifted: it changed since the plan was made -> drifted"]),
        (
            "breaks",
            "",
            expect!["internal: something broke on our side; the log has it under this request id -> failed"],
        ),
    ] {
        let id = planned(&house, wanted).await;
        let alice = testkit::caller("alice", tool::PrincipalKind::Human);
        house.gate.desk.decide(&id, &alice, change::Verdict::Approve, None).await.unwrap();
        if !meanwhile.is_empty() {
            *house.shaky.state.lock().unwrap() = meanwhile.to_owned();
        }
        let call = Call::new(Kind::Apply { change: id.as_str().into() }, Face::Rest, RequestId::ours("r2"));
        let answer = shown(&house.send("sk_b", call).await);
        let state = house.gate.desk.get(&id).await.unwrap().unwrap().state;
        expected.assert_eq(&format!("{answer} -> {}", state.as_str()));
    }
}

#[tokio::test]
async fn an_interrupted_change_is_settled_by_what_is_there() {
    for (now, expected) in [("old", "failed"), ("new", "applied"), ("other", "needs_operator")] {
        let house = House::open().await;
        let id = planned(&house, "new").await;
        let desk = &house.gate.desk;
        let alice = testkit::caller("alice", tool::PrincipalKind::Human);
        let bot = testkit::caller("bot", tool::PrincipalKind::Agent);
        let record = desk.decide(&id, &alice, change::Verdict::Approve, None).await.unwrap();
        desk.claim(&id, &bot, &record.rules_hash).await.unwrap();
        *house.shaky.state.lock().unwrap() = now.to_owned();
        let settled = house.gate.recover().await.unwrap();
        assert_eq!(settled[0].state.as_str(), expected);
        assert!(house.gate.recover().await.unwrap().is_empty());
    }
}

async fn planned(house: &House, text: &str) -> String {
    let answer = house.call("sk_b", "write", json!({ "text": text })).await;
    let Ok(Reply::Done(outcome)) = answer.result else { panic!("{:?}", answer.result) };
    outcome.to_value()["change_id"].as_str().unwrap().to_owned()
}
