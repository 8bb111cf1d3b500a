use std::fmt::Write as _;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use state::{ChangeRecord, ChangeState};
use tool::{Fault, Identity, PrincipalKind, Timestamp};

use super::{RULES, alice, bot, identity, minutes, plan};
use crate::{End, Event, TEXT_CHARS_MAX, Verdict, step, step::clean};

const STATES: [ChangeState; 10] = [
    ChangeState::Pending,
    ChangeState::Approved,
    ChangeState::Denied,
    ChangeState::Expired,
    ChangeState::Withdrawn,
    ChangeState::Applying,
    ChangeState::Applied,
    ChangeState::Failed,
    ChangeState::Drifted,
    ChangeState::NeedsOperator,
];

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn record(state: ChangeState) -> ChangeRecord {
    let plan = plan("a.txt");
    ChangeRecord {
        id: "chg_0000000000000000".to_owned(),
        state,
        tool: "fs_write_text".to_owned(),
        requester: "bot".to_owned(),
        requester_owner: Some("ops".to_owned()),
        arguments: serde_json::json!({}),
        arguments_digest: "b3:args".to_owned(),
        plan_digest: plan.digest(),
        plan,
        rules_hash: RULES.to_owned(),
        four_eyes: false,
        created_at: start(),
        expires_at: start().after(minutes(30)),
        decision: None,
        ended_at: None,
        outcome: None,
        request_id: "req-1".to_owned(),
        version: 3,
    }
}

fn approve(approver: &Identity) -> Event<'_> {
    Event::Decide {
        approver,
        verdict: Verdict::Approve,
        reason: None,
        plan_digest: None,
        apply_time: minutes(30),
    }
}

fn deny(approver: &Identity) -> Event<'_> {
    Event::Decide {
        approver,
        verdict: Verdict::Deny,
        reason: None,
        plan_digest: None,
        apply_time: minutes(30),
    }
}

fn shown(change: &ChangeRecord, event: Event<'_>, now: Timestamp) -> String {
    match step(change, event, now) {
        Ok((next, entry)) => {
            assert_eq!(next.version, change.version, "the store counts versions, not the step");
            assert_eq!(next.state.is_final(), next.ended_at.is_some());
            format!("{} [{}: {}]", next.state.as_str(), entry.event, entry.detail)
        }
        Err(refusal) => {
            let fault = Fault::from(refusal);
            format!("{:?}: {}", fault.code, fault.text)
        }
    }
}

