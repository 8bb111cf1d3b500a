use std::fs;

use serde_json::Value;

use super::*;

fn corpus(file: &str) -> Option<String> {
    testkit::corpus(file).map(|path| fs::read_to_string(path).unwrap())
}

#[test]
fn every_platform_reads() {
    let wrong = FILES.iter().filter_map(|file| {
        let known = Known { file, platform: OnceLock::new() };
        known.compile().err().map(|error| (file.name, error))
    });
    assert_eq!(wrong.collect::<Vec<_>>(), []);
    assert!(known().len() > FILES.len());
}

/// Names of netmiko that stand for nothing that shows a prompt of its own: endpoints for video, and whatever may be behind
/// a terminal server.
const NO_PLATFORM: &[&str] = &["cisco_tp", "generic_termserver"];

#[test]
fn names_of_netmiko_are_known() {
    let names = include_str!("netmiko.txt").lines().filter(|line| !line.starts_with('#'));
    for name in names {
        for name in [name.to_owned(), format!("{name}_ssh"), format!("{name}_telnet")] {
            let is_known = resolved(&name).is_some();
            assert_eq!(is_known, !NO_PLATFORM.iter().any(|none| name.starts_with(none)), "{name}");
        }
    }
}

#[test]
fn given_prompts_are_of_their_modes() {
    let Some(text) = corpus("prompts/prompts.json") else { return };
    let cases: Vec<BTreeMap<String, String>> = serde_json::from_str(&text).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let (name, prompt) = (&case["platform"], &case["prompt"]);
        let Some(platform) = named(name) else {
            wrong.push(format!("{name}: no such platform"));
            continue;
        };
        let (above, line) = prompt.rsplit_once('\n').unwrap_or(("", prompt));
        let mode = platform.mode_of(line.trim_end(), above.trim_end());
        let mode = mode.map(|index| platform.modes[index].name.as_str());
        if mode != Some(case["mode"].as_str()) {
            wrong.push(format!("{name}: {prompt:?} is {}, and was taken for {mode:?}", case["mode"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Commands of the corpus that do more than show, run on, or run something else.
const MORE_THAN_SHOW: &[&str] = &[
    "bash df -h",
    "diagnose sys top",
    "execute ping",
    "oam mac-ping",
    "ont add",
    "ping",
    "port vlan",
    "tool profile",
    "tool speed-test address",
    "top",
    "traceroute",
    "zycli Ethctl media-type",
];

#[test]
fn given_show_commands_are_reads() {
    let Some(text) = corpus("textfsm-cases.jsonl") else { return };
    let (mut wrong, mut shows) = (Vec::new(), 0);
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let (name, command) = (case["platform"].as_str().unwrap(), case["command"].as_str().unwrap());
        let platform = known().values().find(|known| known.platform().templates == name);
        let Some(platform) = platform.map(|known| known.platform()).or_else(|| named(name)) else {
            wrong.push(format!("{name}: no such platform"));
            continue;
        };
        shows += 1;
        match platform.classify(command) {
            Ok(classed) if (classed.class == Class::Show) != MORE_THAN_SHOW.contains(&command) => {}
            Err(_) if MORE_THAN_SHOW.contains(&command) => {}
            other => wrong.push(format!("{name}: {command:?} is {other:?}")),
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{} of {shows}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Spellings of what changes things, and ways around a look at the first word: none of them is sent.
#[test]
fn nothing_slips_through() {
    let table = include_str!("refused.txt");
    let rows: Vec<(&str, String)> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (platform, command) = line.split_once('\t').unwrap();
            (platform, unescaped(command))
        })
        .collect();
    assert!(rows.len() >= 200, "{}", rows.len());
    let mut passed = Vec::new();
    for (name, command) in &rows {
        match named(name).unwrap().classify(command) {
            Ok(classed) if classed.class == Class::Show => passed.push(format!("{name}: {command:?}")),
            _ => {}
        }
    }
    assert!(passed.is_empty(), "{} of {} pass:\n{}", passed.len(), rows.len(), passed.join("\n"));
}

/// `\n`, `\r`, `\t`, `\xNN` and `\uNNNN` as what they stand for.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let (digits, skip) = match after.chars().next() {
            Some('x') => (&after[1..3], 3),
            Some('u') => (&after[1..5], 5),
            Some('n') => ("0a", 1),
            Some('r') => ("0d", 1),
            Some('t') => ("09", 1),
            _ => panic!("{text}"),
        };
        plain.extend(char::from_u32(u32::from_str_radix(digits, 16).unwrap()));
        rest = &after[skip..];
    }
    plain + rest
}

#[test]
fn what_shows_is_written_out() {
    let cases = [
        ("cisco_ios", "sh ver", "show ver"),
        ("cisco_ios", "  SHOW   ip route  ", "show ip route"),
        ("cisco_ios", "do sh run | i hostname", "show run | include hostname"),
        ("cisco_ios", "show run|i hostname", "show run | include hostname"),
        ("cisco_ios", "show run | include a|zz", "show run | include a|zz"),
        ("cisco_nxos", "show int | json-pretty | no-more", "show int | json-pretty | no-more"),
        ("juniper_junos", "sho conf | disp set | match x", "show conf | display set | match x"),
        ("huawei", "dis ver", "display ver"),
        ("fortinet", "get system status | grep Version", "get system status | grep Version"),
        ("linux", "ip -br addr show dev eth0", "ip -br addr show dev eth0"),
        ("mikrotik_routeros", "/ip route print where active", "/ip route print where active"),
    ];
    for (name, typed, wanted) in cases {
        let classed =
            named(name).unwrap().classify(typed).unwrap_or_else(|error| panic!("{name}: {typed}: {error}"));
        assert_eq!((classed.class, classed.expanded.as_str()), (Class::Show, wanted), "{name}: {typed}");
    }
}
