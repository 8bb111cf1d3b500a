mod files;
mod prompts;
mod resources;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use expect_test::Expect;
use serde_json::{Value, json, value::RawValue};
use testkit::{caller, permit_for_call};
use tool::{
    Call, Calls, Code, Completing, ConfigFault, Deaf, Face, Fault, Kind, Outcome, PrincipalKind, Provider,
    Reply, RequestId, Shape, Stop, Talk, Tool,
};

/// What came of a call, in one line.
fn check(result: Result<Value, Fault>, expected: Expect) {
    let text = match result {
        Ok(value) => value.to_string(),
        Err(fault) => {
            let at = fault.pointer.as_ref().map(|at| format!(" at {at:?}")).unwrap_or_default();
            format!("{:?}{at}: {}", fault.code, fault.text)
        }
    };
    expected.assert_eq(&text);
}

/// The faults of a section, a line each.
fn check_faults(faults: Vec<ConfigFault>, expected: Expect) {
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    expected.assert_eq(&lines.join("\n"));
}

fn prompts(section: Value) -> Arc<dyn Provider> {
    let config: crate::prompts::Config = serde_json::from_value(section).unwrap();
    crate::prompts::open(&config, &testkit::parts(Path::new("."))).unwrap()
}

fn resources(folder: &Path, section: Value) -> Arc<dyn Provider> {
    let config: crate::resources::Config = serde_json::from_value(section).unwrap();
    crate::resources::open(&config, &testkit::parts(folder)).unwrap()
}

fn tool(provider: &dyn Provider, name: &str) -> Arc<Tool> {
    Arc::clone(provider.tools().iter().find(|tool| tool.name.as_str() == name).unwrap())
}

/// Gets a prompt as the road does.
async fn get(provider: &dyn Provider, name: &str, arguments: Value) -> Result<Value, Fault> {
    let kind = Kind::GetPrompt { name: name.into(), arguments: tool::json::raw(&arguments) };
    walk(provider, tool(provider, &format!("prompt_{name}")), kind, arguments).await
}

/// Reads a resource as the road does.
async fn read(provider: &dyn Provider, uri: &str) -> Result<Value, Fault> {
    let Some(name) = provider.reads(uri) else { return Err(Fault::not_found("nobody reads it")) };
    let kind = Kind::ReadResource { uri: uri.into() };
    walk(provider, tool(provider, name.as_str()), kind, json!({ "uri": uri })).await
}

/// Completes an argument as the road does.
async fn complete(provider: &dyn Provider, of: Completing, name: &str, typed: &str) -> Result<Value, Fault> {
    let tool = match &of {
        Completing::Prompt(prompt) => tool(provider, &format!("prompt_{prompt}")),
        Completing::Template(uri) => tool(provider, provider.reads(uri).unwrap().as_str()),
    };
    let arguments = json!({ "ref": {}, "argument": { "name": name, "value": typed } });
    let kind = Kind::Complete { of, arguments: tool::json::raw(&arguments) };
    walk(provider, tool, kind, arguments).await
}

async fn walk(
    provider: &dyn Provider,
    tool: Arc<Tool>,
    kind: Kind,
    mut arguments: Value,
) -> Result<Value, Fault> {
    provider.target(&tool, &mut arguments)?;
    let call = Call::new(kind, Face::Mcp, RequestId::ours("req-test"));
    let tester = caller("tester", PrincipalKind::Human);
    let permit = permit_for_call(call, tester, &tool, arguments, Duration::from_secs(30));
    let talk = Talk::new(Arc::new(Deaf), Stop::never(), Arc::new(Shop));
    match provider.run(permit, talk).await? {
        Reply::Done(outcome) => {
            assert_eq!(outcome.shape, Shape::Content);
            Ok(outcome.to_value())
        }
        other => panic!("not done: {other:?}"),
    }
}

/// The tools that completions ask in these tests.
struct Shop;

#[async_trait]
impl Calls for Shop {
    async fn call(&self, tool: &str, arguments: Value) -> Result<Outcome, Fault> {
        match tool {
            "list_customers" => {
                let names = ["Acme Corp", "acme labs", "Beta Inc", "Acme Corp"];
                let rows: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
                Ok(Outcome::raw(Arc::<RawValue>::from(tool::json::raw(
                    &json!({ "customers": rows, "asked": arguments }),
                ))))
            }
            "denied" => Err(Fault::new(Code::Denied, "tool not allowed")),
            "down" => Err(Fault::new(Code::Unavailable, "the shop is down")),
            other => Err(Fault::not_found(format!("Tool not found: {other}"))),
        }
    }

    async fn apply(&self, change: &str) -> Result<Outcome, Fault> {
        Err(Fault::not_found(format!("no change {change:?}")))
    }

    fn may_reach(&self, _tool: &str, _target: &str) -> Option<bool> {
        None
    }
}
