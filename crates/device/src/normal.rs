//! What devices of every platform say, in one form: interfaces, routes and log messages.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{LazyLock, OnceLock},
};

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use textfsm::{Limits, Style, Template};

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
    "frr_interfaces",
    "frr_routes",
    "huawei_interfaces",
    "huawei_routes",
    "juniper_junos_interfaces",
    "juniper_junos_routes",
    "linux_interfaces",
    "linux_routes",
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

/// The interfaces in an output.
pub(crate) fn interfaces(template: &str, text: &str) -> Result<Vec<Interface>, String> {
    let records = records(template, text)?;
    let interfaces = records.iter().map(|record| {
        let status = state(record.get("STATUS").map_or("", String::as_str));
        let protocol = some(record, "PROTOCOL").map_or_else(|| status.clone(), |text| state(&text));
        let mask =
            some(record, "PREFIX").and_then(|prefix| mask_of(&prefix)).or_else(|| some(record, "MASK"));
        Interface {
            name: record.get("NAME").cloned().unwrap_or_default(),
            protocol: if protocol == "administratively down" { "down".to_owned() } else { protocol },
            status,
            ip: some(record, "IP"),
            subnet_mask: mask,
            description: some(record, "DESCRIPTION"),
        }
    });
    Ok(interfaces.filter(|interface| !interface.name.is_empty()).collect())
}

/// A state in the words of all.
fn state(word: &str) -> String {
    let word = word.trim().to_ascii_lowercase();
    let state = match word.as_str() {
        "up" | "u" | "connected" | "unknown" | "^up" => "up",
        "a" | "*down" | "shutdown" | "admin down" => "administratively down",
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
        let discards = said.as_ref().is_some_and(|hop| !hop.starts_with(|c: char| c.is_ascii_digit()))
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

/// Looks through a table of routes.
pub(crate) fn analysis(routes: &[Route]) -> Analysis {
    let connected: Vec<(u32, u32)> = routes
        .iter()
        .filter(|route| matches!(route.protocol.as_str(), "connected" | "local"))
        .filter_map(|route| parsed(&route.network))
        .collect();
    let mut by_protocol = BTreeMap::new();
    let mut hops: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut missing = Vec::new();
    for route in routes {
        *by_protocol.entry(route.protocol.clone()).or_insert(0) += 1;
        let hop = route.next_hop.clone().or_else(|| route.interface.clone());
        hops.entry(&route.network).or_default().extend(hop);
        // A BGP route may lead to a hop that another route leads to; what no route covers at all is missing.
        let reach = |hop: &str| {
            let address = hop.parse::<std::net::Ipv4Addr>().map(u32::from).ok();
            address.is_none_or(|address| connected.iter().any(|(network, mask)| address & mask == *network))
        };
        if let Some(hop) = route.next_hop.as_ref().filter(|hop| !connected.is_empty() && !reach(hop)) {
            let covered = covers(routes, hop, &route.network);
            if !covered {
                missing.push(MissingHop { network: route.network.clone(), next_hop: hop.clone() });
            }
        }
    }
    let is_default = |route: &&Route| route.network == "0.0.0.0/0";
    let default = routes
        .iter()
        .filter(is_default)
        .filter_map(|route| route.next_hop.clone().or_else(|| route.interface.clone()));
    Analysis {
        default_routes: default.collect(),
        by_protocol,
        equal_cost: hops
            .iter()
            .filter(|(_, hops)| hops.len() > 1)
            .map(|(network, hops)| ((*network).to_owned(), hops.len()))
            .collect(),
        missing_next_hops: missing,
        discarded: routes.iter().filter(|route| route.discards).map(|route| route.network.clone()).collect(),
    }
}

/// Whether another route than the default one leads to a hop.
fn covers(routes: &[Route], hop: &str, but: &str) -> bool {
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

/// How bad a message is (RFC 5424, section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// The system cannot be used.
    Emergency,
    /// Something must be done at once.
    Alert,
    /// Critical.
    Critical,
    /// An error.
    Error,
    /// A warning.
    Warning,
    /// Normal, but of note.
    Notice,
    /// What goes on.
    Informational,
    /// For those who search for errors.
    Debug,
}

impl Severity {
    fn of(number: &str) -> Option<Self> {
        use Severity as S;
        let all = [
            S::Emergency,
            S::Alert,
            S::Critical,
            S::Error,
            S::Warning,
            S::Notice,
            S::Informational,
            S::Debug,
        ];
        all.get(number.parse::<usize>().ok()?).copied()
    }
}

/// A message of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Message {
    /// When it was written, as the device writes it; null where the line does not say.
    pub(crate) timestamp: Option<String>,
    /// How bad it is; null where the line does not say.
    pub(crate) severity: Option<Severity>,
    /// The message.
    pub(crate) message: String,
}

/// `*Mar  1 00:00:01.123 UTC: %SYS-5-CONFIG_I: text`, and the same after a year, a sequence number or a host.
static CISCO: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(?:\d+: )?(?P<time>.*?)[:\s]*%(?P<facility>[A-Z][\w\-]*)-(?:\w+-)?(?P<severity>[0-7])-(?P<rest>.*)$").ok()
});
/// `2026-01-01 00:00:00 host %%01IFNET/4/LINK_STATE(l)[0]:text`, as Huawei and Comware have it.
static HUAWEI: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(?P<time>.*?)\s+(?:\S+\s+)?%%\d{2}(?P<rest>\w+/(?P<severity>[0-7])/.*)$").ok()
});
/// `Nov 27 21:00:00 host program[1]: text` (RFC 3164), and the same with a time of RFC 3339.
static SYSLOG: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^(?P<time>[A-Z][a-z]{2}\s+\d{1,2} \d{2}:\d{2}:\d{2}|\d{4}-\d{2}-\d{2}T\S+)\s+\S+\s+(?P<rest>.*)$",
    )
    .ok()
});

/// The messages in an output; lines that are none are left out.
pub(crate) fn messages(text: &str) -> Vec<Message> {
    text.lines().filter_map(message).collect()
}

fn message(line: &str) -> Option<Message> {
    let forms = [&*CISCO, &*HUAWEI, &*SYSLOG];
    let found = forms.into_iter().flatten().find_map(|form| form.captures(line.trim()))?;
    let named = |name: &str| found.name(name).map(|text| text.as_str().trim().to_owned());
    let rest = named("rest").unwrap_or_default();
    let (severity, facility) = (named("severity"), named("facility"));
    let message = match (&facility, &severity) {
        (Some(facility), Some(severity)) => format!("%{facility}-{severity}-{rest}"),
        _ => rest,
    };
    let time = named("time").map(|time| time.trim_matches(['*', '.', ':', ' ']).to_owned());
    Some(Message {
        timestamp: time.filter(|time| !time.is_empty()),
        severity: severity.as_deref().and_then(Severity::of),
        message,
    })
}

#[cfg(test)]
mod tests;
