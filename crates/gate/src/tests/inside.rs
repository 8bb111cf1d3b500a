//! Calls made by calls.

use super::{
    odd::{Odd, Work, reading},
    *,
};

/// `outer` calls the tool it is told to; `failing`, `slow` and `plain` are on another source.
fn tools() -> Vec<Tool> {
    let inner = |name: &str| Tool { source: "other".into(), ..reading(name) };
    let outer = Tool { time_max: Duration::from_millis(200), ..reading("outer") };
    vec![outer, inner("failing"), Tool { time_max: Duration::from_secs(5), ..inner("slow") }, inner("plain")]
}

fn work() -> Work {
    Arc::new(|permit, talk| {
        Box::pin(async move {
            match permit.tool().name.as_str() {
                "outer" => {
                    let inner = permit.arguments()["call"].as_str().unwrap().to_owned();
                    Ok(Reply::Done(talk.calls().call(&inner, json!({})).await?))
                }
                "failing" => Err(Fault::new(Code::Upstream, "the other source failed")),
                "slow" => {
                    talk.stop().asked().await;
                    Err(Fault::new(Code::Cancelled, "stopped"))
                }
                _ => Ok(Reply::value(json!("plain"))),
            }
        })
    })
}

#[tokio::test]
async fn a_call_whose_parent_is_aborted_is_stopped_and_written_down() {
    let house = House::with_odd(tools(), work()).await;
    let answer = house.call("sk_a", "outer", json!({ "call": "slow" })).await;
    assert_eq!(answer.result.unwrap_err().code, Code::TimedOut);
    assert_eq!(house.gate.drain(Duration::from_secs(5)).await, 0);
    assert!(house.gate.metrics().encode().contains("\ncalls_in_flight 0\n"));
    expect![[r#"
        call.outcome slow cancelled
        call.outcome outer timed_out
    "#]]
    .assert_eq(&house.trail().await);
}

#[tokio::test]
async fn a_source_is_not_blamed_for_the_source_of_another_call() {
    let house = House::with_odd(tools(), work()).await;
    for _ in 0..5 {
        house.call("sk_a", "outer", json!({ "call": "failing" })).await;
    }
    assert_eq!(house.open_breakers(), "other");
}

#[tokio::test]
async fn rules_go_by_the_door_of_the_whole_work_so_that_no_call_hides_in_another() {
    let house = House::open().await;
    house.let_in(Odd::new(tools(), work()), |config| {
        let not_by_rest = json!({ "tools": ["plain"], "when": "face == 'rest'" });
        config.roles.get_mut("alice").unwrap().deny.push(serde_json::from_value(not_by_rest).unwrap());
    });
    let answer = shown(&house.call("sk_a", "outer", json!({ "call": "plain" })).await);
    expect!["denied: tool not allowed: plain may not be called with these arguments"].assert_eq(&answer);
}

#[tokio::test]
async fn what_was_let_in_before_a_drain_may_still_make_its_calls() {
    let (begun, began) = tokio::sync::oneshot::channel();
    let begun = Mutex::new(Some(begun));
    let (go_on, may_go_on) = tokio::sync::oneshot::channel();
    let may_go_on = Mutex::new(Some(may_go_on));
    let work: Work = Arc::new(move |permit, talk| {
        let outer = permit.tool().name.as_str() == "outer";
        let wait = outer.then(|| {
            begun.lock().unwrap().take().unwrap().send(()).unwrap();
            may_go_on.lock().unwrap().take().unwrap()
        });
        Box::pin(async move {
            let Some(wait) = wait else { return Ok(Reply::value(json!("plain"))) };
            let _: Result<(), _> = wait.await;
            Ok(Reply::Done(talk.calls().call("plain", json!({})).await?))
        })
    });
    let patient = [Tool { time_max: Duration::from_secs(5), ..reading("outer") }, reading("plain")];
    let house = House::with_odd(patient, work).await;
    let (answer, left) = tokio::join!(house.call("sk_a", "outer", json!({})), async {
        began.await.unwrap();
        tokio::join!(house.gate.drain(Duration::from_secs(5)), async { go_on.send(()).unwrap() }).0
    });
    assert_eq!((shown(&answer).as_str(), left), (r#""plain""#, 0));
}
