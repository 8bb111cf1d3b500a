//! The command line of Cisco IOS, and of Arista EOS where that is alike.

use std::{fmt::Write as _, net::Ipv4Addr};

use super::{
    router::{From, Router, Vendor, link, mask, name},
    shell::{Mode, Said, filtered, is_like},
};

const UNKNOWN: &str = "% Invalid input detected at '^' marker.\n\n";

pub(super) fn prompt(router: &Router, mode: &Mode) -> String {
    let host = &router.hostname;
    match mode {
        Mode::User => format!("{host}>"),
        Mode::Privileged => format!("{host}#"),
        Mode::Configure => format!("{host}(config)#"),
        Mode::Port(_) => format!("{host}(config-if)#"),
    }
}

pub(super) fn run(router: &mut Router, mode: &mut Mode, line: &str) -> Said {
    match mode.clone() {
        Mode::User | Mode::Privileged => exec(router, mode, line),
        Mode::Configure => configure(router, mode, line),
        Mode::Port(port) => configure_port(router, mode, &port, line),
    }
}

fn exec(router: &mut Router, mode: &mut Mode, line: &str) -> Said {
    let is = |command: &str| is_like(line, command);
    let is_privileged = *mode == Mode::Privileged;
    if is("enable") {
        return if is_privileged {
            Said::default()
        } else {
            Said { asks: Some("Password: "), ..Said::default() }
        };
    }
    if is("disable") {
        *mode = Mode::User;
        return Said::default();
    }
    if ["exit", "quit", "logout"].iter().any(|command| is(command)) {
        return Said::end();
    }
    if is("configure terminal") && is_privileged {
        *mode = Mode::Configure;
        return Said::text("Enter configuration commands, one per line.  End with CNTL/Z.\n");
    }
    if (is("write memory") || is("write") || is("copy running-config startup-config")) && is_privileged {
        router.startup = Some(running(router));
        return Said::text("Building configuration...\n[OK]\n");
    }
    show(router, line, is_privileged).unwrap_or_else(|| {
        let marker = format!("{}^\n", " ".repeat(prompt(router, mode).len()));
        Said::text(marker + UNKNOWN)
    })
}

fn show(router: &Router, line: &str, is_privileged: bool) -> Option<Said> {
    let (command, filter) = match line.split_once('|') {
        Some((command, filter)) => (command.trim(), Some(filter)),
        None => (line, None),
    };
    let is = |wanted: &str| is_like(command, wanted);
    let text = if is("show version") {
        version(router)
    } else if is("show ip interface brief") {
        brief(router)
    } else if is("show interfaces") {
        (0..router.ports.len()).map(|index| interface(router, index)).collect()
    } else if let Some(typed) = after(command, "show interfaces") {
        let mut copy = router.clone();
        let found = copy.port(typed)?.name.clone();
        interface(router, router.ports.iter().position(|port| port.name == found)?)
    } else if is("show ip route") {
        routes(router, None)
    } else if let Some(from) = after(command, "show ip route") {
        let sources = [
            ("ospf", From::Ospf),
            ("bgp", From::Bgp),
            ("static", From::Static),
            ("connected", From::Connected),
        ];
        routes(router, Some(sources.iter().find(|(word, _)| *word == from)?.1))
    } else if is("show running-config") && is_privileged {
        running(router)
    } else if is("show startup-config") && is_privileged {
        router.startup.clone().unwrap_or_else(|| running(router))
    } else if is("show logging") {
        logging(router)
    } else if is("show ip bgp summary") {
        bgp(router)
    } else if is("show ip ospf neighbor") {
        ospf(router)
    } else if is("show clock") {
        "00:00:00.000 UTC Thu Jan 1 2026\n".to_owned()
    } else {
        return None;
    };
    filtered(text, filter).ok().map(Said::text)
}

