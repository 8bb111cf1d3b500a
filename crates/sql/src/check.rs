//! What can be wrong with the configuration without looking at a database.

use serde_json::{Number, Value};
use tool::{ConfigFault, ToolName, json::push_pointer};

use crate::{
    config::{Config, DatabaseConfig, ParameterConfig, ParameterType, ToolConfig},
    tables::nearest,
    tools,
};

impl Config {
    /// What is wrong with this section, all of it. Looks at no file and no database.
    #[must_use]
    pub fn check(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        for (name, database) in &self.databases {
            check_database(&pointer(&["sql", "databases", name]), name, database, &mut faults);
        }
        for (name, tool) in &self.tools {
            check_tool(&pointer(&["sql", "tools", name]), name, tool, self, &mut faults);
        }
        faults.extend(self.check_usual());
        faults.extend(self.check_bounds());
        faults
    }

    /// The database for calls of free SQL that name none must be one that such calls may name.
    fn check_usual(&self) -> Option<ConfigFault> {
        let name = self.query.database.as_ref()?;
        let at = "/sql/query/database";
        match self.databases.get(name) {
            Some(database) if database.query.is_some() => None,
            Some(_) => {
                let fault = ConfigFault::new(at, format!("the database {name:?} is closed to free SQL"));
                Some(fault.hint(format!("open it with `databases.{name}.query`, or name another one")))
            }
            None => {
                let fault = ConfigFault::new(at, format!("there is no database {name:?} in /sql/databases"));
                Some(did_you_mean(fault, name, self.databases.keys().map(String::as_str)))
            }
        }
    }

    /// Bounds that are no bounds.
    pub(crate) fn check_bounds(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        let (l, q) = (&self.limits, &self.query);
        for (at, value, least, most) in [
            ("/sql/memory_bytes_max", self.memory_bytes_max, 8 * 1024 * 1024, 1 << 40),
            ("/sql/query/sql_chars_max", q.sql_chars_max.into(), 1, 100_000),
            ("/sql/query/rows_max", q.rows_max.into(), 1, 100_000),
            ("/sql/query/bytes_max", q.bytes_max.into(), 1_024, 100_000_000),
            ("/sql/query/timeout_ms", q.timeout_ms, 1, 3_600_000),
            ("/sql/limits/value_bytes_max", l.value_bytes_max.into(), 1_000, 100_000_000),
            ("/sql/limits/columns_max", l.columns_max.into(), 1, 2_000),
            ("/sql/limits/expression_depth_max", l.expression_depth_max.into(), 10, 1_000),
            ("/sql/limits/selects_max", l.selects_max.into(), 1, 200),
            ("/sql/limits/nesting_max", l.nesting_max.into(), 1, 100),
            ("/sql/limits/instructions_max", l.instructions_max.into(), 1_000, 1_000_000),
            ("/sql/limits/pattern_bytes_max", l.pattern_bytes_max.into(), 1, 10_000),
            ("/sql/limits/parameters_max", l.parameters_max.into(), 1, 32_766),
        ] {
            check_range(at, value, least, most, &mut faults);
        }
        faults
    }
}

/// A pointer of these parts.
pub(crate) fn pointer(parts: &[&str]) -> String {
    let mut pointer = String::new();
    for part in parts {
        push_pointer(&mut pointer, part);
    }
    pointer
}

fn check_range(at: &str, value: u64, least: u64, most: u64, faults: &mut Vec<ConfigFault>) {
    if !(least..=most).contains(&value) {
        faults.push(ConfigFault::new(at, format!("{value} is not between {least} and {most}")));
    }
}

fn check_database(at: &str, name: &str, database: &DatabaseConfig, faults: &mut Vec<ConfigFault>) {
    if ToolName::parse(name).is_err() {
        faults.push(ConfigFault::new(
            at,
            format!("{name:?} is no name for a database: use 1 to 64 letters, digits, '_' or '-'"),
        ));
    }
    if database.sqlite.as_os_str().is_empty() {
        faults.push(ConfigFault::new(format!("{at}/sqlite"), "the path of the SQLite file is empty"));
    }
    check_range(&format!("{at}/readers"), database.readers.into(), 1, 64, faults);
    check_range(&format!("{at}/busy_timeout_ms"), database.busy_timeout_ms, 0, 60_000, faults);
    check_range(&format!("{at}/recycle_seconds"), database.recycle_seconds, 1, 604_800, faults);
    let Some(query) = &database.query else {
        return;
    };
    for (i, column) in query.columns_hidden.iter().enumerate() {
        if column.split('.').filter(|part| !part.is_empty()).count() != 2 {
            let at = format!("{at}/query/columns_hidden/{i}");
            faults.push(ConfigFault::new(at, format!("{column:?} is not of the form table.column")));
        }
    }
    for (i, name) in query.functions.iter().enumerate() {
        if ["load_extension", "fts3_tokenizer"].contains(&name.to_ascii_lowercase().as_str()) {
            let at = format!("{at}/query/functions/{i}");
            faults.push(ConfigFault::new(
                at,
                format!("{name} runs code of a caller's choice; it cannot be allowed"),
            ));
        }
    }
}

