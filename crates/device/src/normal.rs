//! What devices of every platform say, in one form: interfaces, routes and log messages.

mod log;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{LazyLock, OnceLock},
};

use regex::Regex;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use textfsm::{Limits, Style, Template};

pub(crate) use self::log::{Message, Severity, messages};
use crate::platform::Platform;

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        /// Templates of our own, by name.
        const TEMPLATES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../templates/", $name, ".textfsm")))),*];
    };
}

templates![
    "arista_eos_routes",
    "aruba_aoscx_routes",
    "bird_interfaces",
    "bird_routes",
    "cisco_asa_routes",
    "cisco_ios_interface",
    "cisco_ios_interfaces",
    "cisco_ios_routes",
    "cisco_nxos_routes",
    "cisco_xr_routes",
    "fortinet_interfaces",
    "fortinet_routes",
    "frr_interfaces",
    "frr_routes",
    "huawei_interfaces",
    "huawei_routes",
    "juniper_junos_interfaces",
    "juniper_junos_routes",
    "linux_interfaces",
    "linux_routes",
    "mikrotik_routeros_interfaces",
    "mikrotik_routeros_routes",
    "nokia_srl_interfaces",
    "nokia_srl_routes",
    "nokia_sros_interfaces",
    "nokia_sros_routes",
    "paloalto_panos_interfaces",
    "paloalto_panos_routes",
    "vyos_interfaces",
];

/// A template of our own, compiled when it is first used.
fn template(name: &str) -> Option<&'static Template> {
    static COMPILED: OnceLock<BTreeMap<&str, OnceLock<Template>>> = OnceLock::new();
    let all = COMPILED.get_or_init(|| TEMPLATES.iter().map(|(name, _)| (*name, OnceLock::new())).collect());
    let (name, text) = TEMPLATES.iter().find(|(known, _)| *known == name)?;
    Some(all[name].get_or_init(|| match Template::parse(text) {
        Ok(template) => template,
        // The templates are part of the program, and a test parses them all.
        Err(error) => unreachable!("{name} does not parse: {error}"),
    }))
}

/// A record of a template: names in upper case, texts.
type Record = BTreeMap<String, String>;

/// Makes records of an output. Error: a sentence.
fn records(name: &str, text: &str) -> Result<Vec<Record>, String> {
    let template = template(name).ok_or_else(|| format!("there is no template {name:?}"))?;
    let table = template.run(text, &Limits::default()).map_err(|error| error.to_string())?;
    let value = serde_json::json!(table.records(Style::Plain));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let record = |value: &Value| {
        let members = value.as_object().into_iter().flatten();
        members.map(|(name, value)| (name.to_uppercase(), text(value))).collect()
    };
    Ok(value.as_array().into_iter().flatten().map(record).collect())
}

/// What to say where an output holds addresses and no record came of it: an answer of nothing would be wrong.
pub(crate) fn misread(text: &str) -> Option<String> {
    static ADDRESS: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\b\d{1,3}(?:\.\d{1,3}){3}\b").ok());
    let holds = ADDRESS.as_ref().is_some_and(|address| address.is_match(text));
    holds.then(|| "it holds addresses, and none of its lines is as they are on this platform".to_owned())
}

