//! Arguments: from what was sent to what is meant. Strings become numbers where the schema says number,
//! defaults are filled in, and what does not fit is refused with a pointer and with what was expected.

mod coerce;

use std::sync::{Arc, OnceLock};

use jsonschema::{Draft, ValidationError, Validator, error::ValidationErrorKind};
use serde_json::{Value, json, value::RawValue};
use tool::{Code, Fault, json as strict, nearest};

use coerce::Coercion;

/// At most so many mistakes are listed; the first one is the sentence.
const MISTAKES_MAX: usize = 10;

/// The deepest schema that coercion follows.
const DEPTH_MAX: usize = 32;

/// A compiled schema.
pub(crate) struct Schema {
    source: Arc<Value>,
    /// Made when arguments come for the first time: of a schema of results it is never needed.
    coercion: OnceLock<Coercion>,
    validator: Validator,
}

impl Schema {
    /// Compiles a JSON Schema: 2020-12, or the dialect that its `$schema` names (drafts 4 to 2020-12). References to
    /// elsewhere are never followed.
    pub(crate) fn compile(source: &Arc<Value>) -> Result<Self, String> {
        let draft = match Draft::Draft202012.detect(source) {
            Draft::Unknown => return Err("in a dialect of JSON Schema that is not known here".to_owned()),
            draft => draft,
        };
        let options = jsonschema::options().with_draft(draft).should_validate_formats(true);
        let validator = options.build(source).map_err(|e| format!("not a JSON Schema: {e}"))?;
        Ok(Self { source: Arc::clone(source), coercion: OnceLock::new(), validator })
    }

    /// Brings arguments as sent into canonical form.
    ///
    /// Fault: `Malformed` where they are no JSON object, `TooLarge` where they are over `bytes_max`, and
    /// `BadArguments` where they do not fit, with the pointer of the first mistake.
    pub(crate) fn canonical(&self, sent: &RawValue, bytes_max: usize) -> Result<Value, Fault> {
        if sent.get().len() > bytes_max {
            return Err(Fault::new(
                Code::TooLarge,
                format!("the arguments are larger than {bytes_max} bytes"),
            ));
        }
        let parsed = strict::parse(sent.get().as_bytes());
        let mut arguments = parsed.map_err(|e| Fault::new(Code::Malformed, e.to_string()))?;
        if !arguments.is_object() {
            let text = format!("the arguments must be a JSON object, not {}", kind_of(&arguments));
            return Err(Fault::bad_argument("", text));
        }
        if let Some(integer) = strict::inexact_integer(sent.get()) {
            let text = format!("the integer {} does not fit 64 bits; send it as a string", excerpt(integer));
            return Err(Fault::bad_argument("", text));
        }
        self.coercion.get_or_init(|| Coercion::of(&self.source)).apply(&mut arguments);
        self.check(&arguments)?;
        Ok(arguments)
    }

    /// Checks a result against its promised schema.
    ///
    /// Error: where it breaks it, for the log.
    pub(crate) fn check_output(&self, result: &Value) -> Result<(), String> {
        self.validator.validate(result).map_err(|e| format!("{}: {}", e.instance_path(), e.masked()))
    }

    fn check(&self, arguments: &Value) -> Result<(), Fault> {
        if self.validator.is_valid(arguments) {
            return Ok(());
        }
        let errors = self.validator.iter_errors(arguments).take(MISTAKES_MAX);
        let mistakes: Vec<_> = errors.map(|e| mistake(&e, &self.source)).collect();
        let Some((pointer, text)) = mistakes.first().cloned() else {
            return Err(Fault::bad_argument("", "the arguments do not fit the schema of the tool"));
        };
        let list: Vec<_> = mistakes
            .into_iter()
            .map(|(pointer, text)| json!({ "pointer": pointer, "detail": text }))
            .collect();
        Err(Fault::bad_argument(pointer, text).with_details(json!({ "errors": list })))
    }
}

