//! Whom a server is believed to be over TLS, and who we are to it: the `tls:` of a server.

use std::{path::Path, sync::Arc};

use hyper_rustls::ConfigBuilderExt as _;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use schemars::JsonSchema;
use serde::Deserialize;
use tool::{ConfigFault, Secret, SecretRef};

/// The largest file of certificates that is read, in bytes.
const PEM_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Whom a server is believed to be, and who we are to it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// A file of certificates (PEM) that are believed, and no others. Left out: those that this system trusts.
    #[serde(default)]
    pub ca: Option<String>,
    /// A file with our certificate for it and what leads to its root (PEM).
    #[serde(default)]
    pub certificate: Option<String>,
    /// The private key of that certificate (PEM).
    #[serde(default)]
    pub key: Option<SecretRef>,
}

impl TlsConfig {
    /// What the schema cannot say, as members and sentences.
    pub(crate) fn check(&self) -> Option<(&'static str, &'static str)> {
        match (&self.certificate, &self.key) {
            (Some(_), None) => Some(("certificate", "it is of no use without its `key`")),
            (None, Some(_)) => Some(("key", "it is of no use without its `certificate`")),
            _ => None,
        }
    }
}

/// The configuration of a client; `key` is the private key that the section refers to.
///
/// Error: what cannot be read, at `at` or beneath it.
pub(crate) fn client(
    config: &TlsConfig,
    key: Option<&Secret>,
    base: &Path,
    at: &str,
) -> Result<ClientConfig, ConfigFault> {
    let wrong = |member: &str, text: String| ConfigFault::new(format!("{at}/tls/{member}"), text);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| ConfigFault::new(at.to_owned(), e.to_string()))?;
    let builder = match &config.ca {
        None => builder
            .try_with_platform_verifier()
            .map_err(|e| ConfigFault::new(at.to_owned(), format!("no certificates of this system: {e}")))?,
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(&base.join(file)).map_err(|text| wrong("ca", text))? {
                roots.add(certificate).map_err(|e| wrong("ca", format!("{file}: {e}")))?;
            }
            builder.with_root_certificates(roots)
        }
    };
    let (Some(file), Some(key)) = (&config.certificate, key) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(&base.join(file)).map_err(|text| wrong("certificate", text))?;
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
        .map_err(|e| wrong("key", format!("it is no private key in PEM: {e}")))?;
    builder.with_client_auth_cert(chain, key).map_err(|e| wrong("certificate", format!("{file}: {e}")))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let cannot = |e: &dyn std::fmt::Display| format!("cannot read {}: {e}", file.display());
    let size = std::fs::metadata(file).map_err(|e| cannot(&e))?.len();
    if size > PEM_BYTES_MAX {
        return Err(cannot(&"it is too large for certificates"));
    }
    let certificates = CertificateDer::pem_file_iter(file).map_err(|e| cannot(&e))?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(|e| cannot(&e))?;
    if certificates.is_empty() { Err(cannot(&"there is no certificate in it")) } else { Ok(certificates) }
}
