//! Tools that cannot answer without their caller: they ask for a name, a model's words, roots, once or in rounds.

use serde_json::Value;
use tool::{Fault, Reply};

use super::{
    Asked, Row,
    ask::{all, aloud, fill, form, one, roots, sample},
    failed, nothing, said,
};

/// Their table.
pub(super) const TOOLS: &[Row] = &[
    Row {
        name: "test_missing_capability",
        about: "Needs a caller whose model can be asked",
        input: nothing,
        run: |asked| Box::pin(needs_sampling(asked)),
    },
    Row {
        name: "test_streaming_elicitation",
        about: "Needs a caller who can ask a person, and asks",
        input: nothing,
        run: |asked| Box::pin(streams(asked)),
    },
    Row {
        name: "test_input_required_result_elicitation",
        about: "Asks for a name",
        input: nothing,
        run: |asked| Box::pin(asks_name(asked)),
    },
    Row {
        name: "test_input_required_result_sampling",
        about: "Asks the caller's model",
        input: nothing,
        run: |asked| Box::pin(asks_model(asked)),
    },
    Row {
        name: "test_input_required_result_list_roots",
        about: "Asks for the caller's roots",
        input: nothing,
        run: |asked| Box::pin(asks_roots(asked)),
    },
    Row {
        name: "test_input_required_result_request_state",
        about: "Asks, for a state to be carried",
        input: nothing,
        run: |asked| Box::pin(carries(asked)),
    },
    Row {
        name: "test_input_required_result_multiple_inputs",
        about: "Asks three things at once",
        input: nothing,
        run: |asked| Box::pin(three_at_once(asked)),
    },
    Row {
        name: "test_input_required_result_multi_round",
        about: "Asks twice",
        input: nothing,
        run: |asked| Box::pin(two_rounds(asked)),
    },
    Row {
        name: "test_input_required_result_tampered_state",
        about: "Asks, for a state to be carried that may not be changed",
        input: nothing,
        run: |asked| Box::pin(carries(asked)),
    },
    Row {
        name: "test_input_required_result_capabilities",
        about: "Asks only what the caller can answer",
        input: nothing,
        run: |asked| Box::pin(what_it_can(asked)),
    },
];

/// What a tool answers whose question was not answered by a person who was asked.
const UNANSWERED: &str = "the question was not answered";

async fn needs_sampling(asked: Asked) -> Result<Reply, Fault> {
    asked.talk.can_ask(&sample("sample", "Say a word", 10))?;
    said("The caller's model can be asked")
}

async fn streams(asked: Asked) -> Result<Reply, Fault> {
    let ok = fill(&asked.talk, "confirm", "Shall this go on?", "ok", "boolean").await?;
    heard(ok, |ok| format!("The user said {ok}"))
}

async fn asks_name(asked: Asked) -> Result<Reply, Fault> {
    let name = fill(&asked.talk, "user_name", "What is your name?", "name", "string").await?;
    heard(name, |name| format!("Hello, {name}!"))
}

async fn asks_model(asked: Asked) -> Result<Reply, Fault> {
    let question = sample("capital_question", "What is the capital of France?", 100);
    let answer = one(&asked.talk, question).await?;
    said(aloud(&answer["content"]["text"]))
}

async fn asks_roots(asked: Asked) -> Result<Reply, Fault> {
    let answer = one(&asked.talk, roots("client_roots")).await?;
    said(format!("The caller's roots: {}", answer["roots"]))
}

async fn carries(asked: Asked) -> Result<Reply, Fault> {
    let ok = fill(&asked.talk, "confirm", "Please confirm", "ok", "boolean").await?;
    heard(ok, |_| "state-ok".to_owned())
}

async fn three_at_once(asked: Asked) -> Result<Reply, Fault> {
    let questions = vec![
        form("user_name", "What is your name?", "name", "string"),
        sample("greeting", "Generate a greeting", 50),
        roots("client_roots"),
    ];
    let answers = all(&asked.talk, questions).await?;
    let [name, greeting, roots] = answers.as_slice() else { return failed(UNANSWERED) };
    let (name, greeting) = (aloud(&name["content"]["name"]), aloud(&greeting["content"]["text"]));
    said(format!("{greeting} {name}, from {}", roots["roots"]))
}

async fn two_rounds(asked: Asked) -> Result<Reply, Fault> {
    let name = fill(&asked.talk, "step1", "Step 1: What is your name?", "name", "string").await?;
    let Some(name) = name else { return failed(UNANSWERED) };
    let color = fill(&asked.talk, "step2", "Step 2: What is your favorite color?", "color", "string").await?;
    heard(color, |color| format!("{} likes {color}", aloud(&name)))
}

async fn what_it_can(asked: Asked) -> Result<Reply, Fault> {
    let all_of_them = [
        sample("sample", "Say a word", 10),
        form("form", "What is your name?", "name", "string"),
        roots("roots"),
    ];
    let questions: Vec<_> = all_of_them.into_iter().filter(|q| asked.talk.could_ask(q)).collect();
    if questions.is_empty() {
        return said("The caller can answer nothing");
    }
    let answers = all(&asked.talk, questions).await?;
    said(format!("The caller answered {} questions", answers.len()))
}

/// What a person filled in, said in words.
fn heard(value: Option<Value>, words: impl FnOnce(String) -> String) -> Result<Reply, Fault> {
    match value {
        Some(value) => said(words(aloud(&value))),
        None => failed(UNANSWERED),
    }
}
