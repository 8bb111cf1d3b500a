//! `portcullis tools`: what can be called.

use serde_json::Value;

use super::{Failure, Globals, Out};
use crate::reach::Reach;

pub(super) async fn run(globals: &Globals, out: &Out) -> Result<(), Failure> {
    let reach = Reach::connect(globals, out).await?;
    let tools = reach.tools().await;
    reach.close().await;
    let tools = tools?;
    let text = |tool: &Value, name: &str| tool[name].as_str().unwrap_or_default().to_owned();
    let lines = tools.as_array().into_iter().flatten().map(|tool| {
        let deprecated = if tool["deprecated"].as_bool() == Some(true) { " (deprecated)" } else { "" };
        let about = text(tool, "description");
        let first = about.split_inclusive(". ").next().unwrap_or_default().trim_end().to_owned();
        vec![format!("{}{deprecated}", text(tool, "name")), parameters(tool), first]
    });
    out.table(&["tool", "arguments", "about"], lines.collect(), &tools);
    Ok(())
}

/// The names of a tool's arguments; those that may be left out in brackets.
fn parameters(tool: &Value) -> String {
    let schema = &tool["input_schema"];
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let names = schema["properties"].as_object().into_iter().flat_map(|map| map.keys());
    let shown = names.map(|name| match required.contains(&name.as_str()) {
        true => name.clone(),
        false => format!("[{name}]"),
    });
    shown.collect::<Vec<_>>().join(" ")
}
