//! Everything that the conformance suite will ask for, asked at the gate: what comes back, and what the caller hears
//! meanwhile.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use expect_test::{expect, expect_file};
use serde_json::{Value, json};
use testkit::Scripted;
use tool::{Completing, Kind, Notice, Reply, json::raw};

use crate::house::House;

/// A call, and who makes it.
type Case = (Kind, Scripted);

fn tool(name: &str, arguments: Value) -> Kind {
    Kind::tool(name, raw(&arguments))
}

fn prompt(name: &str, arguments: Value) -> Kind {
    Kind::GetPrompt { name: name.into(), arguments: raw(&arguments) }
}

fn resource(uri: &str) -> Kind {
    Kind::ReadResource { uri: uri.into() }
}

fn completes(of: Completing, begun: &str) -> Kind {
    let reference = match &of {
        Completing::Prompt(name) => json!({ "type": "ref/prompt", "name": name }),
        Completing::Template(uri) => json!({ "type": "ref/resource", "uri": uri }),
    };
    let arguments = json!({ "ref": reference, "argument": { "name": "arg1", "value": begun } });
    Kind::Complete { of, arguments: raw(&arguments) }
}

/// A caller who can be asked anything, and has these answers.
fn able(answers: &[(&str, Value)]) -> Scripted {
    let able = Scripted::new().declaring(&["elicitation", "sampling", "roots"]);
    answers.iter().fold(able, |able, (key, answer)| able.answering(key, answer.clone()))
}

fn accepts(content: Value) -> Value {
    json!({ "action": "accept", "content": content })
}

fn model_says(text: &str) -> Value {
    json!({ "role": "assistant", "content": { "type": "text", "text": text }, "model": "m", "stopReason": "endTurn" })
}

fn roots() -> Value {
    json!({ "roots": [{ "uri": "file:///test/root", "name": "root" }] })
}

fn plain() -> Vec<Case> {
    let names = [
        "test_simple_text",
        "test_image_content",
        "test_audio_content",
        "test_embedded_resource",
        "test_multiple_content_types",
        "test_error_handling",
        "test_trigger_tool_change",
        "test_trigger_prompt_change",
        "test_trigger_resource_update",
    ];
    let mut cases: Vec<Case> = names.map(|name| (tool(name, json!({})), Scripted::new())).into();
    cases.extend([
        (tool("greet", json!({ "name": "sep-2243" })), Scripted::new()),
        (tool("greet", json!({})), Scripted::new()),
        (tool("test_custom_header", json!({ "value": "Hello" })), Scripted::new()),
        (
            tool(
                "json_schema_2020_12_tool",
                json!({ "contactMethod": "phone", "phone": "1", "address": { "city": "c" } }),
            ),
            Scripted::new(),
        ),
        (
            tool("json_schema_2020_12_tool", json!({ "contactMethod": "phone", "email": "e" })),
            Scripted::new(),
        ),
        (tool("nothing_of_that_name", json!({})), Scripted::new()),
    ]);
    cases
}

fn talking() -> Vec<Case> {
    let names =
        ["test_tool_with_logging", "test_logging_tool", "test_tool_with_progress", "test_reconnection"];
    let mut cases: Vec<Case> = names.map(|name| (tool(name, json!({})), Scripted::new())).into();
    let form =
        |name: &str, arguments: Value, answer: Value| (tool(name, arguments), able(&[("form", answer)]));
    cases.extend([
        (tool("test_sampling", json!({ "prompt": "say" })), able(&[("sample", model_says("so"))])),
        (tool("test_sampling", json!({ "prompt": "say" })), Scripted::new()),
        form(
            "test_elicitation",
            json!({ "message": "who?" }),
            accepts(json!({ "username": "ada", "email": "a@b" })),
        ),
        form("test_elicitation", json!({ "message": "who?" }), json!({ "action": "decline" })),
        form("test_elicitation_sep1034_defaults", json!({}), accepts(json!({ "age": 31 }))),
        form("test_elicitation_sep1330_enums", json!({}), json!({ "action": "cancel" })),
    ]);
    cases
}

