use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tool::{
    Breaks, ConfigFault, Fault, Kind, Outcome, Permit, Prompt, PromptArgument, Provider, Purpose, Reply,
    Talk, Tool, ToolName, json::closed_object,
};

use super::{ArgumentConfig, Config, PromptConfig, Role, SOURCE};
use crate::{
    choices::{Choices, Offers, complete},
    content,
    faults::Faults,
    pattern::{Pattern, is_name},
    shared, too_large,
};

/// The prompts that are declared.
pub(super) struct Room {
    tools: Arc<[Arc<Tool>]>,
    listed: Arc<[Arc<Prompt>]>,
    /// By the name of its tool.
    prompts: HashMap<String, Filling>,
}

/// A prompt that can be filled in.
struct Filling {
    name: Arc<str>,
    about: Option<Arc<str>>,
    messages: Vec<(Role, Pattern)>,
    offers: Offers,
}

/// The room of a section.
///
/// Faults: everything that is wrong with the section.
pub(super) fn gather(config: &Config) -> Result<Room, Vec<ConfigFault>> {
    let mut faults = Faults::default();
    let (mut tools, mut listed, mut prompts) = (Vec::new(), Vec::new(), HashMap::new());
    for (name, prompt) in &config.0 {
        let filling = filling(&mut faults, name, prompt);
        let Some(tool) = tool_name(&mut faults, name) else { continue };
        tools.push(Arc::new(governing(tool.clone(), name, prompt)));
        listed.push(Arc::new(listing(tool.clone(), name, prompt)));
        prompts.insert(tool.to_string(), filling);
    }
    if !faults.0.is_empty() {
        return Err(faults.0);
    }
    Ok(Room { tools: tools.into(), listed: listed.into(), prompts })
}

fn tool_name(faults: &mut Faults, name: &str) -> Option<ToolName> {
    let tool = ToolName::parse(&format!("prompt_{name}")).ok().filter(|_| !name.is_empty());
    if tool.is_none() {
        let text = format!("{name:?} is no name of a prompt");
        faults.add_with(&[SOURCE, name], text, "use 1 to 57 letters, digits, `_` or `-`");
    }
    tool
}

fn filling(faults: &mut Faults, name: &str, prompt: &PromptConfig) -> Filling {
    let mut offers = Vec::new();
    for (argument, config) in prompt.arguments.iter() {
        let at = [SOURCE, name, "arguments", argument];
        if !is_name(argument) {
            let text = format!("{argument:?} is no name of an argument");
            faults.add_with(&at, text, "use 1 to 64 letters, digits, `_`, `.` or `-`");
        }
        let choices = Choices::new(faults, &at, config.values.as_ref(), config.complete.as_ref());
        offers.push((argument.clone(), choices));
    }
    let known: Vec<&str> = prompt.arguments.keys().collect();
    let mut messages = Vec::new();
    for (i, message) in prompt.messages.iter().enumerate() {
        let at = [SOURCE, name, "messages", &i.to_string(), "text"];
        let Some(pattern) = faults.take(&at, Pattern::parse(&message.text)) else { continue };
        for gap in pattern.gaps().filter(|gap| !known.contains(gap)) {
            faults.unknown(&at, "argument", gap, &known);
        }
        messages.push((message.role, pattern));
    }
    Filling { name: name.into(), about: shared(prompt.description.as_ref()), messages, offers }
}

/// The tool that stands for the prompt on the road.
fn governing(tool: ToolName, name: &str, prompt: &PromptConfig) -> Tool {
    let members: Map<String, Value> =
        prompt.arguments.iter().map(|(name, argument)| (name.clone(), schema(argument))).collect();
    let required: Vec<&str> = prompt
        .arguments
        .iter()
        .filter(|(_, argument)| argument.required)
        .map(|(name, _)| name.as_str())
        .collect();
    let about = match &prompt.description {
        Some(about) => about.clone(),
        None => format!("Fills in the prompt {name}."),
    };
    let input = closed_object(&Value::Object(members), &required);
    let mut tool = Tool::reading(tool, SOURCE, &about, input);
    tool.title = shared(prompt.title.as_ref());
    tool.purpose = Purpose::Prompt;
    tool.breaks = Breaks::Never;
    tool
}

fn schema(argument: &ArgumentConfig) -> Value {
    let mut schema = json!({ "type": "string", "maxLength": argument.chars_max });
    if let Some(about) = &argument.description {
        schema["description"] = json!(about);
    }
    if let Some(values) = &argument.values {
        schema["enum"] = json!(values);
    }
    schema
}

fn listing(tool: ToolName, name: &str, prompt: &PromptConfig) -> Prompt {
    let argument = |(name, argument): (&String, &ArgumentConfig)| PromptArgument {
        name: name.as_str().into(),
        about: shared(argument.description.as_ref()),
        required: argument.required,
    };
    Prompt {
        name: name.into(),
        title: shared(prompt.title.as_ref()),
        about: shared(prompt.description.as_ref()),
        arguments: prompt.arguments.iter().map(argument).collect(),
        tool,
        as_sent: None,
    }
}

#[async_trait]
impl Provider for Room {
    fn name(&self) -> &str {
        SOURCE
    }

    fn tools(&self) -> Arc<[Arc<Tool>]> {
        Arc::clone(&self.tools)
    }

    fn prompts(&self) -> Arc<[Arc<Prompt>]> {
        Arc::clone(&self.listed)
    }

    fn target(&self, tool: &Tool, _arguments: &mut Value) -> Result<String, Fault> {
        Ok(format!("prompt:{}", self.find(tool)?.name))
    }

    async fn run(&self, permit: Permit, talk: Talk) -> Result<Reply, Fault> {
        let prompt = self.find(permit.tool())?;
        match &permit.call().kind {
            Kind::GetPrompt { .. } => {
                Ok(Reply::Done(prompt.fill(permit.arguments(), permit.tool().bytes_max)?))
            }
            Kind::Complete { .. } => Ok(Reply::Done(complete(&permit, &talk, &prompt.offers).await?)),
            other => Err(Fault::internal(format!("{} came to a prompt", other.method()))),
        }
    }
}

impl Room {
    fn find(&self, tool: &Tool) -> Result<&Filling, Fault> {
        let found = self.prompts.get(tool.name.as_str());
        found.ok_or_else(|| Fault::internal(format!("{} is no tool of {SOURCE}", tool.name)))
    }
}

impl Filling {
    /// The prompt with these arguments (`GetPromptResult`).
    ///
    /// Fault: `BadArguments` where it would be larger than `bytes_max`.
    fn fill(&self, arguments: &Value, bytes_max: usize) -> Result<Outcome, Fault> {
        let given = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default();
        let (mut messages, mut left) = (Vec::new(), bytes_max);
        for (role, text) in &self.messages {
            let text = text.fill(given, left).ok_or_else(|| too_large(bytes_max, ""))?;
            left -= text.len();
            messages.push(json!({ "role": role, "content": { "type": "text", "text": text } }));
        }
        let mut result = Map::new();
        if let Some(about) = &self.about {
            result.insert("description".to_owned(), json!(about));
        }
        result.insert("messages".to_owned(), Value::Array(messages));
        content(&Value::Object(result), bytes_max, "")
    }
}
