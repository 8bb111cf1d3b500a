//! What passes between a client and a server behind the gate while a call runs, whichever era each of them speaks.

use serde_json::{Value, json};

use crate::{
    app::App,
    client::{Client, VERSION, call},
    fixture::{Fixture, program},
};

const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

/// A client in one era, with a gate and the fixture in one era behind it.
struct Bridge<'a> {
    /// `client era, server era, way`, for what went wrong.
    name: String,
    client: Client,
    is_modern: bool,
    app: &'a App,
}

/// Runs a test in each pair of eras, with the server on the network and as a program.
fn each(test: impl Fn(&Bridge<'_>)) {
    let (Some(program), Some(fixture)) = (program(), Fixture::start()) else { return };
    let place = fixture.addr.to_string();
    let far = |protocol: &str| json!({ "url": fixture.url, "allow_private": [place], "protocol": protocol, "prefix": "" });
    let near =
        |protocol: &str| json!({ "command": [program, "--stdio"], "protocol": protocol, "prefix": "" });
    for (name, server) in [
        ("modern, far", far("modern")),
        ("legacy, far", far("legacy")),
        ("modern, near", near("modern")),
        ("legacy, near", near("legacy")),
    ] {
        let section = format!("\nupstreams: {}\n", json!({ "fixture": server }));
        let app = App::with(|config| config.to_owned() + &section);
        let able = json!({ "elicitation": {}, "sampling": {} });
        let legacy = Client::with_session(app.addr, &app.key, &able);
        let modern = Client::new(app.addr, &app.key);
        for (era, client, is_modern) in [("modern", modern, true), ("legacy", legacy, false)] {
            test(&Bridge { name: format!("{era} <- {name}"), client, is_modern, app: &app });
        }
    }
}

impl Bridge<'_> {
    /// Calls a tool, answers what it asks with `reply`, and gives back the methods of what came on the way and the text
    /// of the result.
    fn call(&self, tool: &str, arguments: &Value, reply: impl Fn(&Value) -> Value) -> (Vec<String>, String) {
        let mut message = call(&json!(1), tool, arguments, &json!("token-1"));
        if self.is_modern {
            message["params"]["_meta"][VERSION] = json!("2026-07-28");
            message["params"]["_meta"][LOG_LEVEL] = json!("info");
            message["params"]["_meta"][crate::client::CAPABILITIES] =
                json!({ "elicitation": {}, "sampling": {} });
        }
        let mut heard = Vec::new();
        loop {
            let result = self.round(&message, &reply, &mut heard);
            let Some(asked) = result["inputRequests"].as_object() else {
                return (heard, result["content"][0]["text"].as_str().unwrap_or_default().to_owned());
            };
            assert!(self.is_modern, "{}: {result}", self.name);
            heard.extend(asked.values().map(|request| request["method"].as_str().unwrap().to_owned()));
            let answers = asked.iter().map(|(key, request)| (key.clone(), reply(request)));
            message["params"]["inputResponses"] = Value::Object(answers.collect());
            message["params"]["requestState"] = result["requestState"].clone();
        }
    }

    /// One request, until its result.
    fn round(&self, message: &Value, reply: &impl Fn(&Value) -> Value, heard: &mut Vec<String>) -> Value {
        let mut stream = self.client.open("POST", message);
        loop {
            let came =
                stream.next().unwrap_or_else(|| panic!("{}: no answer\n{}", self.name, self.app.log()));
            match came["method"].as_str() {
                None => return came["result"].clone(),
                Some("notifications/progress") => {
                    let params = &came["params"];
                    assert_eq!(params["progressToken"], "token-1", "{}: {came}", self.name);
                    heard.push(format!("progress {}", params["progress"]));
                }
                Some("notifications/message") => heard.push(format!("log {}", came["params"]["data"])),
                Some(method) => {
                    heard.push(method.to_owned());
                    let answer = json!({ "jsonrpc": "2.0", "id": came["id"], "result": reply(&came) });
                    assert_eq!(self.client.post(&answer).status, 202, "{}", self.name);
                }
            }
        }
    }
}

fn nothing_asked(asked: &Value) -> Value {
    panic!("nothing was to be asked: {asked}")
}

#[test]
fn progress_and_logs_pass() {
    each(|bridge| {
        let (heard, text) = bridge.call("test_tool_with_progress", &json!({}), nothing_asked);
        let steps: Vec<&str> = heard.iter().map(|line| line.trim_end_matches(".0")).collect();
        assert_eq!(steps, ["progress 0", "progress 50", "progress 100"], "{}", bridge.name);
        assert_eq!(text, "Reported progress three times", "{}", bridge.name);
        let (heard, _) = bridge.call("test_tool_with_logging", &json!({}), nothing_asked);
        let lines = ["started", "processing", "completed"];
        let told = |(line, word): (&String, &str)| line.starts_with("log \"Tool") && line.contains(word);
        assert!(heard.len() == 3 && heard.iter().zip(lines).all(told), "{}: {heard:?}", bridge.name);
    });
}

#[test]
fn questions_and_their_answers_pass() {
    each(|bridge| {
        let ada = json!({ "username": "ada", "email": "ada@example.org" });
        for (answer, said) in [
            (json!({ "action": "accept", "content": ada }), "User response: action=accept, content={"),
            (json!({ "action": "decline" }), "User response: action=decline, content=null"),
            (json!({ "action": "cancel" }), "User response: action=cancel, content=null"),
        ] {
            let arguments = json!({ "message": "Who are you?" });
            let (heard, text) = bridge.call("test_elicitation", &arguments, |asked| {
                assert_eq!(asked["params"]["message"], "Who are you?", "{}: {asked}", bridge.name);
                assert!(asked["params"]["requestedSchema"]["properties"]["email"].is_object(), "{asked}");
                answer.clone()
            });
            assert_eq!(heard, ["elicitation/create"], "{}", bridge.name);
            assert!(text.starts_with(said), "{}: {text}", bridge.name);
            assert_eq!(
                text.contains("ada@example.org"),
                answer["action"] == "accept",
                "{}: {text}",
                bridge.name
            );
        }
        let (heard, text) = bridge.call("test_sampling", &json!({ "prompt": "Capital?" }), |asked| {
            assert_eq!(asked["params"]["messages"][0]["content"]["text"], "Capital?", "{asked}");
            json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "Paris" } })
        });
        assert_eq!(
            (heard, &*text),
            (vec!["sampling/createMessage".to_owned()], "LLM response: Paris"),
            "{}",
            bridge.name
        );
    });
}