fn asking() -> Vec<Case> {
    let name = || accepts(json!({ "name": "Alice" }));
    let confirms = || able(&[("confirm", accepts(json!({ "ok": true })))]);
    let asks = |name: &str, caller: Scripted| {
        (tool(&format!("test_input_required_result_{name}"), json!({})), caller)
    };
    vec![
        (tool("test_missing_capability", json!({})), able(&[])),
        (tool("test_missing_capability", json!({})), Scripted::new().declaring(&["elicitation"])),
        (tool("test_streaming_elicitation", json!({})), confirms()),
        asks("elicitation", able(&[("user_name", name())])),
        asks("elicitation", able(&[("user_name", json!({ "action": "decline" }))])),
        asks("elicitation", able(&[("user_name", json!(12345))])),
        asks("elicitation", able(&[("wrong_key", name())])),
        asks("sampling", able(&[("capital_question", model_says("Paris"))])),
        asks("list_roots", able(&[("client_roots", roots())])),
        asks("request_state", confirms()),
        asks("tampered_state", confirms()),
        asks(
            "multiple_inputs",
            able(&[("user_name", name()), ("greeting", model_says("Hi")), ("client_roots", roots())]),
        ),
        asks("multi_round", able(&[("step1", name()), ("step2", accepts(json!({ "color": "blue" })))])),
        asks("capabilities", Scripted::new().declaring(&["sampling"]).answering("sample", model_says("a"))),
        asks("capabilities", Scripted::new()),
    ]
}

fn jobs() -> Vec<Case> {
    let compute = |seconds: Value| tool("slow_compute", json!({ "seconds": seconds, "label": "l" }));
    let delete = || tool("confirm_delete", json!({ "filename": "f" }));
    let confirms = || able(&[("confirm", accepts(json!({ "confirm": true })))]);
    let both = [
        ("first", accepts(json!({ "name": "Ada", "confirm": true }))),
        ("second", accepts(json!({ "name": "Bob", "confirm": true }))),
    ];
    let alice = [("user_name", accepts(json!({ "name": "Alice" })))];
    vec![
        (compute(json!(0)), Scripted::new().taking_tasks()),
        (compute(json!(0.001)), Scripted::new().taking_tasks()),
        (compute(json!(-1)), Scripted::new().taking_tasks()),
        (tool("failing_job", json!({})), Scripted::new().taking_tasks()),
        (tool("failing_job", json!({})), able(&[])),
        (tool("protocol_error_job", json!({})), Scripted::new().taking_tasks()),
        (delete(), confirms().taking_tasks()),
        (delete(), able(&[("confirm", json!({ "action": "decline" }))]).taking_tasks()),
        (tool("confirm_delete", json!({})), able(&[])),
        (tool("multi_input", json!({})), able(&both).taking_tasks()),
        (tool("test_tool_with_task", json!({})), able(&alice).taking_tasks()),
    ]
}

fn prompts_and_resources() -> Vec<Case> {
    let context = [("user_context", accepts(json!({ "context": "tests" })))];
    let of_prompt = Completing::Prompt("test_prompt_with_arguments".into());
    let of_template = Completing::Template("test://template/{id}/data".into());
    let uris = [
        "test://static-text",
        "test://static-binary",
        "test://watched-resource",
        "test://template/123/data",
        "test://nonexistent-resource-for-conformance-testing",
    ];
    let mut cases = vec![
        (prompt("test_simple_prompt", json!({})), Scripted::new()),
        (prompt("test_prompt_with_arguments", json!({ "arg1": "1", "arg2": "2" })), Scripted::new()),
        (prompt("test_prompt_with_arguments", json!({ "arg1": "1" })), Scripted::new()),
        (prompt("test_prompt_with_embedded_resource", json!({ "resourceUri": "test://r" })), Scripted::new()),
        (prompt("test_prompt_with_image", json!({})), Scripted::new()),
        (prompt("test_input_required_result_prompt", json!({})), able(&context)),
        (prompt("nothing_of_that_name", json!({})), Scripted::new()),
        (completes(of_prompt, "test"), Scripted::new()),
        (completes(of_template, "par"), Scripted::new()),
    ];
    cases.extend(uris.map(|uri| (resource(uri), Scripted::new())));
    cases
}