/// Where a mistake is, and the sentence about it.
fn mistake(error: &ValidationError<'_>, schema: &Value) -> (String, String) {
    let mut pointer = error.instance_path().as_str().to_owned();
    let name = if pointer.is_empty() { "the arguments".to_owned() } else { format!("{pointer:?}") };
    let got = shown(error.instance(), &pointer);
    let text = match error.kind() {
        ValidationErrorKind::Required { property } => {
            let property = property.as_str().unwrap_or_default();
            strict::push_pointer(&mut pointer, property);
            format!("{property:?} is required{}", about(schema, &pointer))
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let first = unexpected.first().map(String::as_str).unwrap_or_default();
            let known = property_names(schema, &pointer);
            let hint = match nearest(first, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near:?}?"),
                None if known.is_empty() => "it takes none".to_owned(),
                None => format!("it takes {}", known.join(", ")),
            };
            strict::push_pointer(&mut pointer, first);
            format!("there is no argument {:?}; {hint}", excerpt(first))
        }
        ValidationErrorKind::Type { kind } => format!("{name} must be {}, not {got}", type_name(kind)),
        ValidationErrorKind::Minimum { limit } => format!("{name} must be at least {limit}, not {got}"),
        ValidationErrorKind::Maximum { limit } => format!("{name} must be at most {limit}, not {got}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => {
            format!("{name} must be more than {limit}, not {got}")
        }
        ValidationErrorKind::ExclusiveMaximum { limit } => {
            format!("{name} must be less than {limit}, not {got}")
        }
        ValidationErrorKind::MinLength { limit } => {
            format!("{name} must have at least {}", count(*limit, "character"))
        }
        ValidationErrorKind::MaxLength { limit } => {
            format!("{name} must have at most {}", count(*limit, "character"))
        }
        ValidationErrorKind::MinItems { limit } => {
            format!("{name} must have at least {}", count(*limit, "item"))
        }
        ValidationErrorKind::MaxItems { limit } => {
            format!("{name} must have at most {}", count(*limit, "item"))
        }
        ValidationErrorKind::Enum { options } => format!("{name} must be one of {options}, not {got}"),
        ValidationErrorKind::Constant { expected_value } => {
            format!("{name} must be {expected_value}, not {got}")
        }
        ValidationErrorKind::Pattern { pattern } => {
            format!("{name} must match {pattern:?}, and {got} does not")
        }
        ValidationErrorKind::Format { format } => format!("{name} must be a {format}, and {got} is not"),
        _ => excerpt(&error.masked().to_string()),
    };
    (pointer, text)
}

/// The beginning of a value, for a sentence that is logged and recorded too: masked where its name or its shape is
/// that of a secret.
fn shown(value: &Value, pointer: &str) -> String {
    let names = pointer.strip_prefix('/').into_iter().flat_map(|names| names.rsplit('/'));
    let named = names.fold(value.clone(), |inner, name| json!({ name: inner }));
    let fit = audit::redact(&named, &[]);
    fit.pointer(pointer).map_or_else(|| audit::MASK.to_owned(), |value| excerpt(&value.to_string()))
}

/// What the schema says of the argument at a pointer: its type and description.
fn about(schema: &Value, pointer: &str) -> String {
    let Some(found) = subschema(schema, pointer) else { return String::new() };
    let kind = found.get("type").and_then(Value::as_str).map(|t| format!(" ({t})")).unwrap_or_default();
    let text = found.get("description").and_then(Value::as_str).map(|d| format!(": {}", excerpt(d)));
    kind + &text.unwrap_or_default()
}

fn property_names(schema: &Value, pointer: &str) -> Vec<String> {
    let properties = subschema(schema, pointer).and_then(|s| s.get("properties")?.as_object());
    properties.map(|p| p.keys().cloned().collect()).unwrap_or_default()
}

fn subschema<'a>(root: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(resolve(root, root), |schema, part| {
        let name = part.replace("~1", "/").replace("~0", "~");
        let inner = match schema.get("properties").and_then(|p| p.get(&name)) {
            Some(inner) => inner,
            None => schema.get("items")?,
        };
        Some(resolve(inner, root))
    })
}

/// The one branch of an `anyOf` or `oneOf` that is not just `null`, as optional arguments have it.
fn only_branch<'a>(schema: &'a Value, root: &'a Value) -> Option<&'a Value> {
    let branches = schema.get("anyOf").or_else(|| schema.get("oneOf"))?.as_array()?;
    let mut others =
        branches.iter().map(|b| resolve(b, root)).filter(|b| b.get("type") != Some(&json!("null")));
    let only = others.next()?;
    others.next().is_none().then_some(only)
}

/// Follows a reference within the same schema.
fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..DEPTH_MAX {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'));
        match target.and_then(|pointer| root.pointer(pointer)) {
            Some(found) => schema = found,
            None => break,
        }
    }
    schema
}

fn kind_word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn kind_of(value: &Value) -> String {
    let word = kind_word(value);
    if word == "null" { word.to_owned() } else { with_article(word) }
}

fn type_name(kind: &jsonschema::error::TypeKind) -> String {
    match kind {
        jsonschema::error::TypeKind::Single(one) => with_article(&one.to_string()),
        jsonschema::error::TypeKind::Multiple(several) => {
            let names: Vec<_> = several.iter().map(|one| with_article(&one.to_string())).collect();
            names.join(" or ")
        }
    }
}

/// So many of them: `1 item`, `2 items`.
fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn with_article(word: &str) -> String {
    let article = if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    if word == "null" { word.to_owned() } else { format!("{article} {word}") }
}

/// The beginning of a text, for a sentence.
fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
