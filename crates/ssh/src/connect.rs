//! How a connection comes to be.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use russh::{
    client::{self, Handle, Session, connect_stream},
    keys::PublicKeyOrCertificate,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use crate::{
    Algorithms, HostKey, HostKeys, Login, SshError,
    channel::{Exec, Shell, Terminal},
    error::{self, Inside},
    host_keys::Expected,
};

/// The longest line before the version, and the longest version, in bytes.
const VERSION_BYTES_MAX: usize = 1024;
/// The longest banner that is kept, in bytes.
const BANNER_BYTES_MAX: usize = 4096;

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A name or an address.
    pub host: String,
    /// The port; 22 is the usual one.
    pub port: u16,
}

impl Endpoint {
    /// As `known_hosts` names it: `host`, or `[host]:port` where the port is not 22.
    #[must_use]
    pub fn name(&self) -> String {
        match self.port {
            22 => self.host.clone(),
            port => format!("[{}]:{port}", self.host),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// How a connection is made and kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which algorithms are offered.
    pub algorithms: Algorithms,
    /// The longest wait for TCP and the key exchange together.
    pub connect_max: Duration,
    /// The longest wait for the login.
    pub login_max: Duration,
    /// How long nothing may come before the other side is asked whether it is still there. Three questions without an
    /// answer end the connection.
    pub keepalive: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            algorithms: Algorithms::default(),
            connect_max: Duration::from_secs(10),
            login_max: Duration::from_secs(20),
            keepalive: Duration::from_secs(30),
        }
    }
}

/// What is known on the way to one endpoint.
pub(crate) struct Route<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) options: &'a Options,
}

impl Route<'_> {
    pub(crate) fn to(&self) -> String {
        self.endpoint.to_string()
    }

    pub(crate) fn error(&self, error: russh::Error) -> SshError {
        error::of(error, &self.to(), self.options.algorithms)
    }

    pub(crate) fn timed_out(&self, doing: &'static str, took: Duration) -> SshError {
        SshError::TimedOut { to: self.to(), doing, took }
    }

    /// Exchanges keys over a new stream, and judges the host key.
    async fn shake_hands(
        &self,
        judge: Judge,
        via: Option<&Connection>,
    ) -> Result<(Handle<Client>, Banner), SshError> {
        let banner = Banner::default();
        let known = match &judge {
            Judge::By(expected) => expected.algorithms(),
            Judge::Ask(_) => Vec::new(),
        };
        let config = Arc::new(client::Config {
            preferred: self.options.algorithms.preferred(&known),
            keepalive_interval: Some(self.options.keepalive),
            nodelay: true,
            ..client::Config::default()
        });
        let client = Client { judge, banner: banner.clone() };
        let stream = self.stream(via).await?;
        let handle = connect_stream(config, stream, client).await;
        Ok((handle.map_err(|inside| inside.of(&self.to(), self.options.algorithms))?, banner))
    }

    pub(crate) async fn stream(&self, via: Option<&Connection>) -> Result<Box<dyn Stream>, SshError> {
        let Endpoint { host, port } = self.endpoint;
        match via {
            None => {
                let unreachable =
                    |error: std::io::Error| SshError::Unreachable { to: self.to(), why: error.to_string() };
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
                stream.set_nodelay(true).map_err(unreachable)?;
                Ok(Box::new(stream))
            }
            Some(jump) => {
                let opened =
                    jump.handle.channel_open_direct_tcpip(host, (*port).into(), "127.0.0.1", 0).await;
                let channel = opened.map_err(|error| match error {
                    russh::Error::ChannelOpenFailure(reason) => {
                        SshError::Unreachable { to: self.to(), why: format!("{} says {reason:?}", jump.to) }
                    }
                    other => jump.error(other),
                })?;
                Ok(Box::new(channel.into_stream()))
            }
        }
    }
}

/// Anything that bytes go through.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for T {}

type Banner = Arc<Mutex<String>>;

/// A connection that is logged in. It ends when it is dropped.
pub struct Connection {
    handle: Handle<Client>,
    to: String,
    algorithms: Algorithms,
    banner: Banner,
    /// The one it goes through stays for as long as it does.
    _via: Option<Arc<Connection>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("to", &self.to).finish_non_exhaustive()
    }
}

/// A server whose key is trusted, before the login. It is let go of when it is dropped.
pub struct Reached {
    handle: Handle<Client>,
    endpoint: Endpoint,
    options: Options,
    banner: Banner,
    via: Option<Arc<Connection>>,
}

/// Connects and exchanges keys, directly or through another connection.
///
/// Dropping the future ends what was begun. Error: every [`SshError`] but those about logins.
pub async fn reach(
    endpoint: &Endpoint,
    keys: &HostKeys,
    options: &Options,
    via: Option<Arc<Connection>>,
) -> Result<Reached, SshError> {
    let route = Route { endpoint, options };
    let expected = keys.of(endpoint.name())?;
    let shaken = timeout(options.connect_max, route.shake_hands(Judge::By(expected), via.as_deref())).await;
    let (handle, banner) = shaken.map_err(|_| route.timed_out("answer", options.connect_max))??;
    Ok(Reached { handle, endpoint: endpoint.clone(), options: options.clone(), banner, via })
}

