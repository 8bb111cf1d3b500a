//! Texts, numbers and times as lines of JSON hold them, written without a detour: each call writes dozens of them
//! here and in the log.

use tool::Timestamp;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;

const DAY_MS: i64 = 86_400_000;

/// True for printable ASCII without `"` and `\`: it stands in a JSON string, and on a terminal, as it is.
#[must_use]
pub fn is_plain(text: &[u8]) -> bool {
    // Of the last word some bytes are looked at twice, which is cheaper than one by one.
    if let Some(last) = text.last_chunk::<8>() {
        is_plain_word(*last) && text.as_chunks::<8>().0.iter().all(|word| is_plain_word(*word))
    } else if let (Some([a, b, c, d]), Some([e, f, g, h])) = (text.first_chunk(), text.last_chunk()) {
        is_plain_word([*a, *b, *c, *d, *e, *f, *g, *h])
    } else {
        text.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'"' && *byte != b'\\')
    }
}

/// As [`is_plain`], for eight bytes at once. A carry between bytes can only begin at one that is not plain.
fn is_plain_word(word: [u8; 8]) -> bool {
    let word = u64::from_le_bytes(word);
    let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let beyond = word | word.wrapping_add(ONES);
    let marks = is_zero(word ^ (ONES * b'"' as u64)) | is_zero(word ^ (ONES * b'\\' as u64));
    (control | beyond | marks) & HIGH == 0
}

/// Appends a number in decimal.
pub fn push_number(number: u64, to: &mut Vec<u8>) {
    to.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a time as it is displayed: `2026-11-21T10:30:45.123Z`.
pub fn push_timestamp(at: Timestamp, to: &mut Vec<u8>) {
    let (day, time) = (at.unix_ms().div_euclid(DAY_MS), at.unix_ms().rem_euclid(DAY_MS).unsigned_abs());
    let [year, month, day] = date(day);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let mut put = |start: usize, end: usize, mut number: u64| {
        for place in text[start..end].iter_mut().rev() {
            *place = digit(number % 10);
            number /= 10;
        }
    };
    put(0, 4, year);
    put(5, 7, month);
    put(8, 10, day);
    put(11, 13, time / 3_600_000);
    put(14, 16, time / 60_000 % 60);
    put(17, 19, time / 1_000 % 60);
    put(20, 23, time % 1_000);
    to.extend_from_slice(&text);
}

/// Year, month and day in the Gregorian calendar, days after 1970-01-01 and not before the year 0 (H. Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`). Years begin in March, so that a leap day is
/// the last of its year, and are counted from 400 before the year 0.
fn date(days: i64) -> [u64; 3] {
    const ERA: u64 = 146_097;
    let days = days.saturating_add(719_468 + 146_097).unsigned_abs();
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    [(year + era * 400 + carry).saturating_sub(400), month, day]
}

fn digit(number: u64) -> u8 {
    b"0123456789"[(number % 10) as usize]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut text = Vec::new();
        push(&mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn every_day_there_is_has_its_date() {
        for day in -719_528..=2_932_896_i64 {
            let at = Timestamp::from_unix_ms(day * DAY_MS);
            let [year, month, day] = date(day);
            assert_eq!(
                format!("{year:04}-{month:02}-{day:02}"),
                at.utc().date_naive().to_string(),
                "{}",
                at.unix_ms()
            );
        }
    }

    #[test]
    fn one_byte_that_is_not_plain_is_found_wherever_it_stands() {
        for length in 1..40 {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    for around in *b"a!#[]~ " {
                        let mut text = vec![around; length];
                        text[at] = byte;
                        let plain = (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
                        assert_eq!(is_plain(&text), plain, "{byte} at {at} of {length}");
                    }
                }
            }
        }
        assert!(is_plain(b""));
    }

    proptest! {
        #[test]
        fn times_are_as_they_are_displayed(ms in any::<i64>(), near in -62_167_219_200_000_i64..253_402_300_800_000) {
            for at in [ms, near].map(Timestamp::from_unix_ms) {
                prop_assert_eq!(shown(|to| push_timestamp(at, to)), at.to_string());
            }
        }

        #[test]
        fn numbers_are_as_they_are_displayed(number in any::<u64>(), shift in 0_u32..64) {
            let number = number >> shift;
            prop_assert_eq!(shown(|to| push_number(number, to)), number.to_string());
        }
    }
}
