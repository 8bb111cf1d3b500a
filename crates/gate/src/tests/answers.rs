//! What comes back: cleaned, bounded, and given again.

use serde_json::value::RawValue;
use tool::{Cut, Outcome};

use super::{
    odd::{Odd, at_once, reading},
    *,
};

/// A source's own JSON text, as a reply.
fn text(json: &str) -> Result<Reply, Fault> {
    let raw = RawValue::from_string(json.to_owned()).unwrap();
    Ok(Reply::Done(Outcome::raw(Arc::from(raw))))
}

fn cached(name: &str) -> Tool {
    Tool { caching: Caching::For(Duration::from_secs(60)), ..reading(name) }
}

/// What reaches the caller of a source's own text.
async fn check_text(json: &'static str, expected: Expect) {
    let house = House::with_odd([reading("source")], at_once(move |_| text(json))).await;
    expected.assert_eq(&shown(&house.call("sk_a", "source", json!({})).await));
}

#[tokio::test]
async fn an_answer_that_time_has_cut_is_not_given_again() {
    for (bound, runs) in [("rows", 1), ("time", 2)] {
        let ran = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&ran);
        let work = at_once(move |_| {
            seen.fetch_add(1, SeqCst);
            let mut outcome = Outcome::new(json!({ "rows": [1] }));
            outcome.cut = Some(Cut { bound, artefact: None });
            Ok(Reply::Done(outcome))
        });
        let house = House::with_odd([cached("partly")], work).await;
        for _ in 0..2 {
            let answer = house.call("sk_a", "partly", json!({})).await;
            let Ok(Reply::Done(outcome)) = answer.result else { panic!("{bound}") };
            assert_eq!(outcome.cut, Some(Cut { bound, artefact: None }));
        }
        assert_eq!(ran.load(SeqCst), runs, "{bound}");
    }
}

#[tokio::test]
async fn a_sources_own_text_is_cleaned_like_a_value() {
    check_text(
        r#"{ "big": 18446744073709551616, "a": "x" }"#,
        expect![[r#"{ "big": 18446744073709551616, "a": "x" }"#]],
    )
    .await;
    check_text(r#"{"a":"\u001b[31mred\u202e"}"#, expect![[r#"{"a":"red"}"#]]).await;
    check_text(r#"{"a\u200b":1}"#, expect![[r#"{"a":1}"#]]).await;
    check_text(r#"{"a":"sk_live_0123456789"}"#, expect![[r#"{"a":"[redacted]"}"#]]).await;
    // A name that stands twice hides nothing.
    check_text(r#"{"a":"\u001b[31mred","a":"x"}"#, expect![[r#"{"a":"x"}"#]]).await;
    let deep: &'static str = format!("{}1{}", "[".repeat(200), "]".repeat(200)).leak();
    check_text(
        deep,
        expect!["upstream: the source answered with JSON that cannot be looked into, so it is not passed on"],
    )
    .await;
}

#[tokio::test]
async fn an_answer_from_the_cache_is_the_one_from_the_source() {
    let deep: &'static str = format!("{}1{}", "[".repeat(100), "]".repeat(100)).leak();
    for json in [deep, r#"{ "big": 18446744073709551616 }"#, r#"{"a":1,"a":2}"#] {
        let house = House::with_odd([cached("source")], at_once(move |_| text(json))).await;
        let first = house.call("sk_a", "source", json!({})).await;
        let again = house.call("sk_a", "source", json!({})).await;
        assert_eq!((first.cache, again.cache), (CacheUse::Miss, CacheUse::Hit));
        assert_eq!(shown(&first), shown(&again));
    }
}

#[tokio::test]
async fn an_answer_that_was_cut_says_so_from_the_cache_too() {
    let work = at_once(|_| {
        let mut outcome = Outcome::new(json!({ "rows": [1] }));
        outcome.cut = Some(Cut { bound: "rows", artefact: None });
        Ok(Reply::Done(outcome))
    });
    let house = House::with_odd([cached("rows")], work).await;
    for _ in 0..2 {
        let Ok(Reply::Done(outcome)) = house.call("sk_a", "rows", json!({})).await.result else { panic!() };
        assert_eq!(outcome.cut, Some(Cut { bound: "rows", artefact: None }));
        assert_eq!(outcome.to_json(), r#"{"rows":[1]}"#);
    }
}

#[tokio::test]
async fn an_answer_of_before_a_reload_is_not_given_after_it() {
    let house = House::with_odd([cached("source")], at_once(|_| text("1"))).await;
    let hash = house.gate.snapshot().hash.clone();
    assert_eq!(shown(&house.call("sk_a", "source", json!({})).await), "1");
    // The same tool by its definition, with another statement behind it.
    house.let_in(Odd::new([cached("source")], at_once(|_| text("2"))), |_| {});
    assert_eq!(house.gate.snapshot().hash, hash);
    assert_eq!(shown(&house.call("sk_a", "source", json!({})).await), "2");
}

#[tokio::test]
async fn an_answer_is_never_given_to_another_principal() {
    let work = at_once(|permit| Ok(Reply::value(json!(permit.caller().principal))));
    let house = House::open().await;
    house.let_in(Odd::new([cached("whoami")], work), |config| {
        config.roles.get_mut("bot").unwrap().allow.push(RuleConfig::Selector("whoami".into()));
    });
    for _ in 0..2 {
        assert_eq!(shown(&house.call("sk_a", "whoami", json!({})).await), r#""alice""#);
        assert_eq!(shown(&house.call("sk_b", "whoami", json!({})).await), r#""bot""#);
    }
}

#[tokio::test]
async fn a_cut_answer_keeps_within_its_bound_whatever_it_holds() {
    for fill in ["x", "\"", "\\", "ä"] {
        let tool = Tool { bytes_max: 1_000, ..reading("wide") };
        let house = House::with_odd(
            [tool],
            at_once(move |_| Ok(Reply::value(json!({ "text": fill.repeat(5_000) })))),
        )
        .await;
        let Ok(Reply::Done(outcome)) = house.call("sk_a", "wide", json!({})).await.result else { panic!() };
        assert!(outcome.to_json().len() <= 1_000, "{fill:?}: {}", outcome.to_json().len());
        assert!(outcome.cut.unwrap().artefact.is_some());
    }
}

#[tokio::test]
async fn a_secret_is_kept_nowhere_even_where_it_is_too_large() {
    let work = at_once(|_| {
        let mut outcome = Outcome::new(json!({ "key": "sk_live_0123456789", "about": "x".repeat(1_000) }));
        outcome.notes.insert(Outcome::SECRET_NOTE.to_owned(), json!(true));
        Ok(Reply::Done(outcome))
    });
    let house = House::with_odd([Tool { bytes_max: 256, ..cached("mint") }], work).await;
    for _ in 0..2 {
        let answer = house.call("sk_a", "mint", json!({})).await;
        let Ok(Reply::Done(outcome)) = answer.result else { panic!() };
        assert_eq!((answer.cache, outcome.cut.clone()), (CacheUse::Miss, None));
        assert!(outcome.to_json().contains("sk_live_0123456789"));
    }
}
