//! Sessions of older clients: begun with `initialize`, bound to a principal, bounded in number, and taken up again
//! after a restart.
//!
//! One that is idle holds little more than what its client can do; what a request under way needs is made with the
//! first.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use ::mcp::{
    Capabilities, Id, Object, Version, WireError,
    inflight::{Arrival, Incoming, Outgoing},
    meta::Level,
    seal::nonce,
};
use serde_json::value::RawValue;
use state::{SessionRecord, StateError};
use tokio::sync::{Notify, oneshot};
use tool::{Code, Fault, Timestamp};

use super::{modern::client_name, streams::Stream};

/// The most requests of one session under way, in each direction.
const UNDER_WAY_MAX: usize = 256;

/// The most streams that one session keeps.
const STREAMS_MAX: usize = 64;

/// How long a stream that has ended is kept for a client that lost its connection.
const ENDED_KEPT: Duration = Duration::from_secs(60);

/// The most resources that one session may watch.
const WATCHED_MAX: usize = 256;

/// How a session is found without its id being kept.
type IdHash = [u8; 32];

/// What a client answers to a request of ours.
pub(crate) type Reply = Result<Box<RawValue>, Fault>;

/// All sessions.
pub(crate) struct Sessions {
    store: Arc<dyn state::Sessions>,
    max: usize,
    per_principal_max: usize,
    table: Mutex<HashMap<IdHash, Arc<Session>>>,
}

/// One session.
pub(crate) struct Session {
    hash: IdHash,
    pub(crate) principal: Arc<str>,
    pub(crate) version: Version,
    pub(crate) capabilities: Arc<Capabilities>,
    pub(crate) label: Option<Arc<str>>,
    used: AtomicI64,
    level: AtomicU8,
    /// Which stream without a request is the one: the newest.
    pub(crate) listening: AtomicU64,
    active: Mutex<Option<Box<Active>>>,
}

/// What is under way in a session.
struct Active {
    incoming: Incoming<Arc<Notify>>,
    outgoing: Outgoing<oneshot::Sender<Reply>>,
    streams: VecDeque<Arc<Stream>>,
    next_stream: u32,
    watched: HashSet<String>,
}

impl Default for Active {
    fn default() -> Self {
        Self {
            incoming: Incoming::new(UNDER_WAY_MAX),
            outgoing: Outgoing::new(UNDER_WAY_MAX),
            streams: VecDeque::new(),
            next_stream: 0,
            watched: HashSet::new(),
        }
    }
}

