//! Many templates, and an index that says which one reads what a command prints on a platform.

use std::{
    io::Read as _,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use lru::LruCache;
use serde::Serialize;
use thiserror::Error;

use crate::{
    Limits, RunError, Table, Template, TemplateError,
    pattern::{Pattern, Scratch, Tried},
    template::TEMPLATE_BYTES_MAX,
};

/// How many templates stay compiled. Some hundred kilobytes each, where all their rules were met.
const COMPILED_MAX: NonZeroUsize = NonZeroUsize::new(64).expect("it is not zero");
/// The longest index, in bytes.
const INDEX_BYTES_MAX: u64 = 4 << 20;

/// A set of templates with its index, in the form of the `ntc-templates` package: a file `index` with the columns
/// Template, Hostname, Platform, Command, beside files of templates. Of several rows that fit the first counts.
#[derive(Debug)]
pub struct Library {
    rows: Vec<Row>,
    platforms: Vec<Pattern>,
    source: Source,
    compiled: Mutex<LruCache<Box<str>, Arc<Result<Template, TemplateError>>>>,
}

#[derive(Debug)]
enum Source {
    Folder(PathBuf),
    Texts(&'static [(&'static str, &'static str)]),
}

#[derive(Debug)]
struct Row {
    /// The names of its templates; the tables of several are merged.
    templates: Vec<Box<str>>,
    /// The place of its platform's pattern.
    platform: usize,
    command: Pattern,
}

/// A folder that holds no library.
#[derive(Debug, Error)]
pub enum LibraryError {
    /// There is no index.
    #[error("there is no index of templates in {}: {source}", folder.display())]
    Index {
        /// The folder.
        folder: PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// The index cannot be read.
    #[error("the index of templates, {0}")]
    Row(TemplateError),
}

/// What came of the output of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// There are records.
    Parsed,
    /// The template found none.
    Empty,
    /// Nobody has a template for this command of this platform.
    NoTemplate,
    /// The template does not know such output, or is wrong.
    TemplateError,
}

/// The output of a command, parsed.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// What came of it.
    pub status: Status,
    /// The template, or several joined with `:`.
    pub template: Option<String>,
    /// The records, where there is a template that works.
    pub table: Option<Table>,
    /// The end of the command that the index knows nothing of, such as `vrf red`: the template may be for another form
    /// of the command.
    pub words_unknown: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
}

impl Library {
    /// Opens a folder: one with a file `index`, or one that has it in `templates` or `ntc_templates/templates`, as the
    /// package is unpacked.
    ///
    /// Error: there is none, or a line of it is not one of an index.
    pub fn open(folder: &Path) -> Result<Self, LibraryError> {
        let place = ["", "templates", "ntc_templates/templates"]
            .iter()
            .map(|below| folder.join(below))
            .find(|folder| folder.join("index").is_file())
            .unwrap_or_else(|| folder.to_owned());
        let index = read(&place.join("index"), INDEX_BYTES_MAX)
            .map_err(|source| LibraryError::Index { folder: folder.to_owned(), source })?;
        Self::new(&index, Source::Folder(place)).map_err(LibraryError::Row)
    }

    /// A library that is part of a program: its index, and its templates by name.
    ///
    /// Error: a line of the index is not one.
    pub fn of_texts(
        index: &str,
        templates: &'static [(&'static str, &'static str)],
    ) -> Result<Self, TemplateError> {
        Self::new(index, Source::Texts(templates))
    }

    fn new(index: &str, source: Source) -> Result<Self, TemplateError> {
        let (mut rows, mut names): (Vec<Row>, Vec<String>) = (Vec::new(), Vec::new());
        let mut platforms = Vec::new();
        let lines = (1_u32..).zip(index.lines().map(str::trim));
        let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let (at, header) = lines.next().ok_or_else(|| TemplateError::new(0, "it is empty"))?;
        let columns: Vec<&str> = header.split(',').map(str::trim).collect();
        let column = |name: &str| {
            let missing = || TemplateError::new(at, format!("there is no column {name}"));
            columns.iter().position(|column| *column == name).ok_or_else(missing)
        };
        let (template, platform, command) = (column("Template")?, column("Platform")?, column("Command")?);
        for (at, line) in lines {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            if fields.len() != columns.len() {
                let what = format!("{} columns are expected, not {}", columns.len(), fields.len());
                return Err(TemplateError::new(at, what));
            }
            let spelled = fields[platform];
            let place = names.iter().position(|name| name == spelled).unwrap_or_else(|| {
                names.push(spelled.to_owned());
                platforms.push(Pattern::new(at, spelled));
                names.len() - 1
            });
            rows.push(Row {
                templates: fields[template].split(':').map(|name| name.trim().into()).collect(),
                platform: place,
                command: Pattern::new(at, &completed(fields[command])),
            });
        }
        Ok(Self { rows, platforms, source, compiled: Mutex::new(LruCache::new(COMPILED_MAX)) })
    }

    /// How many rows the index has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the index is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Makes records of what a command printed.
    #[must_use]
    pub fn parse(&self, platform: &str, command: &str, text: &str, limits: &Limits) -> Parsed {
        let Some(row) = self.row(platform, command) else {
            let error = Some(format!("no template is known for {command:?} on {platform}"));
            return Parsed {
                status: Status::NoTemplate,
                template: None,
                table: None,
                words_unknown: None,
                error,
            };
        };
        let (status, table, error) = match self.table(row, text, limits) {
            Ok(table) if table.rows.is_empty() => (Status::Empty, Some(table), None),
            Ok(table) => (Status::Parsed, Some(table), None),
            Err(error) => (Status::TemplateError, None, Some(error)),
        };
        let template = Some(row.templates.join(":"));
        Parsed { status, template, table, words_unknown: row.words_unknown(command), error }
    }

    fn row(&self, platform: &str, command: &str) -> Option<&Row> {
        let fits: Vec<bool> = self.platforms.iter().map(|pattern| matches(pattern, platform)).collect();
        self.rows.iter().find(|row| fits[row.platform] && matches(&row.command, command))
    }

    fn table(&self, row: &Row, text: &str, limits: &Limits) -> Result<Table, String> {
        let mut merged: Option<Table> = None;
        let mut keys: Vec<Arc<str>> = Vec::new();
        for name in &row.templates {
            let template = self.template(name);
            let template = template.as_ref().as_ref().map_err(|error| format!("{name}, {error}"))?;
            // The keys of the first template that has any count for all.
            if keys.is_empty() {
                keys = template
                    .values
                    .iter()
                    .filter(|value| value.key)
                    .map(|value| value.name.clone())
                    .collect();
            }
            let table = template.run(text, limits).map_err(|error| match error {
                RunError::Template(error) => format!("{name}, {error}"),
                error => format!("{name}: {error}"),
            })?;
            match &mut merged {
                None => merged = Some(table),
                Some(merged) => merged.extend(table, &keys),
            }
        }
        Ok(merged.unwrap_or_default())
    }

    /// A template by its name, read where it is not there yet.
    fn template(&self, name: &str) -> Arc<Result<Template, TemplateError>> {
        let held = || self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(template) = held().get(name) {
            return Arc::clone(template);
        }
        let template = Arc::new(self.source.text(name).and_then(|text| Template::parse(&text)));
        held().put(name.into(), Arc::clone(&template));
        template
    }
}

impl Row {
    /// The words of a command that its pattern does not reach.
    fn words_unknown(&self, command: &str) -> Option<String> {
        let mut spans = Vec::new();
        // The group 0 is all that matches.
        let is_ascii = command.is_ascii();
        self.command.matches(command, is_ascii, &[0], &mut Scratch::default(), &mut spans).ok()?;
        let (_, end) = spans.first().copied().flatten()?;
        // A word of which the index knows only the beginning is known.
        let rest = &command[end..];
        let words = if rest.starts_with(' ') {
            rest.trim()
        } else {
            rest.split_once(' ').map_or("", |(_, rest)| rest.trim())
        };
        (!words.is_empty()).then(|| words.to_owned())
    }
}

impl Source {
    fn text(&self, name: &str) -> Result<String, TemplateError> {
        match self {
            Self::Texts(texts) => texts
                .iter()
                .find(|(one, _)| *one == name)
                .map(|(_, text)| (*text).to_owned())
                .ok_or_else(|| TemplateError::new(0, "there is no such template")),
            Self::Folder(folder) => {
                // A name is one of a file in this folder, nothing else.
                if name.contains('/') || name.starts_with('.') {
                    return Err(TemplateError::new(0, "the index names no file of its own folder"));
                }
                read(&folder.join(name), TEMPLATE_BYTES_MAX as u64)
                    .map_err(|error| TemplateError::new(0, format!("it cannot be read: {error}")))
            }
        }
    }
}

fn read(path: &Path, bytes_max: u64) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(std::io::Error::other(format!("it is longer than {bytes_max} bytes")));
    }
    Ok(text)
}

fn matches(pattern: &Pattern, text: &str) -> bool {
    let tried = pattern.matches(text, text.is_ascii(), &[], &mut Scratch::default(), &mut Vec::new());
    matches!(tried, Ok(Tried::Yes))
}

/// `sh[[ow]]` is `sh(o(w)?)?`.
fn completed(command: &str) -> String {
    let mut text = String::new();
    let mut rest = command;
    while let Some((before, behind)) = rest.split_once("[[") {
        let Some((word, behind)) = behind.split_once("]]") else { break };
        text.push_str(before);
        for letter in word.chars() {
            text.push('(');
            text.push(letter);
        }
        text.push_str(&")?".repeat(word.chars().count()));
        rest = behind;
    }
    text.push_str(rest);
    text
}
