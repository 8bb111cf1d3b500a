//! A gate and its listeners in this process, around the room that has everything the conformance suite asks for: the
//! parts that the binary puts together, in a folder of their own.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock, Weak},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use admin::{KeyMaker, NewKey};
use audit::Audit;
use change::Desk;
use gate::{Credentials, Gate, KeyRing, LimitsConfig, Metrics, Seal, Snapshot};
use serde_json::{Value, json};
use state::Keys as _;
use store::{MemoryCache, SqliteStore};
use tempfile::TempDir;
use testkit::suite::{Suite, Tell};
use tokio::{runtime::Runtime, task::JoinHandle};
use tool::{Call, Clock, Face, Kind, Line, Provider, RequestId, Secret, StopSource, Timestamp};

use crate::http::{Answer, exchange, request};

/// More of anything than a test asks for.
const PLENTY: u32 = 1_000;

/// A running house. It is stopped in order when it is dropped.
pub(crate) struct House {
    pub addr: SocketAddr,
    /// The key of the human `owner`, who may do everything.
    pub key: String,
    parts: Parts,
    stop: StopSource,
    /// The listeners, while they run.
    serving: Option<JoinHandle<()>>,
    runtime: Runtime,
    folder: TempDir,
}

/// What a house is made of, and closes when it ends.
struct Parts {
    gate: Arc<Gate>,
    ring: Arc<KeyRing>,
    maker: KeyMaker,
    store: Arc<SqliteStore>,
    audit: Audit,
}

impl House {
    /// The suite's room behind a gate, on a free port of this machine.
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("portcullis-it-").tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (stop, asked) = StopSource::new();
        let (parts, server) = runtime.block_on(async {
            let parts = Parts::open(folder.path().to_owned()).await;
            let config = serve::Config {
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                drain_ms: 2_000,
                ..serve::Config::default()
            };
            let extras = serve::Extras {
                version: env!("CARGO_PKG_VERSION").into(),
                clock: Arc::new(SystemClock),
                operations: serve::Operations::default(),
                data_dir: folder.path().to_owned(),
                socket: None,
                mcp: serve::McpState { sessions: parts.store.clone(), tasks: parts.store.clone() },
            };
            let server = serve::Server::bind(&config, Arc::clone(&parts.gate), extras).await.unwrap();
            (parts, server)
        });
        let addr = server.local_addr();
        let serving = Some(runtime.spawn(server.run(asked)));
        let mut house = Self { addr, key: String::new(), parts, stop, serving, runtime, folder };
        house.key = house.key_for("owner");
        house
    }

    /// A new key of `owner`, who may do everything, or of the agent `guest`, who may only `greet`.
    pub(crate) fn key_for(&self, principal: &str) -> String {
        let new = NewKey {
            label: principal.to_owned(),
            principal: principal.to_owned(),
            roles: vec![principal.to_owned()],
            tier: "basic".to_owned(),
            user_id: principal.to_owned(),
            rate_per_minute: None,
            expires_at: None,
        };
        let minted = new.mint(&self.parts.maker, SystemClock.now());
        self.runtime.block_on(self.parts.ring.insert(&minted.key)).unwrap();
        minted.secret.expose().to_owned()
    }

    /// The gate.
    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.parts.gate
    }

    /// Goes down the road as a face of MCP does, with the owner's key.
    pub(crate) fn call(&self, kind: Kind, line: Arc<dyn Line>) -> gate::Answer {
        let credentials = Credentials::bearer(Secret::new(self.key.clone()));
        let call = Call::new(kind, Face::Mcp, RequestId::ours("req-it"));
        self.runtime.block_on(self.gate().call(gate::Request { credentials, call, line }))
    }

    /// Posts JSON.
    pub(crate) fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {key}");
        let headers = [("content-type", "application/json"), ("authorization", &*bearer)];
        exchange(self.addr, &request("POST", path, &headers, body.to_string().as_bytes())).unwrap()
    }

    /// Stops it in order. Returns what was written down meanwhile, the oldest first; the chain of it is whole.
    pub(crate) fn stop(mut self) -> Vec<Value> {
        self.end();
        let folder = self.folder.path().join("audit");
        let report = audit::verify(&folder).unwrap();
        assert!(report.problem.is_none(), "{report:?}");
        let all = audit::TailQuery { count: 10_000, ..audit::TailQuery::default() };
        audit::tail(&folder, &all).unwrap()
    }

    fn end(&mut self) {
        let Some(serving) = self.serving.take() else { return };
        self.stop.ask();
        self.runtime.block_on(async {
            serving.await.unwrap();
            self.parts.close().await;
        });
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}

