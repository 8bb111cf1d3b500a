//! The faces over HTTP: our own connection loop, every REST door, the OpenAPI document, the documentation pages, health
//! and metrics, and the local socket of the command line.
//!
//! A face parses and translates, nothing else: who may do what, how often, and what is written down about it is the
//! gate's. The doors are one table (`doors.rs`); the router, the metrics' labels and the OpenAPI document go by it.
//!
//! There is no web framework between hyper and the doors: the bounds of a connection (head, body, idle, total, write),
//! credentials before methods, and the one form of errors are what this crate is about, and a table of eighteen paths
//! needs no router.

mod body;
mod call;
mod config;
mod conn;
mod devices;
mod docs;
mod doors;
mod envelope;
mod guard;
mod headers;
mod health;
mod late;
mod listen;
mod lists;
mod local;
mod mcp;
mod openapi;
mod problem;
mod pulse;
mod road;
mod shapes;
mod system;
mod upload;
mod webhook;
mod wire;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinSet,
};
use tool::{Clock, Deaf, Fault, Secret, Stop};

pub use config::{Config, CorsConfig, McpConfig, OperationConfig, Operations, check_operations};
pub use mcp::{McpState, Stdio};

use conn::{Answers, ConnBounds};
use doors::{Doors, Inside, Listener};
use guard::{Guard, Hosts};
use listen::{Crowd, House, Seats, note_end};
use local::Socket;
use road::{Road, Through};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// What the server needs beside its own section of the configuration.
#[derive(Clone)]
pub struct Extras {
    /// The version that the doors show.
    pub version: Arc<str>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The `operations:` section.
    pub operations: Operations,
    /// The folder whose disk is measured.
    pub data_dir: PathBuf,
    /// Where the local socket goes; without it there is none.
    pub socket: Option<PathBuf>,
    /// What the protocol server remembers beyond this process.
    pub mcp: McpState,
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}; is another server running there, or is the port reserved")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The system has no random numbers for keys.
    #[error("the system has no random numbers: {0}")]
    Random(String),
    /// The local socket cannot be made.
    #[error("cannot open the local socket {path:?}")]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// The server: it listens from [`Server::bind`] on and answers from [`Server::run`] on.
pub struct Server {
    /// None where only the local socket is served.
    network: Option<TcpListener>,
    metrics: Option<TcpListener>,
    socket: Option<Socket>,
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    config: Config,
    data_dir: PathBuf,
    inside: Arc<Inside>,
}

/// What can be changed while the server runs.
#[derive(Clone)]
pub struct Handle(Arc<Inside>);

impl Handle {
    /// Lets other operations hold for requests that come from now on.
    pub fn set_operations(&self, operations: Operations) {
        self.0.operations.store(Arc::new(operations));
    }
}

impl Server {
    /// Opens the listeners and the local socket. Must run inside a tokio runtime with IO and time.
    ///
    /// Error: where an address or the socket is not to be had.
    pub async fn bind(config: &Config, gate: Arc<gate::Gate>, extras: Extras) -> Result<Self, ServeError> {
        let network = listen_on(config.listen)?;
        Self::bind_road(config, Some(network), Arc::new(Through(gate)), extras)
    }

    /// As [`Server::bind`], but opens the local socket alone: for a process whose clients come by pipes.
    pub async fn bind_local(
        config: &Config,
        gate: Arc<gate::Gate>,
        extras: Extras,
    ) -> Result<Self, ServeError> {
        let config = Config { metrics_listen: None, ..config.clone() };
        Self::bind_road(&config, None, Arc::new(Through(gate)), extras)
    }

    fn bind_road(
        config: &Config,
        network: Option<TcpListener>,
        road: Arc<dyn Road>,
        extras: Extras,
    ) -> Result<Self, ServeError> {
        let metrics = config.metrics_listen.map(listen_on).transpose()?;
        let address = match &network {
            Some(listener) => address_of(listener, config.listen)?,
            None => config.listen,
        };
        let metrics_address = match (&metrics, config.metrics_listen) {
            (Some(listener), Some(wanted)) => Some(address_of(listener, wanted)?),
            _ => None,
        };
        let socket = match extras.socket {
            None => None,
            Some(path) => Some(Socket::open(&path).map_err(|source| ServeError::Socket { path, source })?),
        };
        let mcp = mcp::Mcp::new(
            Arc::clone(&road),
            Arc::clone(&extras.clock),
            &config.name,
            &extras.version,
            config.mcp.clone(),
            extras.mcp,
        );
        let inside = Arc::new(Inside {
            road,
            mcp: mcp.map_err(|error| ServeError::Random(error.to_string()))?,
            started: extras.clock.now(),
            clock: extras.clock,
            name: config.name.clone(),
            version: extras.version,
            operations: ArcSwap::from_pointee(extras.operations),
            sample: ArcSwap::default(),
            memory_percent_max: config.memory_percent_max,
            secure_tiers: config.secure_tiers.clone().into(),
            deaf: Arc::new(Deaf),
        });
        let (config, data_dir) = (config.clone(), extras.data_dir);
        Ok(Self { network, metrics, socket, address, metrics_address, config, data_dir, inside })
    }