impl Reached {
    /// Logs in.
    ///
    /// Error: every [`SshError`] about logins, or `Closed`.
    pub async fn log_in(mut self, login: &Login) -> Result<Connection, SshError> {
        let route = Route { endpoint: &self.endpoint, options: &self.options };
        let logged_in = timeout(self.options.login_max, login.log_in(&mut self.handle, &route)).await;
        logged_in.map_err(|_| route.timed_out("finish the login", self.options.login_max))??;
        let (to, algorithms) = (route.to(), self.options.algorithms);
        Ok(Connection { handle: self.handle, to, algorithms, banner: self.banner, _via: self.via })
    }
}

/// Asks an endpoint for its host key, and goes no further.
///
/// Error: every [`SshError`] but those about keys and logins.
pub async fn host_key(
    endpoint: &Endpoint,
    options: &Options,
    via: Option<&Connection>,
) -> Result<HostKey, SshError> {
    let route = Route { endpoint, options };
    let shown = Arc::new(Mutex::new(None));
    let asked = timeout(options.connect_max, route.shake_hands(Judge::Ask(Arc::clone(&shown)), via)).await;
    let asked = asked.map_err(|_| route.timed_out("answer", options.connect_max))?;
    let key = shown.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (key, asked) {
        (Some(key), _) => Ok(key),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => Err(SshError::Protocol { to: route.to(), why: "it showed no host key".to_owned() }),
    }
}

/// Asks an endpoint only for what it says first: its version (RFC 4253, section 4.2). The key exchange is not begun.
///
/// Error: `Unreachable`, `TimedOut`, `Protocol` where something else answers.
pub async fn version(
    endpoint: &Endpoint,
    options: &Options,
    via: Option<&Connection>,
) -> Result<String, SshError> {
    let route = Route { endpoint, options };
    let said = async {
        let mut stream = route.stream(via).await?;
        let mut said = Vec::new();
        loop {
            let closed = || SshError::Closed { to: route.to() };
            let byte = stream.read_u8().await.map_err(|_| closed())?;
            if byte == b'\n' {
                let line = String::from_utf8_lossy(&said).trim().to_owned();
                if line.starts_with("SSH-") {
                    return Ok(line);
                }
                // Lines before it are allowed.
                said.clear();
                continue;
            }
            said.push(byte);
            if said.len() > VERSION_BYTES_MAX {
                return Err(SshError::Protocol { to: route.to(), why: "what answers is not SSH".to_owned() });
            }
        }
    };
    timeout(options.connect_max, said).await.map_err(|_| route.timed_out("answer", options.connect_max))?
}

impl Connection {
    /// What the other side said before the login.
    #[must_use]
    pub fn banner(&self) -> String {
        self.banner.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True once it has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Opens a terminal with a shell behind it.
    ///
    /// Error: `Refused` or `Closed`.
    pub async fn shell(&self, terminal: Terminal) -> Result<Shell, SshError> {
        let channel = self.handle.channel_open_session().await.map_err(|error| self.error(error))?;
        Shell::open(channel, terminal, &self.to, self.algorithms).await
    }

    /// Runs one command on a channel of its own, without a terminal.
    ///
    /// Error: `Refused` or `Closed`.
    pub async fn exec(&self, command: &str) -> Result<Exec, SshError> {
        let channel = self.handle.channel_open_session().await.map_err(|error| self.error(error))?;
        Exec::start(channel, command, &self.to, self.algorithms).await
    }

    /// Asks whether the other side is still there (`keepalive@openssh.com`), and waits for its answer.
    ///
    /// Error: `Closed`.
    pub async fn ping(&self) -> Result<(), SshError> {
        self.handle.send_ping().await.map_err(|error| self.error(error))
    }

    fn error(&self, error: russh::Error) -> SshError {
        error::of(error, &self.to, self.algorithms)
    }
}

/// How a host key is met.
pub(crate) enum Judge {
    /// It must be trusted.
    By(Expected),
    /// It is only noted; nothing goes on from there.
    Ask(Arc<Mutex<Option<HostKey>>>),
}

/// Our side of the library's protocol.
pub(crate) struct Client {
    judge: Judge,
    banner: Banner,
}

impl client::Handler for Client {
    type Error = Inside;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Inside> {
        let key = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.clone(),
            // None is asked for; where one comes all the same, its key is judged as a plain one.
            PublicKeyOrCertificate::Certificate(certificate) => certificate.public_key().clone().into(),
        };
        match &self.judge {
            Judge::By(expected) => expected.judge(&key).map(|()| true).map_err(Inside::Verdict),
            Judge::Ask(shown) => {
                *shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(HostKey(key));
                Ok(false)
            }
        }
    }

    async fn auth_banner(&mut self, banner: &str, _session: &mut Session) -> Result<(), Inside> {
        let end = banner.floor_char_boundary(BANNER_BYTES_MAX);
        banner[..end].clone_into(&mut self.banner.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}
