//! What is under way with one server, and to whom of those who wait what comes in belongs.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use mcp::{
    Id, Message,
    inflight::{Arrival, Outgoing},
};
use regex::bytes::Regex;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use crate::error::UpstreamError;

/// How many notes and questions one request may be behind; more notes are dropped, and more questions refused.
const BEHIND_MAX: usize = 64;

/// What comes from a server, taken out of the bytes it came in.
#[derive(Debug)]
pub(crate) enum Came {
    /// The end of a request.
    Answer(Id, Answer),
    /// Something said on the way.
    Note(Note),
    /// Something asked on the way, as only the older protocol has it.
    Asked(Asked),
    /// The server let go of the connection before it has answered, as only the older protocol has it. The rest is
    /// fetched on another.
    LetGo,
}

/// How a request ends.
#[derive(Debug)]
pub(crate) enum Answer {
    /// With a result: a JSON object.
    Result(Box<RawValue>),
    /// With an error of the protocol: a JSON object.
    Error(Box<RawValue>),
    /// With something that cannot be taken, although it says whom it answers.
    Lost(Lost),
}

/// An answer that cannot be taken.
#[derive(Clone, Debug)]
pub(crate) enum Lost {
    /// It has more than so many bytes.
    TooLarge(usize),
    /// It is no message; why not.
    Unreadable(String),
}

impl From<Lost> for UpstreamError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::TooLarge(most) => Self::TooLarge(most),
            Lost::Unreadable(why) => Self::protocol(why),
        }
    }
}

/// Whom a line answers that cannot be read as a whole, where its beginning says so without a doubt: waiting on would
/// be in vain.
pub(crate) fn answers(line: &[u8]) -> Option<Id> {
    static HEAD: LazyLock<Regex> = LazyLock::new(|| {
        let version = r#""jsonrpc"\s*:\s*"2\.0""#;
        let head = format!(
            r#"^\s*\{{\s*(?:{version}\s*,\s*)?"id"\s*:\s*([0-9]+)\s*(?:,\s*{version}\s*)?(?:\}}|,\s*"(?:result|error)"\s*:)"#
        );
        Regex::new(&head).expect("the pattern is one")
    });
    let id = HEAD.captures(line)?.get(1)?;
    Id::parse(std::str::from_utf8(id.as_bytes()).ok()?).ok()
}

/// A notification.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) method: String,
    pub(crate) params: Box<RawValue>,
}

/// A request of the server.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) id: Id,
    pub(crate) method: String,
    pub(crate) params: Box<RawValue>,
}

impl Came {
    /// Reads one message. An error without an id answers the request that it came for, `ours`, where there is one.
    ///
    /// Error: what is wrong with it, for the log.
    pub(crate) fn read(bytes: &[u8], ours: Option<&Id>) -> Result<Self, String> {
        match Message::parse(bytes).map_err(|e| e.error.message)? {
            Message::Response(response) => {
                Ok(Self::Answer(response.id, Answer::Result(response.result.to_owned())))
            }
            Message::Failure(failure) => {
                let id = failure.id.or_else(|| ours.cloned()).ok_or("an error that answers nothing")?;
                Ok(Self::Answer(id, Answer::Error(failure.error.to_owned())))
            }
            Message::Notification(note) => Ok(Self::Note(Note {
                method: note.method.into_owned(),
                params: note.params.raw().to_owned(),
            })),
            Message::Request(request) => Ok(Self::Asked(Asked {
                id: request.id,
                method: request.method.into_owned(),
                params: request.params.raw().to_owned(),
            })),
        }
    }
}

/// The requests that are under way with one server.
#[derive(Debug)]
pub(crate) struct Table(Mutex<UnderWay>);

#[derive(Debug)]
struct UnderWay {
    requests: Outgoing<Waiter>,
    /// True once the server has gone.
    closed: bool,
}

/// Who waits for the end of a request.
#[derive(Debug)]
pub(crate) struct Waiter {
    answer: oneshot::Sender<Answer>,
    events: mpsc::Sender<Came>,
    /// True where there is a caller who can hear and be asked.
    talks: bool,
}

/// One request that is under way. Dropping it says that nobody waits any more.
#[derive(Debug)]
pub(crate) struct Ticket {
    table: Arc<Table>,
    /// Its id, which is also what its progress is known by.
    pub(crate) id: Id,
    answer: oneshot::Receiver<Answer>,
    events: mpsc::Receiver<Came>,
}

impl Table {
    /// An empty table for up to so many requests.
    pub(crate) fn new(max: usize) -> Self {
        Self(Mutex::new(UnderWay { requests: Outgoing::new(max), closed: false }))
    }

    /// A request begins.
    pub(crate) fn open(self: &Arc<Self>, talks: bool) -> Result<Ticket, UpstreamError> {
        let (sender, answer) = oneshot::channel();
        let (events_sender, events) = mpsc::channel(BEHIND_MAX);
        let waiter = Waiter { answer: sender, events: events_sender, talks };
        let mut table = self.lock();
        if table.closed {
            return Err(UpstreamError::Broken(None));
        }
        let id = table.requests.open(waiter, None, None).map_err(|_| UpstreamError::Busy)?;
        drop(table);
        Ok(Ticket { table: Arc::clone(self), id, answer, events })
    }

