//! The prompts, each with a tool of its own name that stands for it on the road.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tool::{Fault, Prompt, PromptArgument, Purpose, Reply, Tool};

use super::{
    Asked,
    ask::{aloud, fill},
    content::{picture, resource},
    done, nothing_of, tool, tool_name, words,
};

/// A prompt as it is listed: its name, what it is for, its gaps.
type Listed = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const PROMPTS: &[Listed] = &[
    ("test_simple_prompt", "A prompt without arguments", &[]),
    (
        "test_prompt_with_arguments",
        "A prompt that repeats its two arguments",
        &[("arg1", "The first one"), ("arg2", "The second one")],
    ),
    ("test_prompt_with_embedded_resource", "A prompt that carries a resource", &[("resourceUri", "Its URI")]),
    ("test_prompt_with_image", "A prompt that carries a picture", &[]),
    ("test_input_required_result_prompt", "A prompt that asks for its context first", &[]),
];

/// What an argument may be completed to.
const WORDS: &[&str] = &["paris", "park", "party", "test", "tester"];

/// All prompts.
pub(super) fn all() -> Arc<[Arc<Prompt>]> {
    PROMPTS.iter().map(|listed| Arc::new(prompt(listed))).collect()
}

/// The tools that stand for them.
pub(super) fn governing() -> impl Iterator<Item = Tool> {
    PROMPTS
        .iter()
        .map(|&(name, about, gaps)| Tool { purpose: Purpose::Prompt, ..tool(name, about, schema(gaps)) })
}

/// One prompt.
pub(super) async fn get(asked: &Asked) -> Result<Reply, Fault> {
    let argument = |name: &str| asked.text(name).unwrap_or_default();
    match asked.name() {
        "test_simple_prompt" => messages(&[words("This is a simple prompt for testing.")]),
        "test_prompt_with_arguments" => {
            let (arg1, arg2) = (argument("arg1"), argument("arg2"));
            messages(&[words(format!("Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))])
        }
        "test_prompt_with_embedded_resource" => {
            let text = "Embedded resource content for testing.";
            let carried = resource(argument("resourceUri"), "text/plain", text);
            messages(&[carried, words("Please process the embedded resource above.")])
        }
        "test_prompt_with_image" => messages(&[picture(), words("Please analyze the image above.")]),
        "test_input_required_result_prompt" => with_context(asked).await,
        name => Err(nothing_of(name)),
    }
}

/// What an argument could be, out of a few words.
pub(super) fn complete(asked: &Asked) -> Result<Reply, Fault> {
    let begun = asked.permit.arguments()["argument"]["value"].as_str().unwrap_or_default();
    let values: Vec<_> = WORDS.iter().filter(|word| word.starts_with(begun)).collect();
    done(&json!({ "completion": { "values": values, "total": values.len(), "hasMore": false } }))
}

async fn with_context(asked: &Asked) -> Result<Reply, Fault> {
    let question = "What context should the prompt use?";
    let context = fill(&asked.talk, "user_context", question, "context", "string").await?;
    let context = context.map_or_else(|| "nothing".to_owned(), |context| aloud(&context));
    messages(&[words(format!("Answer with this in mind: {context}"))])
}

fn prompt(&(name, about, gaps): &Listed) -> Prompt {
    let gap = |&(name, about): &(&str, &str)| PromptArgument {
        name: name.into(),
        about: Some(about.into()),
        required: true,
    };
    Prompt {
        name: name.into(),
        title: None,
        about: Some(about.into()),
        arguments: gaps.iter().map(gap).collect(),
        tool: tool_name(name),
        as_sent: None,
    }
}

fn schema(gaps: &[(&str, &str)]) -> Value {
    let properties: Map<String, Value> =
        gaps.iter().map(|&(name, _)| (name.to_owned(), json!({ "type": "string" }))).collect();
    let required: Vec<_> = gaps.iter().map(|(name, _)| name).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn messages(contents: &[Value]) -> Result<Reply, Fault> {
    let messages: Vec<_> =
        contents.iter().map(|content| json!({ "role": "user", "content": content })).collect();
    done(&json!({ "messages": messages }))
}
