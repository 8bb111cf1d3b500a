//! Tools that talk while they run: they log, report progress, lose their connection, or ask.

use std::time::Duration;

use serde_json::{Value, json};
use tool::{Answered, Fault, LogLevel, Reply};

use super::{
    Asked, Row,
    ask::{aloud, one, sample},
    nothing, said,
};

/// How long a step takes.
const STEP: Duration = Duration::from_millis(50);

/// How long the answer takes after its connection was let go of.
const AFTER_CUT: Duration = Duration::from_millis(100);

/// Their table.
pub(super) const TOOLS: &[Row] = &[
    Row {
        name: "test_tool_with_logging",
        about: "Logs three messages",
        input: nothing,
        run: |asked| Box::pin(logs(asked)),
    },
    Row {
        name: "test_logging_tool",
        about: "Logs one message",
        input: nothing,
        run: |asked| Box::pin(logs_once(asked)),
    },
    Row {
        name: "test_tool_with_progress",
        about: "Reports 0, 50 and 100 of 100",
        input: nothing,
        run: |asked| Box::pin(progresses(asked)),
    },
    Row {
        name: "test_reconnection",
        about: "Lets go of its caller before it answers",
        input: nothing,
        run: |asked| Box::pin(reconnects(asked)),
    },
    Row {
        name: "test_sampling",
        about: "Asks the caller's model",
        input: || one_text("prompt"),
        run: |asked| Box::pin(samples(asked)),
    },
    Row {
        name: "test_elicitation",
        about: "Asks a person for a name and an address",
        input: || one_text("message"),
        run: |asked| {
            let message = asked.text("message").unwrap_or_default().to_owned();
            Box::pin(elicits(asked, message, name_and_address(), "User response"))
        },
    },
    Row {
        name: "test_elicitation_sep1034_defaults",
        about: "Asks with a default for every kind of value",
        input: nothing,
        run: |asked| {
            Box::pin(elicits(asked, "Please review these".to_owned(), defaults(), "Elicitation completed"))
        },
    },
    Row {
        name: "test_elicitation_sep1330_enums",
        about: "Asks with every kind of choice",
        input: nothing,
        run: |asked| Box::pin(elicits(asked, "Please choose".to_owned(), choices(), "Elicitation completed")),
    },
];

async fn logs(asked: Asked) -> Result<Reply, Fault> {
    asked.talk.log(LogLevel::Info, json!("Tool execution started"));
    asked.takes(STEP).await?;
    asked.talk.log(LogLevel::Info, json!("Tool processing data"));
    asked.takes(STEP).await?;
    asked.talk.log(LogLevel::Info, json!("Tool execution completed"));
    said("Logged three messages")
}

async fn logs_once(asked: Asked) -> Result<Reply, Fault> {
    asked.talk.log(LogLevel::Info, json!("a message that only who asked for it sees"));
    said("Logged one message")
}

async fn progresses(asked: Asked) -> Result<Reply, Fault> {
    for done in [0.0, 50.0, 100.0] {
        if done > 0.0 {
            asked.takes(STEP).await?;
        }
        asked.talk.progress(done, Some(100.0), None::<String>);
    }
    said("Reported progress three times")
}

async fn reconnects(asked: Asked) -> Result<Reply, Fault> {
    asked.talk.cut();
    asked.takes(AFTER_CUT).await?;
    said("Answered after the connection had ended")
}

async fn samples(asked: Asked) -> Result<Reply, Fault> {
    let question = sample("sample", asked.text("prompt").unwrap_or_default(), 100);
    let answer = one(&asked.talk, question).await?;
    said(format!("LLM response: {}", aloud(&answer["content"]["text"])))
}

async fn elicits(asked: Asked, message: String, schema: Value, about: &str) -> Result<Reply, Fault> {
    let (action, content) = match asked.talk.ask_form("form", &message, schema).await? {
        Answered::Accept(content) => ("accept", content),
        Answered::Decline => ("decline", Value::Null),
        Answered::Cancel => ("cancel", Value::Null),
    };
    said(format!("{about}: action={action}, content={content}"))
}

fn one_text(name: &str) -> Value {
    json!({ "type": "object", "properties": { name: { "type": "string" } }, "required": [name] })
}

fn name_and_address() -> Value {
    json!({
        "type": "object",
        "properties": {
            "username": { "type": "string", "description": "User's response" },
            "email": { "type": "string", "description": "User's email address" },
        },
        "required": ["username", "email"],
    })
}

fn defaults() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "default": "John Doe" },
            "age": { "type": "integer", "default": 30 },
            "score": { "type": "number", "default": 95.5 },
            "status": { "type": "string", "enum": ["active", "inactive", "pending"], "default": "active" },
            "verified": { "type": "boolean", "default": true },
        },
    })
}

fn choices() -> Value {
    let plain = json!(["option1", "option2", "option3"]);
    let titled = json!([
        { "const": "value1", "title": "First" },
        { "const": "value2", "title": "Second" },
        { "const": "value3", "title": "Third" },
    ]);
    json!({
        "type": "object",
        "properties": {
            "untitledSingle": { "type": "string", "enum": plain.clone() },
            "titledSingle": { "type": "string", "oneOf": titled.clone() },
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": { "type": "array", "items": { "type": "string", "enum": plain } },
            "titledMulti": { "type": "array", "items": { "anyOf": titled } },
        },
    })
}
