//! The configuration: one YAML file, or the environment.
//!
//! YAML -> tree with places -> variables of the environment filled in -> JSON, checked against the schema that
//! the types make -> the types -> what each room checks by itself. Each step says everything it finds, with the
//! line and the column, and leaves what fits to the next one (`examine.rs`).

pub(crate) mod add;
mod document;
mod environment;
mod examine;
mod expand;
mod import;
mod inventories;
mod problem;
mod schema;
mod sections;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod yaml;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub(crate) use environment::{examine_environment, from_environment};
pub(crate) use examine::Examined;
pub(crate) use expand::Lookup;
pub(crate) use inventories::Instead;
pub(crate) use problem::{Colours, Problems};
pub(crate) use schema::schema;
pub(crate) use sections::{BootstrapKey, Config, LogConfig, LogFormat, LogLevel, ShownAs, unknown};

use crate::secrets;
use document::{Document, On};
use problem::Problem;

/// A configuration that holds together.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The same as JSON, with the variables filled in: to tell which sections changed. Holds secrets.
    pub value: Value,
    /// The same, with what came from outside the file masked: to be shown.
    pub shown: Value,
    /// Relative paths start here.
    pub base_dir: PathBuf,
    /// The file it came from; `None` for the environment.
    pub file: Option<PathBuf>,
    /// Files that it names and that belong to it.
    pub imported: Vec<PathBuf>,
    /// What the operator should know of it, for the log.
    pub notes: Vec<String>,
    /// Whether placeholders are taken for secrets: only for trying things out (`ENVIRONMENT=development`).
    pub takes_placeholders: bool,
}

/// Loads a file, with everything checked that can be without opening anything.
///
/// Error: everything that is wrong.
pub(crate) fn load(path: &Path, lookup: Lookup<'_>) -> Result<Loaded, Problems> {
    checked(examine(path, lookup)?)
}

/// The same for a file that would have this text.
pub(crate) fn load_as(path: &Path, text: &str, lookup: Lookup<'_>) -> Result<Loaded, Problems> {
    checked(examine_as(path, text, None, lookup)?)
}

fn checked(mut examined: Examined) -> Result<Loaded, Problems> {
    let faults = examined.loaded.config.check();
    examined.add(faults);
    examined.whole()
}

/// Takes a file as far as it fits the schema; names and statements in it are not looked at yet.
///
/// Error: nothing of it can be taken.
pub(crate) fn examine(path: &Path, lookup: Lookup<'_>) -> Result<Examined, Problems> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path)
        .map_err(|e| Problems::single(&name, format!("the file cannot be read: {}", io_sentence(&e))))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Problems::single(&name, format!("the file is not UTF-8 text: byte {at} is wrong"))
    })?;
    examine_as(path, &text, None, lookup)
}

/// Takes a file that would have this text, and would find another file as that would be.
pub(crate) fn examine_as(
    path: &Path,
    text: &str,
    instead: Option<Instead<'_>>,
    lookup: Lookup<'_>,
) -> Result<Examined, Problems> {
    let base_dir = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let base_dir = std::path::absolute(&base_dir).unwrap_or(base_dir);
    let mut examined = examine_text(&path.display().to_string(), text, base_dir, instead, lookup)?;
    examined.loaded.file = Some(path.to_owned());
    examined.loaded.takes_placeholders = secrets::placeholders_allowed(lookup);
    Ok(examined)
}

/// Takes the text of a file named `name`.
pub(crate) fn examine_text(
    name: &str,
    text: &str,
    base_dir: PathBuf,
    instead: Option<Instead<'_>>,
    lookup: Lookup<'_>,
) -> Result<Examined, Problems> {
    let fail = |problem| Problems::sorted(name, text, vec![problem]);
    let parsed = yaml::parse(text).map_err(fail)?;
    let Some(tree) = parsed.tree else {
        let problem = Problem::new("", "the file is empty");
        let hint = "`portcullis demo` shows a whole one; `server: {}` is enough to start with";
        return Err(fail(problem.hint(Some(hint.to_owned()))));
    };
    let (mut document, mut problems) = Document::from_tree(tree, lookup);
    let unknown: Vec<String> = problems.iter().map(|problem| problem.pointer.clone()).collect();
    problems.extend(parsed.problems);
    let (imported, wrong) = lay_files(&mut document, &base_dir, instead, lookup);
    let wrong = wrong.into_iter().map(|problem| document.locate(problem, On::Value));
    problems.extend(wrong);
    let mut examined = Examined::new((name, text), document, problems, &unknown, base_dir)?;
    examined.loaded.imported = imported;
    Ok(examined)
}

/// Lays what the files that a configuration names say under it. Returns the files, and what is wrong with them.
fn lay_files(
    document: &mut Document,
    base_dir: &Path,
    instead: Option<Instead<'_>>,
    lookup: Lookup<'_>,
) -> (Vec<PathBuf>, Vec<Problem>) {
    let (mut files, mut problems) = import::servers(document, base_dir, lookup);
    let (more, wrong) = inventories::lay(document, base_dir, instead);
    files.extend(more);
    problems.extend(wrong);
    (files, problems)
}

/// The data folder of a file, without looking at anything else in it; by default `data` beside the file.
///
/// Error: a sentence, where the file cannot be read or the member is no text.
pub(crate) fn peek_data_dir(path: &Path, lookup: Lookup<'_>) -> Result<PathBuf, String> {
    let name = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|e| format!("{name} cannot be read: {}", io_sentence(&e)))?;
    let parsed = yaml::parse(&text).map_err(|problem| format!("{name}: {}", problem.text))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let Some(member) = parsed.tree.and_then(|tree| tree.member("data_dir")) else {
        return Ok(folder.join("data"));
    };
    let (member, problems) = Document::from_tree(member, lookup);
    match (problems.first(), member.value) {
        (Some(first), _) => Err(format!("{name}: data_dir: {}", first.text)),
        (None, Value::String(dir)) => Ok(folder.join(dir)),
        (None, _) => Err(format!("{name}: data_dir is no text; name the folder with --data")),
    }
}

/// Gives faults that were found while opening rooms their places in the file they came from.
pub(crate) fn locate_faults(loaded: &Loaded, faults: Vec<tool::ConfigFault>, lookup: Lookup<'_>) -> Problems {
    let problems: Vec<Problem> = faults.into_iter().map(Problem::from).collect();
    let Some(path) = &loaded.file else {
        return Problems { file: "environment".to_owned(), text: String::new(), list: problems };
    };
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let tree = yaml::parse(&text).ok().and_then(|parsed| parsed.tree);
    let document = tree.map(|tree| {
        let mut document = Document::from_tree(tree, lookup).0;
        // Whatever is wrong with these files was told when they were read.
        drop(lay_files(&mut document, &loaded.base_dir, None, lookup));
        document
    });
    let list: Vec<Problem> = match document {
        Some(document) => problems.into_iter().map(|p| document.locate(p, On::Value)).collect(),
        None => problems,
    };
    Problems::sorted(&path.display().to_string(), &text, list)
}

fn io_sentence(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}
