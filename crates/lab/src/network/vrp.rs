//! The user view of Huawei VRP.

use std::fmt::Write as _;

use super::{
    router::{From, Router, mask},
    shell::{Said, filtered, is_like},
};

pub(super) fn prompt(router: &Router) -> String {
    format!("<{}>", router.hostname)
}

pub(super) fn run(router: &Router, line: &str) -> Said {
    if is_like(line, "quit") {
        return Said::end();
    }
    if is_like(line, "system-view") {
        return Said::text(
            "Error: You do not have permission to run the command or the command is incomplete.\n",
        );
    }
    let (command, filter) = match line.split_once('|') {
        Some((command, filter)) => (command.trim(), Some(filter)),
        None => (line, None),
    };
    let is = |wanted: &str| is_like(command, wanted);
    let text = if is("display version") {
        format!(
            "Huawei Versatile Routing Platform Software\nVRP (R) software, Version 8.210 (NE40E V800R021C10)\nHUAWEI NE40E uptime is 9 days, 3 hours, 4 minutes\nSVRP Platform Version 1.0\nESN: LAB{:05}\n",
            router.number
        )
    } else if is("display ip interface brief") {
        brief(router)
    } else if is("display ip routing-table") {
        routes(router)
    } else if is("display current-configuration") || is("display saved-configuration") {
        configuration(router)
    } else if is("display logbuffer") {
        format!(
            "Logging buffer configuration and contents: enabled\nCurrent messages: 2\n\n\
             Jan  1 2026 00:00:05 {host} %%01IFNET/4/IF_STATE(l)[1]:Interface GigabitEthernet0/0/0 has turned into UP state.\n\
             Jan  1 2026 00:00:09 {host} %%01OSPF/6/NBR_CHG(l)[2]:Neighbor event: neighbor state changed to full.\n",
            host = router.hostname
        )
    } else {
        let marker = " ".repeat(prompt(router).len());
        return Said::text(format!("{marker}^\nError: Unrecognized command found at '^' position.\n"));
    };
    match filtered(text, filter) {
        Ok(text) => Said::text(text),
        Err(()) => Said::text("Error: Wrong parameter found at '^' position.\n"),
    }
}

fn brief(router: &Router) -> String {
    let mut text = "*down: administratively down\n^down: standby\n(l): loopback\n(s): spoofing\n\nInterface                         IP Address/Mask      Physical   Protocol\n".to_owned();
    for port in &router.ports {
        let address =
            port.address.map_or_else(|| "unassigned".to_owned(), |(ip, bits)| format!("{ip}/{bits}"));
        let (physical, protocol) = match (port.is_shut, port.name.starts_with("Loop")) {
            (true, _) => ("*down", "down"),
            (false, true) => ("up", "up(s)"),
            (false, false) => ("up", "up"),
        };
        let _ = writeln!(text, "{:<33} {address:<20} {physical:<10} {protocol}", port.name);
    }
    text
}

fn routes(router: &Router) -> String {
    let routes = router.routes();
    let mut text = format!(
        "Route Flags: R - relay, D - download to fib\n------------------------------------------------------------------------------\nRouting Tables: Public\n         Destinations : {0}        Routes : {0}\n\nDestination/Mask    Proto   Pre  Cost      Flags NextHop         Interface\n\n",
        routes.len()
    );
    for path in routes {
        let (proto, preference) = match path.from {
            From::Connected | From::Local => ("Direct", 0),
            From::Static => ("Static", 60),
            From::Ospf => ("OSPF", 10),
            From::Bgp => ("IBGP", 255),
        };
        let network = format!("{}/{}", path.network, path.bits);
        let own = || router.ports.iter().find(|port| port.name == path.port).and_then(|port| port.address);
        let hop = path.next_hop.or_else(|| own().map(|(ip, _)| ip)).unwrap_or(path.network);
        let _ = writeln!(
            text,
            "{network:>18}  {proto:<7} {preference:<4} {:<9} {:>5} {hop:<15} {}",
            path.metric, "D", path.port
        );
    }
    text
}

fn configuration(router: &Router) -> String {
    let mut text = format!(
        "#\nsysname {}\n#\naaa\n local-user lab password irreversible-cipher $1d$labLABlab$0123456789abcdefABCDEF$\n local-user lab privilege level 15\n#\n",
        router.hostname
    );
    for port in &router.ports {
        let _ = writeln!(text, "interface {}", port.name);
        if !port.description.is_empty() {
            let _ = writeln!(text, " description {}", port.description);
        }
        if port.is_shut {
            text.push_str(" shutdown\n");
        }
        if let Some((ip, bits)) = port.address {
            let _ = writeln!(text, " ip address {ip} {}", mask(bits));
        }
        text.push_str("#\n");
    }
    text + "ospf 1\n area 0.0.0.0\n  network 10.0.0.0 0.255.255.255\n#\nreturn\n"
}
