//! A text on its way through a template, line by line.

use crate::{
    Cell, Groups, Item, Limits, RunError, Table, Template,
    pattern::{Pattern, Scratch, Span, Tried},
    template::{Recording, Rule, Then, Value},
};

/// How much of a line an error shows, in letters.
const SHOWN_CHARS: usize = 80;

/// Runs a text through a template.
pub(crate) fn table(template: &Template, text: &str, limits: &Limits) -> Result<Table, RunError> {
    if text.len() > limits.text_bytes_max {
        return Err(RunError::TooMuch { of: "bytes", most: limits.text_bytes_max as u64 });
    }
    let rules = template.states.iter().map(|state| state.rules.len()).sum();
    let mut run = Run {
        template,
        limits,
        scratch: std::iter::repeat_with(Scratch::default).take(rules).collect(),
        spans: Vec::new(),
        slots: template.values.iter().map(|value| Slot::new(value.list)).collect(),
        rows: Vec::new(),
        bytes: 0,
        steps: 0,
    };
    let (mut state, mut unmatched, mut ended) = (template.start, 0, false);
    for (at, line) in lines(text).enumerate() {
        match run.line(state, at + 1, line)? {
            Line::Unmatched => unmatched += usize::from(!line.trim().is_empty()),
            Line::Matched(Goes::On) => {}
            Line::Matched(Goes::To(next)) => state = next,
            Line::Matched(Goes::End) => {
                ended = true;
                break;
            }
            Line::Matched(Goes::Eof) => break,
        }
    }
    if !ended && !template.has_eof {
        run.record()?;
    }
    let header = template.values.iter().map(|value| value.name.clone()).collect();
    Ok(Table { header, rows: run.rows, lines_unmatched: unmatched })
}

struct Run<'t> {
    template: &'t Template,
    limits: &'t Limits,
    /// One for each rule.
    scratch: Vec<Scratch>,
    spans: Vec<Span>,
    /// One for each value: the record so far.
    slots: Vec<Slot>,
    rows: Vec<Vec<Cell>>,
    bytes: usize,
    steps: u64,
}

/// What a value holds now.
#[derive(Debug)]
struct Slot {
    /// What matched last.
    text: Option<Box<str>>,
    /// What is filled down.
    kept: Option<Box<str>>,
    /// What a list collected.
    items: Option<Vec<Item>>,
}

enum Line {
    Unmatched,
    Matched(Goes),
}

/// Where it goes on.
enum Goes {
    On,
    To(usize),
    End,
    Eof,
}

impl Run<'_> {
    fn line(&mut self, state: usize, at: usize, line: &str) -> Result<Line, RunError> {
        let template = self.template;
        let is_ascii = line.is_ascii();
        let mut matched = false;
        for rule in &template.states[state].rules {
            self.steps += 1;
            if self.steps > self.limits.steps_max {
                return Err(RunError::TooMuch { of: "steps", most: self.limits.steps_max });
            }
            if !self.tries(rule, at, line, is_ascii)? {
                continue;
            }
            matched = true;
            match rule.record {
                Recording::Keep => {}
                Recording::Record => self.record()?,
                Recording::Clear => self.clear(),
                Recording::Clearall => self.clear_all(),
            }
            return Ok(Line::Matched(match &rule.then {
                Then::Continue => continue,
                Then::Stay => Goes::On,
                Then::Go(next) => Goes::To(*next),
                Then::End => Goes::End,
                Then::Eof => Goes::Eof,
                Then::Error(message) => {
                    let text = line.chars().take(SHOWN_CHARS).collect();
                    let message = message.as_deref().map(str::to_owned);
                    return Err(RunError::Declared { message, text_line: at, text });
                }
            }));
        }
        Ok(if matched { Line::Matched(Goes::On) } else { Line::Unmatched })
    }

    /// Tries one rule, and takes what it found.
    fn tries(&mut self, rule: &Rule, at: usize, line: &str, is_ascii: bool) -> Result<bool, RunError> {
        let fills = self.template.fills(rule)?;
        let scratch = &mut self.scratch[rule.at];
        match rule.pattern.matches(line, is_ascii, &fills.groups, scratch, &mut self.spans)? {
            Tried::No => Ok(false),
            Tried::Backtracks => Err(RunError::Backtracks { rule_line: rule.line, text_line: at }),
            Tried::Yes => {
                for (place, span) in fills.values.iter().zip(&self.spans) {
                    // The spans of bytes are at letters: bytes are matched only where all of them are ASCII.
                    let text = span.and_then(|(start, end)| line.get(start..end));
                    assign(&self.template.values[*place], &mut self.slots[*place], text)?;
                    if self.template.values[*place].fillup
                        && let Some(text) = text.filter(|text| !text.is_empty())
                    {
                        fill_up(&mut self.rows, *place, text);
                    }
                }
                Ok(true)
            }
        }
    }

    /// Takes the record, if there is one.
    fn record(&mut self) -> Result<(), RunError> {
        let values = &self.template.values;
        let lacks = |(value, slot): (&Value, &Slot)| value.required && slot.is_empty(value);
        if values.iter().zip(&self.slots).any(lacks) {
            self.clear();
            return Ok(());
        }
        // A text that matched is something, even where it is empty.
        if self.slots.iter().all(Slot::is_nothing) {
            return Ok(());
        }
        let row: Vec<Cell> = self.slots.iter().map(Slot::cell).collect();
        self.bytes += row.iter().map(Cell::bytes).sum::<usize>();
        if self.rows.len() >= self.limits.records_max {
            return Err(RunError::TooMuch { of: "records", most: self.limits.records_max as u64 });
        }
        if self.bytes > self.limits.record_bytes_max {
            return Err(RunError::TooMuch {
                of: "bytes of records",
                most: self.limits.record_bytes_max as u64,
            });
        }
        self.rows.push(row);
        self.clear();
        Ok(())
    }

    fn clear(&mut self) {
        for (value, slot) in self.template.values.iter().zip(&mut self.slots) {
            slot.text = if value.filldown { slot.kept.clone() } else { None };
            if let Some(items) = slot.items.as_mut().filter(|_| !value.filldown) {
                items.clear();
            }
        }
    }

    fn clear_all(&mut self) {
        for slot in &mut self.slots {
            (slot.text, slot.kept) = (None, None);
            if let Some(items) = &mut slot.items {
                items.clear();
            }
        }
    }
}

