use std::sync::Arc;

use serde::{
    Serialize, Serializer,
    ser::{SerializeMap as _, SerializeSeq as _},
};

/// What came of a text: records of one shape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The names of the values, as the template has them.
    pub header: Vec<Arc<str>>,
    /// The records; each has a cell for each name.
    pub rows: Vec<Vec<Cell>>,
    /// How many lines that are not blank no rule matched.
    pub lines_unmatched: usize,
}

/// One value of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// A text; empty where nothing matched.
    Text(Box<str>),
    /// What a `List` value collected.
    List(Vec<Item>),
}

/// One entry of a `List` value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// What matched; `None` where the rule matched without it.
    Text(Option<Box<str>>),
    /// The named groups within the value's own pattern.
    Groups(Groups),
}

/// Groups by name; `None` where one did not match.
pub type Groups = Vec<(Arc<str>, Option<Box<str>>)>;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// What did not match in a list is null, groups are objects.
    Plain,
    /// As Python's CliTable has it: every entry of a list is the text that `str` makes of it, `"None"` too.
    CliTable,
}

/// The records of a table as they are serialized: a list of objects, with the names in lower case.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    table: &'a Table,
    style: Style,
}

impl Table {
    /// The records, to be serialized.
    #[must_use]
    pub fn records(&self, style: Style) -> Records<'_> {
        Records { table: self, style }
    }

    /// Adds the columns that another table has besides, row by row: where both have the same `keys`, or where there are
    /// none in order. As CliTable merges the tables of several templates.
    pub(crate) fn extend(&mut self, other: Self, keys: &[Arc<str>]) {
        let place = |header: &[Arc<str>], name: &Arc<str>| header.iter().position(|one| one == name);
        let added: Vec<usize> =
            (0..other.header.len()).filter(|at| !self.header.contains(&other.header[*at])).collect();
        let pairs: Vec<_> =
            keys.iter().map(|key| (place(&self.header, key), place(&other.header, key))).collect();
        let same = |mine: &[Cell], theirs: &[Cell]| {
            pairs.iter().all(|(here, there)| match (here, there) {
                (Some(here), Some(there)) => mine[*here] == theirs[*there],
                _ => false,
            })
        };
        for (at, row) in self.rows.iter_mut().enumerate() {
            let found = match keys {
                [] => other.rows.get(at),
                _ => other.rows.iter().find(|theirs| same(row, theirs)),
            };
            let cells = added.iter().map(|column| match found {
                Some(theirs) => theirs[*column].clone(),
                None => Cell::Text("".into()),
            });
            row.extend(cells.collect::<Vec<_>>());
        }
        self.header.extend(added.into_iter().map(|column| Arc::clone(&other.header[column])));
        self.lines_unmatched = self.lines_unmatched.min(other.lines_unmatched);
    }
}

impl Cell {
    /// About how many bytes it holds.
    pub(crate) fn bytes(&self) -> usize {
        let text = |one: &Option<Box<str>>| one.as_ref().map_or(0, |text| text.len()) + 16;
        match self {
            Self::Text(text) => text.len() + 24,
            Self::List(items) => items
                .iter()
                .map(|item| match item {
                    Item::Text(one) => text(one),
                    Item::Groups(groups) => groups.iter().map(|(_, one)| text(one) + 16).sum(),
                })
                .sum::<usize>()
                .saturating_add(24),
        }
    }
}

impl Serialize for Records<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names: Vec<String> = self.table.header.iter().map(|name| name.to_lowercase()).collect();
        let mut rows = serializer.serialize_seq(Some(self.table.rows.len()))?;
        for cells in &self.table.rows {
            rows.serialize_element(&Record { names: &names, cells, style: self.style })?;
        }
        rows.end()
    }
}

struct Record<'a> {
    names: &'a [String],
    cells: &'a [Cell],
    style: Style,
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = serializer.serialize_map(Some(self.names.len()))?;
        for (name, cell) in self.names.iter().zip(self.cells) {
            match cell {
                Cell::Text(text) => record.serialize_entry(name, text)?,
                Cell::List(items) => {
                    let items: Vec<_> = items.iter().map(|item| Entry { item, style: self.style }).collect();
                    record.serialize_entry(name, &items)?;
                }
            }
        }
        record.end()
    }
}

struct Entry<'a> {
    item: &'a Item,
    style: Style,
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.item, self.style) {
            (Item::Text(Some(text)), _) => serializer.serialize_str(text),
            (Item::Text(None), Style::Plain) => serializer.serialize_none(),
            (Item::Text(None), Style::CliTable) => serializer.serialize_str("None"),
            (Item::Groups(groups), Style::Plain) => {
                serializer.collect_map(groups.iter().map(|(name, text)| (&**name, text.as_deref())))
            }
            (Item::Groups(groups), Style::CliTable) => serializer.serialize_str(&as_python(groups)),
        }
    }
}

/// What Python's `str` makes of a dict of texts.
fn as_python(groups: &[(Arc<str>, Option<Box<str>>)]) -> String {
    let quoted = |text: &str| {
        let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
        let escaped = text.replace('\\', "\\\\").replace('\t', "\\t");
        let escaped = if quote == '\'' { escaped.replace('\'', "\\'") } else { escaped };
        format!("{quote}{escaped}{quote}")
    };
    let pairs: Vec<String> = groups
        .iter()
        .map(|(name, text)| {
            format!("{}: {}", quoted(name), text.as_deref().map_or_else(|| "None".to_owned(), quoted))
        })
        .collect();
    format!("{{{}}}", pairs.join(", "))
}
