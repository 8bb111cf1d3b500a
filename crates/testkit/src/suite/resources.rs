//! The resources: two that stay as they are, one that can be watched, and a template; two tools stand for them.

use std::sync::Arc;

use serde_json::{Value, json};
use tool::{Fault, Purpose, Reply, Resource, Tool, ToolName};

use super::{WATCHED, content::RED_PIXEL, done, tool, tool_name};

const TEXT: &str = "test://static-text";
const BINARY: &str = "test://static-binary";
const TEMPLATE: &str = "test://template/{id}/data";

/// What stands for the resources that are named.
const OF_RESOURCES: &str = "suite_resource";
/// What stands for those of the template.
const OF_TEMPLATE: &str = "suite_template";

/// What can be read by name; the first one is text.
pub(super) fn all() -> Arc<[Arc<Resource>]> {
    let of = |uri, name, about, mime| Arc::new(resource(uri, name, about, mime, OF_RESOURCES));
    Arc::from([
        of(TEXT, "static-text", "A text", "text/plain"),
        of(BINARY, "static-binary", "A picture", "image/png"),
        of(WATCHED, "watched", "A text that can be watched", "text/plain"),
    ])
}

/// The families of resources.
pub(super) fn templates() -> Arc<[Arc<Resource>]> {
    let about = "Data about whatever the id is";
    Arc::from([Arc::new(resource(TEMPLATE, "template", about, "application/json", OF_TEMPLATE))])
}

/// The tools that stand for them.
pub(super) fn governing() -> impl Iterator<Item = Tool> {
    let uri = || json!({ "type": "object", "properties": { "uri": { "type": "string" } } });
    let of = move |name, about| Tool { purpose: Purpose::Resource, ..tool(name, about, uri()) };
    [of(OF_RESOURCES, "Reads what stays as it is"), of(OF_TEMPLATE, "Reads what the template makes")]
        .into_iter()
}

/// What stands for the resource with this URI, or for the template.
pub(super) fn reads(uri: &str) -> Option<ToolName> {
    let name = match uri {
        TEXT | BINARY | WATCHED => OF_RESOURCES,
        TEMPLATE => OF_TEMPLATE,
        _ => id_in(uri).map(|_| OF_TEMPLATE)?,
    };
    Some(tool_name(name))
}

/// The content of a resource.
pub(super) fn read(uri: &str) -> Result<Reply, Fault> {
    let content = match uri {
        TEXT => text(uri, "This is the content of the static text resource."),
        BINARY => json!({ "uri": uri, "mimeType": "image/png", "blob": RED_PIXEL }),
        WATCHED => text(uri, "This is the content of the watched resource."),
        _ => of_template(uri).ok_or_else(|| Fault::not_found(format!("Resource not found: {uri}")))?,
    };
    done(&json!({ "contents": [content] }))
}

fn of_template(uri: &str) -> Option<Value> {
    let id = id_in(uri)?;
    let data = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
    Some(json!({ "uri": uri, "mimeType": "application/json", "text": data.to_string() }))
}

/// What stands for the gap of the template.
fn id_in(uri: &str) -> Option<&str> {
    let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
    Some(id).filter(|id| !id.is_empty() && !id.contains(['/', '{', '}']))
}

fn text(uri: &str, text: &str) -> Value {
    json!({ "uri": uri, "mimeType": "text/plain", "text": text })
}

fn resource(uri: &str, name: &str, about: &str, mime: &str, tool: &str) -> Resource {
    Resource {
        uri: uri.into(),
        name: name.into(),
        title: None,
        about: Some(about.into()),
        mime: Some(mime.into()),
        size: None,
        tool: tool_name(tool),
        as_sent: None,
    }
}
