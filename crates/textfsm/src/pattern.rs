//! One rule's pattern: translated from the dialect of Python's `re`, compiled when it is first met.

use std::{fmt::Write as _, iter::Peekable, str::Chars, sync::OnceLock};

use crate::TemplateError;

/// The largest program that one pattern may become, in bytes.
const PROGRAM_BYTES_MAX: usize = 4 << 20;
/// How much the lazy automaton of one pattern may keep, in bytes.
const AUTOMATON_BYTES_MAX: usize = 512 << 10;
/// How often a pattern with lookaround may go back for one line.
const BACKTRACKS_MAX: usize = 100_000;

/// A pattern, and what it was compiled to so far.
#[derive(Debug)]
pub(crate) struct Pattern {
    /// The line of the template.
    line: u32,
    /// As Python would take it.
    python: Box<str>,
    /// What every match begins with.
    prefix: Box<str>,
    ascii: OnceLock<Result<Ascii, TemplateError>>,
    any: OnceLock<Result<Any, TemplateError>>,
}

/// What lines of ASCII are matched with: bytes need far smaller automata than letters.
#[derive(Debug)]
pub(crate) enum Ascii {
    /// Bytes.
    Bytes(regex::bytes::Regex),
    /// The pattern itself needs letters, or looks around.
    Any,
}

/// What any line is matched with.
#[derive(Debug)]
pub(crate) enum Any {
    /// Without lookaround.
    Plain(regex::Regex),
    /// With it.
    Fancy(Box<fancy_regex::Regex>),
}

/// Where pieces of a line are.
pub(crate) type Span = Option<(usize, usize)>;

/// What becomes of one pattern against one line.
pub(crate) enum Tried {
    /// It does not match.
    No,
    /// It does; the spans of the wanted groups were written.
    Yes,
    /// It goes back too often.
    Backtracks,
}

/// What is kept between lines so that none allocates.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    bytes: Option<regex::bytes::CaptureLocations>,
    letters: Option<regex::CaptureLocations>,
}

impl Pattern {
    pub(crate) fn new(line: u32, python: &str) -> Self {
        Self {
            line,
            python: python.into(),
            prefix: literal_prefix(python).into(),
            ascii: OnceLock::new(),
            any: OnceLock::new(),
        }
    }

    /// The names of its groups, by number.
    pub(crate) fn names(&self) -> Result<Vec<(usize, Box<str>)>, TemplateError> {
        let named = |(at, name): (usize, Option<&str>)| name.map(|name| (at, Box::from(name)));
        Ok(match self.ascii()? {
            Ascii::Bytes(regex) => regex.capture_names().enumerate().filter_map(named).collect(),
            Ascii::Any => match self.any()? {
                Any::Plain(regex) => regex.capture_names().enumerate().filter_map(named).collect(),
                Any::Fancy(regex) => regex.capture_names().enumerate().filter_map(named).collect(),
            },
        })
    }

    /// Matches at the start of a line, and says where the groups of these numbers are.
    pub(crate) fn matches(
        &self,
        line: &str,
        is_ascii: bool,
        groups: &[usize],
        scratch: &mut Scratch,
        spans: &mut Vec<Span>,
    ) -> Result<Tried, TemplateError> {
        if !line.as_bytes().starts_with(self.prefix.as_bytes()) {
            return Ok(Tried::No);
        }
        spans.clear();
        if is_ascii && let Ascii::Bytes(regex) = self.ascii()? {
            let locations = scratch.bytes.get_or_insert_with(|| regex.capture_locations());
            if regex.captures_read(locations, line.as_bytes()).is_none() {
                return Ok(Tried::No);
            }
            spans.extend(groups.iter().map(|group| locations.get(*group)));
            return Ok(Tried::Yes);
        }
        match self.any()? {
            Any::Plain(regex) => {
                let locations = scratch.letters.get_or_insert_with(|| regex.capture_locations());
                if regex.captures_read(locations, line).is_none() {
                    return Ok(Tried::No);
                }
                spans.extend(groups.iter().map(|group| locations.get(*group)));
            }
            Any::Fancy(regex) => match regex.captures(line) {
                Ok(None) => return Ok(Tried::No),
                Ok(Some(found)) => spans
                    .extend(groups.iter().map(|group| found.get(*group).map(|one| (one.start(), one.end())))),
                Err(_) => return Ok(Tried::Backtracks),
            },
        }
        Ok(Tried::Yes)
    }

