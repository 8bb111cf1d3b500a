//! A configuration as a JSON value, with the place that each of its members came from.

use std::collections::HashMap;

use serde_json::{Map, Value};
use tool::json::push_pointer;

use super::{
    expand::{Expansion, Lookup, expand},
    problem::{Place, Problem},
    yaml::{Content, Node},
};

/// A configuration, not yet typed.
#[derive(Debug)]
pub(crate) struct Document {
    /// The whole as JSON; an object.
    pub value: Value,
    spots: HashMap<String, Spot>,
}

/// Where a member came from.
#[derive(Clone, Debug)]
pub(crate) struct Spot {
    /// Its key in the file.
    pub key: Option<Place>,
    /// Its value in the file.
    pub value: Option<Place>,
    /// The environment variable it is, in the environment mode.
    pub variable: Option<&'static str>,
    /// Whether the value came from outside the file.
    pub expanded: Expanded,
}

/// Whether a value came from outside the file: then it is never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expanded {
    /// It stands in the file.
    No,
    /// It came from a `${..}` without quotes: where a number is wanted it is read as one.
    Plain,
    /// It came from a `${..}` in quotes: it stays text.
    Quoted,
}

impl Document {
    /// A configuration without a file.
    pub(crate) fn new(value: Value) -> Self {
        Self { value, spots: HashMap::new() }
    }

    /// Takes a tree, with the variables of its scalars filled in; one that cannot be is null, and a problem.
    pub(crate) fn from_tree(node: Node, lookup: Lookup<'_>) -> (Self, Vec<Problem>) {
        let mut builder = Builder { lookup, spots: HashMap::new(), problems: Vec::new() };
        let value = builder.value(node, String::new(), None);
        (Self { value, spots: builder.spots }, builder.problems)
    }

    /// Sets a member that an environment variable stands for; the objects above it are made.
    pub(crate) fn set(&mut self, pointer: &str, value: Value, variable: &'static str) {
        self.put(pointer, value);
        self.came_from(pointer, variable);
    }

    fn put(&mut self, pointer: &str, value: Value) {
        let mut at = &mut self.value;
        for part in pointer.split('/').skip(1) {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            let Value::Object(map) = at else { return };
            at = map.entry(part.replace("~1", "/").replace("~0", "~")).or_insert(Value::Null);
        }
        *at = value;
    }

    /// Says which environment variable a member stands for.
    pub(crate) fn came_from(&mut self, pointer: &str, variable: &'static str) {
        let spot = Spot { key: None, value: None, variable: Some(variable), expanded: Expanded::Plain };
        self.spots.insert(pointer.to_owned(), spot);
    }

    /// Sets a member that another file has, unless it is there; the objects above it are made. What is wrong with it is told
    /// at the member `from`, which names the file; `expanded` says whether it may be shown.
    fn lay_under(&mut self, pointer: &str, value: Value, from: &str, expanded: Expanded) {
        if self.value.pointer(pointer).is_some() {
            return;
        }
        let place = self.spot(from).and_then(|spot| spot.value);
        self.mark(pointer, &value, place, expanded);
        self.put(pointer, value);
    }

    /// Does so for each member of an entry `name` at `pointer`.
    pub(crate) fn lay_entry_under(
        &mut self,
        pointer: &str,
        name: &str,
        members: Map<String, Value>,
        from: &str,
        expanded: Expanded,
    ) {
        let entry = child(pointer, name);
        for (member, value) in members {
            self.lay_under(&child(&entry, member), value, from, expanded);
        }
    }

