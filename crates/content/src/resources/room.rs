use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use mcp::template::{Template, URI_BYTES_MAX};
use serde_json::{Map, Value, json};
use tool::{
    Breaks, Code, ConfigFault, Fault, Kind, Outcome, Permit, Provider, Purpose, Reply, Resource, Talk, Tool,
    ToolName, json::closed_object,
};

use super::{Config, ResourceConfig, SOURCE, is_template};
use crate::{
    choices::{Choices, Offers, complete},
    content,
    faults::Faults,
    file::{self, FileError, Symlinks, wrong_path},
    pattern::Pattern,
    shared, too_large,
};

/// A byte of text takes up to six in JSON (`\u0000`).
const JSON_BYTES_PER_BYTE: usize = 6;

/// What stands around the content in an answer: the URI, escaped, and the media type.
const ENVELOPE_BYTES_MAX: usize = 64 * 1024;

/// The longest path that a template makes, in bytes.
const PATH_BYTES_MAX: usize = 4_096;

/// The scheme of kept results, which are not ours.
const ARTEFACT_SCHEME: &str = "artefact:";

/// The resources that are declared.
pub(super) struct Room {
    folder: PathBuf,
    tools: Arc<[Arc<Tool>]>,
    resources: Arc<[Arc<Resource>]>,
    templates: Arc<[Arc<Resource>]>,
    entries: Vec<Entry>,
    /// By the name of its tool.
    by_tool: HashMap<String, usize>,
    /// By URI, of templates by their text.
    by_uri: HashMap<String, usize>,
}

/// A resource that can be read, or a template of such.
struct Entry {
    uri: String,
    tool: ToolName,
    /// None of one that is there by name.
    template: Option<Template>,
    body: Body,
    mime: Option<String>,
    bytes_max: u64,
    offers: Offers,
}

/// Where the content is.
enum Body {
    Text(Pattern),
    File(Pattern, Symlinks),
}

/// What a URI says of the variables of its template.
type Values<'a> = Vec<(&'a str, String)>;

/// The room of a section over the folder of the configuration.
///
/// Faults: everything that is wrong with the section.
pub(super) fn gather(config: &Config, folder: &Path) -> Result<Room, Vec<ConfigFault>> {
    let mut faults = Faults::default();
    let (mut tools, mut resources, mut templates, mut entries) =
        (vec![], vec![], vec![], Vec::<Entry>::new());
    for (uri, resource) in &config.0 {
        let Some(entry) = entry(&mut faults, uri, resource) else { continue };
        if entries.iter().any(|other| other.tool == entry.tool) {
            let text = format!("there are two resources named {:?}; rename one", resource.name);
            faults.add(&[SOURCE, uri, "name"], text);
        }
        tools.push(Arc::new(governing(&entry, resource)));
        let list = if entry.template.is_some() { &mut templates } else { &mut resources };
        list.push(Arc::new(listing(&entry, resource)));
        entries.push(entry);
    }
    if !faults.0.is_empty() {
        return Err(faults.0);
    }
    Ok(Room {
        folder: folder.to_owned(),
        tools: tools.into(),
        resources: resources.into(),
        templates: templates.into(),
        by_tool: entries.iter().enumerate().map(|(i, entry)| (entry.tool.to_string(), i)).collect(),
        by_uri: entries.iter().enumerate().map(|(i, entry)| (entry.uri.clone(), i)).collect(),
        entries,
    })
}

/// One resource; none where it cannot be made out at all.
fn entry(faults: &mut Faults, uri: &str, resource: &ResourceConfig) -> Option<Entry> {
    if let Some((text, hint)) = wrong_uri(uri) {
        faults.add_with(&[SOURCE, uri], text, hint);
    }
    let at = [SOURCE, uri, "name"];
    let tool = faults.take(&at, ToolName::parse(&format!("resource_{}", resource.name)));
    let template = match is_template(uri) {
        true => Some(faults.take(&[SOURCE, uri], Template::parse(uri))?),
        false => None,
    };
    let variables: Vec<&str> = template.iter().flat_map(Template::variables).collect();
    let offers = offers(faults, uri, resource, &variables);
    let body = body(faults, uri, resource, template.is_some());
    let body = body.inspect(|(member, body)| {
        let (Body::Text(pattern) | Body::File(pattern, _)) = body;
        for gap in pattern.gaps().filter(|gap| !variables.contains(gap)) {
            faults.unknown(&[SOURCE, uri, member], "variable", gap, &variables);
        }
    });
    Some(Entry {
        uri: uri.to_owned(),
        tool: tool?,
        body: body?.1,
        template,
        mime: resource.mime_type.clone(),
        bytes_max: resource.bytes_max,
        offers,
    })
}

