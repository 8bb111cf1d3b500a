//! What a server offers, in our nouns. One item that does not fit spoils nothing: it is left out, counted and logged.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use mcp::{Edit, Object, mirror::Mirrors, template::Template};
use serde_json::{Value, json, value::RawValue};
use tool::{
    Effect, Hygiene, Prompt, PromptArgument, Purpose, Repeats, Resource, Tool, ToolName,
    json::{closed_object, parse},
};

use crate::{
    config::ToolOverride,
    filter::Filter,
    lists::Listed,
    names::Names,
    pinning::{Held, Offered, Pinning, Verdict},
    suspicion::{LABEL, Suspicion},
};

/// The largest description of one item that is taken, in bytes.
const ITEM_BYTES_MAX: usize = 256 * 1024;
/// The most of a description that stands in our own documentation, in characters.
const ABOUT_CHARS_MAX: usize = 4_096;

/// How a server's things become ours.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Its name in the configuration.
    pub(crate) name: Arc<str>,
    /// What its tools talk to: `mcp:<name>`.
    pub(crate) source: Arc<str>,
    pub(crate) prefix: String,
    /// What the operator says of single tools, by their names there.
    pub(crate) overrides: BTreeMap<String, ToolOverride>,
    pub(crate) filter: Filter,
    pub(crate) hygiene: Hygiene,
    pub(crate) time_max: Duration,
    pub(crate) bytes_max: usize,
    /// True where calls repeat arguments in headers, so that what a tool says of them matters.
    pub(crate) mirrors: bool,
}

impl Shape {
    /// Whether a tool of this name may come to be offered.
    pub(crate) fn may_name(&self, name: &str) -> bool {
        let (prompt, reader) = (format!("prompt_{}", self.prefix), format!("resource_{}", self.name));
        let is_given = self.overrides.values().any(|tool| tool.name.as_deref() == Some(name));
        is_given || name.starts_with(&self.prefix) || name.starts_with(&prompt) || name == reader
    }

    /// What a tool is to be called.
    fn wanted(&self, origin: &str) -> String {
        let given = self.overrides.get(origin).and_then(|tool| tool.name.clone());
        given.unwrap_or_else(|| format!("{}{origin}", self.prefix))
    }
}

/// What a server offers.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    /// Its tools, and those that stand for its prompts and its resources.
    pub(crate) tools: Vec<Arc<Tool>>,
    pub(crate) prompts: Vec<Arc<Prompt>>,
    pub(crate) resources: Vec<Arc<Resource>>,
    pub(crate) templates: Vec<Arc<Resource>>,
    /// Which arguments of which tool are repeated in headers, by its name there.
    mirrors: HashMap<Arc<str>, Arc<Mirrors>>,
    uris: HashSet<Arc<str>>,
    patterns: Vec<Pattern>,
    /// The tool that stands for the resources.
    reader: Option<ToolName>,
    /// How many items were left out.
    pub(crate) left_out: usize,
    /// Tools that are held back, since they are not what they were.
    pub(crate) held: Vec<Held>,
    /// Tools that are taken now.
    pub(crate) fresh: Vec<Offered>,
    /// Tools whose description says something that is meant for a model, by their names there, and what.
    pub(crate) suspicious: BTreeMap<String, Vec<&'static str>>,
}

/// What URIs a template stands for.
#[derive(Debug)]
enum Pattern {
    Template(Template),
    /// One that we do not understand: whatever begins like it.
    Start(String),
}

impl Catalogue {
    /// The nouns for what was listed.
    pub(crate) fn build(shape: &Shape, listed: &Listed, pinning: &Pinning) -> Self {
        let mut built = Builder { shape, pinning, names: Names::default(), catalogue: Self::default() };
        built.tools(&listed.tools);
        built.prompts(&listed.prompts);
        built.resources(listed);
        built.catalogue
    }

    /// The tool that stands for the resource with this URI, or for this template.
    pub(crate) fn reads(&self, uri: &str) -> Option<ToolName> {
        let is_ours = self.uris.contains(uri) || self.patterns.iter().any(|pattern| pattern.matches(uri));
        self.reader.clone().filter(|_| is_ours)
    }

