use std::{collections::BTreeSet, sync::Arc, time::Duration};

use expect_test::{Expect, expect};
use serde_json::{Value, json};
use state::{Key, Keys, Slot, Swap};
use tokio::task::JoinSet;
use tool::{Clock as _, Code, Outcome, PrincipalKind, Secret};

use super::{Bed, check};
use crate::{KeyMaker, NewKey};

const HOUR: Duration = Duration::from_secs(3_600);

fn order() -> Value {
    json!({ "label": "billing-ci", "principal": "billing-bot" })
}

/// The answer with what is random put aside.
fn settled(mut shown: Value) -> Value {
    for name in ["id", "key", "prefix"] {
        if shown.get(name).is_some_and(Value::is_string) {
            shown[name] = format!("<{name}>").into();
        }
    }
    for secret in shown["secrets"].as_array_mut().into_iter().flatten() {
        secret["prefix"] = "<prefix>".into();
    }
    shown
}

/// Which of these secrets find a key that is good for them now.
async fn good(bed: &Bed, secrets: &[String]) -> Vec<bool> {
    let mut found = Vec::new();
    for secret in secrets {
        let hash = bed.maker.hash(secret);
        let key = bed.store.by_hash(&hash).await.unwrap();
        let secret = key.as_ref().and_then(|key| key.secrets.iter().find(|secret| secret.hash == hash));
        found.push(secret.is_some_and(|secret| secret.expires_at.is_none_or(|end| end > bed.clock.now())));
    }
    found
}

