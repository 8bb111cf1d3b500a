//! The text of a template, read: values, states, rules.

use std::sync::{Arc, OnceLock};

use crate::{Limits, RunError, Table, TemplateError, pattern::Pattern, run};

/// The longest name of a value or a state, in letters.
const NAME_CHARS_MAX: usize = 48;
/// The longest template, in bytes.
pub(crate) const TEMPLATE_BYTES_MAX: usize = 1 << 20;

/// A template: how lines become records. Its rules are compiled when they are first met, and shared by all who run it.
#[derive(Debug)]
pub struct Template {
    pub(crate) values: Vec<Value>,
    pub(crate) states: Vec<State>,
    /// Which of them is first.
    pub(crate) start: usize,
    /// Whether the last record is kept back at the end of the text.
    pub(crate) has_eof: bool,
}

/// A value that a template fills.
#[derive(Debug)]
pub struct Value {
    /// Its name.
    pub name: Arc<str>,
    /// A record without it is left out.
    pub required: bool,
    /// It stays for the next record.
    pub filldown: bool,
    /// It is filled into records before, up to one that has it.
    pub fillup: bool,
    /// It is part of what tells records of several templates apart.
    pub key: bool,
    /// It collects all that matches.
    pub list: bool,
    /// `Required` stands before `List`: then what matched last must be there, else anything that was collected.
    pub(crate) requires_last: bool,
    /// What stands for it in rules: its pattern, named.
    pub(crate) template: Box<str>,
    /// Its own pattern, where that has groups within.
    pub(crate) within: Option<Pattern>,
}

/// A state: its rules, in order.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) name: Box<str>,
    pub(crate) rules: Vec<Rule>,
}

/// A rule: what to look for, and what to do then.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Its place among all rules.
    pub(crate) at: usize,
    pub(crate) line: u32,
    pub(crate) pattern: Pattern,
    /// Which groups of the pattern are which values.
    pub(crate) fills: OnceLock<Result<Fills, TemplateError>>,
    pub(crate) then: Then,
    pub(crate) record: Recording,
}

/// Which values a rule fills.
#[derive(Debug, Default)]
pub(crate) struct Fills {
    /// The numbers of the groups.
    pub(crate) groups: Vec<usize>,
    /// The places of their values.
    pub(crate) values: Vec<usize>,
}

/// How it goes on after a match.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// With the next line, in this state.
    Stay,
    /// With the next line, in that state.
    Go(usize),
    /// Not at all: what follows is left out, with the last record.
    End,
    /// Not at all, as if the text ended here.
    Eof,
    /// With the same line and the next rule.
    Continue,
    /// The text is none for this template.
    Error(Option<Box<str>>),
}

/// What happens to the record so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recording {
    /// Nothing.
    Keep,
    /// It is done.
    Record,
    /// It is dropped, but for what is filled down.
    Clear,
    /// All of it is dropped.
    Clearall,
}

/// Where a rule leads, before all states are known.
struct Leads {
    rule: usize,
    state: usize,
    to: Box<str>,
    line: u32,
}

impl Template {
    /// Reads a template. Its regular expressions are looked at when they are first met, or by [`check`](Self::check).
    ///
    /// Error: the first line that is not one of a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::new(0, format!("it is longer than {TEMPLATE_BYTES_MAX} bytes")));
        }
        let mut reader = Reader { lines: text.lines(), line: 0 };
        let values = reader.values()?;
        let mut states: Vec<State> = Vec::new();
        let mut leads = Vec::new();
        let mut rules = 0;
        while let Some(state) = reader.state(&values, states.len(), &mut rules, &mut leads)? {
            if place(&states, &state.name).is_some() {
                let what = format!("the state {} is there twice", state.name);
                return Err(TemplateError::new(reader.line, what));
            }
            states.push(state);
        }
        for name in ["End", "EOF"] {
            if place(&states, name).is_some_and(|at| !states[at].rules.is_empty()) {
                return Err(TemplateError::new(
                    0,
                    format!("the state {name} has rules; nothing reaches them"),
                ));
            }
        }
        let start =
            place(&states, "Start").ok_or_else(|| TemplateError::new(0, "there is no state Start"))?;
        let has_eof = place(&states, "EOF").is_some();
        for lead in leads {
            let then = match &*lead.to {
                "End" => Then::End,
                "EOF" => Then::Eof,
                name => Then::Go(
                    place(&states, name)
                        .ok_or_else(|| TemplateError::new(lead.line, format!("there is no state {name}")))?,
                ),
            };
            states[lead.state].rules[lead.rule].then = then;
        }
        Ok(Self { values, states, start, has_eof })
    }

    /// Looks at every regular expression.
    ///
    /// Error: the first that is none.
    pub fn check(&self) -> Result<(), TemplateError> {
        for rule in self.states.iter().flat_map(|state| &state.rules) {
            self.fills(rule)?;
        }
        Ok(())
    }

    /// The values that it fills, in order.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Makes records of a text.
    ///
    /// Error: the template says that it does not know such a text, is wrong itself, or the text takes more than it may.
    pub fn run(&self, text: &str, limits: &Limits) -> Result<Table, RunError> {
        run::table(self, text, limits)
    }

    /// Which values a rule fills.
    pub(crate) fn fills<'r>(&self, rule: &'r Rule) -> Result<&'r Fills, TemplateError> {
        rule.fills
            .get_or_init(|| {
                let mut fills = Fills::default();
                for (group, name) in rule.pattern.names()? {
                    if let Some(value) = self.values.iter().position(|value| *value.name == *name) {
                        fills.groups.push(group);
                        fills.values.push(value);
                    }
                }
                Ok(fills)
            })
            .as_ref()
            .map_err(Clone::clone)
    }
}

