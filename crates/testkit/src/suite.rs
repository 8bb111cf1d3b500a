//! A room with everything that the official MCP conformance suite asks of a server: its tools, prompts and resources,
//! by the names and with the words it wants. Behind a face of MCP, whatever the suite finds wrong is the face's.
//!
//! It is the twin of the `fixture` server, written over the nouns of the house instead of the protocol's: a tool asks
//! by [`Talk::ask`] and never learns whether its caller is of the one era or the other.

mod ask;
mod content;
mod input;
mod jobs;
mod prompts;
mod resources;
mod talk;
mod trigger;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tool::{
    Breaks, Code, Fault, Kind, Notice, Outcome, Permit, Prompt, Provider, Purpose, Reply, Resource, Talk,
    Tool, ToolName,
};

/// Its name, and the source of all its tools.
pub const NAME: &str = "suite";

/// The resource that [`Notice::Resource`] is told of.
pub const WATCHED: &str = "test://watched-resource";

/// The longest that anything here takes.
const TIME_MAX: Duration = Duration::from_secs(600);

/// Where the room tells that something changed; a gate's `notify`.
pub type Tell = Arc<dyn Fn(Notice) + Send + Sync>;

/// The room.
pub struct Suite {
    tools: Arc<[Arc<Tool>]>,
    tell: Tell,
}

/// A tool: how it is listed, and what it does.
struct Row {
    name: &'static str,
    about: &'static str,
    /// The schema of its arguments.
    input: fn() -> Value,
    run: fn(Asked) -> Ending,
}

/// One call.
struct Asked {
    permit: Permit,
    talk: Talk,
    tell: Tell,
}

/// What comes of a call.
type Ending = BoxFuture<'static, Result<Reply, Fault>>;

impl Suite {
    /// The room; its triggers tell by `tell`.
    #[must_use]
    pub fn new(tell: Tell) -> Arc<Self> {
        let tools = rows().map(listed).chain(prompts::governing()).chain(resources::governing());
        Arc::new(Self { tools: tools.map(Arc::new).collect(), tell })
    }
}

#[async_trait]
impl Provider for Suite {
    fn name(&self) -> &str {
        NAME
    }

    fn tools(&self) -> Arc<[Arc<Tool>]> {
        Arc::clone(&self.tools)
    }

    fn prompts(&self) -> Arc<[Arc<Prompt>]> {
        prompts::all()
    }

    fn resources(&self) -> Arc<[Arc<Resource>]> {
        resources::all()
    }

    fn templates(&self) -> Arc<[Arc<Resource>]> {
        resources::templates()
    }

    fn reads(&self, uri: &str) -> Option<ToolName> {
        resources::reads(uri)
    }

    fn target(&self, tool: &Tool, arguments: &mut Value) -> Result<String, Fault> {
        match arguments["uri"].as_str() {
            Some(uri) if tool.purpose == Purpose::Resource => Ok(format!("{NAME}:{uri}")),
            _ => Ok(NAME.to_owned()),
        }
    }

    async fn run(&self, permit: Permit, talk: Talk) -> Result<Reply, Fault> {
        let asked = Asked { permit, talk, tell: Arc::clone(&self.tell) };
        if let Kind::Complete { .. } = asked.permit.call().kind {
            return prompts::complete(&asked);
        }
        match asked.permit.tool().purpose {
            Purpose::Call => match rows().find(|row| row.name == asked.name()) {
                Some(row) => (row.run)(asked).await,
                None => Err(nothing_of(asked.name())),
            },
            Purpose::Prompt => prompts::get(&asked).await,
            Purpose::Resource => resources::read(asked.text("uri").unwrap_or_default()),
        }
    }
}

impl Asked {
    /// The name of the tool.
    fn name(&self) -> &str {
        self.permit.tool().name.as_str()
    }

    /// A text among the arguments.
    fn text(&self, name: &str) -> Option<&str> {
        self.permit.arguments()[name].as_str()
    }

    /// Takes so long.
    ///
    /// Fault: `Cancelled` where the call is asked to stop meanwhile.
    async fn takes(&self, time: Duration) -> Result<(), Fault> {
        tokio::select! {
            () = self.talk.stop().asked() => Err(Fault::new(Code::Cancelled, "it was stopped before its time")),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }
}

/// All tools, a table a family.
fn rows() -> impl Iterator<Item = &'static Row> {
    [content::TOOLS, talk::TOOLS, input::TOOLS, jobs::TOOLS, trigger::TOOLS].into_iter().flatten()
}

/// A tool as it is listed. It says that it reads: whatever its name says, nothing here changes anything.
fn listed(row: &Row) -> Tool {
    let mut tool = tool(row.name, row.about, (row.input)());
    if row.name == content::EVERY_KEYWORD {
        let as_sent = json!({ "name": row.name, "description": row.about, "inputSchema": *tool.input });
        tool.as_sent = Some(tool::json::raw(&as_sent).into());
    }
    tool
}

/// A tool with this schema of its arguments. Failing is what some of them are for, so nothing is left alone for it.
fn tool(name: &str, about: &str, input: Value) -> Tool {
    Tool { breaks: Breaks::Never, time_max: TIME_MAX, ..Tool::reading(tool_name(name), NAME, about, input) }
}

fn tool_name(name: &str) -> ToolName {
    ToolName::parse(name).expect("the names of the suite are names of tools")
}

/// The schema of a tool without arguments.
fn nothing() -> Value {
    json!({ "type": "object", "properties": {} })
}

/// Done, with a result as MCP has it.
fn done(result: &Value) -> Result<Reply, Fault> {
    Ok(Reply::Done(Outcome::content(tool::json::raw(result).into())))
}

/// Done, with these blocks of content.
fn contents(blocks: &Value) -> Result<Reply, Fault> {
    done(&json!({ "content": blocks }))
}

/// Done, with one text.
fn said(text: impl Into<String>) -> Result<Reply, Fault> {
    contents(&json!([words(text)]))
}

/// Done, with a text that says what the tool could not do.
fn failed(text: impl Into<String>) -> Result<Reply, Fault> {
    done(&json!({ "content": [words(text)], "isError": true }))
}

/// A block of text.
fn words(text: impl Into<String>) -> Value {
    json!({ "type": "text", "text": text.into() })
}

/// The end of a call that takes no time.
fn at_once(end: Result<Reply, Fault>) -> Ending {
    Box::pin(std::future::ready(end))
}

fn nothing_of(name: &str) -> Fault {
    Fault::not_found(format!("there is no {name:?} in the suite"))
}

#[cfg(test)]
mod tests;
