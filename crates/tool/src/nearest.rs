//! What somebody may have meant.

/// The known name nearest to a wrong one, where one is near enough to be what was meant: more than 0.8 by Jaro and
/// Winkler. The last of those that are equally near.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    known
        .filter(|candidate| may_be_near(length, candidate.chars().count()))
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Whether names of these lengths can be near. Where one is over ten times the other, less than a tenth of it matches:
/// that is under 0.7 by Jaro, and Winkler adds to what is above. So a caller who sends a very long name makes nobody compare it.
fn may_be_near(one: usize, other: usize) -> bool {
    one.max(other) <= 10 * one.min(other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_near_is_found_and_what_is_not_is_not() {
        let known = || ["customer_id", "limit", "offset"].into_iter();
        assert_eq!(nearest("custmer_id", known()), Some("customer_id"));
        assert_eq!(nearest("limits", known()), Some("limit"));
        assert_eq!(nearest("path", known()), None);
        assert_eq!(nearest("", known()), None);
        assert_eq!(nearest("limit", std::iter::empty()), None);
    }

    proptest! {
        #[test]
        fn nothing_near_is_left_out_for_its_length(name in "[ab]{0,60}", candidate in "[ab]{0,60}") {
            let is_near = strsim::jaro_winkler(&name, &candidate) > 0.8;
            prop_assert_eq!(nearest(&name, [&*candidate].into_iter()).is_some(), is_near);
        }
    }
}
