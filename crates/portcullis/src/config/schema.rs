//! The JSON Schema of the configuration, and what is said where a document does not fit it.

use std::{collections::BTreeSet, net::SocketAddr, sync::LazyLock};

use jsonschema::{
    JsonType, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde_json::{Number, Value};
use tool::json::push_pointer;

use super::{
    Config,
    document::{Document, Expanded, On},
    problem::Problem,
};

/// The schema of the whole, for editors and for [`fit`]: JSON Schema 2020-12.
pub(crate) fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let mut schema = schemars::schema_for!(Config).to_value();
        schema["title"] = Value::from("Portcullis configuration");
        schema
    });
    &SCHEMA
}

/// A format of our own: an IP address and a port.
const SOCKET_ADDRESS: &str = "socket-address";

fn validator() -> &'static Validator {
    static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
        jsonschema::options()
            .should_validate_formats(true)
            .with_format(SOCKET_ADDRESS, |text: &str| text.parse::<SocketAddr>().is_ok())
            .build(schema())
            .expect("schemars makes valid schemas")
    });
    &VALIDATOR
}

/// What came of a document that was held against the schema.
pub(crate) struct Fitted {
    /// Everything that does not fit.
    pub problems: Vec<Problem>,
    /// The parts that were left out, so that what is left fits; `None` where nothing would be left.
    pub left_out: Option<Vec<String>>,
}

/// How often parts are left out: each time, one that lacks a member which was left out goes too.
const ROUNDS_MAX: usize = 64;

/// Reads texts that came from `${..}` as numbers or booleans where those are wanted, says everything that does not
/// fit the schema, and leaves that out. Nothing is said of members whose value is `unknown`.
pub(crate) fn fit(document: &mut Document, unknown: &[String]) -> Fitted {
    settle_types(document);
    let mut problems = Vec::new();
    for error in validator().iter_errors(&document.value) {
        explain(&error, document, unknown, &mut problems);
    }
    problems.extend(literal_secrets(document));
    Fitted { problems, left_out: leave_out(document, unknown) }
}

/// Secrets that stand in the file as they are, where everybody reads them who reads the file.
fn literal_secrets(document: &Document) -> Vec<Problem> {
    let mut found = Vec::new();
    find_secrets(schema(), &document.value, &mut String::new(), &mut found);
    found.retain(|pointer| document.expanded(pointer) == Expanded::No);
    let problem = |pointer: String| {
        let text = "a secret stands in the configuration itself";
        let hint = "write ${NAME}, { file: PATH } or { exec: [PROGRAM, ARGUMENT] }";
        document.locate(Problem::new(pointer, text).hint(Some(hint.to_owned())), On::Value)
    };
    found.into_iter().map(problem).collect()
}

/// The places of texts that the schema takes for references to secrets.
fn find_secrets(schema: &'static Value, value: &Value, at: &mut String, found: &mut Vec<String>) {
    let is_secret = schema["$ref"].as_str().is_some_and(|name| name.ends_with("/SecretRef"));
    if is_secret {
        let is_new = value.is_string() && !found.contains(at);
        found.extend(is_new.then(|| at.clone()));
        return;
    }
    let schema = resolve(schema);
    for branch in ["anyOf", "oneOf", "allOf"].iter().filter_map(|word| schema[*word].as_array()).flatten() {
        find_secrets(branch, value, at, found);
    }
    let inner =
        |part: &dyn std::fmt::Display, schema: &'static Value, value: &Value, found: &mut Vec<String>| {
            let mut at = at.clone();
            push_pointer(&mut at, part);
            find_secrets(schema, value, &mut at, found);
        };
    for (name, value) in value.as_object().into_iter().flatten() {
        let own = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
        if let Some(own) = own.filter(|own| own.is_object()) {
            inner(name, own, value, found);
        }
    }
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        if let Some(own) = schema.get("items").filter(|own| own.is_object()) {
            inner(&i, own, item, found);
        }
    }
}

/// True where an objection is about a value that is not known, or about a choice that goes by one.
fn is_about(error: &ValidationError<'_>, unknown: &[String]) -> bool {
    let at = error.instance_path().as_str();
    let is_choice = match error.kind() {
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => meant(at, context).is_none(),
        _ => false,
    };
    let is_above = |pointer: &str| pointer.strip_prefix(at).is_some_and(|rest| rest.starts_with('/'));
    unknown.iter().any(|pointer| pointer == at || (is_choice && is_above(pointer)))
}