/// What is wrong with a URI, and what to do.
fn wrong_uri(uri: &str) -> Option<(String, &'static str)> {
    let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let is_plain =
        |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'|');
    if !is_scheme {
        return Some((format!("{uri:?} is no URI"), "begin it with a scheme, such as docs:///runbook"));
    }
    if uri.starts_with(ARTEFACT_SCHEME) {
        return Some((format!("{uri:?} is where kept results are"), "take another scheme"));
    }
    if !uri.bytes().all(is_plain) {
        return Some((format!("{uri:?} is no URI"), "write other characters as %XX"));
    }
    let is_long = uri.len() > URI_BYTES_MAX;
    is_long.then(|| (format!("the URI is longer than {URI_BYTES_MAX} bytes"), "shorten it"))
}

fn offers(faults: &mut Faults, uri: &str, resource: &ResourceConfig, variables: &[&str]) -> Offers {
    let mut offers: Offers = Vec::new();
    for (name, config) in resource.variables.iter() {
        let at = [SOURCE, uri, "variables", name];
        if !variables.contains(&name.as_str()) {
            faults.unknown(&at, "variable", name, variables);
        }
        let choices = Choices::new(faults, &at, config.values.as_ref(), config.complete.as_ref());
        offers.push((name.clone(), choices));
    }
    let others = variables.iter().filter(|name| resource.variables.get(name).is_none());
    offers.extend(others.map(|name| ((*name).to_owned(), Choices::Any)).collect::<Vec<_>>());
    offers
}

/// Where the content is, and the member that says so.
fn body(
    faults: &mut Faults,
    uri: &str,
    resource: &ResourceConfig,
    is_template: bool,
) -> Option<(&'static str, Body)> {
    let mut pattern = |member: &'static str, text: &str| match is_template {
        true => faults.take(&[SOURCE, uri, member], Pattern::parse(text)),
        false => Some(Pattern::plain(text)),
    };
    match (&resource.text, &resource.file) {
        (Some(text), None) => {
            let body = Body::Text(pattern("text", text)?);
            if text.len() as u64 > resource.bytes_max {
                let text = format!("it has {} bytes, and `bytes_max` is {}", text.len(), resource.bytes_max);
                faults.add(&[SOURCE, uri, "text"], text);
            }
            Some(("text", body))
        }
        (None, Some(path)) => {
            let body = Body::File(pattern("file", path)?, resource.symlinks);
            if let Some(text) = wrong_path(Path::new(path)) {
                faults.add(&[SOURCE, uri, "file"], text);
            }
            Some(("file", body))
        }
        (None, None) => {
            faults.add_with(&[SOURCE, uri], "it has no content", "add `text` or `file`");
            None
        }
        (Some(_), Some(_)) => {
            faults.add_with(&[SOURCE, uri, "file"], "it has a text already", "keep `text` or `file`");
            None
        }
    }
}

/// The tool that stands for the resource on the road.
fn governing(entry: &Entry, resource: &ResourceConfig) -> Tool {
    let about = match &resource.description {
        Some(about) => about.clone(),
        None => format!("Reads the resource {}.", entry.uri),
    };
    let uri = json!({ "type": "string", "maxLength": URI_BYTES_MAX, "description": "The URI to read." });
    let input = closed_object(&json!({ "uri": uri }), &["uri"]);
    let mut tool = Tool::reading(entry.tool.clone(), SOURCE, &about, input);
    tool.title = shared(resource.title.as_ref());
    tool.purpose = Purpose::Resource;
    tool.breaks = Breaks::Never;
    let bytes_max = usize::try_from(entry.bytes_max).unwrap_or(usize::MAX);
    tool.bytes_max = bytes_max.saturating_mul(JSON_BYTES_PER_BYTE).saturating_add(ENVELOPE_BYTES_MAX);
    tool
}

