//! The SSH servers of emulated devices.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use russh::{
    Channel, ChannelId, MethodKind, MethodSet, Pty,
    keys::{
        Algorithm, PrivateKey, load_secret_key,
        ssh_key::{LineEnding, rand_core::UnwrapErr},
    },
    server::{self, Auth, ChannelOpenHandle, Msg, Session},
};
use tokio::net::{TcpListener, TcpStream};

use super::{
    Fault, NetworkConfig, ios,
    router::{Router, Vendor, name},
    shell::Shell,
};

/// How much more a device prints that floods.
const FLOOD_BYTES: usize = 50 * 1024 * 1024;
/// How long a session may be idle.
const IDLE_MAX: Duration = Duration::from_secs(3600);

/// Why the devices do not start.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A port is taken.
    #[error("a device cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The host key cannot be read or made.
    #[error("the host key {path} cannot be used: {why}")]
    HostKey {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The file of known hosts cannot be written.
    #[error("{path} cannot be written: {source}")]
    KnownHosts {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// An emulated device.
#[derive(Clone, Debug)]
pub struct Emulated {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it is.
    pub vendor: Vendor,
}

/// Emulated devices that listen and do not answer yet.
pub struct Network {
    devices: Vec<(TcpListener, Device)>,
    config: Arc<server::Config>,
}

/// What every session on a device needs.
#[derive(Clone)]
struct Device {
    router: Arc<Mutex<Router>>,
    number: u16,
    fault: Option<Fault>,
    latency: Duration,
    user: String,
    password: String,
}

impl Network {
    /// Takes the ports, and writes down that these devices are trusted where that is asked for. Paths are absolute.
    ///
    /// Error: a port that is taken, or a file that cannot be used.
    pub async fn bind(config: &NetworkConfig, base_dir: &Path) -> Result<Self, NetworkError> {
        let key = host_key(&base_dir.join(&config.host_key))?;
        let mut devices = Vec::new();
        for number in 1..=config.count {
            let address = SocketAddr::from((config.address(number), config.port));
            let listener = TcpListener::bind(address)
                .await
                .map_err(|source| NetworkError::Listen { address, source })?;
            let vendor = config.vendors[usize::from(number - 1) % config.vendors.len()];
            let device = Device {
                router: Arc::new(Mutex::new(Router::new(vendor, number, config.count))),
                number,
                fault: config.faults.get(&number).copied(),
                latency: Duration::from_millis(config.latency_ms),
                user: config.user.clone(),
                password: config.password.clone(),
            };
            devices.push((listener, device));
        }
        if let Some(file) = &config.known_hosts {
            let path = base_dir.join(file);
            trust(&path, config, &key).map_err(|source| NetworkError::KnownHosts { path, source })?;
        }
        let config = server::Config {
            keys: vec![key],
            methods: MethodSet::from(&[MethodKind::Password][..]),
            auth_rejection_time: Duration::from_millis(200),
            // Being asked what it takes is no attempt.
            auth_rejection_time_initial: Some(Duration::ZERO),
            inactivity_timeout: Some(IDLE_MAX),
            nodelay: true,
            ..server::Config::default()
        };
        Ok(Self { devices, config: Arc::new(config) })
    }

    /// What there is.
    #[must_use]
    pub fn devices(&self) -> Vec<Emulated> {
        let one = |(listener, device): &(TcpListener, Device)| {
            let router = device.router.lock().unwrap_or_else(PoisonError::into_inner);
            let address = listener.local_addr().ok()?;
            Some(Emulated { name: router.hostname.clone(), address, vendor: router.vendor })
        };
        self.devices.iter().filter_map(one).collect()
    }

    /// Answers until it is dropped.
    pub async fn run(self) {
        let serve = |(listener, device): (TcpListener, Device)| {
            let config = Arc::clone(&self.config);
            async move {
                let mut sessions = tokio::task::JoinSet::new();
                loop {
                    let Ok((stream, _)) = listener.accept().await else {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    };
                    let (config, device) = (Arc::clone(&config), device.clone());
                    sessions.spawn(async move { session(config, stream, device).await });
                    while sessions.try_join_next().is_some() {}
                }
            }
        };
        let mut all = tokio::task::JoinSet::new();
        for device in self.devices {
            all.spawn(serve(device));
        }
        while all.join_next().await.is_some() {}
    }
}

async fn session(config: Arc<server::Config>, stream: TcpStream, device: Device) {
    // Whoever goes away in the middle is none of our concern.
    let _ = stream.set_nodelay(true);
    if let Ok(running) = server::run_stream(config, stream, Talker { device, shell: None }).await {
        let _ = running.await;
    }
}

/// Reads the host key, or makes one.
fn host_key(path: &Path) -> Result<PrivateKey, NetworkError> {
    let cannot = |why: String| NetworkError::HostKey { path: path.to_owned(), why };
    if path.exists() {
        return load_secret_key(path, None).map_err(|error| cannot(error.to_string()));
    }
    let mut random = UnwrapErr(getrandom::SysRng);
    let key =
        PrivateKey::random(&mut random, Algorithm::Ed25519).map_err(|error| cannot(error.to_string()))?;
    let text = key.to_openssh(LineEnding::LF).map_err(|error| cannot(error.to_string()))?;
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(|error| cannot(error.to_string()))?;
    io::Write::write_all(&mut file, text.as_bytes()).map_err(|error| cannot(error.to_string()))?;
    Ok(key)
}

/// Writes to a file of known hosts that the devices show this key.
fn trust(path: &Path, config: &NetworkConfig, key: &PrivateKey) -> io::Result<()> {
    let public = key.public_key().to_openssh().map_err(io::Error::other)?;
    let words: Vec<&str> = public.split(' ').take(2).collect();
    let name = |number: u16| format!("[{}]:{}", config.address(number), config.port);
    let names: Vec<String> = (1..=config.count).map(name).collect();
    let before = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    let is_ours = |line: &&str| names.iter().any(|name| line.split(' ').next() == Some(name.as_str()));
    let mut text: String =
        before.lines().filter(|line| !is_ours(line)).map(|line| format!("{line}\n")).collect();
    for name in &names {
        text.push_str(&format!("{name} {}\n", words.join(" ")));
    }
    if text == before { Ok(()) } else { fs::write(path, text) }
}

/// One connection to a device.
struct Talker {
    device: Device,
    shell: Option<(ChannelId, Shell)>,
}

impl Talker {
    /// What a device prints that is as it should be, or not.
    fn print(
        &self,
        channel: ChannelId,
        bytes: Vec<u8>,
        shows: bool,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let half = bytes.len() / 2;
        match self.device.fault.filter(|_| shows) {
            Some(Fault::Closes) => {
                session.data(channel, bytes[..half].to_vec())?;
                session.close(channel)
            }
            Some(Fault::Hangs) => session.data(channel, bytes[..half].to_vec()),
            Some(Fault::Floods) => {
                session.data(channel, bytes[..half].to_vec())?;
                session.data(
                    channel,
                    b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"
                        .repeat(FLOOD_BYTES / 64),
                )
            }
            Some(Fault::Chatters) => {
                let chatter = ios::chatter(self.device.number).into_bytes();
                let prompt = self.shell.as_ref().map_or_else(String::new, |(_, shell)| shell.prompt());
                session.data(channel, [bytes, chatter, prompt.into_bytes()].concat())
            }
            Some(Fault::Renames) => {
                let mut router = self.device.router.lock().unwrap_or_else(PoisonError::into_inner);
                let next = if router.hostname == name(self.device.number) { "renamed" } else { "lab-again" };
                next.clone_into(&mut router.hostname);
                drop(router);
                session.data(channel, bytes)
            }
            Some(Fault::Silent) | None => session.data(channel, bytes),
        }
    }
}

impl server::Handler for Talker {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        let is_right = user == self.device.user && password == self.device.password;
        Ok(if is_right { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        session.channel_success(channel)?;
        let shell = Shell::new(Arc::clone(&self.device.router), self.device.password.clone());
        if self.device.fault != Some(Fault::Silent) {
            session.data(channel, shell.greeting().into_bytes())?;
        }
        self.shell = Some((channel, shell));
        Ok(())
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.device.fault == Some(Fault::Silent) {
            return Ok(());
        }
        let printed = match &mut self.shell {
            Some((its, shell)) if *its == channel => shell.typed(data),
            _ => return Ok(()),
        };
        if !self.device.latency.is_zero() {
            tokio::time::sleep(self.device.latency).await;
        }
        self.print(channel, printed.bytes, printed.shows, session)?;
        if printed.ends {
            session.exit_status_request(channel, 0)?;
            session.close(channel)?;
        }
        Ok(())
    }
}
