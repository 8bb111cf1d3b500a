use std::time::Duration;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};
use state::{Artefact, Artefacts as _};
use tool::{Clock as _, Code, PrincipalKind};

use super::{Bed, check};

const HANDLE: &str = "art_00112233445566778899aabbccddeeff";

async fn keep(bed: &Bed, content: &[u8]) {
    let now = bed.clock.now();
    let artefact = Artefact {
        handle: HANDLE.to_owned(),
        principal: "root".to_owned(),
        tool: "sql_query".to_owned(),
        content: content.to_vec(),
        created_at: now,
        expires_at: now.after(Duration::from_secs(3_600)),
    };
    bed.store.put(&artefact).await.unwrap();
}

async fn check_read(content: &str, offset: u64, limit: u64, expected: Expect) {
    let bed = Bed::new().await;
    keep(&bed, content.as_bytes()).await;
    let arguments = json!({ "artefact": HANDLE, "offset": offset, "limit": limit });
    check(&bed.run("artefact_read", arguments).await.map(|shown| shown.to_string().into()), expected);
}

#[tokio::test]
async fn pieces_begin_and_end_between_characters() {
    check_read(
        "short",
        0,
        16,
        expect![[r#"{"text":"short","offset":0,"next_offset":null,"total_bytes":5}"#]],
    )
    .await;
    check_read(
        "0123456789abcdef",
        0,
        16,
        expect![[r#"{"text":"0123456789abcdef","offset":0,"next_offset":null,"total_bytes":16}"#]],
    )
    .await;
    check_read(
        "0123456789abcdefg",
        0,
        16,
        expect![[r#"{"text":"0123456789abcdef","offset":0,"next_offset":16,"total_bytes":17}"#]],
    )
    .await;
    check_read(
        "0123456789abcdefg",
        16,
        16,
        expect![[r#"{"text":"g","offset":16,"next_offset":null,"total_bytes":17}"#]],
    )
    .await;
    check_read(
        "0123456789abcdefg",
        17,
        16,
        expect![[r#"{"text":"","offset":17,"next_offset":null,"total_bytes":17}"#]],
    )
    .await;
    check_read(
        "0123456789abcdefg",
        18,
        16,
        expect![[r#"BadArguments at "/offset": the artefact has 17 bytes, and offset is beyond them"#]],
    )
    .await;
    check_read(
        "0123456789abcdeä",
        0,
        16,
        expect![[r#"{"text":"0123456789abcde","offset":0,"next_offset":15,"total_bytes":17}"#]],
    )
    .await;
    check_read(
        "0123456789abc👍!",
        0,
        16,
        expect![[r#"{"text":"0123456789abc","offset":0,"next_offset":13,"total_bytes":18}"#]],
    )
    .await;
    check_read("👍👍", 1, 16, expect![[r#"{"text":"👍","offset":4,"next_offset":null,"total_bytes":8}"#]])
        .await;
    check_read("", 0, 16, expect![[r#"{"text":"","offset":0,"next_offset":null,"total_bytes":0}"#]]).await;
}

#[tokio::test]
async fn another_principal_or_a_late_one_finds_nothing() {
    let bed = Bed::new().await;
    keep(&bed, b"mine").await;
    let read = json!({ "artefact": HANDLE });
    let other = bed.run_as("eve", PrincipalKind::Human, "artefact_read", read.clone()).await.unwrap_err();
    bed.clock.pass(Duration::from_secs(3_600));
    let late = bed.run("artefact_read", read).await.unwrap_err();
    assert_eq!((other.code, &other.text), (Code::NotFound, &late.text));
    expect![[r#"no artefact "art_00112233445566778899aabbccddeeff" of yours; it may have expired"#]]
        .assert_eq(&late.text);
}

#[tokio::test]
async fn the_largest_piece_fits_into_one_answer() {
    let bed = Bed::new().await;
    keep(&bed, &[0; 300_000]).await;
    let read = json!({ "artefact": HANDLE, "limit": u32::MAX });
    let shown = bed.run("artefact_read", read).await.unwrap();
    assert_eq!(shown["next_offset"], 256 * 1024);
    let tools = bed.room.tools();
    let tool = tools.iter().find(|tool| tool.name.as_str() == "artefact_read").unwrap();
    assert!(shown.to_string().len() <= tool.bytes_max, "a cut answer would be kept again, for ever");
}

/// Reads it as a resource.
async fn read(bed: &Bed, who: &str, uri: &str) -> Result<Value, tool::Fault> {
    let outcome = bed.run_as(who, PrincipalKind::Agent, "artefact_resource", json!({ "uri": uri })).await?;
    assert_eq!(outcome.shape, tool::Shape::Content);
    Ok(outcome.to_value())
}

async fn check_resource(content: &[u8], expected: Expect) {
    let bed = Bed::new().await;
    keep(&bed, content).await;
    let shown = read(&bed, "root", &format!("artefact:///{HANDLE}")).await;
    check(&shown.map(|shown| shown["contents"][0].to_string().into()), expected);
}

#[tokio::test]
async fn a_kept_result_is_a_resource_too() {
    check_resource(b"{\"n\":18446744073709551616}", expect![[r#"{"uri":"artefact:///art_00112233445566778899aabbccddeeff","mimeType":"application/json","text":"{\"n\":18446744073709551616}"}"#]]).await;
    check_resource("plain ä\n".as_bytes(), expect![[r#"{"uri":"artefact:///art_00112233445566778899aabbccddeeff","mimeType":"text/plain","text":"plain ä\n"}"#]]).await;
    check_resource(
        b"",
        expect![[
            r#"{"uri":"artefact:///art_00112233445566778899aabbccddeeff","mimeType":"text/plain","text":""}"#
        ]],
    )
    .await;
    check_resource(b"\xff\xfe\x00", expect![[r#"{"uri":"artefact:///art_00112233445566778899aabbccddeeff","mimeType":"application/octet-stream","blob":"//4A"}"#]]).await;
}

#[tokio::test]
async fn a_resource_is_whole_or_refused_with_what_to_do() {
    let bed = Bed::new().await;
    let tools = bed.room.tools();
    let tool = tools.iter().find(|tool| tool.name.as_str() == "artefact_resource").unwrap();
    let uri = format!("artefact:///{HANDLE}");
    let around = read(&bed, "root", &uri).await.err().map(|fault| fault.code);
    assert_eq!(around, Some(Code::NotFound), "nothing is kept yet");
    keep(&bed, b"").await;
    // Of an empty text the answer is all envelope; letters take a byte each.
    let envelope = read(&bed, "root", &uri).await.unwrap().to_string().len();
    for (bytes, fits) in [(tool.bytes_max - envelope, true), (tool.bytes_max - envelope + 1, false)] {
        let bed = Bed::new().await;
        keep(&bed, &vec![b'x'; bytes]).await;
        assert_eq!(read(&bed, "root", &uri).await.is_ok(), fits, "{bytes}");
    }
    let bed = Bed::new().await;
    keep(&bed, &vec![b'x'; tool.bytes_max + 1]).await;
    check(
        &read(&bed, "root", &uri).await,
        expect![[
            r#"BadArguments at "/uri": the result has 2097153 bytes, and as a resource it is read whole, in an answer of at most 2097152; read it in pieces with artefact_read"#
        ]],
    );
}

#[tokio::test]
async fn nobody_reads_what_is_not_theirs_and_no_other_uri_is_ours() {
    let bed = Bed::new().await;
    keep(&bed, b"mine").await;
    let uri = format!("artefact:///{HANDLE}");
    assert!(read(&bed, "root", &uri).await.is_ok());
    let other = read(&bed, "eve", &uri).await.unwrap_err();
    let none = read(&bed, "root", "artefact:///art_none").await.unwrap_err();
    assert_eq!((other.code, none.code), (Code::NotFound, Code::NotFound));
    assert_eq!(other.text, format!("Resource not found: {uri}"));
    bed.clock.pass(Duration::from_secs(3_600));
    assert_eq!(read(&bed, "root", &uri).await.unwrap_err().text, other.text, "a late one finds nothing");
    for (uri, ours) in [
        (uri.as_str(), true),
        ("artefact:///{handle}", true),
        ("artefact:///", false),
        ("artefact:///art_1/x", false),
        ("artefact:///%61", false),
        ("artefact://host/art_1", false),
        ("ARTEFACT:///art_1", false),
        (&format!("artefact:///{}", "x".repeat(64)), true),
        (&format!("artefact:///{}", "x".repeat(65)), false),
    ] {
        assert_eq!(bed.room.reads(uri).is_some(), ours, "{uri}");
    }
    let template = read(&bed, "root", "artefact:///{handle}").await.unwrap_err();
    assert_eq!(template.code, Code::NotFound, "a template is nothing to read");
    let listed = &bed.room.templates()[0];
    assert_eq!((&*listed.uri, listed.tool.as_str()), ("artefact:///{handle}", "artefact_resource"));
}

/// Reads it all, piece by piece.
async fn whole(bed: &Bed, limit: u64) -> String {
    let (mut text, mut next) = (String::new(), json!(0));
    while !next.is_null() {
        let shown = bed
            .run("artefact_read", json!({ "artefact": HANDLE, "offset": next, "limit": limit }))
            .await
            .unwrap();
        text.push_str(shown["text"].as_str().unwrap());
        assert_ne!(shown["next_offset"], next, "it must go on");
        next = shown["next_offset"].clone();
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pieces_make_up_the_whole(content in "[a-cäß€👍\u{0}]{0,80}", limit in 16_u64..24) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let text = runtime.block_on(async {
            let bed = Bed::new().await;
            keep(&bed, content.as_bytes()).await;
            whole(&bed, limit).await
        });
        prop_assert_eq!(text, content);
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_come_to_an_end_too() {
    let bed = Bed::new().await;
    keep(&bed, &[0x80; 100]).await;
    let text = whole(&bed, 16).await;
    assert!(text.chars().all(|c| c == '\u{fffd}'));
    let value = Value::from(text);
    assert!(value.is_string());
}
