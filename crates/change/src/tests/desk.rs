use std::{collections::BTreeSet, sync::Arc, sync::atomic::Ordering};

use expect_test::expect;
use state::{ChangeFilter, ChangeState, Changes};
use tokio::task::JoinSet;
use tool::{Clock as _, Code, PrincipalKind};

use super::{RULES, alice, bot, desk, desk_over, fake, identity, minutes, proposal};
use crate::{Config, Desk, End, Verdict};

async fn approved(desk: &Desk, file: &str) -> String {
    let id = desk.propose(proposal(file, bot())).await.unwrap().id;
    desk.decide(&id, &alice(), Verdict::Approve, None).await.unwrap();
    id
}

async fn journal(store: &dyn Changes, id: &str) -> String {
    let lines = store.journal(id).await.unwrap();
    lines.iter().map(|line| line.event.as_str()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn from_plan_to_end() {
    let (desk, clock, store) = desk(Config::default());
    let planned = desk.propose(proposal("a.txt", bot())).await.unwrap();
    assert!(planned.id.len() == 20 && planned.id.starts_with("chg_"), "{}", planned.id);
    assert_eq!(planned.expires_at, clock.now().after(minutes(30)));
    clock.pass(minutes(29));
    let reason = Some("fine".to_owned());
    let approved = desk.decide(&planned.id, &alice(), Verdict::Approve, reason).await.unwrap();
    assert_eq!(approved.expires_at, clock.now().after(minutes(30)));
    clock.pass(minutes(29));
    let claimed = desk.claim(&planned.id, &bot(), RULES).await.unwrap();
    let done = desk.finish(claimed, End::Applied).await.unwrap();
    assert_eq!(done, desk.get(&planned.id).await.unwrap().unwrap(), "what is given is what is stored");
    assert_eq!(journal(store.as_ref(), &planned.id).await, "planned approved intent done");
}

#[tokio::test]
async fn an_approval_is_used_once_by_fifty_at_once() {
    let (desk, _clock, store) = desk(Config::default());
    race(desk, store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_approval_is_used_once_over_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = store::SqliteStore::open(&folder.path().join("state.db")).await.unwrap();
    let (desk, _clock) = desk_over(Arc::clone(&store) as Arc<dyn Changes>, Config::default());
    race(desk, Arc::clone(&store) as Arc<dyn Changes>).await;
    store.close().await;
}

async fn race(desk: Arc<Desk>, store: Arc<dyn Changes>) {
    let id = approved(&desk, "a.txt").await;
    let mut claims = JoinSet::new();
    for _ in 0..50 {
        let (desk, id) = (Arc::clone(&desk), id.clone());
        claims.spawn(async move { desk.claim(&id, &bot(), RULES).await });
    }
    let results = claims.join_all().await;
    let mut won: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).cloned().collect();
    assert_eq!(won.len(), 1);
    let lost: BTreeSet<_> =
        results.iter().filter_map(|result| result.as_ref().err()).map(|fault| fault.text.clone()).collect();
    let wanted = format!("cannot apply change {id:?}: it is being applied; change_show tells how it ends");
    assert_eq!(lost, BTreeSet::from([wanted]));
    desk.finish(won.remove(0), End::Applied).await.unwrap();
    assert_eq!(journal(store.as_ref(), &id).await, "planned approved intent done");
    assert_eq!(desk.claim(&id, &bot(), RULES).await.unwrap_err().code, Code::Conflict);
}

#[tokio::test]
async fn an_approval_and_a_withdrawal_at_once_leave_one_of_them() {
    let (desk, _clock, _store) = desk(Config::default());
    for _ in 0..20 {
        let id = desk.propose(proposal("a.txt", bot())).await.unwrap().id;
        let (alice, bot) = (alice(), bot());
        let (denied, withdrawn) =
            tokio::join!(desk.decide(&id, &alice, Verdict::Deny, None), desk.withdraw(&id, &bot));
        assert!(denied.is_ok() != withdrawn.is_ok());
    }
}

#[tokio::test]
async fn an_approval_can_be_taken_back_until_it_is_used() {
    let (desk, _clock, _store) = desk(Config::default());
    let id = approved(&desk, "a.txt").await;
    let denied = desk.decide(&id, &alice(), Verdict::Deny, Some("wait".to_owned())).await.unwrap();
    assert_eq!(denied.decision.unwrap().reason.as_deref(), Some("wait"));
    assert_eq!(desk.claim(&id, &bot(), RULES).await.unwrap_err().code, Code::Conflict);
    let id = approved(&desk, "b.txt").await;
    desk.claim(&id, &bot(), RULES).await.unwrap();
    assert!(desk.decide(&id, &alice(), Verdict::Deny, None).await.is_err());
}

#[tokio::test]
async fn a_faster_one_is_read_again_and_a_store_that_never_agrees_is_busy() {
    let (desk, _clock, store) = desk(Config::default());
    let id = desk.propose(proposal("a.txt", bot())).await.unwrap().id;
    store.stale.store(7, Ordering::SeqCst);
    desk.decide(&id, &alice(), Verdict::Approve, None).await.unwrap();
    store.stale.store(8, Ordering::SeqCst);
    let fault = desk.claim(&id, &bot(), RULES).await.unwrap_err();
    assert!(fault.code == Code::Busy && fault.retry_after.is_some());
    desk.claim(&id, &bot(), RULES).await.unwrap();
}

#[tokio::test]
async fn the_same_plan_is_the_same_change_as_long_as_it_is_open() {
    let (desk, clock, _store) = desk(Config::default());
    let first = desk.propose(proposal("a.txt", bot())).await.unwrap();
    assert_eq!(desk.propose(proposal("a.txt", bot())).await.unwrap(), first);
    desk.decide(&first.id, &alice(), Verdict::Approve, None).await.unwrap();
    assert_eq!(desk.propose(proposal("a.txt", bot())).await.unwrap().state, ChangeState::Approved);
    let other = desk.propose(proposal("b.txt", bot())).await.unwrap();
    let foreign =
        desk.propose(proposal("a.txt", identity("bot2", PrincipalKind::Agent, None))).await.unwrap();
    assert_eq!(BTreeSet::from([&first.id, &other.id, &foreign.id]).len(), 3);
    clock.pass(minutes(30));
    assert_ne!(desk.propose(proposal("a.txt", bot())).await.unwrap().id, first.id, "the first has expired");
}

#[tokio::test]
async fn fifty_same_proposals_at_once_are_one_change() {
    let (desk, _clock, _store) = desk(Config::default());
    let mut proposals = JoinSet::new();
    for _ in 0..50 {
        let desk = Arc::clone(&desk);
        proposals.spawn(async move { desk.propose(proposal("a.txt", bot())).await.unwrap().id });
    }
    let ids: BTreeSet<_> = proposals.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn planning_again_under_other_rules_replaces_the_change() {
    let (desk, _clock, _store) = desk(Config::default());
    let id = approved(&desk, "a.txt").await;
    let fault = desk.claim(&id, &bot(), "b3:new").await.unwrap_err();
    expect![[r#"the rules changed since "chg_X" was planned; plan again"#]]
        .assert_eq(&fault.text.replace(&id, "chg_X"));
    let mut again = proposal("a.txt", bot());
    again.rules_hash = "b3:new".to_owned();
    let next = desk.propose(again).await.unwrap();
    let old = desk.get(&id).await.unwrap().unwrap();
    assert_eq!((old.state, next.state), (ChangeState::Withdrawn, ChangeState::Pending));
    let why = old.outcome.unwrap();
    assert_eq!(why, format!("replaced by {}: planned again under other rules", next.id));
}

#[tokio::test]
async fn so_many_wait_and_no_more() {
    let (desk, _clock, _store) = desk(Config { pending_max: 2, ..Config::default() });
    let first = desk.propose(proposal("a.txt", bot())).await.unwrap();
    approved(&desk, "b.txt").await;
    let fault = desk.propose(proposal("c.txt", bot())).await.unwrap_err();
    expect![[r#"Conflict: "bot" has 2 changes waiting, as many as it may (changes.pending_max); change_list shows them and change_withdraw takes one back"#]].assert_eq(&format!("{:?}: {}", fault.code, fault.text));
    desk.propose(proposal("c.txt", alice())).await.unwrap();
    desk.withdraw(&first.id, &bot()).await.unwrap();
    desk.propose(proposal("c.txt", bot())).await.unwrap();
}

#[tokio::test]
async fn unfit_proposals_are_refused() {
    let (desk, _clock, store) = desk(Config { plan_bytes_max: 1_024, ..Config::default() });
    let mut nothing = proposal("a.txt", bot());
    nothing.plan.after = nothing.plan.before.clone();
    let mut large = proposal("a.txt", bot());
    large.plan.diff = "+".repeat(1_024);
    let mut nobody = proposal("a.txt", identity("stray", PrincipalKind::Agent, None));
    nobody.four_eyes = true;
    let mut lines = Vec::new();
    for unfit in [nothing, large, nobody] {
        let fault = desk.propose(unfit).await.unwrap_err();
        lines.push(format!("{:?}: {}", fault.code, fault.text));
    }
    expect![[r#"
        Conflict: nothing to change: files:a.txt is already as wanted
        TooLarge: the plan takes 1063 bytes, and no more than 1024 are kept (changes.plan_bytes_max); change less at once
        Denied: this change needs four eyes, and nobody is declared to answer for "stray"; an operator sets its owner"#]].assert_eq(&lines.join("\n"));
    assert_eq!(store.list(&ChangeFilter::default()).await.unwrap(), []);

    let mut fits = proposal("a.txt", bot());
    let rest = fits.plan.payload.to_string().len() + fits.arguments.to_string().len();
    fits.plan.diff = "+".repeat(1_024 - rest);
    desk.propose(fits).await.unwrap();
}

#[tokio::test]
async fn four_eyes_for_all_by_configuration() {
    let (desk, _clock, _store) = desk(Config { four_eyes: true, ..Config::default() });
    let id = desk.propose(proposal("a.txt", bot())).await.unwrap().id;
    let colleague = identity("carl", PrincipalKind::Human, Some("ops"));
    let fault = desk.decide(&id, &colleague, Verdict::Approve, None).await.unwrap_err();
    assert_eq!(fault.code, Code::Denied);
    desk.decide(&id, &alice(), Verdict::Approve, None).await.unwrap();
}

#[tokio::test]
async fn every_way_of_reading_lets_it_expire() {
    let (desk, clock, store) = desk(Config::default());
    let ids = [
        desk.propose(proposal("a.txt", bot())).await.unwrap().id,
        desk.propose(proposal("b.txt", bot())).await.unwrap().id,
        approved(&desk, "c.txt").await,
    ];
    clock.pass(minutes(30));
    assert_eq!(desk.get(&ids[0]).await.unwrap().unwrap().state, ChangeState::Expired);
    let pending = ChangeFilter { state: Some(ChangeState::Pending), ..ChangeFilter::default() };
    assert_eq!(desk.list(&pending).await.unwrap(), []);
    let expired = ChangeFilter { state: Some(ChangeState::Expired), ..ChangeFilter::default() };
    assert_eq!(desk.list(&expired).await.unwrap().len(), 3);
    let fault = desk.claim(&ids[2], &bot(), RULES).await.unwrap_err();
    expect![[r#"cannot apply change "chg_X": it expired; plan again"#]]
        .assert_eq(&fault.text.replace(&ids[2], "chg_X"));
    for id in &ids {
        assert!(journal(store.as_ref(), id).await.ends_with("expired"));
    }
}

#[tokio::test]
async fn what_a_crash_left_behind_is_found_and_ended() {
    let store = Arc::new(fake::Memory::default());
    let (before, _clock) = desk_over(Arc::clone(&store) as Arc<dyn Changes>, Config::default());
    let id = approved(&before, "a.txt").await;
    approved(&before, "b.txt").await;
    before.claim(&id, &bot(), RULES).await.unwrap();
    drop(before);

    let (after, clock) = desk_over(store, Config::default());
    clock.pass(minutes(600));
    let mut left = after.unfinished().await.unwrap();
    assert_eq!(left.iter().map(|record| record.id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
    let found = left.remove(0);
    let end = End::NeedsOperator("a.txt is neither as before nor as planned".to_owned());
    let ended = after.finish(found.clone(), end).await.unwrap();
    assert_eq!(ended.state, ChangeState::NeedsOperator);
    assert_eq!(after.unfinished().await.unwrap(), []);
    assert_eq!(after.finish(found, End::Applied).await.unwrap_err().code, Code::Conflict, "one end only");
}

#[tokio::test]
async fn what_is_not_there() {
    let (desk, _clock, _store) = desk(Config::default());
    assert_eq!(desk.get("chg_no").await.unwrap(), None);
    let fault = desk.claim(&"x".repeat(10_000), &bot(), RULES).await.unwrap_err();
    assert!(fault.code == Code::NotFound && fault.text.len() < 200, "{}", fault.text);
}
