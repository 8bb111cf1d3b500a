//! Who we are to the other side, and how that is proven.

use std::{
    fmt,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
};

use russh::{
    AgentAuthError, MethodKind, MethodSet, Signer,
    client::{AuthResult, Handle, KeyboardInteractiveAuthResponse},
    keys::{
        self, Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg,
        agent::{AgentIdentity, client::AgentClient},
        load_openssh_certificate, load_secret_key,
        signature::Signer as _,
        ssh_encoding::Encode as _,
        ssh_key::{self, Signature, private::KeypairData},
    },
};
use tool::{Secret, Timestamp};

use crate::{
    SshError,
    connect::{Client, Route},
};

/// How often a server may ask more questions in one keyboard-interactive login (RFC 4256).
const QUESTIONS_MAX: usize = 8;

/// A user and what proves that it is us. Methods are tried in the order: keys, agent, password.
#[derive(Clone, Default)]
pub struct Login {
    /// The name of the user.
    pub user: String,
    /// Private keys.
    pub keys: Vec<Key>,
    /// The socket of an agent that holds keys.
    pub agent: Option<PathBuf>,
    /// The password, for the methods `password` and `keyboard-interactive`. It is sent once.
    pub password: Option<Secret>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A private key, perhaps with a certificate for it.
#[derive(Clone)]
pub struct Key {
    key: Arc<PrivateKey>,
    certificate: Option<Certificate>,
}

/// By what others may know of it: its public half and its certificate.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.key.public_key().key_data(), &self.certificate).hash(state);
    }
}

impl Key {
    /// Reads a key from a file, with the certificate beside it (`<file>-cert.pub`) or at a path of its own.
    ///
    /// Error: `BadKey` for a file that is no key, or is locked by another passphrase.
    pub fn read(
        file: &Path,
        passphrase: Option<&Secret>,
        certificate: Option<&Path>,
    ) -> Result<Self, SshError> {
        let cannot = |path: &Path, why: String| SshError::BadKey { what: path.display().to_string(), why };
        let key = load_secret_key(file, passphrase.map(Secret::expose))
            .map_err(|error| cannot(file, unread(&error, passphrase.is_some())))?;
        let mut beside = file.as_os_str().to_owned();
        beside.push("-cert.pub");
        let beside = PathBuf::from(beside);
        let certificate = certificate.or_else(|| beside.exists().then_some(&*beside));
        let load =
            |path: &Path| load_openssh_certificate(path).map_err(|error| cannot(path, error.to_string()));
        Ok(Self { key: Arc::new(key), certificate: certificate.map(load).transpose()? })
    }
}

/// Why a private key cannot be read.
fn unread(error: &keys::Error, has_passphrase: bool) -> String {
    match error {
        keys::Error::KeyIsEncrypted => "it is locked, and no passphrase is given".to_owned(),
        keys::Error::SshKey(ssh_key::Error::Crypto) if has_passphrase => {
            "its passphrase is another one".to_owned()
        }
        other => other.to_string(),
    }
}

/// A certificate as it is called among the methods that were tried. The other side goes by its own clock; when it may be
/// used is told for whoever asks why it was refused.
fn called(certificate: &Certificate) -> String {
    // A time that cannot be written is none: certificates without an end have the last number there is.
    let at = |unix_s: u64| {
        let unix_ms = i64::try_from(unix_s).ok()?.checked_mul(1000)?;
        let at = Timestamp::from_unix_ms(unix_ms);
        (at.unix_ms() == unix_ms).then(|| at.to_string())
    };
    match (at(certificate.valid_after()), at(certificate.valid_before())) {
        (Some(from), Some(to)) => format!("certificate (valid from {from} to {to})"),
        (Some(from), None) => format!("certificate (valid from {from})"),
        (None, _) => "certificate".to_owned(),
    }
}

/// Signs with a key of ours as an agent would: what the library itself does for a certificate takes no hash, and servers
/// no longer take an RSA key without one.
struct Own<'a>(&'a PrivateKey);

impl Own<'_> {
    fn signature(&self, hash: Option<HashAlg>, data: &[u8]) -> Result<Signature, ssh_key::Error> {
        Ok(match self.0.key_data() {
            KeypairData::Rsa(pair) => (pair, hash).try_sign(data)?,
            other => other.try_sign(data)?,
        })
    }
}

