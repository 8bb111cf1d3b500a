//! The devices there are, with everything that is known of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    path::Path,
    sync::{Arc, LazyLock},
};

use serde_json::{Value, json};
use ssh::{Algorithms, Endpoint, HostKeys, Key, KnownHosts, Login};
use tool::{ConfigFault, Parts, Secret, json::push_pointer, nearest};

use crate::{
    config::{Config, DeviceConfig, LoginConfig, Transport},
    outside::Outside,
    platform::{self, Platform},
};

/// The longest name of a device, in characters.
const NAME_CHARS_MAX: usize = 64;
/// The most hops of a connection.
const VIA_MAX: usize = 8;

/// Who logs in, ready to do so.
#[derive(Debug)]
pub(crate) struct Credential {
    /// Its name in the configuration.
    pub(crate) name: String,
    pub(crate) login: Login,
    /// The secret for the privileged mode.
    pub(crate) enable: Option<Secret>,
    /// Tells it from others that had its name, before a reload or in another request.
    pub(crate) proof: u64,
    /// It came with a request.
    pub(crate) is_carried: bool,
}

/// A device.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) name: Arc<str>,
    pub(crate) endpoint: Endpoint,
    pub(crate) platform: &'static Arc<Platform>,
    pub(crate) credential: Arc<Credential>,
    /// The devices that the connection goes through, the nearest to us first.
    pub(crate) via: Vec<String>,
    pub(crate) transport: Transport,
    pub(crate) algorithms: Algorithms,
    pub(crate) host_keys: HostKeys,
    pub(crate) groups: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Device {
    /// What rules may look at under `device`, and what lists show.
    pub(crate) fn attributes(&self) -> Value {
        json!({
            "id": self.name, "name": self.name, "hostname": self.name, "host": self.endpoint.host, "port": self.endpoint.port,
            "platform": self.platform.name, "groups": self.groups, "labels": self.labels,
            "site": self.labels.get("site"), "criticality": self.labels.get("criticality"),
        })
    }
}

/// All devices.
#[derive(Debug)]
pub(crate) struct Inventory {
    devices: BTreeMap<Arc<str>, Arc<Device>>,
    groups: BTreeSet<String>,
    outside: Outside,
    known_hosts: KnownHosts,
}

impl Inventory {
    /// Puts together what the configuration says of each device.
    ///
    /// Error: every fault of every device, login and group.
    pub(crate) fn read(config: &Config, parts: &Parts) -> Result<Self, Vec<ConfigFault>> {
        let mut faults = Vec::new();
        let mut credentials = BTreeMap::new();
        for (name, login) in &config.logins {
            match credential(name, login, parts) {
                Ok(credential) => drop(credentials.insert(name.as_str(), Arc::new(credential))),
                Err(found) => faults.extend(found),
            }
        }
        let known_hosts = KnownHosts::at(parts.base_dir.join(&config.known_hosts));
        let outside = Outside::read(&config.outside, &config.outside_ports, &mut faults);
        let mut devices = BTreeMap::new();
        for (name, device) in &config.inventory {
            let whole = Whole { name, device, config, credentials: &credentials, known_hosts: &known_hosts };
            match whole.device() {
                Ok(device) => drop(devices.insert(Arc::clone(&device.name), Arc::new(device))),
                Err(found) => faults.extend(found),
            }
        }
        if faults.is_empty() {
            let mentioned = config.inventory.values().flat_map(|device| device.groups.iter().cloned());
            let groups = config.groups.keys().cloned().chain(mentioned).collect();
            return Ok(Self { devices, groups, outside, known_hosts });
        }
        Err(faults)
    }

    /// Every device, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Device>> {
        self.devices.values()
    }

    /// Whether there is a device of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.devices.contains_key(name)
    }

    /// A host outside the inventory, where it may be asked.
    pub(crate) fn outside(
        &self,
        asked: &str,
        platform: &'static Arc<Platform>,
        credential: Arc<Credential>,
    ) -> Option<Device> {
        let endpoint = self.outside.endpoint(asked)?;
        // What the inventory has is asked as the inventory says, by whichever spelling.
        let host = Host::of(&endpoint.host);
        let is_inside =
            |device: &Arc<Device>| host.is(&device.endpoint.host) && device.endpoint.port == endpoint.port;
        if self.devices.values().any(is_inside) {
            return None;
        }
        Some(Device {
            name: endpoint.to_string().into(),
            endpoint,
            platform,
            credential,
            via: Vec::new(),
            transport: Transport::Ssh,
            algorithms: Algorithms::default(),
            host_keys: HostKeys::Known(self.known_hosts.clone()),
            groups: Vec::new(),
            labels: BTreeMap::new(),
        })
    }

    /// A device by its name, its host, or one of them with its port.
    pub(crate) fn find(&self, asked: &str) -> Option<&Arc<Device>> {
        if let Some(device) = self.devices.get(asked) {
            return Some(device);
        }
        let (host, port) = split_port(asked);
        let port = port.and_then(|port| port.parse::<u16>().ok());
        let has_port = |device: &&Arc<Device>| port.is_none_or(|port| port == device.endpoint.port);
        if let Some(device) = self.devices.get(host).filter(has_port) {
            return Some(device);
        }
        let host = Host::of(without_brackets(host));
        let mut fits = self.devices.values().filter(|device| host.is(&device.endpoint.host)).filter(has_port);
        // An address that stands for several devices stands for none.
        fits.next().filter(|_| fits.next().is_none())
    }

    /// Whether there is a group of this name.
    pub(crate) fn has_group(&self, name: &str) -> bool {
        self.groups.contains(name)
    }
}

