//! Sample services for the demo, for tests and for load: a small shop, as a REST API, as an SQL script and as a
//! folder of files. All of it is made from one table, so the same customer has the same name everywhere, and the
//! same each time.
//!
//! Nothing here is a tool; the binary starts it where the configuration has a `lab:` section.

mod api;
mod files;
mod network;
mod shop;
mod sql;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::Deserialize;
use tool::ConfigFault;

pub use api::ShopApi;
pub use files::sample_files;
pub use network::{Emulated, Fault, Network, NetworkConfig, NetworkError, Vendor};
pub use sql::shop_sql;

/// How many customers the shop has; their ids are 1 to this.
pub const CUSTOMERS: u32 = 243;

/// The `lab:` section: sample services that run beside the server. For trying things out, not for production.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A sample REST API of a shop. Left out: none is started.
    pub shop_api: Option<ShopApiConfig>,
    /// Where the shop's SQLite database is made, where there is none yet. Left out: none is made.
    pub shop_database: Option<PathBuf>,
    /// A folder that is filled with sample files, where it does not exist yet. Left out: none is made.
    pub sample_files: Option<PathBuf>,
    /// Emulated network devices, each an SSH server on a port of its own. Left out: none are started.
    pub network: Option<NetworkConfig>,
}

/// Where the sample REST API listens.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShopApiConfig {
    /// A loopback address and a port; port 0 takes any free one.
    #[serde(default = "listen")]
    #[schemars(with = "String", extend("format" = "socket-address"))]
    pub listen: SocketAddr,
}

impl Config {
    /// What the schema cannot say: the sample API answers anyone, so it stays on loopback.
    #[must_use]
    pub fn check(&self) -> Vec<ConfigFault> {
        let exposed = self.shop_api.iter().filter(|api| !api.listen.ip().is_loopback());
        let network = self.network.iter().flat_map(NetworkConfig::check);
        let exposed = exposed.map(|api| {
            let text =
                format!("{} is not a loopback address, and the sample API asks for no key", api.listen);
            ConfigFault::new("/lab/shop_api/listen", text).hint("use 127.0.0.1:8098")
        });
        exposed.chain(network).collect()
    }
}

fn listen() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8098)
}