fn check_tool(at: &str, name: &str, tool: &ToolConfig, config: &Config, faults: &mut Vec<ConfigFault>) {
    let mut fault = |part: &str, text: String| faults.push(ConfigFault::new(format!("{at}{part}"), text));
    if let Err(e) = ToolName::parse(name) {
        fault("", e.to_string());
    }
    if [tools::QUERY, tools::SCHEMA].contains(&name) {
        fault("", format!("{name} is the name of a built-in tool; give this one another"));
    }
    if tool.description.trim().is_empty() {
        fault("/description", "the description is empty; say what the tool does".to_owned());
    }
    for (part, text) in [
        ("removal", tool.deprecated.as_ref().map(|d| d.removal.as_str())),
        ("since", tool.deprecated.as_ref().and_then(|d| d.since.as_deref())),
    ] {
        if let Some(text) = text.filter(|text| !is_date(text)) {
            fault(&format!("/deprecated/{part}"), format!("{text:?} is not a day of the form YYYY-MM-DD"));
        }
    }
    if tool.rate_per_minute == Some(0) {
        fault("/rate_per_minute", "0 calls a minute would be none; leave it out for no limit".to_owned());
    }
    if tool.concurrent_max == Some(0) {
        fault("/concurrent_max", "0 calls at once would be none; leave it out for no limit".to_owned());
    }
    for (i, example) in tool.examples.iter().enumerate() {
        if !example.is_object() {
            fault(&format!("/examples/{i}"), "an example is an object of arguments".to_owned());
        }
    }
    check_range(&format!("{at}/rows_max"), tool.rows_max.into(), 1, 100_000, faults);
    check_range(&format!("{at}/bytes_max"), tool.bytes_max.into(), 1_024, 100_000_000, faults);
    check_range(&format!("{at}/timeout_ms"), tool.timeout_ms, 1, 3_600_000, faults);
    if !config.databases.contains_key(&tool.database) {
        let names = config.databases.keys().map(String::as_str);
        let fault = ConfigFault::new(
            format!("{at}/database"),
            format!("there is no database {:?} in /sql/databases", tool.database),
        );
        faults.push(did_you_mean(fault, &tool.database, names));
    }
    for (name, parameter) in &tool.parameters {
        let mut at = format!("{at}/parameters");
        push_pointer(&mut at, name);
        check_parameter(&at, name, parameter, faults);
    }
    check_paging(at, tool, faults);
}

/// Adds the nearest of some names as a hint.
pub(crate) fn did_you_mean<'a>(
    fault: ConfigFault,
    name: &str,
    names: impl Iterator<Item = &'a str>,
) -> ConfigFault {
    match nearest(name, names) {
        Some(near) => fault.hint(format!("did you mean {near:?}?")),
        None => fault,
    }
}

fn check_parameter(at: &str, name: &str, parameter: &ParameterConfig, faults: &mut Vec<ConfigFault>) {
    let mut fault = |part: &str, text: String| faults.push(ConfigFault::new(format!("{at}{part}"), text));
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !plain || !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        fault("", format!("{name:?} is no name for a parameter: use letters, digits and '_'"));
    }
    if parameter.default.is_some() && parameter.required == Some(true) {
        fault("/default", "a parameter that must be given needs no default".to_owned());
    }
    if let Some(text) = parameter.default.as_ref().and_then(|value| misfit(parameter, value)) {
        fault("/default", text);
    }
    if parameter.one_of.as_ref().is_some_and(Vec::is_empty) {
        fault("/enum", "an empty list allows no value at all".to_owned());
    }
    for (i, value) in parameter.one_of.iter().flatten().enumerate() {
        if !has_type(parameter.kind, value) {
            fault(&format!("/enum/{i}"), format!("{value} is not of the parameter's type"));
        }
    }
    let numeric = matches!(parameter.kind, ParameterType::Integer | ParameterType::Number);
    for (part, given) in [
        ("minimum", parameter.minimum.is_some()),
        ("maximum", parameter.maximum.is_some()),
        ("exclusiveMinimum", parameter.exclusive_minimum.is_some()),
        ("exclusiveMaximum", parameter.exclusive_maximum.is_some()),
    ] {
        if given && !numeric {
            fault(&format!("/{part}"), format!("{part} is for numbers"));
        }
    }
    for (part, given) in [
        ("minLength", parameter.min_length.is_some()),
        ("maxLength", parameter.max_length.is_some()),
        ("pattern", parameter.pattern.is_some()),
    ] {
        if given && parameter.kind != ParameterType::String {
            fault(&format!("/{part}"), format!("{part} is for texts"));
        }
    }
    if let (Some(least), Some(most)) = (real(&parameter.minimum), real(&parameter.maximum))
        && least > most
    {
        fault("/maximum", format!("{most} is less than the minimum {least}"));
    }
}