    /// Which arguments of a tool are repeated in headers, by its name there.
    pub(crate) fn mirrors(&self, origin: &str) -> Option<&Arc<Mirrors>> {
        self.mirrors.get(origin)
    }

    /// Whether two servers, or one at two times, offer the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let tools = |one: &Self| {
            one.tools.iter().map(|tool| (tool.name.clone(), text(&tool.as_sent))).collect::<Vec<_>>()
        };
        let prompts = |one: &Self| one.prompts.iter().map(|prompt| text(&prompt.as_sent)).collect::<Vec<_>>();
        let resources = |one: &Self| {
            one.resources
                .iter()
                .chain(&one.templates)
                .map(|resource| text(&resource.as_sent))
                .collect::<Vec<_>>()
        };
        tools(self) == tools(other) && prompts(self) == prompts(other) && resources(self) == resources(other)
    }
}

fn text(raw: &Option<Arc<RawValue>>) -> Option<String> {
    raw.as_ref().map(|raw| raw.get().to_owned())
}

impl Pattern {
    fn of(template: &str) -> Option<Self> {
        if let Ok(parsed) = Template::parse(template) {
            return Some(Self::Template(parsed));
        }
        // Without a scheme it could be anything.
        let start = template.split('{').next().unwrap_or_default();
        let has_scheme = start.find(':').is_some_and(|at| at > 0);
        has_scheme.then(|| Self::Start(start.to_owned()))
    }

    fn matches(&self, uri: &str) -> bool {
        match self {
            Self::Template(template) => template.matches(uri).is_some(),
            Self::Start(start) => uri.starts_with(start.as_str()),
        }
    }
}

struct Builder<'a> {
    shape: &'a Shape,
    pinning: &'a Pinning,
    names: Names,
    catalogue: Catalogue,
}

