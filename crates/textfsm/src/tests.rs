use std::fmt::Write as _;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use crate::{Library, Limits, Status, Style, Template, pattern::translate};

/// What a template makes of a text, a record a line; or the error.
fn check(template: &str, text: &str, expected: Expect) {
    expected.assert_eq(&shown(template, text, &Limits::default()));
}

fn shown(template: &str, text: &str, limits: &Limits) -> String {
    let template = match Template::parse(template) {
        Ok(template) => template,
        Err(error) => return format!("template: {error}"),
    };
    match template.run(text, limits) {
        Ok(table) => {
            let mut shown = String::new();
            for style in [Style::Plain, Style::CliTable] {
                let records = serde_json::to_value(table.records(style)).unwrap();
                let lines: Vec<String> =
                    records.as_array().unwrap().iter().map(ToString::to_string).collect();
                let lines = lines.join("\n");
                if lines != shown.trim_end() {
                    _ = writeln!(shown, "{lines}");
                }
            }
            match table.lines_unmatched {
                0 => shown,
                unmatched => format!("{shown}{unmatched} unmatched\n"),
            }
        }
        Err(error) => format!("error: {error}"),
    }
}

const INTERFACES: &str = "Value Required NAME (\\S+)
Value STATE (up|down)

Start
  ^${NAME}\\s+is\\s+${STATE} -> Record
";

