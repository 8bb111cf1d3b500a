use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use place::AllowPrivate;
use serde_json::{Map, Value};
use tokio::{net::TcpStream, sync::Semaphore};
use tool::{
    Clock, Code, ConfigFault, Fault, Meter, Outcome, Parts, Permit, Probe, ProbeState, Provider, Reply,
    Secret, SecretRef, Stop, Talk, Timestamp, Tool, json::push_pointer,
};
use url::Url;

use super::{
    answer,
    check::base_url,
    config::{ApiConfig, AuthConfig, Config, ErrorConfig, ResponseConfig},
    errors::{self, Refusal},
    request::{self, Shape},
    tools,
};
use crate::{
    client::{Answer, Away, Client, Lookup, Outgoing, Settings, SystemLookup, within},
    error::WebError,
};

/// How long a probe of an API may take.
const PROBE_TIME_MAX: Duration = Duration::from_secs(5);

/// Opens the section: one client for each API, and its tools.
///
/// Error: what [`Config::check`] finds, and secrets that cannot be had.
pub fn open(config: &Config, parts: &Parts) -> Result<Arc<dyn Provider>, Vec<ConfigFault>> {
    open_with(config, parts, &(Arc::new(SystemLookup) as Arc<dyn Lookup>))
}

pub(crate) fn open_with(
    config: &Config,
    parts: &Parts,
    lookup: &Arc<dyn Lookup>,
) -> Result<Arc<dyn Provider>, Vec<ConfigFault>> {
    let mut faults = config.check();
    let mut apis = BTreeMap::new();
    for (name, api) in &config.apis {
        let mut at = String::from("/rest/apis");
        push_pointer(&mut at, name);
        if faults.iter().any(|fault| fault.pointer.starts_with(&format!("{at}/"))) {
            continue;
        }
        match Api::open(name, api, parts, Arc::clone(lookup)) {
            Ok(opened) => drop(apis.insert(name.as_str(), Arc::new(opened))),
            Err(fault) => faults.push(fault),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let specs: BTreeMap<_, _> = config
        .tools
        .iter()
        .map(|(name, tool)| {
            let api_config = &config.apis[&tool.api];
            let spec = Spec {
                tool: Arc::new(tools::describe(name, tool, api_config)),
                api: Arc::clone(&apis[tool.api.as_str()]),
                shape: Shape::new(tool),
                response: tool.response.clone(),
                errors: tool.errors.clone(),
                timeout: tools::timeout(tool, api_config),
            };
            (name.clone(), spec)
        })
        .collect();
    let tools = specs.values().map(|spec| Arc::clone(&spec.tool)).collect();
    Ok(Arc::new(Rest {
        tools,
        specs,
        apis: apis.into_values().collect(),
        meter: Arc::clone(&parts.meter),
        clock: Arc::clone(&parts.clock),
    }))
}

struct Rest {
    tools: Arc<[Arc<Tool>]>,
    specs: BTreeMap<String, Spec>,
    apis: Vec<Arc<Api>>,
    meter: Arc<dyn Meter>,
    clock: Arc<dyn Clock>,
}

/// A tool, ready to be called.
struct Spec {
    tool: Arc<Tool>,
    api: Arc<Api>,
    shape: Shape,
    response: ResponseConfig,
    errors: Vec<ErrorConfig>,
    timeout: Duration,
}

/// An API, ready to be asked.
struct Api {
    name: String,
    base: Url,
    client: Client,
    /// Turns to send a request: `max_connections` of them.
    turns: Semaphore,
    /// Headers of every request, credentials among them.
    headers: HeaderMap,
    /// The credentials, so that they can be taken out of what the API says.
    secrets: Vec<Secret>,
    response_bytes_max: usize,
    propagate_trace: bool,
    health_path: Option<String>,
    /// When it last answered, in milliseconds since the epoch; `i64::MIN` for never.
    last_success: AtomicI64,
}

/// What came of a request that was answered.
enum Came {
    Good { status: u16, content_type: String, body: Vec<u8> },
    Refused(Refusal),
}

#[async_trait]
impl Provider for Rest {
    fn name(&self) -> &str {
        "rest"
    }

    fn tools(&self) -> Arc<[Arc<Tool>]> {
        Arc::clone(&self.tools)
    }

    /// `rest:<api>/<path>`, with the arguments in the path.
    fn target(&self, tool: &Tool, arguments: &mut Value) -> Result<String, Fault> {
        let spec = self.spec(tool)?;
        Ok(format!("rest:{}{}", spec.api.name, spec.shape.path(arguments)?))
    }

    async fn run(&self, permit: Permit, talk: Talk) -> Result<Reply, Fault> {
        let spec = self.spec(permit.tool())?;
        let api = &spec.api;
        let mut outgoing = spec.shape.request(&api.base, &api.headers, permit.arguments())?;
        if api.propagate_trace {
            request::trace(&mut outgoing.own_headers, permit.call());
        }
        let deadline = permit.deadline().min(Instant::now() + spec.timeout);
        let began = AtomicBool::new(false);
        let host = api.host();
        let came = within(&host, deadline, talk.stop(), async {
            // The semaphore is never closed.
            let _turn = api.turns.acquire().await.ok();
            began.store(true, Ordering::Relaxed);
            self.ask(api, &outgoing).await
        });
        match came.await {
            Err(WebError::Timeout { .. }) if !began.load(Ordering::Relaxed) => {
                let text = format!("too many requests to {} are under way; ask again in a moment", api.name);
                Err(Fault::new(Code::Busy, text).retry_after(Duration::from_secs(1)))
            }
            Err(error) => {
                if let Some(status) = error.metric() {
                    self.meter.api_error(&spec.tool.source, status);
                }
                Err(errors::failed(&api.name, &spec.errors, spec.tool.has_effect(), error))
            }
            Ok(Came::Refused(refusal)) => {
                self.meter.api_error(&spec.tool.source, &refusal.status.to_string());
                Err(errors::refused(&api.name, &spec.errors, refusal))
            }
            Ok(Came::Good { status, content_type, body }) => {
                let typed = spec.tool.output.is_some();
                let taken = answer::outcome(&api.name, &spec.response, typed, (status, &content_type, &body));
                self.good(spec, taken).map(Reply::Done)
            }
        }
    }

    async fn probe(&self) -> Vec<Probe> {
        futures_util::future::join_all(self.apis.iter().map(|api| api.probe(&*self.clock))).await
    }
}

impl Rest {
    fn spec(&self, tool: &Tool) -> Result<&Spec, Fault> {
        let spec = self.specs.get(tool.name.as_str());
        spec.ok_or_else(|| Fault::internal(format!("{} is none of the tools of rest", tool.name)))
    }

    async fn ask(&self, api: &Api, outgoing: &Outgoing) -> Result<Came, WebError> {
        let answer = api.client.send(outgoing, &|_| Ok(())).await?;
        let status = answer.status.as_u16();
        if status < 500 {
            api.answered(self.clock.now());
        }
        let content_type = answer.header(header::CONTENT_TYPE).unwrap_or_default().to_owned();
        if !answer.status.is_success() {
            return Ok(Came::Refused(self.refusal(api, answer, &content_type).await));
        }
        let host = answer.host();
        let (body, cut) = answer.read(0, api.response_bytes_max).await?;
        if cut {
            return Err(WebError::TooLarge { host, max: api.response_bytes_max });
        }
        Ok(Came::Good { status, content_type, body })
    }

    async fn refusal(&self, api: &Api, answer: Answer, content_type: &str) -> Refusal {
        let status = answer.status.as_u16();
        let retry_after = errors::retry_after(&answer.headers, self.clock.now());
        // The status says enough where the body cannot be read, or not whole: what was cut could end within a
        // secret that is then not known for one.
        let body = answer.read(0, errors::REFUSAL_BYTES_MAX).await.ok().filter(|(_, cut)| !cut);
        let excerpt = body.and_then(|(body, _)| errors::excerpt(&body, content_type, &api.secrets));
        Refusal { status, retry_after, excerpt }
    }

    /// A change whose answer cannot be used was made all the same, and the caller is told.
    fn good(&self, spec: &Spec, taken: Result<Outcome, Fault>) -> Result<Outcome, Fault> {
        taken.map_err(|mut fault| {
            self.meter.api_error(&spec.tool.source, "protocol");
            if spec.tool.has_effect() {
                fault.code = Code::OutcomeUnknown;
                fault.text.push_str("; it took the request, so look before you ask again");
            }
            fault
        })
    }
}

impl Api {
    fn open(
        name: &str,
        config: &ApiConfig,
        parts: &Parts,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, ConfigFault> {
        let at = |member: &str| {
            let mut pointer = String::from("/rest/apis");
            push_pointer(&mut pointer, name);
            format!("{pointer}/{member}")
        };
        let base = base_url(&config.base_url).map_err(|e| ConfigFault::new(at("base_url"), e))?;
        let mut headers = HeaderMap::new();
        for (header, value) in &config.headers {
            let (Ok(header), Ok(value)) =
                (HeaderName::from_bytes(header.as_bytes()), HeaderValue::from_str(value))
            else {
                return Err(ConfigFault::new(at("headers"), format!("{header:?} is not a header")));
            };
            headers.insert(header, value);
        }
        let mut secrets = Vec::new();
        if let Some(auth) = &config.auth {
            let (header, value) =
                credentials(auth, parts, &mut secrets).map_err(|e| ConfigFault::new(at("auth"), e))?;
            headers.insert(header, value);
        }
        let settings = Settings {
            private: AllowPrivate::new(&config.allow_private),
            private_setting: format!("rest.apis.{name}.allow_private"),
            connect_timeout: Duration::from_millis(config.connect_timeout_ms),
            keepalive_max: config.max_keepalive as usize,
            redirects_max: config.redirects_max as usize,
            downgrade: false,
            // Its rules are about this API, and so are its credentials.
            away: Away::Refuse,
        };
        Ok(Self {
            name: name.to_owned(),
            base,
            client: Client::new(settings, lookup),
            turns: Semaphore::new(config.max_connections as usize),
            headers,
            secrets,
            response_bytes_max: config.response_bytes_max,
            propagate_trace: config.propagate_trace,
            health_path: config.health_path.clone(),
            last_success: AtomicI64::new(i64::MIN),
        })
    }

    fn host(&self) -> String {
        place::authority(&self.base)
    }

    fn answered(&self, now: Timestamp) {
        self.last_success.store(now.unix_ms(), Ordering::Relaxed);
    }

    async fn probe(&self, clock: &dyn Clock) -> Probe {
        let began = Instant::now();
        let (host, never) = (self.host(), Stop::never());
        let looked = within(&host, began + PROBE_TIME_MAX, &never, async {
            match &self.health_path {
                Some(path) => self.probe_health(path).await,
                None => self.probe_connection().await.map(|()| None),
            }
        });
        let (state, error) = match looked.await {
            Ok(None) => (ProbeState::Healthy, None),
            Ok(Some(status @ ..500)) => {
                (ProbeState::Degraded, Some(format!("the health path answered {status}")))
            }
            Ok(Some(status)) => (ProbeState::Unhealthy, Some(format!("the health path answered {status}"))),
            Err(e) => (ProbeState::Unhealthy, Some(e.to_string())),
        };
        if state == ProbeState::Healthy {
            self.answered(clock.now());
        }
        let last = self.last_success.load(Ordering::Relaxed);
        let last = (last != i64::MIN).then(|| Timestamp::from_unix_ms(last).to_string());
        let mut details = Map::new();
        details.insert("last_success".to_owned(), last.map_or(Value::Null, Value::from));
        if let Some(error) = error {
            details.insert("error".to_owned(), error.into());
        }
        let source = format!("rest:{}", self.name).into();
        Probe { source, kind: "external_api", state, latency: began.elapsed(), details }
    }

    /// The status of the health path, where it is not 2xx.
    async fn probe_health(&self, path: &str) -> Result<Option<u16>, WebError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        let (headers, own_headers) = (HeaderMap::new(), self.headers.clone());
        let outgoing = Outgoing { method: Method::GET, url, headers, own_headers, body: None };
        let answer = self.client.send(&outgoing, &|_| Ok(())).await?;
        Ok((!answer.status.is_success()).then_some(answer.status.as_u16()))
    }

    /// Whether one of its addresses takes a connection.
    async fn probe_connection(&self) -> Result<(), WebError> {
        let addresses = self.client.addresses(&self.base).await?;
        let connected = TcpStream::connect(addresses.as_slice()).await;
        connected.map(drop).map_err(|e| WebError::Connect { host: self.host(), source: e.into() })
    }
}

/// The header that shows who we are. Each secret in it is noted, so that no excerpt shows it.
fn credentials(
    auth: &AuthConfig,
    parts: &Parts,
    secrets: &mut Vec<Secret>,
) -> Result<(HeaderName, HeaderValue), String> {
    let mut resolve = |reference: &SecretRef| {
        let secret = parts.secrets.resolve(reference)?;
        secrets.push(secret.clone());
        Ok::<_, String>(secret)
    };
    let (name, text) = match auth {
        AuthConfig::Bearer(token) => (header::AUTHORIZATION, format!("Bearer {}", resolve(token)?.expose())),
        AuthConfig::Header(own) => {
            let name = HeaderName::from_bytes(own.name.as_bytes()).map_err(|e| e.to_string())?;
            (name, resolve(&own.value)?.expose().to_owned())
        }
        AuthConfig::Basic(basic) => {
            let pair = format!("{}:{}", basic.user, resolve(&basic.password)?.expose());
            let encoded = STANDARD.encode(pair);
            secrets.push(Secret::new(encoded.clone()));
            (header::AUTHORIZATION, format!("Basic {encoded}"))
        }
    };
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| "the secret holds a character that no header may hold".to_owned())?;
    value.set_sensitive(true);
    Ok((name, value))
}
