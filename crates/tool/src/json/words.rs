//! Eight bytes at a time: strings are most of most texts.

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = ONES << 7;

/// Where the next quote, backslash or control byte stands, from `at` on.
#[inline]
pub(super) fn special(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at;
    while let Some(eight) = bytes.get(at..)?.first_chunk::<8>() {
        let found = marks(u64::from_le_bytes(*eight));
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    special_of_last(bytes, at)
}

/// The same of fewer than eight.
#[inline(never)]
fn special_of_last(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let Some(last) = bytes.last_chunk::<8>().filter(|_| !rest.is_empty()) else {
        return rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).map(|found| at + found);
    };
    // What is shifted in counts as control bytes, behind all that stand there.
    let found = marks(u64::from_le_bytes(*last) >> (8 * (8 - rest.len()))).trailing_zeros() as usize / 8;
    (found < rest.len()).then_some(at + found)
}

/// The highest bit of each such byte. Only the lowest bit is always right: a byte that is found borrows from above it.
#[inline]
pub(super) fn marks(word: u64) -> u64 {
    // What this makes less than 0x21 are a quote and all that is less than a space.
    let quote = word ^ (ONES * 0x02);
    let slash = word ^ (ONES * 0x5c);
    (quote.wrapping_sub(ONES * 0x21) & !quote | slash.wrapping_sub(ONES) & !slash) & HIGHS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_ends_a_run_is_found(bytes in prop::collection::vec(prop::sample::select(&b"\"\\!#[] \x1f\x7f\x80\x9f\xa2\xdc\x00abcdefgh"[..]), 0..40), at in 0_usize..42) {
            let expected = (at..bytes.len()).find(|&i| matches!(bytes[i], b'"' | b'\\' | 0..0x20));
            prop_assert_eq!(special(&bytes, at), expected);
        }
    }

    #[test]
    fn every_byte_in_every_place() {
        for (byte, at) in (0..=255_u8).flat_map(|byte| (0..11).map(move |at| (byte, at))) {
            let mut bytes = [b'a'; 11];
            bytes[at] = byte;
            let expected = matches!(byte, b'"' | b'\\' | 0..0x20).then_some(at);
            assert_eq!(special(&bytes, 0), expected, "{byte} {at}");
        }
    }
}