impl Builder<'_> {
    fn tools(&mut self, listed: &[Box<RawValue>]) {
        let items = self.read_all("tool", "name", listed);
        let (offered, _): (Vec<_>, Vec<_>) =
            items.into_iter().partition(|(name, _)| self.shape.filter.admits(name));
        let wanted: Vec<String> = offered.iter().map(|(name, _)| self.shape.wanted(name)).collect();
        let names = self.names.assign(&wanted);
        for ((origin, item), name) in offered.iter().zip(names) {
            match name.ok_or_else(twice).and_then(|name| self.tool(origin, item, &name)) {
                Ok(tool) => self.judge(origin, item, tool),
                Err(why) => self.leave_out("tool", origin, &why),
            }
        }
    }

    /// Offers a tool, unless it is to be held back.
    fn judge(&mut self, origin: &str, item: &Object<'_>, mut tool: Tool) {
        let catalogue = &mut self.catalogue;
        let definition = parse(item.raw().get().as_bytes());
        if let Ok(definition) = &definition {
            let suspicion = Suspicion::of_tool(origin, definition);
            if !suspicion.is_none() {
                tool.labels.push(LABEL.into());
                catalogue.suspicious.insert(origin.to_owned(), suspicion.words());
            }
        }
        match definition.map(|definition| self.pinning.judge(origin, &definition)) {
            Ok(Verdict::Taken) => catalogue.tools.push(Arc::new(tool)),
            Ok(Verdict::Fresh(offered)) => {
                catalogue.fresh.push(offered);
                catalogue.tools.push(Arc::new(tool));
            }
            Ok(Verdict::Held(held)) => catalogue.held.push(*held),
            Err(e) => self.leave_out("tool", origin, &format!("it is {e}")),
        }
    }

    fn tool(&mut self, origin: &str, item: &Object<'_>, name: &ToolName) -> Result<Tool, String> {
        let schema = item.get("inputSchema").ok_or("it has no inputSchema")?;
        let input = parse(schema.as_bytes()).map_err(|e| format!("its inputSchema is {e}"))?;
        if !input.is_object() {
            return Err("its inputSchema is no object".to_owned());
        }
        let origin: Arc<str> = origin.into();
        if self.shape.mirrors {
            let mirrors = Mirrors::of(&input).map_err(|e| e.to_string())?;
            self.catalogue.mirrors.insert(Arc::clone(&origin), Arc::new(mirrors));
        }
        let annotations = item.object("annotations").ok().flatten();
        let hint = |name: &str| annotations.as_ref().and_then(|hints| hints.get(name));
        let title = item.text("title").ok().flatten();
        let title = title.or_else(|| annotations.as_ref()?.text("title").ok().flatten());
        let effect = self.shape.filter.effect(&origin, hint("destructiveHint") == Some("true"));
        let mut tool = self.base(name.clone(), item, input);
        tool.title = title.map(|title| excerpt(&title).into());
        tool.effect = effect;
        tool.repeats = if effect == Effect::Reads { Repeats::Safe } else { Repeats::Counts };
        let given = self.shape.overrides.get(&*origin).and_then(|tool| tool.description.as_deref());
        tool.as_sent = Some(match given {
            Some(about) => {
                tool.about = about.into();
                Edit::of(item).set("name", &name.as_str()).set("description", &about).to_raw().into()
            }
            None => renamed(item, name.as_str()),
        });
        tool.origin = Some(origin);
        Ok(tool)
    }

    fn prompts(&mut self, listed: &[Box<RawValue>]) {
        let items = self.read_all("prompt", "name", listed);
        // Prompts have names of their own: one may be called as a tool is.
        let wanted: Vec<String> =
            items.iter().map(|(name, _)| format!("{}{name}", self.shape.prefix)).collect();
        let names = Names::default().assign(&wanted);
        let governing: Vec<String> = names.iter().map(|name| format!("prompt_{}", shown(name))).collect();
        let governing = self.names.assign(&governing);
        for (((origin, item), name), tool) in items.iter().zip(names).zip(governing) {
            match name.zip(tool).ok_or_else(twice) {
                Ok((name, tool)) => self.prompt(origin, item, &name, tool),
                Err(why) => self.leave_out("prompt", origin, &why),
            }
        }
    }

    fn prompt(&mut self, origin: &str, item: &Object<'_>, name: &ToolName, tool: ToolName) {
        let arguments = arguments(item);
        let properties: serde_json::Map<String, Value> = arguments
            .iter()
            .map(|argument| {
                let about = argument.about.as_deref().unwrap_or_default();
                (argument.name.to_string(), json!({ "type": "string", "description": about }))
            })
            .collect();
        let required: Vec<&str> =
            arguments.iter().filter(|argument| argument.required).map(|argument| &*argument.name).collect();
        let input = json!({ "type": "object", "properties": properties, "required": required });
        let as_sent = renamed(item, name.as_str());
        let mut governing = self.base(tool.clone(), item, input);
        governing.purpose = Purpose::Prompt;
        governing.origin = Some(origin.into());
        governing.as_sent = Some(Arc::clone(&as_sent));
        self.catalogue.tools.push(Arc::new(governing));
        let text = |name: &str| item.text(name).ok().flatten();
        self.catalogue.prompts.push(Arc::new(Prompt {
            name: name.shared(),
            title: text("title").map(|title| excerpt(&title).into()),
            about: text("description").map(|about| excerpt(&about).into()),
            arguments,
            tool,
            as_sent: Some(as_sent),
        }));
    }

    fn resources(&mut self, listed: &Listed) {
        let governing = self.names.assign(&[format!("resource_{}", self.shape.name)]);
        let Some(reader) = governing.into_iter().next().flatten() else { return };
        for (uri, item) in self.read_all("resource", "uri", &listed.resources) {
            let resource = resource(&uri, &item, &reader);
            if self.catalogue.uris.insert(Arc::clone(&resource.uri)) {
                self.catalogue.resources.push(Arc::new(resource));
            } else {
                self.leave_out("resource", &uri, &twice());
            }
        }
        for (uri, item) in self.read_all("resource template", "uriTemplate", &listed.templates) {
            let resource = resource(&uri, &item, &reader);
            if !self.catalogue.uris.insert(Arc::clone(&resource.uri)) {
                self.leave_out("resource template", &uri, &twice());
                continue;
            }
            self.catalogue.patterns.extend(Pattern::of(&uri));
            self.catalogue.templates.push(Arc::new(resource));
        }
        if self.catalogue.uris.is_empty() {
            return;
        }
        let uri = json!({ "uri": { "type": "string", "description": "Which of its resources." } });
        let mut tool = self.base(reader.clone(), &Object::default(), closed_object(&uri, &["uri"]));
        tool.about = format!("Reads the resources of the tool server {:?}.", &*self.shape.name).into();
        tool.purpose = Purpose::Resource;
        // What its name clashes with is nobody's mistake here.
        tool.as_sent = Some(tool::json::raw(&json!({ "name": reader })).into());
        self.catalogue.tools.push(Arc::new(tool));
        self.catalogue.reader = Some(reader);
    }

    /// A reading tool in the bounds of this server.
    fn base(&self, name: ToolName, item: &Object<'_>, input: Value) -> Tool {
        let about = item.text("description").ok().flatten().unwrap_or_default();
        let mut tool = Tool::reading(name, &self.shape.source, &excerpt(&about), input);
        tool.time_max = self.shape.time_max;
        tool.bytes_max = self.shape.bytes_max;
        tool.hygiene = self.shape.hygiene;
        tool
    }

    /// The items that can be read, with what they are known by there.
    fn read_all<'l>(
        &mut self,
        what: &str,
        named_by: &str,
        listed: &'l [Box<RawValue>],
    ) -> Vec<(String, Object<'l>)> {
        let mut items = Vec::new();
        for raw in listed {
            match read(raw, named_by) {
                Ok(item) => items.push(item),
                Err(why) => {
                    self.leave_out(what, &excerpt(&raw.get().chars().take(80).collect::<String>()), &why);
                }
            }
        }
        items
    }

    fn leave_out(&mut self, what: &str, which: &str, why: &str) {
        self.catalogue.left_out += 1;
        let server = &*self.shape.name;
        tracing::warn!(
            server,
            what,
            which,
            why,
            "something that a tool server offers does not fit and is left out"
        );
    }
}