/// Leaves out what does not fit until all that is left does.
fn leave_out(document: &mut Document, unknown: &[String]) -> Option<Vec<String>> {
    let mut left_out: Vec<String> = unknown.iter().filter_map(|at| document.leave_out(at)).collect();
    for _ in 0..ROUNDS_MAX {
        let wrong: Vec<String> =
            validator().iter_errors(&document.value).flat_map(|error| wrong_parts(&error)).collect();
        if wrong.is_empty() {
            return Some(left_out);
        }
        if wrong.iter().any(String::is_empty) {
            return None;
        }
        left_out.extend(wrong.iter().filter_map(|at| document.leave_out(at)));
    }
    None
}

/// The parts that an objection is about.
fn wrong_parts(error: &ValidationError<'_>) -> Vec<String> {
    let at = error.instance_path().as_str();
    match error.kind() {
        Kind::AdditionalProperties { unexpected } => {
            let part = |name: &String| {
                let mut part = at.to_owned();
                push_pointer(&mut part, name);
                part
            };
            unexpected.iter().map(part).collect()
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => match meant(at, context) {
            Some(branch) => branch.iter().flat_map(wrong_parts).collect(),
            None => vec![at.to_owned()],
        },
        _ => vec![at.to_owned()],
    }
}

/// A text from the environment where the schema objects to a text: try it as what YAML would read it as, and
/// keep that only where the objection goes away.
fn settle_types(document: &mut Document) {
    let objections = objections(&document.value);
    for pointer in objections {
        if document.expanded(&pointer) != Expanded::Plain {
            continue;
        }
        let Some(Value::String(text)) = document.value.pointer(&pointer) else { continue };
        let Some(typed) = typed(text) else { continue };
        let mut candidate = document.value.clone();
        if let Some(slot) = candidate.pointer_mut(&pointer) {
            *slot = typed;
        }
        if !self::objections(&candidate).contains(&pointer) {
            document.value = candidate;
        }
    }
}

fn objections(value: &Value) -> BTreeSet<String> {
    fn collect(error: &ValidationError<'_>, found: &mut BTreeSet<String>) {
        found.insert(error.instance_path().as_str().to_owned());
        if let Kind::AnyOf { context } | Kind::OneOfNotValid { context } = error.kind() {
            context.iter().flatten().for_each(|inner| collect(inner, found));
        }
    }
    let mut found = BTreeSet::new();
    validator().iter_errors(value).for_each(|error| collect(&error, &mut found));
    found
}

fn typed(text: &str) -> Option<Value> {
    match text {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ => {
            let integer =
                text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from));
            let number = integer.ok().or_else(|| Number::from_f64(text.parse().ok()?))?;
            Some(Value::Number(number))
        }
    }
}

/// Turns one objection of the validator into problems with a place; none where it is about what is not known.
fn explain(
    error: &ValidationError<'_>,
    document: &Document,
    unknown: &[String],
    problems: &mut Vec<Problem>,
) {
    if is_about(error, unknown) {
        return;
    }
    let pointer = error.instance_path().as_str();
    match error.kind() {
        Kind::AdditionalProperties { unexpected } => {
            let known = properties(error);
            for name in unexpected {
                let mut at = pointer.to_owned();
                push_pointer(&mut at, name);
                let problem =
                    Problem::new(at, format!("unknown key {name:?}")).hint(expected_keys(name, &known));
                problems.push(document.locate(problem, On::Key));
            }
        }
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let problem = Problem::new(pointer, format!("the key {name:?} is missing"))
                .hint(description(error, name).map(|about| format!("{name}: {about}")));
            problems.push(document.locate(problem, On::Key));
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            explain_choice(error, context, document, unknown, problems);
        }
        _ => {
            let value = shown(error.instance(), document.expanded(pointer));
            let (text, hint) = plain(error, &value);
            problems.push(document.locate(Problem::new(pointer, text).hint(hint), On::Value));
        }
    }
}

