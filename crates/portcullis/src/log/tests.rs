use std::sync::{Arc, Mutex};

use expect_test::expect;
use tool::{Clock, Timestamp};
use tracing_subscriber::layer::SubscriberExt as _;

use super::{
    layer::LogLayer,
    sink::{Outputs, RotatingFile, Sink, Stream},
};

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(1_763_719_845_123)
    }
}

fn logged(json: bool, work: impl FnOnce()) -> String {
    let memory = Arc::new(Mutex::new(Vec::new()));
    let sink = Sink::start(Outputs { stream: Stream::Memory(Arc::clone(&memory)), file: None });
    let layer = LogLayer::new(sink.clone(), Arc::new(Noon), json);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    sink.flush();
    let bytes = memory.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_line_has_the_members_of_the_event_and_its_spans_at_top_level() {
    let lines = logged(true, || {
        let span = tracing::info_span!("call", request_id = "r-1", tool_name = tracing::field::Empty);
        let _inside = span.enter();
        span.record("tool_name", "get_customer");
        tracing::info!(latency_ms = 12.5, user_id = "user_1", rows = 3_u64, hit = true, "tool executed");
        tracing::warn!(request_id = "r-2", "Invalid API key");
        tracing::error!(level = "x", odd = f64::NAN, why = ?Some(1), "failed");
        tracing::debug!("quiet");
    });
    for line in lines.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    expect![[r#"
        {"timestamp":"2025-11-21T10:10:45.123Z","level":"INFO","request_id":"r-1","tool_name":"get_customer","user_id":"user_1","latency_ms":12.5,"message":"tool executed","rows":3,"hit":true,"target":"portcullis::log::tests"}
        {"timestamp":"2025-11-21T10:10:45.123Z","level":"WARNING","request_id":"r-2","tool_name":"get_customer","message":"Invalid API key","target":"portcullis::log::tests"}
        {"timestamp":"2025-11-21T10:10:45.123Z","level":"ERROR","request_id":"r-1","tool_name":"get_customer","message":"failed","field":"x","odd":null,"why":"Some(1)","target":"portcullis::log::tests"}
        {"timestamp":"2025-11-21T10:10:45.123Z","level":"DEBUG","request_id":"r-1","tool_name":"get_customer","message":"quiet","target":"portcullis::log::tests"}
    "#]].assert_eq(&lines);
}

#[test]
fn no_text_can_move_a_cursor_or_pretend_to_be_two_lines() {
    let lines = logged(true, || {
        tracing::info!(user_id = "a\nb\"c\\", "\x1b[2J\u{9b}31m\u{202e}x\u{feff}\r\0");
    });
    assert_eq!(lines.lines().count(), 1);
    let back: serde_json::Value = serde_json::from_str(&lines).unwrap();
    assert_eq!(back["user_id"], "a\nb\"c\\");
    expect![[r#"
        {"timestamp":"2025-11-21T10:10:45.123Z","level":"INFO","user_id":"a\nb\"c\\","message":"\u001b[2J\u009b31m\u202ex\ufeff\r\u0000","target":"portcullis::log::tests"}
    "#]].assert_eq(&lines);
    let long = "ä".repeat(20_000);
    assert!(logged(true, || tracing::info!("{long}")).len() < 17_000);
}

#[test]
fn people_get_text() {
    let lines = logged(false, || tracing::info!(tool_name = "x", rows = 2, "done"));
    expect![[r#"
        2025-11-21T10:10:45.123Z INFO    done tool_name="x" rows=2
    "#]]
    .assert_eq(&lines);
}

#[test]
fn a_file_is_turned_over_at_whole_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs/portcullis.log");
    let mut file = RotatingFile::open(&path, 10, 2).unwrap();
    for line in ["aaaa\n", "bbbb\n", "cc\n", "this one is longer than a file\n", "d\ne\nf\ng\nh\ni\n"] {
        file.write(line.as_bytes()).unwrap();
    }
    let read =
        |name: &str| std::fs::read_to_string(folder.path().join("logs").join(name)).unwrap_or_default();
    assert_eq!(read("portcullis.log"), "i\n");
    assert_eq!(read("portcullis.log.1"), "d\ne\nf\ng\nh\n");
    assert_eq!(read("portcullis.log.2"), "this one is longer than a file\n");
    assert_eq!(read("portcullis.log.3"), "");
    drop(file);
    let mut again = RotatingFile::open(&path, 10, 0).unwrap();
    again.write(b"jjjjjjj\n").unwrap();
    assert_eq!(read("portcullis.log"), "i\njjjjjjj\n");
    again.write(b"k\n").unwrap();
    assert_eq!(read("portcullis.log"), "k\n");
    assert!(RotatingFile::open(std::path::Path::new("/proc/none/x.log"), 1, 1).is_err());
}
