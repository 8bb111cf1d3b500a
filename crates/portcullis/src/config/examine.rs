//! Everything that is wrong with a configuration at once: a part that does not fit is noted and left out, and what is
//! left goes through the steps that follow. What a later step finds is not said where it only follows from a part that
//! was left out.

use std::path::PathBuf;

use tool::{ConfigFault, json::push_pointer};

use super::{
    Config, Loaded,
    document::{Document, Expanded, On},
    problem::{Problem, Problems},
    schema,
};

/// A configuration as far as it can be taken, and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Examined {
    /// What is left of it. Where nothing is wrong, the whole.
    pub loaded: Loaded,
    /// The file as it was named, or `environment`.
    pub name: String,
    text: String,
    document: Document,
    problems: Vec<Problem>,
    left_out: Vec<String>,
}

impl Examined {
    /// Takes a document as far as that goes; `unknown` are members whose value is not known, as problems say already.
    ///
    /// Error: nothing of it can be taken.
    pub(super) fn new(
        (name, text): (&str, &str),
        mut document: Document,
        mut problems: Vec<Problem>,
        unknown: &[String],
        base_dir: PathBuf,
    ) -> Result<Self, Problems> {
        let fitted = schema::fit(&mut document, unknown);
        problems.extend(fitted.problems);
        let Some(mut left_out) = fitted.left_out else {
            return Err(Problems::sorted(name, text, problems));
        };
        let Some(config) = typed(&mut document, &mut left_out, &mut problems) else {
            return Err(Problems::sorted(name, text, problems));
        };
        let loaded = Loaded {
            config,
            value: document.value.clone(),
            shown: document.shown(),
            base_dir,
            file: None,
            imported: Vec::new(),
            notes: Vec::new(),
            takes_placeholders: false,
        };
        Ok(Self { loaded, name: name.to_owned(), text: text.to_owned(), document, problems, left_out })
    }

    /// Adds what a later step found, but for what only follows from what is left out.
    pub(crate) fn add(&mut self, faults: Vec<ConfigFault>) {
        let own = faults.into_iter().filter(|fault| !follows(&fault.pointer, &self.left_out));
        let located = own.map(|fault| self.document.locate(Problem::from(fault), On::Value));
        self.problems.extend(located);
    }

    /// True where every tool that was declared is there, so that one that is not was never declared.
    pub(crate) fn knows_every_tool(&self) -> bool {
        !self.left_out.iter().any(|part| NAMING.iter().any(|naming| is_hit(naming, &[], part)))
    }

    /// The whole, where nothing is wrong with it.
    pub(crate) fn whole(self) -> Result<Loaded, Problems> {
        if self.problems.is_empty() {
            return Ok(self.loaded);
        }
        Err(Problems::sorted(&self.name, &self.text, self.problems))
    }
}

/// How many values that the schema lets through and the types do not take are looked for.
const MISFITS_MAX: usize = 64;

/// The document in its types. What the schema let through and a type does not take is said with its place and left
/// out, as is what does not fit without it; `None` where nothing is left.
fn typed(document: &mut Document, left_out: &mut Vec<String>, problems: &mut Vec<Problem>) -> Option<Config> {
    for _ in 0..MISFITS_MAX {
        let error = match serde_path_to_error::deserialize(&document.value) {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        let at = pointer_of(error.path());
        // The sentence of the type may quote the value.
        let text = match document.expanded(&at) {
            Expanded::No => format!("does not fit: {}", error.inner()),
            _ => "the value from the environment (not shown) does not fit".to_owned(),
        };
        problems.push(document.locate(Problem::new(at.clone(), text), On::Value));
        left_out.push(document.leave_out(&at)?);
        left_out.extend(schema::fit(document, &[]).left_out?);
    }
    None
}

/// A place as an RFC 6901 pointer, as far as it is known.
fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => push_pointer(&mut pointer, index),
            Segment::Map { key } => push_pointer(&mut pointer, key),
            // The name of a way to write something, not of a member; or lost.
            Segment::Enum { .. } | Segment::Unknown => break,
        }
    }
    pointer
}

/// The parts that tools come from.
const NAMING: &[&str] = &[
    "/sql/databases/*/query",
    "/sql/tools/*",
    "/rest/tools/*",
    "/fetch",
    "/files",
    "/prompts/*",
    "/resources/*",
    "/upstreams/*",
];

