//! `subscriptions/listen`: what changes in what there is, as long as the client listens.

use std::{collections::HashSet, sync::Arc};

use ::mcp::{Id, Object, WireError, result::on_subscription};
use serde_json::{Value, json, value::RawValue};
use tokio::sync::broadcast::{self, error::RecvError};
use tool::Notice;

use super::{
    Mcp, Who,
    shape::text_of,
    tasks::{News, check_takes_tasks},
};

/// The most resources, and tasks, that one stream may watch.
const WATCHED_MAX: usize = 256;

/// What a client wants to be told of.
#[derive(Default)]
pub(crate) struct Filter {
    tools: bool,
    prompts: bool,
    resources: bool,
    watched: HashSet<String>,
    tasks: HashSet<String>,
}

/// One client that listens.
pub(crate) struct Listening {
    filter: Filter,
    who: Who,
    id: Id,
    notices: broadcast::Receiver<Notice>,
    news: broadcast::Receiver<News>,
}

impl Filter {
    /// Reads what is asked for. What this client may not see is not watched.
    fn read(mcp: &Mcp, who: &Who, params: &Object<'_>, takes_tasks: bool) -> Result<Self, WireError> {
        let wanted = params.object("notifications")?.ok_or_else(|| {
            WireError::invalid_params("\"notifications\" is missing; it names what to listen for")
        })?;
        let uris = strings(&wanted, "resourceSubscriptions")?;
        let tasks = strings(&wanted, "taskIds")?;
        if !tasks.is_empty() {
            check_takes_tasks(takes_tasks)?;
        }
        let may_watch = |uri: &String| mcp.road.may_watch(&who.caller, uri);
        Ok(Self {
            tools: wanted.is_on("toolsListChanged"),
            prompts: wanted.is_on("promptsListChanged"),
            resources: wanted.is_on("resourcesListChanged"),
            watched: uris.into_iter().filter(may_watch).collect(),
            tasks: tasks.into_iter().collect(),
        })
    }

    /// What is watched, as it is acknowledged.
    fn shown(&self) -> Value {
        let mut shown = json!({});
        for (name, is_on) in [
            ("toolsListChanged", self.tools),
            ("promptsListChanged", self.prompts),
            ("resourcesListChanged", self.resources),
        ] {
            if is_on {
                shown[name] = json!(true);
            }
        }
        for (name, watched) in [("resourceSubscriptions", &self.watched), ("taskIds", &self.tasks)] {
            if !watched.is_empty() {
                let mut names: Vec<_> = watched.iter().collect();
                names.sort_unstable();
                shown[name] = json!(names);
            }
        }
        shown
    }

    /// The notification that tells of this, where it was asked for.
    fn told(&self, notice: &Notice) -> Option<(&'static str, Value)> {
        told(notice, self.tools, self.prompts, self.resources, |uri| self.watched.contains(uri))
    }
}

/// The notification of a notice, for whoever wants these.
pub(crate) fn told(
    notice: &Notice,
    tools: bool,
    prompts: bool,
    resources: bool,
    watches: impl Fn(&str) -> bool,
) -> Option<(&'static str, Value)> {
    match notice {
        Notice::Tools if tools => Some(("notifications/tools/list_changed", json!({}))),
        Notice::Prompts if prompts => Some(("notifications/prompts/list_changed", json!({}))),
        Notice::Resources if resources => Some(("notifications/resources/list_changed", json!({}))),
        Notice::Resource(uri) if watches(uri) => {
            Some(("notifications/resources/updated", json!({ "uri": uri })))
        }
        _ => None,
    }
}

impl Mcp {
    /// Begins to listen.
    pub(crate) fn listen(
        &self,
        who: &Who,
        id: &Id,
        params: &Object<'_>,
        takes_tasks: bool,
    ) -> Result<Listening, WireError> {
        let filter = Filter::read(self, who, params, takes_tasks)?;
        let (notices, news) = (self.road.notices(), self.tasks.news());
        Ok(Listening { filter, who: who.clone(), id: id.clone(), notices, news })
    }
}

impl Listening {
    /// The message that says what is listened for.
    pub(crate) fn acknowledged(&self) -> Vec<u8> {
        self.message(
            "notifications/subscriptions/acknowledged",
            &json!({ "notifications": self.filter.shown() }),
        )
    }

    /// The next message; never ends by itself.
    pub(crate) async fn next(&mut self) -> Vec<u8> {
        loop {
            let told = tokio::select! {
                notice = self.notices.recv() => match notice {
                    Ok(notice) => self.filter.told(&notice),
                    // What was missed may have been any of them.
                    Err(RecvError::Lagged(_)) => self.filter.told(&Notice::Tools),
                    Err(RecvError::Closed) => std::future::pending().await,
                },
                news = self.news.recv() => match news {
                    Ok(news) if self.is_for_us(&news) => Some(("notifications/tasks", Value::clone(&news.shown))),
                    Err(RecvError::Closed) => std::future::pending().await,
                    _ => None,
                },
            };
            if let Some((method, params)) = told {
                return self.message(method, &params);
            }
        }
    }

    /// The result that ends the stream.
    pub(crate) fn end(&self, mcp: &Mcp) -> Vec<u8> {
        let empty = tool::json::raw(&json!({}));
        let object = Object::read(&empty).unwrap_or_default();
        let dress =
            ::mcp::result::Dress { server: Some(&mcp.server), cache: None, subscription: Some(&self.id) };
        let mut out = Vec::new();
        ::mcp::write_result(&mut out, &self.id, &::mcp::result::for_modern(&object, dress));
        out
    }

    fn is_for_us(&self, news: &News) -> bool {
        news.principal == self.who.caller.principal && self.filter.tasks.contains(&*news.task)
    }

    fn message(&self, method: &str, params: &Value) -> Vec<u8> {
        let raw: Arc<RawValue> = tool::json::raw(params).into();
        let object = Object::read(&raw).unwrap_or_default();
        let marked = text_of(&on_subscription(&object, &self.id));
        let mut out = Vec::new();
        ::mcp::write_notification(&mut out, method, Some(&marked));
        out
    }
}

fn strings(object: &Object<'_>, name: &str) -> Result<Vec<String>, WireError> {
    let Some(text) = object.get(name) else { return Ok(Vec::new()) };
    let list: Vec<String> = serde_json::from_str(text)
        .map_err(|_| WireError::invalid_params(format!("{name:?} must be a list of strings")))?;
    if list.len() > WATCHED_MAX {
        return Err(WireError::invalid_params(format!("{name:?} names more than {WATCHED_MAX}")));
    }
    Ok(list)
}
