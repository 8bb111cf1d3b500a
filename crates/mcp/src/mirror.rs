//! `x-mcp-header`: arguments of a tool that its calls repeat in `Mcp-Param-*` header fields.
//!
//! Source: basic/transports/streamable-http, "Custom Headers from Tool Parameters"; server/tools,
//! "x-mcp-header"; SEP-2243 for the edges.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value, value::RawValue};

use crate::{Object, WireError, fault::echo, headers, id};

/// The keyword in a tool's input schema.
pub const KEYWORD: &str = "x-mcp-header";

/// How many arguments of one tool may be repeated.
pub const MIRRORS_MAX: usize = 32;

/// How deep a schema is looked through; what lies deeper cannot be annotated.
const SCHEMA_DEPTH_MAX: usize = 64;

/// The largest integer that every reader has exactly: 2^53 - 1.
const SAFE_INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

/// Keywords of JSON Schema that hold data, not schemas: nothing in there annotates anything.
const DATA: &[&str] =
    &["const", "default", "enum", "example", "examples", "required", "type", "title", "description"];

/// Keywords of JSON Schema that hold schemas by name.
const BY_NAME: &[&str] = &["patternProperties", "$defs", "definitions", "dependentSchemas"];

/// The arguments of one tool that are repeated in headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors(Vec<Mirror>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mirror {
    header: HeaderName,
    /// The names that lead to the value in the arguments.
    path: Vec<String>,
}

/// Why a tool's annotations are void, and the tool with them: a client leaves it out of the list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{KEYWORD} at {pointer:?} {what}")]
pub struct MirrorError {
    /// RFC 6901 pointer into the input schema.
    pub pointer: String,
    /// What is wrong there.
    what: &'static str,
}

impl Mirrors {
    /// Finds the annotations of a tool's input schema. A schema without any has no mirrors.
    ///
    /// Errors: a name that is no string, empty, no token of RFC 9110 or that stands twice in whatever case; an
    /// annotation of anything but a string, an integer or a boolean (each of which may also be null), or of what
    /// is not reached from the root through `properties` alone; more than [`MIRRORS_MAX`] of them.
    pub fn of(schema: &Value) -> Result<Self, MirrorError> {
        // Hardly any schema has one.
        if !names_keyword(schema) {
            return Ok(Self::default());
        }
        let mut finder = Finder::default();
        finder.schema(schema, &mut Vec::new(), Some(&mut Vec::new()))?;
        Ok(Self(finder.found))
    }

    /// True where nothing is repeated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that the headers of a call repeat its arguments: each value that is there and is not null, and no
    /// other. Integers are compared by value, everything else letter by letter.
    ///
    /// Error: header mismatch.
    pub fn check(&self, headers: &HeaderMap, arguments: Option<&RawValue>) -> Result<(), WireError> {
        if self.is_empty() {
            return Ok(());
        }
        let arguments = read(arguments)?;
        for mirror in &self.0 {
            let name = &mirror.header;
            let header =
                headers::only(headers, name)?.map(|value| headers::decoded(name, value)).transpose()?;
            mirror.same(header.as_deref(), Argument::at(&arguments, &mirror.path))?;
        }
        Ok(())
    }

    /// Adds the headers of a call with these arguments.
    ///
    /// Error: invalid params, where an integer is beyond what headers may carry (2^53 - 1 either way).
    pub fn write(&self, headers: &mut HeaderMap, arguments: Option<&RawValue>) -> Result<(), WireError> {
        if self.is_empty() {
            return Ok(());
        }
        let arguments = read(arguments)?;
        for mirror in &self.0 {
            match Argument::at(&arguments, &mirror.path) {
                Argument::Text(text) => drop(headers.insert(&mirror.header, headers::encode(&text))),
                Argument::Number(text) => {
                    let value = safe_integer(text).ok_or_else(|| mirror.too_large(text))?;
                    headers.insert(&mirror.header, headers::encode(&value.to_string()));
                }
                Argument::None | Argument::Other => {}
            }
        }
        Ok(())
    }
}

impl Mirror {
    fn same(&self, header: Option<&str>, argument: Argument<'_>) -> Result<(), WireError> {
        let name = &self.header;
        let shown = self.path.join(".");
        let is_same = match (header, &argument) {
            // What is no primitive cannot be repeated; the schema will refuse it.
            (None, Argument::None | Argument::Other) => true,
            (None, _) => {
                let text = format!("the header {name} is missing; it must repeat the argument {shown:?}");
                return Err(WireError::header_mismatch(text));
            }
            (Some(_), Argument::None | Argument::Other) => false,
            (Some(header), Argument::Text(text)) => header == text,
            (Some(header), Argument::Number(text)) => {
                header == *text || safe_integer(header).is_some_and(|value| safe_integer(text) == Some(value))
            }
        };
        if is_same {
            return Ok(());
        }
        // Arguments are not repeated here: messages end in logs.
        Err(WireError::header_mismatch(format!("the header {name} does not repeat the argument {shown:?}")))
    }

    fn too_large(&self, text: &str) -> WireError {
        let path = self.path.join(".");
        WireError::invalid_params(format!(
            "{path:?} is {}; headers carry integers up to 2^53 - 1",
            echo(text)
        ))
    }
}

