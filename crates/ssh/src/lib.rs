//! SSH as a client (RFC 4251 to 4254): what stands between us and a device or a host; and telnet, for
//! what has nothing else.
//!
//! Invariants: no connection without a host key that was trusted before (`known_hosts`, or a fingerprint that is
//! pinned); a password is tried once a connection; algorithms that are broken are offered only where a profile asks for
//! them; every wait ends. No policy here, and no knowledge of what is on the other side.

mod algorithms;
mod channel;
mod connect;
mod error;
mod host_keys;
mod login;
mod telnet;

pub use crate::{
    algorithms::Algorithms,
    channel::{Exec, Shell, Terminal},
    connect::{Connection, Endpoint, Options, Reached, host_key, reach, version},
    error::SshError,
    host_keys::{HostKey, HostKeys, KnownHosts},
    login::{Key, Login},
    telnet::{Telnet, telnet},
};