impl Slot {
    fn new(list: bool) -> Self {
        Self { text: None, kept: None, items: list.then(Vec::new) }
    }

    /// As Python's truth has it: an empty text is as good as none.
    fn is_empty(&self, value: &Value) -> bool {
        match &self.items {
            Some(items) if !value.requires_last => items.is_empty(),
            _ => self.text.as_ref().is_none_or(|text| text.is_empty()),
        }
    }

    fn is_nothing(&self) -> bool {
        match &self.items {
            Some(items) => items.is_empty(),
            None => self.text.is_none(),
        }
    }

    fn cell(&self) -> Cell {
        match &self.items {
            Some(items) => Cell::List(items.clone()),
            None => Cell::Text(self.text.clone().unwrap_or_default()),
        }
    }
}

fn assign(value: &Value, slot: &mut Slot, text: Option<&str>) -> Result<(), RunError> {
    let boxed: Option<Box<str>> = text.map(Box::from);
    if value.filldown {
        slot.kept.clone_from(&boxed);
    }
    let Some(items) = &mut slot.items else {
        slot.text = boxed;
        return Ok(());
    };
    slot.text.clone_from(&boxed);
    let groups = match (&value.within, text) {
        (Some(within), Some(text)) => groups(within, text)?,
        _ => None,
    };
    items.push(groups.map_or(Item::Text(boxed), Item::Groups));
    Ok(())
}

/// The groups within what a `List` value matched.
fn groups(within: &Pattern, text: &str) -> Result<Option<Groups>, RunError> {
    let names = within.names()?;
    let numbers: Vec<usize> = names.iter().map(|(group, _)| *group).collect();
    let mut spans = Vec::new();
    let tried = within.matches(text, text.is_ascii(), &numbers, &mut Scratch::default(), &mut spans)?;
    if !matches!(tried, Tried::Yes) {
        return Ok(None);
    }
    let found = names.into_iter().zip(spans).map(|((_, name), span)| {
        (name.into(), span.and_then(|(start, end)| text.get(start..end)).map(Box::from))
    });
    Ok(Some(found.collect()))
}

/// Fills a text into the records before, up to one that has it.
fn fill_up(rows: &mut [Vec<Cell>], place: usize, text: &str) {
    for row in rows.iter_mut().rev() {
        match &mut row[place] {
            Cell::Text(there) if there.is_empty() => *there = text.into(),
            there @ Cell::List(_) if *there == Cell::List(Vec::new()) => *there = Cell::Text(text.into()),
            _ => break,
        }
    }
}

/// Lines as Python's `str.splitlines` has them.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let ends = |letter: char| {
            matches!(
                letter,
                '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
            )
        };
        let Some(at) = rest.find(ends) else { return Some(std::mem::take(&mut rest)) };
        let line = &rest[..at];
        let behind = &rest[at..];
        let skip =
            if behind.starts_with("\r\n") { 2 } else { behind.chars().next().map_or(1, char::len_utf8) };
        rest = &behind[skip..];
        Some(line)
    })
}
