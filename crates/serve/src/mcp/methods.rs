//! Methods: from a request to what answers it.

use std::{pin::Pin, sync::Arc};

use ::mcp::{Era, Object, Request as Asked, TASKS, Version, WireError, meta::Trace, mirror::Mirrors};
use serde_json::{Value, json, value::RawValue};
use tool::{Approval, Call, Completing, Kind, Reply};

use super::{
    Mcp, Who,
    job::Job,
    line::{Answers, CallLine, Ears},
    shape::{Ended, LISTED},
    versions,
};
use crate::road::{Answer, Request};

/// What answers a request.
pub(crate) enum Handled {
    /// This, now.
    Now(Box<RawValue>),
    /// What a call comes to.
    Call(Box<Job>),
}

/// What a request brings beside its params.
pub(crate) struct Round<'a> {
    pub(crate) version: Version,
    pub(crate) ears: Ears,
    pub(crate) given: Answers,
    pub(crate) trace: Trace<'a>,
    /// What the client calls itself.
    pub(crate) label: Option<Arc<str>>,
}

impl Mcp {
    /// Answers the methods that both eras have.
    ///
    /// Error: method not found for all others.
    pub(crate) fn handle(
        self: &Arc<Self>,
        who: &Who,
        asked: &Asked<'_>,
        round: Round<'_>,
    ) -> Result<Handled, WireError> {
        let params = &asked.params;
        match &*asked.method {
            "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" => {
                self.list(who, round.version, &asked.method, params).map(Handled::Now)
            }
            "tools/call" => {
                let name = params.needed_text("name")?;
                let kind = Kind::tool(&name, object_or_empty(params, "arguments")?);
                Ok(self.call(who, kind, round))
            }
            "prompts/get" => {
                let name = params.needed_text("name")?.into();
                let arguments = object_or_empty(params, "arguments")?;
                Ok(self.call(who, Kind::GetPrompt { name, arguments }, round))
            }
            "resources/read" => {
                let uri = params.needed_text("uri")?.into();
                Ok(self.call(who, Kind::ReadResource { uri }, round))
            }
            "completion/complete" => {
                let kind = complete(params)?;
                Ok(self.call(who, kind, round))
            }
            other => Err(WireError::method_not_found(other)),
        }
    }

    /// Begins a call.
    fn call(self: &Arc<Self>, who: &Who, kind: Kind, round: Round<'_>) -> Handled {
        let (line, heard) = CallLine::new(round.ears, round.given);
        let mut call = Call::new(kind.clone(), who.face, who.ids.request.clone());
        call.correlation_id = who.ids.correlation.clone();
        call.traceparent = who.ids.traceparent.clone().or_else(|| {
            round.trace.parent.as_deref().filter(|text| crate::headers::is_traceparent(text)).map(Arc::from)
        });
        call.label = round.label;
        call.idempotency_key = who.idempotency_key.clone();
        let (theirs, mould, who) = (Arc::clone(&line), self.mould(round.version), who.clone());
        let this = Arc::clone(self);
        let work: Pin<Box<dyn Future<Output = Ended> + Send>> = Box::pin(async move {
            let credentials = who.credentials.clone();
            let spoken: Arc<dyn tool::Line> = theirs.clone();
            let request = Request { credentials, call, line: spoken };
            let answer = this.road.call(request).await;
            let planned = if theirs.ears().tasks { planned(&answer) } else { None };
            match planned {
                Some(change) => this.apply_when_approved(&who, &change, &theirs, &kind, &mould).await,
                None => mould.ended(&kind, answer),
            }
        });
        Handled::Call(Box::new(Job::new(work, line, heard)))
    }

    /// What this server is and can do, for a modern client.
    pub(crate) fn discover(&self, who: &Who) -> Box<RawValue> {
        let mut shown = json!({
            "supportedVersions": versions(),
            "capabilities": self.capabilities(Era::Modern),
        });
        if let Some(text) = self.instructions(&who.caller) {
            shown["instructions"] = json!(text);
        }
        self.mould(Version::LATEST).result(&shown, Some(LISTED))
    }

    /// What this server can do.
    pub(crate) fn capabilities(&self, era: Era) -> Value {
        let mut shown = json!({
            "tools": { "listChanged": true },
            "prompts": { "listChanged": true },
            "resources": { "listChanged": true, "subscribe": true },
            "completions": {},
            "logging": {},
        });
        if era == Era::Modern {
            shown["extensions"] = json!({ TASKS: {} });
        }
        shown
    }

    /// Checks that the headers of a modern call repeat the arguments that its tool wants repeated.
    pub(crate) fn check_mirrors(
        &self,
        who: &Who,
        headers: &::http::HeaderMap,
        params: &Object<'_>,
    ) -> Result<(), WireError> {
        let Ok(Some(name)) = params.text("name") else { return Ok(()) };
        let tools = self.road.visible(&who.caller);
        let Ok(at) = tools.binary_search_by(|tool| tool.name.as_str().cmp(&name)) else { return Ok(()) };
        // Annotations that are void repeat nothing; clients leave such tools out.
        let Ok(mirrors) = Mirrors::of(&tools[at].input) else { return Ok(()) };
        if mirrors.is_empty() {
            return Ok(());
        }
        mirrors.check(headers, params.raw_of("arguments"))
    }
}

/// A member that is an object, or an empty one.
fn object_or_empty(params: &Object<'_>, name: &str) -> Result<Box<RawValue>, WireError> {
    let raw = params.object(name)?.map(|object| object.raw().to_owned());
    Ok(raw.unwrap_or_else(|| tool::json::empty_object().to_owned()))
}

fn complete(params: &Object<'_>) -> Result<Kind, WireError> {
    let wrong = |text: &str| WireError::invalid_params(text);
    let what = params
        .object("ref")?
        .ok_or_else(|| wrong("\"ref\" is missing; it names a prompt or a resource template"))?;
    let argument = params.object("argument")?.ok_or_else(|| wrong("\"argument\" is missing"))?;
    argument.needed_text("name")?;
    argument.needed_text("value")?;
    let of = match &*what.needed_text("type")? {
        "ref/prompt" => Completing::Prompt(what.needed_text("name")?.into()),
        "ref/resource" => Completing::Template(what.needed_text("uri")?.into()),
        _ => return Err(wrong("\"ref\" has the type ref/prompt or ref/resource")),
    };
    let mut sent = json!({});
    for name in ["ref", "argument", "context"] {
        if let Some(member) = params.raw_of(name) {
            sent[name] = serde_json::from_str(member.get()).map_err(|e| wrong(&e.to_string()))?;
        }
    }
    Ok(Kind::Complete { of, arguments: tool::json::raw(&sent) })
}

/// The id of a change that a call has planned and that waits for approval. Only a tool that needs approval plans: what
/// others answer may look the same, as when a change is shown, and is an answer.
fn planned(answer: &Answer) -> Option<String> {
    answer.tool.as_ref().filter(|tool| tool.approval == Approval::Needed)?;
    let Ok(Reply::Done(outcome)) = &answer.result else { return None };
    let shown = outcome.to_value();
    let is_pending = shown["status"] == "pending_approval";
    is_pending.then(|| shown["change_id"].as_str().map(str::to_owned)).flatten()
}
