use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn read_in(pieces: &[&[u8]], event_bytes_max: usize) -> Vec<Item> {
    let mut reader = Reader::new(event_bytes_max);
    let mut items = Vec::new();
    for piece in pieces {
        reader.feed(piece);
        items.extend(std::iter::from_fn(|| reader.pop()));
    }
    items
}

fn check(text: &str, expected: Expect) {
    let shown: String = read_in(&[text.as_bytes()], 1_000)
        .into_iter()
        .map(|item| match item {
            Item::Event(Event { kind, id, data }) => {
                let id = id.map_or(String::new(), |id| format!(" #{}", id.as_str()));
                format!("{kind}{id}: {:?}\n", String::from_utf8_lossy(&data))
            }
            other => format!("{other:?}\n"),
        })
        .collect();
    expected.assert_eq(&shown);
}

#[test]
fn events() {
    check(
        "data: a\n\ndata:b\r\n\r\ndata:  c\r\r",
        expect![[r#"
        message: "a"
        message: "b"
        message: " c"
    "#]],
    );
    check(
        "data: a\ndata\ndata: b\n\n",
        expect![[r#"
        message: "a\n\nb"
    "#]],
    );
    check(
        "\u{feff}data: a\n\n\u{feff}data: b\n\n",
        expect![[r#"
        message: "a"
    "#]],
    );
    check(
        "event: x\ndata: a\n\ndata: b\n\nevent:\ndata: c\n\n",
        expect![[r#"
        x: "a"
        message: "b"
        message: "c"
    "#]],
    );
    check(
        ": comment\n\n:\n\nevent: x\n\n\n\ndata: a\n\n",
        expect![[r#"
        message: "a"
    "#]],
    );
    check(
        "data\n\ndata\ndata\n\ndata:",
        expect![[r#"
        message: ""
        message: "\n"
    "#]],
    );
    check("data: cut off\n", expect![""]);
    check("datum: x\n data: y\nDATA: z\n\n", expect![""]);
    check(
        "data: a:b: c\n\n",
        expect![[r#"
        message: "a:b: c"
    "#]],
    );
}

#[test]
fn ids_and_waits() {
    check(
        "id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\nid: x\0y\ndata: d\n\n",
        expect![[r#"
        message #1: "a"
        message #1: "b"
        message #: "c"
        message #: "d"
    "#]],
    );
    check(
        "retry: 1500\nretry: 1x\nretry: -1\nretry:\nretry: 99999999999999999999\n\n",
        expect!["Retry(1500)\n"],
    );
    let mut reader = Reader::new(100);
    reader.feed(b"id: 7\n\n");
    assert_eq!((reader.pop(), reader.last_id().map(EventId::as_str)), (None, Some("7")));
}

#[test]
fn bounds_at_their_edge() {
    let event = |length: usize| format!("data: {}\n\n", "x".repeat(length - "data: ".len()));
    let count = |text: &str| {
        read_in(&[text.as_bytes()], 40).into_iter().filter(|item| *item != Item::TooLarge).count()
    };
    assert_eq!(count(&event(40)), 1);
    assert_eq!(count(&event(41)), 0);
    let many = "data: xxxxxxxxx\n".repeat(4) + "\n";
    assert_eq!(read_in(&[many.as_bytes()], 40), [Item::TooLarge]);
    let after = format!("{}data: y\n\n", event(10_000));
    let items = read_in(&[after.as_bytes()], 40);
    assert_eq!(items.len(), 2, "the next event is read: {items:?}");
    let endless = [b'x'; 1_000];
    let mut reader = Reader::new(40);
    for _ in 0..1_000 {
        reader.feed(&endless);
    }
    assert_eq!((reader.pop(), reader.pop()), (Some(Item::TooLarge), None));
    assert!(reader.line.capacity() <= 40);
}

#[test]
fn what_is_written() {
    let mut out = Vec::new();
    let id = EventId::new("s1-7").unwrap();
    write_priming(&mut out, &id, Some(3_000));
    write_comment(&mut out, "still here");
    write_message(&mut out, None, br#"{"a":1}"#);
    write_message(&mut out, Some(&id), b"{\n\"a\":\r\n1\r}");
    write_retry(&mut out, 500);
    expect![[r#"
        id: s1-7
        retry: 3000
        data: 

        : still here

        event: message
        data: {"a":1}

        event: message
        id: s1-7
        data: {
        data: "a":
        data: 1
        data: }

        retry: 500

    "#]]
    .assert_eq(std::str::from_utf8(&out).unwrap());
    assert_eq!(EventId::new("a\nb"), None);
    assert_eq!(EventId::new("a\0"), None);
}

/// The rules word for word, for a whole stream at once.
fn by_the_book(stream: &[u8]) -> Vec<(String, Option<String>, Vec<u8>)> {
    let text = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let mut lines: Vec<&[u8]> = lines_of(text).collect();
    lines.pop();
    let (mut events, mut kind, mut data, mut id) = (Vec::new(), String::new(), Vec::new(), None);
    for line in lines {
        if line.is_empty() {
            if !data.is_empty() {
                data.pop();
                let kind = if kind.is_empty() { "message".to_owned() } else { kind.clone() };
                events.push((kind, id.clone(), std::mem::take(&mut data)));
            }
            kind.clear();
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"data" => {
                data.extend_from_slice(value);
                data.push(b'\n');
            }
            b"event" => kind = String::from_utf8_lossy(value).into_owned(),
            b"id" if !value.contains(&0) => id = Some(String::from_utf8_lossy(value).into_owned()),
            _ => {}
        }
    }
    events
}

prop_compose! {
    fn streams()(parts in prop::collection::vec(prop::sample::select(vec![
        "data: a", "data:", "data", "event: x", "event", "id: 1", "id", "id:\u{0}", "retry: 5", ":", "x", "\u{feff}", " ", "é", "\n", "\r", "\r\n", "\n\n", "\r\r",
    ]), 0..30)) -> Vec<u8> {
        parts.concat().into_bytes()
    }
}

proptest! {
    #[test]
    fn pieces_do_not_matter(stream in streams(), cuts in prop::collection::vec(0_usize..200, 0..8), max in 0_usize..30) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
        cuts.sort_unstable();
        cuts.push(stream.len());
        let mut from = 0;
        let pieces: Vec<&[u8]> = cuts.into_iter().map(|cut| {
            let piece = &stream[from..cut];
            from = cut;
            piece
        }).collect();
        prop_assert_eq!(read_in(&pieces, 1_000), read_in(&[&stream], 1_000));
        prop_assert_eq!(read_in(&pieces, max), read_in(&[&stream], max));
    }

    #[test]
    fn reads_by_the_book(stream in streams()) {
        let read: Vec<_> = read_in(&[&stream], 1_000).into_iter().filter_map(|item| match item {
            Item::Event(event) => Some((event.kind.to_string(), event.id.map(|id| id.as_str().to_owned()), event.data.to_vec())),
            _ => None,
        }).collect();
        prop_assert_eq!(read, by_the_book(&stream));
    }

    #[test]
    fn what_is_written_is_read_back(text in "\\PC{0,40}", id in prop::option::of("[a-z0-9]{1,8}")) {
        let mut out = Vec::new();
        let id = id.and_then(|id| EventId::new(&id));
        write_message(&mut out, id.as_ref(), text.as_bytes());
        let event = Event { kind: "message".into(), id, data: text.into_bytes().into() };
        prop_assert_eq!(read_in(&[&out], 1_000), vec![Item::Event(event)]);
    }
}
