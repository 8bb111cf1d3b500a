//! Tools that answer at once: every kind of content, an error, and schemas that must arrive as they are.

use serde_json::{Value, json};
use tool::{Fault, Reply};

use super::{Row, at_once, contents, failed, nothing, said, words};

/// The tool whose schema has every kind of keyword.
pub(super) const EVERY_KEYWORD: &str = "json_schema_2020_12_tool";

/// A picture of one red pixel, PNG, base64.
pub(super) const RED_PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";

/// A sound of no length, WAV, base64: 44 bytes of header.
const SILENCE: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=";

/// Their table.
pub(super) const TOOLS: &[Row] = &[
    Row {
        name: "test_simple_text",
        about: "Answers one text",
        input: nothing,
        run: |_| at_once(said("This is a simple text response for testing.")),
    },
    Row {
        name: "test_image_content",
        about: "Answers a picture",
        input: nothing,
        run: |_| at_once(contents(&json!([picture()]))),
    },
    Row {
        name: "test_audio_content",
        about: "Answers a sound",
        input: nothing,
        run: |_| at_once(contents(&json!([{ "type": "audio", "data": SILENCE, "mimeType": "audio/wav" }]))),
    },
    Row {
        name: "test_embedded_resource",
        about: "Answers a resource",
        input: nothing,
        run: |_| at_once(embedded()),
    },
    Row {
        name: "test_multiple_content_types",
        about: "Answers a text, a picture and a resource",
        input: nothing,
        run: |_| at_once(mixed()),
    },
    Row {
        name: "test_error_handling",
        about: "Always fails",
        input: nothing,
        run: |_| at_once(failed("This tool intentionally returns an error for testing")),
    },
    Row {
        name: EVERY_KEYWORD,
        about: "Has a schema with every kind of keyword, and answers a value of the house's own",
        input: every_keyword,
        run: |asked| at_once(Ok(Reply::value(json!({ "took": asked.permit.arguments() })))),
    },
    Row {
        name: "test_custom_header",
        about: "Takes a value that is also sent as a header, and answers a value of the house's own",
        input: with_header,
        run: |asked| at_once(Ok(Reply::value(json!({ "took": asked.text("value") })))),
    },
    Row {
        name: "greet",
        about: "Greets by name",
        input: by_name,
        run: |asked| at_once(said(format!("Hello, {}!", asked.text("name").unwrap_or_default()))),
    },
];

fn embedded() -> Result<Reply, Fault> {
    let text = "This is an embedded resource content.";
    contents(&json!([resource("test://embedded-resource", "text/plain", text)]))
}

fn mixed() -> Result<Reply, Fault> {
    let text = r#"{"test":"data","value":123}"#;
    let resource = resource("test://mixed-content-resource", "application/json", text);
    contents(&json!([words("Multiple content types test:"), picture(), resource]))
}

/// A block of [`RED_PIXEL`].
pub(super) fn picture() -> Value {
    json!({ "type": "image", "data": RED_PIXEL, "mimeType": "image/png" })
}

/// A block of a resource.
pub(super) fn resource(uri: &str, mime: &str, text: &str) -> Value {
    json!({ "type": "resource", "resource": { "uri": uri, "mimeType": mime, "text": text } })
}

fn by_name() -> Value {
    json!({ "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"] })
}

fn with_header() -> Value {
    json!({
        "type": "object",
        "properties": { "value": { "type": "string", "x-mcp-header": "Value" } },
        "required": ["value"],
    })
}

/// Keywords of JSON Schema 2020-12 that may not be lost on the way: a dialect, definitions with an anchor,
/// references, composition, conditions, closed objects.
fn every_keyword() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": { "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
        } },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" },
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false,
    })
}
