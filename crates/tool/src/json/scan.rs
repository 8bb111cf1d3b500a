//! A walk over JSON text: where the parts of an object begin and end, and what RFC 8259 leaves open.
//!
//! A [`RawValue`] carries the proof that its text is JSON, so what nobody asks for is stepped over there by its
//! brackets and strings alone. Text of which nothing is known is held against the whole grammar, in the same one pass
//! ([`first_look`]). Whatever is wrong ends in an error, never in a panic.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    DEPTH_MAX, JsonError, known,
    words::{marks, special},
};

/// So many names are compared with each other; more are sorted first.
const COMPARED_MAX: usize = 8;

/// One member of an object, as it stands in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// The name, without quotes and escapes.
    pub name: Cow<'a, str>,
    /// The text of the value.
    pub value: &'a str,
    /// The text of the whole member: name, colon and value, and nothing around them.
    pub text: &'a str,
}

/// Checks what RFC 8259 leaves open, as [`super::parse`] does but without building anything.
///
/// Errors: an object with the same name twice at any depth, nesting deeper than [`DEPTH_MAX`], lone surrogates.
pub fn check(value: &RawValue) -> Result<(), JsonError> {
    let mut walk = Walk::on(value.get());
    walk.checked(0).map_err(|wrong| walk.error(wrong))
}

/// The members of an object, in their order, after the same check of everything in it as [`check`] makes.
///
/// Errors: those of [`check`], and a value that is no object.
pub fn checked_members(object: &RawValue) -> Result<Vec<Member<'_>>, JsonError> {
    let mut walk = Walk::on(object.get());
    walk.members(|walk| walk.checked(1)).map_err(|wrong| walk.error(wrong))
}

/// The members of an object, in their order. What they hold is stepped over, however deep it is.
///
/// Errors: a value that is no object, and a name that stands twice among these members.
pub fn shallow_members(object: &RawValue) -> Result<Vec<Member<'_>>, JsonError> {
    let mut walk = Walk::on(object.get());
    walk.members(Walk::skipped).map_err(|wrong| walk.error(wrong))
}

/// The members of the object that `text` is, of which nothing is known yet, each handed to `take` with its name and its
/// value. Where the member `inner` is an object, its own members come along, checked as by [`checked_members`].
///
/// `None` where the text is no object, is nested very deep, or where anything at all is wrong with it: then `take` may
/// have had some of its members, and a parser that knows where it is can say what. Names may stand twice.
pub fn first_look<'a>(
    text: &'a str,
    inner: Option<&str>,
    mut take: impl FnMut(Cow<'a, str>, &'a RawValue, Option<Vec<Member<'a>>>),
) -> Option<()> {
    let mut walk = Walk::on(text);
    walk.space();
    walk.open(b'{').ok()?;
    let mut is_over = walk.closes(b'}');
    while !is_over {
        let name = walk.name().ok()?;
        let from = walk.at;
        let members = if inner == Some(&*name) && walk.peek() == Some(b'{') {
            Some(walk.members(|walk| walk.checked(1)).ok()?)
        } else {
            walk.proven().ok()?;
            None
        };
        take(name, known(&text[from..walk.at]), members);
        is_over = walk.ends(b'}').ok()?;
    }
    walk.is_at_end().then_some(())
}

/// The value of a JSON string that holds no escape; `None` for all other JSON text.
#[must_use]
pub fn unescaped(json: &str) -> Option<&str> {
    let inner = json.strip_prefix('"')?;
    let end = special(inner.as_bytes(), 0)?;
    (end + 1 == inner.len()).then(|| &inner[..end])
}

/// What is wrong: small, as nearly nothing ever is.
#[derive(Clone, Copy)]
enum Wrong {
    /// It is not JSON.
    Grammar,
    /// It is no object.
    NoObject,
    /// It is nested too deep.
    Deep,
    /// It has half a surrogate pair.
    Surrogate,
    /// A name stands twice: [`Walk::twice`].
    Twice,
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
    /// The names of all objects that are open, the innermost last.
    names: Vec<Cow<'a, str>>,
    /// The name that stands twice.
    twice: String,
}

