//! Bytes as lowercase hexadecimal, strictly: one text for one value, so that no byte of a line can change
//! without being seen.

/// The digits of a hash.
pub(crate) fn digits(hash: &[u8; 32]) -> [u8; 64] {
    let mut digits = [0; 64];
    for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(hash) {
        *pair = shown(*byte);
    }
    digits
}

/// The digits of `bytes`.
pub(crate) fn text(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| shown(*byte)).collect();
    String::from_utf8(digits).expect("digits are ASCII")
}

fn shown(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 15].map(|half| half + if half < 10 { b'0' } else { b'a' - 10 })
}

/// The `N` bytes that exactly `2 * N` lowercase digits stand for.
pub(crate) fn read<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lowercase_digits_of_the_right_length_are_read() {
        for (digits, bytes) in [
            ("00ff", Some([0, 255])),
            ("a0b1", Some([0xa0, 0xb1])),
            ("00FF", None),
            ("00f", None),
            ("00f ", None),
        ] {
            assert_eq!(read::<2>(digits.as_bytes()), bytes, "{digits}");
        }
        assert_eq!(text(&[0x00, 0x7f, 0xff]), "007fff");
        let hash = std::array::from_fn(|n| (n * 9) as u8);
        assert_eq!(digits(&hash), text(&hash).as_bytes());
    }
}