    fn ascii(&self) -> Result<&Ascii, TemplateError> {
        self.ascii.get_or_init(|| self.compile_ascii()).as_ref().map_err(Clone::clone)
    }

    fn any(&self) -> Result<&Any, TemplateError> {
        self.any.get_or_init(|| self.compile_any()).as_ref().map_err(Clone::clone)
    }

    fn compile_ascii(&self) -> Result<Ascii, TemplateError> {
        let translated = self.translated()?;
        if translated.looks_around || !self.python.is_ascii() {
            return Ok(Ascii::Any);
        }
        let compiled = regex::bytes::RegexBuilder::new(&anchored(&translated.text))
            .unicode(false)
            .size_limit(PROGRAM_BYTES_MAX)
            .dfa_size_limit(AUTOMATON_BYTES_MAX)
            .build();
        // What bytes cannot say, such as `\u{e9}`, letters can; what neither can is said there.
        Ok(compiled.map_or(Ascii::Any, Ascii::Bytes))
    }

    fn compile_any(&self) -> Result<Any, TemplateError> {
        let translated = self.translated()?;
        let text = anchored(&translated.text);
        if translated.looks_around {
            let compiled = fancy_regex::RegexBuilder::new(&text)
                .backtrack_limit(BACKTRACKS_MAX)
                .delegate_size_limit(PROGRAM_BYTES_MAX)
                .delegate_dfa_size_limit(AUTOMATON_BYTES_MAX)
                .build();
            return compiled.map(|regex| Any::Fancy(Box::new(regex))).map_err(|error| self.wrong(&error));
        }
        regex::RegexBuilder::new(&text)
            .size_limit(PROGRAM_BYTES_MAX)
            .dfa_size_limit(AUTOMATON_BYTES_MAX)
            .build()
            .map(Any::Plain)
            .map_err(|error| self.wrong(&error))
    }

    fn translated(&self) -> Result<Translated, TemplateError> {
        translate(&self.python).map_err(|what| self.wrong(&what))
    }

    fn wrong(&self, what: &dyn std::fmt::Display) -> TemplateError {
        let what = what.to_string();
        let last = what.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        TemplateError::new(self.line, format!("not a regular expression, {last}: {}", self.python))
    }
}

/// Python's `match` begins at the start of the text, whatever the pattern says.
fn anchored(text: &str) -> String {
    format!(r"\A(?:{text})")
}

/// A pattern in the dialect of the regex crates.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Translated {
    pub(crate) text: String,
    /// Whether only an engine that goes back can run it.
    pub(crate) looks_around: bool,
}

/// Translates from the dialect of Python's `re`.
pub(crate) fn translate(python: &str) -> Result<Translated, String> {
    let mut out = Translator {
        rest: python.chars().peekable(),
        text: String::with_capacity(python.len() + 8),
        looks_around: false,
        open: Vec::new(),
    };
    out.all()?;
    Ok(Translated { text: out.text, looks_around: out.looks_around })
}

struct Translator<'a> {
    rest: Peekable<Chars<'a>>,
    text: String,
    looks_around: bool,
    /// For each group that is open: where it began, and whether it looks around.
    open: Vec<(usize, bool)>,
}