impl<'a> Walk<'a> {
    fn on(text: &'a str) -> Self {
        Self { text, at: 0, names: Vec::new(), twice: String::new() }
    }

    fn error(&self, wrong: Wrong) -> JsonError {
        let text = match wrong {
            Wrong::Grammar => "not valid JSON".to_owned(),
            Wrong::NoObject => "not a JSON object".to_owned(),
            Wrong::Deep => format!("nested deeper than {DEPTH_MAX} levels"),
            Wrong::Surrogate => "half a surrogate pair is not text".to_owned(),
            Wrong::Twice => {
                let shown: String = self.twice.chars().take(80).collect();
                format!("the name {shown:?} stands twice in one object")
            }
        };
        JsonError { text }
    }

    /// Steps over an object, and over what its members hold with `step`.
    fn members(
        &mut self,
        mut step: impl FnMut(&mut Self) -> Result<(), Wrong>,
    ) -> Result<Vec<Member<'a>>, Wrong> {
        self.open(b'{')?;
        if self.closes(b'}') {
            return Ok(Vec::new());
        }
        let mut members = Vec::with_capacity(4);
        loop {
            let start = self.at;
            let name = self.name()?;
            let from = self.at;
            step(self)?;
            let text = &self.text[start..self.at];
            members.push(Member { name, value: &text[from - start..], text });
            if self.ends(b'}')? {
                break;
            }
        }
        let twice = if members.len() <= COMPARED_MAX {
            twice_of_few(&members, |member| &member.name).map(str::to_owned)
        } else {
            twice(&mut members.iter().map(|member| &*member.name).collect::<Vec<_>>()).map(str::to_owned)
        };
        match twice {
            None => Ok(members),
            Some(name) => Err(self.stands_twice(name)),
        }
    }

    /// Steps over one value, looking into it.
    fn checked(&mut self, depth: usize) -> Result<(), Wrong> {
        match self.peek() {
            Some(b'"') => self.checked_string(),
            Some(b'{') => self.checked_object(depth),
            Some(b'[') => self.checked_array(depth),
            _ => self.word(),
        }
    }

    fn checked_object(&mut self, depth: usize) -> Result<(), Wrong> {
        deep_enough(depth)?;
        self.open(b'{')?;
        if self.closes(b'}') {
            return Ok(());
        }
        if self.names.capacity() == 0 {
            self.names.reserve(16);
        }
        let outer = self.names.len();
        loop {
            let name = self.name()?;
            self.names.push(name);
            self.checked(depth + 1)?;
            if self.ends(b'}')? {
                break;
            }
        }
        if let Some(name) = twice(&mut self.names[outer..]).map(str::to_owned) {
            return Err(self.stands_twice(name));
        }
        self.names.truncate(outer);
        Ok(())
    }

    fn checked_array(&mut self, depth: usize) -> Result<(), Wrong> {
        deep_enough(depth)?;
        self.open(b'[')?;
        let mut is_over = self.closes(b']');
        while !is_over {
            self.checked(depth + 1)?;
            is_over = self.ends(b']')?;
        }
        Ok(())
    }

    fn checked_string(&mut self) -> Result<(), Wrong> {
        let from = self.at;
        let is_escaped = self.string()?;
        if is_escaped && has_lone_surrogate(&self.text.as_bytes()[from..self.at]) {
            return Err(Wrong::Surrogate);
        }
        Ok(())
    }

    /// Steps over one value of text that is known to be JSON, without looking into it.
    fn skipped(&mut self) -> Result<(), Wrong> {
        match self.peek() {
            Some(b'{' | b'[') => {}
            Some(b'"') => return self.string().map(drop),
            _ => return self.word(),
        }
        let bytes = self.text.as_bytes();
        let (mut at, mut open) = (self.at, 0_usize);
        loop {
            match bytes.get(at).ok_or(Wrong::Grammar)? {
                b'"' => {
                    self.at = at;
                    self.string()?;
                    at = self.at;
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' if open == 1 => break,
                b'}' | b']' => open -= 1,
                _ => {}
            }
            at += 1;
        }
        self.at = at + 1;
        Ok(())
    }

    /// Steps over one value of text of which nothing is known, and makes sure that it is JSON. What is nested deeper
    /// than 64 levels is left to others.
    fn proven(&mut self) -> Result<(), Wrong> {
        // What is open, the innermost last: a bit that is set is an object.
        let (mut depth, mut objects) = (0_u32, 0_u64);
        loop {
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    if depth == u64::BITS {
                        return Err(Wrong::Deep);
                    }
                    self.at += 1;
                    self.space();
                    let is_object = bracket == b'{';
                    if !self.closes(closing(is_object)) {
                        (depth, objects) = (depth + 1, objects << 1 | u64::from(is_object));
                        if is_object {
                            self.string()?;
                            self.colon()?;
                        }
                        continue;
                    }
                }
                Some(b'"') => drop(self.string()?),
                _ => self.word()?,
            }
            loop {
                if depth == 0 {
                    return Ok(());
                }
                let is_object = objects & 1 == 1;
                if !self.ends(closing(is_object))? {
                    if is_object {
                        self.string()?;
                        self.colon()?;
                    }
                    break;
                }
                (depth, objects) = (depth - 1, objects >> 1);
            }
        }
    }

    /// Steps over a name and the colon behind it, to the first byte of the value.
    #[inline]
    fn name(&mut self) -> Result<Cow<'a, str>, Wrong> {
        let from = self.at;
        let is_escaped = self.string()?;
        let to = self.at;
        self.colon()?;
        match is_escaped {
            false => Ok(Cow::Borrowed(&self.text[from + 1..to - 1])),
            true => meaning(&self.text[from..to]),
        }
    }

    #[inline]
    fn colon(&mut self) -> Result<(), Wrong> {
        if let [b':', behind, ..] = self.rest()
            && *behind > b' '
        {
            self.at += 1;
            return Ok(());
        }
        self.space();
        if self.peek() != Some(b':') {
            return Err(Wrong::Grammar);
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    /// Steps over a string; true where it has escapes.
    #[inline]
    fn string(&mut self) -> Result<bool, Wrong> {
        // Most are short.
        if let Some([b'"', eight @ ..]) = self.rest().first_chunk::<9>() {
            let word = u64::from_le_bytes(*eight);
            let bit = marks(word).trailing_zeros();
            if bit == u64::BITS {
                return self.any_string(8);
            }
            if (word >> (bit & !7)) as u8 == b'"' {
                self.at += 2 + (bit / 8) as usize;
                return Ok(false);
            }
        }
        self.any_string(0)
    }

    /// The same, where so many bytes behind the quote are known to be plain.
    #[inline(never)]
    fn any_string(&mut self, plain: usize) -> Result<bool, Wrong> {
        if self.peek() != Some(b'"') {
            return Err(Wrong::Grammar);
        }
        let bytes = self.text.as_bytes();
        let mut is_escaped = false;
        let mut at = self.at + 1 + plain;
        loop {
            at = special(bytes, at).ok_or(Wrong::Grammar)?;
            if bytes[at] == b'"' {
                break;
            }
            is_escaped = true;
            at += escape(&bytes[at..]).ok_or(Wrong::Grammar)?;
        }
        self.at = at + 1;
        Ok(is_escaped)
    }

    /// Steps over a number, `true`, `false` or `null`.
    fn word(&mut self) -> Result<(), Wrong> {
        let rest = self.rest();
        let length = match rest.first() {
            Some(b't') if rest.starts_with(b"true") => 4,
            Some(b'n') if rest.starts_with(b"null") => 4,
            Some(b'f') if rest.starts_with(b"false") => 5,
            Some(b'-' | b'0'..=b'9') => number(rest).ok_or(Wrong::Grammar)?,
            _ => return Err(Wrong::Grammar),
        };
        self.at += length;
        Ok(())
    }

    #[inline]
    fn open(&mut self, bracket: u8) -> Result<(), Wrong> {
        if self.peek() != Some(bracket) {
            return Err(Wrong::NoObject);
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    /// True, and a step further, where the next byte closes what is open.
    #[inline]
    fn closes(&mut self, bracket: u8) -> bool {
        let closes = self.peek() == Some(bracket);
        self.at += usize::from(closes);
        closes
    }

    /// What comes behind a member or an item: true where the bracket closes, false where a comma says that there is
    /// another one.
    #[inline]
    fn ends(&mut self, bracket: u8) -> Result<bool, Wrong> {
        if let [b',', behind, ..] = self.rest()
            && *behind > b' '
        {
            self.at += 1;
            return Ok(false);
        }
        self.space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.space();
                Ok(false)
            }
            Some(byte) if byte == bracket => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(Wrong::Grammar),
        }
    }

    /// True where there is nothing more but spaces.
    fn is_at_end(&mut self) -> bool {
        self.space();
        self.at == self.text.len()
    }

    #[inline]
    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn stands_twice(&mut self, name: String) -> Wrong {
        self.twice = name;
        Wrong::Twice
    }
}

fn closing(is_object: bool) -> u8 {
    if is_object { b'}' } else { b']' }
}

/// The text that a string with its quotes stands for.
#[inline(never)]
fn meaning(string: &str) -> Result<Cow<'_, str>, Wrong> {
    // The grammar holds, so what is left to be wrong is a lone surrogate.
    serde_json::from_str(string).map(Cow::Owned).map_err(|_| Wrong::Surrogate)
}

