//! Webhooks: who sent a body, by its signature.
//!
//! The header is `t=<unix seconds>,v1=<hex>`, where `v1` is the HMAC-SHA256 (RFC 2104, FIPS 180-4) of `<t>.<body>` under a
//! secret that both sides know; several `v1` may stand there while a secret is exchanged. A body that is older than five
//! minutes is refused, and so is one that was taken already.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tool::{Code, Fault, Secret, Timestamp};

/// How far the sender's clock and ours may be apart, the time on the way included.
const WINDOW: Duration = Duration::from_secs(300);
/// The most signatures of one header.
const SIGNATURES_MAX: usize = 4;
/// The most bodies that are remembered, so that none is taken twice.
const SEEN_MAX: usize = 100_000;

/// A body and what its sender says it is signed with.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The header, as it came.
    pub header: Arc<str>,
    /// The body, as it came.
    pub body: Arc<[u8]>,
    /// The address it came from, for the record of a refused one.
    pub from: Option<IpAddr>,
}

impl Signed {
    /// When it was signed, in seconds since 1970, as the header says; none for a bare signature.
    #[must_use]
    pub fn at(&self) -> Option<i64> {
        read(&self.header)?.at
    }
}

/// Someone whose bodies are taken.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The principal it stands for.
    pub principal: Arc<str>,
    /// What it signs with.
    pub secret: Secret,
    /// Whether a bare signature of the body alone is taken too, which anyone may send again.
    pub bare: bool,
}

/// The bodies that were taken within the window.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<HashMap<[u8; 32], Timestamp>>);

impl Seen {
    /// Forgets what a header says: its call came to nothing, so that it may be sent again.
    pub(crate) fn forget(&self, header: &str) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for signature in read(header).into_iter().flat_map(|said| said.signatures) {
            seen.remove(&signature);
        }
    }

    /// Notes a signature. False where it was noted before, or where there is no room for more.
    fn is_new(&self, signature: [u8; 32], now: Timestamp) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= SEEN_MAX {
            seen.retain(|_, until| *until > now);
        }
        // One that is forgotten would be too old by now: its time is within the window of when it came.
        let until = now.after(WINDOW * 2);
        seen.len() < SEEN_MAX && seen.insert(signature, until).is_none()
    }
}

/// What a header says.
struct Said {
    /// None for a bare signature.
    at: Option<i64>,
    signatures: Vec<[u8; 32]>,
}

/// Whose body it is.
///
/// Fault: `Unauthenticated`, always with the same sentence; the log has the reason.
pub(crate) fn signer<'a>(
    signed: &Signed,
    signers: &'a [Signer],
    seen: &Seen,
    now: Timestamp,
) -> Result<&'a Signer, Fault> {
    let refuse = |why: &str| Fault::new(Code::Unauthenticated, "Invalid signature").with_log(why.to_owned());
    if signers.is_empty() {
        return Err(refuse("no principal has a `webhook`"));
    }
    let said = read(&signed.header).ok_or_else(|| refuse("the header is not t=..,v1=.."))?;
    if let Some(at) = said.at
        && at.abs_diff(now.unix_seconds()) > WINDOW.as_secs()
    {
        return Err(refuse("its time is not that of now"));
    }
    let found = signers.iter().filter(|signer| said.at.is_some() || signer.bare).find_map(|signer| {
        let fits = |signature: &&[u8; 32]| matches(signer, said.at, &signed.body, signature);
        Some((signer, *said.signatures.iter().find(fits)?))
    });
    let (signer, signature) = found.ok_or_else(|| refuse("no secret fits"))?;
    if said.at.is_some() && !seen.is_new(signature, now) {
        return Err(refuse("it was taken already, or too many are remembered"));
    }
    Ok(signer)
}

/// Compares in constant time.
fn matches(signer: &Signer, at: Option<i64>, body: &[u8], signature: &[u8; 32]) -> bool {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(signer.secret.expose().as_bytes()) else { return false };
    if let Some(at) = at {
        mac.update(format!("{at}.").as_bytes());
    }
    mac.update(body);
    mac.verify_slice(signature).is_ok()
}

fn read(header: &str) -> Option<Said> {
    if let Some(signature) = bytes(header.trim()) {
        return Some(Said { at: None, signatures: vec![signature] });
    }
    let (mut at, mut signatures) = (None, Vec::new());
    for part in header.split(',') {
        match part.trim().split_once('=')? {
            ("t", seconds) if at.is_none() => {
                let is_plain = seconds.bytes().all(|byte| byte.is_ascii_digit());
                // One spelling: what goes by the text goes by the time too.
                let is_plain = is_plain && (seconds == "0" || !seconds.starts_with('0'));
                at = Some(seconds.parse().ok().filter(|_| is_plain)?);
            }
            ("v1", signature) if signatures.len() < SIGNATURES_MAX => signatures.push(bytes(signature)?),
            ("t" | "v1", _) => return None,
            // A version that is still to come.
            _ => {}
        }
    }
    let is_whole = at.is_some() && !signatures.is_empty();
    is_whole.then_some(Said { at, signatures })
}

