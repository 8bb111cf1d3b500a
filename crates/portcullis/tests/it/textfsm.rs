//! `portcullis textfsm`, with templates and recorded outputs of others.

use std::{fs, path::Path, process::Stdio};

use expect_test::expect;
use serde_json::Value;
use textfsm::Template;

use crate::{
    app::{alone, alone_with_input},
    beds,
};

const INDEX: &str =
    "Template, Hostname, Platform, Command\n\nport.textfsm, .*, demo_os, sh[[ow]] port[[s]]\n";
const PORT: &str = "Value Required PORT (\\S+)\nValue STATE (up|down)\nValue List VLANS (\\d+)\n\nStart\n  \
                    ^port ${PORT} is ${STATE}\n  ^ +vlan (${VLANS}|none)\n  ^end -> Record\n  ^. -> Error \"unknown\"\n";

/// A folder with one template.
fn library() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index"), INDEX).unwrap();
    fs::write(folder.path().join("port.textfsm"), PORT).unwrap();
    folder
}

#[test]
fn records_come_of_what_a_command_printed_and_the_status_says_what_came_of_it() {
    let folder = library();
    let templates = folder.path().to_str().unwrap();
    let asked = [
        ("show port", "port a is up\n vlan 1\n vlan none\nend\n"),
        ("sh ports red", "end\n"),
        ("show version", ""),
        ("show port", "a stranger\n"),
    ];
    let mut page = String::new();
    for (command, text) in asked {
        let args =
            ["textfsm", "parse", "--platform", "demo_os", "--command", command, "--templates", templates];
        let said = alone_with_input(folder.path(), &args, text);
        page.push_str(&format!("{}: {}{}\n", said.code, said.out, said.err.trim()));
    }
    expect![[r#"
        0: {"status":"parsed","template":"port.textfsm","records":[{"port":"a","state":"up","vlans":["1",null]}],"lines_unmatched":0}

        0: {"status":"empty","template":"port.textfsm","records":[],"lines_unmatched":0,"words_unknown":"red"}

        1: {"status":"no_template","template":null,"records":null,"lines_unmatched":null,"error":"no template is known for \"show version\" on demo_os"}
        portcullis: no template is known for "show version" on demo_os
        1: {"status":"template_error","template":"port.textfsm","records":null,"lines_unmatched":null,"error":"port.textfsm: the template does not know line 1, \"a stranger\": unknown"}
        portcullis: port.textfsm: the template does not know line 1, "a stranger": unknown
    "#]].assert_eq(&page);
    let nowhere = alone(
        folder.path(),
        &["textfsm", "parse", "--platform", "a", "--command", "b", "--templates", "/none"],
    );
    assert_eq!(nowhere.code, 1);
    assert!(nowhere.err.contains("there is no index of templates in /none"), "{nowhere:?}");
}

#[test]
fn cases_that_fail_are_named_with_what_is_not_as_it_should_be() {
    let folder = library();
    let cases = folder.path().join("cases.jsonl");
    let case = |raw: &str, expected: &str| {
        format!(r#"{{"platform":"demo_os","command":"show port","raw":"{raw}","expected":{expected}}}"#)
    };
    let lines = [
        case(r"port a is up\n vlan none\nend", r#"[{"vlans":["None"],"state":"up","port":"a"}]"#),
        case(r"port a is up\nend", r#"[{"vlans":[],"state":"down","port":"a"}]"#),
        case("what", "[]"),
    ];
    fs::write(&cases, lines.join("\n")).unwrap();
    let check = |cases: &Path| {
        let templates = folder.path().to_str().unwrap();
        alone(
            folder.path(),
            &["textfsm", "check", "--cases", cases.to_str().unwrap(), "--templates", templates],
        )
    };
    let said = check(&cases);
    let mut tally: Value = serde_json::from_str(&said.out).unwrap();
    for figure in ["cpu_s", "cold_cpu_s"] {
        assert!(tally[figure].take().as_f64().is_some());
    }
    expect![[r#"
        1 {
          "cases": 3,
          "passed": 1,
          "cpu_s": null,
          "cold_cpu_s": null,
          "failed": [
            {
              "line": 2,
              "platform": "demo_os",
              "command": "show port",
              "template": "port.textfsm",
              "status": "parsed",
              "error": "record 1: {\"vlans\":[],\"state\":\"down\",\"port\":\"a\"} is expected, not {\"port\":\"a\",\"state\":\"up\",\"vlans\":[]}"
            },
            {
              "line": 3,
              "platform": "demo_os",
              "command": "show port",
              "template": "port.textfsm",
              "status": "template_error",
              "error": "port.textfsm: the template does not know line 1, \"what\": unknown"
            }
          ]
        }"#]].assert_eq(&format!("{} {tally:#}", said.code));

    fs::write(&cases, "{\"platform\": 1}\n").unwrap();
    let said = check(&cases);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("line 1: invalid type: integer `1`, expected a string"), "{said:?}");
    fs::write(&cases, "\n").unwrap();
    assert!(check(&cases).err.contains("there is no case in it"));
}

#[test]
fn every_template_of_the_package_compiles() {
    let Some(folder) = beds::place("ntc_templates") else { return };
    let mut templates = 0;
    for file in fs::read_dir(Path::new(&folder).join("templates")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|end| end == "textfsm") {
            let text = fs::read_to_string(&path).unwrap();
            let checked = Template::parse(&text).and_then(|template| template.check());
            assert_eq!(checked, Ok(()), "{}", path.display());
            templates += 1;
        }
    }
    assert!(templates > 900, "{templates} templates were found in {folder}");
}

/// What Python's own engine makes of the cases: the lines that it fails.
const PYTHON: &str = r#"
import json, sys
from ntc_templates.parse import parse_output

failed = []
for at, line in enumerate(open(sys.argv[1]), 1):
    case = json.loads(line)
    try:
        records = parse_output(case["platform"], case["command"], case["raw"])
    except Exception:
        records = None
    if records != case["expected"]:
        failed.append(at)
print(json.dumps(failed))
"#;

/// The package is newer than some of the cases: what its templates give on Python is the measure then.
#[test]
fn every_recorded_output_gives_the_records_that_python_gives() {
    let (Some(templates), Some(mut python)) = (beds::place("ntc_templates"), beds::program("python")) else {
        return;
    };
    let Some(cases) = testkit::corpus("textfsm-cases.jsonl") else { return };
    let home = tempfile::tempdir().unwrap();
    let theirs = python.args(["-c", PYTHON]).arg(&cases).stdout(Stdio::piped()).spawn().unwrap();
    let said = alone(
        home.path(),
        &["textfsm", "check", "--cases", cases.to_str().unwrap(), "--templates", &templates],
    );
    let tally: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    let ours: Vec<Value> =
        tally["failed"].as_array().unwrap().iter().map(|case| case["line"].clone()).collect();
    let theirs = theirs.wait_with_output().unwrap();
    assert!(theirs.status.success());
    let theirs: Vec<Value> = serde_json::from_slice(&theirs.stdout).unwrap();
    assert_eq!(ours, theirs, "{:#}", tally["failed"]);
    assert!(theirs.len() < 10 && tally["cases"].as_u64().unwrap() > 900, "{tally}");
}
