use std::time::{Duration, Instant};

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};
use tool::{Face, PrincipalKind, Timestamp, ToolName};

use super::*;

/// The tools of these tests: `name effect labels`.
fn tools() -> Vec<Arc<Tool>> {
    let tool = |name: &str, source: &str, effect, audience, labels: &[&str]| {
        let mut tool = Tool::reading(ToolName::parse(name).unwrap(), source, "", json!({ "type": "object" }));
        tool.effect = effect;
        tool.audience = audience;
        tool.labels = labels.iter().map(|l| Arc::from(*l)).collect();
        Arc::new(tool)
    };
    vec![
        tool("fs_read", "files", Effect::Reads, Audience::Callers, &[]),
        tool("fs_write", "files", Effect::Changes, Audience::Callers, &[]),
        tool("get_customer", "rest:shop", Effect::Reads, Audience::Callers, &["pii"]),
        tool("keys_create", "admin", Effect::Changes, Audience::Admins, &[]),
        tool("keys_list", "admin", Effect::Reads, Audience::Admins, &[]),
    ]
}

fn policy(yaml_like: Value) -> Result<Policy, Vec<ConfigFault>> {
    Policy::new(&serde_json::from_value(yaml_like).unwrap(), &tools())
}

/// What the principal `bot` with the role `r` sees.
fn check_list(role: Value, expected: Expect) {
    let policy = policy(json!({ "r": role })).unwrap();
    let caller = testkit::caller("r", PrincipalKind::Agent);
    let names: Vec<_> = policy.visible(&caller, &tools()).iter().map(|t| t.name.to_string()).collect();
    expected.assert_eq(&names.join(" "));
}

#[test]
fn what_a_role_sees() {
    check_list(json!({}), expect![""]);
    check_list(json!({ "allow": [] }), expect![""]);
    check_list(json!({ "allow": [{ "tools": [] }] }), expect![""]);
    check_list(json!({ "allow": ["*"] }), expect!["fs_read fs_write get_customer"]);
    check_list(
        json!({ "allow": ["*", "group:admin"] }),
        expect!["fs_read fs_write get_customer keys_create keys_list"],
    );
    check_list(json!({ "allow": ["keys_*"] }), expect![""]);
    check_list(json!({ "allow": ["keys_list"] }), expect!["keys_list"]);
    check_list(json!({ "allow": ["effect:reads"] }), expect!["fs_read get_customer"]);
    check_list(json!({ "allow": ["source:files"], "deny": ["effect:changes"] }), expect!["fs_read"]);
    check_list(json!({ "allow": ["*"], "deny": ["label:pii"] }), expect!["fs_read fs_write"]);
    check_list(json!({ "allow": ["group:admin"], "deny": ["*"] }), expect![""]);
    // A condition may hold for some arguments: visible.
    check_list(json!({ "allow": [{ "tools": ["fs_read"], "when": "false" }] }), expect!["fs_read"]);
    check_list(
        json!({ "allow": ["*"], "deny": [{ "tools": ["fs_*"], "targets": ["x"] }] }),
        expect!["fs_read fs_write get_customer"],
    );
}

#[test]
fn the_local_user_sees_everything_unless_the_role_is_declared() {
    let caller = testkit::caller(LOCAL_ROLE, PrincipalKind::Human);
    assert_eq!(policy(json!({})).unwrap().visible(&caller, &tools()).len(), 5);
    assert_eq!(
        policy(json!({ "local": { "allow": ["fs_read"] } })).unwrap().visible(&caller, &tools()).len(),
        1
    );
}

/// What the rules say to `fs_read` with these arguments on this target, at noon on a Thursday.
fn check(role: Value, arguments: Value, target: &str, expected: Expect) {
    let policy = policy(json!({ "r": role })).unwrap();
    let now = "2026-01-01T12:00:00Z".parse().unwrap();
    let caller = testkit::caller("r", PrincipalKind::Agent);
    let said = match policy.decide(&Scene::new(&caller, &tools()[0], &arguments, target, Face::Rest, now)) {
        Verdict::Allowed { .. } => "allowed".to_owned(),
        Verdict::Denied { because } => because,
    };
    expected.assert_eq(&said);
}

