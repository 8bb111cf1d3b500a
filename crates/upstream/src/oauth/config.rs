use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tool::SecretRef;

/// How tokens for a server are got from its authorization server, which is found by what the server says. The token of a
/// caller is never passed on.
///
/// Source: MCP 2026-07-28, basic/authorization.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuthConfig {
    /// Who is asked: a person once, with `portcullis upstream login` (`authorization_code`), or nobody
    /// (`client_credentials`).
    #[serde(default)]
    pub grant: GrantType,
    /// Who we are to the authorization server, where it knows us already. Left out: `client_metadata_url` where it takes
    /// that, else we register ourselves.
    #[serde(default)]
    pub client_id: Option<String>,
    /// The secret that belongs to `client_id`.
    #[serde(default)]
    pub client_secret: Option<SecretRef>,
    /// Or the private key that belongs to it, in PEM: for `client_credentials` alone.
    #[serde(default)]
    pub private_key: Option<SecretRef>,
    /// What that key signs with.
    #[serde(default)]
    pub signing_algorithm: SigningAlgorithm,
    /// The https URL of a document of yours that says who we are (Client ID Metadata Document).
    #[serde(default)]
    pub client_metadata_url: Option<String>,
    /// What is asked for. Left out: what the server says is needed.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// Who is asked for a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// A person, once.
    #[default]
    AuthorizationCode,
    /// Nobody: the secret or the key of the client is enough.
    ClientCredentials,
}

/// What a private key signs with (RFC 7518, section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum SigningAlgorithm {
    /// ECDSA over P-256.
    #[default]
    ES256,
    /// ECDSA over P-384.
    ES384,
    /// RSA with SHA-256.
    RS256,
    /// RSA with SHA-384.
    RS384,
    /// RSA with SHA-512.
    RS512,
}

impl OAuthConfig {
    /// What the schema cannot say, as members and sentences.
    pub(crate) fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong: Vec<(&'static str, String)> = Vec::new();
        let is_machine = self.grant == GrantType::ClientCredentials;
        if self.client_secret.is_some() && self.client_id.is_none() {
            wrong.push(("client_secret", "it is of no use without its `client_id`".to_owned()));
        }
        if self.private_key.is_some() && !is_machine {
            wrong.push(("private_key", "it is for `grant: client_credentials`".to_owned()));
        }
        if is_machine && self.client_id.is_none() {
            wrong.push(("client_id", "`grant: client_credentials` needs one".to_owned()));
        }
        if is_machine && self.client_secret.is_some() == self.private_key.is_some() {
            let text = "`grant: client_credentials` needs either a `client_secret` or a `private_key`";
            wrong.push(("grant", text.to_owned()));
        }
        if let Some(text) = &self.client_metadata_url {
            let is_good = url::Url::parse(text).is_ok_and(|url| url.scheme() == "https" && url.path() != "/");
            if !is_good {
                let text = format!(
                    "{text:?} is no https URL with a path, such as https://example.com/mcp-client.json"
                );
                wrong.push(("client_metadata_url", text));
            } else if is_machine {
                wrong.push(("client_metadata_url", "it is for `grant: authorization_code`".to_owned()));
            }
        }
        for scope in &self.scopes {
            // RFC 6749, section 3.3.
            let fits = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            if scope.is_empty() || !scope.bytes().all(fits) {
                wrong.push(("scopes", format!("{scope:?} is no scope: visible characters without quotes")));
            }
        }
        wrong
    }
}