/// A host, and its port where one is named behind it: `host:port`, `[address]:port`.
pub(crate) fn split_port(asked: &str) -> (&str, Option<&str>) {
    match asked.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || without_brackets(host) != host => (host, Some(port)),
        _ => (asked, None),
    }
}

/// A host without the brackets that addresses of IPv6 have.
pub(crate) fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// A host as somebody names it: an address, whichever its spelling, or a name.
struct Host<'a> {
    text: &'a str,
    address: Option<IpAddr>,
}

impl<'a> Host<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, address: text.parse::<IpAddr>().ok().map(|address| address.to_canonical()) }
    }

    fn is(&self, known: &str) -> bool {
        match self.address {
            Some(address) => Host::of(known).address == Some(address),
            None => self.text.eq_ignore_ascii_case(known),
        }
    }
}

/// Tells one login from another, in this process alone.
pub(crate) fn proof(login: &Login, enable: Option<&Secret>) -> u64 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let text = |secret: Option<&Secret>| secret.map(|secret| secret.expose().to_owned());
    KEYS.hash_one((&login.user, text(login.password.as_ref()), text(enable), &login.keys, &login.agent))
}

/// Follows the secrets and reads the keys of a login.
fn credential(name: &str, config: &LoginConfig, parts: &Parts) -> Result<Credential, Vec<ConfigFault>> {
    let mut faults = Vec::new();
    let at = |member: &str| pointer(&["logins", name, member]);
    let mut secret = |member: &str, reference: &Option<tool::SecretRef>| match reference.as_ref() {
        None => None,
        Some(reference) => {
            parts.secrets.resolve(reference).map_err(|e| faults.push(ConfigFault::new(at(member), e))).ok()
        }
    };
    let (password, enable) = (secret("password", &config.password), secret("enable", &config.enable));
    let passphrase = secret("passphrase", &config.passphrase);
    let mut keys = Vec::new();
    for file in &config.keys {
        match Key::read(&parts.base_dir.join(file), passphrase.as_ref(), None) {
            Ok(key) => keys.push(key),
            Err(error) => faults.push(ConfigFault::new(at("keys"), error.to_string())),
        }
    }
    if config.user.is_empty() {
        faults.push(ConfigFault::new(at("user"), "the name of the user is empty"));
    }
    if faults.is_empty() {
        let agent = config.agent.as_deref().map(|agent: &Path| parts.base_dir.join(agent));
        let login = Login { user: config.user.clone(), keys, agent, password };
        let proof = proof(&login, enable.as_ref());
        return Ok(Credential { name: name.to_owned(), login, enable, proof, is_carried: false });
    }
    Err(faults)
}

/// A place in the section.
fn pointer(parts: &[&str]) -> String {
    let mut pointer = "/devices".to_owned();
    parts.iter().for_each(|part| push_pointer(&mut pointer, part));
    pointer
}

/// A device and all that it may take from elsewhere.
struct Whole<'a> {
    name: &'a str,
    device: &'a DeviceConfig,
    config: &'a Config,
    credentials: &'a BTreeMap<&'a str, Arc<Credential>>,
    known_hosts: &'a KnownHosts,
}