/// None of several shapes fits. Where only one of them was meant, its own objections are said; else the shapes are
/// listed.
fn explain_choice(
    error: &ValidationError<'_>,
    context: &[Vec<ValidationError<'static>>],
    document: &Document,
    unknown: &[String],
    problems: &mut Vec<Problem>,
) {
    let pointer = error.instance_path().as_str();
    if let Some(branch) = meant(pointer, context) {
        branch.iter().for_each(|inner| explain(inner, document, unknown, problems));
        return;
    }
    let value = shown(error.instance(), document.expanded(pointer));
    let shapes = shapes(error);
    let mut problem = Problem::new(pointer, format!("expected {}, found {value}", list(&shapes)));
    if let (Value::String(text), Expanded::No) = (error.instance().as_ref(), document.expanded(pointer)) {
        let words: Vec<String> = shapes.iter().map(|s| s.trim_matches('"').to_owned()).collect();
        problem.hint = nearest(text, &words).map(|near| format!("did you mean {near:?}?"));
    }
    if let (Value::Object(map), Expanded::No) = (error.instance().as_ref(), document.expanded(pointer)) {
        problem.text = format!("expected {}", list(&shapes));
        if let Some(key) = map.keys().next() {
            problem.hint = nearest(key, &keywords(error)).map(|near| format!("did you mean {near:?}?"));
        }
    }
    problems.push(document.locate(problem, On::Value));
}

/// The objections of the one of several shapes that was meant (by its kind of value, its keyword), where only one can
/// have been.
fn meant<'a>(
    pointer: &str,
    context: &'a [Vec<ValidationError<'static>>],
) -> Option<&'a Vec<ValidationError<'static>>> {
    let here = |e: &ValidationError<'_>| {
        e.instance_path().as_str() == pointer
            && matches!(
                e.kind(),
                Kind::Type { .. }
                    | Kind::Required { .. }
                    | Kind::Constant { .. }
                    | Kind::Enum { .. }
                    | Kind::AdditionalProperties { .. }
            )
    };
    let right_type = |branch: &&Vec<ValidationError<'static>>| {
        !branch.iter().any(|e| {
            e.instance_path().as_str() == pointer
                && matches!(e.kind(), Kind::Type { .. } | Kind::Constant { .. })
        })
    };
    let meant: Vec<_> = context.iter().filter(|branch| !branch.iter().any(here)).collect();
    let typed: Vec<_> = context.iter().filter(right_type).collect();
    match (meant.as_slice(), typed.as_slice()) {
        ([one], _) | ([], [one]) => Some(*one),
        _ => None,
    }
}

/// The sentence for an objection about one value.
fn plain(error: &ValidationError<'_>, value: &str) -> (String, Option<String>) {
    let text = match error.kind() {
        Kind::Type { .. } | Kind::Format { .. } if wants_socket_address(error) => {
            return (format!("{value} is not an IP address with a port"), Some(address_hint(value)));
        }
        Kind::Type { kind } => return type_sentence(error, kind, value),
        Kind::Enum { options } => {
            let words: Vec<String> = options.as_array().into_iter().flatten().map(word).collect();
            let hint = error.instance().as_str().and_then(|text| nearest(text, &words));
            let hint = hint.map(|near| format!("did you mean {near:?}?"));
            return (format!("expected {}, found {value}", list(&words)), hint);
        }
        Kind::Constant { expected_value } => format!("expected {expected_value}, found {value}"),
        Kind::Minimum { limit } => format!("must be at least {limit}, is {value}"),
        Kind::Maximum { limit } => format!("must be at most {limit}, is {value}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}, is {value}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}, is {value}"),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MinItems { limit } => format!("must have at least {limit} items"),
        Kind::MaxItems { limit } => format!("must have at most {limit} items"),
        Kind::UniqueItems => "has an item twice".to_owned(),
        Kind::Pattern { pattern } => format!("{value} does not match `{pattern}`"),
        Kind::Format { format } => format!("{value} is not a {format}"),
        other => format!("does not fit the schema ({})", other.keyword()),
    };
    (text, None)
}

fn wants_socket_address(error: &ValidationError<'_>) -> bool {
    parent_schema(error).and_then(|schema| schema.get("format")).is_some_and(|name| name == SOCKET_ADDRESS)
}

/// An address as it may be written; with the port that is shown, where there is a good one.
fn address_hint(value: &str) -> String {
    let text = value.trim_matches('"');
    let port = text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    let is_host = text.rsplit_once(':').is_some_and(|(host, _)| !matches!(host, "" | "localhost"));
    let port = port.filter(|_| !is_host).unwrap_or(8000);
    format!("write it as 127.0.0.1:{port} or [::1]:{port}; a port is at most 65535")
}

fn type_sentence(error: &ValidationError<'_>, kind: &TypeKind, value: &str) -> (String, Option<String>) {
    let wanted: Vec<JsonType> = match kind {
        TypeKind::Single(one) => vec![*one],
        TypeKind::Multiple(set) => set.iter().filter(|kind| *kind != JsonType::Null).collect(),
    };
    let words: Vec<String> = wanted.iter().map(|kind| type_word(*kind).to_owned()).collect();
    let text_wanted = wanted.contains(&JsonType::String);
    let hint = match error.instance().as_ref() {
        Value::Null => Some("fill it in, or remove the key".to_owned()),
        Value::Number(_) | Value::Bool(_) if text_wanted => Some("put it in quotes".to_owned()),
        Value::String(_) if wanted == [JsonType::Boolean] => Some("write true or false".to_owned()),
        Value::String(text) if typed(text).is_some() && !text_wanted => Some("remove the quotes".to_owned()),
        _ => None,
    };
    (format!("expected {}, found {value}", list(&words)), hint)
}

