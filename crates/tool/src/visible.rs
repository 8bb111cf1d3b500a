//! What a person does not see in a text.

/// True for a character that shows nothing or changes how its neighbours show, so that a person could take a text for
/// another: controls (C0 and C1, but newline and tab), the soft hyphen, zero-width, filler and bidirectional formatting
/// characters (Unicode TR9, TR36), variation selectors beyond those of emoji, and tags.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        _ if c.is_control() => true,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' => true,
        '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => true,
        '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' => true,
        '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    }
}

/// As [`is_invisible`], and the variation selectors that emoji have too: where two texts that look alike must not be.
#[must_use]
pub fn is_deceptive(c: char) -> bool {
    is_invisible(c) || matches!(c, '\u{fe00}'..='\u{fe0f}')
}

/// The text with everything deceptive in it written out, as `\u{202e}`; newlines and tabs stay. For whoever decides by
/// what a text shows.
#[must_use]
pub fn spelled_out(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_deceptive(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

/// The text in one line: what is invisible and every run of white space is one space.
#[must_use]
pub fn in_one_line(text: &str) -> String {
    let seen: String = text.chars().map(|c| if is_invisible(c) { ' ' } else { c }).collect();
    seen.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_written_out() {
        assert_eq!(
            spelled_out("a\u{202e}b\u{0}\n\tc\u{fe0f}\u{e0041} 東京"),
            "a\\u{202e}b\\u{0}\n\tc\\u{fe0f}\\u{e0041} 東京"
        );
        assert!(!is_invisible('\u{fe0f}') && is_deceptive('\u{fe0f}'));
    }

    #[test]
    fn one_line_is_one_line() {
        assert_eq!(in_one_line(" a\u{1b}[1m\r\n b\u{200b}c\u{2028}d "), "a [1m b c d");
    }
}