/// 64 hexadecimal digits as 32 bytes.
fn bytes(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 'a shared secret'
    const SIGNATURE: &str = "ef23e49b675f867e011b03c7b15d2eea3779f42e414e32f844cdfbc0b5a8cb49";
    // printf '{"a":1}' | openssl dgst -sha256 -hmac 'a shared secret'
    const BARE: &str = "8354d66c0699d9e26264070c9e2f5b4b533c9931a7576e72e95f414e7c8520d6";

    fn now(seconds: i64) -> Timestamp {
        Timestamp::from_unix_ms(seconds * 1000)
    }

    fn signers(bare: bool) -> Vec<Signer> {
        let one = |name: &str, secret: &str| Signer {
            principal: name.into(),
            secret: Secret::new(secret.to_owned()),
            bare,
        };
        vec![one("other", "another secret"), one("monitoring", "a shared secret")]
    }

    fn ask(header: &str, signers: &[Signer], seen: &Seen, at: i64) -> Result<String, String> {
        let signed = Signed { header: header.into(), body: Arc::from(&br#"{"a":1}"#[..]), from: None };
        match signer(&signed, signers, seen, now(at)) {
            Ok(signer) => Ok(signer.principal.to_string()),
            Err(fault) => {
                assert_eq!((fault.code, fault.text.as_str()), (Code::Unauthenticated, "Invalid signature"));
                Err(fault.cause().unwrap_or_default())
            }
        }
    }

    #[test]
    fn a_body_is_its_senders_once_and_for_five_minutes() {
        let header = format!("t=1700000000,v1={SIGNATURE}");
        for at in [1_699_999_700, 1_700_000_000, 1_700_000_300] {
            let seen = Seen::default();
            assert_eq!(ask(&header, &signers(false), &seen, at).as_deref(), Ok("monitoring"));
            let again = ask(&header, &signers(false), &seen, at).unwrap_err();
            assert!(again.contains("taken already"), "{again}");
        }
        for at in [1_699_999_699, 1_700_000_301] {
            assert_eq!(
                ask(&header, &signers(false), &Seen::default(), at).unwrap_err(),
                "its time is not that of now"
            );
        }
        let rotating = format!("t=1700000000,v1={},v1={SIGNATURE},v2=x", "0".repeat(64));
        assert_eq!(
            ask(&rotating, &signers(false), &Seen::default(), 1_700_000_000).as_deref(),
            Ok("monitoring")
        );
    }

    #[test]
    fn what_is_signed_otherwise_is_nobodys() {
        let other_time = format!("t=1700000001,v1={SIGNATURE}");
        assert_eq!(
            ask(&other_time, &signers(false), &Seen::default(), 1_700_000_000).unwrap_err(),
            "no secret fits"
        );
        assert!(ask(BARE, &[], &Seen::default(), 0).unwrap_err().contains("no principal"));
        for header in [
            "",
            "t=1",
            "v1=00",
            &format!("v1={SIGNATURE}"),
            &format!("t=+1,v1={SIGNATURE}"),
            &format!("t=01700000000,v1={SIGNATURE}"),
            &format!("t=1,t=2,v1={SIGNATURE}"),
            &SIGNATURE[1..],
        ] {
            assert_eq!(
                ask(header, &signers(false), &Seen::default(), 1_700_000_000).unwrap_err(),
                "the header is not t=..,v1=..",
                "{header}"
            );
        }
    }

    #[test]
    fn a_bare_signature_counts_only_where_that_is_allowed() {
        assert_eq!(ask(BARE, &signers(false), &Seen::default(), 0).unwrap_err(), "no secret fits");
        let seen = Seen::default();
        for _ in 0..2 {
            assert_eq!(ask(BARE, &signers(true), &seen, 0).as_deref(), Ok("monitoring"));
        }
    }

    #[test]
    fn memory_is_bounded() {
        let seen = Seen::default();
        let number = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
            bytes
        };
        assert!((0..SEEN_MAX).all(|n| seen.is_new(number(n), now(0))));
        assert!(!seen.is_new(number(SEEN_MAX), now(599)), "none is forgotten in its window");
        assert!(seen.is_new(number(SEEN_MAX), now(601)));
    }
}
