//! Names that fit: what a server calls its tools and prompts, in the letters that clients and models take.

use std::collections::HashSet;

use tool::ToolName;

/// The longest name, in bytes.
const BYTES_MAX: usize = 64;
/// How much of the digest of a name tells it from others.
const DIGEST_CHARS: usize = 8;

/// Names that are given out, each once.
///
/// A name that fits stays as it is. In any other, what does not fit becomes `_`; one that is too long, or that is
/// then the name of another, ends with a digest of itself. So the same list has the same names, whatever its order.
#[derive(Debug, Default)]
pub(crate) struct Names(HashSet<ToolName>);

impl Names {
    /// The names for these, in their order; none for one that stands twice.
    pub(crate) fn assign(&mut self, wanted: &[String]) -> Vec<Option<ToolName>> {
        let mut given = vec![None; wanted.len()];
        let mut seen = HashSet::new();
        let (fitting, other): (Vec<usize>, Vec<usize>) =
            (0..wanted.len()).filter(|&i| seen.insert(wanted[i].as_str())).partition(|&i| fits(&wanted[i]));
        let mut sorted = other;
        sorted.sort_by_key(|&i| wanted[i].as_str());
        for i in fitting.into_iter().chain(sorted) {
            given[i] = self.give(&wanted[i]);
        }
        given
    }

    fn give(&mut self, wanted: &str) -> Option<ToolName> {
        [plain(wanted), Some(told_apart(wanted))]
            .into_iter()
            .flatten()
            .filter_map(|text| ToolName::parse(&text).ok())
            .find(|name| self.0.insert(name.clone()))
    }
}

fn fits(text: &str) -> bool {
    ToolName::parse(text).is_ok()
}

/// The name with `_` for what does not fit, where it is short enough.
fn plain(text: &str) -> Option<String> {
    let fitted = fitted(text);
    (fitted.len() <= BYTES_MAX).then_some(fitted)
}

/// The beginning of the name, and what tells it from others.
fn told_apart(text: &str) -> String {
    let digest = tool::json::digest_bytes(text.as_bytes());
    let digest = digest.strip_prefix("b3:").unwrap_or(&digest);
    let mut start = fitted(text);
    start.truncate(BYTES_MAX - DIGEST_CHARS - 1);
    format!("{start}_{}", &digest[..DIGEST_CHARS])
}

fn fitted(text: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    text.chars().map(fit).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;

    fn assigned(wanted: &[&str]) -> Vec<String> {
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        let given = Names::default().assign(&wanted);
        let shown = |name: &Option<ToolName>| name.as_ref().map_or("-".to_owned(), ToString::to_string);
        given.iter().map(shown).collect()
    }

    #[test]
    fn names_are_made_fit() {
        let long = "x".repeat(70);
        let given = assigned(&["fs.read", "fs_read", "fs/read", "ok-1", "ok-1", "größe", "", &long]);
        expect![[r#"
            fs_read_11aaa926
            fs_read
            fs_read_fa5f0296
            ok-1
            -
            gr__e
            _af1349b9
            xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_626719d6"#]]
        .assert_eq(&given.join("\n"));
    }

    proptest! {
        #[test]
        fn no_two_are_equal_and_the_order_does_not_matter(wanted in prop::collection::hash_set("[a.é]{0,3}|a{60,70}", 0..12)) {
            let wanted: Vec<String> = wanted.into_iter().collect();
            let given = Names::default().assign(&wanted);
            let unique: HashSet<_> = given.iter().flatten().collect();
            prop_assert_eq!(unique.len(), wanted.len());
            let backwards: Vec<String> = wanted.iter().rev().cloned().collect();
            let mut again = Names::default().assign(&backwards);
            again.reverse();
            prop_assert_eq!(given, again);
        }
    }
}
