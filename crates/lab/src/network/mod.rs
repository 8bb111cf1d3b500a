//! Emulated network devices: a chain of routers of several vendors, each an SSH server of its own on loopback.
//!
//! They have command lines with echo, modes, paging and abbreviations; their interfaces and routes fit together, and a
//! router that is configured answers by its new configuration. What is asked for beyond that is told to be unknown, as
//! by a real one.

mod ios;
mod junos;
mod router;
mod server;
mod shell;
mod vrp;

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use tool::ConfigFault;

pub use self::{
    router::Vendor,
    server::{Emulated, Network, NetworkError},
};

/// The most devices of one network.
const DEVICES_MAX: u16 = 1000;

/// Emulated network devices.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// The loopback address of the first; each other has the next one.
    #[serde(default = "listen")]
    #[schemars(with = "String", extend("format" = "ipv4"))]
    pub listen: Ipv4Addr,
    /// The port of all of them.
    #[serde(default = "port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// What each of them is, in the order of the chain; they are repeated where `count` is larger.
    #[serde(default = "vendors")]
    pub vendors: Vec<Vendor>,
    /// How many there are.
    #[serde(default = "count")]
    #[schemars(range(min = 1, max = 1000))]
    pub count: u16,
    /// The user that logs in.
    #[serde(default = "user")]
    pub user: String,
    /// The password of that user, and the secret of the privileged mode. It guards nothing.
    #[serde(default = "user")]
    pub password: String,
    /// The file that their host key is kept in; it is made where there is none.
    #[serde(default = "host_key")]
    pub host_key: PathBuf,
    /// A file of known hosts that their key is written to, so that they are trusted from the start.
    pub known_hosts: Option<PathBuf>,
    /// How long each answer takes longer, in milliseconds.
    #[serde(default)]
    #[schemars(range(max = 60_000))]
    pub latency_ms: u64,
    /// What is wrong with some of them, by their number from 1.
    #[serde(default)]
    pub faults: BTreeMap<u16, Fault>,
}

/// What is wrong with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It opens a shell and prints nothing.
    Silent,
    /// It closes the connection in the middle of an answer.
    Closes,
    /// Every answer is followed by 50 MB more.
    Floods,
    /// It prints the beginning of an answer and no more.
    Hangs,
    /// It has another name after every command.
    Renames,
    /// It prints a message of its log in the middle of everything.
    Chatters,
}

fn listen() -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 77, 1)
}

fn port() -> u16 {
    2322
}

fn vendors() -> Vec<Vendor> {
    vec![Vendor::CiscoIos, Vendor::AristaEos, Vendor::JuniperJunos, Vendor::HuaweiVrp]
}

fn count() -> u16 {
    4
}

fn user() -> String {
    "lab".to_owned()
}

fn host_key() -> PathBuf {
    PathBuf::from("lab_host_key")
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            listen: listen(),
            port: port(),
            vendors: vendors(),
            count: count(),
            user: user(),
            password: user(),
            host_key: host_key(),
            known_hosts: None,
            latency_ms: 0,
            faults: BTreeMap::new(),
        }
    }
}

impl NetworkConfig {
    /// The address of a device, by its number from 1.
    fn address(&self, number: u16) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.listen).saturating_add(u32::from(number)).saturating_sub(1))
    }

    /// What the schema cannot say.
    #[must_use]
    pub fn check(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        if !self.listen.is_loopback() || !self.address(self.count).is_loopback() {
            let text =
                format!("{} is not a loopback address, and these are no devices to be reached", self.listen);
            faults.push(ConfigFault::new("/lab/network/listen", text).hint("use 127.0.77.1"));
        }
        if self.vendors.is_empty() {
            faults.push(ConfigFault::new("/lab/network/vendors", "name at least one vendor"));
        }
        if self.count == 0 || self.count > DEVICES_MAX {
            let text = format!("there are 1 to {DEVICES_MAX} devices");
            faults.push(ConfigFault::new("/lab/network/count", text));
        }
        for number in self.faults.keys().filter(|number| **number == 0 || **number > self.count) {
            faults.push(ConfigFault::new(format!("/lab/network/faults/{number}"), "there is no such device"));
        }
        faults
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
