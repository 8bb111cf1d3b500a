//! What the official suites of MCP do not ask: clients that only POST, two users at once, cancellation, limits,
//! approvals, restarts.

use std::{collections::BTreeMap, path::Path, time::Instant};

use serde_json::{Value, json};

use crate::{
    app::{App, until},
    client::{ABLE, BOTH, CAPABILITIES, Client, VERSION, call, messages},
    house::House,
    http::{exchange, request},
};

#[test]
fn a_client_that_only_posts_is_asked_on_the_stream_of_its_call() {
    let house = House::start();
    let client = Client::with_session(house.addr, &house.key, &json!({ "elicitation": {} }));
    let mut stream =
        client.open("POST", &call(&json!(7), "test_elicitation", &json!({ "message": "who?" }), &json!("t")));
    let asked = stream.next().unwrap();
    assert_eq!(asked["method"], "elicitation/create", "{asked}");
    let answer = |result: Value| json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result });
    // Answers to nothing, and the same answer twice, do no harm.
    assert_eq!(client.post(&json!({ "jsonrpc": "2.0", "id": 999, "result": {} })).status, 202);
    let accepted = json!({ "action": "accept", "content": { "username": "ada", "email": "a@b.example" } });
    assert_eq!(client.post(&answer(accepted)).status, 202);
    assert_eq!(client.post(&answer(json!({ "action": "cancel" }))).status, 202);
    let last = stream.next().unwrap();
    assert_eq!(last["id"], 7, "{last}");
    assert!(last["result"]["content"][0]["text"].as_str().unwrap().contains("accept"), "{last}");
    drop(house.stop());
}

#[test]
fn two_clients_with_equal_ids_and_tokens_hear_only_their_own() {
    let house = House::start();
    let clients = [(); 2].map(|()| Client::with_session(house.addr, &house.key, &json!({})));
    let answers: Vec<Vec<Value>> = std::thread::scope(|scope| {
        let run = |client: &Client| {
            let message = call(&json!("same"), "test_tool_with_progress", &json!({}), &json!("token"));
            messages(&client.post(&message))
        };
        let running: Vec<_> = clients.iter().map(|client| scope.spawn(move || run(client))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for told in answers {
        assert_eq!(told.len(), 4, "three reports and an answer: {told:?}");
        assert!(told[..3].iter().all(|report| report["params"]["progressToken"] == "token"), "{told:?}");
        assert_eq!(told[3]["id"], "same");
    }
    // A session is its principal's alone.
    let guest = Client { key: house.key_for("guest"), ..clients[0].clone() };
    let listed = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    assert_eq!(guest.post(&listed).status, 404);
    assert_eq!(exchange(guest.addr, &guest.bytes("DELETE", "")).unwrap().status, 404);
    assert_eq!(clients[0].post(&listed).status, 200);
    drop(house.stop());
}

#[test]
fn cancelling_stops_the_work_in_both_eras() {
    let house = House::start();
    let slow =
        |id: i64| call(&json!(id), "slow_compute", &json!({ "seconds": 60, "label": "x" }), &json!("t"));
    // Older: by a notification. The stream of a client that only lost its connection goes on.
    let client = Client::with_session(house.addr, &house.key, &json!({}));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.post(&slow(5)));
        let cancel =
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 5 } });
        until("the cancelled call ends", || {
            assert_eq!(client.post(&cancel).status, 202);
            waiting.is_finished()
        });
        let answer = waiting.join().unwrap();
        assert!(messages(&answer).iter().all(|message| message["id"] != 5), "{}", answer.line());
    });
    // Newer: by closing the connection.
    let modern = Client::new(house.addr, &house.key);
    let mut message = slow(6);
    message["params"]["_meta"] = json!({ VERSION: "2026-07-28", CAPABILITIES: {} });
    let left = modern.open("POST", &message);
    until("the call has begun", || house.gate().stats().total_operations >= 1);
    drop(left);
    until("both calls have ended", || house.gate().stats().total_operations >= 2);
    let records = house.stop();
    let stopped =
        records.iter().filter(|record| record["tool"] == "slow_compute" && record["outcome"] == "cancelled");
    assert_eq!(stopped.count(), 2, "{records:#?}");
}

