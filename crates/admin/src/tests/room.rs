use expect_test::expect;
use serde_json::{Value, json};
use state::{Usage as _, UsageCount};
use tool::{Audience, Caching, Clock as _, Hygiene};

use super::{Bed, FakeHouse, check};

#[tokio::test]
async fn the_table() {
    let bed = Bed::new().await;
    let lines: Vec<_> = bed
        .room
        .tools()
        .iter()
        .map(|tool| {
            assert_eq!(tool.caching, Caching::Off, "{}", tool.name);
            let who = if tool.audience == Audience::Admins { "admins" } else { "callers" };
            let raw = if tool.hygiene == Hygiene::Off { " as it is" } else { "" };
            format!(
                "{} {} {} {who}{raw} {}",
                tool.name,
                tool.source,
                tool.effect.as_str(),
                tool.input["properties"]
            )
        })
        .collect();
    expect![[r#"
        keys_create admin changes admins as it is {"label":{"type":"string","pattern":"^[a-z0-9-]{1,32}$","description":"A unique name for it, part of the key itself: `sk_<label>_..`."},"principal":{"type":"string","minLength":1,"maxLength":128,"description":"The declared principal it stands for."},"tier":{"type":"string","minLength":1,"maxLength":64,"default":"basic","description":"`basic`, `premium` or a declared one."},"roles":{"type":"array","items":{"type":"string","maxLength":128},"maxItems":64,"uniqueItems":true,"description":"Some of the principal's roles; all of them where left out."},"rate_per_minute":{"type":"integer","minimum":1,"maximum":1000000,"description":"Calls in any 60 seconds; the tier's limit where left out."},"expires_days":{"type":"integer","minimum":1,"maximum":3650,"description":"Ends after so many days; never where left out."},"user_id":{"type":"string","pattern":"^[!-~]{1,128}$","description":"Your own name for the user, in logs and answers; the principal's where left out."}}
        keys_list admin reads admins {}
        keys_update admin changes admins {"key":{"type":"string","minLength":1,"maxLength":64,"description":"The key's id or label, never the key itself."},"enabled":{"type":"boolean","description":"False switches it off: calls with it get 403."},"tier":{"type":"string","minLength":1,"maxLength":64,"description":"`basic`, `premium` or a declared one."},"rate_per_minute":{"type":["integer","null"],"minimum":1,"maximum":1000000,"description":"Calls in any 60 seconds; null for the tier's limit."},"expires_at":{"type":["string","null"],"format":"date-time","maxLength":64,"description":"When it ends, as RFC 3339; null for never."}}
        keys_rotate admin changes admins as it is {"key":{"type":"string","minLength":1,"maxLength":64,"description":"The key's id or label, never the key itself."},"overlap_hours":{"type":"integer","minimum":0,"maximum":720,"default":24,"description":"How long the secret of before stays good. The one before that ends at once."}}
        keys_revoke admin destroys admins {"key":{"type":"string","minLength":1,"maxLength":64,"description":"The key's id or label, never the key itself."}}
        usage_read admin reads admins {"key":{"type":"string","minLength":1,"maxLength":64,"description":"The key's id or label, never the key itself."}}
        config_reload admin changes admins {}
        audit_tail admin reads admins {"count":{"type":"integer","minimum":1,"maximum":1000,"default":50,"description":"How many at most."},"event":{"type":"string","minLength":1,"maxLength":128,"description":"Only this event, such as `call.outcome` or `auth.refused`."},"principal":{"type":"string","minLength":1,"maxLength":128,"description":"Only calls of this principal."},"tool":{"type":"string","minLength":1,"maxLength":128,"description":"Only calls of this tool."},"request_id":{"type":"string","minLength":1,"maxLength":128,"description":"Only this call."},"since_seq":{"type":"integer","minimum":0,"description":"Only records after this sequence number."}}
        audit_verify admin reads admins {}
        artefact_read artefacts reads callers {"artefact":{"type":"string","minLength":1,"maxLength":64,"description":"The handle, from the answer that was cut."},"offset":{"type":"integer","minimum":0,"maximum":9007199254740991,"default":0,"description":"The byte to begin at."},"limit":{"type":"integer","minimum":16,"maximum":262144,"default":65536,"description":"How many bytes at most."}}
        artefact_resource artefacts reads callers {"uri":{"type":"string","minLength":1,"maxLength":128,"description":"The URI: artefact:/// and the handle."}}"#]].assert_eq(&lines.join("\n"));
}

#[tokio::test]
async fn examples_have_only_known_members() {
    for tool in Bed::new().await.room.tools().iter() {
        let known = tool.input["properties"].as_object().unwrap();
        let required = tool.input["required"].as_array().unwrap();
        for example in &tool.examples {
            let given = example.as_object().unwrap();
            assert!(given.keys().all(|name| known.contains_key(name)), "{}", tool.name);
            assert!(required.iter().all(|name| given.contains_key(name.as_str().unwrap())), "{}", tool.name);
        }
    }
}

#[tokio::test]
async fn usage_of_one_key_and_of_all() {
    let bed = Bed::new().await;
    let made = bed.run("keys_create", json!({ "label": "a", "principal": "cron" })).await.unwrap();
    bed.run("keys_create", json!({ "label": "b", "principal": "cron" })).await.unwrap();
    let id = made["id"].as_str().unwrap();
    let today = bed.clock.now().day();
    bed.store.add(&[UsageCount { key: id.to_owned(), day: today, calls: 3 }]).await.unwrap();
    let shown = |value: &Value| value.to_string().replace(id, "<id>");
    let one = bed.run("usage_read", json!({ "key": "a" })).await.unwrap();
    expect![[r#"{"day":"2026-01-01","month":"2026-01","keys":[{"key":"<id>","label":"a","user_id":"cron","tier":"basic","requests_today":3,"requests_this_month":3}],"left_out":0}"#]].assert_eq(&shown(&one));
    let all = bed.run("usage_read", json!({})).await.unwrap();
    assert_eq!(all["keys"].as_array().unwrap().len(), 2);
    assert_eq!(all["keys"][1]["requests_this_month"], 0);
    assert!(bed.run("usage_read", json!({ "key": "c" })).await.is_err());
}

#[tokio::test]
async fn what_the_house_answers() {
    let bed = Bed::new().await;
    check(
        &bed.run("config_reload", json!({})).await.map(|v| v.to_string().into()),
        expect![[r#"{"reloaded":true,"config_hash":"b3:new"}"#]],
    );
    let tail = bed.run("audit_tail", json!({ "count": 2, "event": "call.outcome" })).await;
    check(
        &tail.map(|v| v.to_string().into()),
        expect![[r#"{"count":1,"records":[{"asked":{"count":2,"event":"call.outcome"}}]}"#]],
    );
    check(
        &bed.run("audit_verify", json!({})).await.map(|v| v.to_string().into()),
        expect![[r#"{"records":3,"problem":null}"#]],
    );
}

#[tokio::test]
async fn a_bad_configuration_says_all_that_is_wrong() {
    let faults =
        vec!["portcullis.yaml:3:5: unknown key".to_owned(), "portcullis.yaml:9:1: no role".to_owned()];
    let bed = Bed::with(FakeHouse { faults: faults.clone() }).await;
    let fault = bed.run("config_reload", json!({})).await.unwrap_err();
    assert_eq!(fault.details.as_deref(), Some(&json!({ "faults": faults })));
    check(
        &Err(fault),
        expect![
            "Conflict: the configuration has faults, and the old one stays in force: portcullis.yaml:3:5: unknown key (and 1 more)"
        ],
    );
}