fn key_in(shown: &Value) -> String {
    shown["key"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_is_made_shown_once_and_found() {
    let bed = Bed::new().await;
    let outcome = bed.run_as("root", PrincipalKind::Human, "keys_create", order()).await.unwrap();
    assert_eq!(outcome.notes[Outcome::SECRET_NOTE], true);
    let shown = outcome.to_value();
    let secret = key_in(&shown);
    assert!(KeyMaker::plausible(&secret));
    assert_eq!(good(&bed, std::slice::from_ref(&secret)).await, [true]);
    check(
        &Ok(settled(shown)),
        expect![[r#"
        {
          "id": "<id>",
          "label": "billing-ci",
          "prefix": "<prefix>",
          "status": "active",
          "principal": "billing-bot",
          "user_id": "billing-bot",
          "tier": "basic",
          "roles": [
            "reader",
            "writer"
          ],
          "rate_per_minute": null,
          "enabled": true,
          "created_at": "2026-01-01T00:00:00.000Z",
          "expires_at": null,
          "revoked_at": null,
          "last_used_at": null,
          "secrets": [
            {
              "slot": "primary",
              "prefix": "<prefix>",
              "expires_at": null
            }
          ],
          "key": "<key>",
          "note": "the key is shown this once; keep it where secrets are kept"
        }"#]],
    );

    let listed = bed.run("keys_list", json!({})).await.unwrap().to_string();
    assert!(!listed.contains(&secret) && !listed.contains(&bed.maker.hash(&secret)), "{listed}");
    let stored = bed.store.get("billing-ci").await.unwrap().unwrap();
    assert!(!format!("{stored:?}").contains(&secret));
}

#[tokio::test]
async fn only_an_answer_with_a_secret_has_the_note() {
    let bed = Bed::new().await;
    bed.run("keys_create", order()).await.unwrap();
    for (name, arguments, noted) in [
        ("keys_rotate", json!({ "key": "billing-ci" }), true),
        ("keys_update", json!({ "key": "billing-ci", "enabled": true }), false),
        ("keys_list", json!({}), false),
        ("keys_revoke", json!({ "key": "billing-ci" }), false),
    ] {
        let outcome = bed.run_as("root", PrincipalKind::Human, name, arguments).await.unwrap();
        assert_eq!(outcome.notes.contains_key(Outcome::SECRET_NOTE), noted, "{name}");
        assert_eq!(outcome.to_value().get("key").is_some(), noted, "{name}");
    }
}

async fn check_create(changes: Value, expected: Expect) {
    let bed = Bed::new().await;
    bed.run("keys_create", json!({ "label": "taken", "principal": "cron" })).await.unwrap();
    let mut arguments = order();
    arguments.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let shown = bed.run("keys_create", arguments).await.map(|key| {
        json!([key["roles"], key["tier"], key["user_id"], key["rate_per_minute"], key["expires_at"]])
            .to_string()
            .into()
    });
    check(&shown, expected);
}

#[tokio::test]
async fn what_a_key_may_be() {
    check_create(json!({}), expect![[r#"[["reader","writer"],"basic","billing-bot",null,null]"#]]).await;
    check_create(
        json!({ "roles": ["reader"], "tier": "gold", "user_id": "u7", "rate_per_minute": 5, "expires_days": 2 }),
        expect![[r#"[["reader"],"gold","u7",5,"2026-01-03T00:00:00.000Z"]"#]],
    )
    .await;
    check_create(json!({ "roles": [] }), expect![[r#"[[],"basic","billing-bot",null,null]"#]]).await;
    check_create(
        json!({ "principal": "biling-bot" }),
        expect![[
            r#"BadArguments at "/principal": there is no principal "biling-bot"; did you mean "billing-bot"?"#
        ]],
    )
    .await;
    check_create(
        json!({ "principal": "nobody" }),
        expect![[r#"BadArguments at "/principal": there is no principal "nobody"; the configuration declares alice, billing-bot, cron"#]],
    )
    .await;
    check_create(
        json!({ "roles": ["reader", "approver"] }),
        expect![[r#"BadArguments at "/roles/1": there is no role of "billing-bot" called "approver"; the configuration declares reader, writer"#]],
    )
    .await;
    check_create(json!({ "roles": ["raeder"] }), expect![[r#"BadArguments at "/roles/0": there is no role of "billing-bot" called "raeder"; did you mean "reader"?"#]]).await;
    check_create(
        json!({ "tier": "premum" }),
        expect![[r#"BadArguments at "/tier": there is no tier "premum"; did you mean "premium"?"#]],
    )
    .await;
    check_create(json!({ "label": "taken" }), expect![[r#"Conflict: the label "taken" is taken, perhaps by a revoked key; keys_list shows them, choose another"#]]).await;
}

#[tokio::test]
async fn no_agent_makes_a_key_that_stands_for_a_human() {
    let bed = Bed::new().await;
    let human = json!({ "label": "hers", "principal": "alice" });
    for kind in [PrincipalKind::Agent, PrincipalKind::Machine] {
        let fault = bed.run_as("bot", kind, "keys_create", human.clone()).await.unwrap_err();
        assert_eq!(fault.code, Code::Denied);
    }
    bed.run("keys_create", human).await.unwrap();
    let rotate = json!({ "key": "hers" });
    let fault = bed.run_as("bot", PrincipalKind::Agent, "keys_rotate", rotate).await.unwrap_err();
    expect![[r#""alice" is a human, and "bot" is not: a key that stands for a human is made by a human"#]]
        .assert_eq(&fault.text);
    bed.run_as("bot", PrincipalKind::Agent, "keys_create", order()).await.unwrap();
}

#[tokio::test]
async fn a_rotation_overlaps_and_a_third_secret_drops_the_oldest() {
    let bed = Bed::new().await;
    let mut secrets = vec![key_in(&bed.run("keys_create", order()).await.unwrap())];
    let shown = bed.run("keys_rotate", json!({ "key": "billing-ci", "overlap_hours": 24 })).await.unwrap();
    secrets.push(key_in(&shown));
    check(
        &Ok(settled(shown)["secrets"].clone()),
        expect![[r#"
        [
          {
            "slot": "primary",
            "prefix": "<prefix>",
            "expires_at": null
          },
          {
            "slot": "secondary",
            "prefix": "<prefix>",
            "expires_at": "2026-01-02T00:00:00.000Z"
          }
        ]"#]],
    );
    assert_eq!(good(&bed, &secrets).await, [true, true]);

    bed.clock.pass(HOUR);
    secrets.push(key_in(&bed.run("keys_rotate", json!({ "key": "billing-ci" })).await.unwrap()));
    assert_eq!(good(&bed, &secrets).await, [false, true, true]);

    bed.clock.pass(HOUR * 24 - Duration::from_millis(1));
    assert_eq!(good(&bed, &secrets).await, [false, true, true]);
    bed.clock.pass(Duration::from_millis(1));
    assert_eq!(good(&bed, &secrets).await, [false, false, true]);

    let now = bed.run("keys_rotate", json!({ "key": "billing-ci", "overlap_hours": 0 })).await.unwrap();
    secrets.push(key_in(&now));
    assert_eq!(good(&bed, &secrets).await, [false, false, false, true]);
    assert_eq!(now["secrets"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_overlap_never_lengthens_the_life_of_a_secret() {
    let bed = Bed::new().await;
    let id = bed.run("keys_create", order()).await.unwrap()["id"].as_str().unwrap().to_owned();
    let mut key = bed.store.get(&id).await.unwrap().unwrap();
    let end = bed.clock.now().after(HOUR);
    key.secrets[0].expires_at = Some(end);
    assert_eq!(bed.store.swap(&key).await.unwrap(), Swap::Done);
    bed.run("keys_rotate", json!({ "key": id, "overlap_hours": 24 })).await.unwrap();
    let key = bed.store.get(&id).await.unwrap().unwrap();
    let old = key.secrets.iter().find(|secret| secret.slot == Slot::Secondary).unwrap();
    assert_eq!(old.expires_at, Some(end));
}

async fn check_update(changes: Value, expected: Expect) {
    let bed = Bed::new().await;
    let mut order = order();
    order["rate_per_minute"] = 5.into();
    order["expires_days"] = 1.into();
    bed.run("keys_create", order).await.unwrap();
    let mut arguments = json!({ "key": "billing-ci" });
    arguments.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let shown = bed.run("keys_update", arguments).await.map(|key| {
        json!([key["status"], key["tier"], key["rate_per_minute"], key["expires_at"]]).to_string().into()
    });
    check(&shown, expected);
}

#[tokio::test]
async fn what_of_a_key_can_change() {
    check_update(
        json!({ "enabled": false }),
        expect![[r#"["disabled","basic",5,"2026-01-02T00:00:00.000Z"]"#]],
    )
    .await;
    check_update(
        json!({ "rate_per_minute": null, "expires_at": null }),
        expect![[r#"["active","basic",null,null]"#]],
    )
    .await;
    check_update(
        json!({ "tier": "gold", "rate_per_minute": 9, "expires_at": "2026-01-01T02:00:00+01:00" }),
        expect![[r#"["active","gold",9,"2026-01-01T01:00:00.000Z"]"#]],
    )
    .await;
    check_update(json!({ "expires_at": "2026-01-01T00:00:00Z" }), expect![[r#"BadArguments at "/expires_at": expires_at is not ahead; use enabled: false or keys_revoke to end a key now"#]]).await;
    check_update(json!({ "expires_at": "tomorrow" }), expect![[r#"BadArguments at "/expires_at": "tomorrow" is not a time; write it as RFC 3339, such as 2027-01-31T12:00:00Z"#]]).await;
    check_update(
        json!({ "tier": "golden" }),
        expect![[r#"BadArguments at "/tier": there is no tier "golden"; did you mean "gold"?"#]],
    )
    .await;
    check_update(
        json!({}),
        expect![[
            r#"BadArguments at "": nothing to update; give enabled, tier, rate_per_minute or expires_at"#
        ]],
    )
    .await;
    check_update(
        json!({ "key": "billing-cd", "enabled": true }),
        expect![[r#"NotFound: no key "billing-cd"; keys_list shows them"#]],
    )
    .await;
}

#[tokio::test]
async fn revoked_is_for_good() {
    let bed = Bed::new().await;
    let secret = key_in(&bed.run("keys_create", order()).await.unwrap());
    let first = bed.run("keys_revoke", json!({ "key": "billing-ci" })).await.unwrap();
    assert_eq!(first["status"], "revoked");
    assert_eq!(good(&bed, &[secret]).await, [false]);
    bed.clock.pass(HOUR);
    assert_eq!(bed.run("keys_revoke", json!({ "key": "billing-ci" })).await.unwrap(), first);
    for (name, arguments) in [
        ("keys_rotate", json!({ "key": "billing-ci" })),
        ("keys_update", json!({ "key": "billing-ci", "enabled": true })),
    ] {
        assert_eq!(bed.run(name, arguments).await.unwrap_err().code, Code::Conflict, "{name}");
    }
    assert_eq!(
        bed.run("keys_create", order()).await.unwrap_err().code,
        Code::Conflict,
        "its label stays taken"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_at_once_are_all_kept() {
    let bed = Arc::new(Bed::new().await);
    bed.run("keys_create", order()).await.unwrap();
    let mut tasks = JoinSet::new();
    for arguments in [
        json!({ "key": "billing-ci", "enabled": false }),
        json!({ "key": "billing-ci", "tier": "premium" }),
        json!({ "key": "billing-ci", "rate_per_minute": 9 }),
        json!({ "key": "billing-ci", "expires_at": "2030-01-01T00:00:00Z" }),
    ] {
        let bed = Arc::clone(&bed);
        tasks.spawn(async move { bed.run("keys_update", arguments).await.unwrap() });
    }
    tasks.join_all().await;
    let key = bed.store.get("billing-ci").await.unwrap().unwrap();
    assert_eq!((key.enabled, key.tier.as_str(), key.rate_per_minute), (false, "premium", Some(9)));
    assert_eq!(key.expires_at.unwrap().to_string(), "2030-01-01T00:00:00.000Z");
    assert_eq!(key.version, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_label_is_given_once() {
    let bed = Arc::new(Bed::new().await);
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let bed = Arc::clone(&bed);
        tasks.spawn(async move { bed.run("keys_create", order()).await.is_ok() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|made| *made).count(), 1);
}

#[tokio::test]
async fn a_key_given_where_its_label_belongs_is_not_repeated() {
    let bed = Bed::new().await;
    let secret = key_in(&bed.run("keys_create", order()).await.unwrap());
    for secret in [secret.as_str(), "sk_prod_short-and-secret"] {
        let fault = bed.run("keys_revoke", json!({ "key": secret })).await.unwrap_err();
        assert_eq!(fault.code, Code::NotFound);
        let tail = secret.rsplit('_').next().unwrap();
        assert!(!fault.text.contains(&tail[4..]), "{}", fault.text);
    }
}

#[tokio::test]
async fn a_key_from_outside_is_adopted_as_it_is() {
    let bed = Bed::new().await;
    let new = |label: &str| NewKey {
        label: label.to_owned(),
        principal: "cron".to_owned(),
        roles: Vec::new(),
        tier: "basic".to_owned(),
        user_id: "cron".to_owned(),
        rate_per_minute: None,
        expires_at: None,
    };
    let secret = Secret::new("sk_prod_xxx".to_owned());
    let adopted: Key = new("outside").adopt(&bed.maker, &secret, bed.clock.now());
    assert_eq!(bed.store.insert(&adopted).await.unwrap(), Swap::Done);
    assert_eq!(good(&bed, &["sk_prod_xxx".to_owned()]).await, [true]);
    let minted = new("ours").mint(&bed.maker, bed.clock.now());
    assert_eq!(format!("{:?}", minted.secret), "[redacted]");
    let ids = BTreeSet::from([adopted.id, minted.key.id]);
    assert!(ids.len() == 2 && ids.iter().all(|id| id.len() == 16 && id.starts_with("key_")), "{ids:?}");
}

/// The secret that `keys_rotate` showed was good until the next start, and then nobody knew why not.
#[tokio::test]
async fn a_key_whose_secret_is_configured_is_not_rotated() {
    let bed = Bed::new().await;
    let order = json!({ "label": "given", "principal": "billing-bot" });
    bed.run_as("root", PrincipalKind::Human, "keys_create", order).await.unwrap();
    let rotated = bed.run("keys_rotate", json!({ "key": "given" })).await;
    check(
        &rotated,
        expect![[
            r#"Conflict: the secret of key "given" is set by API_KEY_PRIMARY, and the next start would undo a rotation; change it there and start again"#
        ]],
    );
}
