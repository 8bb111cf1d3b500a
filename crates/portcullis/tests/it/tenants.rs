//! Tool servers behind one gate that many share: nobody sees a byte of anybody else's, whatever is late, cancelled,
//! cached or killed meanwhile.

use std::{
    collections::{BTreeSet, HashMap},
    io::Write as _,
    sync::Mutex,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    app::{App, until},
    audit::unrecorded,
    battery::{self, Dice},
    beds,
    http::{Answer, connect, exchange, request},
    misbehaving, procs,
};

/// The tenants, each with a key and a canary of its own.
const TENANTS: &[&str] = &["ann", "ben", "cem", "dot", "eli", "fay"];
/// How many lines each tenant has open at once.
const LINES: usize = 3;

fn start(more: &Value) -> Option<App> {
    let python = beds::place("python")?;
    let mut well = json!({
        "command": [python, misbehaving::server(), "well"],
        "protocol": "legacy",
        "reads": ["*"],
        "timeout_ms": 400,
        "start_wait_ms": 60_000,
        "ends_max": 1_000,
    });
    well.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let section = json!({ "well": well });
    Some(App::unlimited_with(|config| {
        let all = TENANTS
            .iter()
            .map(|name| format!("  {name}: {{ kind: agent, owner: {name}, roles: [viewer] }}\n"));
        let principals = format!("principals:\n{}", all.collect::<String>());
        let config = config.replacen("principals:\n", &principals, 1);
        format!("{config}\nupstreams: {section}\ntools: {{ well_same: {{ cache_seconds: 1 }} }}\n")
    }))
}

/// One call, as its bytes.
fn bytes(key: &str, tool: &str, arguments: &Value) -> Vec<u8> {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    request("POST", &format!("/v1/mcp/{tool}"), &headers, arguments.to_string().as_bytes())
}

/// What a good answer says, and which answer of the server's it is.
fn said(answer: &Answer) -> Option<(String, u64)> {
    let result = answer.json();
    let (text, count) = result["content"][0]["text"].as_str()?.split_once('|')?;
    Some((text.to_owned(), count.parse().ok()?))
}

#[test]
fn no_tenant_sees_a_byte_of_another() {
    let Some(app) = start(&json!({ "concurrent_max": 8 })) else { return };
    let rounds = battery::rounds(30);
    let keys: Vec<(String, String)> =
        TENANTS.iter().map(|name| ((*name).to_owned(), app.key_for(name, name))).collect();
    let wrong = Mutex::new(Vec::new());
    let cached: Mutex<HashMap<u64, BTreeSet<String>>> = Mutex::default();
    let counted = Mutex::new((0_usize, 0_usize));
    std::thread::scope(|scope| {
        for line in 0..LINES {
            for (tenant, key) in &keys {
                let (app, wrong, cached, counted) = (&app, &wrong, &cached, &counted);
                scope.spawn(move || {
                    let mut dice = Dice::new().of(line as u64 * 31 + tenant.len() as u64);
                    for round in 0..rounds {
                        // Some are late for our patience, and answer after we have gone on.
                        let ms = [0, 1, 5, 20, 380, 450, 900][dice.below(7) as usize];
                        let canary = format!("canary-{tenant}-{line}-{round}");
                        let call = bytes(key, "well_say", &json!({ "text": canary, "ms": ms }));
                        if dice.below(5) == 0 {
                            let mut stream = connect(app.addr).unwrap();
                            stream.write_all(&call).unwrap();
                            std::thread::sleep(Duration::from_millis(dice.below(10)));
                            continue;
                        }
                        let answer = exchange(app.addr, &call).unwrap();
                        let whole = answer.text();
                        counted.lock().unwrap().0 += 1;
                        let is_foreign = whole.matches("canary-").count() > whole.matches(&canary).count();
                        if is_foreign
                            || (answer.status == 200 && said(&answer).is_none_or(|(text, _)| text != canary))
                        {
                            wrong.lock().unwrap().push(format!("{canary}: {}", answer.line()));
                        }
                        let same = exchange(app.addr, &bytes(key, "well_same", &json!({}))).unwrap();
                        if let Some((_, count)) = said(&same) {
                            counted.lock().unwrap().1 += 1;
                            cached.lock().unwrap().entry(count).or_default().insert(tenant.clone());
                        }
                    }
                });
            }
        }
    });
    let mut wrong = wrong.into_inner().unwrap();
    let cached = cached.into_inner().unwrap();
    for (count, tenants) in &cached {
        if tenants.len() > 1 {
            wrong.push(format!("the cached answer {count} went to {tenants:?}"));
        }
    }
    let (calls, hits) = counted.into_inner().unwrap();
    assert!(cached.len() < hits, "nothing was ever cached");
    battery::conclude(
        "tenants",
        "tenants share tool servers: late answers, cancels, timeouts and cache hits never reach another",
        calls + hits,
        &wrong,
    );
}

#[test]
fn kills_at_random_lose_nothing_that_was_answered() {
    let Some(mut app) = start(&json!({ "timeout_ms": 5_000 })) else { return };
    let mut dice = Dice::new();
    let (answered, wrong) = (Mutex::new(BTreeSet::new()), Mutex::new(Vec::new()));
    for round in 0..battery::rounds(6) {
        until("its tools are there", || app.call("well_say", &json!({})).status == 200);
        let victim = dice.below(3);
        let (addr, key) = (app.addr, app.key.clone());
        std::thread::scope(|scope| {
            for line in 0..4 {
                let (answered, wrong, key) = (&answered, &wrong, &key);
                scope.spawn(move || {
                    for n in 0..2_000 {
                        let text = format!("{round}-{line}-{n}");
                        let call = bytes(key, "well_say", &json!({ "text": text, "ms": n % 4 }));
                        let Ok(answer) = exchange(addr, &call) else { return };
                        if let Some(id) = answer.header("x-request-id") {
                            answered.lock().unwrap().insert(id.to_owned());
                        }
                        match (answer.status, said(&answer)) {
                            (200, Some((said, _))) if said == text => {}
                            (200, other) => wrong.lock().unwrap().push(format!("{text}: {other:?}")),
                            // The server behind it is gone: that is said, and nothing more is asked of this line.
                            (502 | 503, _) => return,
                            (status, _) => {
                                wrong.lock().unwrap().push(format!("{text}: {status} {}", answer.line()));
                            }
                        }
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(50 + dice.below(250)));
            match victim {
                0 => app.kill(),
                // The program itself, or what it has started.
                of => {
                    let all = procs::at_home(app.home());
                    let mut those =
                        all.iter().filter(|id| procs::runs(**id, if of == 1 { "python" } else { "sleep" }));
                    if let Some(id) = those.next() {
                        let _ =
                            kill_process(Pid::from_raw(i32::try_from(*id).unwrap()).unwrap(), Signal::KILL);
                    }
                }
            }
        });
        if victim == 0 {
            until("nothing outlives the gateway", || procs::count(app.home()) == 0);
            app.restart();
        }
    }
    let (answered, mut wrong) = (answered.into_inner().unwrap(), wrong.into_inner().unwrap());
    assert!(app.terminate().success());
    until("no process is left", || procs::count(app.home()) == 0);
    wrong.extend(unrecorded(&app, &answered));
    assert!(answered.len() >= 50, "only {} calls were answered", answered.len());
    battery::conclude(
        "kill_upstreams",
        "kill -9 of the gateway, a tool server or its child under load: no orphan, no wrong answer, no answered call without its record",
        answered.len(),
        &wrong,
    );
}