fn some(record: &Record, name: &str) -> Option<String> {
    record.get(name).filter(|text| !text.is_empty()).cloned()
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Interface {
    /// Its name, as the device writes it.
    pub(crate) name: String,
    /// `up`, `down` or `administratively down`.
    pub(crate) status: String,
    /// Whether its protocol is `up` or `down`.
    pub(crate) protocol: String,
    /// Its first address; null where it has none.
    pub(crate) ip: Option<String>,
    /// The mask of that address; null where it is not known.
    pub(crate) subnet_mask: Option<String>,
    /// What its description says; null where it has none, or where a list does not show it.
    pub(crate) description: Option<String>,
}

/// The interfaces in an output. What is said of one in several places comes together, and the first that is said
/// counts; `ADMIN` holds something where an interface is switched off, and `PARENT` the name of the one whose state it
/// shares.
pub(crate) fn interfaces(template: &str, text: &str) -> Result<Vec<Interface>, String> {
    let mut all: Vec<Interface> = Vec::new();
    for record in records(template, text)? {
        let Some(name) = some(&record, "NAME") else { continue };
        let parent = some(&record, "PARENT").and_then(|parent| all.iter().find(|one| one.name == parent));
        let status = match (some(&record, "ADMIN"), parent) {
            (Some(_), _) => "administratively down".to_owned(),
            (None, Some(parent)) => parent.status.clone(),
            (None, None) => state(record.get("STATUS").map_or("", String::as_str)),
        };
        let protocol = some(&record, "PROTOCOL").map_or_else(|| status.clone(), |text| state(&text));
        let mask =
            some(&record, "PREFIX").and_then(|prefix| mask_of(&prefix)).or_else(|| some(&record, "MASK"));
        let ip = some(&record, "IP");
        match all.iter_mut().find(|one| one.name == name) {
            Some(known) if known.ip.is_none() => (known.ip, known.subnet_mask) = (ip, mask),
            Some(_) => {}
            None => all.push(Interface {
                name,
                protocol: if protocol == "administratively down" { "down".to_owned() } else { protocol },
                status,
                ip,
                subnet_mask: mask,
                description: some(&record, "DESCRIPTION"),
            }),
        }
    }
    Ok(all)
}

/// A state in the words of all.
fn state(word: &str) -> String {
    let word = word.trim().to_ascii_lowercase();
    let state = match word.as_str() {
        "up" | "u" | "r" | "connected" | "unknown" | "^up" => "up",
        "a" | "x" | "*down" | "shutdown" | "admin down" | "down(power-down)" => "administratively down",
        _ if word.starts_with("administratively") => "administratively down",
        _ if word.starts_with("up") => "up",
        _ => "down",
    };
    state.to_owned()
}

fn mask_of(prefix: &str) -> Option<String> {
    let bits = prefix.parse::<u32>().ok().filter(|bits| *bits <= 32)?;
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    Some(std::net::Ipv4Addr::from(mask).to_string())
}

/// Whether a name that was asked for is the one of an interface: written out, or begun as devices let it be.
pub(crate) fn is_named(asked: &str, name: &str) -> bool {
    let split = |text: &str| {
        let text = text.trim().to_ascii_lowercase().replace(' ', "");
        let at = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
        (text[..at].to_owned(), text[at..].to_owned())
    };
    let ((asked, its_number), (name, number)) = (split(asked), split(name));
    its_number == number && !asked.is_empty() && (name.starts_with(&asked) || asked.starts_with(&name))
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Route {
    /// The network, as `address/bits`.
    pub(crate) network: String,
    /// The address of the next hop; null where the network is connected, or goes nowhere.
    pub(crate) next_hop: Option<String>,
    /// Where it came from: `ospf`, `bgp`, `static`, `connected`, ..
    pub(crate) protocol: String,
    /// The metric; null where there is none.
    pub(crate) metric: Option<u64>,
    /// The administrative distance, or preference; null where there is none.
    pub(crate) distance: Option<u64>,
    /// The interface it leaves by; null where it is not said.
    pub(crate) interface: Option<String>,
    /// The table it stands in, where the device shows several at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) vrf: Option<String>,
    /// True where packets for it are dropped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) discards: bool,
}

/// The routes in an output. Routes that the device knows and does not use are left out where it says which those are.
pub(crate) fn routes(platform: &Platform, template: &str, text: &str) -> Result<Vec<Route>, String> {
    let records = records(template, text)?;
    if let Some(why) = misread(text).filter(|_| records.is_empty()) {
        return Err(why);
    }
    let is_used = |record: &&Record| record.get("SELECTED").is_none_or(|selected| selected == ">");
    let route = |record: &Record| {
        let word = record.get("PROTOCOL").map_or("", String::as_str);
        let protocol = platform.protocols.get(word).cloned().unwrap_or_else(|| match word {
            "" => "connected".to_owned(),
            word => word.to_ascii_lowercase(),
        });
        let said = some(record, "NEXT_HOP");
        let discards = said.as_ref().is_some_and(|hop| hop.parse::<IpAddr>().is_err())
            || some(record, "INTERFACE").is_some_and(|name| name.to_ascii_lowercase().starts_with("null"));
        let is_connected = matches!(protocol.as_str(), "connected" | "local");
        // What is connected is at hand; templates keep the numbers of the route before it.
        let number = |name: &str| match is_connected {
            true => Some(0),
            false => some(record, name).and_then(|text| text.parse().ok()),
        };
        Route {
            network: network(record),
            next_hop: said.filter(|_| !discards && !is_connected),
            metric: number("METRIC"),
            distance: number("DISTANCE"),
            protocol,
            interface: some(record, "INTERFACE"),
            vrf: some(record, "VRF"),
            discards,
        }
    };
    Ok(records.iter().filter(is_used).map(route).collect())
}

fn network(record: &Record) -> String {
    let address = record.get("NETWORK").map_or("", String::as_str);
    if address == "default" {
        return "0.0.0.0/0".to_owned();
    }
    let of_mask = some(record, "MASK").and_then(|mask| mask.parse::<std::net::Ipv4Addr>().ok());
    let bits = some(record, "PREFIX")
        .or_else(|| of_mask.map(|mask| u32::from(mask).count_ones().to_string()))
        .or_else(|| some(record, "SUBNETTED"))
        .unwrap_or_else(|| classful(address).to_string());
    format!("{address}/{bits}")
}

/// The bits of a network whose device leaves them out: those of its class (RFC 791).
fn classful(address: &str) -> u32 {
    let first = address.split('.').next().and_then(|text| text.parse::<u8>().ok()).unwrap_or(0);
    match first {
        0 => 0,
        1..=127 => 8,
        128..=191 => 16,
        _ => 24,
    }
}

/// What stands out in a table of routes.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Analysis {
    /// The next hops of the default route; empty where there is none.
    pub(crate) default_routes: Vec<String>,
    /// How many routes each protocol has.
    pub(crate) by_protocol: BTreeMap<String, usize>,
    /// Networks with several next hops, and how many.
    pub(crate) equal_cost: BTreeMap<String, usize>,
    /// Networks whose next hop is in no connected network of the table, where the table has those.
    pub(crate) missing_next_hops: Vec<MissingHop>,
    /// Networks whose packets are dropped.
    pub(crate) discarded: Vec<String>,
}

/// A next hop that cannot be reached directly.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct MissingHop {
    /// The network.
    pub(crate) network: String,
    /// Its next hop.
    pub(crate) next_hop: String,
}