impl Translator<'_> {
    fn all(&mut self) -> Result<(), String> {
        while let Some(letter) = self.rest.next() {
            match letter {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '(' => self.group()?,
                ')' => self.close()?,
                '{' => match self.repeats() {
                    Some(repeats) => self.text.push_str(&repeats),
                    None => self.text.push_str(r"\{"),
                },
                '}' => self.text.push_str(r"\}"),
                // Possessive, as in Python since 3.11; a second quantifier is an error there and here.
                '*' | '+' | '?' => {
                    self.text.push(letter);
                    if letter != '?' && self.rest.peek() == Some(&'+') {
                        self.looks_around = true;
                    }
                }
                _ => self.text.push(letter),
            }
        }
        if self.open.is_empty() { Ok(()) } else { Err("a group is not closed".to_owned()) }
    }

    /// What follows `{`, where it says how often; else it is a letter like any other.
    fn repeats(&mut self) -> Option<String> {
        let mut ahead = self.rest.clone();
        let inside: String = ahead.by_ref().take_while(|letter| *letter != '}').collect();
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (least, most) =
            inside.split_once(',').map_or((&*inside, None), |(least, most)| (least, Some(most)));
        let valid = number(least) && most.is_none_or(number);
        let says = !least.is_empty() || most.is_some_and(|most| !most.is_empty());
        // `take_while` ends at the brace or at the end of all.
        let consumed = inside.chars().count() + 1;
        if !valid || !says || self.rest.clone().count() < consumed {
            return None;
        }
        self.rest = ahead;
        let least = if least.is_empty() { "0" } else { least };
        Some(most.map_or_else(|| format!("{{{least}}}"), |most| format!("{{{least},{most}}}")))
    }

    fn group(&mut self) -> Result<(), String> {
        let start = self.text.len();
        if self.rest.peek() != Some(&'?') {
            self.open.push((start, false));
            self.text.push('(');
            return Ok(());
        }
        self.rest.next();
        match self.rest.next().ok_or("the pattern ends within a group")? {
            '#' => {
                self.rest.by_ref().find(|letter| *letter == ')').ok_or("a comment is not closed")?;
                return Ok(());
            }
            'P' => match self.rest.next() {
                Some('<') => {
                    self.open.push((start, false));
                    self.text.push_str("(?P<");
                }
                Some('=') => {
                    let name: String = self.rest.by_ref().take_while(|letter| *letter != ')').collect();
                    self.looks_around = true;
                    _ = write!(self.text, r"\k<{name}>");
                }
                _ => return Err("unknown extension after (?P".to_owned()),
            },
            ahead @ ('=' | '!') => self.around(&format!("(?{ahead}")),
            '<' => match self.rest.next() {
                Some(behind @ ('=' | '!')) => self.around(&format!("(?<{behind}")),
                _ => return Err("unknown extension after (?<".to_owned()),
            },
            '>' => {
                self.looks_around = true;
                self.open.push((start, false));
                self.text.push_str("(?>");
            }
            '(' => {
                self.looks_around = true;
                self.open.push((start, false));
                self.text.push_str("(?(");
                let name: String = self.rest.by_ref().take_while(|letter| *letter != ')').collect();
                _ = write!(self.text, "{name})");
            }
            other => self.flags(other, start)?,
        }
        Ok(())
    }

    fn around(&mut self, opening: &str) {
        self.looks_around = true;
        self.open.push((self.text.len(), true));
        self.text.push_str(opening);
    }

    /// `(?i)`, `(?i:..)`, `(?:..)`. Python's `a`, `L` and `u` say nothing that changes what lines of devices match.
    fn flags(&mut self, first: char, start: usize) -> Result<(), String> {
        let mut flags = String::new();
        let mut letter = first;
        loop {
            match letter {
                'i' | 'm' | 's' | 'x' | '-' => flags.push(letter),
                'a' | 'L' | 'u' => {}
                ':' => {
                    self.open.push((start, false));
                    _ = write!(self.text, "(?{flags}:");
                    return Ok(());
                }
                ')' => {
                    if !flags.is_empty() {
                        _ = write!(self.text, "(?{flags})");
                    }
                    return Ok(());
                }
                _ => return Err(format!("unknown extension (?{letter}")),
            }
            letter = self.rest.next().ok_or("the pattern ends within a group")?;
        }
    }

    /// Closes a group. Python takes quantifiers of groups that look around and repeats what consumes nothing.
    fn close(&mut self) -> Result<(), String> {
        let (start, around) = self.open.pop().ok_or("a group is closed that was not opened")?;
        self.text.push(')');
        if !around {
            return Ok(());
        }
        let optional = match self.rest.peek() {
            Some('*' | '?') => {
                self.rest.next();
                true
            }
            Some('+') => {
                self.rest.next();
                false
            }
            Some('{') => {
                let mut ahead = self.rest.clone();
                ahead.next();
                std::mem::swap(&mut self.rest, &mut ahead);
                match self.repeats() {
                    Some(repeats) => repeats.starts_with("{0"),
                    None => {
                        self.rest = ahead;
                        return Ok(());
                    }
                }
            }
            _ => return Ok(()),
        };
        if optional {
            self.text.truncate(start);
            self.text.push_str("(?:)");
        }
        Ok(())
    }

    fn class(&mut self) -> Result<(), String> {
        self.text.push('[');
        if self.rest.peek() == Some(&'^') {
            self.rest.next();
            self.text.push('^');
        }
        let mut first = true;
        loop {
            match self.rest.next().ok_or("a class of letters is not closed")? {
                ']' if !first => break,
                '\\' => self.escape(true)?,
                '-' => {
                    let dash = if self.is_range(first) { "-" } else { r"\-" };
                    self.text.push_str(dash);
                }
                // In the dialect of the regex crates these begin sets and operations of sets.
                letter @ ('[' | ']' | '&' | '~' | '^') => {
                    self.text.push('\\');
                    self.text.push(letter);
                }
                letter => self.text.push(letter),
            }
            first = false;
        }
        self.text.push(']');
        Ok(())
    }

    /// Whether a `-` within a class stands between two letters.
    fn is_range(&mut self, first: bool) -> bool {
        let before = self.text.chars().next_back();
        let shorthand =
            ['d', 'D', 's', 'S', 'w', 'W'].iter().any(|letter| self.text.ends_with(&format!("\\{letter}")));
        let within = !first && !matches!(before, Some('[')) && !shorthand;
        within && !matches!(self.rest.peek(), Some(']') | None)
    }

    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let letter = self.rest.next().ok_or("the pattern ends with a backslash")?;
        match letter {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'n' | 'r' | 't' | 'f' | 'v' | 'a' => {
                self.text.push('\\');
                self.text.push(letter);
            }
            'b' if in_class => self.text.push_str(r"\x08"),
            'b' | 'B' | 'A' => {
                self.text.push('\\');
                self.text.push(letter);
            }
            'Z' => self.text.push_str(r"\z"),
            'x' => self.number(2)?,
            'u' => self.number(4)?,
            'U' => self.number(8)?,
            '0'..='9' if in_class || letter == '0' => self.octal(letter),
            '1'..='9' => {
                self.looks_around = true;
                self.text.push('\\');
                self.text.push(letter);
                // What follows is no part of the number: Python's groups go to 99, those of templates to 9.
                self.text.push_str("(?:)");
            }
            'a'..='z' | 'A'..='Z' => return Err(format!(r"unknown escape \{letter}")),
            ' ' => self.text.push_str(r"\x20"),
            letter if letter.is_ascii_punctuation() && letter != '<' && letter != '>' => {
                self.text.push('\\');
                self.text.push(letter);
            }
            letter => self.text.push(letter),
        }
        Ok(())
    }

    fn number(&mut self, digits: usize) -> Result<(), String> {
        let text: String = self.rest.by_ref().take(digits).collect();
        let number = u32::from_str_radix(&text, 16).ok().filter(|_| text.len() == digits);
        let number =
            number.ok_or_else(|| format!("{digits} hexadecimal digits are expected, not {text:?}"))?;
        _ = write!(self.text, r"\x{{{number:x}}}");
        Ok(())
    }

    fn octal(&mut self, first: char) {
        let mut number = first.to_digit(8).unwrap_or(0);
        for _ in 0..2 {
            let Some(digit) = self.rest.peek().and_then(|letter| letter.to_digit(8)) else { break };
            self.rest.next();
            number = number * 8 + digit;
        }
        _ = write!(self.text, r"\x{{{number:x}}}");
    }
}

/// What every match must begin with, as far as a look tells: most rules of most templates fail here.
fn literal_prefix(python: &str) -> String {
    let mut prefix = String::new();
    if has_choice(python) {
        return prefix;
    }
    let mut rest = python.strip_prefix('^').unwrap_or(python).chars().peekable();
    while let Some(letter) = rest.next() {
        let literal = match letter {
            '\\' => rest.next().filter(char::is_ascii_punctuation),
            '*' | '?' | '{' => {
                prefix.pop();
                None
            }
            '.' | '+' | '[' | '(' | ')' | '^' | '$' | '|' => None,
            letter => Some(letter),
        };
        match literal {
            Some(literal) => prefix.push(literal),
            None => break,
        }
    }
    prefix
}

/// Whether there is a choice outside of all groups.
fn has_choice(python: &str) -> bool {
    let (mut depth, mut class, mut escaped) = (0_i32, false, false);
    for letter in python.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => class = true,
            ']' => class = false,
            '(' if !class => depth += 1,
            ')' if !class => depth -= 1,
            '|' if !class && depth <= 0 => return true,
            _ => {}
        }
    }
    false
}