/// What was typed behind a command.
fn after<'a>(typed: &'a str, command: &str) -> Option<&'a str> {
    let words = command.split(' ').count();
    let mut at = 0;
    for _ in 0..words {
        let rest = &typed[at..];
        let start = rest.len() - rest.trim_start().len();
        at += start + rest.trim_start().find(' ')?;
    }
    is_like(&typed[..at], command).then(|| typed[at..].trim())
}

fn version(router: &Router) -> String {
    match router.vendor {
        Vendor::AristaEos => format!(
            "Arista vEOS-lab\nHardware version: \nSerial number: LAB{:05}\nHardware MAC address: 5000.0000.{:04x}\n\n\
             Software image version: 4.31.1F\nArchitecture: x86_64\nUptime: 1 week, 2 days, 3 hours and 4 minutes\n",
            router.number, router.number
        ),
        _ => format!(
            "Cisco IOS Software, IOSv Software (VIOS-ADVENTERPRISEK9-M), Version 15.9(3)M6, RELEASE SOFTWARE (fc1)\n\
             {} uptime is 1 week, 2 days, 3 hours, 4 minutes\n\
             System image file is \"flash0:/vios-adventerprisek9-m\"\n\
             Processor board ID LAB{:05}\nConfiguration register is 0x0\n",
            router.hostname, router.number
        ),
    }
}

