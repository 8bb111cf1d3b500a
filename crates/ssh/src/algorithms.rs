//! Which algorithms are offered: by profile, since old devices have nothing that is good.

use std::borrow::Cow;

use russh::{
    AlgorithmKind, Preferred, cipher, compression, kex,
    keys::{Algorithm, EcdsaCurve, HashAlg},
    mac,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// A profile of algorithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algorithms {
    /// What is good today: no SHA-1, no CBC.
    #[default]
    Modern,
    /// Also what devices of the last ten years need: SHA-1 in key exchange (group 14), host key and MAC, and AES in CBC.
    Compat,
    /// Also what is broken, for devices that have nothing else: group 1, 3DES and DSA.
    Legacy,
}

const KEX_MODERN: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_GEX_SHA256,
    kex::DH_G16_SHA512,
    kex::DH_G18_SHA512,
    kex::DH_G17_SHA512,
    kex::DH_G15_SHA512,
    kex::DH_G14_SHA256,
];
const KEX_COMPAT: &[kex::Name] = &[kex::DH_GEX_SHA1, kex::DH_G14_SHA1];
const KEX_LEGACY: &[kex::Name] = &[kex::DH_G1_SHA1];
/// What says what we can do beside exchanging keys: RFC 8308, and OpenSSH's guard against cut prefixes.
const KEX_EXTENSIONS: &[kex::Name] =
    &[kex::EXTENSION_SUPPORT_AS_CLIENT, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT];

const KEY_MODERN: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];
const KEY_COMPAT: &[Algorithm] = &[Algorithm::Rsa { hash: None }];
const KEY_LEGACY: &[Algorithm] = &[Algorithm::Dsa];

const CIPHER_MODERN: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];
const CIPHER_COMPAT: &[cipher::Name] = &[cipher::AES_256_CBC, cipher::AES_192_CBC, cipher::AES_128_CBC];
const CIPHER_LEGACY: &[cipher::Name] = &[cipher::TRIPLE_DES_CBC];

const MAC_MODERN: &[mac::Name] =
    &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];
const MAC_COMPAT: &[mac::Name] = &[mac::HMAC_SHA1_ETM, mac::HMAC_SHA1];

impl Algorithms {
    /// Every profile, from narrow to wide.
    const ALL: [Self; 3] = [Self::Modern, Self::Compat, Self::Legacy];

    /// Its name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Modern => "modern",
            Self::Compat => "compat",
            Self::Legacy => "legacy",
        }
    }

    /// Of three tables, those of this profile, one after the other.
    fn chosen<T: Clone>(self, modern: &[T], compat: &[T], legacy: &[T]) -> Vec<T> {
        let tables: &[&[T]] = match self {
            Self::Modern => &[modern],
            Self::Compat => &[modern, compat],
            Self::Legacy => &[modern, compat, legacy],
        };
        tables.concat()
    }

    fn host_key_algorithms(self) -> Vec<Algorithm> {
        self.chosen(KEY_MODERN, KEY_COMPAT, KEY_LEGACY)
    }

    /// What is offered. Host keys of the algorithms in `known` are asked for first: a device that has several shows the
    /// one that we can recognize.
    pub(crate) fn preferred(self, known: &[Algorithm]) -> Preferred {
        let kind = |algorithm: &Algorithm| match algorithm {
            Algorithm::Rsa { .. } => Algorithm::Rsa { hash: None },
            other => other.clone(),
        };
        let mut keys = self.host_key_algorithms();
        keys.sort_by_key(|key| !known.iter().any(|one| kind(one) == kind(key)));
        Preferred {
            kex: self
                .chosen(KEX_MODERN, KEX_COMPAT, KEX_LEGACY)
                .into_iter()
                .chain(KEX_EXTENSIONS.to_vec())
                .collect(),
            key: Cow::Owned(keys),
            host_key_certificates: Cow::Borrowed(&[]),
            cipher: Cow::Owned(self.chosen(CIPHER_MODERN, CIPHER_COMPAT, CIPHER_LEGACY)),
            mac: Cow::Owned(self.chosen(MAC_MODERN, MAC_COMPAT, &[])),
            compression: Cow::Borrowed(&[compression::NONE]),
        }
    }

    /// The names of a kind that this profile offers.
    fn names(self, kind: &AlgorithmKind) -> Vec<String> {
        let preferred = self.preferred(&[]);
        fn of<T: AsRef<str>>(names: &[T]) -> Vec<String> {
            names.iter().map(|name| name.as_ref().to_owned()).collect()
        }
        match kind {
            AlgorithmKind::Kex => of(&preferred.kex),
            AlgorithmKind::Key => preferred.key.iter().map(ToString::to_string).collect(),
            AlgorithmKind::Cipher => of(&preferred.cipher),
            AlgorithmKind::Mac => of(&preferred.mac),
            AlgorithmKind::Compression => of(&preferred.compression),
        }
    }

    /// The narrowest wider profile that has one of these.
    pub(crate) fn wider_for(self, kind: &AlgorithmKind, theirs: &[String]) -> Option<&'static str> {
        let wider = Self::ALL.into_iter().skip_while(|profile| *profile != self).skip(1);
        let mut fits = wider.filter(|profile| profile.names(kind).iter().any(|name| theirs.contains(name)));
        fits.next().map(Self::as_str)
    }
}

/// What a kind of algorithm is called.
pub(crate) fn kind_name(kind: &AlgorithmKind) -> &'static str {
    match kind {
        AlgorithmKind::Kex => "key exchange",
        AlgorithmKind::Key => "host key algorithm",
        AlgorithmKind::Cipher => "cipher",
        AlgorithmKind::Mac => "MAC",
        AlgorithmKind::Compression => "compression",
    }
}
