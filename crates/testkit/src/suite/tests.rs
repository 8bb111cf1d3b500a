use std::sync::Mutex;

use serde_json::value::RawValue;
use tokio::sync::Barrier;
use tool::{Line, LogLevel, Progress, Question, Stop};

use super::*;
use crate::{NoCalls, permit_of, talk_that_stops};

fn suite() -> Arc<Suite> {
    Suite::new(Arc::new(|_| {}))
}

#[test]
fn it_has_every_name_of_the_suite_once_and_the_first_takes_nothing() {
    let tools = suite().tools();
    let mut names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), names[0]), (36 + 5 + 2, "confirm_delete"));
    let first = tools.iter().find(|tool| tool.name.as_str() == names[0]).unwrap();
    assert_eq!(first.input.get("required"), None);
    assert_eq!(tools.iter().filter(|tool| tool.purpose == Purpose::Call).count(), 36);
    assert!(tools.iter().all(|tool| tool.input["type"] == "object" && !tool.about.is_empty()));
}

#[test]
fn the_schema_with_every_keyword_is_listed_as_it_was_sent() {
    let tools = suite().tools();
    let tool = tools.iter().find(|tool| tool.name.as_str() == content::EVERY_KEYWORD).unwrap();
    let as_sent: Value = serde_json::from_str(tool.as_sent.as_ref().unwrap().get()).unwrap();
    let members = json!({ "name": tool.name, "description": tool.about, "inputSchema": tool.input });
    assert_eq!(as_sent.to_string(), members.to_string());
}

#[test]
fn what_reads_a_resource() {
    for (uri, tool) in [
        ("test://static-text", Some("suite_resource")),
        ("test://static-binary", Some("suite_resource")),
        ("test://watched-resource", Some("suite_resource")),
        ("test://template/{id}/data", Some("suite_template")),
        ("test://template/123/data", Some("suite_template")),
        ("test://template//data", None),
        ("test://template/1/2/data", None),
        ("test://template/{other}/data", None),
        ("test://static-text/", None),
        ("", None),
    ] {
        assert_eq!(suite().reads(uri).as_ref().map(ToolName::as_str), tool, "{uri}");
    }
}

#[tokio::test]
async fn work_that_takes_long_stops_when_it_is_asked() {
    let suite = suite();
    for (name, arguments) in [
        ("slow_compute", json!({ "seconds": 600 })),
        ("test_tool_with_logging", json!({})),
        ("test_tool_with_progress", json!({})),
        ("test_reconnection", json!({})),
    ] {
        let (source, talk) = talk_that_stops();
        source.ask();
        let permit = permit_of(&*suite, name, arguments).unwrap();
        assert_eq!(suite.run(permit, talk).await.unwrap_err().code, Code::Cancelled, "{name}");
    }
}

#[tokio::test]
async fn what_a_trigger_tells() {
    let told: Arc<Mutex<Vec<Notice>>> = Arc::default();
    let ear = Arc::clone(&told);
    let suite = Suite::new(Arc::new(move |notice| ear.lock().unwrap().push(notice)));
    for (name, notice) in [
        ("test_trigger_tool_change", Notice::Tools),
        ("test_trigger_prompt_change", Notice::Prompts),
        ("test_trigger_resource_update", Notice::Resource(WATCHED.into())),
    ] {
        let permit = permit_of(&*suite, name, json!({})).unwrap();
        suite.run(permit, crate::talk()).await.unwrap();
        assert_eq!(told.lock().unwrap().pop(), Some(notice), "{name}");
    }
}

/// A caller that answers no question before it has heard two.
struct Both(Barrier);

#[async_trait]
impl Line for Both {
    fn progress(&self, _progress: Progress) {}

    fn log(&self, _level: LogLevel, _data: Value) {}

    async fn ask(&self, questions: Vec<Question>) -> Result<Vec<Box<RawValue>>, Fault> {
        self.0.wait().await;
        let answer = |question: &Question| {
            tool::json::raw(&json!({ "action": "accept", "content": { "name": question.key } }))
        };
        Ok(questions.iter().map(answer).collect())
    }
}

#[tokio::test]
async fn two_questions_of_their_own_are_open_at_the_same_time() {
    let suite = suite();
    let talk = Talk::new(Arc::new(Both(Barrier::new(2))), Stop::never(), Arc::new(NoCalls));
    let reply = suite.run(permit_of(&*suite, "multi_input", json!({})).unwrap(), talk).await.unwrap();
    let Reply::Done(outcome) = reply else { panic!("{reply:?}") };
    assert_eq!(outcome.to_json(), r#"{"content":[{"type":"text","text":"first and second"}]}"#);
}
