//! Serving: the house opened, its listeners, and what ends or changes it from outside.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};
use tool::{Secret, Stop, StopSource};

use crate::{
    app::{App, Core, Live, ShownKey},
    bridge,
    cli::{Exit, Failure, Out},
    clock::WallClock,
    config::{Loaded, LogFormat},
    data,
    log::{Log, LogTo},
    watch,
};

/// How a server is started.
pub(crate) struct Start<'a> {
    /// The configuration.
    pub loaded: Loaded,
    /// The data folder.
    pub dir: &'a Path,
    /// The address to listen on, where the command line names one.
    pub listen: Option<SocketAddr>,
    /// Where the log goes.
    pub log_to: LogTo,
    /// What the log looks like, where the command line decides.
    pub log_format: Option<LogFormat>,
}

/// A server that takes calls.
pub(crate) struct Ready<'a> {
    /// Where it listens: `http://127.0.0.1:8000`.
    pub url: String,
    /// The data folder; absolute.
    pub dir: &'a Path,
    /// The keys that were made at this start.
    pub shown: &'a [ShownKey],
}

/// Serves until it is asked to stop (SIGTERM, SIGINT), and then ends in order.
pub(crate) async fn run(
    start: Start<'_>,
    out: &Out,
    announce: impl FnOnce(&Ready<'_>),
) -> Result<(), Failure> {
    let Start { mut loaded, dir, listen, log_to, log_format } = start;
    loaded.config.server.listen = listen.unwrap_or(loaded.config.server.listen);
    loaded.config.log.format = log_format.unwrap_or(loaded.config.log.format);
    let log = Log::start(&loaded.config.log, &loaded.base_dir, log_to, Arc::new(WallClock))
        .map_err(|text| Failure::new(Exit::Failed, text))?;
    for note in &loaded.notes {
        tracing::warn!("{note}");
    }
    let app = Box::pin(App::open(loaded, dir)).await.map_err(|error| {
        log.flush();
        error.into_failure(out)
    })?;
    let served = serve(&app, &log, announce).await;
    app.close().await;
    tracing::info!("the server has stopped");
    drop(log);
    served
}

/// Serves one client over standard input and output, and the command line over the local socket, until the input ends
/// or the process is asked to stop.
pub(crate) async fn pipes(
    start: Start<'_>,
    key: Secret,
    toolset: Option<&str>,
    out: &Out,
) -> Result<(), Failure> {
    let Start { mut loaded, dir, log_to, .. } = start;
    loaded.config.log.format = LogFormat::Json;
    let log = Log::start(&loaded.config.log, &loaded.base_dir, log_to, Arc::new(WallClock))
        .map_err(|text| Failure::new(Exit::Failed, text))?;
    let app = Box::pin(App::open(loaded, dir)).await.map_err(|error| {
        log.flush();
        error.into_failure(out)
    })?;
    for key in &app.shown {
        out.note(&format!("key {:?}, shown this once: {}", key.label, key.secret.expose()));
    }
    let served = serve_pipes(&app, &log, key, toolset).await;
    app.close().await;
    drop(log);
    served
}

async fn serve_pipes(app: &App, log: &Log, key: Secret, toolset: Option<&str>) -> Result<(), Failure> {
    let core = app.core();
    let (config, extras) = (&core.loaded().config.server, extras(core));
    let server = serve::Server::bind_local(config, Arc::clone(app.gate()), extras)
        .await
        .map_err(|error| Failure::new(Exit::Failed, format!("{:#}", anyhow::Error::from(error))))?;
    let client = server.stdio(key, toolset).await.map_err(|fault| {
        if fault.code == tool::Code::NotFound {
            return Failure::new(
                Exit::Failed,
                format!("{fault}; `toolsets` in the configuration names them"),
            );
        }
        let text = format!("{fault}; put a key into PORTCULLIS_KEY (portcullis keys create makes one)");
        Failure::new(Exit::Denied, text)
    })?;
    core.go_live(Live { server: server.handle(), log: log.level_switch() });
    data::remember(&core.folder().dir);
    let (source, stop) = StopSource::new();
    let source = Arc::new(source);
    let outside = Outside::listen(core)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot listen to signals: {error}")))?;
    let mut events = JoinSet::new();
    events.spawn(outside.run(Arc::clone(core), Arc::clone(&source), stop.clone()));
    let speaking = async {
        let spoken = match (bridge::input(), bridge::output()) {
            (Ok(input), Ok(output)) => client.run(input, output, stop.clone()).await,
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        source.ask();
        spoken
    };
    let (spoken, ()) = tokio::join!(speaking, server.run(stop.clone()));
    events.shutdown().await;
    spoken.map_err(|error| Failure::new(Exit::Failed, format!("standard input or output broke: {error}")))
}

/// What a server needs beside its section of the configuration.
fn extras(core: &Core) -> serve::Extras {
    let folder = core.folder();
    serve::Extras {
        version: env!("CARGO_PKG_VERSION").into(),
        clock: core.clock(),
        operations: core.loaded().config.operations.clone(),
        data_dir: folder.dir.clone(),
        socket: Some(data::socket(&folder.dir)),
        mcp: serve::McpState { sessions: core.mcp_sessions(), tasks: core.mcp_tasks() },
    }
}

async fn serve(app: &App, log: &Log, announce: impl FnOnce(&Ready<'_>)) -> Result<(), Failure> {
    let core = app.core();
    let loaded = core.loaded();
    let folder = core.folder();
    let server = serve::Server::bind(&loaded.config.server, Arc::clone(app.gate()), extras(core))
        .await
        .map_err(|error| Failure::new(Exit::Failed, format!("{:#}", anyhow::Error::from(error))))?;
    core.go_live(Live { server: server.handle(), log: log.level_switch() });
    let url = format!("http://{}", server.local_addr());
    folder.note_server(&url, loaded.file.as_deref());
    data::remember(&folder.dir);
    let (source, stop) = StopSource::new();
    // Before anyone is told that it is ready: until then a signal would end the process.
    let outside = Outside::listen(core)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot listen to signals: {error}")))?;
    let mut events = JoinSet::new();
    events.spawn(outside.run(Arc::clone(core), Arc::new(source), stop.clone()));
    tracing::info!(url, data_dir = %folder.dir.display(), "the server takes calls");
    announce(&Ready { url, dir: &folder.dir, shown: &app.shown });
    server.run(stop).await;
    events.shutdown().await;
    Ok(())
}

/// Ends with the next change of any; never, where nothing is watched.
async fn any(changes: &mut [watch::Changes]) {
    if changes.is_empty() {
        return std::future::pending().await;
    }
    let next = changes.iter_mut().map(|watched| Box::pin(watched.next()));
    futures_util::future::select_all(next).await;
}

/// What comes from outside: signals, and changes of the configuration's files.
struct Outside {
    /// The files that are watched.
    files: Vec<PathBuf>,
    changes: Vec<watch::Changes>,
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Outside {
    /// Begins to listen. What comes from now on is not missed.
    fn listen(core: &Core) -> std::io::Result<Self> {
        let (term, int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let hup = signal(SignalKind::hangup())?;
        let mut outside = Self { files: Vec::new(), changes: Vec::new(), term, int, hup };
        outside.watch(core);
        Ok(outside)
    }

    /// Watches the files of the configuration as it is now.
    fn watch(&mut self, core: &Core) {
        let loaded = core.loaded();
        let files = loaded.file.iter().chain(&loaded.imported).filter(|_| loaded.config.upkeep.watch_config);
        let files: Vec<PathBuf> = files.cloned().collect();
        if files == self.files {
            return;
        }
        self.changes.clear();
        for file in &files {
            match watch::changes(file) {
                Ok(watched) => self.changes.push(watched),
                Err(error) => {
                    let file = file.display();
                    tracing::warn!(%error, %file, "the configuration file cannot be watched; send SIGHUP after a change");
                }
            }
        }
        self.files = files;
    }

    /// Reloads when it should, and ends with the one who asks the server to stop.
    async fn run(mut self, core: Arc<Core>, source: Arc<StopSource>, stop: Stop) {
        loop {
            let name = tokio::select! {
                () = stop.asked() => return,
                _ = self.term.recv() => "SIGTERM",
                _ = self.int.recv() => "SIGINT",
                _ = self.hup.recv() => {
                    reload(&core, "SIGHUP").await;
                    self.watch(&core);
                    continue;
                }
                () = any(&mut self.changes) => {
                    reload(&core, "file").await;
                    self.watch(&core);
                    continue;
                }
            };
            tracing::info!(
                signal = name,
                "the server stops: it takes no more calls, and lets those that run end"
            );
            source.ask();
            return;
        }
    }
}

async fn reload(core: &Arc<Core>, why: &str) {
    tracing::info!(why, "the configuration is taken anew");
    // What came of it is logged and recorded inside.
    let _ = core.reload().await;
}