/// What was asked, what the caller heard, and what came of it.
fn shown(house: &House, (kind, caller): Case) -> String {
    let (method, subject) = (kind.method(), kind.subject().to_owned());
    let arguments = kind.arguments().get().to_owned();
    let caller = Arc::new(caller);
    let answer = house.call(kind, caller.clone());
    let mut text = format!("{method} {subject} {arguments}\n");
    caller.heard().lines().for_each(|line| writeln!(text, "  {line}").unwrap());
    match answer.result {
        Ok(Reply::Done(outcome)) => writeln!(text, "  = {:?} {}", outcome.shape, outcome.to_json()).unwrap(),
        Ok(other) => writeln!(text, "  ? {other:?}").unwrap(),
        Err(fault) => {
            writeln!(text, "  ! {}: {}", fault.code.row().name, fault.text).unwrap();
            fault.details.iter().for_each(|details| writeln!(text, "    details {details}").unwrap());
            fault.as_sent.iter().for_each(|error| writeln!(text, "    as sent {error}").unwrap());
        }
    }
    text
}

#[test]
fn everything_of_the_suite_answers_as_the_suite_wants() {
    let house = House::start();
    let cases = [plain(), talking(), asking(), jobs(), prompts_and_resources()];
    let mut asked = BTreeSet::new();
    let mut page = String::new();
    for case in cases.into_iter().flatten() {
        asked.insert(format!("{} {}", case.0.method(), case.0.subject()));
        page.push_str(&shown(&house, case));
        page.push('\n');
    }
    expect_file!["suite.txt"].assert_eq(&page);
    for there in listed(&house) {
        assert!(asked.contains(&there), "nobody asked for {there}");
    }
}

/// What the owner of a house sees, as it is asked for.
fn listed(house: &House) -> Vec<String> {
    let gate = house.gate();
    let caller = testkit::caller("owner", tool::PrincipalKind::Human);
    let tools = gate.visible(&caller);
    let (prompts, resources) = (gate.visible_prompts(&caller), gate.visible_resources(&caller));
    assert_eq!((tools.len(), prompts.len(), resources.len()), (36, 5, 3));
    assert_eq!(gate.visible_templates(&caller).len(), 1);
    let tools = tools.iter().map(|tool| format!("tools/call {}", tool.name));
    let prompts = prompts.iter().map(|prompt| format!("prompts/get {}", prompt.name));
    let resources = resources.iter().map(|resource| format!("resources/read {}", resource.uri));
    tools.chain(prompts).chain(resources).collect()
}

#[test]
fn a_trigger_tells_whoever_listens_at_the_gate() {
    let house = House::start();
    let mut notices = house.gate().notices();
    for (name, notice) in [
        ("test_trigger_tool_change", Notice::Tools),
        ("test_trigger_prompt_change", Notice::Prompts),
        ("test_trigger_resource_update", Notice::Resource("test://watched-resource".into())),
    ] {
        house.call(tool(name, json!({})), Arc::new(Scripted::new())).result.unwrap();
        assert_eq!(notices.try_recv().unwrap(), notice, "{name}");
    }
}

#[test]
fn a_house_serves_its_room_by_the_rest_doors_and_stops_in_order() {
    let house = House::start();
    let answer = house.post("/v1/mcp/test_simple_text", &house.key, &json!({}));
    expect![[r#"200 {"content":[{"type":"text","text":"This is a simple text response for testing."}]}"#]]
        .assert_eq(&answer.line());
    // Who asks by REST cannot be asked back.
    let answer = house.post("/v1/mcp/test_missing_capability", &house.key, &json!({}));
    assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("cannot_ask")), "{}", answer.line());
    let guest = house.key_for("guest");
    assert_eq!(house.post("/v1/mcp/greet", &guest, &json!({ "name": "Ada" })).status, 200);
    assert_eq!(house.post("/v1/mcp/test_simple_text", &guest, &json!({})).status, 404);

    let word = |record: &Value, name: &str| record[name].as_str().unwrap_or("-").to_owned();
    let records = house.stop();
    let calls = records.iter().filter(|record| record["event"] == "call.outcome");
    let lines =
        calls.map(|r| format!("{} {} {}\n", word(r, "principal"), word(r, "tool"), word(r, "outcome")));
    expect![[r#"
        owner test_simple_text success
        owner test_missing_capability cannot_ask
        guest greet success
        guest test_simple_text not_found
    "#]]
    .assert_eq(&lines.collect::<String>());
}