impl Signer for Own<'_> {
    type Error = AgentAuthError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, AgentAuthError> {
        let signature = self.signature(hash, &to_sign).map_err(keys::Error::from)?;
        signature.encode_prefixed(&mut to_sign).map_err(keys::Error::from)?;
        Ok(to_sign)
    }
}

/// What came of one method.
enum Tried {
    In,
    /// Not in; what the other side would take now.
    Out(MethodSet),
}

impl From<AuthResult> for Tried {
    fn from(result: AuthResult) -> Self {
        match result {
            AuthResult::Success => Self::In,
            AuthResult::Failure { remaining_methods, .. } => Self::Out(remaining_methods),
        }
    }
}

impl Login {
    /// Logs in.
    ///
    /// Error: `LoginRefused` once something was tried and refused, `NoLoginMethod` where there was nothing to try.
    pub(crate) async fn log_in(
        &self,
        handle: &mut Handle<Client>,
        route: &Route<'_>,
    ) -> Result<(), SshError> {
        let mut tried: Vec<String> = Vec::new();
        let mut left = MethodSet::empty();
        // Where nothing was tried yet it is not known what is taken; after a first key it is, and one may be enough.
        let takes_keys =
            |tried: &[String], left: &MethodSet| tried.is_empty() || left.contains(&MethodKind::PublicKey);
        for key in &self.keys {
            if !takes_keys(&tried, &left) {
                break;
            }
            tried.push(key.certificate.as_ref().map_or_else(|| "publickey".to_owned(), called));
            match self.by_key(handle, key, route).await? {
                Tried::In => return Ok(()),
                Tried::Out(methods) => left = methods,
            }
        }
        let mut trouble = None;
        if let Some(socket) = self.agent.as_ref().filter(|_| takes_keys(&tried, &left)) {
            match self.by_agent(handle, socket, &mut left, &mut tried, route).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                // An agent that is not there stands in the way of nothing else.
                Err(error) => trouble = Some(error),
            }
        }
        if tried.is_empty() && (trouble.is_none() || self.password.is_some()) {
            // This is asked first, and is no attempt (RFC 4252, section 5.2): what is sent for nothing, some count.
            match handle.authenticate_none(&*self.user).await.map_err(|error| route.error(error))?.into() {
                Tried::In => return Ok(()),
                Tried::Out(_) if handle.is_closed() => return Err(SshError::Closed { to: route.to() }),
                // What says nothing of what it takes is asked by password, as it always was.
                Tried::Out(methods) if methods.is_empty() => {
                    left = MethodSet::from(&[MethodKind::Password][..]);
                }
                Tried::Out(methods) => left = methods,
            }
        }
        if let Some(password) = &self.password {
            match self.by_password(handle, password, left, &mut tried, route).await? {
                Tried::In => return Ok(()),
                Tried::Out(methods) => left = methods,
            }
        }
        if let Some(trouble) = trouble.filter(|_| tried.is_empty()) {
            return Err(trouble);
        }
        let (to, user, left) = (route.to(), self.user.clone(), named(&left));
        Err(match tried.as_slice() {
            [] => SshError::NoLoginMethod { to, user, takes: left },
            tried => SshError::LoginRefused { to, user, tried: tried.join(", "), left },
        })
    }

    async fn by_key(
        &self,
        handle: &mut Handle<Client>,
        key: &Key,
        route: &Route<'_>,
    ) -> Result<Tried, SshError> {
        let hash = rsa_hash(handle, key.key.algorithm().is_rsa(), route).await?;
        let result = match key.certificate.clone() {
            Some(certificate) => {
                let mut own = Own(&key.key);
                let result =
                    handle.authenticate_certificate_with(&*self.user, certificate, hash, &mut own).await;
                result.map_err(|error| match error {
                    AgentAuthError::Send(_) => SshError::Closed { to: route.to() },
                    AgentAuthError::Key(error) => SshError::BadKey {
                        what: "the key of a certificate".to_owned(),
                        why: error.to_string(),
                    },
                })
            }
            None => {
                let key = PrivateKeyWithHashAlg::new(Arc::clone(&key.key), hash);
                handle.authenticate_publickey(&*self.user, key).await.map_err(|error| route.error(error))
            }
        };
        result.map(Into::into)
    }

    /// Tries what an agent holds, keys and certificates, one after the other; whether one of them was taken. What the other
    /// side would take then is noted also where the agent fails on the way.
    async fn by_agent(
        &self,
        handle: &mut Handle<Client>,
        socket: &Path,
        left: &mut MethodSet,
        tried: &mut Vec<String>,
        route: &Route<'_>,
    ) -> Result<bool, SshError> {
        let cannot = |why: String| SshError::BadKey { what: format!("the agent {}", socket.display()), why };
        let mut agent = AgentClient::connect_uds(socket).await.map_err(|e| cannot(e.to_string()))?;
        let identities = agent.request_identities().await.map_err(|e| cannot(e.to_string()))?;
        if !identities.is_empty() {
            tried.push("agent".to_owned());
        }
        for identity in identities {
            let user = &*self.user;
            let result = match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    let hash = rsa_hash(handle, key.algorithm().is_rsa(), route).await?;
                    handle.authenticate_publickey_with(user, key, hash, &mut agent).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    let hash = rsa_hash(handle, certificate.algorithm().is_rsa(), route).await?;
                    handle.authenticate_certificate_with(user, certificate, hash, &mut agent).await
                }
            };
            match result {
                Ok(AuthResult::Success) => return Ok(true),
                Ok(AuthResult::Failure { remaining_methods, .. }) => *left = remaining_methods,
                // The other side has hung up, as many do after some attempts.
                Err(AgentAuthError::Send(_)) => *left = MethodSet::empty(),
                Err(error) => return Err(cannot(error.to_string())),
            }
            if !left.contains(&MethodKind::PublicKey) {
                break;
            }
        }
        Ok(false)
    }

    /// Sends the password once: by the method `password` where the other side takes that, or else as the answer to what it
    /// asks by `keyboard-interactive`; where it takes neither, not at all.
    async fn by_password(
        &self,
        handle: &mut Handle<Client>,
        password: &Secret,
        left: MethodSet,
        tried: &mut Vec<String>,
        route: &Route<'_>,
    ) -> Result<Tried, SshError> {
        if left.contains(&MethodKind::Password) {
            tried.push("password".to_owned());
            let result = handle.authenticate_password(&*self.user, password.expose()).await;
            return result.map(Into::into).map_err(|error| route.error(error));
        }
        if !left.contains(&MethodKind::KeyboardInteractive) {
            return Ok(Tried::Out(left));
        }
        tried.push("keyboard-interactive".to_owned());
        let started = handle.authenticate_keyboard_interactive_start(&*self.user, None).await;
        let mut said = started.map_err(|error| route.error(error))?;
        let mut is_told = false;
        for _ in 0..QUESTIONS_MAX {
            let prompts = match said {
                KeyboardInteractiveAuthResponse::Success => return Ok(Tried::In),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, .. } => {
                    return Ok(Tried::Out(remaining_methods));
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
            };
            // A question whose answer may be seen is not the one for the password; one more that is hidden is for a code, or
            // for a new password.
            let hidden = prompts.iter().filter(|prompt| !prompt.echo).count();
            if hidden > usize::from(!is_told) {
                tried.push("which asks for more than a password".to_owned());
                return Ok(Tried::Out(MethodSet::empty()));
            }
            is_told |= hidden > 0;
            let answer = |echo: bool| if echo { String::new() } else { password.expose().to_owned() };
            let answers = prompts.iter().map(|prompt| answer(prompt.echo)).collect();
            let next = handle.authenticate_keyboard_interactive_respond(answers).await;
            said = next.map_err(|error| route.error(error))?;
        }
        Ok(Tried::Out(MethodSet::empty()))
    }
}

/// The hash for a signature by an RSA key: the best that the other side says it takes; SHA-1 where it says nothing and
/// the profile has it, since what is so old says nothing (RFC 8332, section 3.3).
async fn rsa_hash(
    handle: &Handle<Client>,
    is_rsa: bool,
    route: &Route<'_>,
) -> Result<Option<HashAlg>, SshError> {
    if !is_rsa {
        return Ok(None);
    }
    let said = handle.best_supported_rsa_hash().await.map_err(|error| route.error(error))?;
    Ok(said.unwrap_or(match route.options.algorithms {
        crate::Algorithms::Modern => Some(HashAlg::Sha512),
        crate::Algorithms::Compat | crate::Algorithms::Legacy => None,
    }))
}

fn named(methods: &MethodSet) -> Vec<String> {
    methods.iter().map(|method| <&str>::from(method).to_owned()).collect()
}
