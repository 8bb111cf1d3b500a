//! Tools that came from elsewhere: what is wrong with one of them is nobody's mistake here.

use super::{
    odd::{Odd, at_once, reading},
    *,
};
use tool::{Prompt, Tool};

/// A room whose tools come from elsewhere, and more of them may come.
struct Away(Arc<[Arc<Tool>]>);

#[async_trait]
impl Provider for Away {
    fn name(&self) -> &str {
        "away"
    }

    fn tools(&self) -> Arc<[Arc<Tool>]> {
        Arc::clone(&self.0)
    }

    fn prompts(&self) -> Arc<[Arc<Prompt>]> {
        let prompt = Prompt {
            name: "hello".into(),
            title: None,
            about: None,
            arguments: Vec::new(),
            tool: ToolName::parse("away_good").unwrap(),
            as_sent: Some(raw(&json!({ "name": "hello" })).into()),
        };
        Arc::from([Arc::new(prompt.clone()), Arc::new(prompt)])
    }

    fn may_offer(&self, name: &str) -> bool {
        name.starts_with("away_")
    }

    async fn run(&self, _permit: Permit, _talk: Talk) -> Result<Reply, Fault> {
        Ok(Reply::value(json!({})))
    }
}

fn sent(name: &str, input: Value) -> Arc<Tool> {
    let as_sent = Some(raw(&json!({ "name": name, "inputSchema": input })).into());
    Arc::new(Tool { input: Arc::new(input), as_sent, ..reading(name) })
}

fn built(tools: Vec<Arc<Tool>>, change: impl FnOnce(&mut Config)) -> Result<Vec<String>, Vec<String>> {
    let ours = Tool { aliases: vec!["also_ours".into()], ..reading("ours") };
    let odd = Odd::new([ours], at_once(|_| Ok(Reply::value(json!({})))));
    let mut config = Config::default();
    change(&mut config);
    let snapshot = Snapshot::build(config, vec![odd, Arc::new(Away(tools.into()))]);
    let names = |snapshot: Arc<Snapshot>| {
        snapshot.catalogue.tools().iter().map(|tool| tool.name.to_string()).collect()
    };
    snapshot.map(names).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

#[test]
fn one_bad_tool_of_elsewhere_spoils_neither_the_list_nor_the_start() {
    let fine = json!({ "type": "object" });
    let tools = vec![
        sent("away_good", fine.clone()),
        sent("away_good", json!({ "type": "object", "title": "twice" })),
        sent("away_bad", json!({ "type": "nothing" })),
        sent("away_far", json!({ "$ref": "https://schemas.test/x" })),
        sent("away_odd", json!({ "$schema": "https://schemas.test/dialect", "type": "object" })),
        sent("ours", fine.clone()),
        sent("also_ours", fine),
    ];
    assert_eq!(built(tools, |_| {}), Ok(vec!["away_good".to_owned(), "ours".to_owned()]));
}

#[test]
fn a_schema_is_read_in_the_dialect_that_it_names() {
    let draft_7 = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": { "pair": { "type": "array", "items": [{ "type": "integer" }, { "type": "string" }] } },
    });
    assert_eq!(
        built(vec![sent("away_7", draft_7.clone())], |_| {}),
        Ok(vec!["away_7".to_owned(), "ours".into()])
    );
    let schema = validate::Schema::compile(&Arc::new(draft_7)).unwrap();
    assert!(schema.canonical(&raw(&json!({ "pair": [1, "a"] })), 1_000).is_ok());
    assert!(schema.canonical(&raw(&json!({ "pair": ["a", 1] })), 1_000).is_err());
}

#[test]
fn rules_may_name_what_may_yet_come() {
    let naming = |name: &str| {
        let rules = json!({ "roles": { "r": { "allow": [name] } }, "tools": { name: { "bytes_max": 300 } } });
        built(Vec::new(), |config| {
            config.roles = serde_json::from_value(rules["roles"].clone()).unwrap();
            config.tools = serde_json::from_value(rules["tools"].clone()).unwrap();
        })
    };
    assert_eq!(naming("away_later"), Ok(vec!["ours".to_owned()]));
    assert_eq!(naming("later").unwrap_err().len(), 2);
}
