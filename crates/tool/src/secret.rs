use std::{fmt, sync::Arc};

use secrecy::{ExposeSecret, SecretString};

/// A text that must not be seen: a key, a password, a token.
///
/// It shows itself as `[redacted]`, cannot be serialized or compared, and is wiped from memory when the last of its
/// clones is dropped, which all share the one text. [`Secret::expose`] is the one way to it, and easy to search for.
#[derive(Clone)]
pub struct Secret(Arc<SecretString>);

impl Secret {
    /// Takes the text in.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Arc::new(SecretString::from(text)))
    }

    /// The text itself. For the one place that sends or hashes it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