impl Sessions {
    pub(crate) fn new(store: Arc<dyn state::Sessions>, max: usize, per_principal_max: usize) -> Self {
        Self { store, max, per_principal_max, table: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IdHash, Arc<Session>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session. A principal with too many loses the one it has not used for longest. Returns the id too,
    /// which only the client keeps.
    ///
    /// Error: too many sessions in all, or no room to remember it.
    pub(crate) async fn begin(
        &self,
        principal: &Arc<str>,
        credential: &str,
        version: Version,
        initialize: &Object<'_>,
        now: Timestamp,
    ) -> Result<(String, Arc<Session>), WireError> {
        let id = nonce().map_err(|e| WireError::internal(e.to_string()))?;
        let hash = hash_of(&id);
        let session = Session::new(hash, Arc::clone(principal), version, initialize, now);
        let record = SessionRecord {
            id_hash: hex(&hash),
            principal: principal.to_string(),
            credential: credential.to_owned(),
            protocol: version.as_str().to_owned(),
            initialize: initialize.raw().get().to_owned(),
            created_at: now,
            used_at: now,
        };
        self.store.put(&record).await.map_err(|error| lost(&error))?;
        let session = Arc::new(session);
        let evicted = self.put(Arc::clone(&session))?;
        for old in evicted {
            self.forget(&old).await;
        }
        Ok((id, session))
    }

    /// A session of its own, for a transport that has only one.
    pub(crate) fn alone(
        principal: &Arc<str>,
        version: Version,
        initialize: &Object<'_>,
        now: Timestamp,
    ) -> Arc<Session> {
        Arc::new(Session::new([0; 32], Arc::clone(principal), version, initialize, now))
    }

    /// Puts a session into the table, and takes out what it displaces.
    fn put(&self, session: Arc<Session>) -> Result<Vec<Arc<Session>>, WireError> {
        let mut table = self.lock();
        let mut evicted = Vec::new();
        let of_principal = table.values().filter(|other| other.principal == session.principal);
        let (count, oldest) = of_principal.fold((0, None::<&Arc<Session>>), |(count, oldest), other| {
            let is_older = oldest.is_none_or(|oldest| {
                other.used.load(Ordering::Relaxed) < oldest.used.load(Ordering::Relaxed)
            });
            (count + 1, if is_older { Some(other) } else { oldest })
        });
        if count >= self.per_principal_max
            && let Some(oldest) = oldest.cloned()
        {
            table.remove(&oldest.hash);
            evicted.push(oldest);
        }
        if table.len() >= self.max {
            let text = format!(
                "{} sessions are open already, which is the most; end one, or use protocol 2026-07-28",
                self.max
            );
            return Err(WireError::internal(text).with_status(503));
        }
        table.insert(session.hash, session);
        Ok(evicted)
    }

    /// The session with this id, where it is this principal's. To anybody else it does not exist.
    pub(crate) async fn find(&self, id: &str, principal: &Arc<str>, now: Timestamp) -> Option<Arc<Session>> {
        let hash = hash_of(id);
        let known = self.lock().get(&hash).cloned();
        let session = match known {
            Some(session) => session,
            None => self.restore(hash, principal).await?,
        };
        if session.principal != *principal {
            return None;
        }
        session.used.store(now.unix_ms(), Ordering::Relaxed);
        Some(session)
    }

    /// Takes up a session of an earlier process.
    async fn restore(&self, hash: IdHash, principal: &Arc<str>) -> Option<Arc<Session>> {
        let found = self.store.get(&hex(&hash)).await;
        let record = found.unwrap_or_else(|error| {
            tracing::error!(error = %error, "sessions cannot be read");
            None
        })?;
        if record.principal != principal.as_ref() {
            return None;
        }
        let version = Version::parse(&record.protocol)?;
        let raw: Box<RawValue> = serde_json::from_str(&record.initialize).ok()?;
        let initialize = Object::read(&raw).ok()?;
        let session =
            Arc::new(Session::new(hash, Arc::clone(principal), version, &initialize, record.used_at));
        for old in self.put(Arc::clone(&session)).ok()? {
            self.forget(&old).await;
        }
        Some(session)
    }

    /// Ends a session, and what is under way in it.
    pub(crate) async fn end(&self, session: &Arc<Session>) {
        self.lock().remove(&session.hash);
        self.forget(session).await;
    }

    async fn forget(&self, session: &Session) {
        session.stop_all();
        if let Err(error) = self.store.remove(&hex(&session.hash)).await {
            tracing::warn!(error = %error, "a session that ended cannot be forgotten");
        }
    }

    /// Remembers when sessions were used, and forgets those that nobody used for so long.
    pub(crate) async fn tend(&self, now: Timestamp, idle: Duration) -> Result<(), StateError> {
        let used: Vec<_> = {
            let table = self.lock();
            let stamp = |session: &Arc<Session>| {
                (hex(&session.hash), Timestamp::from_unix_ms(session.used.load(Ordering::Relaxed)))
            };
            table.values().map(stamp).collect()
        };
        self.store.touch(&used).await?;
        let before =
            Timestamp::from_unix_ms(now.unix_ms() - i64::try_from(idle.as_millis()).unwrap_or(i64::MAX));
        self.lock().retain(|_, session| {
            session.is_busy() || session.used.load(Ordering::Relaxed) >= before.unix_ms()
        });
        self.store.prune(before).await?;
        Ok(())
    }
}

impl Session {
    fn new(
        hash: IdHash,
        principal: Arc<str>,
        version: Version,
        initialize: &Object<'_>,
        now: Timestamp,
    ) -> Self {
        let capabilities = initialize.raw_of("capabilities").and_then(Capabilities::read).unwrap_or_default();
        Self {
            hash,
            principal,
            version,
            capabilities: Arc::new(capabilities),
            label: initialize.raw_of("clientInfo").and_then(client_name),
            used: AtomicI64::new(now.unix_ms()),
            level: AtomicU8::new(Level::Info as u8),
            listening: AtomicU64::new(0),
            active: Mutex::default(),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Active) -> T) -> T {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        work(active.get_or_insert_default())
    }

    /// From which level on log is wanted.
    pub(crate) fn level(&self) -> Level {
        Level::of_rank(self.level.load(Ordering::Relaxed))
    }

    pub(crate) fn set_level(&self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// A request comes in, with a stream for what is sent for it.
    ///
    /// Error: its id is that of another under way, or too many are.
    pub(crate) fn open(&self, id: &Id) -> Result<(Arc<Stream>, Arc<Notify>), WireError> {
        self.with(|active| {
            let cancelled = Arc::new(Notify::new());
            active.incoming.open(id.clone(), None, Arc::clone(&cancelled), std::time::Instant::now())?;
            active.next_stream += 1;
            let stream = Stream::new(active.next_stream);
            active.streams.retain(|old| old.done().is_none_or(|at| at.elapsed() < ENDED_KEPT));
            if active.streams.len() >= STREAMS_MAX {
                active.streams.pop_front();
            }
            active.streams.push_back(Arc::clone(&stream));
            Ok((stream, cancelled))
        })
    }

    /// The work of a request has ended. True where its client still wants the answer.
    pub(crate) fn close(&self, id: &Id) -> bool {
        self.with(|active| matches!(active.incoming.close(id), Some(::mcp::inflight::Ending::Answer(_))))
    }

    /// The client cancels a request.
    pub(crate) fn cancel(&self, id: &Id) {
        self.with(|active| {
            if let Some(cancelled) = active.incoming.cancel(id) {
                cancelled.notify_one();
            }
        });
    }

    /// Forgets a stream whose answer was delivered otherwise.
    pub(crate) fn drop_stream(&self, stream: &Stream) {
        self.with(|active| active.streams.retain(|other| other.number != stream.number));
    }

    /// The stream with this number, as long as it is kept.
    pub(crate) fn stream(&self, number: u32) -> Option<Arc<Stream>> {
        self.with(|active| active.streams.iter().find(|stream| stream.number == number).cloned())
    }

    /// A request to the client goes out; its answer comes to whoever waits.
    pub(crate) fn ask(&self) -> Result<(Id, oneshot::Receiver<Reply>), WireError> {
        let (sender, receiver) = oneshot::channel();
        let id = self.with(|active| active.outgoing.open(sender, None, None))?;
        Ok((id, receiver))
    }

    /// Nobody waits for this answer any more.
    pub(crate) fn give_up(&self, id: &Id) {
        self.with(|active| drop(active.outgoing.cancel(id)));
    }

    /// An answer of the client. One that comes late, twice or to nothing is dropped.
    pub(crate) fn answered(&self, id: &Id, reply: Reply) {
        if let Arrival::Wanted(waiting) = self.with(|active| active.outgoing.answered(id)) {
            // Whoever asked may have been stopped meanwhile.
            let _ = waiting.value.send(reply);
        }
    }

    /// Watches a resource, or watches it no more.
    pub(crate) fn watch(&self, uri: &str, is_on: bool) -> Result<(), WireError> {
        self.with(|active| {
            if !is_on {
                active.watched.remove(uri);
            } else if active.watched.len() >= WATCHED_MAX {
                return Err(WireError::invalid_params(format!(
                    "more than {WATCHED_MAX} resources are watched"
                )));
            } else {
                active.watched.insert(uri.to_owned());
            }
            Ok(())
        })
    }

    pub(crate) fn watches(&self, uri: &str) -> bool {
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.as_ref().is_some_and(|active| active.watched.contains(uri))
    }

    fn is_busy(&self) -> bool {
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.as_ref().is_some_and(|active| !active.incoming.is_empty())
    }

    /// Cancels all that is under way.
    pub(crate) fn stop_all(&self) {
        self.listening.fetch_add(1, Ordering::AcqRel);
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(active) = active.as_mut() {
            active.incoming.cancel_all().into_iter().for_each(|cancelled| cancelled.notify_one());
            for waiting in active.outgoing.drain() {
                let _ = waiting.value.send(Err(Fault::new(Code::Cancelled, "the session has ended")));
            }
        }
    }
}

fn hash_of(id: &str) -> IdHash {
    *blake3::hash(id.as_bytes()).as_bytes()
}

fn hex(hash: &IdHash) -> String {
    blake3::Hash::from_bytes(*hash).to_hex().to_string()
}

fn lost(error: &StateError) -> WireError {
    tracing::error!(error = %error, "a session cannot be kept");
    WireError::internal("sessions cannot be kept at the moment; ask again later")
}