/// What a fault at a place may only follow from: parts that are left out, or that are in one that is. `*` stands for one
/// name, `=` for the one that the fault's first `*` stands for, `/**` for all that is beneath as well. The first row
/// whose place the fault is in counts; without one, it may follow from all of its section.
const FOLLOWS: &[(&str, &[&str])] = &[
    ("/principals/*/roles", &["/roles/*", "/principals/=/roles/**"]),
    ("/principals/*", &["/principals/=/**", "/principals/*"]),
    ("/roles/*", &["/roles/=/**"]),
    ("/tools/*", &["/tools/=/**"]),
    ("/toolsets/*", &["/toolsets/=/**"]),
    ("/operations/*", &["/operations/=/**"]),
    ("/bootstrap/keys/*/principal", &["/principals/*"]),
    ("/bootstrap/keys/*/tier", &["/tiers/*"]),
    ("/bootstrap/keys/*/roles", &["/principals/*/roles/**"]),
    ("/sql/databases/*/sqlite", &["/sql/databases/=/sqlite", "/lab/**"]),
    ("/sql/databases/*", &["/sql/databases/=/**"]),
    ("/sql/tools/*/statement", &["/sql/tools/=/parameters/**", "/lab/**"]),
    ("/sql/tools/*/count_statement", &["/sql/tools/=/parameters/**", "/sql/tools/=/paging/**", "/lab/**"]),
    ("/sql/tools/*/database", &["/sql/databases/*"]),
    ("/sql/tools/*", &["/sql/tools/=/**"]),
    ("/sql/query/database", &["/sql/databases/*/query"]),
    ("/sql/query", &["/sql/query/**"]),
    ("/sql/limits", &["/sql/limits/**"]),
    ("/rest/tools/*/api", &["/rest/apis/*"]),
    ("/rest/tools/*", &["/rest/tools/=/**", "/rest/apis/*"]),
    ("/rest/apis/*", &["/rest/apis/=/**"]),
    ("/upstreams/*", &["/upstreams/=/**"]),
    ("/files/root", &["/files/root", "/lab/**"]),
    ("/prompts/*", &["/prompts/=/**"]),
    ("/resources/*", &["/resources/=/**"]),
];

/// True where a fault at this place may only follow from what is left out.
fn follows(fault: &str, left_out: &[String]) -> bool {
    let section = fault.split('/').nth(1).map(|section| format!("/{section}/**")).unwrap_or_default();
    let whole_section = [section.as_str()];
    let row = FOLLOWS.iter().find_map(|(at, causes)| Some((is_in(at, fault)?, *causes)));
    let (names, causes) = row.unwrap_or((Vec::new(), &whole_section));
    left_out.iter().any(|part| causes.iter().any(|cause| is_hit(cause, &names, part)))
}

/// The names that the `*` of a place stand for, where the pointer is in it.
fn is_in<'a>(place: &str, pointer: &'a str) -> Option<Vec<&'a str>> {
    let (mut names, mut parts) = (Vec::new(), pointer.split('/'));
    for wanted in place.split('/') {
        match (wanted, parts.next()?) {
            ("*", name) => names.push(name),
            (wanted, part) if wanted == part => {}
            _ => return None,
        }
    }
    Some(names)
}

/// True where leaving out `part` leaves out the cause: it is that, above it, or beneath a `/**`.
fn is_hit(cause: &str, names: &[&str], part: &str) -> bool {
    let (cause, beneath) = cause.strip_suffix("/**").map_or((cause, false), |cause| (cause, true));
    let (mut wanted, mut parts) = (cause.split('/'), part.split('/'));
    loop {
        match (wanted.next(), parts.next()) {
            (_, None) => return true,
            (None, Some(_)) => return beneath,
            (Some("*"), Some(_)) => {}
            (Some("="), Some(part)) if names.first() == Some(&part) => {}
            (Some(wanted), Some(part)) if wanted == part => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_follows_from_another_fault_is_told_apart() {
        let check = |fault: &str, left_out: &str, want: bool| {
            assert_eq!(follows(fault, &[left_out.to_owned()]), want, "{fault} {left_out}");
        };
        check("/principals/a/roles/0", "/roles/x", true);
        check("/principals/a/roles/0", "/roles", true);
        check("/principals/a/roles/0", "/roles/x/allow", false);
        check("/principals/a/roles/0", "/principals/a/kind", false);
        check("/principals/a", "/principals/b/kind", false);
        check("/sql/tools/t/statement", "/roles/r/allow", false);
        check("/sql/tools/t/statement", "/sql/tools/t/timeout_ms", false);
        check("/sql/tools/t/statement", "/sql/tools/t/parameters/a", true);
        check("/sql/tools/t/statement", "/sql/tools/other/parameters/a", false);
        check("/sql/tools/t/database", "/sql/databases/shop", true);
        check("/sql/tools/t/database", "/sql/databases/shop/readers", false);
        check("/sql/tools/t/parameters/a/maximum", "/sql/tools/t/rows_max", true);
        check("/sql/databases/shop/sqlite", "/lab/shop_database", true);
        check("/server/cors/origins/0", "/server/listen", true);
        check("/server/cors/origins/0", "/audit/sync", false);
        check("", "/audit/sync", false);
    }
}
