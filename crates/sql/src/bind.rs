//! From JSON to bound parameters. Values only ever travel here, never in the text of a statement.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rusqlite::{Statement, types::Value as Bound};
use serde_json::{Map, Value};
use tool::json::push_pointer;

use crate::{config::ParameterType, error::SqlError, tables::nearest};

/// Binds the arguments of a declared tool by name. One that is left out or null is NULL.
pub(crate) fn declared(
    statement: &mut Statement<'_>,
    parameters: &[(String, ParameterType)],
    arguments: &Value,
) -> Result<(), SqlError> {
    for index in 1..=statement.parameter_count() {
        let name = bare_name(statement, index).unwrap_or_default();
        let Some((name, kind)) = parameters.iter().find(|(parameter, _)| *parameter == name) else {
            continue;
        };
        let value = typed(*kind, arguments.get(name).unwrap_or(&Value::Null));
        bind(statement, index, value).map_err(|text| wrong("", name, text))?;
    }
    Ok(())
}

/// Binds the `params` of free SQL: an array by position, an object by name.
pub(crate) fn free(statement: &mut Statement<'_>, params: &Value) -> Result<(), SqlError> {
    match params {
        Value::Null => by_position(statement, &[]),
        Value::Array(values) => by_position(statement, values),
        Value::Object(values) => by_name(statement, values),
        _ => Err(SqlError::argument("/params", "params must be an array or an object")),
    }
}

fn by_position(statement: &mut Statement<'_>, values: &[Value]) -> Result<(), SqlError> {
    let wanted = statement.parameter_count();
    if values.len() != wanted {
        let given = values.len();
        let s = |count: usize| if count == 1 { "" } else { "s" };
        let text = format!(
            "the statement has {wanted} parameter{} and params has {given} value{}",
            s(wanted),
            s(given)
        );
        return Err(SqlError::argument("/params", text));
    }
    for (i, value) in values.iter().enumerate() {
        bind(statement, i + 1, any(value)).map_err(|text| wrong("/params", &i.to_string(), text))?;
    }
    Ok(())
}

fn by_name(statement: &mut Statement<'_>, values: &Map<String, Value>) -> Result<(), SqlError> {
    let mut names = Vec::new();
    for index in 1..=statement.parameter_count() {
        let Some(name) = bare_name(statement, index) else {
            let text = format!("parameter {index} has no name; give params as an array");
            return Err(SqlError::argument("/params", text));
        };
        let Some(value) = values.get(&name) else {
            let text = format!("the statement needs {name:?}, and params does not have it");
            return Err(SqlError::argument("/params", text));
        };
        bind(statement, index, any(value)).map_err(|text| wrong("/params", &name, text))?;
        names.push(name);
    }
    match values.keys().find(|name| !names.contains(name)) {
        None => Ok(()),
        Some(extra) => {
            let mut text = format!("the statement has no parameter {extra:?}");
            if let Some(near) = nearest(extra, names.iter().map(String::as_str)) {
                text = format!("{text}; did you mean {near:?}?");
            }
            Err(wrong("/params", extra, text))
        }
    }
}

/// The name of a parameter less its `:`, `@` or `$`; `None` for `?` and `?1`.
pub(crate) fn bare_name(statement: &Statement<'_>, index: usize) -> Option<String> {
    let name = statement.parameter_name(index)?;
    name.strip_prefix([':', '@', '$', '#']).map(str::to_owned)
}

fn bind(statement: &mut Statement<'_>, index: usize, value: Result<Bound, String>) -> Result<(), String> {
    // What can fail here is a value longer than the engine's bound.
    let bound = statement.raw_bind_parameter(index, value?);
    bound.map_err(|_| "the value is longer than `limits.value_bytes_max` allows".to_owned())
}

fn wrong(parent: &str, name: &str, text: String) -> SqlError {
    let mut pointer = parent.to_owned();
    push_pointer(&mut pointer, name);
    SqlError::argument(pointer, text)
}

fn typed(kind: ParameterType, value: &Value) -> Result<Bound, String> {
    match (kind, value) {
        (_, Value::Null) => Ok(Bound::Null),
        (ParameterType::String, Value::String(text)) => Ok(Bound::Text(text.clone())),
        (ParameterType::Boolean, Value::Bool(on)) => Ok(Bound::Integer((*on).into())),
        (ParameterType::Integer, Value::Number(number)) => match number.as_i64() {
            Some(number) => Ok(Bound::Integer(number)),
            // 10.0 is an integer to JSON Schema.
            None => whole(number.as_f64()).ok_or_else(|| format!("{number} does not fit 64 bits")),
        },
        (ParameterType::Number, Value::Number(number)) => {
            number.as_f64().map(Bound::Real).ok_or_else(|| format!("{number} is no number of 64 bits"))
        }
        _ => Err("the value is not of the declared type".to_owned()),
    }
}

fn whole(number: Option<f64>) -> Option<Bound> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let number = number.filter(|n| n.fract() == 0.0 && n.abs() <= EXACT_MAX)?;
    format!("{number:.0}").parse().ok().map(Bound::Integer)
}

fn any(value: &Value) -> Result<Bound, String> {
    match value {
        Value::Null => Ok(Bound::Null),
        Value::Bool(on) => Ok(Bound::Integer((*on).into())),
        Value::String(text) => Ok(Bound::Text(text.clone())),
        Value::Number(number) => match (number.as_i64(), number.is_f64(), number.as_f64()) {
            (Some(integer), ..) => Ok(Bound::Integer(integer)),
            (None, true, Some(real)) => Ok(Bound::Real(real)),
            _ => Err(format!("{number} does not fit 64 bits with a sign")),
        },
        Value::Object(members) => match (members.len(), members.get("base64").and_then(Value::as_str)) {
            (1, Some(text)) => STANDARD.decode(text).map(Bound::Blob).map_err(|e| format!("not base64: {e}")),
            _ => Err(NOT_PLAIN.to_owned()),
        },
        Value::Array(_) => Err(NOT_PLAIN.to_owned()),
    }
}

const NOT_PLAIN: &str = "a parameter is a text, a number, true, false, null or {\"base64\": \"..\"}; pass a list as JSON text and read it with json_each()";
