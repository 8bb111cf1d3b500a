use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use blake3::hazmat::{ContextKey, HasherExt as _, hash_derive_key_context};
use secrecy::{
    ExposeSecret as _, SecretBox,
    zeroize::{Zeroize as _, Zeroizing},
};
use tool::Secret;

/// The most characters of a label.
pub const LABEL_CHARS_MAX: usize = 32;

/// 62^43 is just over 2^256: so many digits hold any 32 bytes.
const RANDOM_DIGITS: usize = 43;

/// 62^6 is about 2^36: one typo in 5 * 10^10 passes.
const CHECK_DIGITS: usize = 6;

/// So many random digits are shown to tell keys apart; 39 stay secret.
const SHOWN_DIGITS: usize = 4;

const CHECK_CONTEXT: &str = "portcullis 2026 check digits of an API key";

/// The key of [`CHECK_CONTEXT`]: making it costs as much as hashing a secret with it.
static CHECK_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(CHECK_CONTEXT));

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Makes the secrets of keys, and hashes them with the pepper of this installation. Cheap to clone.
///
/// A secret is `sk_<label>_<43 digits><6 check digits>`: 32 random bytes in base 62, and a checksum over all that
/// comes before it, so that a typo or a torn line is told from a wrong key without asking the store. Secrets made
/// elsewhere (`API_KEY_PRIMARY=sk_prod_xxx`) are hashed as they are and work the same: [`KeyMaker::plausible`] is
/// a fast path for ours and never a reason to refuse one.
#[derive(Clone)]
pub struct KeyMaker {
    pepper: Arc<SecretBox<[u8; 32]>>,
}

impl KeyMaker {
    /// A maker with this pepper: 32 random bytes, the same for the life of the installation. Without it no stored
    /// hash fits any secret.
    #[must_use]
    pub fn new(mut pepper: [u8; 32]) -> Self {
        let kept = SecretBox::new(Box::new(pepper));
        pepper.zeroize();
        Self { pepper: Arc::new(kept) }
    }

    /// A new secret with this label: itself, its hash, and the prefix to show. See [`is_label`].
    #[must_use]
    pub fn mint(&self, label: &str) -> (Secret, String, String) {
        let mut random = Zeroizing::new([0_u8; 32]);
        getrandom::fill(random.as_mut()).expect("the operating system always has random bytes");
        let mut text = format!("sk_{label}_");
        push_base62(&mut text, &random);
        let check = check_digits(&text);
        text.extend(check.map(char::from));
        let secret = Secret::new(text);
        let (hash, prefix) = (self.hash(secret.expose()), Self::prefix(secret.expose()));
        (secret, hash, prefix)
    }

    /// The hash a secret is stored and found by: BLAKE3 keyed with the pepper, in hex. Takes any text.
    #[must_use]
    pub fn hash(&self, secret: &str) -> String {
        blake3::keyed_hash(self.pepper.expose_secret(), secret.as_bytes()).to_hex().as_str().to_owned()
    }

    /// True where a text has the shape and the check digits of a secret that [`KeyMaker::mint`] made.
    #[must_use]
    pub fn plausible(text: &str) -> bool {
        let Some((_, digits)) = split(text) else { return false };
        if digits.len() != RANDOM_DIGITS + CHECK_DIGITS || !digits.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            return false;
        }
        let (body, check) = text.split_at(text.len() - CHECK_DIGITS);
        check_digits(body) == check.as_bytes()
    }

    /// What may be shown of a secret, to tell keys apart: `sk_<label>_` and four characters. Of one that is too
    /// short for that, or of another shape, less: `sk_<label>_…` or `…`.
    #[must_use]
    pub fn prefix(secret: &str) -> String {
        match split(secret) {
            Some((label, digits)) if digits.len() >= RANDOM_DIGITS => {
                let shown: String = digits.chars().take(SHOWN_DIGITS).collect();
                format!("sk_{label}_{shown}")
            }
            Some((label, _)) => format!("sk_{label}_…"),
            None => "…".to_owned(),
        }
    }
}

impl fmt::Debug for KeyMaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMaker([redacted])")
    }
}

/// True for 1 to 32 of `a-z 0-9 -`: what stands between the underscores of a secret.
#[must_use]
pub fn is_label(text: &str) -> bool {
    (1..=LABEL_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The label and what follows it, of a text that begins as our secrets do.
fn split(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix("sk_")?.split_once('_').filter(|(label, _)| is_label(label))
}

/// Writes 32 bytes as 43 digits, the highest first.
fn push_base62(text: &mut String, bytes: &[u8; 32]) {
    let mut number = Zeroizing::new(*bytes);
    let mut digits = Zeroizing::new([0_u8; RANDOM_DIGITS]);
    for digit in digits.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in number.iter_mut() {
            let part = rest * 256 + u32::from(*byte);
            *byte = (part / 62) as u8;
            rest = part % 62;
        }
        *digit = DIGITS[rest as usize];
    }
    text.extend(digits.iter().map(|digit| char::from(*digit)));
}

/// The check digits of all that stands before them.
fn check_digits(text: &str) -> [u8; CHECK_DIGITS] {
    let hash = blake3::Hasher::new_from_context_key(&CHECK_KEY).update(text.as_bytes()).finalize();
    let mut rest = u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes"));
    std::array::from_fn(|_| {
        let digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
        digit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that were made before must stay plausible.
    #[test]
    fn the_check_digits_are_those_of_a_key_derived_from_the_context() {
        for length in [0, 1, 51, 63, 64, 65, 200] {
            let text = "k".repeat(length);
            let hash = blake3::derive_key(CHECK_CONTEXT, text.as_bytes());
            let number = u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| hash[i]));
            let digits = [1, 62, 3_844, 238_328, 14_776_336, 916_132_832];
            let expected = digits.map(|place| DIGITS[(number / place % 62) as usize]);
            assert_eq!(check_digits(&text), expected, "{length}");
        }
    }
}
