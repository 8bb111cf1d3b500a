//! The operational command line of Juniper Junos.

use std::fmt::Write as _;

use super::{
    router::{From, Router},
    shell::{Said, filtered, is_like},
};

pub(super) fn prompt(router: &Router) -> String {
    format!("lab@{}> ", router.hostname)
}

pub(super) fn run(router: &Router, line: &str) -> Said {
    if ["exit", "quit"].contains(&line) {
        return Said::end();
    }
    if is_like(line, "configure") {
        return Said::text("error: permission denied: configure\n\n");
    }
    let (command, filter) = match line.split_once('|') {
        Some((command, filter)) => (command.trim(), Some(filter)),
        None => (line, None),
    };
    let is = |wanted: &str| is_like(command, wanted);
    let text = if is("show version") {
        format!(
            "Hostname: {}\nModel: vmx\nJunos: 22.4R3.25\nJUNOS OS Kernel 64-bit  [20230123.0]\n",
            router.hostname
        )
    } else if is("show interfaces terse") {
        terse(router)
    } else if is("show route") || is("show route table inet.0") {
        routes(router)
    } else if is("show configuration") {
        configuration(router)
    } else if is("show log messages") {
        format!(
            "Jan  1 00:00:01  {host} eventd[1]: SYSTEM_OPERATIONAL: System is operational\n\
             Jan  1 00:00:05  {host} rpd[100]: RPD_OSPF_NBRUP: OSPF neighbor state changed from Loading to Full\n",
            host = router.hostname
        )
    } else {
        return Said::text(format!("{}^\nunknown command.\n", " ".repeat(prompt(router).len())));
    };
    match filtered(text, filter) {
        Ok(text) => Said::text(text + "\n"),
        Err(()) => Said::text("syntax error, expecting <command>.\n"),
    }
}

fn terse(router: &Router) -> String {
    let mut text = "Interface               Admin Link Proto    Local                 Remote\n".to_owned();
    for port in &router.ports {
        let admin = if port.is_shut { "down" } else { "up" };
        let address = port.address.map_or_else(String::new, |(ip, bits)| format!("inet     {ip}/{bits}"));
        let line = format!("{:<23} {admin:<5} {admin:<4} {address}", port.name);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn routes(router: &Router) -> String {
    let routes = router.routes();
    let mut text = format!(
        "\ninet.0: {0} destinations, {0} routes ({0} active, 0 holddown, 0 hidden)\n+ = Active Route, - = Last Active, * = Both\n\n",
        routes.len()
    );
    for path in routes {
        let network = format!("{}/{}", path.network, path.bits);
        let how = match path.from {
            From::Connected => "*[Direct/0] 1d 02:03:04".to_owned(),
            From::Local => "*[Local/0] 1d 02:03:04".to_owned(),
            From::Static => "*[Static/5] 1d 02:03:04".to_owned(),
            From::Ospf => format!("*[OSPF/10] 1d 02:03:04, metric {}", path.metric),
            From::Bgp => "*[BGP/170] 1d 02:03:04, localpref 100".to_owned(),
        };
        let _ = writeln!(text, "{network:<19}{how}");
        let _ = match (path.next_hop, path.from) {
            (Some(hop), _) => writeln!(text, "                    >  to {hop} via {}", path.port),
            (None, From::Local) => writeln!(text, "                       Local via {}", path.port),
            (None, _) => writeln!(text, "                    >  via {}", path.port),
        };
    }
    text
}

fn configuration(router: &Router) -> String {
    let mut text = format!(
        "## Last commit: 2026-01-01 00:00:00 UTC by lab\nversion 22.4R3.25;\nsystem {{\n    host-name {};\n    root-authentication {{\n        encrypted-password \"$6$labLABla$0123456789abcdefghijABCDEFGHIJ\"; ## SECRET-DATA\n    }}\n}}\ninterfaces {{\n",
        router.hostname
    );
    for port in &router.ports {
        let (name, unit) = port.name.split_once('.').unwrap_or((&port.name, "0"));
        let _ = writeln!(text, "    {name} {{");
        if !port.description.is_empty() {
            let _ = writeln!(text, "        description \"{}\";", port.description);
        }
        if port.is_shut {
            text.push_str("        disable;\n");
        }
        if let Some((ip, bits)) = port.address {
            let _ = writeln!(
                text,
                "        unit {unit} {{\n            family inet {{\n                address {ip}/{bits};\n            }}\n        }}"
            );
        }
        text.push_str("    }\n");
    }
    text + "}\nprotocols {\n    ospf {\n        area 0.0.0.0 {\n            interface all;\n        }\n    }\n}\n"
}
