//! `${VAR}`, `${VAR:-default}` and `${VAR:?message}` in the scalars of a configuration.
//!
//! Expansion happens after parsing, so a value can never become a key, a list or a comment. `$${` stands for
//! `${`; a `$` before anything else is only a `$`.

/// How deep a default may hold further variables: `${A:-${B:-c}}`.
const DEPTH_MAX: usize = 8;

/// The most bytes of one expanded scalar.
const BYTES_MAX: usize = 64 * 1024;

/// Looks up a variable of the environment.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What became of a scalar.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expansion {
    /// There was nothing to expand.
    Unchanged,
    /// The text with its variables filled in.
    Text(String),
}

/// Expands the variables of one scalar.
///
/// Error: a sentence that names the variable and never its value.
pub(crate) fn expand(text: &str, lookup: Lookup<'_>) -> Result<Expansion, String> {
    if !text.contains("${") {
        return Ok(Expansion::Unchanged);
    }
    fill(text, lookup, 0).map(Expansion::Text)
}

fn fill(text: &str, lookup: Lookup<'_>, depth: usize) -> Result<String, String> {
    if depth > DEPTH_MAX {
        return Err(format!("defaults within defaults go deeper than {DEPTH_MAX}"));
    }
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(kept) = before.strip_suffix('$') {
            filled.push_str(kept);
            filled.push_str("${");
            rest = &from[2..];
            continue;
        }
        filled.push_str(before);
        let end = closing(&from[2..]).ok_or("a `${` is never closed; write `$${` for the two characters")?;
        filled.push_str(&variable(&from[2..2 + end], lookup, depth)?);
        rest = &from[2 + end + 1..];
        if filled.len() > BYTES_MAX {
            return Err(format!("it expands to more than {BYTES_MAX} bytes"));
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Where the `}` is that closes what a `${` has opened.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0usize;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if at > 0 && bytes[at - 1] == b'$' => open += 1,
            b'}' if open == 0 => return Some(at),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

fn variable(inside: &str, lookup: Lookup<'_>, depth: usize) -> Result<String, String> {
    let name_end = inside.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inside.len());
    let (name, how) = inside.split_at(name_end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("`${` wants the name of a variable: letters, digits and `_`".to_owned());
    }
    let value = lookup(name);
    if how.is_empty() {
        return value.ok_or_else(|| {
            format!("the environment variable {name} is not set; set it, or write `${{{name}:-default}}`")
        });
    }
    let value = value.filter(|value| !value.is_empty());
    if let Some(default) = how.strip_prefix(":-") {
        return value.map_or_else(|| fill(default, lookup, depth + 1), Ok);
    }
    if let Some(message) = how.strip_prefix(":?") {
        let message = if message.is_empty() { "it is required" } else { message };
        return value.ok_or_else(|| format!("the environment variable {name} is not set: {message}"));
    }
    Err(format!("`${{{name}` may be followed by `}}`, `:-default}}` or `:?message}}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_as_a_shell_would() {
        let lookup = |name: &str| match name {
            "A" => Some("a".to_owned()),
            "EMPTY" => Some(String::new()),
            "ODD" => Some("${A} x: [1]".to_owned()),
            _ => None,
        };
        let check = |text: &str, want: &str| {
            let got = match expand(text, &lookup) {
                Ok(Expansion::Unchanged) => "unchanged".to_owned(),
                Ok(Expansion::Text(text)) => format!("={text}"),
                Err(error) => format!("! {error}"),
            };
            assert_eq!(got, want, "{text}");
        };
        check("plain $ and $5 and {x}", "unchanged");
        check("^\\d+$", "unchanged");
        check("${A}", "=a");
        check("x${A}y${A}z", "=xayaz");
        check("${EMPTY}", "=");
        check("${EMPTY:-d}", "=d");
        check("${B:-}", "=");
        check("${B:-d}", "=d");
        check("${B:-x-${A}-y}", "=x-a-y");
        check("${B:-${C:-${A}}}", "=a");
        check("$${A}", "=${A}");
        check("a$${A}b${A}", "=a${A}ba");
        check("${ODD}", "=${A} x: [1]");
        check("${B}", "! the environment variable B is not set; set it, or write `${B:-default}`");
        check("${B:?ask ops}", "! the environment variable B is not set: ask ops");
        check("${EMPTY:?}", "! the environment variable EMPTY is not set: it is required");
        check("${A", "! a `${` is never closed; write `$${` for the two characters");
        check("${}", "! `${` wants the name of a variable: letters, digits and `_`");
        check("${1A}", "! `${` wants the name of a variable: letters, digits and `_`");
        check("${A-x}", "! `${A` may be followed by `}`, `:-default}` or `:?message}`");
        let deep = format!("{}x{}", "${B:-".repeat(10), "}".repeat(10));
        check(&deep, "! defaults within defaults go deeper than 8");
    }
}