fn type_word(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Null => "nothing",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "an integer",
        JsonType::Number => "a number",
        JsonType::String => "text",
        JsonType::Array => "a list",
        JsonType::Object => "a mapping",
    }
}

/// A value as it may be shown: nothing that came from outside the file, and nothing long.
fn shown(value: &Value, expanded: Expanded) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        _ if expanded != Expanded::No => "the value from the environment (not shown)".to_owned(),
        Value::String(text) if text.chars().count() > 40 => "a long text".to_owned(),
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

/// What the branches of a choice look like, in words.
fn shapes(error: &ValidationError<'_>) -> Vec<String> {
    let mut shapes = Vec::new();
    for branch in branches(error) {
        let branch = resolve(branch);
        if let Some(word) = branch.get("const") {
            shapes.push(self::word(word));
        } else if let Some(options) = branch.get("enum").and_then(Value::as_array) {
            shapes.extend(options.iter().map(word));
        } else if let Some(required) = branch.get("required").and_then(Value::as_array) {
            let keys: Vec<String> = required.iter().map(|key| format!("`{}`", word(key))).collect();
            shapes.push(format!("a mapping with {}", keys.join(" and ")));
        } else {
            shapes.push(type_of(branch).to_owned());
        }
    }
    shapes.retain(|shape| shape != "nothing");
    shapes
}

fn type_of(schema: &Value) -> &'static str {
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => "text",
        Some("integer") => "an integer",
        Some("number") => "a number",
        Some("boolean") => "true or false",
        Some("array") => "a list",
        Some("null") => "nothing",
        _ => "a mapping",
    }
}

/// The keys by which the branches of a choice are told apart.
fn keywords(error: &ValidationError<'_>) -> Vec<String> {
    let required = branches(error).into_iter().filter_map(|b| resolve(b).get("required")?.as_array());
    required.flatten().map(word).collect()
}

fn branches<'a>(error: &ValidationError<'_>) -> Vec<&'a Value> {
    keyword_schema(error).and_then(Value::as_array).map(|list| list.iter().collect()).unwrap_or_default()
}

/// The keys that the object of an `additionalProperties` objection may have.
fn properties(error: &ValidationError<'_>) -> Vec<String> {
    let names = parent_schema(error).and_then(|schema| schema.get("properties")).and_then(Value::as_object);
    names.map(|map| map.keys().cloned().collect()).unwrap_or_default()
}

fn description(error: &ValidationError<'_>, name: &str) -> Option<String> {
    let about = parent_schema(error)?.get("properties")?.get(name)?.get("description")?.as_str()?;
    let flat = about.split_whitespace().collect::<Vec<_>>().join(" ");
    let first = flat.split_inclusive(". ").next()?;
    Some(first.trim().trim_end_matches('.').to_owned())
}

/// The value of the keyword that objected.
fn keyword_schema(error: &ValidationError<'_>) -> Option<&'static Value> {
    schema().pointer(error.schema_path().as_str())
}

/// The schema that the keyword stands in.
fn parent_schema(error: &ValidationError<'_>) -> Option<&'static Value> {
    let path = error.schema_path().as_str();
    schema().pointer(&path[..path.rfind('/')?])
}

fn resolve(mut branch: &'static Value) -> &'static Value {
    for _ in 0..8 {
        let Some(target) = branch.get("$ref").and_then(Value::as_str) else { break };
        let Some(next) = schema().pointer(target.trim_start_matches('#')) else { break };
        branch = next;
    }
    branch
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn list(words: &[String]) -> String {
    match words {
        [] => "something else".to_owned(),
        [one] => one.clone(),
        [many @ .., last] => format!("{} or {last}", many.join(", ")),
    }
}

fn expected_keys(name: &str, known: &[String]) -> Option<String> {
    if let Some(near) = nearest(name, known) {
        return Some(format!("did you mean {near:?}?"));
    }
    let shown = known.len().min(12);
    let more = if known.len() > shown { ", .." } else { "" };
    (shown > 0).then(|| format!("there is {}{more}", known[..shown].join(", ")))
}

/// The known word nearest to this one, where one is near: a slip or two in short words, more in long ones.
pub(crate) fn nearest<'a>(word: &str, known: &'a [String]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let slips_max = (word.chars().count() / 3).clamp(1, 3);
    let near = |other: &str| {
        strsim::osa_distance(&word, other) <= slips_max || strsim::jaro_winkler(&word, other) >= 0.88
    };
    known
        .iter()
        .filter(|other| near(&other.to_lowercase()))
        .min_by_key(|other| strsim::osa_distance(&word, &other.to_lowercase()))
        .map(String::as_str)
}