fn read<'l>(raw: &'l RawValue, named_by: &str) -> Result<(String, Object<'l>), String> {
    if raw.get().len() > ITEM_BYTES_MAX {
        return Err(format!("it is described in more than {ITEM_BYTES_MAX} bytes"));
    }
    let item = Object::read_checked(raw).map_err(|e| e.to_string())?;
    let name = item.needed_text(named_by).map_err(|e| e.message)?;
    if name.is_empty() {
        return Err(format!("its {named_by:?} is empty"));
    }
    Ok((name.into_owned(), item))
}

fn arguments(item: &Object<'_>) -> Vec<PromptArgument> {
    let listed: Vec<&RawValue> =
        item.get("arguments").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let argument = |raw: &RawValue| {
        let argument = Object::read(raw).ok()?;
        Some(PromptArgument {
            name: argument.text("name").ok()??.as_ref().into(),
            about: argument.text("description").ok().flatten().map(|about| excerpt(&about).into()),
            required: argument.get("required") == Some("true"),
        })
    };
    listed.into_iter().filter_map(argument).collect()
}

fn resource(uri: &str, item: &Object<'_>, tool: &ToolName) -> Resource {
    let text = |name: &str| item.text(name).ok().flatten();
    Resource {
        uri: uri.into(),
        name: text("name").map_or_else(|| uri.into(), |name| excerpt(&name).into()),
        title: text("title").map(|title| excerpt(&title).into()),
        about: text("description").map(|about| excerpt(&about).into()),
        mime: text("mimeType").map(|mime| excerpt(&mime).into()),
        size: item.get("size").and_then(|size| size.parse().ok()),
        tool: tool.clone(),
        as_sent: Some(item.raw().to_owned().into()),
    }
}

/// The description as it came, under our name; byte for byte where the name is the same.
fn renamed(item: &Object<'_>, name: &str) -> Arc<RawValue> {
    let is_same = item.text("name").is_ok_and(|old| old.as_deref() == Some(name));
    if is_same { item.raw().to_owned().into() } else { Edit::of(item).set("name", &name).to_raw().into() }
}

fn shown(name: &Option<ToolName>) -> &str {
    name.as_ref().map_or("", ToolName::as_str)
}

fn twice() -> String {
    "it stands twice".to_owned()
}