/// How long the escape is that stands here; `None` where it is none, or a byte that has to be escaped.
fn escape(rest: &[u8]) -> Option<usize> {
    match rest {
        [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Some(2),
        [b'\\', b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) => {
            Some(6)
        }
        _ => None,
    }
}

/// How long the number is that stands here (RFC 8259, 6); `None` where it is none.
fn number(rest: &[u8]) -> Option<usize> {
    let digits = |from: usize| rest[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = usize::from(rest.first() == Some(&b'-'));
    let mut at = match rest.get(whole) {
        Some(b'0') => whole + 1,
        _ => whole + some(digits(whole))?,
    };
    if rest.get(at) == Some(&b'.') {
        at += 1;
        at += some(digits(at))?;
    }
    if matches!(rest.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(rest.get(at), Some(b'+' | b'-')));
        at += some(digits(at))?;
    }
    Some(at)
}

fn some(count: usize) -> Option<usize> {
    (count > 0).then_some(count)
}

fn deep_enough(depth: usize) -> Result<(), Wrong> {
    if depth < DEPTH_MAX { Ok(()) } else { Err(Wrong::Deep) }
}

/// A name that is there twice; may sort them.
fn twice<T: AsRef<str> + Ord>(names: &mut [T]) -> Option<&str> {
    if names.len() <= COMPARED_MAX {
        return twice_of_few(names, AsRef::as_ref);
    }
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].as_ref())
}

/// The name of two of a few that have the same.
fn twice_of_few<T>(few: &[T], name: impl Fn(&T) -> &str) -> Option<&str> {
    let is_twice = |(i, one): &(usize, &T)| few[..*i].iter().any(|other| name(other) == name(one));
    few.iter().enumerate().find(is_twice).map(|(_, one)| name(one))
}

/// True where a `\u` escape of one half of a pair stands without the other (RFC 8259, 8.2).
fn has_lone_surrogate(token: &[u8]) -> bool {
    let mut at = 0;
    while at + 1 < token.len() {
        if token[at] != b'\\' {
            at += 1;
            continue;
        }
        match unit(token, at) {
            Some(0xD800..=0xDBFF) => match unit(token, at + 6) {
                Some(0xDC00..=0xDFFF) => at += 12,
                _ => return true,
            },
            Some(0xDC00..=0xDFFF) => return true,
            Some(_) => at += 6,
            None => at += 2,
        }
    }
    false
}

/// The code unit of the `\uXXXX` that stands here.
fn unit(token: &[u8], at: usize) -> Option<u16> {
    let escape = token.get(at..at + 6)?;
    let digits = escape.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests;