    /// Hands on what came on a stream that all requests share. What belongs to none of them comes back.
    ///
    /// Log lines and questions do not say which request they belong to: they are somebody's only while exactly one
    /// caller is served.
    pub(crate) fn hand_on(&self, came: Came) -> Option<Came> {
        match came {
            Came::Answer(id, answer) => {
                self.answered(&id, answer);
                None
            }
            Came::Note(note) => match note.method.as_str() {
                "notifications/progress" => {
                    self.progressed(note);
                    None
                }
                "notifications/message" => {
                    self.only_talking(Came::Note(note));
                    None
                }
                "notifications/cancelled" => {
                    self.all_talking(&note);
                    None
                }
                _ => Some(Came::Note(note)),
            },
            Came::Asked(asked) if asked.method == "ping" => Some(Came::Asked(asked)),
            asked @ Came::Asked(_) => self.only_talking(asked),
            // Of a stream that all share it is no request's.
            Came::LetGo => None,
        }
    }

    /// Whether progress of the request with this token is news: it is under way, and more is done than before.
    pub(crate) fn has_grown(&self, token: &Id, done: f64) -> bool {
        self.lock().requests.progress(token, done).is_some()
    }

    /// The server has gone: nobody is answered any more.
    pub(crate) fn drain(&self) {
        let mut table = self.lock();
        table.closed = true;
        table.requests.drain();
    }

    /// Answers that came too late or twice, and those to nothing that we asked.
    pub(crate) fn stray(&self) -> (u64, u64) {
        let requests = &self.lock().requests;
        (requests.late(), requests.unknown())
    }

    fn answered(&self, id: &Id, answer: Answer) {
        if let Arrival::Wanted(waiting) = self.lock().requests.answered(id) {
            // Who waited may have gone in between.
            let _ = waiting.value.answer.send(answer);
        }
    }

    fn progressed(&self, note: Note) {
        let Some(progress) = Progressed::read(&note.params) else { return };
        let sender = match self.lock().requests.progress(&progress.token, progress.done) {
            Some(waiting) => waiting.value.events.clone(),
            None => return,
        };
        // One report more or less is nothing.
        let _ = sender.try_send(Came::Note(note));
    }

    /// To the one caller that is served; back where there are several or none, or where it is too far behind.
    fn only_talking(&self, came: Came) -> Option<Came> {
        let table = self.lock();
        let mut talking = table.requests.waiting().filter(|waiter| waiter.talks);
        match (talking.next(), talking.next()) {
            (Some(only), None) => only.events.try_send(came).err().map(mpsc::error::TrySendError::into_inner),
            _ => Some(came),
        }
    }

    fn all_talking(&self, note: &Note) {
        for waiter in self.lock().requests.waiting().filter(|waiter| waiter.talks) {
            let _ = waiter.events.try_send(Came::Note(note.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A report of progress.
#[derive(Debug)]
pub(crate) struct Progressed {
    pub(crate) token: Id,
    pub(crate) done: f64,
    pub(crate) total: Option<f64>,
    pub(crate) message: Option<String>,
}

impl Progressed {
    /// Reads the params of `notifications/progress`; `None` where they are none.
    pub(crate) fn read(params: &RawValue) -> Option<Self> {
        let params = mcp::Object::read(params).ok()?;
        let number = |name: &str| serde_json::from_str::<f64>(params.get(name)?).ok();
        Some(Self {
            token: Id::parse(params.get("progressToken")?).ok()?,
            done: number("progress")?,
            total: number("total"),
            message: params.text("message").ok().flatten().map(Into::into),
        })
    }
}

impl Ticket {
    /// What comes for it on a stream that all requests share: first what came before the answer.
    ///
    /// Error: the server has gone.
    pub(crate) async fn next(&mut self) -> Result<Came, UpstreamError> {
        tokio::select! {
            biased;
            Some(came) = self.events.recv() => Ok(came),
            answer = &mut self.answer => match answer {
                Ok(answer) => Ok(Came::Answer(self.id.clone(), answer)),
                Err(_) => Err(UpstreamError::Broken(None)),
            },
        }
    }

    /// What comes for it beside its answer; `None` where nothing will.
    pub(crate) async fn aside(&mut self) -> Option<Came> {
        self.events.recv().await
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.table.lock().requests.cancel(&self.id);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_line_answers_is_read_off_its_beginning_or_not_at_all() {
        for (line, id) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":{"#, Some("7")),
            (r#" { "jsonrpc" : "2.0" , "id" : 7 , "error" : ["#, Some("7")),
            (r#"{"id":7,"jsonrpc":"2.0","result":"#, Some("7")),
            (r#"{"id":7,"result":"#, Some("7")),
            (r#"{"jsonrpc":"2.0","id":7}"#, Some("7")),
            // A question of its own, the id of something else, or what is told of a message.
            (r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#, None),
            (r#"{"jsonrpc":"2.0","result":{"id":7,"result":1},"id":8"#, None),
            (r#"got {"jsonrpc":"2.0","id":7,"result":{}}"#, None),
            (r#"[{"jsonrpc":"2.0","id":7,"result":{}}]"#, None),
            (r#"{"jsonrpc":"2.0","id":"7","result":{}}"#, None),
            (r#"{"jsonrpc":"1.0","id":7,"result":{}}"#, None),
            ("", None),
        ] {
            let found = answers(line.as_bytes()).map(|id| id.to_string());
            assert_eq!(found.as_deref(), id, "{line}");
        }
        assert!(answers(b"{\"id\":1,\"result\":\xff\xfe").is_some());
    }
}
