//! Streams of older clients: what was sent for one request, kept so that a client that lost its connection can take
//! it up again (2025-11-25 basic/transports, "Resumability and Redelivery").

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ::mcp::sse::{EventId, write_message, write_priming, write_retry};
use bytes::Bytes;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use super::http::{KEEP_ALIVE, alive};

/// How much of one stream is kept, in bytes; what is older is gone for whoever comes back late.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// How long a client should wait before it comes back, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// What is sent for one request.
pub(crate) struct Stream {
    /// Its number in its session.
    pub(crate) number: u32,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// The number of the first message that is kept; the first of all is 1.
    first: u64,
    /// Since when nothing more comes.
    done: Option<Instant>,
    /// Grows when whoever reads is let go.
    cuts: u64,
}

/// What there is to read of a stream.
struct Found {
    messages: Vec<Bytes>,
    next: u64,
    is_done: bool,
    cuts: u64,
}

/// The first thing that came.
pub(crate) enum First {
    /// The answer, and nothing before it.
    Answer(Bytes),
    /// Something else: it is a stream.
    Stream,
    /// The request was cancelled: there will be no answer.
    Nothing,
}

impl Stream {
    pub(crate) fn new(number: u32) -> Arc<Self> {
        let state = State { messages: VecDeque::new(), bytes: 0, first: 1, done: None, cuts: 0 };
        Arc::new(Self { number, state: Mutex::new(state), changed: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message.
    pub(crate) fn send(&self, message: Vec<u8>) {
        self.push(message, None);
    }

    /// Sends the last message, and ends in the same moment: an answer that nothing went before is told from a stream.
    pub(crate) fn finish(&self, message: Vec<u8>) {
        self.push(message, Some(Instant::now()));
    }

    fn push(&self, message: Vec<u8>, done: Option<Instant>) {
        let mut state = self.lock();
        state.done = state.done.or(done);
        state.bytes += message.len();
        state.messages.push_back(message.into());
        while state.bytes > KEPT_BYTES_MAX && state.messages.len() > 1 {
            if let Some(oldest) = state.messages.pop_front() {
                state.bytes -= oldest.len();
                state.first += 1;
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Nothing more comes.
    pub(crate) fn end(&self) {
        self.lock().done = Some(Instant::now());
        self.changed.notify_waiters();
    }

    /// Lets go of whoever reads.
    pub(crate) fn cut(&self) {
        self.lock().cuts += 1;
        self.changed.notify_waiters();
    }

    /// Since when nothing more comes.
    pub(crate) fn done(&self) -> Option<Instant> {
        self.lock().done
    }

    /// Waits for the first thing that comes.
    pub(crate) async fn first(&self) -> First {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.lock();
                match (state.done.is_some(), state.messages.len(), state.cuts) {
                    (true, 0, _) => return First::Nothing,
                    (true, 1, 0) if state.first == 1 => return First::Answer(state.messages[0].clone()),
                    (false, 0, 0) => {}
                    _ => return First::Stream,
                }
            }
            changed.await;
        }
    }

    fn after(&self, seen: u64) -> Found {
        let state = self.lock();
        let skip = usize::try_from((seen + 1).saturating_sub(state.first)).unwrap_or(usize::MAX);
        let messages: Vec<Bytes> = state.messages.iter().skip(skip).cloned().collect();
        let next = state.first + state.messages.len() as u64 - 1;
        Found { messages, next, is_done: state.done.is_some(), cuts: state.cuts }
    }

    fn event_id(&self, number: u64) -> Option<EventId> {
        EventId::new(&format!("{}-{number}", self.number))
    }

    /// Sends all events, until the stream ends, lets go of its reader, or the reader goes. `primes` is true for clients
    /// that know how to begin with an empty event.
    pub(crate) async fn pump(self: Arc<Self>, primes: bool, sender: mpsc::Sender<Bytes>) {
        let mut out = Vec::new();
        if primes && let Some(id) = self.event_id(0) {
            write_priming(&mut out, &id, Some(RETRY_MS));
        }
        self.send_after(0, 0, out, sender).await;
    }

    /// Sends the events after `seen` to a reader that came back.
    pub(crate) async fn resume(self: Arc<Self>, seen: u64, sender: mpsc::Sender<Bytes>) {
        let cuts = self.lock().cuts;
        self.send_after(seen, cuts, Vec::new(), sender).await;
    }

    async fn send_after(&self, mut seen: u64, cuts: u64, mut out: Vec<u8>, sender: mpsc::Sender<Bytes>) {
        loop {
            let changed = self.changed.notified();
            let found = self.after(seen);
            let from = found.next + 1 - found.messages.len() as u64;
            for (number, message) in (from..).zip(&found.messages) {
                write_message(&mut out, self.event_id(number).as_ref(), message);
            }
            seen = found.next.max(seen);
            let is_cut = found.cuts > cuts && !found.is_done;
            if is_cut {
                write_retry(&mut out, RETRY_MS);
            }
            if !out.is_empty() && sender.send(std::mem::take(&mut out).into()).await.is_err() {
                return;
            }
            if found.is_done || is_cut {
                return;
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(KEEP_ALIVE) => out.extend_from_slice(&alive()),
                () = sender.closed() => return,
            }
        }
    }
}

/// The stream and the message that an event id names.
pub(crate) fn place(last_event_id: &str) -> Option<(u32, u64)> {
    let (stream, number) = last_event_id.split_once('-')?;
    Some((stream.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(stream: &Arc<Stream>, seen: Option<u64>) -> String {
        let (sender, mut pieces) = mpsc::channel(16);
        let stream = Arc::clone(stream);
        let pump = async {
            match seen {
                None => stream.pump(true, sender).await,
                Some(seen) => stream.resume(seen, sender).await,
            }
        };
        let gather = async {
            let mut text = String::new();
            while let Some(piece) = pieces.recv().await {
                text += std::str::from_utf8(&piece).unwrap();
            }
            text
        };
        tokio::join!(pump, gather).1
    }

    #[tokio::test]
    async fn what_was_lost_is_sent_again_and_nothing_else() {
        let stream = Stream::new(3);
        for message in ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"] {
            stream.send(message.into());
        }
        stream.end();
        let all = read(&stream, None).await;
        assert!(all.starts_with("id: 3-0\nretry: 1000\ndata: \n\n"), "{all}");
        assert!(
            all.contains("id: 3-1\ndata: {\"a\":1}") && all.contains("id: 3-3\ndata: {\"c\":3}"),
            "{all}"
        );
        let rest = read(&stream, Some(2)).await;
        assert!(!rest.contains("\"b\"") && rest.contains("id: 3-3\ndata: {\"c\":3}"), "{rest}");
        assert_eq!(place("3-2"), Some((3, 2)));
        assert!(["", "3", "3-", "-1", "a-1", "3-1-1"].iter().all(|text| place(text).is_none()));
    }

    #[tokio::test]
    async fn a_reader_that_is_let_go_comes_back_for_the_rest() {
        let stream = Stream::new(1);
        stream.cut();
        assert!(matches!(stream.first().await, First::Stream));
        assert!(read(&stream, None).await.ends_with("retry: 1000\n\n"));
        let answer = async {
            stream.send(b"{}".to_vec());
            stream.end();
        };
        let (text, ()) = tokio::join!(read(&stream, Some(0)), answer);
        assert!(text.contains("id: 1-1\ndata: {}"), "{text}");
    }

    #[tokio::test]
    async fn a_long_stream_forgets_its_beginning() {
        let stream = Stream::new(1);
        for _ in 0..3 {
            stream.send(vec![b'x'; KEPT_BYTES_MAX / 2]);
        }
        stream.end();
        let found = stream.after(0);
        assert_eq!((found.messages.len(), found.next), (2, 3));
    }
}