fn check_paging(at: &str, tool: &ToolConfig, faults: &mut Vec<ConfigFault>) {
    let mut fault = |part: &str, text: String| faults.push(ConfigFault::new(format!("{at}{part}"), text));
    let reserved = ["truncated", "row_count", "total_count", "next", "next_offset"];
    if reserved.contains(&tool.result.rows.as_str()) || tool.result.rows.is_empty() {
        fault("/result/rows", format!("{:?} cannot be the name of the rows", tool.result.rows));
    }
    let Some(paging) = &tool.paging else {
        if tool.count_statement.is_some() {
            fault("/count_statement", "a count is given with paging alone; declare `paging`".to_owned());
        }
        return;
    };
    if tool.result.single {
        fault("/paging", "a single row has no pages; leave out `paging` or `result.single`".to_owned());
    }
    if paging.limit == paging.offset {
        fault("/paging/offset", "limit and offset must be two parameters".to_owned());
    }
    for (part, name) in [("limit", &paging.limit), ("offset", &paging.offset)] {
        if *name == tool.result.rows {
            fault("/result/rows", format!("{name:?} is the name of a paging parameter already"));
        }
        match tool.parameters.get(name) {
            Some(parameter) if parameter.kind == ParameterType::Integer => {
                if real(&parameter.minimum).is_none_or(|least| least < 0.0) {
                    let at = format!("/parameters/{name}/minimum");
                    fault(&at, format!("{part} needs a minimum of 0 or more: SQLite takes -1 as no limit"));
                }
                if part == "limit" && real(&parameter.maximum).is_none_or(|most| most > tool.rows_max.into())
                {
                    let at = format!("/parameters/{name}/maximum");
                    fault(&at, format!("limit needs a maximum of at most rows_max ({})", tool.rows_max));
                }
            }
            Some(_) => {
                fault(&format!("/paging/{part}"), format!("the parameter {name:?} must be an integer"));
            }
            None => {
                let names = tool.parameters.keys().map(String::as_str);
                let missing = ConfigFault::new(
                    format!("{at}/paging/{part}"),
                    format!("there is no parameter {name:?}"),
                );
                faults.push(did_you_mean(missing, name, names));
                return;
            }
        }
    }
}

fn has_type(kind: ParameterType, value: &Value) -> bool {
    match kind {
        ParameterType::String => value.is_string(),
        ParameterType::Integer => value.is_i64(),
        ParameterType::Number => value.is_number(),
        ParameterType::Boolean => value.is_boolean(),
    }
}

/// Why a default does not fit its own parameter.
fn misfit(parameter: &ParameterConfig, value: &Value) -> Option<String> {
    if !has_type(parameter.kind, value) {
        return Some(format!("{value} is not of the parameter's type"));
    }
    if parameter.one_of.as_ref().is_some_and(|values| !values.contains(value)) {
        return Some(format!("{value} is not among the values of enum"));
    }
    if let Some(number) = value.as_f64() {
        let below = real(&parameter.minimum).is_some_and(|least| number < least);
        let above = real(&parameter.maximum).is_some_and(|most| number > most);
        return (below || above).then(|| format!("{value} is outside minimum and maximum"));
    }
    let length = value.as_str()?.chars().count() as u64;
    let short = parameter.min_length.is_some_and(|least| length < least.into());
    let long = parameter.max_length.is_some_and(|most| length > most.into());
    (short || long).then(|| format!("{value} is outside minLength and maxLength"))
}

fn real(number: &Option<Number>) -> Option<f64> {
    number.as_ref().and_then(Number::as_f64)
}

/// True for a day of the form `YYYY-MM-DD` that a calendar may have.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let digits = |part: &str, length| part.len() == length && part.bytes().all(|b| b.is_ascii_digit());
    let [year, month, day] = parts.as_slice() else {
        return false;
    };
    digits(year, 4)
        && digits(month, 2)
        && digits(day, 2)
        && ("01"..="12").contains(month)
        && ("01"..="31").contains(day)
}