#[test]
fn a_rule_that_records_makes_a_record() {
    let text = "eth0 is up\n\nnoise\neth1 is down\n";
    check(
        INTERFACES,
        text,
        expect![[r#"
            {"name":"eth0","state":"up"}
            {"name":"eth1","state":"down"}
            1 unmatched
        "#]],
    );
}

#[test]
fn the_last_record_is_taken_at_the_end_unless_the_template_has_a_state_eof() {
    let template = "Value A (\\d+)\n\nStart\n  ^${A}\n";
    check(
        template,
        "1\n2",
        expect![[r#"
            {"a":"2"}
        "#]],
    );
    check(&format!("{template}\nEOF\n"), "1\n2", expect![""]);
    check("Value A (\\d+)\n\nStart\n  ^${A} -> End\n", "1\n2", expect![""]);
}

#[test]
fn values_fill_down_and_up() {
    let template = "Value Filldown SLOT (\\d+)\nValue Fillup VRF (\\S+)\nValue Required PORT (\\S+)\n\nStart\n  \
                    ^slot ${SLOT}\n  ^port ${PORT} -> Record\n  ^vrf ${VRF}\n  ^reset -> Clearall\n";
    check(
        template,
        "slot 1\nport a\nport b\nvrf red\nport c\nreset\nport d",
        expect![[r#"
            {"slot":"1","vrf":"red","port":"a"}
            {"slot":"1","vrf":"red","port":"b"}
            {"slot":"1","vrf":"red","port":"c"}
            {"slot":"","vrf":"","port":"d"}
        "#]],
    );
}

#[test]
fn lists_collect_and_their_groups_are_kept() {
    let template = "Value NAME (\\S+)\nValue List VLANS (\\d+)\nValue List PEERS ((?P<ip>[\\d.]+)(/(?P<len>\\d+))?)\n\n\
                    Start\n  ^name ${NAME}\n  ^vlan (${VLANS}|none)\n  ^peer ${PEERS}\n  ^end -> Record\n";
    check(
        template,
        "name it's\nvlan 1\nvlan none\nvlan 3\npeer 10.0.0.1/24\npeer 10.0.0.2\nend\n",
        expect![[r#"
            {"name":"it's","vlans":["1",null,"3"],"peers":[{"ip":"10.0.0.1","len":"24"},{"ip":"10.0.0.2","len":null}]}
            {"name":"it's","vlans":["1","None","3"],"peers":["{'ip': '10.0.0.1', 'len': '24'}","{'ip': '10.0.0.2', 'len': None}"]}
        "#]],
    );
}

#[test]
fn a_line_goes_on_through_the_rules_of_its_state() {
    let template = "Value List ALL (\\w)\nValue Required K (\\w+)\n\nStart\n  ^${ALL} -> Continue\n  ^\\w${ALL} -> \
                    Continue\n  ^key ${K} -> Next.Record Other\n\nOther\n  ^back -> Start\n  ^. -> Error \"who is this\"\n";
    check(
        template,
        "key x\nback\nkey y\n",
        expect![[r#"
            {"all":["k","e"],"k":"x"}
            {"all":["k","e"],"k":"y"}
        "#]],
    );
    check(
        template,
        "key x\nstranger",
        expect![[r#"error: the template does not know line 2, "stranger": who is this"#]],
    );
}

#[test]
fn a_record_without_what_is_required_is_left_out() {
    check(
        "Value Required A (\\d*)\nValue B (\\w+)\n\nStart\n  ^${A}:${B} -> Record\n",
        "1:x\n:y\n3:z",
        expect![[r#"
            {"a":"1","b":"x"}
            {"a":"3","b":"z"}
        "#]],
    );
}

#[test]
fn what_a_list_requires_depends_on_which_option_is_first() {
    let record = "\n\nStart\n  ^a(${A}|none) -> Continue\n  ^.*! -> Record\n\nEOF\n";
    let text = "a1\nanone!\n!\na2!\n";
    for (options, expected) in [
        (
            "Required,List",
            expect![[r#"
        {"a":["2"]}
    "#]],
        ),
        (
            "List,Required",
            expect![[r#"
        {"a":["1",null]}
        {"a":["2"]}
        {"a":["1","None"]}
        {"a":["2"]}
    "#]],
        ),
    ] {
        check(&format!("Value {options} A (\\d){record}"), text, expected);
    }
}

#[test]
fn lines_end_where_python_has_them_end() {
    check(
        "Value A (\\w+)\n\nStart\n  ^${A}$$ -> Record\n",
        "a\rb\r\nc\u{b}d\u{2028}e\n\nf",
        expect![[r#"
            {"a":"a"}
            {"a":"b"}
            {"a":"c"}
            {"a":"d"}
            {"a":"e"}
            {"a":"f"}
        "#]],
    );
}

#[test]
fn what_is_wrong_with_a_template_is_said_with_its_line() {
    let wrong = [
        "",
        "Value A\n\nStart\n",
        "Value A \\d+\n\nStart\n",
        "Value Odd A (x)\n\nStart\n",
        "Value A,B (x)\n\nStart\n",
        "Value A (x)\nValue A (x)\n\nStart\n",
        "Value A (x)\nStart\n",
        "Value A (x)\n\nBegin\n  ^x\n",
        "Value A (x)\n\nStart\n^x\n",
        "Value A (x)\n\nStart\n  ^$x\n",
        "Value A (x)\n\nStart\n  ^x$\n",
        "Value A (x)\n\nStart\n  ^x -> Nowhere\n",
        "Value A (x)\n\nStart\n  ^x -> Next.Sing\n",
        "Value A (x)\n\nStart\n  ^x -> Continue Other\n\nOther\n",
        "Value A (x)\n\nStart\n  ^x -> a b c\n",
        "Value A (x)\n\nStart\n  ^x\n\nStart\n  ^x\n",
        "Value A (x)\n\nStart\n  ^x\n\nEnd\n  ^x\n",
        "Value A (x)\n\nRecord\n  ^x\n",
        "Value A (x)\n\nStart\n  ^(x\n",
        "Value A (x)\n\nStart\n  ^x\\q\n",
        "Value A (x)\n\nStart\n  ^${A}${A}\n",
    ];
    let mut said = String::new();
    for template in wrong {
        let parsed = Template::parse(template).and_then(|template| template.check());
        _ = writeln!(said, "{template:?}\n  {}", parsed.unwrap_err());
    }
    expect![[r#"
        ""
          line 0: there are no values
        "Value A\n\nStart\n"
          line 1: `Value [options] NAME (pattern)` is expected
        "Value A \\d+\n\nStart\n"
          line 1: `Value [options] NAME (pattern)` is expected
        "Value Odd A (x)\n\nStart\n"
          line 1: "Odd" is no option: Required, Filldown, Fillup, Key and List are
        "Value A,B (x)\n\nStart\n"
          line 1: "A,B" is no name: letters, digits and _ are
        "Value A (x)\nValue A (x)\n\nStart\n"
          line 2: the value A is there twice
        "Value A (x)\nStart\n"
          line 2: a blank line is expected after the last value
        "Value A (x)\n\nBegin\n  ^x\n"
          line 0: there is no state Start
        "Value A (x)\n\nStart\n^x\n"
          line 4: a rule begins with one or two blanks and `^`
        "Value A (x)\n\nStart\n  ^$x\n"
          line 4: there is no value x
        "Value A (x)\n\nStart\n  ^x$\n"
          line 4: `$` stands before the name of a value; `$$` is the end of the line
        "Value A (x)\n\nStart\n  ^x -> Nowhere\n"
          line 4: there is no state Nowhere
        "Value A (x)\n\nStart\n  ^x -> Next.Sing\n"
          line 4: `-> [Next|Continue|Error][.Record|.NoRecord|.Clear|.Clearall] [state]` is expected, not "Next.Sing"
        "Value A (x)\n\nStart\n  ^x -> Continue Other\n\nOther\n"
          line 4: `Continue` stays with the line and cannot lead to the state Other
        "Value A (x)\n\nStart\n  ^x -> a b c\n"
          line 4: `-> [Next|Continue|Error][.Record|.NoRecord|.Clear|.Clearall] [state]` is expected, not "a b c"
        "Value A (x)\n\nStart\n  ^x\n\nStart\n  ^x\n"
          line 7: the state Start is there twice
        "Value A (x)\n\nStart\n  ^x\n\nEnd\n  ^x\n"
          line 0: the state End has rules; nothing reaches them
        "Value A (x)\n\nRecord\n  ^x\n"
          line 3: "Record" is no name of a state: letters, digits and _ are
        "Value A (x)\n\nStart\n  ^(x\n"
          line 4: not a regular expression, a group is not closed: ^(x
        "Value A (x)\n\nStart\n  ^x\\q\n"
          line 4: not a regular expression, unknown escape \q: ^x\q
        "Value A (x)\n\nStart\n  ^${A}${A}\n"
          line 4: not a regular expression, duplicate capture group name: ^(?P<A>x)(?P<A>x)
    "#]].assert_eq(&said);
}

#[test]
fn patterns_of_python_are_translated() {
    let patterns = [
        r"\S+\s{2,}[\w\-.]+",
        r"a{,3}b{2}c{x}d{",
        r"[]a][^]a][[:alpha:]][a&&b][+-/][\w-]",
        r"\<a\>\-\_\/\ \#",
        r"(?P<n>x)(?i)y(?#z)",
        r"(?=x)*(?!y)?(?<=z){2}a",
        r"\x41\u00e9\0\07",
        r"a++b",
        r"\Aa\Z",
        r"(a)\1",
    ];
    let mut said = String::new();
    for pattern in patterns {
        let translated = translate(pattern).unwrap();
        let compiles = match translated.looks_around {
            true => fancy_regex::Regex::new(&translated.text).is_ok(),
            false => regex::Regex::new(&translated.text).is_ok(),
        };
        let around = if translated.looks_around { " (looks around)" } else { "" };
        assert!(compiles, "{pattern} became {}", translated.text);
        _ = writeln!(said, "{pattern}\n  {}{around}", translated.text);
    }
    expect![[r#"
        \S+\s{2,}[\w\-.]+
          \S+\s{2,}[\w\-.]+
        a{,3}b{2}c{x}d{
          a{0,3}b{2}c\{x\}d\{
        []a][^]a][[:alpha:]][a&&b][+-/][\w-]
          [\]a][^\]a][\[:alpha:]][a\&\&b][+-/][\w\-]
        \<a\>\-\_\/\ \#
          <a>\-\_\/\x20\#
        (?P<n>x)(?i)y(?#z)
          (?P<n>x)(?i)y
        (?=x)*(?!y)?(?<=z){2}a
          (?:)(?:)(?<=z)a (looks around)
        \x41\u00e9\0\07
          \x{41}\x{e9}\x{0}\x{7}
        a++b
          a++b (looks around)
        \Aa\Z
          \Aa\z
        (a)\1
          (a)\1(?:) (looks around)
    "#]]
    .assert_eq(&said);
}

#[test]
fn a_text_takes_no_more_than_it_may() {
    let usual = Limits::default();
    let limits = [
        Limits { text_bytes_max: 21, ..usual },
        Limits { text_bytes_max: 20, ..usual },
        Limits { steps_max: 2, ..usual },
        Limits { steps_max: 1, ..usual },
        Limits { records_max: 2, ..usual },
        Limits { records_max: 1, ..usual },
        Limits { record_bytes_max: 120, ..usual },
        Limits { record_bytes_max: 100, ..usual },
    ];
    let mut said = String::new();
    for limits in limits {
        let shown = shown(INTERFACES, "eth0 is up\neth1 is up", &limits);
        _ = writeln!(said, "{}", shown.lines().next().unwrap());
    }
    expect![[r#"
        {"name":"eth0","state":"up"}
        error: the text takes more than 20 bytes
        {"name":"eth0","state":"up"}
        error: the text takes more than 1 steps
        {"name":"eth0","state":"up"}
        error: the text takes more than 1 records
        {"name":"eth0","state":"up"}
        error: the text takes more than 100 bytes of records
    "#]]
    .assert_eq(&said);
}

#[test]
fn a_pattern_that_goes_back_and_forth_ends() {
    let template = "Value A (x)\n\nStart\n  ^(?!y)(a|a?)+b(?=c)${A} -> Record\n";
    check(
        template,
        &"a".repeat(4000),
        expect!["error: the rule in line 4 of the template takes too many steps for line 1"],
    );
}

/// A library of two templates that are merged, and one with an error.
const INDEX: &str = "# a comment
Template, Hostname, Platform, Command

name.textfsm:more.textfsm, .*, cisco_ios, sh[[ow]] int[[erfaces]]
broken.textfsm, .*, (hp|aruba)_procurve, show broken
../secret.textfsm, .*, cisco_ios, show secret
";
const TEMPLATES: &[(&str, &str)] = &[
    (
        "name.textfsm",
        "Value Key NAME (\\S+)\nValue STATE (up|down)\n\nStart\n  ^${NAME} is ${STATE} -> Record\n",
    ),
    ("more.textfsm", "Value NAME (\\S+)\nValue MTU (\\d+)\n\nStart\n  ^${NAME} has ${MTU} -> Record\n"),
    ("broken.textfsm", "Value A (x)\n\nStart\n  ^(\n"),
];

fn looked_up(library: &Library, platform: &str, command: &str) -> String {
    let parsed = library.parse(platform, command, "a is up\nb is down\nb has 1500\n", &Limits::default());
    let records = parsed.table.map(|table| serde_json::to_string(&table.records(Style::Plain)).unwrap());
    let notes = [parsed.words_unknown, parsed.error, records].into_iter().flatten().collect::<Vec<_>>();
    format!("{:?} {}", parsed.status, notes.join("; "))
}

#[test]
fn the_index_says_which_template_it_is() {
    let library = Library::of_texts(INDEX, TEMPLATES).unwrap();
    let mut said = String::new();
    let asked = [
        ("cisco_ios", "show interfaces"),
        ("cisco_ios", "sh int"),
        ("cisco_ios", "show interfaces vrf red"),
        ("cisco_ios", "sh"),
        ("cisco_xr", "show interfaces"),
        ("aruba_procurve", "show broken"),
        ("cisco_ios", "show secret"),
    ];
    for (platform, command) in asked {
        _ = writeln!(said, "{command} on {platform}: {}", looked_up(&library, platform, command));
    }
    expect![[r#"
        show interfaces on cisco_ios: Parsed [{"name":"a","state":"up","mtu":""},{"name":"b","state":"down","mtu":"1500"}]
        sh int on cisco_ios: Parsed [{"name":"a","state":"up","mtu":""},{"name":"b","state":"down","mtu":"1500"}]
        show interfaces vrf red on cisco_ios: Parsed vrf red; [{"name":"a","state":"up","mtu":""},{"name":"b","state":"down","mtu":"1500"}]
        sh on cisco_ios: NoTemplate no template is known for "sh" on cisco_ios
        show interfaces on cisco_xr: NoTemplate no template is known for "show interfaces" on cisco_xr
        show broken on aruba_procurve: TemplateError broken.textfsm, line 4: not a regular expression, a group is not closed: ^(
        show secret on cisco_ios: TemplateError ../secret.textfsm, line 0: there is no such template
    "#]].assert_eq(&said);
}

#[test]
fn a_folder_is_a_library_and_names_no_file_outside_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("ntc_templates/templates");
    std::fs::create_dir_all(&below).unwrap();
    std::fs::write(below.join("index"), INDEX).unwrap();
    std::fs::write(below.join("../secret.textfsm"), TEMPLATES[0].1).unwrap();
    for (name, text) in TEMPLATES {
        std::fs::write(below.join(name), text).unwrap();
    }
    let library = Library::open(folder.path()).unwrap();
    assert_eq!(library.len(), 3);
    let parsed = library.parse("cisco_ios", "show interfaces", "a is up\n", &Limits::default());
    assert_eq!(parsed.status, Status::Parsed);
    let secret = library.parse("cisco_ios", "show secret", "a is up\n", &Limits::default());
    assert_eq!(secret.status, Status::TemplateError);
    let error = Library::open(&folder.path().join("nothing")).unwrap_err().to_string();
    assert!(error.starts_with("there is no index of templates in "), "{error}");
}

proptest! {
    #[test]
    fn no_template_and_no_text_makes_it_panic(
        pattern in r"[\\()\[\]{}?*+|^$.<>=!:P,0-9a-z -]{0,24}",
        text in r"[ -~\n]{0,60}",
    ) {
        let template = format!("Value List A ({pattern})\n\nStart\n  ^{pattern} -> Continue\n  ^${{A}} -> Record\n");
        if let Ok(template) = Template::parse(&template) {
            let _ = template.check();
            let _ = template.run(&text, &Limits::default());
        }
    }
}
