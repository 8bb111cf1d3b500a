//! `portcullis call`: call a tool.

use std::io::Read as _;

use clap::Args;
use serde_json::{Map, Value};

use super::{Exit, Failure, Globals, Out};
use crate::reach::Reach;

/// The most bytes of arguments that are read from standard input.
const STDIN_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Call a tool.
///
/// `name=value` sends a text, which the tool's schema turns into a number where it wants one; `name:=json` sends
/// JSON; `name=@file` sends the text of a file.
#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// The tool, as `portcullis tools` lists it
    tool: String,
    /// Its arguments: name=value, name:=json, name=@file
    #[arg(value_name = "ARGUMENT")]
    arguments: Vec<String>,
    /// Arguments as one JSON object, which those beside it add to; `-` reads it from standard input
    #[arg(long, value_name = "JSON")]
    json_args: Option<String>,
    /// An idempotency key: the same key with the same arguments has one effect
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

pub(super) async fn run(args: CallArgs, globals: &Globals, out: &Out) -> Result<(), Failure> {
    let mut arguments = base(args.json_args.as_deref())?;
    arguments.extend(given(&args.arguments)?);
    let reach = Reach::connect(globals, out).await?;
    let answer = reach.call_with(&args.tool, Value::Object(arguments), args.idempotency_key.as_deref()).await;
    reach.close().await;
    out.value(&answer?);
    Ok(())
}

fn base(json_args: Option<&str>) -> Result<Map<String, Value>, Failure> {
    let usage = |text: String| Failure::new(Exit::Usage, text);
    let text = match json_args {
        None => return Ok(Map::new()),
        Some("-") => {
            let mut text = String::new();
            std::io::stdin()
                .lock()
                .take(STDIN_BYTES_MAX)
                .read_to_string(&mut text)
                .map_err(|e| usage(format!("standard input cannot be read: {e}")))?;
            text
        }
        Some(text) => text.to_owned(),
    };
    match tool::json::parse(text.as_bytes()) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(usage("--json-args wants one JSON object".to_owned())),
        Err(e) => Err(usage(format!("--json-args is not JSON: {e}"))),
    }
}

/// The arguments of the command line, each once: of two values nobody can say which one was meant.
pub(super) fn given(words: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut given = Map::new();
    for word in words {
        let (name, value) = argument(word)?;
        if given.contains_key(&name) {
            let text =
                format!("the argument {name:?} is there twice; give it once, or a list as {name}:=[..]");
            return Err(Failure::new(Exit::Usage, text));
        }
        given.insert(name, value);
    }
    Ok(given)
}

/// One `name=value`, `name:=json` or `name=@file`.
pub(super) fn argument(word: &str) -> Result<(String, Value), Failure> {
    let usage = |text: String| Failure::new(Exit::Usage, text);
    let Some((name, value)) = word.split_once('=') else {
        return Err(usage(format!("{word:?} is not an argument; write name=value or name:=json")));
    };
    if let Some(name) = name.strip_suffix(':') {
        let value = tool::json::parse(value.as_bytes())
            .map_err(|e| usage(format!("the value of {name:?} is not JSON: {e}")))?;
        return Ok((name.to_owned(), value));
    }
    let text = match value.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|e| usage(format!("the file {file:?} of {name:?} cannot be read: {e}")))?,
        None => value.to_owned(),
    };
    Ok((name.to_owned(), Value::String(text)))
}