#[test]
fn every_state_and_every_event() {
    let (alice, failed) = (alice(), End::Failed("disk full".to_owned()));
    let events = [
        ("approve", approve(&alice)),
        ("deny", deny(&alice)),
        ("withdraw", Event::Withdraw { by: "bot" }),
        ("replace", Event::Replace { with: "chg_1" }),
        ("claim", Event::Claim { by: "bot", rules_hash: RULES }),
        ("finish", Event::Finish(&failed)),
        ("expire", Event::Expire),
    ];
    let mut table = String::new();
    for state in STATES {
        for (when, now) in [("", start()), (" late", start().after(minutes(30)))] {
            let _ = writeln!(table, "{}{when}", state.as_str());
            for (name, event) in events {
                let _ = writeln!(table, "  {name:8} -> {}", shown(&record(state), event, now));
            }
        }
    }
    expect![[r#"
        pending
          approve  -> approved [approved: by alice]
          deny     -> denied [denied: by alice]
          withdraw -> withdrawn [withdrawn: by bot]
          replace  -> withdrawn [withdrawn: replaced by chg_1: planned again under other rules]
          claim    -> Conflict: cannot apply change "chg_0000000000000000": it waits for a human to approve it with change_approve
          finish   -> Conflict: cannot end change "chg_0000000000000000": it waits for a human to approve it with change_approve
          expire   -> Conflict: change "chg_0000000000000000" does not wait, or its time is not over
        pending late
          approve  -> Conflict: cannot approve change "chg_0000000000000000": it expired; plan again
          deny     -> Conflict: cannot deny change "chg_0000000000000000": it expired; plan again
          withdraw -> Conflict: cannot withdraw change "chg_0000000000000000": it expired; plan again
          replace  -> Conflict: cannot replace change "chg_0000000000000000": it expired; plan again
          claim    -> Conflict: cannot apply change "chg_0000000000000000": it expired; plan again
          finish   -> Conflict: cannot end change "chg_0000000000000000": it expired; plan again
          expire   -> expired [expired: was pending until 2026-01-01T00:30:00.000Z]
        approved
          approve  -> Conflict: cannot approve change "chg_0000000000000000": it was approved already; its requester applies it with change_apply
          deny     -> denied [denied: by alice]
          withdraw -> withdrawn [withdrawn: by bot]
          replace  -> withdrawn [withdrawn: replaced by chg_1: planned again under other rules]
          claim    -> applying [intent: bot applies plan b3:d2ee11692e5118eecf56803204afc7df4bc01cb546e73c40217be7436227a73c]
          finish   -> Conflict: cannot end change "chg_0000000000000000": it was approved already; its requester applies it with change_apply
          expire   -> Conflict: change "chg_0000000000000000" does not wait, or its time is not over
        approved late
          approve  -> Conflict: cannot approve change "chg_0000000000000000": it expired; plan again
          deny     -> Conflict: cannot deny change "chg_0000000000000000": it expired; plan again
          withdraw -> Conflict: cannot withdraw change "chg_0000000000000000": it expired; plan again
          replace  -> Conflict: cannot replace change "chg_0000000000000000": it expired; plan again
          claim    -> Conflict: cannot apply change "chg_0000000000000000": it expired; plan again
          finish   -> Conflict: cannot end change "chg_0000000000000000": it expired; plan again
          expire   -> expired [expired: was approved until 2026-01-01T00:30:00.000Z]
        denied
          approve  -> Conflict: cannot approve change "chg_0000000000000000": it was denied; plan again
          deny     -> Conflict: cannot deny change "chg_0000000000000000": it was denied; plan again
          withdraw -> Conflict: cannot withdraw change "chg_0000000000000000": it was denied; plan again
          replace  -> Conflict: cannot replace change "chg_0000000000000000": it was denied; plan again
          claim    -> Conflict: cannot apply change "chg_0000000000000000": it was denied; plan again
          finish   -> Conflict: cannot end change "chg_0000000000000000": it was denied; plan again
          expire   -> Conflict: change "chg_0000000000000000" does not wait, or its time is not over
        denied late
          approve  -> Conflict: cannot approve change "chg_0000000000000000": it was denied; plan again
          deny     -> Conflict: cannot deny change "chg_0000000000000000": it was denied; plan again
          withdraw -> Conflict: cannot withdraw change "chg_0000000000000000": it was denied; plan again
          replace  -> Conflict: cannot replace change "chg_0000000000000000": it was denied; plan again
          claim    -> Conflict: cannot apply change "chg_0000000000000000": it was denied; plan again
          finish   -> Conflict: cannot end change "chg_0000000000000000": it was denied; plan again
          expire   -> Conflict: change "chg_0000000000000000" does not wait, or its time is not over
        expired
          approve  -> Conflict: cannot approve change "chg_0000000000000000": it expired; plan again
          deny     -> Conflict: cannot deny change "chg_0000000000000000": it expired; plan again
          withdraw -> Conflict: cannot withdraw change "chg_0000000000000000": it expired; plan again
          replace  -> Conflict: cannot replace change "chg_0000000000000000": it expired; plan again
          claim    -> Conflict: cannot apply change "chg_0000000000000000": it expired; plan again
          finish   -> Conflict: cannot end change "chg_0000000000000000": it expired; plan again
          expire   -> Conflict: change "chg_0000000000000000" does not wait, or its time is not over
        expired late
          approve  -> Conflict: cannot approve change "chg_0000000000000000": it expired; plan again
          deny     -> Conflict: cannot deny change "chg_0000000000000000": it expired; plan again
          withdraw -> Conflict: cannot withdraw change "chg_0000000000000000": it expired; plan again
          replace  -> Conflict: cannot replace change "chg_0000000000000000": it expired; plan again
          claim    -> Conflict: cannot apply change "chg_0000000000000000": it expired; plan again
          finish   -> Conflict: cannot end change "chg_0000000000000000": it expired; plan again
          expire   -> Conflict: change "chg_0000000000000000" does not wait, or its time is not over
        withdrawn
          approve  -> Conflict: cannot approve change "chg_0000000000000000": it was withdrawn; plan again
          deny     -> Conflict: cannot deny change "chg_0000000000000000": it was withdrawn; plan again
          withdraw -> Conflict: cannot withdraw change "chg_0000000000000000": it was withdrawn; plan again
          replace  -> Conflict: cannot replace change "chg_0000000000000000": it was withdrawn; plan again
          claim    -> Conflict: cannot apply change "chg_0000000000000000": it was withdrawn; plan again
          finish   -> Conflict: cannot end change "chg_0000000000000000": it was withdrawn; plan again
          expire   -> Conflict: change "chg_0000000000000000" does not wait, or its time is not over
        withdrawn late
          approve  -> Conflict: cannot approve change "chg_0000000000000000": it was withdrawn; plan again
          deny     -> Conflict: cannot deny change "chg_0000000000000000": it was withdrawn; plan again
          withdraw -> Conflict: cannot withdraw change "chg_0000000000000000": it was withdrawn; plan again
          replace  -> Conflict: cannot replace change "chg_0000000000000000": it was withdrawn; plan again
          claim    -> Conflict: cannot apply change "chg_0000000000000000": it was withdrawn; plan again
          finish   -> Conflict: cannot end change "chg_0000000000000000": it was withdrawn; plan again
          expire   -> Conflict: change "chg_0000000000000000" does not wait, or its time is not over
        applying
          approve  -> Conflict: cannot approve change "chg_0000000000000000": it is being applied; change_show tells how it ends
          deny     -> Conflict: cannot deny change "chg_0000000000000000": it is being applied; change_show tells how it ends
          withdraw -> Conflict: cannot withdraw change "chg_0000000000000000": it is being applied; change_show tells how it ends
          replace  -> Conflict: cannot replace change "chg_0000000000000000": it is being applied; change_show tells how it ends
          claim    -> Conflict: cannot apply change "chg_0000000000000000": it is being applied; change_show tells how it ends
          finish   -> failed [failed: disk full]
          expire   -> Conflict: change "chg_0000000000000000" does not wait, or its time is not over
        applying late
          approve  -> Conflict: cannot approve change "chg_0000000000000000": it is being applied; change_show tells how it ends
          deny     -> Conflict: cannot deny change "chg_0000000000000000": it is being applied; change_show tells how it ends
          withdraw -> Conflict: cannot withdraw change "chg_0000000000000000": it is being applied; change_show tells how it ends
          replace  -> Conflict: cannot replace change "chg_0000000000000000": it is being applied; change_show tells how it ends
          claim    -> Conflict: cannot apply change "chg_0000000000000000": it is being applied; change_show tells how it ends
          finish   -> failed [failed: disk full]
          expire   -> Conflict: change "chg_0000000000000000" does not wait, or its time is not over
        applied
          approve  -> Conflict: cannot approve change "chg_0000000000000000": it was applied already
          deny     -> Conflict: cannot deny change "chg_0000000000000000": it was applied already
          withdraw -> Conflict: cannot withdraw change "chg_0000000000000000": it was applied already
          replace  -> Conflict: cannot replace change "chg_0000000000000000": it was applied already
          claim    -> Conflict: cannot apply change "chg_0000000000000000": it was applied already
          finish   -> Conflict: cannot end change "chg_0000000000000000": it was applied already
          expire   -> Conflict: change "chg_0000000000000000" does not wait, or its time is not over
        applied late
          approve  -> Conflict: cannot approve change "chg_0000000000000000": it was applied already
          deny     -> Conflict: cannot deny change "chg_0000000000000000": it was applied already
          withdraw -> Conflict: cannot withdraw change "chg_0000000000000000": it was applied already
          replace  -> Conflict: cannot replace change "chg_0000000000000000": it was applied already
          claim    -> Conflict: cannot apply change "chg_0000000000000000": it was applied already
          finish   -> Conflict: cannot end change "chg_0000000000000000": it was applied already
          expire   -> Conflict: change "chg_0000000000000000" does not wait, or its time is not over
        failed
          approve  -> Conflict: cannot approve change "chg_0000000000000000": applying it failed; plan again
          deny     -> Conflict: cannot deny change "chg_0000000000000000": applying it failed; plan again
          withdraw -> Conflict: cannot withdraw change "chg_0000000000000000": applying it failed; plan again
          replace  -> Conflict: cannot replace change "chg_0000000000000000": applying it failed; plan again
          claim    -> Conflict: cannot apply change "chg_0000000000000000": applying it failed; plan again
          finish   -> Conflict: cannot end change "chg_0000000000000000": applying it failed; plan again
          expire   -> Conflict: change "chg_0000000000000000" does not wait, or its time is not over
        failed late
          approve  -> Conflict: cannot approve change "chg_0000000000000000": applying it failed; plan again
          deny     -> Conflict: cannot deny change "chg_0000000000000000": applying it failed; plan again
          withdraw -> Conflict: cannot withdraw change "chg_0000000000000000": applying it failed; plan again
          replace  -> Conflict: cannot replace change "chg_0000000000000000": applying it failed; plan again
          claim    -> Conflict: cannot apply change "chg_0000000000000000": applying it failed; plan again
          finish   -> Conflict: cannot end change "chg_0000000000000000": applying it failed; plan again
          expire   -> Conflict: change "chg_0000000000000000" does not wait, or its time is not over
        drifted
          approve  -> Conflict: cannot approve change "chg_0000000000000000": its target had changed; plan again
          deny     -> Conflict: cannot deny change "chg_0000000000000000": its target had changed; plan again
          withdraw -> Conflict: cannot withdraw change "chg_0000000000000000": its target had changed; plan again
          replace  -> Conflict: cannot replace change "chg_0000000000000000": its target had changed; plan again
          claim    -> Conflict: cannot apply change "chg_0000000000000000": its target had changed; plan again
          finish   -> Conflict: cannot end change "chg_0000000000000000": its target had changed; plan again
          expire   -> Conflict: change "chg_0000000000000000" does not wait, or its time is not over
        drifted late
          approve  -> Conflict: cannot approve change "chg_0000000000000000": its target had changed; plan again
          deny     -> Conflict: cannot deny change "chg_0000000000000000": its target had changed; plan again
          withdraw -> Conflict: cannot withdraw change "chg_0000000000000000": its target had changed; plan again
          replace  -> Conflict: cannot replace change "chg_0000000000000000": its target had changed; plan again
          claim    -> Conflict: cannot apply change "chg_0000000000000000": its target had changed; plan again
          finish   -> Conflict: cannot end change "chg_0000000000000000": its target had changed; plan again
          expire   -> Conflict: change "chg_0000000000000000" does not wait, or its time is not over
        needs_operator
          approve  -> Conflict: cannot approve change "chg_0000000000000000": it ended half-way; an operator must look at its target
          deny     -> Conflict: cannot deny change "chg_0000000000000000": it ended half-way; an operator must look at its target
          withdraw -> Conflict: cannot withdraw change "chg_0000000000000000": it ended half-way; an operator must look at its target
          replace  -> Conflict: cannot replace change "chg_0000000000000000": it ended half-way; an operator must look at its target
          claim    -> Conflict: cannot apply change "chg_0000000000000000": it ended half-way; an operator must look at its target
          finish   -> Conflict: cannot end change "chg_0000000000000000": it ended half-way; an operator must look at its target
          expire   -> Conflict: change "chg_0000000000000000" does not wait, or its time is not over
        needs_operator late
          approve  -> Conflict: cannot approve change "chg_0000000000000000": it ended half-way; an operator must look at its target
          deny     -> Conflict: cannot deny change "chg_0000000000000000": it ended half-way; an operator must look at its target
          withdraw -> Conflict: cannot withdraw change "chg_0000000000000000": it ended half-way; an operator must look at its target
          replace  -> Conflict: cannot replace change "chg_0000000000000000": it ended half-way; an operator must look at its target
          claim    -> Conflict: cannot apply change "chg_0000000000000000": it ended half-way; an operator must look at its target
          finish   -> Conflict: cannot end change "chg_0000000000000000": it ended half-way; an operator must look at its target
          expire   -> Conflict: change "chg_0000000000000000" does not wait, or its time is not over
    "#]].assert_eq(&table);
}

#[test]
fn every_end_has_its_state() {
    let ends = [
        End::Applied,
        End::Failed("disk full".to_owned()),
        End::Drifted("now b3:x".to_owned()),
        End::NeedsOperator("look at\u{1b}[31m a.txt\n".to_owned()),
    ];
    let lines: Vec<_> =
        ends.iter().map(|end| shown(&record(ChangeState::Applying), Event::Finish(end), start())).collect();
    expect![[r#"
        applied [done: the target is as planned: b3:b]
        failed [failed: disk full]
        drifted [drifted: now b3:x]
        needs_operator [needs_operator: look at [31m a.txt]"#]]
    .assert_eq(&lines.join("\n"));
}

/// Who asks (and who answers for them), who approves (as what, and who answers), four eyes or not.
fn check_approver(four_eyes: bool, approver: &Identity, expected: Expect) {
    let mut change = record(ChangeState::Pending);
    change.four_eyes = four_eyes;
    let lines = [approve(approver), deny(approver)].map(|event| shown(&change, event, start()));
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn an_approver_is_a_human_and_another() {
    use PrincipalKind::{Agent, Human, Machine};
    check_approver(
        false,
        &identity("carl", Human, None),
        expect![[r#"
        approved [approved: by carl]
        denied [denied: by carl]"#]],
    );
    check_approver(
        false,
        &identity("carl", Human, Some("ops")),
        expect![[r#"
        approved [approved: by carl]
        denied [denied: by carl]"#]],
    );
    check_approver(
        false,
        &identity("bot", Human, None),
        expect![[r#"
        Denied: "bot" asked for this change; another human must decide, and change_withdraw takes it back
        Denied: "bot" asked for this change; another human must decide, and change_withdraw takes it back"#]],
    );
    check_approver(
        false,
        &identity("other-bot", Agent, None),
        expect![[r#"
        Denied: "other-bot" is not a human; a change is decided by a human principal
        Denied: "other-bot" is not a human; a change is decided by a human principal"#]],
    );
    check_approver(
        false,
        &identity("cron", Machine, None),
        expect![[r#"
        Denied: "cron" is not a human; a change is decided by a human principal
        Denied: "cron" is not a human; a change is decided by a human principal"#]],
    );
}

#[test]
fn four_eyes_belong_to_two_houses() {
    use PrincipalKind::Human;
    check_approver(
        true,
        &alice(),
        expect![[r#"
        approved [approved: by alice]
        denied [denied: by alice]"#]],
    );
    check_approver(
        true,
        &identity("carl", Human, Some("ops")),
        expect![[r#"
        Denied: this change needs four eyes: "carl" answers to the same owner as "bot"; ask somebody else
        denied [denied: by carl]"#]],
    );
    check_approver(
        true,
        &identity("ops", Human, None),
        expect![[r#"
        Denied: this change needs four eyes: "ops" answers to the same owner as "bot"; ask somebody else
        denied [denied: by ops]"#]],
    );
    check_approver(
        true,
        &identity("ops", Human, Some("board")),
        expect![[r#"
        Denied: this change needs four eyes: "ops" answers to the same owner as "bot"; ask somebody else
        denied [denied: by ops]"#]],
    );
    check_approver(
        true,
        &identity("carl", Human, Some("bot")),
        expect![[r#"
        Denied: this change needs four eyes: "carl" answers to the same owner as "bot"; ask somebody else
        denied [denied: by carl]"#]],
    );
}

#[test]
fn an_approval_is_for_one_plan_one_requester_and_one_set_of_rules() {
    let (alice, pending, approved) = (alice(), record(ChangeState::Pending), record(ChangeState::Approved));
    let with_digest = |digest| Event::Decide {
        approver: &alice,
        verdict: Verdict::Approve,
        reason: Some(" looks\u{7}good \u{1b}[0m"),
        plan_digest: Some(digest),
        apply_time: minutes(30),
    };
    let lines = [
        shown(&pending, with_digest(&pending.plan_digest), start()),
        shown(&pending, with_digest("b3:other"), start()),
        shown(&approved, Event::Claim { by: "alice", rules_hash: RULES }, start()),
        shown(&approved, Event::Claim { by: "bot", rules_hash: "b3:new" }, start()),
        shown(&approved, Event::Withdraw { by: "alice" }, start()),
    ];
    expect![[r#"
        approved [approved: by alice: looks good  [0m]
        Conflict: the plan of "chg_0000000000000000" has the digest b3:d2ee11692e5118eecf56803204afc7df4bc01cb546e73c40217be7436227a73c, not the one given; look at it again with change_review
        NotFound: no change "chg_0000000000000000" of yours; change_list shows them
        Conflict: the rules changed since "chg_0000000000000000" was planned; plan again
        NotFound: no change "chg_0000000000000000" of yours; change_list shows them"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn time_is_over_at_its_last_moment_and_approval_starts_it_anew() {
    let change = record(ChangeState::Pending);
    let last = Timestamp::from_unix_ms(change.expires_at.unix_ms() - 1);
    let (approved, _) = step(&change, approve(&alice()), last).unwrap();
    assert_eq!(approved.expires_at, last.after(minutes(30)));
    assert!(step(&change, approve(&alice()), change.expires_at).is_err());
    assert!(step(&change, Event::Expire, last).is_err());
    let (expired, _) = step(&change, Event::Expire, change.expires_at.after(minutes(9))).unwrap();
    assert_eq!(expired.ended_at, Some(change.expires_at), "it ended when its time was over, not when seen");
    let claim = Event::Claim { by: "bot", rules_hash: RULES };
    assert!(step(&approved, claim, approved.expires_at).is_err());
    let (applying, _) = step(&approved, claim, last).unwrap();
    let (applied, _) =
        step(&applying, Event::Finish(&End::Applied), approved.expires_at.after(minutes(9))).unwrap();
    assert_eq!(applied.state, ChangeState::Applied, "what has begun in time may end late");
}

#[test]
fn texts_are_bounded_and_plain() {
    assert_eq!(clean("  a\r\nb\u{0}\u{9b}c "), "a  b  c");
    assert_eq!(clean(&"ä".repeat(TEXT_CHARS_MAX)).chars().count(), TEXT_CHARS_MAX);
    assert_eq!(clean(&"ä".repeat(TEXT_CHARS_MAX + 1)).chars().count(), TEXT_CHARS_MAX);
}

proptest! {
    /// Whatever happens in whatever order: a change is applied at most once, only after a human other than its
    /// requester approved it, and nothing leaves a final state.
    #[test]
    fn no_order_of_events_applies_twice_or_unapproved(
        moves in prop::collection::vec((0_usize..8, 0_i64..40), 1..40)
    ) {
        let (alice, bot) = (alice(), bot());
        let mut change = record(ChangeState::Pending);
        let (mut now, mut claims) = (start(), 0);
        for (pick, pass) in moves {
            now = Timestamp::from_unix_ms(now.unix_ms() + pass * 60_000);
            let event = [
                approve(&alice),
                approve(&bot),
                deny(&alice),
                Event::Withdraw { by: "bot" },
                Event::Claim { by: "bot", rules_hash: RULES },
                Event::Claim { by: "alice", rules_hash: RULES },
                Event::Finish(&End::Applied),
                Event::Expire,
            ][pick];
            let Ok((next, _)) = step(&change, event, now) else { continue };
            prop_assert!(!change.state.is_final(), "{:?} was final", change.state);
            if next.state == ChangeState::Applying {
                claims += 1;
                prop_assert_eq!(change.state, ChangeState::Approved);
                prop_assert_eq!(next.decision.as_ref().map(|d| d.by.as_str()), Some("alice"));
                prop_assert!(now < change.expires_at);
            }
            change = next;
        }
        prop_assert!(claims <= 1);
    }
}
