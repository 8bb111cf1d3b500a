//! Hosts outside the inventory, and logins that come with a request.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use ssh::{Endpoint, Login};
use tool::{Call, CarriedLogin, ConfigFault, Identity, Talk};

use crate::{
    Room,
    detect::UNKNOWN,
    error::DeviceError,
    inventory::{Credential, Device, proof, split_port, without_brackets},
    platform::{self, Platform},
    tools::{QUERY_AS, TRUST},
};

/// The platform of a device that a request describes without naming one.
const USUAL: &str = "cisco_ios";
const SSH_PORT: u16 = 22;

/// Which hosts outside the inventory may be asked.
#[derive(Debug)]
pub(crate) struct Outside {
    networks: Vec<IpNet>,
    names: Vec<String>,
    /// Beside the usual one.
    ports: Vec<u16>,
}

impl Outside {
    pub(crate) fn read(texts: &[String], ports: &[u16], faults: &mut Vec<ConfigFault>) -> Self {
        let mut outside = Self { networks: Vec::new(), names: Vec::new(), ports: ports.to_vec() };
        for (index, text) in texts.iter().enumerate() {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if let Ok(network) = text.parse::<IpNet>() {
                outside.networks.push(network);
            } else if let Ok(address) = text.parse::<IpAddr>() {
                outside.networks.push(address.into());
            } else if !text.is_empty() && text.chars().all(is_name) {
                outside.names.push(text.to_ascii_lowercase());
            } else {
                let what =
                    format!("{text:?} is no address, no network such as 192.0.2.0/24 and no name of a host");
                faults.push(ConfigFault::new(format!("/devices/outside/{index}"), what));
            }
        }
        outside
    }

    /// Where a host is, `host` or `host:port`, in the one way that it is written here: an address in its shortest form, a name
    /// in small letters. None where it may not be asked. A name counts only as it stands in the configuration: what it
    /// leads to is not looked at. Another port than 22 counts only where `outside_ports` has it.
    pub(crate) fn endpoint(&self, asked: &str) -> Option<Endpoint> {
        let (host, port) = split_port(asked);
        let port = port.map_or(Some(SSH_PORT), |port| self.port(port))?;
        let bare = without_brackets(host);
        let host = match bare.parse::<IpAddr>() {
            Ok(address) => {
                let address = address.to_canonical();
                let is_named = self.networks.iter().any(|network| network.contains(&address));
                is_named.then(|| address.to_string())?
            }
            Err(_) => {
                let name = bare.to_ascii_lowercase();
                self.names.contains(&name).then_some(name)?
            }
        };
        Some(Endpoint { host, port })
    }

    /// A port that may be asked.
    fn port(&self, text: &str) -> Option<u16> {
        let port = text.parse().ok().filter(|port: &u16| port.to_string() == text)?;
        (port == SSH_PORT || self.ports.contains(&port)).then_some(port)
    }
}

/// The login that came with a call for a host.
pub(crate) fn carried<'a>(call: &'a Call, host: &str, user: &str) -> Option<&'a CarriedLogin> {
    call.logins.as_deref()?.iter().find(|login| login.host == host && login.user == user)
}

impl Room {
    /// A device that is asked with a login of the request's own: of the inventory, or outside it.
    ///
    /// Error: there is none, none may be asked, or the platform is not known.
    pub(crate) fn find_as(
        &self,
        asked: &str,
        platform: Option<&str>,
        credential: Arc<Credential>,
    ) -> Result<Device, DeviceError> {
        if let Some(device) = self.inventory.find(asked) {
            return Ok(Device { credential, ..Device::clone(device) });
        }
        let name = platform.unwrap_or(USUAL);
        let platform = platform::named(name).ok_or_else(|| DeviceError::BadArgument {
            pointer: "/device_type".to_owned(),
            what: format!("there is no platform {name:?}; `portcullis devices platforms` lists them"),
        })?;
        self.inventory.outside(asked, platform, credential).ok_or_else(|| self.not_found(asked))
    }

    /// Whether a caller may ask hosts outside the inventory: then it may look at them too.
    pub(crate) fn may_look(&self, talk: &Talk, device: &Device) -> bool {
        let target = format!("device:{}", device.name);
        let may = |tool: &str| talk.calls().may_reach(tool, &target) == Some(true);
        self.inventory.has(&device.name) || may(QUERY_AS) || may(TRUST)
    }

    /// A device of the inventory, or a host outside it that may be asked, to be looked at without a login.
    pub(crate) fn find_any(&self, asked: &str) -> Result<Arc<Device>, DeviceError> {
        if let Some(device) = self.inventory.find(asked) {
            return Ok(Arc::clone(device));
        }
        let unknown: Option<&'static Arc<Platform>> = platform::named(UNKNOWN);
        let found = unknown.and_then(|unknown| self.inventory.outside(asked, unknown, Arc::new(nobody())));
        found.map(Arc::new).ok_or_else(|| self.not_found(asked))
    }
}

/// Nobody logs in.
pub(crate) fn nobody() -> Credential {
    Credential { name: String::new(), login: Login::default(), enable: None, proof: 0, is_carried: true }
}

/// Who logs in with what came with a request. A user that was refused is left alone for its bringer, whatever the next
/// password is; which password has worked is known by itself.
pub(crate) fn credential(login: &CarriedLogin, caller: &Identity) -> Credential {
    let name = format!("of the request, {} by {}", login.user, caller.principal);
    let enable = login.enable.clone();
    let login = Login { user: login.user.clone(), password: login.password.clone(), ..Login::default() };
    let proof = proof(&login, enable.as_ref());
    Credential { name, login, enable, proof, is_carried: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_outside_are_those_that_are_named() {
        let mut faults = Vec::new();
        let named =
            ["192.0.2.0/24", "2001:db8::1", "Lab.Example.net", "a b", "10.0.0.0/33"].map(str::to_owned);
        let outside = Outside::read(&named, &[2022], &mut faults);
        let wrong: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(wrong, ["/devices/outside/3", "/devices/outside/4"]);
        for (asked, found) in [
            ("192.0.2.7", Some("192.0.2.7:22")),
            ("192.0.2.7:2022", Some("192.0.2.7:2022")),
            ("::ffff:192.0.2.7", Some("192.0.2.7:22")),
            ("[192.0.2.7]:22", Some("192.0.2.7:22")),
            ("[2001:0db8::0:1]", Some("[2001:db8::1]:22")),
            ("LAB.example.NET", Some("lab.example.net:22")),
            ("[2001:db8::1]:2022", Some("[2001:db8::1]:2022")),
            ("[2001:db8::1]:23", None),
            ("192.0.2.7:022", None),
            ("192.0.2.7:+22", None),
            ("[[192.0.2.7", None),
            ("2001:db8::1", Some("[2001:db8::1]:22")),
            ("lab.example.net", Some("lab.example.net:22")),
            ("192.0.3.7", None),
            ("other.lab.example.net", None),
            ("192.0.2.7:0", None),
            ("192.0.2.7:x", None),
            ("0300.0.2.7", None),
            ("", None),
        ] {
            assert_eq!(
                outside.endpoint(asked).map(|endpoint| endpoint.to_string()).as_deref(),
                found,
                "{asked}"
            );
        }
    }
}