#[test]
fn names_that_stand_twice_are_refused_before_anything_else() {
    let app = App::start();
    let client = Client::new(app.addr, &app.key);
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"fs_list","name":"sql_query","arguments":{}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"fs_list","arguments":{"path":"a","path":"b"}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
        "{",
    ] {
        let answer = exchange(client.addr, &client.bytes("POST", body)).unwrap();
        assert_eq!(answer.status, 400, "{body}: {}", answer.line());
        let code = answer.json()["error"]["code"].as_i64().unwrap();
        assert!(matches!(code, -32600 | -32700), "{body}: {}", answer.line());
    }
}

#[test]
fn sessions_are_bounded_survive_a_restart_and_end() {
    let mut app = App::with(|config| {
        config.replace("server:\n", "server:\n  mcp: { sessions_per_principal_max: 3 }\n")
    });
    let clients: Vec<Client> = (0..5).map(|_| Client::with_session(app.addr, &app.key, &json!({}))).collect();
    let listed = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let statuses: Vec<u16> = clients.iter().map(|client| client.post(&listed).status).collect();
    assert_eq!(statuses, [404, 404, 200, 200, 200], "the ones not used for longest made room");
    app.terminate();
    app.restart();
    let back = |client: &Client| Client { addr: app.addr, ..client.clone() };
    assert_eq!(back(&clients[4]).post(&listed).status, 200, "it is taken up again");
    assert_eq!(back(&clients[0]).post(&listed).status, 404);
    let ended = exchange(app.addr, &back(&clients[4]).bytes("DELETE", "")).unwrap();
    assert_eq!(ended.status, 204);
    assert_eq!(back(&clients[4]).post(&listed).status, 404);
    let stranger = Client { session: Some("nobody".to_owned()), ..back(&clients[3]) };
    assert_eq!(stranger.post(&listed).status, 404);
    let nobody = Client { key: "sk_nobody".to_owned(), ..back(&clients[3]) };
    assert_eq!(nobody.post(&listed).status, 401);
}

#[test]
fn a_reload_tells_who_listens() {
    let app = App::start();
    let older = Client::with_session(app.addr, &app.key, &json!({}));
    let mut notices = older.open("GET", &Value::Null);
    let newer = Client::new(app.addr, &app.key);
    let mut listen = json!({
        "jsonrpc": "2.0", "id": "l", "method": "subscriptions/listen",
        "params": { "notifications": { "toolsListChanged": true } },
    });
    listen["params"]["_meta"] = json!({ VERSION: "2026-07-28", CAPABILITIES: {} });
    let mut listening = newer.open("POST", &listen);
    assert_eq!(listening.next().unwrap()["method"], "notifications/subscriptions/acknowledged");
    let config = std::fs::read_to_string(app.config()).unwrap();
    std::fs::write(app.config(), config.replace("Lists the best customers", "Lists the very best customers"))
        .unwrap();
    let edited = std::fs::read_to_string(app.config()).unwrap();
    if edited == config {
        std::fs::write(app.config(), config.replacen("description: ", "description: Newly. ", 1)).unwrap();
    }
    let told = listening.next().unwrap();
    assert_eq!(told["method"], "notifications/tools/list_changed");
    assert_eq!(told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "l");
    assert_eq!(notices.next().unwrap()["method"], "notifications/tools/list_changed");
}