/// An argument, as headers see it.
#[derive(Debug)]
enum Argument<'a> {
    /// Left out or null.
    None,
    /// A string, or the word of a boolean.
    Text(Cow<'a, str>),
    /// The text of a number.
    Number(&'a str),
    /// An array or an object.
    Other,
}

impl<'a> Argument<'a> {
    fn at(arguments: &Object<'a>, path: &[String]) -> Self {
        let Some((last, outer)) = path.split_last() else { return Self::None };
        let mut object = Cow::Borrowed(arguments);
        for name in outer {
            match object.object(name) {
                Ok(Some(inner)) => object = Cow::Owned(inner),
                _ => return Self::None,
            }
        }
        object.get(last).map_or(Self::None, Self::of)
    }

    fn of(json: &'a str) -> Self {
        match json.as_bytes().first() {
            Some(b'"') => id::text(json).map_or(Self::Other, Self::Text),
            Some(b't' | b'f') => Self::Text(Cow::Borrowed(json)),
            Some(b'n') | None => Self::None,
            Some(b'[' | b'{') => Self::Other,
            Some(_) => Self::Number(json),
        }
    }
}

/// The value of an integer that every reader has exactly, however it is spelt (`42`, `42.0`, `4.2e1`).
fn safe_integer(text: &str) -> Option<i64> {
    let value: f64 = serde_json::from_str(text).ok()?;
    let is_safe = value.fract() == 0.0 && value.abs() <= SAFE_INTEGER_MAX;
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within 2^53 is an i64")]
    is_safe.then_some(value as i64)
}

fn read(arguments: Option<&RawValue>) -> Result<Object<'_>, WireError> {
    let wrong = |_| WireError::invalid_params("\"arguments\" must be an object");
    arguments.map_or_else(|| Ok(Object::default()), |raw| Object::read(raw).map_err(wrong))
}

#[derive(Default)]
struct Finder {
    found: Vec<Mirror>,
}

impl Finder {
    /// Looks through one schema. `path` is `None` where it is not reached through `properties` alone.
    fn schema(
        &mut self,
        schema: &Value,
        pointer: &mut Vec<String>,
        mut path: Option<&mut Vec<String>>,
    ) -> Result<(), MirrorError> {
        let Value::Object(schema) = schema else { return Ok(()) };
        if let Some(name) = schema.get(KEYWORD) {
            self.annotation(name, schema, pointer, path.as_deref())?;
        }
        if pointer.len() >= SCHEMA_DEPTH_MAX {
            return Ok(());
        }
        for (keyword, value) in schema {
            if keyword == KEYWORD || DATA.contains(&keyword.as_str()) {
                continue;
            }
            pointer.push(keyword.clone());
            match value {
                Value::Object(named) if keyword == "properties" => {
                    self.properties(named, pointer, path.as_deref_mut())?;
                }
                Value::Object(named) if BY_NAME.contains(&keyword.as_str()) => {
                    self.properties(named, pointer, None)?;
                }
                Value::Array(schemas) => {
                    for (i, schema) in schemas.iter().enumerate() {
                        pointer.push(i.to_string());
                        self.schema(schema, pointer, None)?;
                        pointer.pop();
                    }
                }
                schema => self.schema(schema, pointer, None)?,
            }
            pointer.pop();
        }
        Ok(())
    }

    fn properties(
        &mut self,
        named: &Map<String, Value>,
        pointer: &mut Vec<String>,
        mut path: Option<&mut Vec<String>>,
    ) -> Result<(), MirrorError> {
        for (name, schema) in named {
            pointer.push(name.clone());
            if let Some(path) = path.as_deref_mut() {
                path.push(name.clone());
                self.schema(schema, pointer, Some(&mut *path))?;
                path.pop();
            } else {
                self.schema(schema, pointer, None)?;
            }
            pointer.pop();
        }
        Ok(())
    }

    fn annotation(
        &mut self,
        name: &Value,
        schema: &Map<String, Value>,
        pointer: &[String],
        path: Option<&Vec<String>>,
    ) -> Result<(), MirrorError> {
        let wrong = |what| {
            let mut text = String::new();
            pointer.iter().for_each(|part| tool::json::push_pointer(&mut text, part));
            MirrorError { pointer: text, what }
        };
        let name = name.as_str().ok_or_else(|| wrong("is not a string"))?;
        if name.is_empty() {
            return Err(wrong("is empty"));
        }
        let header = HeaderName::from_bytes(format!("mcp-param-{name}").as_bytes())
            .map_err(|_| wrong("is no name of a header field (RFC 9110, 5.1)"))?;
        if !is_primitive(schema.get("type")) {
            return Err(wrong("annotates what is neither a string nor an integer nor a boolean"));
        }
        let path = path.filter(|path| !path.is_empty());
        let path =
            path.ok_or_else(|| wrong("annotates what is not reached through properties alone"))?.clone();
        if self.found.iter().any(|mirror| mirror.header == header) {
            return Err(wrong("stands twice, in whatever case"));
        }
        if self.found.len() >= MIRRORS_MAX {
            return Err(wrong("is one too many"));
        }
        self.found.push(Mirror { header, path });
        Ok(())
    }
}

/// True where the keyword is a name anywhere in the schema.
fn names_keyword(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.iter().any(|(name, inner)| name == KEYWORD || names_keyword(inner)),
        Value::Array(items) => items.iter().any(names_keyword),
        _ => false,
    }
}

fn is_primitive(kind: Option<&Value>) -> bool {
    let is_one = |kind: &Value| matches!(kind.as_str(), Some("string" | "integer" | "boolean"));
    match kind {
        Some(Value::Array(kinds)) => {
            let mut kinds = kinds.iter().filter(|kind| *kind != "null");
            kinds.next().is_some_and(is_one) && kinds.next().is_none()
        }
        Some(kind) => is_one(kind),
        None => false,
    }
}

#[cfg(test)]
mod tests;
