//! One server: its connection, which is made when it is needed, and what it offers.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use mcp::{Era, Version};
use state::{Pins, StateError};
use tokio::{
    sync::{Notify, Semaphore, oneshot},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tool::{Clock, Meter, Notice, Parts, Purpose, Secret, ToolServer};

use crate::{
    catalogue::{Catalogue, Shape},
    config::{PinMode, Protocol},
    error::UpstreamError,
    handshake::{Manner, Probed, initialize, probe},
    http::{Agreed, Http},
    hub::Hub,
    jsonl::Jsonl,
    lists::{Bounds, Listed},
    news::{Changes, News},
    oauth::OAuth,
    peer::{Line, Offers, Peer, Wire},
    pinning::{FIRST_USE, Offered, Pinning},
    pipe::Tongue,
    restarts::Restarts,
    socket::Socket,
    stdio::Launch,
};

/// How long a server that could not be reached is left alone.
const RECONNECT_WAIT: Duration = Duration::from_secs(1);
/// How long changes are gathered before the lists are fetched anew.
const GATHER: Duration = Duration::from_millis(20);
/// How long a connection that is made waits for the stream of its session.
const STREAM_WAIT_MAX: Duration = Duration::from_secs(1);
/// Requests of our own beside those of callers: lists, signs of life, one that listens.
const OWN_REQUESTS_MAX: usize = 16;

/// How a server is reached.
pub(crate) enum Means {
    Http(Arc<Http>),
    Program(Box<Launch>),
    /// A place that is spoken to line by line, and the longest line.
    Socket(Box<Socket>, usize),
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// A request without a sign of life.
    pub(crate) silence: Duration,
    /// A call in all.
    pub(crate) call: Duration,
    pub(crate) connect: Duration,
    /// How long the opening of the house waits for it.
    pub(crate) start_wait: Duration,
    pub(crate) close: Duration,
}

/// What a server is made of.
pub(crate) struct Settings {
    pub(crate) means: Means,
    pub(crate) manner: Manner,
    pub(crate) bounds: Bounds,
    pub(crate) times: Times,
    pub(crate) shape: Shape,
    pub(crate) pin: PinMode,
    /// What it is shown of ours, so that no error of its shows it to callers.
    pub(crate) secrets: Vec<Secret>,
    pub(crate) concurrent_max: usize,
    pub(crate) rounds_max: usize,
    pub(crate) watched_max: usize,
    /// Whether results are looked at for what is meant for a model.
    pub(crate) scan_results: bool,
    /// How often a program may end by itself before it is left alone.
    pub(crate) ends_max: u32,
    /// How often a program that says nothing is asked for a sign of life; zero for never.
    pub(crate) alive: Duration,
}

/// Of resources, a server speaks for its own alone.
fn own_alone(server: Weak<Upstream>, notify: tool::Notify) -> tool::Notify {
    Arc::new(move |notice| {
        let is_foreign = match &notice {
            Notice::Resource(uri) => {
                server.upgrade().is_none_or(|server| server.catalogue().reads(uri).is_none())
            }
            _ => false,
        };
        if !is_foreign {
            notify(notice);
        }
    })
}

/// Which of the tools that are held back are to be taken.
pub(crate) struct Chosen<'a> {
    /// Their names there; all where there are none.
    pub(crate) tools: Option<&'a [String]>,
    /// What was seen of them, by their names.
    pub(crate) digests: &'a HashMap<String, String>,
}

/// Why none of them is taken.
pub(crate) enum NotTaken {
    /// Not all of them are held back.
    NotHeld,
    /// This one is another than was seen.
    Changed(String),
}

