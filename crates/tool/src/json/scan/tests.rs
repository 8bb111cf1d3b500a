use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::{check as check_raw, *};

fn raw(text: &str) -> &RawValue {
    serde_json::from_str(text).unwrap()
}

fn lines(found: Result<Vec<Member<'_>>, JsonError>) -> String {
    match found {
        Ok(members) => members.iter().map(|m| format!("{} = {} | {}\n", m.name, m.value, m.text)).collect(),
        Err(error) => format!("{error}\n"),
    }
}

#[test]
fn members_as_they_stand() {
    let check = |text: &str, expected: Expect| {
        let shallow = lines(shallow_members(raw(text)));
        assert_eq!(shallow, lines(checked_members(raw(text))), "{text}");
        expected.assert_eq(&shallow);
    };
    check("{}", expect![""]);
    check("{ }", expect![""]);
    check(
        r#"{ "a" : 18446744073709551616 ,"b":[ 1, {"c":"]}\""} ],"\u0063": null , "d":-1.5e+3}"#,
        expect![[r#"
            a = 18446744073709551616 | "a" : 18446744073709551616
            b = [ 1, {"c":"]}\""} ] | "b":[ 1, {"c":"]}\""} ]
            c = null | "\u0063": null
            d = -1.5e+3 | "d":-1.5e+3
        "#]],
    );
    check(
        "[1]",
        expect![[r#"
        not a JSON object
    "#]],
    );
    check(
        r#""{}""#,
        expect![[r#"
        not a JSON object
    "#]],
    );
    check(
        r#"{"a":1,"b":2,"\u0061":3}"#,
        expect![[r#"
        the name "a" stands twice in one object
    "#]],
    );
}

#[test]
fn what_is_refused_at_any_depth() {
    let check = |text: &str, expected: Expect| {
        let shown = check_raw(raw(text)).map_or_else(|error| error.to_string(), |()| "fine".to_owned());
        expected.assert_eq(&shown);
    };
    check(r#"[{"a":{"a":{"a":1}}},{"a":1}]"#, expect!["fine"]);
    check(r#"[{"x":[{"a":1,"a":2}]}]"#, expect![[r#"the name "a" stands twice in one object"#]]);
    check(
        r#"{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":{},"\u0065":1}"#,
        expect![[r#"the name "e" stands twice in one object"#]],
    );
    check(r#"{"a":"\ud83d\ude00 \\ud800 \n"}"#, expect!["fine"]);
    check(r#"{"a":["\ud800"]}"#, expect!["half a surrogate pair is not text"]);
    check(r#"{"a":["\ud800\ud800"]}"#, expect!["half a surrogate pair is not text"]);
    check(r#"{"a":["\udc00"]}"#, expect!["half a surrogate pair is not text"]);
    check(r#"{"a":{"\ud800":1}}"#, expect!["half a surrogate pair is not text"]);
    check(&format!("{}{}", "[".repeat(64), "]".repeat(64)), expect!["fine"]);
    check(&format!("{}{}", "[".repeat(65), "]".repeat(65)), expect!["nested deeper than 64 levels"]);
    check(
        &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        expect!["nested deeper than 64 levels"],
    );
    check(&format!("{}1{}", r#"{"a":"#.repeat(64), "}".repeat(64)), expect!["fine"]);
    check(&format!("{}1{}", r#"{"a":"#.repeat(65), "}".repeat(65)), expect!["nested deeper than 64 levels"]);
}

#[test]
fn a_first_look() {
    let check = |text: &str, expected: Expect| {
        let mut shown = String::new();
        let found = first_look(text, Some("p"), |name, value, members| {
            shown += &format!("{name} = {} | {:?}\n", value.get(), members.map(|members| lines(Ok(members))));
        });
        expected.assert_eq(&found.map_or_else(|| "nothing\n".to_owned(), |()| shown));
    };
    check(
        " { \"a\" : [ 1, {\"x\":{}} , [ ] ] , \"p\":{\"q\":1.5e-3,\"r\" : {\"p\":{}}}, \"p\":7,\"\\u0070\":{} }\n",
        expect![[r#"
            a = [ 1, {"x":{}} , [ ] ] | None
            p = {"q":1.5e-3,"r" : {"p":{}}} | Some("q = 1.5e-3 | \"q\":1.5e-3\nr = {\"p\":{}} | \"r\" : {\"p\":{}}\n")
            p = 7 | None
            p = {} | Some("")
        "#]],
    );
    check("{}", expect![""]);
    let nothing = || expect!["nothing\n"];
    for text in [
        "",
        "[]",
        "{} {}",
        r#"{"p":{"a":{"b":1,"b":2}}}"#,
        r#"{"a":[1,]}"#,
        r#"{"a":[1}"#,
        r#"{"a":01}"#,
        "{\"a\":\"\n\"}",
    ] {
        check(text, nothing());
    }
    check(&format!("{{\"a\":{}{}}}", "[".repeat(65), "]".repeat(65)), nothing());
}

#[test]
fn members_count_as_a_level() {
    let nested = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    assert!(checked_members(raw(&nested(64))).is_ok());
    assert!(checked_members(raw(&nested(65))).is_err());
    assert!(shallow_members(raw(&nested(100_000))).is_ok());
}

#[test]
fn many_names_do_not_take_long() {
    let members: Vec<String> = (0..100_000).map(|n| format!(r#""{n}":{n}"#)).collect();
    let text = format!("{{{}}}", members.join(","));
    assert_eq!(checked_members(raw(&text)).unwrap().len(), 100_000);
}

proptest! {
    #[test]
    fn agrees_with_the_parser(text in r#"[\[\]{}:,"ab1\\u]{0,24}"#) {
        if let Ok(raw) = serde_json::from_str::<&RawValue>(&text) {
            prop_assert_eq!(check(raw).is_ok(), super::super::parse(text.as_bytes()).is_ok(), "{}", text);
            let _ = (checked_members(raw), shallow_members(raw));
        }
    }

    #[test]
    fn a_first_look_takes_what_the_grammar_takes(text in r#"[ \n\[\]{}:,"ab01.eE+\-\\untrfalse\x01]{0,12}"#, whole in any::<bool>()) {
        let text = if whole { text } else { format!(r#"{{"a":{text}}}"#) };
        let known: Result<&RawValue, _> = serde_json::from_str(&text);
        let is_object = known.is_ok_and(|raw| raw.get().starts_with('{'));
        let mut taken = Vec::new();
        let found = first_look(&text, None, |name, value, _| taken.push((name, value.get())));
        // A name with half a pair is no text.
        prop_assert!(found.is_none() || is_object, "{}", text);
        prop_assert!(found.is_some() || !is_object || text.contains("\\u"), "{}", text);
        if found.is_some()
            && let Ok(members) = shallow_members(raw(&text))
        {
            let members: Vec<_> = members.into_iter().map(|member| (member.name, member.value)).collect();
            prop_assert_eq!(taken, members);
        }
    }

    #[test]
    fn agrees_with_the_parser_about_names(names in prop::collection::vec("[ab]{1,2}", 0..14), deep in any::<bool>()) {
        let members: Vec<String> = names.iter().map(|name| format!("{name:?} : [1]")).collect();
        let object = format!("{{{}}}", members.join(" , "));
        let text = if deep { format!(r#"{{"x":[{object}]}}"#) } else { object };
        prop_assert_eq!(checked_members(raw(&text)).is_ok(), super::super::parse(text.as_bytes()).is_ok());
    }
}