/// The beginning of a text.
fn excerpt(text: &str) -> String {
    text.chars().take(ABOUT_CHARS_MAX).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn raw(value: &Value) -> Box<RawValue> {
        tool::json::raw(value)
    }

    fn built(prefix: &str, listed: &Listed) -> Catalogue {
        let config = json!({ "command": ["x"], "reads": ["get_*"] });
        let shape = Shape {
            name: "up".into(),
            source: "mcp:up".into(),
            prefix: prefix.to_owned(),
            overrides: BTreeMap::new(),
            filter: Filter::new(&serde_json::from_value(config).unwrap()),
            hygiene: Hygiene::Strict,
            time_max: Duration::from_secs(1),
            bytes_max: 1_000,
            mirrors: true,
        };
        Catalogue::build(&shape, listed, &Pinning::default())
    }

    fn listed() -> Listed {
        let tool = |name: &str| raw(&json!({ "name": name, "inputSchema": { "type": "object" } }));
        Listed {
            tools: vec![tool("get_a"), tool("prompt_p.q"), tool("resource_up")],
            prompts: vec![
                raw(&json!({
                    "name": "p.q", "title": "T", "description": "D", "icons": [1],
                    "arguments": [{ "name": "a", "required": true }, { "name": "b", "description": "B" }, 7],
                })),
                raw(&json!({ "title": "nameless" })),
            ],
            resources: vec![
                raw(&json!({ "uri": "test://a", "name": "A", "size": 3, "mimeType": "text/plain" })),
                raw(&json!({ "uri": "test://a" })),
                raw(&json!({ "name": "nowhere" })),
            ],
            templates: vec![
                raw(&json!({ "uriTemplate": "test://{id}/data", "name": "T" })),
                raw(&json!({ "uriTemplate": "repo://x{?q}", "name": "Q" })),
                raw(&json!({ "uriTemplate": "{+all}x{/odd}", "name": "O" })),
            ],
        }
    }

    #[test]
    fn everything_has_a_name_of_its_own() {
        let catalogue = built("", &listed());
        let shown: Vec<String> = catalogue
            .tools
            .iter()
            .map(|tool| format!("{} {:?} {:?} {:?}", tool.name, tool.purpose, tool.effect, tool.origin))
            .collect();
        expect![[r#"
            get_a Call Reads Some("get_a")
            prompt_p_q Call Changes Some("prompt_p.q")
            resource_up Call Changes Some("resource_up")
            prompt_p_q_705346e2 Prompt Reads Some("p.q")
            resource_up_0d27013a Resource Reads None"#]]
        .assert_eq(&shown.join("\n"));
        assert_eq!(catalogue.left_out, 3);
        let prompt = &catalogue.prompts[0];
        assert_eq!((&*prompt.name, prompt.arguments.len()), ("p_q", 2));
        assert_eq!(
            prompt.as_sent.as_ref().unwrap().get(),
            r#"{"name":"p_q","title":"T","description":"D","icons":[1],"arguments":[{"name":"a","required":true},{"name":"b","description":"B"},7]}"#
        );
        let governing = catalogue.tools.iter().find(|tool| tool.name == prompt.tool).unwrap();
        assert_eq!(governing.input["required"], json!(["a"]));
        assert_eq!(catalogue.resources[0].size, Some(3));
    }

    #[test]
    fn resources_are_read_by_the_list_and_by_templates() {
        let catalogue = built("up_", &listed());
        for (uri, is_ours) in [
            ("test://a", true),
            ("test://{id}/data", true),
            ("test://7/data", true),
            ("test://7/8/data", false),
            ("repo://x", true),
            ("repo://x?q=1", true),
            ("repo://y", false),
            ("{+all}x{/odd}", true),
            ("anything", false),
            ("", false),
        ] {
            assert_eq!(catalogue.reads(uri).is_some(), is_ours, "{uri}");
        }
        assert_eq!(built("", &Listed::default()).reads("test://a"), None);
    }

    #[test]
    fn what_is_the_same_is_told_from_what_is_not() {
        let (one, mut other) = (built("", &listed()), listed());
        assert!(one.is_same(&built("", &other)));
        other.templates.pop();
        assert!(!one.is_same(&built("", &other)));
        assert!(!one.is_same(&built("x", &listed())));
    }
}
