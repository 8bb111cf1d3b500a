use std::fs;

use serde_json::Value;

use super::*;

fn corpus(file: &str) -> Option<String> {
    testkit::corpus(file).map(|path| fs::read_to_string(path).unwrap())
}

#[test]
fn every_platform_reads() {
    let platforms = table::read(table::FILES).unwrap();
    assert!(platforms.len() > table::FILES.len());
    let compiled =
        |known: &Arc<Known>| known.definition.compile().err().map(|error| (known.name().to_owned(), error));
    assert_eq!(platforms.values().filter_map(compiled).collect::<Vec<_>>(), []);
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

#[test]
fn given_show_commands_are_reads() {
    let Some(text) = corpus("textfsm-cases.jsonl") else { return };
    let (mut wrong, mut shows) = (Vec::new(), 0);
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let (name, command) = (case["platform"].as_str().unwrap(), case["command"].as_str().unwrap());
        let platform = known().values().find(|known| known.definition.templates() == name);
        let Some(platform) = platform.map(|known| known.platform()).or_else(|| named(name)) else {
            wrong.push(format!("{name}: no such platform"));
            continue;
        };
        let first = command.split_whitespace().next().unwrap_or_default();
        if !["show", "display", "get", "ip", "interface"].contains(&first) {
            continue;
        }
        shows += 1;
        match platform.classify(command) {
            Ok(classed) if classed.class == Class::Show => {}
            other => wrong.push(format!("{name}: {command:?} is {other:?}")),
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{} of {shows}:\n{}", wrong.len(), wrong.join("\n"));
}