    /// Notes of a value and of all in it that it came from another file.
    fn mark(&mut self, pointer: &str, value: &Value, place: Option<Place>, expanded: Expanded) {
        match value {
            Value::Object(members) => {
                members
                    .iter()
                    .for_each(|(name, member)| self.mark(&child(pointer, name), member, place, expanded));
            }
            Value::Array(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(i, item)| self.mark(&child(pointer, i), item, place, expanded));
            }
            _ => {
                let spot = Spot { key: None, value: place, variable: None, expanded };
                self.spots.insert(pointer.to_owned(), spot);
            }
        }
    }

    /// Leaves a member out, or the list that it is an item of: the places of the others must stay as they are.
    /// Gives what was left out, where it was still there.
    pub(crate) fn leave_out(&mut self, pointer: &str) -> Option<String> {
        let mut at = pointer;
        loop {
            let (above, last) = at.rsplit_once('/')?;
            if let Some(Value::Object(members)) = self.value.pointer_mut(above) {
                members.remove(&last.replace("~1", "/").replace("~0", "~"))?;
                return Some(at.to_owned());
            }
            at = above;
        }
    }

    /// The whole, with every value that came from outside masked.
    pub(crate) fn shown(&self) -> Value {
        let mut shown = self.value.clone();
        for (pointer, spot) in &self.spots {
            if spot.expanded != Expanded::No
                && let Some(slot) = shown.pointer_mut(pointer)
            {
                *slot = Value::from("[from the environment]");
            }
        }
        shown
    }

    /// Where a member came from; the nearest one above it that has a place, where it has none.
    pub(crate) fn spot(&self, pointer: &str) -> Option<&Spot> {
        let mut at = pointer;
        loop {
            if let Some(spot) = self.spots.get(at) {
                return Some(spot);
            }
            at = &at[..at.rfind('/')?];
        }
    }

    /// Whether a member's value may be shown.
    pub(crate) fn expanded(&self, pointer: &str) -> Expanded {
        self.spots.get(pointer).map_or(Expanded::No, |spot| spot.expanded)
    }

    /// Gives a problem its place: that of the value, or of the key where the problem is about a key that is
    /// there. A member that is not there is shown at what it is missing from.
    pub(crate) fn locate(&self, mut problem: Problem, on: On) -> Problem {
        let spot = self.spot(&problem.pointer);
        problem.place = problem.place.or_else(|| {
            let spot = spot?;
            match on {
                On::Key => spot.key.or(spot.value),
                On::Value => spot.value.or(spot.key),
            }
        });
        problem.variable = spot.and_then(|spot| spot.variable).map(str::to_owned);
        problem
    }
}

/// What of a member a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// Its key.
    Key,
    /// Its value.
    Value,
}

struct Builder<'a> {
    lookup: Lookup<'a>,
    spots: HashMap<String, Spot>,
    problems: Vec<Problem>,
}

impl Builder<'_> {
    fn value(&mut self, node: Node, pointer: String, key: Option<Place>) -> Value {
        let mut expanded = Expanded::No;
        // A mapping begins at its first key, which says less than the key above it does.
        let mut place = node.place;
        let value = match node.content {
            Content::Scalar(Value::String(text)) => match expand(&text, self.lookup) {
                Ok(Expansion::Unchanged) => Value::String(text),
                Ok(Expansion::Text(text)) => {
                    expanded = if node.plain { Expanded::Plain } else { Expanded::Quoted };
                    Value::String(text)
                }
                Err(error) => {
                    let mut problem = Problem::new(pointer.clone(), error);
                    problem.place = Some(node.place);
                    self.problems.push(problem);
                    Value::Null
                }
            },
            Content::Scalar(value) => value,
            Content::List(items) => {
                let items = items.into_iter().enumerate();
                Value::Array(items.map(|(i, item)| self.value(item, child(&pointer, i), None)).collect())
            }
            Content::Map(entries) => {
                place = key.unwrap_or(place);
                Value::Object(
                    entries
                        .into_iter()
                        .map(|(key, node)| {
                            let value = self.value(node, child(&pointer, &key.text), Some(key.place));
                            (key.text, value)
                        })
                        .collect(),
                )
            }
        };
        self.spots.insert(pointer, Spot { key, value: Some(place), variable: None, expanded });
        value
    }
}

fn child(pointer: &str, part: impl std::fmt::Display) -> String {
    let mut pointer = pointer.to_owned();
    push_pointer(&mut pointer, part);
    pointer
}