fn place(states: &[State], name: &str) -> Option<usize> {
    states.iter().position(|state| &*state.name == name)
}

struct Reader<'a> {
    lines: std::str::Lines<'a>,
    line: u32,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<String> {
        let line = self.lines.next()?;
        self.line += 1;
        Some(line.trim_end().to_owned())
    }

    fn wrong(&self, what: impl Into<String>) -> TemplateError {
        TemplateError::new(self.line, what)
    }

    fn values(&mut self) -> Result<Vec<Value>, TemplateError> {
        let mut values: Vec<Value> = Vec::new();
        while let Some(line) = self.next().filter(|line| !line.is_empty()) {
            if is_comment(&line) {
                continue;
            }
            let Some(declared) = line.strip_prefix("Value ") else {
                return Err(self.wrong(if values.is_empty() {
                    "a template begins with lines `Value NAME (pattern)`"
                } else {
                    "a blank line is expected after the last value"
                }));
            };
            let value = self.value(declared)?;
            if values.iter().any(|one| one.name == value.name) {
                return Err(self.wrong(format!("the value {} is there twice", value.name)));
            }
            values.push(value);
        }
        if values.is_empty() {
            return Err(self.wrong("there are no values"));
        }
        Ok(values)
    }

    fn value(&self, declared: &str) -> Result<Value, TemplateError> {
        let (first, rest) = declared
            .split_once(' ')
            .ok_or_else(|| self.wrong("`Value [options] NAME (pattern)` is expected"))?;
        let (options, name, pattern) = if rest.starts_with('(') {
            ("", first, rest)
        } else {
            let (name, pattern) = rest
                .split_once(' ')
                .ok_or_else(|| self.wrong("`Value [options] NAME (pattern)` is expected"))?;
            (first, name, pattern)
        };
        if name.chars().count() > NAME_CHARS_MAX {
            return Err(self.wrong(format!("the name {name} is longer than {NAME_CHARS_MAX} letters")));
        }
        if !is_identifier(name) {
            return Err(self.wrong(format!("{name:?} is no name: letters, digits and _ are")));
        }
        if !pattern.starts_with('(') || !pattern.ends_with(')') || pattern.ends_with("\\)") {
            return Err(self.wrong(format!("the pattern of {name} stands in parentheses")));
        }
        let mut value = Value {
            name: name.into(),
            required: false,
            filldown: false,
            fillup: false,
            key: false,
            list: false,
            requires_last: false,
            template: format!("(?P<{name}>{}", &pattern[1..]).into(),
            within: None,
        };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let flag = match option {
                "Required" => &mut value.required,
                "Filldown" => &mut value.filldown,
                "Fillup" => &mut value.fillup,
                "Key" => &mut value.key,
                "List" => &mut value.list,
                _ => {
                    let all = "Required, Filldown, Fillup, Key and List are";
                    return Err(self.wrong(format!("{option:?} is no option: {all}")));
                }
            };
            if std::mem::replace(flag, true) {
                return Err(self.wrong(format!("the option {option} is there twice")));
            }
        }
        let place = |option: &str| options.split(',').position(|one| one == option);
        value.requires_last = value.list && value.required && place("Required") < place("List");
        if value.list && pattern.contains("(?P<") {
            value.within = Some(Pattern::new(self.line, pattern));
        }
        Ok(value)
    }

    /// The next state with its rules; `None` at the end of the template.
    fn state(
        &mut self,
        values: &[Value],
        at: usize,
        rules_before: &mut usize,
        leads: &mut Vec<Leads>,
    ) -> Result<Option<State>, TemplateError> {
        let name = loop {
            let Some(line) = self.next() else { return Ok(None) };
            if !line.is_empty() && !is_comment(&line) {
                break line;
            }
        };
        let reserved = ["Continue", "Next", "Error", "Clear", "Clearall", "Record", "NoRecord"];
        if !is_word(&name) || name.chars().count() > NAME_CHARS_MAX || reserved.contains(&&*name) {
            return Err(self.wrong(format!("{name:?} is no name of a state: letters, digits and _ are")));
        }
        let mut rules = Vec::new();
        while let Some(line) = self.next().filter(|line| !line.is_empty()) {
            if is_comment(&line) {
                continue;
            }
            if ![" ^", "  ^", "\t^"].iter().any(|start| line.starts_with(start)) {
                return Err(self.wrong("a rule begins with one or two blanks and `^`"));
            }
            let (rule, to) = self.rule(line.trim(), values, *rules_before)?;
            *rules_before += 1;
            if let Some(to) = to {
                leads.push(Leads { rule: rules.len(), state: at, to, line: self.line });
            }
            rules.push(rule);
        }
        Ok(Some(State { name: name.into(), rules }))
    }

    fn rule(
        &self,
        text: &str,
        values: &[Value],
        at: usize,
    ) -> Result<(Rule, Option<Box<str>>), TemplateError> {
        let (pattern, action) = split_action(text);
        let pattern = self.substituted(pattern, values)?;
        let (then, record, to) = self.action(action)?;
        let pattern = Pattern::new(self.line, &pattern);
        Ok((Rule { at, line: self.line, pattern, fills: OnceLock::new(), then, record }, to))
    }

    /// Reads what follows `->`: `[Next|Continue|Error][.Record operation] [state]`.
    fn action(&self, action: &str) -> Result<(Then, Recording, Option<Box<str>>), TemplateError> {
        let badly = || {
            let expected =
                "`-> [Next|Continue|Error][.Record|.NoRecord|.Clear|.Clearall] [state]` is expected";
            self.wrong(format!("{expected}, not {action:?}"))
        };
        let (first, rest) = action.split_once(char::is_whitespace).unwrap_or((action, ""));
        let (line_op, record_op) =
            first.split_once('.').map_or((first, None), |(line, record)| (line, Some(record)));
        let recording = |op: &str| match op {
            "Record" => Some(Recording::Record),
            "NoRecord" => Some(Recording::Keep),
            "Clear" => Some(Recording::Clear),
            "Clearall" => Some(Recording::Clearall),
            _ => None,
        };
        let (line_op, record, to) = match (line_op, record_op) {
            ("Next" | "Continue" | "Error", Some(op)) => (line_op, recording(op).ok_or_else(badly)?, rest),
            ("Next" | "Continue" | "Error", None) => (line_op, Recording::Keep, rest),
            (op, None) => match recording(op) {
                Some(record) => ("Next", record, rest),
                // No operation: all of it is the state.
                None => ("Next", Recording::Keep, action),
            },
            _ => return Err(badly()),
        };
        let to = to.trim();
        match line_op {
            "Error" => {
                let message = to.trim_matches('"');
                let is_quoted = to.len() > 1 && to.starts_with('"') && to.ends_with('"');
                if !(to.is_empty() || is_word(to) || is_quoted) {
                    return Err(badly());
                }
                let message = (!message.is_empty()).then(|| message.into());
                Ok((Then::Error(message), record, None))
            }
            _ if !to.is_empty() && !is_word(to) => Err(badly()),
            "Continue" if !to.is_empty() => {
                Err(self.wrong(format!("`Continue` stays with the line and cannot lead to the state {to}")))
            }
            "Continue" => Ok((Then::Continue, record, None)),
            _ => Ok((Then::Stay, record, (!to.is_empty()).then(|| to.into()))),
        }
    }

    /// Puts the patterns of values for `${NAME}` and `$NAME`, and `$` for `$$`, as Python's `string.Template` does.
    fn substituted(&self, pattern: &str, values: &[Value]) -> Result<String, TemplateError> {
        let mut text = String::with_capacity(pattern.len() * 2);
        let mut rest = pattern;
        while let Some(at) = rest.find('$') {
            text.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix('$') {
                text.push('$');
                rest = behind;
                continue;
            }
            let (name, behind) = match rest.strip_prefix('{') {
                Some(braced) => braced.split_once('}').unwrap_or(("", "")),
                None => {
                    let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
                    rest.split_at(rest.find(|one| !letter(one)).unwrap_or(rest.len()))
                }
            };
            if !is_identifier(name) {
                return Err(self.wrong("`$` stands before the name of a value; `$$` is the end of the line"));
            }
            let value = values.iter().find(|value| *value.name == *name);
            let value = value.ok_or_else(|| self.wrong(format!("there is no value {name}")))?;
            text.push_str(&value.template);
            rest = behind;
        }
        text.push_str(rest);
        Ok(text)
    }
}

/// The pattern of a rule, and its action: what follows the last ` ->`.
fn split_action(rule: &str) -> (&str, &str) {
    let arrow = rule
        .match_indices("->")
        .map(|(at, _)| at)
        .filter(|at| rule[..*at].chars().next_back().is_some_and(char::is_whitespace));
    match arrow.last() {
        None => (rule, ""),
        Some(at) => {
            let blank = rule[..at].chars().next_back().map_or(0, char::len_utf8);
            (&rule[..at - blank], rule[at + 2..].trim())
        }
    }
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
}

fn is_identifier(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(letter) && text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}