impl Parts {
    async fn open(folder: PathBuf) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = SqliteStore::open(&folder.join("state.db")).await.unwrap();
        let audit =
            Audit::open(&folder.join("audit"), &audit::Config::default(), Arc::clone(&clock)).unwrap();
        let ring = KeyRing::new(store.clone(), store.clone());
        let maker = KeyMaker::new([7; 32]);
        let hasher = maker.clone();
        let (tell, later) = tell_later();
        let rooms: Vec<Arc<dyn Provider>> = vec![Suite::new(tell)];
        let snapshot = Snapshot::build(config(), rooms).unwrap_or_else(|faults| panic!("{faults:?}"));
        let parts = gate::Parts {
            seal: Seal::Lent(testkit::seal()),
            clock: Arc::clone(&clock),
            ring: Arc::clone(&ring),
            key_hash: Arc::new(move |secret: &str| hasher.hash(secret)),
            cache: MemoryCache::new(1 << 20),
            ledger: store.clone(),
            artefacts: store.clone(),
            desk: Desk::new(store.clone(), clock, change::Config::default()),
            audit: audit.clone(),
            metrics: Metrics::new(),
            tracer: Arc::new(tool::Untraced),
        };
        let gate = Gate::new(parts, snapshot);
        later.set(Arc::downgrade(&gate)).unwrap();
        Self { gate, ring, maker, store, audit }
    }

    /// Closes everything, once no call runs any more.
    async fn close(&self) {
        assert_eq!(self.gate.drain(Duration::ZERO).await, 0, "the listeners have let every call end");
        self.ring.flush().await.unwrap();
        for room in self.gate.snapshot().catalogue.providers() {
            room.close().await;
        }
        self.audit.close().await.unwrap();
        self.store.close().await;
    }
}

/// Tells the gate that is set later; before that, nobody listens.
fn tell_later() -> (Tell, Arc<OnceLock<Weak<Gate>>>) {
    let later: Arc<OnceLock<Weak<Gate>>> = Arc::default();
    let gate = Arc::clone(&later);
    let tell: Tell = Arc::new(move |notice| {
        if let Some(gate) = gate.get().and_then(Weak::upgrade) {
            gate.notify(notice);
        }
    });
    (tell, later)
}

/// Who there is, and limits that no test meets.
fn config() -> gate::Config {
    let principals = json!({
        "owner": { "kind": "human", "roles": ["owner"] },
        "guest": { "kind": "agent", "roles": ["guest"] },
    });
    let roles = json!({ "owner": { "allow": ["*"] }, "guest": { "allow": ["greet"] } });
    gate::Config {
        principals: serde_json::from_value(principals).unwrap(),
        roles: serde_json::from_value(roles).unwrap(),
        limits: LimitsConfig {
            rate_per_minute: 1_000 * PLENTY,
            concurrent_max: PLENTY,
            concurrent_per_key_max: PLENTY,
            concurrent_per_source_max: PLENTY,
            request_timeout_ms: 600_000,
            ..LimitsConfig::default()
        },
        ..gate::Config::default()
    }
}

/// The clock of the system.
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap())
    }
}