/// One server.
pub(crate) struct Upstream {
    pub(crate) settings: Settings,
    pub(crate) meter: Arc<dyn Meter>,
    pins: Arc<dyn Pins>,
    clock: Arc<dyn Clock>,
    /// Turns to call it.
    pub(crate) turns: Semaphore,
    pub(crate) news: Arc<News>,
    pub(crate) tasks: TaskTracker,
    pub(crate) ending: CancellationToken,
    /// What is done beside the calls; it ends before the connection does.
    beside: TaskTracker,
    /// Says that the list of resources was fetched anew.
    pub(crate) relisted: Notify,
    /// True once the house has opened, with what was known by then.
    has_begun: AtomicBool,
    current: ArcSwapOption<Peer>,
    /// Why it could not be reached the last time, and when that was.
    failure: tokio::sync::Mutex<Option<(Instant, String)>>,
    pub(crate) restarts: Mutex<Restarts>,
    /// The connection that was begun last, whether it came up or not.
    pub(crate) latest: ArcSwapOption<Hub>,
    /// What it was found to speak.
    era: Mutex<Option<Era>>,
    listed: tokio::sync::Mutex<Listed>,
    catalogue: ArcSwap<Catalogue>,
}

impl Upstream {
    /// A server that is not connected to yet.
    pub(crate) fn new(settings: Settings, parts: &Parts, pins: Arc<dyn Pins>) -> Arc<Self> {
        let notify = Arc::clone(&parts.notify);
        Arc::new_cyclic(|this| Self {
            meter: Arc::clone(&parts.meter),
            pins,
            clock: Arc::clone(&parts.clock),
            turns: Semaphore::new(settings.concurrent_max),
            news: News::new(own_alone(Weak::clone(this), notify)),
            tasks: TaskTracker::new(),
            ending: CancellationToken::new(),
            beside: TaskTracker::new(),
            relisted: Notify::new(),
            has_begun: AtomicBool::new(false),
            current: ArcSwapOption::empty(),
            failure: tokio::sync::Mutex::default(),
            restarts: Mutex::new(Restarts::new(settings.ends_max)),
            latest: ArcSwapOption::empty(),
            era: Mutex::new(None),
            listed: tokio::sync::Mutex::default(),
            catalogue: ArcSwap::default(),
            settings,
        })
    }

    /// Its name in the configuration.
    pub(crate) fn name(&self) -> &str {
        &self.settings.shape.name
    }

    /// What its tools talk to.
    pub(crate) fn source(&self) -> &Arc<str> {
        &self.settings.shape.source
    }