impl Whole<'_> {
    fn fault(&self, member: &str, text: impl Into<String>) -> ConfigFault {
        let parts = ["inventory", self.name, member];
        ConfigFault::new(pointer(if member.is_empty() { &parts[..2] } else { &parts }), text)
    }

    /// What the device says itself, or else the first of its groups that says it.
    fn said<T>(
        &self,
        own: Option<T>,
        of_group: impl Fn(&crate::config::GroupConfig) -> Option<T>,
    ) -> Option<T> {
        let groups = || self.device.groups.iter().filter_map(|name| self.config.groups.get(name));
        own.or_else(|| groups().find_map(of_group))
    }

    fn device(&self) -> Result<Device, Vec<ConfigFault>> {
        let device = self.device;
        let mut faults = Vec::new();
        let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !self.name.starts_with(|c: char| c.is_ascii_alphanumeric())
            || self.name.len() > NAME_CHARS_MAX
            || !self.name.chars().all(is_name)
        {
            let text = format!(
                "a device is named by 1 to {NAME_CHARS_MAX} of A-Z a-z 0-9 . _ -, a letter or a digit first"
            );
            faults.push(self.fault("", text));
        }
        if device.host.is_empty() || device.host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            faults.push(self.fault("host", "it must be a name or an address"));
        }
        let named = self.said(device.platform.clone(), |group| group.platform.clone());
        // As netmiko has it, the name of a platform may say how it is reached.
        let transport = match named.is_some_and(|name| {
            name.ends_with(platform::TELNET) && !platform::known().contains_key(name.as_str())
        }) {
            true => Transport::Telnet,
            false => device.transport,
        };
        let platform = self.platform().map_err(|fault| faults.push(fault)).ok();
        let credential = self.credential().map_err(|fault| faults.push(fault)).ok();
        let via = self.via().map_err(|fault| faults.push(fault)).ok();
        let pinned = device.host_key.clone();
        if pinned.as_ref().is_some_and(|key| !key.starts_with("SHA256:")) {
            faults.push(self.fault("host_key", "it must be a fingerprint: SHA256:.."));
        }
        let mut labels = BTreeMap::new();
        for group in device.groups.iter().rev().filter_map(|name| self.config.groups.get(name)) {
            labels.extend(group.labels.clone());
        }
        labels.extend(device.labels.clone());
        let (Some(platform), Some(credential), Some(via), true) =
            (platform, credential, via, faults.is_empty())
        else {
            return Err(faults);
        };
        Ok(Device {
            name: self.name.into(),
            endpoint: Endpoint {
                host: device.host.clone(),
                port: self.said(device.port, |group| group.port).unwrap_or(match transport {
                    Transport::Ssh => 22,
                    Transport::Telnet => 23,
                }),
            },
            platform,
            credential,
            via,
            transport,
            algorithms: self.said(device.algorithms, |group| group.algorithms).unwrap_or_default(),
            host_keys: pinned.map_or_else(|| HostKeys::Known(self.known_hosts.clone()), HostKeys::Pinned),
            groups: device.groups.clone(),
            labels,
        })
    }

    fn platform(&self) -> Result<&'static Arc<Platform>, ConfigFault> {
        let name =
            self.said(self.device.platform.clone(), |group| group.platform.clone()).ok_or_else(|| {
                let hint = "`portcullis devices platforms` lists them";
                self.fault("platform", "it has no platform, and none of its groups has one").hint(hint)
            })?;
        platform::named(&name).ok_or_else(|| {
            let fault = self.fault("platform", format!("there is no platform {name:?}"));
            match nearest(&name, platform::known().keys().copied()) {
                Some(near) => fault.hint(format!("did you mean {near:?}?")),
                None => fault.hint("`portcullis devices platforms` lists them"),
            }
        })
    }

    fn credential(&self) -> Result<Arc<Credential>, ConfigFault> {
        let name = self
            .said(self.device.login.clone(), |group| group.login.clone())
            .ok_or_else(|| self.fault("login", "it has no login, and none of its groups has one"))?;
        if let Some(credential) = self.credentials.get(name.as_str()) {
            return Ok(Arc::clone(credential));
        }
        let fault =
            self.fault("login", format!("there is no login {name:?} in `devices.logins` that can be used"));
        Err(match nearest(&name, self.config.logins.keys().map(String::as_str)) {
            Some(near) if near != name => fault.hint(format!("did you mean {near:?}?")),
            _ => fault,
        })
    }

    /// The hops, each a device that is reached through none or through those before it.
    fn via(&self) -> Result<Vec<String>, ConfigFault> {
        let via = self.said(self.device.via.clone(), |group| group.via.clone()).unwrap_or_default();
        if via.len() > VIA_MAX {
            return Err(self.fault("via", format!("a connection goes through at most {VIA_MAX} others")));
        }
        let seen: BTreeSet<&String> = via.iter().collect();
        if seen.len() != via.len() || via.iter().any(|hop| hop == self.name) {
            return Err(
                self.fault("via", "a connection goes through a device once, and never through itself")
            );
        }
        match via.iter().find(|hop| !self.config.inventory.contains_key(*hop)) {
            Some(hop) => Err(self.fault("via", format!("there is no device {hop:?} to go through"))),
            None => Ok(via),
        }
    }
}