/// Looks through tables of routes: each by itself, for what leads to a hop in one leads nowhere in another. Where there are
/// several, what stands out is told with the name of its table: `10.0.0.0/8 in guests`.
pub(crate) fn analysis(routes: &[Route]) -> Analysis {
    let mut tables: BTreeMap<Option<&str>, Vec<&Route>> = BTreeMap::new();
    let mut by_protocol = BTreeMap::new();
    for route in routes {
        tables.entry(route.vrf.as_deref()).or_default().push(route);
        *by_protocol.entry(route.protocol.clone()).or_insert(0) += 1;
    }
    let mut analysis = Analysis {
        default_routes: Vec::new(),
        by_protocol,
        equal_cost: BTreeMap::new(),
        missing_next_hops: Vec::new(),
        discarded: Vec::new(),
    };
    let are_several = tables.len() > 1;
    for (vrf, table) in tables {
        let told = |what: &str| match vrf.filter(|_| are_several) {
            Some(vrf) => format!("{what} in {vrf}"),
            None => what.to_owned(),
        };
        analysis.add(&table, &told);
    }
    analysis
}

impl Analysis {
    /// Adds what stands out in one table.
    fn add(&mut self, table: &[&Route], told: &dyn Fn(&str) -> String) {
        let connected: Vec<(u32, u32)> = table
            .iter()
            .filter(|route| matches!(route.protocol.as_str(), "connected" | "local"))
            .filter_map(|route| parsed(&route.network))
            .collect();
        let mut hops: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for route in table {
            let hop = route.next_hop.as_deref().or(route.interface.as_deref());
            hops.entry(&route.network).or_default().extend(hop);
            if route.network == "0.0.0.0/0" {
                self.default_routes.extend(hop.map(told));
            }
            if route.discards {
                self.discarded.push(told(&route.network));
            }
            // A BGP route may lead to a hop that another route leads to; what no route covers at all is missing.
            let reach = |hop: &str| {
                let address = hop.parse::<std::net::Ipv4Addr>().map(u32::from).ok();
                address
                    .is_none_or(|address| connected.iter().any(|(network, mask)| address & mask == *network))
            };
            let hop = route.next_hop.as_ref().filter(|hop| !connected.is_empty() && !reach(hop));
            if let Some(hop) = hop.filter(|hop| !covers(table, hop, &route.network)) {
                let (network, next_hop) = (told(&route.network), hop.clone());
                self.missing_next_hops.push(MissingHop { network, next_hop });
            }
        }
        let several = hops.iter().filter(|(_, hops)| hops.len() > 1);
        self.equal_cost.extend(several.map(|(network, hops)| (told(network), hops.len())));
    }
}

/// Whether another route than the default one leads to a hop.
fn covers(routes: &[&Route], hop: &str, but: &str) -> bool {
    let Ok(address) = hop.parse::<std::net::Ipv4Addr>().map(u32::from) else { return true };
    let others = routes.iter().filter(|route| route.network != but && route.network != "0.0.0.0/0");
    others.filter_map(|route| parsed(&route.network)).any(|(network, mask)| address & mask == network)
}

fn parsed(network: &str) -> Option<(u32, u32)> {
    let (address, bits) = network.split_once('/')?;
    let address = address.parse::<std::net::Ipv4Addr>().map(u32::from).ok()?;
    let bits = bits.parse::<u32>().ok().filter(|bits| *bits <= 32)?;
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    Some((address & mask, mask))
}

#[cfg(test)]
mod tests;
