use expect_test::{Expect, expect};
use serde_json::{Value, json};
use tool::ProbeState;

use super::{Place, open};
use crate::Config;

#[test]
fn the_tools_and_what_they_take() {
    let place = Place::new(|config| config.writable = true);
    let mut lines = String::new();
    for tool in place.provider.tools().iter() {
        lines += &format!(
            "{} {:?} {:?} {:?} {:?} {:?}\n  in  {}\n  out {}\n",
            tool.name,
            tool.aliases,
            tool.effect,
            tool.approval,
            tool.time_max,
            tool.bytes_max,
            members(&tool.input),
            members(tool.output.as_ref().unwrap()),
        );
    }
    expect![[r##"
        fs_read_text ["fs.read_text"] Reads NotNeeded 10s 2101248
          in  required=["path"] extra=false {"path":{"type":"string","maxLength":255,"minLength":1},"offset":{"type":"integer","minimum":0,"default":0},"limit":{"type":"integer","minimum":4,"default":1048576,"maximum":1048576}}
          out required=["text","path","offset","bytes","total_bytes","truncated"] extra=null {"text":{"type":"string"},"path":{"type":"string"},"offset":{"type":"integer","minimum":0},"bytes":{"type":"integer","minimum":0},"total_bytes":{"type":"integer","minimum":0},"truncated":{"type":"boolean"},"next_offset":{"type":"integer","minimum":0}}
        fs_list ["fs.list"] Reads NotNeeded 10s 1048576
          in  required=null extra=false {"path":{"type":"string","maxLength":255,"minLength":1,"default":"."},"recursive":{"type":"boolean","default":false},"limit":{"type":"integer","minimum":1,"default":1000,"maximum":1000},"after":{"type":"string","maxLength":255,"minLength":1}}
          out required=["path","entries","truncated","skipped"] extra=null {"path":{"type":"string"},"entries":{"type":"array","items":{"$ref":"#/$defs/Entry"}},"truncated":{"type":"boolean"},"next":{"type":["string","null"]},"skipped":{"type":"integer","minimum":0}}
        fs_search ["fs.search"] Reads NotNeeded 10s 1048576
          in  required=["query"] extra=false {"query":{"type":"string","maxLength":1000,"minLength":1},"path":{"type":"string","maxLength":255,"minLength":1,"default":"."},"glob":{"type":"string","maxLength":255,"minLength":1},"regex":{"type":"boolean","default":false},"limit":{"type":"integer","minimum":1,"default":100,"maximum":1000},"after":{"type":"string","maxLength":297,"minLength":1}}
          out required=["matches","files_searched","files_skipped","folders_skipped","truncated"] extra=null {"matches":{"type":"array","items":{"$ref":"#/$defs/Match"}},"files_searched":{"type":"integer","minimum":0},"files_skipped":{"type":"integer","minimum":0},"folders_skipped":{"type":"integer","minimum":0},"truncated":{"type":"boolean"},"next":{"type":["string","null"]}}
        fs_write_text ["fs.write_text"] Changes Needed 10s 1048576
          in  required=["path","text"] extra=false {"path":{"type":"string","maxLength":255,"minLength":1},"text":{"type":"string","maxLength":262144},"create_parents":{"type":"boolean","default":false}}
          out required=["path","bytes","digest","created"] extra=null {"path":{"type":"string"},"bytes":{"type":"integer","minimum":0},"digest":{"type":"string"},"created":{"type":"boolean"}}
    "##]].assert_eq(&lines);
    let read_only = Place::new(|_| {});
    assert_eq!(read_only.provider.tools().len(), 3);
}

/// The members of a schema, less their descriptions.
fn members(schema: &Value) -> String {
    let mut members = schema["properties"].clone();
    for member in members.as_object_mut().unwrap().values_mut() {
        member.as_object_mut().unwrap().remove("description").expect("every member says what it is");
    }
    format!("required={} extra={} {members}", schema["required"], schema["additionalProperties"])
}

#[test]
fn every_example_fits_its_tool() {
    let place = Place::new(|config| config.writable = true);
    for tool in place.provider.tools().iter() {
        assert!(!tool.examples.is_empty());
        for example in &tool.examples {
            let mut arguments = example.clone();
            assert!(place.provider.target(tool, &mut arguments).unwrap().starts_with("files:"));
            for name in example.as_object().unwrap().keys() {
                assert!(tool.input["properties"].get(name).is_some(), "{} {name}", tool.name);
            }
        }
    }
}

#[test]
fn a_target_is_a_normal_path_and_the_arguments_follow_it() {
    let place = Place::new(|_| {});
    let target = |name: &str, mut arguments: Value| {
        let tools = place.provider.tools();
        let tool = tools.iter().find(|tool| tool.name.as_str() == name).unwrap();
        match place.provider.target(tool, &mut arguments) {
            Ok(target) => format!("{target} {arguments}"),
            Err(fault) => format!("{:?} {}", fault.code, fault.pointer.unwrap()),
        }
    };
    let root = place.root();
    let absolute = root.join("notes//./todo.txt");
    for (name, arguments, expected) in [
        ("fs_read_text", json!({"path": "./a//b"}), r#"files:a/b {"path":"a/b"}"#),
        ("fs_read_text", json!({"path": absolute}), r#"files:notes/todo.txt {"path":"notes/todo.txt"}"#),
        ("fs_read_text", json!({"path": root}), r#"files:. {"path":"."}"#),
        ("fs_read_text", json!({"path": "../a"}), "Denied /path"),
        ("fs_read_text", json!({"path": 7}), "BadArguments /path"),
        ("fs_list", json!({}), "files:. {}"),
        ("fs_list", json!({"path": "a/", "after": "a/./b"}), r#"files:a {"path":"a","after":"a/b"}"#),
        ("fs_list", json!({"after": "/etc"}), "Denied /after"),
        ("fs_list", json!([]), "BadArguments "),
    ] {
        assert_eq!(target(name, arguments.clone()), expected, "{name} {arguments}");
    }
}

fn check(config: Value, expected: Expect) {
    let shown = match serde_json::from_value::<Config>(config) {
        Ok(config) => config.check().iter().map(|fault| format!("{fault}\n")).collect(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&shown);
}

#[test]
fn the_section_is_checked() {
    check(json!({"root": "data"}), expect![""]);
    check(json!({}), expect!["missing field `root`"]);
    check(
        json!({"root": "data", "byte_max": 1}),
        expect![
            "unknown field `byte_max`, expected one of `root`, `create`, `writable`, `symlinks`, `hard_links`, `hidden`, `exclude`, `path_chars_max`, `bytes_max`, `entries_max`, `scan_entries_max`, `depth_max`, `search_bytes_max`, `search_files_max`, `search_matches_max`, `search_line_chars_max`, `write_bytes_max`, `diff_bytes_max`, `timeout_ms`, `concurrent_max`"
        ],
    );
    check(
        json!({"root": "data", "symlinks": "follow"}),
        expect!["unknown variant `follow`, expected `refuse` or `beneath`"],
    );
    check(
        json!({"root": "/", "exclude": ["ok", "[a"], "bytes_max": 3, "timeout_ms": 0}),
        expect![[r#"
        /files/root: the whole file system is no folder to serve (name the one folder that callers need)
        /files/exclude/1: "[a" is not a glob: unclosed character class; missing ']'
        /files/bytes_max: 3 is out of bounds; expected 4 to 268435456
        /files/timeout_ms: 0 is out of bounds; expected 1 to 600000
    "#]],
    );
    check(
        json!({"root": "", "path_chars_max": 4097, "write_bytes_max": 16_777_217}),
        expect![[r#"
        /files/root: the folder has no name
        /files/path_chars_max: 4097 is out of bounds; expected 1 to 4096
        /files/write_bytes_max: 16777217 is out of bounds; expected 1 to 16777216
    "#]],
    );
    check(
        json!({"root": "///"}),
        expect![[r#"
        /files/root: the whole file system is no folder to serve (name the one folder that callers need)
    "#]],
    );
}

#[test]
fn the_schema_and_the_check_know_the_same_bounds() {
    let schema = schemars::schema_for!(Config).to_value();
    let properties = schema["properties"].as_object().unwrap();
    for (name, property) in properties {
        assert!(property["description"].is_string(), "{name}");
        assert!(name == "root" || property.get("default").is_some(), "{name} shows its default");
        if !name.ends_with("_max") && !name.ends_with("_ms") {
            continue;
        }
        let min = property["minimum"].as_u64().unwrap();
        let fails = |value: u64| {
            let config: Config = serde_json::from_value(json!({"root": "x", (name): value})).unwrap();
            config.check().iter().any(|fault| fault.pointer == format!("/files/{name}"))
        };
        assert!(fails(min - 1) && !fails(min), "{name}");
        if let Some(max) = property["maximum"].as_u64() {
            assert!(!fails(max) && fails(max + 1), "{name}");
        }
    }
}

#[test]
fn the_environment_makes_the_usual_section() {
    let config = Config::of_environment("/app/readonly", Some(4096));
    assert_eq!((config.bytes_max, config.writable, config.path_chars_max), (4096, false, 255));
    assert_eq!(Config::of_environment("/app/readonly", None).bytes_max, 1_048_576);
    let from_file: Config = serde_json::from_value(json!({"root": "/app/readonly"})).unwrap();
    assert_eq!(format!("{from_file:?}"), format!("{:?}", Config::of_folder("/app/readonly")));
}

#[test]
fn a_root_that_is_not_there_is_a_fault_or_is_made() {
    let all = tempfile::tempdir().unwrap();
    let mut config = Config::of_folder("new/root");
    let parts = testkit::parts(all.path());
    let faults = crate::open(&config, &parts).err().unwrap();
    assert_eq!(faults[0].pointer, "/files/root");
    assert!(faults[0].to_string().contains("create: true"), "{}", faults[0]);
    config.create = true;
    assert!(crate::open(&config, &parts).is_ok());
    std::fs::write(all.path().join("file"), "").unwrap();
    assert!(crate::open(&Config::of_folder("file"), &parts).is_err());
}

#[tokio::test]
async fn a_probe_says_when_the_folder_is_gone() {
    let place = Place::new(|_| {});
    let probe = place.provider.probe().await.remove(0);
    assert_eq!((probe.state, &*probe.source, probe.kind), (ProbeState::Healthy, "files", "files"));
    assert!(probe.details["bytes_free"].as_u64().unwrap() > 0);
    std::fs::rename(place.root(), place.all.path().join("moved")).unwrap();
    let probe = place.provider.probe().await.remove(0);
    assert_eq!(probe.state, ProbeState::Degraded);
    std::fs::create_dir(place.root()).unwrap();
    assert_eq!(place.provider.probe().await.remove(0).state, ProbeState::Degraded);
    let again = open(place.all.path(), |_| {});
    assert_eq!(again.probe().await.remove(0).state, ProbeState::Healthy);
}