#[test]
fn a_change_waits_for_approval_as_a_task_and_is_then_applied() {
    let app = App::start();
    let client = Client::new(app.addr, &app.key);
    let tasks = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let write =
        json!({ "name": "fs_write_text", "arguments": { "path": "task.txt", "text": "by a task\n" } });
    let begun = client.modern("tools/call", write.clone(), &tasks);
    assert_eq!(begun["result"]["resultType"], "task", "{begun}");
    let id = begun["result"]["taskId"].as_str().unwrap();
    let look = |client: &Client| client.modern("tasks/get", json!({ "taskId": id }), &tasks);
    let mut message = String::new();
    until("the task says what it waits for", || {
        message = look(&client)["result"]["statusMessage"].as_str().unwrap_or_default().to_owned();
        message.contains("waits for approval")
    });
    assert!(!app.files().join("task.txt").exists(), "nothing is done before");
    let viewer = Client::new(app.addr, &app.viewer);
    assert_eq!(look(&viewer)["error"]["code"], -32602, "a task is its principal's alone");
    let change = message.split(' ').next().unwrap();
    // A change that is shown looks like one that was planned, and is an answer all the same.
    let shown = client.modern(
        "tools/call",
        json!({ "name": "change_show", "arguments": { "change_id": change } }),
        &tasks,
    );
    assert_eq!(shown["result"]["resultType"], "complete", "{shown}");
    // The agent itself may not approve.
    let own = client.modern(
        "tools/call",
        json!({ "name": "change_approve", "arguments": { "change_id": change } }),
        &json!({}),
    );
    assert_eq!(own["result"]["isError"], true, "{own}");
    let said = app.cli(&["approve", change, "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    until("the task is done", || look(&client)["result"]["status"] == "completed");
    assert_eq!(std::fs::read_to_string(app.files().join("task.txt")).unwrap(), "by a task\n");
    // Without tasks the plan is the answer.
    let planned = client.modern(
        "tools/call",
        json!({ "name": "fs_write_text", "arguments": { "path": "b.txt", "text": "b" } }),
        &json!({}),
    );
    assert_eq!(planned["result"]["structuredContent"]["status"], "pending_approval", "{planned}");
}

#[test]
fn a_person_approves_in_a_form_that_shows_the_plan() {
    let app = App::start();
    let boss = app.key_for("boss", "local");
    let able = serde_json::from_str(ABLE).unwrap();
    for (path, person, agent) in [
        ("modern.txt", Client::new(app.addr, &boss), Client::new(app.addr, &app.key)),
        (
            "legacy.txt",
            Client::with_session(app.addr, &boss, &able),
            Client::with_session(app.addr, &app.key, &able),
        ),
    ] {
        let nothing = |asked: &Value| panic!("nobody was to be asked: {asked}");
        let (_, planned) = agent.converse("fs_write_text", &json!({ "path": path, "text": "hi\n" }), nothing);
        let change = json!({ "change_id": planned["structuredContent"]["change_id"] });
        // An agent is not even asked.
        let (_, own) = agent.converse("change_approve", &change, nothing);
        assert_eq!(own["isError"], true, "{own}");
        for (answer, approved) in [
            (json!({ "action": "decline" }), false),
            (json!({ "action": "accept", "content": { "approve": false } }), false),
            (json!({ "action": "accept", "content": { "approve": true } }), true),
        ] {
            let (heard, said) = person.converse("change_approve", &change, |asked| {
                let shown = asked["params"]["message"].as_str().unwrap();
                assert!(shown.contains(path) && shown.contains("+hi"), "{shown}");
                answer.clone()
            });
            assert_eq!(heard, ["elicitation/create"], "{said}");
            assert_eq!(said["isError"] == false, approved, "{said}");
        }
        assert!(!app.files().join(path).exists(), "an approval does nothing yet");
        let (_, applied) = agent.converse("change_apply", &change, nothing);
        assert_eq!(applied["structuredContent"]["status"], "applied", "{applied}");
        assert_eq!(std::fs::read_to_string(app.files().join(path)).unwrap(), "hi\n");
    }
}

#[test]
fn prompts_and_resources_of_the_configuration_are_there_in_both_eras() {
    let runbooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/runbooks");
    let app = App::of_folder(&runbooks);
    let modern = Client::new(app.addr, &app.key);
    let legacy = Client::with_session(app.addr, &app.key, &json!({}));
    for client in [modern, legacy] {
        let ask = |method: &str, params: Value| {
            let answer = if client.session.is_none() {
                client.modern(method, params, &json!({}))
            } else {
                client.ask(json!(1), method, params)
            };
            answer["result"].clone()
        };
        let names = |list: &Value, member: &str| -> Vec<String> {
            list.as_array().unwrap().iter().map(|item| item[member].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&ask("prompts/list", json!({}))["prompts"], "name"), ["incident"]);
        let arguments = json!({ "symptom": "slow", "severity": "high", "customer": "Acme Corp" });
        let got = ask("prompts/get", json!({ "name": "incident", "arguments": arguments }));
        let text = got["messages"][0]["content"]["text"].as_str().unwrap();
        assert!(text.contains("Severity: high. Affected: Acme Corp."), "{text}");
        let complete = |argument: Value| {
            let of = json!({ "type": "ref/prompt", "name": "incident" });
            ask("completion/complete", json!({ "ref": of, "argument": argument }))["completion"]["values"]
                .clone()
        };
        assert_eq!(complete(json!({ "name": "severity", "value": "h" })), json!(["high"]));
        let customers = complete(json!({ "name": "customer", "value": "Acme" }));
        assert!(customers.as_array().unwrap().contains(&json!("Acme Corp")), "{customers}");
        assert_eq!(names(&ask("resources/list", json!({}))["resources"], "uri"), ["docs:///on-call"]);
        let templates = ask("resources/templates/list", json!({}));
        assert_eq!(names(&templates["resourceTemplates"], "uriTemplate"), ["runbook:///{name}"]);
        let read = ask("resources/read", json!({ "uri": "runbook:///disk-full" }));
        assert_eq!(read["contents"][0]["mimeType"], "text/markdown", "{read}");
        assert_eq!(ask("resources/read", json!({ "uri": "runbook:///../portcullis" })), Value::Null);
    }
}

#[test]
fn limits_and_failures_are_results_that_say_when_to_come_back() {
    let app = App::with(|config| config.replace("rate_per_minute: 1000", "rate_per_minute: 3"));
    let client = Client::new(app.addr, &app.key);
    let call = |arguments: Value| {
        client.modern("tools/call", json!({ "name": "get_customer", "arguments": arguments }), &json!({}))
    };
    let wrong = call(json!({ "customer_id": "x" }));
    assert_eq!(wrong["result"]["isError"], true, "{wrong}");
    let about = |answer: &Value| answer["result"]["_meta"]["portcullis/error"].clone();
    assert_eq!(about(&wrong)["pointer"], "/customer_id");
    let nobody = client.modern("tools/call", json!({ "name": "no_such_tool", "arguments": {} }), &json!({}));
    assert_eq!(nobody["error"]["code"], -32602, "{nobody}");
    let mut limited = Value::Null;
    until("the limit is met", || {
        limited = call(json!({ "customer_id": 1 }));
        limited["result"]["isError"] == true
    });
    assert_eq!(about(&limited)["code"], "rate_limited");
    assert!(about(&limited)["retry_after_seconds"].as_u64().unwrap() > 0);
    let metrics = app.get("/metrics", None).text();
    let sampled = metrics.lines().any(|line| {
        line.starts_with("mcp_server_operation_duration_seconds_count")
            && line.contains("tools/call")
            && !line.ends_with(" 0")
    });
    assert!(sampled, "operations of MCP are measured");
}

/// With Nagle's algorithm a stream waits 40 ms for every answer; one whole message does not.
#[test]
fn a_stream_is_not_held_back() {
    let house = House::start();
    let client = Client::with_session(house.addr, &house.key, &json!({}));
    let took = |tool: &str| {
        let mut times: Vec<_> = (0..15)
            .map(|id| {
                let started = Instant::now();
                let answer = client.post(&call(&json!(id), tool, &json!({}), &json!("t")));
                assert!(messages(&answer).iter().any(|message| message["id"] == id), "{}", answer.line());
                started.elapsed()
            })
            .collect();
        times.sort();
        times[7]
    };
    let (whole, stream) = (took("test_simple_text"), took("test_multiple_content_types"));
    assert!(stream < whole * 12, "{stream:?} beside {whole:?}");
    drop(house.stop());
}

#[test]
fn foreign_pages_do_not_reach_the_endpoint() {
    let app = App::start();
    let bearer = format!("Bearer {}", app.key);
    let ask = |origin: &str| {
        let headers = [
            ("authorization", bearer.as_str()),
            ("accept", BOTH),
            ("origin", origin),
            ("content-type", "application/json"),
        ];
        let statuses: BTreeMap<_, _> = ["GET", "POST", "DELETE"]
            .into_iter()
            .map(|method| {
                (method, exchange(app.addr, &request(method, "/mcp", &headers, b"{}")).unwrap().status)
            })
            .collect();
        statuses
    };
    assert!(ask("https://evil.example").values().all(|status| *status == 403));
    assert!(ask("null").values().all(|status| *status == 403));
    assert!(ask("http://localhost").values().all(|status| *status == 400));
}
