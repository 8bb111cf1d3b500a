//! Lists page by page, with cursors that only we can make.
//!
//! Source: server/utilities/pagination.

use std::{num::NonZeroUsize, ops::Range, time::Duration};

use serde_json::{Value, json};
use tool::Timestamp;

use crate::{
    Object, WireError,
    seal::{Purpose, Seals},
};

/// How long a cursor holds.
const CURSOR_LASTS: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest name in a cursor, in bytes; the rest of a longer one is not needed to find the place.
const NAME_BYTES_MAX: usize = 2_048;

/// One list of one caller, to be given out in pages.
#[derive(Debug)]
pub struct Pager<'a> {
    /// Seals the cursors.
    pub seals: &'a Seals,
    /// Whose list it is: a cursor of somebody else is invalid.
    pub principal: &'a str,
    /// Which list it is: the method.
    pub list: &'a str,
    /// The time now.
    pub now: Timestamp,
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Which of the names are on it.
    pub range: Range<usize>,
    /// Where the next page begins, where there is one.
    pub next: Option<String>,
}

impl Pager<'_> {
    /// The page that a cursor names, the first without one, out of a list of names as it is now.
    ///
    /// A page begins after the last name of the one before. Where that name has gone since, a sorted list goes on
    /// with the next greater one; in any other the place is as far from the beginning as it was. So a list that
    /// changes between pages may repeat or skip what has moved, and never ends too early or fails.
    ///
    /// Error: invalid params, for a cursor that is not ours, not for this list and caller, or too old.
    pub fn page(&self, names: &[&str], cursor: Option<&str>, size: NonZeroUsize) -> Result<Page, WireError> {
        let start = match cursor {
            None => 0,
            Some(cursor) => self.resume(names, cursor)?,
        };
        let end = names.len().min(start.saturating_add(size.get()));
        let next = if end < names.len() { self.cursor(names, end)? } else { None };
        Ok(Page { range: start..end, next })
    }

    fn resume(&self, names: &[&str], cursor: &str) -> Result<usize, WireError> {
        let opened = self.seals.open(Purpose::Cursor, &self.bound(), self.now, cursor);
        let place = opened.map_err(|error| error.on_wire("cursor"))?;
        let (Some(after), Some(at)) = (place["after"].as_str(), place["at"].as_u64()) else {
            return Err(WireError::invalid_params("\"cursor\" is not one of ours; begin anew without it"));
        };
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(names.len());
        if let Some(found) = names.iter().position(|name| cut(name) == after) {
            return Ok(found + 1);
        }
        if names.is_sorted() {
            return Ok(names.partition_point(|name| *name <= after));
        }
        Ok(at)
    }

    /// The cursor of the page that begins at `end`, after the name before it.
    fn cursor(&self, names: &[&str], end: usize) -> Result<Option<String>, WireError> {
        let Some(last) = end.checked_sub(1).and_then(|i| names.get(i)) else { return Ok(None) };
        let place: Value = json!({ "after": cut(last), "at": end });
        let expires = self.now.after(CURSOR_LASTS);
        let sealed = self.seals.seal(Purpose::Cursor, &self.bound(), expires, &place);
        sealed.map(Some).map_err(|error| WireError::internal(error.to_string()))
    }

    fn bound(&self) -> [&[u8]; 2] {
        [self.principal.as_bytes(), self.list.as_bytes()]
    }
}

/// The cursor in the params of a list request.
///
/// Error: invalid params, where it is no string.
pub fn cursor_of(params: &Object<'_>) -> Result<Option<String>, WireError> {
    if params.get("cursor") == Some("null") {
        return Ok(None);
    }
    params.text("cursor").map(|cursor| cursor.map(Into::into))
}

fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seals() -> Seals {
        Seals::new([1; 32])
    }

    fn pager(seals: &Seals) -> Pager<'_> {
        Pager { seals, principal: "ada", list: "tools/list", now: Timestamp::from_unix_ms(0) }
    }

    fn two() -> NonZeroUsize {
        NonZeroUsize::new(2).unwrap()
    }

    /// The names on the next page of `now`, after the first page of `before`.
    fn second_page(before: &[&str], now: &[&str]) -> Vec<String> {
        let seals = seals();
        let next = pager(&seals).page(before, None, two()).unwrap().next.unwrap();
        let page = pager(&seals).page(now, Some(&next), two()).unwrap();
        now[page.range].iter().map(ToString::to_string).collect()
    }

    #[test]
    fn pages_of_a_list_that_changes() {
        let before = ["a", "b", "c", "d"];
        assert_eq!(second_page(&before, &before), ["c", "d"]);
        assert_eq!(second_page(&before, &["a", "b", "bb", "c"]), ["bb", "c"]);
        assert_eq!(second_page(&before, &["a", "c", "d"]), ["c", "d"], "the last name has gone");
        assert_eq!(second_page(&before, &["a"]), [""; 0]);
        assert_eq!(second_page(&before, &[]), [""; 0]);
        assert_eq!(second_page(&["d", "c", "b", "a"], &["x", "d", "c", "b"]), ["b"], "not sorted, and moved");
        assert_eq!(second_page(&["d", "c", "b", "a"], &["d", "b", "a"]), ["a"], "not sorted, and gone");
    }

    #[test]
    fn cursors_that_do_not_hold() {
        let seals = seals();
        let next = pager(&seals).page(&["a", "b", "c"], None, two()).unwrap().next.unwrap();
        let page = |pager: &Pager<'_>, cursor: &str| {
            pager.page(&["a", "b", "c"], Some(cursor), two()).map(|_| ()).map_err(|error| error.to_string())
        };
        let forged = Err("\"cursor\" was not made by us for this; begin anew without it (-32602)".to_owned());
        assert_eq!(page(&pager(&seals), &next), Ok(()));
        assert_eq!(page(&Pager { principal: "eve", ..pager(&seals) }, &next), forged);
        assert_eq!(page(&Pager { list: "prompts/list", ..pager(&seals) }, &next), forged);
        let late = Timestamp::from_unix_ms(24 * 60 * 60 * 1_000);
        assert_eq!(
            page(&Pager { now: late, ..pager(&seals) }, &next),
            Err("\"cursor\" has expired; begin anew without it (-32602)".to_owned())
        );
        for cursor in ["", "2", "invalid-cursor"] {
            assert_eq!(
                page(&pager(&seals), cursor),
                Err("\"cursor\" is not one of ours; begin anew without it (-32602)".to_owned())
            );
        }
    }

    #[test]
    fn cursors_in_params() {
        let of = |text: &str| cursor_of(&Object::read(serde_json::from_str(text).unwrap()).unwrap());
        assert_eq!(of("{}"), Ok(None));
        assert_eq!(of(r#"{"cursor":null}"#), Ok(None));
        assert_eq!(of(r#"{"cursor":""}"#), Ok(Some(String::new())));
        assert!(of(r#"{"cursor":7}"#).is_err());
    }

    #[test]
    fn long_names() {
        let seals = seals();
        let names = ["é".repeat(50_000), "z".to_owned(), "zz".to_owned()];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let one = NonZeroUsize::new(1).unwrap();
        let next = pager(&seals).page(&names, None, one).unwrap().next.unwrap();
        assert_eq!(pager(&seals).page(&names, Some(&next), one).unwrap().range, 1..2);
    }

    proptest! {
        #[test]
        fn every_name_comes_once(mut names in prop::collection::hash_set("[a-c]{1,3}", 0..20).prop_map(|set| set.into_iter().collect::<Vec<_>>()), size in 1_usize..6, sorted in any::<bool>()) {
            if sorted {
                names.sort();
            }
            let seals = seals();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let page = pager(&seals).page(&names, cursor.as_deref(), NonZeroUsize::new(size).unwrap()).unwrap();
                seen.extend_from_slice(&names[page.range]);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            prop_assert_eq!(seen, names);
        }
    }
}