fn brief(router: &Router) -> String {
    let is_eos = router.vendor == Vendor::AristaEos;
    let mut text = match is_eos {
        true => "Interface       IP Address         Status       Protocol         MTU\n--------------- ------------------ ------------ ------------- ---------\n".to_owned(),
        false => "Interface                  IP-Address      OK? Method Status                Protocol\n".to_owned(),
    };
    for port in &router.ports {
        let protocol = if port.is_shut { "down" } else { "up" };
        let line = if is_eos {
            let address =
                port.address.map_or_else(|| "unassigned".to_owned(), |(ip, bits)| format!("{ip}/{bits}"));
            let status = if port.is_shut { "admin down" } else { "up" };
            format!("{:<15} {address:<18} {status:<12} {protocol:<13} {:>9}", port.name, 1500)
        } else {
            let address = port.address.map_or_else(|| "unassigned".to_owned(), |(ip, _)| ip.to_string());
            let status = if port.is_shut { "administratively down" } else { "up" };
            format!("{:<26} {address:<15} YES NVRAM  {status:<21} {protocol}", port.name)
        };
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn interface(router: &Router, index: usize) -> String {
    let port = &router.ports[index];
    let (status, protocol) = if port.is_shut { ("administratively down", "down") } else { ("up", "up") };
    let mut text = format!(
        "{} is {status}, line protocol is {protocol}\n  Hardware is iGbE, address is 5000.{:04x}.{index:04x}\n",
        port.name, router.number
    );
    if !port.description.is_empty() {
        let _ = writeln!(text, "  Description: {}", port.description);
    }
    if let Some((ip, bits)) = port.address {
        let _ = writeln!(text, "  Internet address is {ip}/{bits}");
    }
    text + "  MTU 1500 bytes, BW 1000000 Kbit/sec, DLY 10 usec,\n     reliability 255/255, txload 1/255, rxload 1/255\n  5 minute input rate 0 bits/sec, 0 packets/sec\n     0 input errors, 0 CRC, 0 frame, 0 overrun, 0 ignored\n"
}

fn routes(router: &Router, only: Option<From>) -> String {
    let mut text = "Codes: L - local, C - connected, S - static, R - RIP, M - mobile, B - BGP\n       O - OSPF, IA - OSPF inter area, * - candidate default\n\n".to_owned();
    let is_eos = router.vendor == Vendor::AristaEos;
    for path in router.routes() {
        if only.is_some_and(|only| only != path.from) || (is_eos && path.from == From::Local) {
            continue;
        }
        let code = match path.from {
            From::Connected => "C",
            From::Local => "L",
            From::Static if path.bits == 0 => "S*",
            From::Static => "S",
            From::Ospf if path.bits == 0 && !is_eos => "O*E2",
            From::Ospf => "O",
            From::Bgp if is_eos => "B E",
            From::Bgp => "B",
        };
        let network = format!("{}/{}", path.network, path.bits);
        let leads = match path.next_hop {
            None => format!("is directly connected, {}", path.port),
            Some(hop) if is_eos => format!("[{}/{}] via {hop}, {}", path.distance, path.metric, path.port),
            Some(hop) if path.from == From::Ospf => {
                format!("[{}/{}] via {hop}, 1d02h, {}", path.distance, path.metric, path.port)
            }
            Some(hop) if path.from == From::Bgp => {
                format!("[{}/{}] via {hop}, 1d02h", path.distance, path.metric)
            }
            Some(hop) => format!("[{}/{}] via {hop}", path.distance, path.metric),
        };
        let _ = match is_eos {
            true => writeln!(text, " {code:<8} {network} {leads}"),
            false => writeln!(text, "{code:<8} {network} {leads}"),
        };
    }
    text
}

fn running(router: &Router) -> String {
    let mut text = match router.vendor {
        Vendor::AristaEos => format!("! device: {} (vEOS-lab, EOS-4.31.1F)\n!\n", router.hostname),
        _ => "Building configuration...\n\nCurrent configuration : 1024 bytes\n!\nversion 15.9\nservice timestamps log datetime msec\n!\n".to_owned(),
    };
    let _ = write!(
        text,
        "hostname {}\n!\nenable secret 9 $9$labLABlabLABlab$0123456789abcdefghijABCDEFGHIJ0123456789abc\n!\nusername lab privilege 15 secret 5 $1$labl$0123456789abcdefghijkl\n!\n",
        router.hostname
    );
    for port in &router.ports {
        let _ = writeln!(text, "interface {}", port.name);
        if !port.description.is_empty() {
            let _ = writeln!(text, " description {}", port.description);
        }
        match port.address {
            None => text.push_str(" no ip address\n"),
            Some((ip, bits)) if router.vendor == Vendor::AristaEos => {
                let _ = writeln!(text, " ip address {ip}/{bits}");
            }
            Some((ip, bits)) => {
                let _ = writeln!(text, " ip address {ip} {}", mask(bits));
            }
        }
        if port.is_shut {
            text.push_str(" shutdown\n");
        }
        text.push_str("!\n");
    }
    text.push_str("router ospf 1\n network 10.0.0.0 0.255.255.255 area 0\n!\n");
    let _ = writeln!(text, "router bgp 65001\n neighbor {} remote-as {}\n!", peer(router).0, peer(router).1);
    for (network, bits, hop) in &router.statics {
        let _ = writeln!(text, "ip route {network} {} {hop}", mask(*bits));
    }
    text + "!\nsnmp-server community lab-community RO\n!\nend\n"
}

fn logging(router: &Router) -> String {
    let mut text = "Syslog logging: enabled (0 messages dropped, 0 messages rate-limited, 0 flushes, 0 overruns)\n    Buffer logging:  level debugging, 4 messages logged\n\nLog Buffer (8192 bytes):\n\n".to_owned();
    let port = router.ports.first().map_or("", |port| port.name.as_str());
    let _ = writeln!(text, "*Jan  1 00:00:01.000: %SYS-5-RESTART: System restarted --");
    let _ = writeln!(text, "*Jan  1 00:00:05.120: %LINK-3-UPDOWN: Interface {port}, changed state to up");
    let _ = writeln!(
        text,
        "*Jan  1 00:00:09.480: %OSPF-5-ADJCHG: Process 1, Nbr {} on {port} from LOADING to FULL, Loading Done",
        peer(router).0
    );
    let _ = writeln!(text, "*Jan  1 00:01:00.000: %BGP-5-ADJCHANGE: neighbor {} Up", peer(router).0);
    text
}

/// The neighbour before this router: its address and its system.
fn peer(router: &Router) -> (Ipv4Addr, u32) {
    match router.number {
        1 => (Ipv4Addr::new(203, 0, 113, 1), 64_500),
        number => (link(number - 1).0, 65_001),
    }
}

fn bgp(router: &Router) -> String {
    let (address, system) = peer(router);
    format!(
        "BGP router identifier {}, local AS number 65001\nBGP table version is 2, main routing table version 2\n\n\
         Neighbor        V           AS MsgRcvd MsgSent   TblVer  InQ OutQ Up/Down  State/PfxRcd\n\
         {address:<15} 4 {system:>12} {:>7} {:>7} {:>8} {:>4} {:>4} {:<8} {:>12}\n",
        super::router::loopback(router.number),
        1042,
        1040,
        2,
        0,
        0,
        "1d02h",
        1
    )
}

fn ospf(router: &Router) -> String {
    let mut text = "Neighbor ID     Pri   State           Dead Time   Address         Interface\n".to_owned();
    let (before, behind) = (router.number > 1, router.number < router.count);
    let neighbors = before
        .then(|| (router.number - 1, link(router.number - 1).0, 0))
        .into_iter()
        .chain(behind.then(|| (router.number + 1, link(router.number).1, 1)));
    for (other, address, port) in neighbors {
        let id = super::router::loopback(other);
        let port = router.ports.get(port).map_or("", |port| port.name.as_str());
        let _ = writeln!(
            text,
            "{:<15} {:>3}   FULL/  -        00:00:3{}    {address:<15} {port}",
            id.to_string(),
            0,
            other % 10
        );
    }
    text
}

fn configure(router: &mut Router, mode: &mut Mode, line: &str) -> Said {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["end"] => *mode = Mode::Privileged,
        ["exit"] => *mode = Mode::Privileged,
        ["hostname", host] if host.len() <= 63 => (*host).clone_into(&mut router.hostname),
        ["interface", port @ ..] if !port.is_empty() => match router.port(&port.concat()) {
            Some(port) => *mode = Mode::Port(port.name.clone()),
            None => return Said::text(UNKNOWN),
        },
        ["ip", "route", network, bits, hop] => match (network.parse(), bits.parse::<Ipv4Addr>(), hop.parse())
        {
            (Ok(network), Ok(bits), Ok(hop)) => {
                let bits = u8::try_from(u32::from(bits).count_ones()).unwrap_or(32);
                router.statics.push((network, bits, hop));
            }
            _ => return Said::text(UNKNOWN),
        },
        ["do", rest @ ..] => {
            return show(router, &rest.join(" "), true).unwrap_or_else(|| Said::text(UNKNOWN));
        }
        _ => return Said::text(UNKNOWN),
    }
    Said::default()
}

fn configure_port(router: &mut Router, mode: &mut Mode, port: &str, line: &str) -> Said {
    let words: Vec<&str> = line.split_whitespace().collect();
    if let ["end" | "exit"] | ["interface" | "hostname", ..] | ["do", ..] = words.as_slice() {
        *mode = if words == ["end"] { Mode::Privileged } else { Mode::Configure };
        return if words.len() == 1 { Said::default() } else { configure(router, mode, line) };
    }
    let Some(port) = router.port(port) else { return Said::text(UNKNOWN) };
    match words.as_slice() {
        ["description", text @ ..] => port.description = text.join(" "),
        ["no", "description"] => port.description.clear(),
        ["shutdown"] => port.is_shut = true,
        ["no", "shutdown"] => port.is_shut = false,
        ["no", "ip", "address"] => port.address = None,
        ["ip", "address", address, bits] => match (address.parse(), bits.parse::<Ipv4Addr>()) {
            (Ok(address), Ok(bits)) => {
                port.address = Some((address, u8::try_from(u32::from(bits).count_ones()).unwrap_or(32)));
            }
            _ => return Said::text(UNKNOWN),
        },
        _ => return Said::text(UNKNOWN),
    }
    Said::default()
}

/// A message that a router prints in the middle of everything.
pub(super) fn chatter(number: u16) -> String {
    format!("\r\n*Jan  1 00:02:00.000: %SYS-6-LOGOUT: User {} has exited tty session\r\n", name(number))
}
