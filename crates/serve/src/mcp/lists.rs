//! What there is, as the protocol lists it.

use ::mcp::{Object, Splice, Version, WireError, page::Pager};
use serde_json::{Map, Value, json, value::RawValue};
use tool::{Approval, Effect, Prompt, Repeats, Resource, Tool};

use super::{Mcp, Who, shape::LISTED};

impl Mcp {
    /// One page of a list: `{<member>: [..], nextCursor?}`.
    pub(crate) fn list(
        &self,
        who: &Who,
        version: Version,
        method: &str,
        params: &Object<'_>,
    ) -> Result<Box<RawValue>, WireError> {
        let caller = &who.caller;
        let (member, items): (_, Vec<(String, Box<RawValue>)>) = match method {
            "tools/list" => {
                let tools = self.road.visible(caller);
                ("tools", tools.iter().map(|tool| (tool.name.to_string(), describe(tool, version))).collect())
            }
            "prompts/list" => {
                let prompts = self.road.prompts(caller);
                (
                    "prompts",
                    prompts.iter().map(|prompt| (prompt.name.to_string(), of_prompt(prompt))).collect(),
                )
            }
            "resources/list" => {
                let resources = self.road.resources(caller);
                let described = resources.iter().map(|one| (one.uri.to_string(), of_resource(one, "uri")));
                ("resources", described.collect())
            }
            _ => {
                let templates = self.road.templates(caller);
                let described =
                    templates.iter().map(|one| (one.uri.to_string(), of_resource(one, "uriTemplate")));
                ("resourceTemplates", described.collect())
            }
        };
        let names: Vec<&str> = items.iter().map(|(name, _)| name.as_str()).collect();
        let pager =
            Pager { seals: &self.seals, principal: &caller.principal, list: method, now: self.clock.now() };
        let cursor = ::mcp::page::cursor_of(params)?;
        let page = pager.page(&names, cursor.as_deref(), self.page_size())?;
        let mut out = Vec::from(&b"{"[..]);
        member.splice(&mut out);
        out.extend_from_slice(b":[");
        for (i, (_, item)) in items[page.range].iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            item.splice(&mut out);
        }
        out.push(b']');
        if let Some(next) = page.next {
            out.extend_from_slice(b",\"nextCursor\":");
            next.splice(&mut out);
        }
        out.push(b'}');
        let text = String::from_utf8(out).unwrap_or_default();
        let raw = RawValue::from_string(text).map_err(|e| WireError::internal(e.to_string()))?;
        Ok(self.mould(version).dress(&raw, Some(LISTED)))
    }
}

/// A tool. One that came from elsewhere is passed on as it was described there.
fn describe(tool: &Tool, version: Version) -> Box<RawValue> {
    if let Some(sent) = &tool.as_sent {
        return RawValue::to_owned(sent);
    }
    let mut shown =
        json!({ "name": tool.name, "description": about(tool), "inputSchema": object_schema(&tool.input) });
    if version.has(::mcp::Feature::Titles)
        && let Some(title) = &tool.title
    {
        shown["title"] = json!(title);
    }
    if version.has(::mcp::Feature::StructuredContent)
        && tool.approval == Approval::NotNeeded
        && let Some(output) = tool.output.as_deref().filter(|output| output["type"] == "object")
    {
        shown["outputSchema"] = output.clone();
    }
    shown["annotations"] = annotations(tool);
    let mut meta = Map::new();
    if let Some(version) = &tool.version {
        meta.insert("portcullis/version".to_owned(), json!(version));
    }
    if let Some(deprecation) = &tool.deprecation {
        meta.insert("portcullis/deprecated".to_owned(), json!(deprecation));
    }
    if !meta.is_empty() {
        shown["_meta"] = Value::Object(meta);
    }
    tool::json::raw(&shown)
}

fn about(tool: &Tool) -> String {
    match &tool.deprecation {
        None => tool.about.to_string(),
        Some(end) => {
            let instead = end.instead.as_ref().map(|name| format!("; use {name}")).unwrap_or_default();
            format!("{} Deprecated, goes away on {}{instead}.", tool.about, end.removal)
        }
    }
}

/// The schema, with the type that the protocol wants said.
fn object_schema(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(members) = schema.as_object_mut()
        && !members.contains_key("type")
    {
        members.insert("type".to_owned(), json!("object"));
    }
    schema
}

/// Hints, from what the gate itself goes by.
fn annotations(tool: &Tool) -> Value {
    json!({
        "readOnlyHint": tool.effect == Effect::Reads,
        "destructiveHint": tool.effect == Effect::Destroys,
        "idempotentHint": tool.repeats == Repeats::Safe,
        "openWorldHint": tool.labels.iter().any(|label| &**label == "egress"),
    })
}

fn of_prompt(prompt: &Prompt) -> Box<RawValue> {
    if let Some(sent) = &prompt.as_sent {
        return RawValue::to_owned(sent);
    }
    let arguments = prompt.arguments.iter().map(|argument| {
        let mut shown = json!({ "name": argument.name, "required": argument.required });
        put(&mut shown, "description", argument.about.as_deref());
        shown
    });
    let mut shown = json!({ "name": prompt.name });
    put(&mut shown, "title", prompt.title.as_deref());
    put(&mut shown, "description", prompt.about.as_deref());
    if !prompt.arguments.is_empty() {
        shown["arguments"] = arguments.collect();
    }
    tool::json::raw(&shown)
}

fn of_resource(resource: &Resource, at: &str) -> Box<RawValue> {
    if let Some(sent) = &resource.as_sent {
        return RawValue::to_owned(sent);
    }
    let mut shown = json!({ at: resource.uri, "name": resource.name });
    put(&mut shown, "title", resource.title.as_deref());
    put(&mut shown, "description", resource.about.as_deref());
    put(&mut shown, "mimeType", resource.mime.as_deref());
    if let Some(size) = resource.size {
        shown["size"] = json!(size);
    }
    tool::json::raw(&shown)
}

fn put(shown: &mut Value, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        shown[name] = json!(text);
    }
}