fn listing(entry: &Entry, resource: &ResourceConfig) -> Resource {
    let is_fixed = entry.template.is_none();
    Resource {
        uri: entry.uri.as_str().into(),
        name: resource.name.as_str().into(),
        title: shared(resource.title.as_ref()),
        about: shared(resource.description.as_ref()),
        mime: shared(resource.mime_type.as_ref()),
        // A file may change.
        size: resource.text.as_ref().filter(|_| is_fixed).map(|text| text.len() as u64),
        tool: entry.tool.clone(),
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

    fn resources(&self) -> Arc<[Arc<Resource>]> {
        Arc::clone(&self.resources)
    }

    fn templates(&self) -> Arc<[Arc<Resource>]> {
        Arc::clone(&self.templates)
    }

    fn reads(&self, uri: &str) -> Option<ToolName> {
        let named = self.by_uri.get(uri).map(|i| &self.entries[*i]);
        let entry = named.or_else(|| self.entries.iter().find(|entry| entry.matches(uri).is_some()));
        entry.map(|entry| entry.tool.clone())
    }

    /// A read touches its URI, in the one spelling that its template gives it; a completion touches the template.
    fn target(&self, tool: &Tool, arguments: &mut Value) -> Result<String, Fault> {
        let entry = self.find(tool)?;
        let read =
            arguments.as_object().filter(|members| members.len() == 1).and_then(|only| only.get("uri"));
        let Some(uri) = read.and_then(Value::as_str) else { return Ok(entry.uri.clone()) };
        let values = entry.matches(uri).ok_or_else(|| missing(uri))?;
        let uri = entry.spell(&values);
        arguments["uri"] = json!(uri);
        Ok(uri)
    }

    async fn run(&self, permit: Permit, talk: Talk) -> Result<Reply, Fault> {
        let entry = self.find(permit.tool())?;
        match &permit.call().kind {
            Kind::ReadResource { uri } => {
                let values = entry.matches(uri).ok_or_else(|| missing(uri))?;
                let bytes = self.bytes(entry, uri, &values).await?;
                Ok(Reply::Done(entry.answer(uri, bytes, permit.tool().bytes_max)?))
            }
            Kind::Complete { .. } => Ok(Reply::Done(complete(&permit, &talk, &entry.offers).await?)),
            other => Err(Fault::internal(format!("{} came to a resource", other.method()))),
        }
    }
}

impl Room {
    fn find(&self, tool: &Tool) -> Result<&Entry, Fault> {
        let found = self.by_tool.get(tool.name.as_str()).map(|i| &self.entries[*i]);
        found.ok_or_else(|| Fault::internal(format!("{} is no tool of {SOURCE}", tool.name)))
    }

    /// The content.
    async fn bytes(&self, entry: &Entry, uri: &str, values: &Values<'_>) -> Result<Vec<u8>, Fault> {
        let value = |name: &str| {
            values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value.as_str())
        };
        match &entry.body {
            Body::Text(text) => {
                let bytes_max = usize::try_from(entry.bytes_max).unwrap_or(usize::MAX);
                let text = text.fill(value, bytes_max).ok_or_else(|| too_large(bytes_max, "/uri"))?;
                Ok(text.into_bytes())
            }
            Body::File(path, symlinks) => {
                if !path.gaps().all(|gap| is_file_name(value(gap))) {
                    return Err(missing(uri));
                }
                let path = PathBuf::from(path.fill(value, PATH_BYTES_MAX).ok_or_else(|| missing(uri))?);
                let (folder, symlinks, bytes_max) = (self.folder.clone(), *symlinks, entry.bytes_max);
                let read =
                    tokio::task::spawn_blocking(move || file::read(&folder, &path, symlinks, bytes_max));
                read.await.map_err(Fault::internal)?.map_err(|error| unreadable(entry, uri, error))
            }
        }
    }
}

impl Entry {
    /// What a URI says of the variables; `None` where it is none of these, or says what a variable may not be.
    fn matches<'a>(&'a self, uri: &str) -> Option<Values<'a>> {
        let Some(template) = &self.template else { return (uri == self.uri).then(Vec::new) };
        let values = template.matches(uri)?;
        let takes = |(name, value): &(&str, String)| {
            self.offers.iter().filter(|(known, _)| known == name).all(|(_, choices)| choices.takes(value))
        };
        values.iter().all(takes).then_some(values)
    }

    /// The one spelling of the URI with these values.
    fn spell(&self, values: &Values<'_>) -> String {
        let Some(template) = &self.template else { return self.uri.clone() };
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        template.expand(&values)
    }

    /// The answer with this content (`ReadResourceResult`): as text where it is text.
    fn answer(&self, uri: &str, bytes: Vec<u8>, bytes_max: usize) -> Result<Outcome, Fault> {
        let (member, content_text, usual) = match String::from_utf8(bytes) {
            Ok(text) => ("text", text, "text/plain"),
            Err(error) => ("blob", STANDARD.encode(error.as_bytes()), "application/octet-stream"),
        };
        let mut one = Map::new();
        one.insert("uri".to_owned(), json!(uri));
        one.insert("mimeType".to_owned(), json!(self.mime.as_deref().unwrap_or(usual)));
        one.insert(member.to_owned(), json!(content_text));
        content(&json!({ "contents": [one] }), bytes_max, "/uri")
    }
}

/// Whether a value can be the name of a file, or a piece of one: it leads to no other folder, and hides nothing.
fn is_file_name(value: &str) -> bool {
    !value.is_empty()
        && !value.starts_with('.')
        && !value.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'))
}

fn missing(uri: &str) -> Fault {
    let shown: String = uri.chars().take(128).collect();
    Fault::not_found(format!("Resource not found: {shown}"))
}

/// Why the file of a resource is not read. Its path is the operator's alone.
fn unreadable(entry: &Entry, uri: &str, error: FileError) -> Fault {
    let name = entry.tool.as_str();
    let fault = match &error {
        FileError::Absent if entry.template.is_some() => missing(uri),
        FileError::TooLarge { bytes_max } => {
            let text = format!(
                "the resource has more than {bytes_max} bytes, and it is read whole or not at all; ask an operator to \
                 raise its `bytes_max`"
            );
            Fault::bad_argument("/uri", text)
        }
        FileError::Link | FileError::Escapes | FileError::Special => {
            Fault::new(Code::Denied, "what is there is no file that may be read; ask an operator")
        }
        FileError::Absent | FileError::Io(_) => {
            Fault::new(Code::Upstream, "the file of this resource cannot be read; ask an operator")
        }
    };
    fault.with_log(format!("the file of {name} is not read")).because(error)
}
