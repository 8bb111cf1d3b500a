//! A router of the chain: what it has, and what it knows of the others.

use std::net::Ipv4Addr;

use schemars::JsonSchema;
use serde::Deserialize;

/// What a router is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Vendor {
    /// Cisco IOS.
    CiscoIos,
    /// Arista EOS.
    AristaEos,
    /// Juniper Junos.
    JuniperJunos,
    /// Huawei VRP.
    HuaweiVrp,
}

impl Vendor {
    /// The name of its platform in an inventory.
    #[must_use]
    pub fn platform(self) -> &'static str {
        match self {
            Self::CiscoIos => "cisco_ios",
            Self::AristaEos => "arista_eos",
            Self::JuniperJunos => "juniper_junos",
            Self::HuaweiVrp => "huawei",
        }
    }
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) address: Option<(Ipv4Addr, u8)>,
    pub(super) description: String,
    pub(super) is_shut: bool,
}

/// Where a route comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Connected,
    Local,
    Static,
    Ospf,
    Bgp,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) network: Ipv4Addr,
    pub(super) bits: u8,
    pub(super) from: From,
    pub(super) distance: u8,
    pub(super) metric: u32,
    pub(super) next_hop: Option<Ipv4Addr>,
    pub(super) port: String,
}

/// A router.
#[derive(Clone, Debug)]
pub(super) struct Router {
    pub(super) vendor: Vendor,
    /// Its place in the chain, from 1.
    pub(super) number: u16,
    /// How many there are.
    pub(super) count: u16,
    pub(super) hostname: String,
    pub(super) ports: Vec<Port>,
    pub(super) statics: Vec<(Ipv4Addr, u8, Ipv4Addr)>,
    /// What was written to its startup configuration last.
    pub(super) startup: Option<String>,
}

/// Two bytes of an address from a number.
fn bytes(number: u16) -> [u8; 2] {
    number.to_be_bytes()
}

/// The loopback address of a router.
pub(super) fn loopback(number: u16) -> Ipv4Addr {
    let [high, low] = bytes(number);
    Ipv4Addr::new(10, 255, high, low)
}

/// The addresses of the link behind a router: its own end, and that of the next one.
pub(super) fn link(number: u16) -> (Ipv4Addr, Ipv4Addr) {
    let [high, low] = bytes(number);
    // 64 links fit into the last byte, four addresses each.
    let third = high.wrapping_mul(4).wrapping_add(low / 64);
    let last = (low % 64) * 4;
    (Ipv4Addr::new(10, 0, third, last + 1), Ipv4Addr::new(10, 0, third, last + 2))
}

fn network_of((address, bits): (Ipv4Addr, u8)) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(address) & mask_bits(bits))
}

fn mask_bits(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)
}

/// A mask in its usual form.
pub(super) fn mask(bits: u8) -> Ipv4Addr {
    Ipv4Addr::from(mask_bits(bits))
}

impl Router {
    pub(super) fn new(vendor: Vendor, number: u16, count: u16) -> Self {
        let port = |index: u16| match vendor {
            Vendor::CiscoIos => format!("GigabitEthernet0/{index}"),
            Vendor::AristaEos => format!("Ethernet{}", index + 1),
            Vendor::JuniperJunos => format!("ge-0/0/{index}.0"),
            Vendor::HuaweiVrp => format!("GigabitEthernet0/0/{index}"),
        };
        let loop_name = match vendor {
            Vendor::CiscoIos | Vendor::AristaEos => "Loopback0",
            Vendor::JuniperJunos => "lo0.0",
            Vendor::HuaweiVrp => "LoopBack0",
        };
        let up =
            |name: String, address, description: String| Port { name, address, description, is_shut: false };
        let mut ports = Vec::new();
        if number == 1 {
            ports.push(up(port(0), Some((Ipv4Addr::new(203, 0, 113, 2), 30)), "to the provider".to_owned()));
        } else {
            ports.push(up(port(0), Some((link(number - 1).1, 30)), format!("to {}", name(number - 1))));
        }
        if number < count {
            ports.push(up(port(1), Some((link(number).0, 30)), format!("to {}", name(number + 1))));
        }
        ports.push(Port { is_shut: true, ..up(port(2), None, String::new()) });
        ports.push(up(loop_name.to_owned(), Some((loopback(number), 32)), "router id".to_owned()));
        let statics = match number {
            1 => vec![(Ipv4Addr::UNSPECIFIED, 0, Ipv4Addr::new(203, 0, 113, 1))],
            _ => Vec::new(),
        };
        Self { vendor, number, count, hostname: name(number), ports, statics, startup: None }
    }

    /// A port by its name or what begins it.
    pub(super) fn port(&mut self, typed: &str) -> Option<&mut Port> {
        let split = |text: &str| {
            let text = text.to_ascii_lowercase();
            let at = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
            (text[..at].to_owned(), text[at..].to_owned())
        };
        let (typed, its_number) = split(&typed.replace(' ', ""));
        self.ports.iter_mut().find(|port| {
            let (name, number) = split(&port.name);
            number == its_number && !typed.is_empty() && name.starts_with(&typed)
        })
    }

    /// Its table of routes.
    pub(super) fn routes(&self) -> Vec<Path> {
        let mut routes = Vec::new();
        let up = || self.ports.iter().filter(|port| !port.is_shut);
        for (port, address) in up().filter_map(|port| Some((port, port.address?))) {
            let path = |network, bits, from| Path {
                network,
                bits,
                from,
                distance: 0,
                metric: 0,
                next_hop: None,
                port: port.name.clone(),
            };
            routes.push(path(network_of(address), address.1, From::Connected));
            if address.1 < 32 {
                routes.push(path(address.0, 32, From::Local));
            }
        }
        let leaves = |hop: Ipv4Addr| {
            up().find(|port| {
                port.address.is_some_and(|(own, bits)| network_of((own, bits)) == network_of((hop, bits)))
            })
        };
        for (network, bits, hop) in &self.statics {
            let Some(port) = leaves(*hop) else { continue };
            routes.push(Path {
                network: *network,
                bits: *bits,
                from: From::Static,
                distance: 1,
                metric: 0,
                next_hop: Some(*hop),
                port: port.name.clone(),
            });
        }
        let learned = |network, bits, from, distance, metric, hop: Ipv4Addr| {
            let port = leaves(hop)?.name.clone();
            Some(Path { network, bits, from, distance, metric, next_hop: Some(hop), port })
        };
        for other in (1..=self.count).filter(|other| *other != self.number) {
            let towards = if other < self.number { link(self.number - 1).0 } else { link(self.number).1 };
            let hops = u32::from(other.abs_diff(self.number));
            routes.extend(learned(loopback(other), 32, From::Ospf, 110, hops + 1, towards));
        }
        if self.number == 1 {
            let provider = Ipv4Addr::new(203, 0, 113, 1);
            routes.extend(learned(Ipv4Addr::new(198, 51, 100, 0), 24, From::Bgp, 20, 0, provider));
        } else {
            let towards = link(self.number - 1).0;
            routes.extend(learned(Ipv4Addr::new(198, 51, 100, 0), 24, From::Bgp, 200, 0, towards));
            routes.extend(learned(Ipv4Addr::UNSPECIFIED, 0, From::Ospf, 110, 1, towards));
        }
        routes.sort_by_key(|path| (u32::from(path.network), path.bits));
        routes
    }
}

/// The name of a router.
pub(super) fn name(number: u16) -> String {
    format!("lab-r{number}")
}