    /// The address of the REST doors, with the port that was taken.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The address of the metrics listener, where there is one.
    #[must_use]
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// The protocol on one pair of pipes, for whoever holds this key. It shares tasks and calls that wait with the
    /// doors of this server, which must run beside it.
    ///
    /// Fault: `Unauthenticated` or `Disabled`, as at every door; `NotFound` for a toolset that is not there.
    pub async fn stdio(&self, key: Secret, toolset: Option<&str>) -> Result<Stdio, Fault> {
        Stdio::open(Arc::clone(&self.inside.mcp), self.config.body_bytes_max, key, toolset).await
    }

    /// What can be changed while the server runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.inside))
    }

    /// Serves until `stop` is asked. Then no connection is taken in any more, readiness is gone, the gate admits no more
    /// calls, and what runs may end within `drain_ms`; what is left after that is cut.
    pub async fn run(self, stop: Stop) {
        let grace = Duration::from_millis(self.config.drain_ms);
        let house = House {
            bounds: ConnBounds::new(&self.config),
            crowd: Crowd {
                all_max: self.config.connections_max,
                per_address_max: self.config.connections_per_address_max,
            },
            seats: Seats::default(),
            road: Arc::clone(&self.inside.road),
            grace: grace + Duration::from_secs(1),
        };
        let doors = |listener| -> Arc<dyn Answers> {
            let guard = guard_of(&self.config, listener);
            Arc::new(Doors { inside: Arc::clone(&self.inside), listener, guard })
        };
        self.inside.mcp.set_stop(stop.clone());
        let mut duties = JoinSet::new();
        duties.spawn(mcp::tend(Arc::clone(&self.inside.mcp), stop.clone()));
        if let Some(listener) = self.network {
            let kind = if self.address.ip().is_loopback() { Listener::Loopback } else { Listener::Open };
            duties.spawn(listen::tcp(listener, house.clone(), doors(kind), stop.clone()));
        }
        if let Some(listener) = self.metrics {
            duties.spawn(listen::tcp(listener, house.clone(), doors(Listener::Metrics), stop.clone()));
        }
        if let Some(socket) = self.socket {
            duties.spawn(socket.serve(house.clone(), doors(Listener::Local), stop.clone()));
        }
        let every = Duration::from_millis(self.config.sample_ms.max(100));
        duties.spawn(system::watch(Arc::clone(&self.inside), self.data_dir, every, stop.clone()));
        stop.asked().await;
        let (left, ()) = tokio::join!(house.road.drain(grace), self.inside.mcp.close(grace));
        if left > 0 {
            tracing::warn!(calls = left, "calls were still running after the grace");
        }
        while let Some(ended) = duties.join_next().await {
            note_end(ended);
        }
    }
}

fn listen_on(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restart must not wait for connections of the last run to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| ServeError::Bind { address, source })
}

fn address_of(listener: &TcpListener, wanted: SocketAddr) -> Result<SocketAddr, ServeError> {
    listener.local_addr().map_err(|source| ServeError::Bind { address: wanted, source })
}

fn guard_of(config: &Config, listener: Listener) -> Guard {
    let hosts = match listener {
        Listener::Loopback => Hosts::Only { names: config.allowed_hosts.clone(), takes_loopback: true },
        Listener::Open if !config.allowed_hosts.is_empty() => {
            let mut names = config.allowed_hosts.clone();
            names.push(config.listen.ip().to_string());
            Hosts::Only { names, takes_loopback: false }
        }
        // Metrics and health hold nothing for a page, and the local socket is out of its reach.
        Listener::Open | Listener::Metrics | Listener::Local => Hosts::Any,
    };
    Guard { hosts, origins: config.cors.origins.clone() }
}

#[cfg(test)]
mod tests;
