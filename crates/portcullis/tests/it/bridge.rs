//! What passes between a client and a server behind the gate while a call runs, whichever era each of them speaks.

use serde_json::{Value, json};

use crate::{
    app::App,
    client::{ABLE, Client},
    fixture::{Fixture, program},
};

/// A client in one era, with a gate and the fixture in one era behind it.
struct Bridge<'a> {
    /// `client era, server era, way`, for what went wrong.
    name: String,
    client: Client,
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
        let able = serde_json::from_str(ABLE).unwrap();
        let legacy = Client::with_session(app.addr, &app.key, &able);
        let modern = Client::new(app.addr, &app.key);
        for (era, client) in [("modern", modern), ("legacy", legacy)] {
            test(&Bridge { name: format!("{era} <- {name}"), client, app: &app });
        }
    }
}

impl Bridge<'_> {
    /// Calls a tool; see [`Client::converse`]. The text of its result.
    fn call(&self, tool: &str, arguments: &Value, reply: impl Fn(&Value) -> Value) -> (Vec<String>, String) {
        let (heard, result) = self.client.converse(tool, arguments, reply);
        let text = result["content"][0]["text"].as_str();
        (heard, text.unwrap_or_else(|| panic!("{}: {result}\n{}", self.name, self.app.log())).to_owned())
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
        let lines = [
            "log \"Tool execution started\"",
            "log \"Tool processing data\"",
            "log \"Tool execution completed\"",
        ];
        // In the older era over HTTP they come on the stream of the session, where the last may come after the answer.
        let expected =
            if bridge.name.ends_with("legacy, far") { &lines[..heard.len().min(3)] } else { &lines[..] };
        assert_eq!(heard, expected, "{}", bridge.name);
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