    /// What it offers, as far as it is known.
    pub(crate) fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.load_full()
    }

    /// Connects and fetches the lists, as far as that can be done in time: a server that is down keeps nobody from
    /// opening the house.
    pub(crate) async fn begin(self: &Arc<Self>) {
        self.beside(Arc::clone(self).keep());
        let beginning = async {
            let peer = self.peer().await?;
            self.relist(Changes::ALL, &peer).await;
            Ok(())
        };
        let begun = timeout(self.settings.times.start_wait, beginning).await;
        self.has_begun.store(true, Ordering::Release);
        if begun.is_err()
            && let Some(peer) = self.live()
        {
            self.beside(Arc::clone(self).look_again(peer));
        }
        if let Err(error) = begun.unwrap_or(Err(UpstreamError::Timeout)) {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(server = self.name(), %error, cause, "a tool server cannot be reached; its tools are missing");
            if self.is_program() {
                self.beside(Arc::clone(self).revive());
            }
        }
    }

    /// The connection, made where there is none. Where that failed a moment ago it is not tried again.
    pub(crate) async fn peer(self: &Arc<Self>) -> Result<Arc<Peer>, UpstreamError> {
        if let Some(peer) = self.live() {
            return Ok(peer);
        }
        // In a task of its own: whoever waits for it may go away, and others wait for it too.
        let this = Arc::clone(self);
        let connecting = self.tasks.spawn(async move { this.connect_once().await });
        connecting.await.unwrap_or_else(|e| Err(UpstreamError::Broken(Some(e.into()))))
    }

    /// The connection, where there is one.
    pub(crate) fn live(&self) -> Option<Arc<Peer>> {
        self.current.load_full().filter(|peer| !peer.hub.gone().is_cancelled())
    }

    /// A connection turned out to be none: the next request makes a new one, and finds out anew what is spoken.
    pub(crate) fn forget(&self, peer: &Peer, why: &str) {
        peer.hub.close(why);
        *self.era.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Fetches these lists anew. Returns whether what is offered has changed.
    pub(crate) async fn relist(&self, changes: Changes, peer: &Peer) -> bool {
        let mut listed = self.listed.lock().await;
        let fetched = timeout(self.settings.times.silence, listed.fetch(changes, peer, self.settings.bounds));
        if fetched.await.is_err() {
            tracing::warn!(server = self.name(), "the lists of a tool server did not come in time");
        }
        let has_changed = self.rebuild(&listed).await;
        if changes.has(Changes::RESOURCES) {
            self.relisted.notify_one();
        }
        has_changed
    }

    /// Offers what was listed, as far as it is what was taken. Returns whether what is offered has changed.
    async fn rebuild(&self, listed: &Listed) -> bool {
        let pinned = match self.settings.pin {
            PinMode::Off => Ok(Vec::new()),
            _ => self.pins.pinned(self.name()).await,
        };
        let pinned = match pinned {
            Ok(pinned) => pinned,
            // What was taken is not known, so nothing else is.
            Err(error) => {
                tracing::error!(server = self.name(), %error, "it is not known what was taken of a tool server");
                return false;
            }
        };
        let mut built =
            Catalogue::build(&self.settings.shape, listed, &Pinning::new(self.settings.pin, pinned));
        let fresh = std::mem::take(&mut built.fresh);
        if let Err(error) = self.take(fresh, FIRST_USE).await {
            tracing::error!(server = self.name(), %error, "what is taken of a tool server cannot be kept");
        }
        let last = self.catalogue.load();
        for held in built.held.iter().filter(|held| !last.held.contains(held)) {
            let (server, tool, why) = (self.name(), &held.offered.tool, held.why());
            tracing::warn!(
                server,
                tool,
                why,
                "a tool is not what was taken, and is held back; look at it with `portcullis upstream list`"
            );
        }
        for (tool, what) in built.suspicious.iter().filter(|(tool, _)| !last.suspicious.contains_key(*tool)) {
            let (server, what) = (self.name(), what.join(", "));
            tracing::warn!(
                server,
                tool,
                what,
                "a tool says something that is meant for a model; rules can go by `label:suspicious`"
            );
        }
        let has_changed = !built.is_same(&last);
        self.catalogue.store(Arc::new(built));
        self.report();
        has_changed
    }

    async fn take(&self, offered: Vec<Offered>, by: &str) -> Result<(), StateError> {
        if offered.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let pins: Vec<_> = offered.into_iter().map(|offered| offered.pin(self.name(), now, by)).collect();
        tracing::info!(
            server = self.name(),
            tools = pins.len(),
            by,
            "tools of a tool server are taken as they are"
        );
        self.pins.pin(&pins).await
    }

    /// Takes tools that are held back as they are now, and gives their names.
    ///
    /// The inner error says why none is taken.
    pub(crate) async fn approve(
        &self,
        chosen: &Chosen<'_>,
        by: &str,
    ) -> Result<Result<Vec<String>, NotTaken>, StateError> {
        let listed = self.listed.lock().await;
        let catalogue = self.catalogue();
        let is_meant = |tool: &String| chosen.tools.is_none_or(|tools| tools.contains(tool));
        let held = catalogue.held.iter().map(|held| &held.offered);
        let meant: Vec<&Offered> = held.filter(|offered| is_meant(&offered.tool)).collect();
        let is_held = |tool: &String| meant.iter().any(|offered| offered.tool == *tool);
        if !chosen.tools.is_none_or(|tools| tools.iter().all(is_held)) {
            return Ok(Err(NotTaken::NotHeld));
        }
        let is_other = |offered: &&&Offered| {
            chosen.digests.get(&offered.tool).is_some_and(|seen| *seen != offered.digest)
        };
        if let Some(other) = meant.iter().find(is_other) {
            return Ok(Err(NotTaken::Changed(other.tool.clone())));
        }
        let names = meant.iter().map(|offered| offered.tool.clone()).collect();
        self.take(meant.into_iter().cloned().collect(), by).await?;
        if self.rebuild(&listed).await {
            self.news.tell(Notice::Tools);
        }
        Ok(Ok(names))
    }

    /// Ends the connection, and makes a new one; a program is started anew.
    pub(crate) async fn restart(self: &Arc<Self>) -> Result<(), UpstreamError> {
        self.restarts().forgive();
        self.disconnect("it was asked to start anew").await;
        *self.failure.lock().await = None;
        self.peer().await.map(drop)
    }

    /// Ends the connection, where there is one.
    pub(crate) async fn disconnect(&self, why: &str) {
        if let Some(peer) = self.live() {
            peer.close().await;
            peer.hub.close(why);
        }
    }

    /// What it is shown of ours.
    pub(crate) fn secrets(&self) -> Cow<'_, [Secret]> {
        match self.oauth().and_then(|oauth| oauth.shown()) {
            Some(token) => self.settings.secrets.iter().cloned().chain([token]).collect(),
            None => Cow::Borrowed(&self.settings.secrets),
        }
    }

    /// Where its tokens come from, where it wants any.
    pub(crate) fn oauth(&self) -> Option<&Arc<OAuth>> {
        match &self.settings.means {
            Means::Http(http) => http.oauth.as_ref(),
            Means::Program(_) | Means::Socket(..) => None,
        }
    }

    /// Measures how it stands.
    pub(crate) fn report(&self) {
        let catalogue = self.catalogue.load();
        let offered = catalogue.tools.iter().filter(|tool| tool.purpose == Purpose::Call).count();
        let stands = ToolServer {
            up: self.live().is_some(),
            quarantined: self.restarts().is_quarantined(),
            offered,
            held: catalogue.held.len(),
            left_out: catalogue.left_out,
            suspicious: catalogue.suspicious.len(),
        };
        self.meter.tool_server(self.name(), stands);
    }

    /// Ends the connection and all that belongs to it.
    pub(crate) async fn close(&self) {
        self.ending.cancel();
        let close = self.settings.times.close;
        // Whoever listens says that it has ended, while there is a way to say so.
        self.beside.close();
        let _ = timeout(close, self.beside.wait()).await;
        if let Some(peer) = self.current.swap(None) {
            // A server that does not answer is not waited for.
            let _ = timeout(close, peer.close()).await;
        }
        self.tasks.close();
        if timeout(close * 4 + RECONNECT_WAIT, self.tasks.wait()).await.is_err() {
            tracing::warn!(server = self.name(), "a tool server does not end");
        }
    }

    async fn connect_once(self: &Arc<Self>) -> Result<Arc<Peer>, UpstreamError> {
        let mut failure = self.failure.lock().await;
        if let Some(peer) = self.live() {
            return Ok(peer);
        }
        if self.ending.is_cancelled() {
            return Err(UpstreamError::Down { why: "it is being closed".to_owned(), wait: RECONNECT_WAIT });
        }
        if let Some((_, why)) = failure.as_ref().filter(|(at, _)| at.elapsed() < RECONNECT_WAIT) {
            return Err(UpstreamError::Down { why: why.clone(), wait: RECONNECT_WAIT });
        }
        self.may_start(self.current.load_full()).await?;
        let connected = timeout(self.settings.times.connect, self.connect()).await;
        match connected.unwrap_or(Err(UpstreamError::Timeout)) {
            Ok(peer) => {
                *failure = None;
                let was = self.restarts().count;
                self.restarts().started();
                if self.restarts().count > was {
                    self.meter.tool_server_restarted(self.name());
                }
                let peer = self.connected(peer).await;
                self.report();
                Ok(peer)
            }
            Err(error) => {
                // Programs have waits of their own.
                *failure = (!self.is_program()).then(|| (Instant::now(), format!("it {error}")));
                self.note_failure(&error).await;
                *self.era.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Err(error)
            }
        }
    }

    /// Does something beside the calls, until the connection is closed.
    fn beside(&self, work: impl Future<Output = ()> + Send + 'static) {
        let ending = self.ending.clone();
        self.beside.spawn(async move {
            ending.run_until_cancelled(work).await;
        });
    }

    async fn connected(self: &Arc<Self>, peer: Peer) -> Arc<Peer> {
        let peer = Arc::new(peer);
        let era = peer.version.era();
        *self.era.lock().unwrap_or_else(PoisonError::into_inner) = Some(era);
        self.current.store(Some(Arc::clone(&peer)));
        tracing::info!(server = self.name(), version = peer.version.as_str(), "a tool server is connected");
        let (ready, is_ready) = oneshot::channel();
        self.beside(Arc::clone(self).attend(Arc::clone(&peer), ready));
        if self.is_program() {
            self.beside(Arc::clone(self).outlive(Arc::clone(&peer)));
            let (this, seen) = (Arc::clone(self), Arc::clone(&peer));
            self.beside(async move {
                let gone = seen.hub.gone().clone();
                gone.run_until_cancelled(this.see_alive(seen)).await;
            });
        }
        // Without it a call that comes at once may miss what is said beside its own stream; that is no reason to fail.
        let _ = timeout(STREAM_WAIT_MAX, is_ready).await;
        if self.has_begun.load(Ordering::Acquire) {
            self.beside(Arc::clone(self).look_again(Arc::clone(&peer)));
        }
        peer
    }

    /// On a connection that was made late, or anew, something else may be offered than is known.
    async fn look_again(self: Arc<Self>, peer: Arc<Peer>) {
        if self.relist(Changes::ALL, &peer).await {
            Changes::ALL.notices().for_each(|notice| self.news.tell(notice));
        }
    }

    async fn connect(&self) -> Result<Peer, UpstreamError> {
        let known = *self.era.lock().unwrap_or_else(PoisonError::into_inner);
        let manner = &self.settings.manner;
        let (line, hub) = self.line().await?;
        if manner.protocol == Protocol::Jsonl {
            let offers = Offers { tools: true, ..Offers::default() };
            // Nothing is agreed on: it lists its tools, and is called.
            return Ok(Peer { hub, offers, version: Version::LATEST_LEGACY, line });
        }
        if manner.protocol == Protocol::Legacy || known == Some(Era::Legacy) {
            return initialize(line, hub, manner).await;
        }
        match probe(&line, &hub, manner).await? {
            Probed::Modern(offers) => {
                let agreed = Agreed { version: Some(Version::LATEST), session: None };
                Ok(Peer { hub, offers, version: Version::LATEST, line: Line { agreed, ..line } })
            }
            _ if manner.protocol == Protocol::Modern => Err(UpstreamError::protocol(
                "it does not speak the newer one, which is all that `protocol` allows",
            )),
            Probed::Legacy => initialize(line, hub, manner).await,
            Probed::LegacyAnew => {
                let (line, hub) = self.line().await?;
                initialize(line, hub, manner).await
            }
        }
    }

    /// A new connection on which nothing is agreed yet.
    async fn line(&self) -> Result<(Line, Arc<Hub>), UpstreamError> {
        let requests_max = self.settings.concurrent_max + OWN_REQUESTS_MAX;
        let hub = Hub::new(&self.settings.shape.name, requests_max, &self.news);
        self.latest.store(Some(Arc::clone(&hub)));
        let tongue = || match self.settings.manner.protocol {
            Protocol::Jsonl => Tongue::Jsonl(Jsonl::new(Arc::clone(&self.clock))),
            _ => Tongue::Mcp,
        };
        let wire = match &self.settings.means {
            Means::Http(http) => Wire::Http(Arc::clone(http)),
            Means::Program(launch) => Wire::Pipe(launch.start(tongue(), &hub, &self.tasks).await?),
            Means::Socket(socket, line_bytes_max) => {
                Wire::Pipe(socket.connect(tongue(), *line_bytes_max, &hub, &self.tasks).await?)
            }
        };
        Ok((Line { wire, agreed: Agreed::default(), tasks: self.tasks.clone() }, hub))
    }

    /// Fetches lists anew when the server says that they have changed, and passes that on.
    async fn keep(self: Arc<Self>) {
        loop {
            let changes = self.news.next().await;
            tokio::time::sleep(GATHER).await;
            let changes = changes.and(self.news.take());
            if let Some(peer) = self.live() {
                self.relist(changes, &peer).await;
            }
            changes.notices().for_each(|notice| self.news.tell(notice));
        }
    }
}