#[test]
fn what_the_rules_say() {
    let when = |text: &str| json!({ "allow": [{ "tools": ["fs_read"], "when": text }] });
    let on = |globs: &[&str]| json!({ "allow": [{ "tools": ["fs_read"], "targets": globs }] });
    check(json!({ "allow": ["fs_*"] }), json!({}), "files:a", expect!["allowed"]);
    check(json!({}), json!({}), "files:a", expect![[r#"no rule allows fs_read on "files:a""#]]);
    check(on(&["files:a/*"]), json!({}), "files:a/b", expect!["allowed"]);
    check(
        on(&["files:a/*"]),
        json!({}),
        "files:a/b/c",
        expect![[r#"no rule allows fs_read on "files:a/b/c""#]],
    );
    check(on(&["files:a/**"]), json!({}), "files:a/b/c", expect!["allowed"]);
    check(on(&[]), json!({}), "files:a", expect![[r#"no rule allows fs_read on "files:a""#]]);
    check(when("arguments.limit <= 10"), json!({ "limit": 10 }), "t", expect!["allowed"]);
    check(
        when("arguments.limit <= 10"),
        json!({ "limit": 11 }),
        "t",
        expect![[r#"no rule allows fs_read on "t""#]],
    );
    check(
        when("arguments.limit <= 10"),
        json!({}),
        "t",
        expect![[
            r#"r: allow ["fs_read"] when arguments.limit <= 10 cannot be evaluated: No such key: limit"#
        ]],
    );
    check(
        when("arguments.n"),
        json!({ "n": 1 }),
        "t",
        expect![[
            r#"r: allow ["fs_read"] when arguments.n cannot be evaluated: it came to int, not to true or false"#
        ]],
    );
    check(when("arguments.n + 1 == 3 && arguments.n % 2 == 0"), json!({ "n": 2 }), "t", expect!["allowed"]);
    check(
        when("nobody.knows == 1"),
        json!({}),
        "t",
        expect![[
            r#"r: allow ["fs_read"] when nobody.knows == 1 cannot be evaluated: Undeclared reference to 'nobody'"#
        ]],
    );
    check(
        when("caller.kind == 'agent' && tool.effect == 'reads' && face == 'rest' && target == 't'"),
        json!({}),
        "t",
        expect!["allowed"],
    );
    check(when("now.getHours() >= 8 && now.getHours() < 18"), json!({}), "t", expect!["allowed"]);
    check(
        when("arguments.paths.all(p, p.startsWith('a/'))"),
        json!({ "paths": ["a/1", "a/2"] }),
        "t",
        expect!["allowed"],
    );
    check(when("'r' in caller.roles && size(caller.roles) == 1"), json!({}), "t", expect!["allowed"]);
    // What denies wins, and what cannot be evaluated denies, whatever else allows.
    check(
        json!({ "allow": ["*"], "deny": [{ "tools": ["fs_*"], "targets": ["files:secret/**"] }] }),
        json!({}),
        "files:secret/x",
        expect![[r#"denied by r: deny ["fs_*"] on ["files:secret/**"]"#]],
    );
    check(
        json!({ "allow": ["*"], "deny": [{ "tools": ["fs_*"], "when": "arguments.x == 1" }] }),
        json!({}),
        "t",
        expect![[r#"r: deny ["fs_*"] when arguments.x == 1 cannot be evaluated: No such key: x"#]],
    );
    check(
        json!({ "allow": ["*"], "deny": [{ "tools": ["fs_*"], "when": "arguments.x == 1" }] }),
        json!({ "x": 2 }),
        "t",
        expect!["allowed"],
    );
}

#[test]
fn what_does_not_compile_is_named() {
    let roles = json!({ "r": {
        "allow": ["", "effect:breaks", "nonsense:x", "[", { "tools": ["a"], "when": "1 +" }, { "tools": ["a"], "targets": ["{"] }],
        "deny": [{ "tools": [] }, { "tools": ["a"], "targets": [] }],
    } });
    let faults = policy(roles).err().unwrap();
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    expect![[r#"
        /roles/r/deny/0: an empty list selects nothing, so this rule would deny nothing
        /roles/r/deny/1: an empty list selects nothing, so this rule would deny nothing
        /roles/r/allow/0: an empty selector selects nothing
        /roles/r/allow/1: "breaks" is no effect; expected reads, changes or destroys
        /roles/r/allow/2: "nonsense" selects nothing; expected a tool name, a glob, effect:, label:, source: or group:admin
        /roles/r/allow/3: "[" is not a glob: unclosed character class; missing ']'
        /roles/r/allow/4/when: the condition is not CEL: it ends at column 4, where more is expected
        /roles/r/allow/5/targets: "{" is not a glob: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn another_rule_is_another_hash_and_the_order_of_other_roles_does_not_matter() {
    let hash = |roles: Value| {
        let caller = testkit::caller("r", PrincipalKind::Agent);
        let now = Timestamp::from_unix_ms(0);
        match policy(roles).unwrap().decide(&Scene::new(
            &caller,
            &tools()[0],
            &json!({}),
            "t",
            Face::Rest,
            now,
        )) {
            Verdict::Allowed { rules_hash } => rules_hash,
            Verdict::Denied { because } => panic!("{because}"),
        }
    };
    let plain = hash(json!({ "r": { "allow": ["fs_*"] } }));
    assert_eq!(plain, hash(json!({ "r": { "allow": ["fs_*"] }, "a": { "allow": ["*"] } })));
    assert_ne!(plain, hash(json!({ "r": { "allow": ["fs_?ead"] } })));
    assert_ne!(
        plain,
        hash(json!({ "r": { "allow": ["fs_*"], "deny": [{ "tools": ["fs_*"], "targets": ["no"] }] } }))
    );
}

#[test]
fn a_thousand_rules_decide_quickly() {
    // A floor, not a benchmark: a decision that looked at every rule would be a hundred times over it.
    let allow: Vec<_> =
        (0..1000).map(|i| json!({ "tools": [format!("t{i}_*")] })).chain([json!("fs_read")]).collect();
    let policy = policy(json!({ "r": { "allow": allow } })).unwrap();
    let caller = testkit::caller("r", PrincipalKind::Agent);
    let start = Instant::now();
    for _ in 0..1000 {
        policy.decide(&Scene::new(
            &caller,
            &tools()[0],
            &json!({}),
            "t",
            Face::Rest,
            Timestamp::from_unix_ms(0),
        ));
    }
    assert!(start.elapsed() < Duration::from_secs(2));
}

/// The rules read naively, as the documentation says them.
fn naive(
    allow: &[(String, Option<String>)],
    deny: &[(String, Option<String>)],
    tool: &Tool,
    target: &str,
) -> bool {
    let glob = |text: &str, subject: &str| match text.strip_suffix('*') {
        Some(start) => subject.starts_with(start),
        None => subject == text,
    };
    let holds = |(name, on): &(String, Option<String>)| {
        glob(name, tool.name.as_str()) && on.as_ref().is_none_or(|on| glob(on, target))
    };
    !deny.iter().any(holds) && allow.iter().any(holds)
}

proptest! {
    #[test]
    fn decisions_are_those_of_a_naive_reading(
        allow in rules(), deny in rules(), which in 0usize..3, target in "[ab]{1,2}",
    ) {
        let side = |rules: &[(String, Option<String>)]| -> Vec<_> {
            rules.iter().map(|(name, on)| json!({ "tools": [name], "targets": on.as_ref().map(|on| [on]) })).collect()
        };
        let policy = policy(json!({ "r": { "allow": side(&allow), "deny": side(&deny) } })).unwrap();
        let caller = testkit::caller("r", PrincipalKind::Agent);
        let tool = &tools()[which];
        let now = Timestamp::from_unix_ms(0);
        let said = policy.decide(&Scene::new(&caller, tool, &json!({}), &target, Face::Rest, now));
        let allowed = matches!(said, Verdict::Allowed { .. });
        prop_assert_eq!(allowed, naive(&allow, &deny, tool, &target));
        // What is allowed is always visible.
        prop_assert!(!allowed || policy.may_see(&caller, tool));
    }
}

fn rules() -> impl Strategy<Value = Vec<(String, Option<String>)>> {
    let names = prop::sample::select(vec!["*", "fs_*", "fs_read", "get_customer", "none"]);
    let targets = prop::option::of(prop::sample::select(vec!["*", "a", "a*", "b*"]));
    prop::collection::vec((names.prop_map(str::to_owned), targets.prop_map(|t| t.map(str::to_owned))), 0..4)
}

/// What can be said of a target before it is known what exactly is asked.
#[test]
fn what_may_be_reached() {
    let reaches = |role: Value, target: &str| {
        let policy = policy(json!({ "r": role })).unwrap();
        let now = "2026-01-01T12:00:00Z".parse().unwrap();
        let caller = testkit::caller("r", PrincipalKind::Agent);
        let nothing = Value::Null;
        policy.may_reach(&Scene::new(&caller, &tools()[0], &nothing, target, Face::Rest, now))
    };
    let when = |text: &str| json!({ "allow": [{ "tools": ["fs_read"], "when": text }] });
    let denies = |rule: Value| json!({ "allow": ["*"], "deny": [rule] });
    assert!(reaches(json!({ "allow": ["fs_*"] }), "a"));
    assert!(!reaches(json!({}), "a"));
    assert!(reaches(json!({ "allow": [{ "tools": ["fs_read"], "targets": ["a"] }] }), "a"));
    assert!(!reaches(json!({ "allow": [{ "tools": ["fs_read"], "targets": ["a"] }] }), "b"));
    assert!(reaches(when("target == 'a'"), "a") && !reaches(when("target == 'a'"), "b"));
    // It may hold for some arguments; a target that a rule is not about is not reached by it all the same.
    assert!(reaches(when("arguments.limit <= 10"), "a"));
    let both = json!({ "allow": [{ "tools": ["fs_read"], "targets": ["a"], "when": "arguments.x == 1" }] });
    assert!(!reaches(both, "b"));
    assert!(!reaches(denies(json!({ "tools": ["*"], "targets": ["a"] })), "a"));
    assert!(reaches(denies(json!({ "tools": ["*"], "targets": ["a"] })), "b"));
    assert!(reaches(denies(json!({ "tools": ["*"], "when": "arguments.x == 1" })), "a"));
    // What cannot be evaluated denies.
    assert!(!reaches(denies(json!({ "tools": ["*"], "when": "device.site == 'fra'" })), "a"));
    assert!(!reaches(when("device.site == 'fra'"), "a"));
}
