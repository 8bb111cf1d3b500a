//! Who we are to the other side, and how that is proven.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use russh::{
    MethodKind, MethodSet,
    client::{AuthResult, Handle, KeyboardInteractiveAuthResponse},
    keys::{
        Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg,
        agent::{AgentIdentity, client::AgentClient},
        load_openssh_certificate, load_secret_key,
    },
};
use tool::Secret;

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
            .map_err(|error| cannot(file, error.to_string()))?;
        let mut beside = file.as_os_str().to_owned();
        beside.push("-cert.pub");
        let beside = PathBuf::from(beside);
        let certificate = certificate.or_else(|| beside.exists().then_some(&*beside));
        let load =
            |path: &Path| load_openssh_certificate(path).map_err(|error| cannot(path, error.to_string()));
        Ok(Self { key: Arc::new(key), certificate: certificate.map(load).transpose()? })
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
        let mut tried: Vec<&'static str> = Vec::new();
        let mut left = MethodSet::empty();
        for key in &self.keys {
            tried.push(if key.certificate.is_some() { "certificate" } else { "publickey" });
            match self.by_key(handle, key, route).await? {
                Tried::In => return Ok(()),
                Tried::Out(methods) => left = methods,
            }
        }
        if let Some(socket) = &self.agent {
            tried.push("agent");
            match self.by_agent(handle, socket, route).await? {
                Tried::In => return Ok(()),
                Tried::Out(methods) => left = methods,
            }
        }
        if let Some(password) = &self.password {
            match self.by_password(handle, password, &mut tried, route).await? {
                Tried::In => return Ok(()),
                Tried::Out(methods) => left = methods,
            }
        }
        if tried.is_empty() {
            match handle.authenticate_none(&*self.user).await.map_err(|error| route.error(error))?.into() {
                Tried::In => return Ok(()),
                Tried::Out(methods) => left = methods,
            }
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
        let result = match &key.certificate {
            Some(certificate) => {
                let certificate = certificate.clone();
                handle.authenticate_openssh_cert(&*self.user, Arc::clone(&key.key), certificate).await
            }
            None => {
                let hash = rsa_hash(handle, key.key.algorithm().is_rsa(), route).await?;
                let key = PrivateKeyWithHashAlg::new(Arc::clone(&key.key), hash);
                handle.authenticate_publickey(&*self.user, key).await
            }
        };
        result.map(Into::into).map_err(|error| route.error(error))
    }

    async fn by_agent(
        &self,
        handle: &mut Handle<Client>,
        socket: &Path,
        route: &Route<'_>,
    ) -> Result<Tried, SshError> {
        let cannot = |why: String| SshError::BadKey { what: format!("the agent {}", socket.display()), why };
        let mut agent = AgentClient::connect_uds(socket).await.map_err(|e| cannot(e.to_string()))?;
        let identities = agent.request_identities().await.map_err(|e| cannot(e.to_string()))?;
        let mut left = MethodSet::empty();
        for identity in identities {
            let AgentIdentity::PublicKey { key, .. } = identity else { continue };
            let hash = rsa_hash(handle, key.algorithm().is_rsa(), route).await?;
            let result = handle.authenticate_publickey_with(&*self.user, key, hash, &mut agent).await;
            match result.map_err(|e| cannot(e.to_string()))?.into() {
                Tried::In => return Ok(Tried::In),
                Tried::Out(methods) => left = methods,
            }
        }
        Ok(Tried::Out(left))
    }

    /// Sends the password once: where the other side does not know the method `password`, it has not looked at it, and
    /// is asked by `keyboard-interactive`.
    async fn by_password(
        &self,
        handle: &mut Handle<Client>,
        password: &Secret,
        tried: &mut Vec<&'static str>,
        route: &Route<'_>,
    ) -> Result<Tried, SshError> {
        let result = handle.authenticate_password(&*self.user, password.expose()).await;
        let left = match result.map_err(|error| route.error(error))?.into() {
            Tried::In => return Ok(Tried::In),
            Tried::Out(left) => left,
        };
        if left.contains(&MethodKind::Password) || !left.contains(&MethodKind::KeyboardInteractive) {
            tried.push("password");
            return Ok(Tried::Out(left));
        }
        tried.push("keyboard-interactive");
        let started = handle.authenticate_keyboard_interactive_start(&*self.user, None).await;
        let mut said = started.map_err(|error| route.error(error))?;
        for _ in 0..QUESTIONS_MAX {
            let prompts = match said {
                KeyboardInteractiveAuthResponse::Success => return Ok(Tried::In),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, .. } => {
                    return Ok(Tried::Out(remaining_methods));
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
            };
            // A question whose answer may be seen is not the one for the password.
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
