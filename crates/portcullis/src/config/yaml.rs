//! YAML text to a tree whose every part knows where it stands.
//!
//! The parser has budgets of its own (depth 64, a million events, anchors that blow up); ours is the size of the
//! file. The same key twice is a problem, and the first one is taken; a second document is an error.

use std::{collections::HashMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Number, Value};
use serde_saphyr::{Location, SnippetMode, Spanned, UserMessageFormatter};
use tool::json::push_pointer;

use super::problem::{Place, Problem};

/// The most bytes of a configuration file.
pub(crate) const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One part of the tree.
pub(crate) struct Node {
    /// What it is.
    pub content: Content,
    /// Where it stands (for an alias: where the alias stands).
    pub place: Place,
    /// True for a scalar without quotes, whose type is read off its text.
    pub plain: bool,
}

/// What a part of the tree is.
pub(crate) enum Content {
    /// Null, boolean, number or text.
    Scalar(Value),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// The key of a mapping's entry.
pub(crate) struct Key {
    /// Its text.
    pub text: String,
    /// Where it stands.
    pub place: Place,
}

impl Node {
    /// One member of a mapping.
    pub(crate) fn member(self, name: &str) -> Option<Self> {
        let Content::Map(entries) = self.content else { return None };
        entries.into_iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
    }
}

/// One document, and what is wrong with it although it can be taken.
pub(crate) struct Parsed {
    /// The tree; `None` where the document is empty.
    pub tree: Option<Node>,
    /// Keys that stand twice in one mapping; the first one of each is in the tree.
    pub problems: Vec<Problem>,
}

/// Parses one document.
///
/// Error: it is not YAML, or too large.
pub(crate) fn parse(text: &str) -> Result<Parsed, Problem> {
    if text.len() > FILE_BYTES_MAX {
        let size = text.len();
        return Err(Problem::new(
            "",
            format!("the file has {size} bytes; at most {FILE_BYTES_MAX} are read"),
        ));
    }
    if text.contains('\0') {
        return Err(Problem::new("", "the file holds NUL bytes: it is not a text file"));
    }
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
    };
    let raw = serde_saphyr::from_str_with_options::<Option<Raw>>(text, options)
        .map_err(|error| problem(&error, text))?;
    let mut reader = Reader { text, problems: Vec::new() };
    let tree = raw.map(|raw| reader.node(raw, &mut String::new()));
    Ok(Parsed { tree, problems: reader.problems })
}

fn problem(error: &serde_saphyr::Error, text: &str) -> Problem {
    use serde_saphyr::Error as E;
    let plain = error.without_snippet();
    let place = plain.location().filter(|l| l.line() > 0).map(place);
    let (what, hint) = match plain {
        E::MultipleDocuments { .. } => (
            "there is a second document in the file".to_owned(),
            Some("remove the `---` line and what follows it".to_owned()),
        ),
        other => (sentence(other), likely_cause(text, place)),
    };
    let mut problem = Problem::new("", format!("not valid YAML: {what}"));
    problem.hint = hint;
    problem.place = place;
    problem
}

/// The parser's own words without the place, which is shown beside them.
fn sentence(error: &serde_saphyr::Error) -> String {
    let options =
        serde_saphyr::render_options! { formatter: &UserMessageFormatter, snippets: SnippetMode::Off };
    let text = error.render_with_options(options);
    let first = text.lines().next().unwrap_or_default();
    let cut = first.find(" at line ").or_else(|| first.find(" (line ")).unwrap_or(first.len());
    first[..cut].trim_end_matches(['.', ':', ' ']).to_owned()
}

/// What often goes wrong on a line that does not parse.
fn likely_cause(text: &str, place: Option<Place>) -> Option<String> {
    let line = text.lines().nth(place?.line.checked_sub(1)? as usize)?;
    let indent = &line[..line.len() - line.trim_start().len()];
    if indent.contains('\t') {
        return Some("indent with spaces: YAML does not take tabs".to_owned());
    }
    line.contains("${").then(|| {
        "within `{ }` and `[ ]` a `${..}` must be in quotes, or stand on a line of its own".to_owned()
    })
}

fn place(location: Location) -> Place {
    Place {
        line: u32::try_from(location.line()).unwrap_or(u32::MAX),
        column: u32::try_from(location.column()).unwrap_or(u32::MAX),
        width: u32::try_from(location.span().len()).unwrap_or(1).max(1),
    }
}

/// Makes the tree out of what the parser gave.
struct Reader<'a> {
    text: &'a str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn node(&mut self, raw: Raw, pointer: &mut String) -> Node {
        let Raw(Spanned { value, referenced, defined }) = raw;
        let at = defined.span().byte_offset().and_then(|at| usize::try_from(at).ok());
        let first = at.and_then(|at| self.text.as_bytes().get(at));
        let plain = !matches!(first, Some(b'"' | b'\'' | b'|' | b'>'));
        let content = match value {
            RawContent::Scalar(value) => Content::Scalar(value),
            RawContent::List(items) => {
                let items = items.into_iter().enumerate();
                Content::List(items.map(|(i, item)| self.child(item, pointer, &i.to_string())).collect())
            }
            RawContent::Map(entries) => Content::Map(self.entries(entries, pointer)),
        };
        Node { content, place: place(referenced), plain }
    }

    fn child(&mut self, raw: Raw, pointer: &mut String, name: &str) -> Node {
        let length = pointer.len();
        push_pointer(pointer, name);
        let node = self.node(raw, pointer);
        pointer.truncate(length);
        node
    }

    /// The entries of a mapping, each key once: a later one is a problem and is left out.
    fn entries(&mut self, entries: Vec<(Spanned<String>, Raw)>, pointer: &mut String) -> Vec<(Key, Node)> {
        let mut lines: HashMap<String, u32> = HashMap::new();
        let mut kept = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let place = place(key.referenced);
            if let Some(line) = lines.get(&key.value) {
                self.problems.push(twice(pointer, &key.value, *line, place));
                continue;
            }
            lines.insert(key.value.clone(), place.line);
            let node = self.child(value, pointer, &key.value);
            kept.push((Key { text: key.value, place }, node));
        }
        kept
    }
}

fn twice(pointer: &str, key: &str, first: u32, place: Place) -> Problem {
    let mut at = pointer.to_owned();
    push_pointer(&mut at, key);
    let mut problem = Problem::new(at, format!("the key {key:?} is here twice"));
    problem.hint = Some(format!("keep one of them; the first one is in line {first}"));
    problem.place = Some(place);
    problem
}

struct Raw(Spanned<RawContent>);

enum RawContent {
    Scalar(Value),
    List(Vec<Raw>),
    Map(Vec<(Spanned<String>, Raw)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for RawContent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = RawContent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a mapping")
    }

    fn visit_unit<E: de::Error>(self) -> Result<RawContent, E> {
        Ok(RawContent::Scalar(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<RawContent, E> {
        Ok(RawContent::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawContent, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<RawContent, E> {
        Ok(RawContent::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<RawContent, E> {
        Ok(RawContent::Scalar(Value::from(value)))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<RawContent, E> {
        Ok(RawContent::Scalar(Value::from(value)))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<RawContent, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("infinite numbers are not taken"))?;
        Ok(RawContent::Scalar(Value::Number(number)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<RawContent, E> {
        Ok(RawContent::Scalar(Value::String(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawContent, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(RawContent::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<RawContent, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(RawContent::Map(map))
    }
}
