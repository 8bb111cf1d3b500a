//! What a server says of itself and not of a request: that its lists have changed, or what a resource holds.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::sync::Notify;
use tool::Notice;

use crate::table::Note;

/// Lists that have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes(u8);

impl Changes {
    pub(crate) const TOOLS: Self = Self(1);
    pub(crate) const PROMPTS: Self = Self(2);
    pub(crate) const RESOURCES: Self = Self(4);
    pub(crate) const ALL: Self = Self(7);

    /// Whether all of these are among them.
    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and those.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What those who listen are told.
    pub(crate) fn notices(self) -> impl Iterator<Item = Notice> {
        let all = [
            (Self::TOOLS, Notice::Tools),
            (Self::PROMPTS, Notice::Prompts),
            (Self::RESOURCES, Notice::Resources),
        ];
        all.into_iter().filter(move |(list, _)| self.has(*list)).map(|(_, notice)| notice)
    }
}

/// What a server has said and nobody has looked into yet.
pub(crate) struct News {
    changes: AtomicU8,
    changed: Notify,
    notify: tool::Notify,
}

impl News {
    /// No news; of resources that changed, this is told at once.
    pub(crate) fn new(notify: tool::Notify) -> Arc<Self> {
        Arc::new(Self { changes: AtomicU8::new(0), changed: Notify::new(), notify })
    }

    /// Takes a notification that belongs to no request. One that is not known is none of ours.
    pub(crate) fn heard(&self, note: &Note) {
        match note.method.as_str() {
            "notifications/tools/list_changed" => self.add(Changes::TOOLS),
            "notifications/prompts/list_changed" => self.add(Changes::PROMPTS),
            "notifications/resources/list_changed" => self.add(Changes::RESOURCES),
            "notifications/resources/updated" => {
                let params = mcp::Object::read(&note.params).ok();
                if let Some(uri) = params.and_then(|params| params.text("uri").ok().flatten()) {
                    self.tell(Notice::Resource(uri.as_ref().into()));
                }
            }
            _ => {}
        }
    }

    /// Says that lists have changed.
    pub(crate) fn add(&self, changes: Changes) {
        self.changes.fetch_or(changes.0, Ordering::AcqRel);
        self.changed.notify_one();
    }

    /// The lists that have changed since the last time; waits until there are any.
    pub(crate) async fn next(&self) -> Changes {
        loop {
            let changes = self.take();
            if changes != Changes::default() {
                return changes;
            }
            self.changed.notified().await;
        }
    }

    /// The same without waiting.
    pub(crate) fn take(&self) -> Changes {
        Changes(self.changes.swap(0, Ordering::AcqRel))
    }

    /// Tells whoever listens.
    pub(crate) fn tell(&self, notice: Notice) {
        (self.notify)(notice);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use serde_json::value::RawValue;

    use super::*;

    fn note(method: &str, params: &str) -> Note {
        Note { method: method.to_owned(), params: RawValue::from_string(params.to_owned()).unwrap() }
    }

    #[tokio::test]
    async fn news_are_gathered_and_resources_told_at_once() {
        let told: Arc<Mutex<Vec<Notice>>> = Arc::default();
        let sink = Arc::clone(&told);
        let news = News::new(Arc::new(move |notice| sink.lock().unwrap().push(notice)));
        for method in ["tools", "resources", "tools", "roots"] {
            news.heard(&note(&format!("notifications/{method}/list_changed"), "{}"));
        }
        news.heard(&note("notifications/resources/updated", r#"{"uri":"test://a"}"#));
        news.heard(&note("notifications/resources/updated", r#"{"uri":7}"#));
        let changes = news.next().await;
        assert_eq!(changes, Changes::TOOLS.and(Changes::RESOURCES));
        assert_eq!(changes.notices().collect::<Vec<_>>(), [Notice::Tools, Notice::Resources]);
        assert_eq!(*told.lock().unwrap(), [Notice::Resource("test://a".into())]);
    }
}
