//! What devices print, and what is made of it.

mod vendors;

use super::*;
use crate::platform::{Intent, known, named};

#[test]
fn every_template_parses_and_every_intent_has_its_own() {
    for (name, text) in TEMPLATES {
        let template = Template::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(template.check(), Ok(()), "{name}");
    }
    for known in known().values() {
        let platform = known.platform();
        for (intent, by) in &platform.intents {
            let needs = matches!(intent, Intent::Interfaces | Intent::Interface | Intent::Routes);
            let has = by.template.as_ref().is_some_and(|name| template(name).is_some());
            assert_eq!(needs, has, "{}: {intent:?}", platform.name);
            for command in &by.before {
                let class = platform.classify(command).map(|classed| classed.class.as_str());
                assert!(matches!(class, Ok("show" | "exec")), "{}: {command}: {class:?}", platform.name);
            }
            for command in by.and.iter().chain([&by.command]) {
                let command = command.replace("{}", "eth0");
                let classed = platform
                    .classify(&command)
                    .unwrap_or_else(|e| panic!("{}: {command}: {e}", platform.name));
                assert_eq!(classed.class.as_str(), "show", "{}: {command}", platform.name);
            }
        }
    }
}

/// Of the recorded outputs that others made records of, ours hold as many, and the same addresses.
#[test]
fn recorded_tables_come_out_whole() {
    let Some(path) = testkit::corpus("textfsm-cases.jsonl") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let (mut wrong, mut cases) = (Vec::new(), 0);
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let word = |name: &str| case[name].as_str().unwrap();
        let platform =
            known().values().map(|known| known.platform()).find(|one| one.templates == word("platform"));
        let Some(platform) = platform else { continue };
        let is = |intent: Intent| platform.intents.get(&intent).filter(|by| by.command == word("command"));
        let expected = case["expected"].as_array().unwrap();
        let (ours, told) = if let Some(by) = is(Intent::Routes) {
            let routes = routes(platform, by.template.as_ref().unwrap(), word("raw")).unwrap();
            (routes.len(), routes.iter().map(|route| route.network.clone()).collect::<Vec<_>>())
        } else if let Some(by) = is(Intent::Interfaces) {
            let all = interfaces(by.template.as_ref().unwrap(), word("raw")).unwrap();
            (all.len(), all.iter().map(|one| format!("{} {:?}", one.name, one.ip)).collect())
        } else {
            continue;
        };
        cases += 1;
        // Of several next hops, each is a route here; of some, only what is used, and IPv4.
        let fits = match platform.name.as_str() {
            "arista_eos" => ours >= expected.len(),
            "cisco_nxos" | "paloalto_panos" => ours <= expected.len() && ours > 0,
            _ => ours == expected.len(),
        };
        if !fits {
            let first = word("raw").lines().take(3).collect::<Vec<_>>().join(" / ");
            let last = told.last();
            wrong.push(format!(
                "{} {}: {ours} of {}; last {last:?}; {first}",
                word("platform"),
                word("command"),
                expected.len()
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {cases}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn routes_are_analysed() {
    let text = "O   10.0.1.0/30 [110/10] is directly connected, r1-eth1, weight 1, 00:02:55\n\
                C>* 10.0.1.0/30 is directly connected, r1-eth1, 00:02:55\n\
                S>* 192.0.2.1/32 [1/0] unreachable (blackhole), weight 1, 00:02:55\n\
                O>* 192.0.2.2/32 [110/20] via 10.0.1.2, r1-eth1, weight 1, 00:02:43\n\
                B>* 198.51.100.2/32 [20/0] via 10.0.1.2, r1-eth1, weight 1, 00:02:52\n\
                \x20 *                      via 10.0.1.3, r1-eth1, weight 1, 00:02:52\n\
                S>* 0.0.0.0/0 [1/0] via 172.31.0.1, r1-eth1, weight 1, 00:02:52\n";
    let routes = routes(named("frr").unwrap(), "frr_routes", text).unwrap();
    assert_eq!(routes.len(), 6);
    assert_eq!(routes[2].network, "192.0.2.2/32");
    assert_eq!((routes[2].next_hop.as_deref(), routes[2].metric), (Some("10.0.1.2"), Some(20)));
    let analysis = analysis(&routes);
    assert_eq!(analysis.default_routes, ["172.31.0.1"]);
    assert_eq!(analysis.equal_cost, BTreeMap::from([("198.51.100.2/32".to_owned(), 2)]));
    assert_eq!(analysis.missing_next_hops.len(), 1);
    assert_eq!(analysis.missing_next_hops[0].next_hop, "172.31.0.1");
    assert_eq!(analysis.discarded, ["192.0.2.1/32"]);
}

#[test]
fn messages_of_several_vendors_are_read() {
    let cases = [
        (
            "*Mar  1 00:00:01.123: %SYS-5-CONFIG_I: changed",
            Some(Severity::Notice),
            "%SYS-5-CONFIG_I: changed",
        ),
        ("2026 Nov 27 21:00:00 sw1 %ETHPORT-5-IF_UP: up", Some(Severity::Notice), "%ETHPORT-5-IF_UP: up"),
        (
            "Nov 27 2026 21:00:00 r1 %%01IFNET/4/LINK_STATE(l)[0]:down",
            Some(Severity::Warning),
            "IFNET/4/LINK_STATE(l)[0]:down",
        ),
        (
            "%Nov 27 21:00:00:123 2026 sw1 IFNET/5/LINK_UPDOWN: GE1/0/1 is up.",
            Some(Severity::Notice),
            "IFNET/5/LINK_UPDOWN: GE1/0/1 is up.",
        ),
        ("Nov 27 21:00:00 r1 sshd[1]: Accepted", None, "sshd[1]: Accepted"),
    ];
    for (line, severity, text) in cases {
        let message = messages(line).unwrap().remove(0);
        assert_eq!((message.severity, message.message.as_str()), (severity, text), "{line}");
        assert!(message.timestamp.is_some(), "{line}");
    }
    assert_eq!(messages("Syslog logging: enabled (0 messages dropped)"), Ok(Vec::new()));
    assert_eq!(messages("Wed Nov 27 21:00:00.123 UTC\nLog Buffer (2097152 bytes):\n"), Ok(Vec::new()));
    assert!(messages("what happened at 21:00:00 is not known\nnor at 21:00:01\n").is_err());
}

#[test]
fn interfaces_are_found_by_what_begins_their_name() {
    assert!(is_named("gi0/1", "GigabitEthernet0/1"));
    assert!(is_named("Ethernet1", "Et1"));
    assert!(!is_named("gi0/1", "GigabitEthernet0/10"));
    assert!(!is_named("1", "Gi1"));
}
