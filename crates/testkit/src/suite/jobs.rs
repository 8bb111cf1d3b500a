//! Tools that take long: a caller that takes tasks gets one, and looks again.

use std::time::Duration;

use futures_util::future::try_join;
use serde_json::{Value, json};
use tool::{Code, Fault, Reply};

use super::{
    Asked, Row,
    ask::{aloud, fill},
    failed, nothing, said,
};

/// Their table. `confirm_delete` is the first tool in any list by name, which the suite calls without arguments to try
/// headers: so it must end without a fault.
pub(super) const TOOLS: &[Row] = &[
    Row {
        name: "slow_compute",
        about: "Takes as long as asked",
        input: seconds,
        run: |asked| Box::pin(computes(asked)),
    },
    Row {
        name: "failing_job",
        about: "A task that ends with an error of the tool; there is no doing it otherwise",
        input: nothing,
        run: |asked| Box::pin(fails(asked)),
    },
    Row {
        name: "protocol_error_job",
        about: "A task that ends with an error of the protocol",
        input: nothing,
        run: |asked| Box::pin(breaks(asked)),
    },
    Row {
        name: "confirm_delete",
        about: "A task that asks before it goes on",
        input: filename,
        run: |asked| Box::pin(deletes(asked)),
    },
    Row {
        name: "multi_input",
        about: "A task that asks two things, each on its own, at the same time",
        input: nothing,
        run: |asked| Box::pin(asks_twice(asked)),
    },
    Row {
        name: "test_tool_with_task",
        about: "Asks first, then goes on as a task",
        input: nothing,
        run: |asked| Box::pin(asks_then_detaches(asked)),
    },
];

async fn computes(asked: Asked) -> Result<Reply, Fault> {
    let seconds = asked.permit.arguments()["seconds"].as_f64().unwrap_or_default();
    if seconds > 0.0 {
        asked.talk.detach();
        asked.takes(Duration::from_secs_f64(seconds)).await?;
    }
    said(format!("Computed for {seconds} s: {}", asked.text("label").unwrap_or("no label")))
}

async fn fails(asked: Asked) -> Result<Reply, Fault> {
    if !asked.talk.takes_tasks() {
        return Err(needs_tasks());
    }
    asked.talk.detach();
    failed("this job always fails")
}

async fn breaks(asked: Asked) -> Result<Reply, Fault> {
    asked.talk.detach();
    let error = json!({ "code": -32603, "message": "this job breaks the protocol" });
    let mut fault = Fault::new(Code::Upstream, "this job breaks the protocol");
    fault.as_sent = Some(tool::json::raw(&error));
    Err(fault)
}

async fn deletes(asked: Asked) -> Result<Reply, Fault> {
    let Some(file) = asked.text("filename") else { return failed("filename is missing: which file?") };
    asked.talk.detach();
    let confirm = fill(&asked.talk, "confirm", &format!("Delete {file}?"), "confirm", "boolean").await?;
    let verb = if confirm == Some(json!(true)) { "Deleted" } else { "Kept" };
    said(format!("{verb} {file}"))
}

async fn asks_twice(asked: Asked) -> Result<Reply, Fault> {
    asked.talk.detach();
    let first = fill(&asked.talk, "first", "First name?", "name", "string");
    let second = fill(&asked.talk, "second", "Second name?", "name", "string");
    let (first, second) = try_join(first, second).await?;
    let name = |given: Option<Value>| given.map_or_else(|| "nobody".to_owned(), |name| aloud(&name));
    said(format!("{} and {}", name(first), name(second)))
}

async fn asks_then_detaches(asked: Asked) -> Result<Reply, Fault> {
    let name = fill(&asked.talk, "user_name", "What is your name?", "name", "string").await?;
    asked.talk.detach();
    match name {
        Some(name) => said(format!("Hello, {}!", aloud(&name))),
        None => failed("nobody said whom to greet"),
    }
}

/// The fault of work that is done as a task or not at all.
fn needs_tasks() -> Fault {
    let text =
        "this is done as a task only; call it from a client that declares io.modelcontextprotocol/tasks";
    let required = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    Fault::new(Code::CannotAsk, text).with_details(json!({ "requiredCapabilities": required }))
}

fn seconds() -> Value {
    json!({
        "type": "object",
        "properties": {
            "seconds": { "type": "number", "minimum": 0, "maximum": 600 },
            "label": { "type": "string" },
        },
        "required": ["seconds"],
    })
}

fn filename() -> Value {
    json!({ "type": "object", "properties": { "filename": { "type": "string" } } })
}
