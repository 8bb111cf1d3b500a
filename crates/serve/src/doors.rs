//! The doors: one table that the router, the OpenAPI document and the metrics go by, and the way of a request
//! through it.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version, header};
use tool::{Caller, Clock, Code, Fault, Line, Secret, Timestamp};

use crate::{
    call,
    config::Operations,
    conn::{Answers, Body, Peer},
    docs,
    guard::{self, Guard},
    headers::{self, Ids},
    health, lists,
    mcp::{self, Mcp},
    openapi,
    problem::{self, Form, Refusal},
    road::{Credentials, Road, SystemSample},
    upload::Upload,
    webhook,
};

/// One door.
pub(crate) struct Door {
    pub(crate) method: Method,
    /// The path; `{..}` stands for one segment.
    pub(crate) path: &'static str,
    pub(crate) need: Need,
    pub(crate) work: Work,
    /// What it does, in a few words.
    pub(crate) about: &'static str,
}

/// What a door wants to see before it looks at anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing.
    Nothing,
    /// Nothing; but what it shows goes by the credentials, where some are presented.
    Optional,
    /// Credentials that stand for somebody.
    Key,
    /// A body that is signed.
    Signature,
    /// As [`Need::Nothing`] on a loopback listener; elsewhere a key with the role `metrics`.
    Metrics,
}

/// What a door does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Makes a call. It is identified on its road, and so only once.
    Call(CallDoor),
    /// Shows something.
    Show(Page),
    /// Speaks the Model Context Protocol.
    Mcp,
    /// Takes a body that is signed, and makes a call of it.
    Webhook,
}

/// The doors that make calls; each has its own envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallDoor {
    ByPath,
    CallTool,
    Invoke,
    Operation,
    Devices,
    DeviceQuery,
    ExecuteCommands,
    DeviceStatus,
    SecureDevice,
    SecureExecute,
}

impl CallDoor {
    /// True where the answer is the bare result, and what goes wrong has its HTTP status.
    pub(crate) fn is_bare(self) -> bool {
        self == Self::ByPath || self.is_of_devices()
    }

    /// True for the doors of network devices.
    pub(crate) fn is_of_devices(self) -> bool {
        matches!(
            self,
            Self::Devices
                | Self::DeviceQuery
                | Self::ExecuteCommands
                | Self::DeviceStatus
                | Self::SecureDevice
                | Self::SecureExecute
        )
    }
}

/// The doors that show something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Root,
    Info,
    McpTools,
    Tools,
    Stats,
    Usage,
    Health,
    HealthDetailed,
    Ready,
    Live,
    Metrics,
    OpenApi,
    Docs,
    Redoc,
    Asset,
}

/// Every door, once.
pub(crate) const DOORS: &[Door] = &[
    get("/", Need::Nothing, Page::Root, "What this is, and where everything is"),
    post(
        "/v1/mcp/{tool}",
        CallDoor::ByPath,
        "Call a tool; the body holds its arguments, the answer is its bare result",
    ),
    post(
        "/mcp/call-tool",
        CallDoor::CallTool,
        "Call a tool by name; a failure of the tool itself is told in `error`",
    ),
    post("/invoke", CallDoor::Invoke, "Call a tool by name, with parameters and a label of the caller's own"),
    post("/operations/execute", CallDoor::Operation, "Run a declared operation, which stands for a tool"),
    asking("/operations/status/{host}", CallDoor::DeviceStatus, "Whether a network device answers now"),
    asking("/devices", CallDoor::Devices, "The network devices of the inventory"),
    post("/devices/query", CallDoor::DeviceQuery, "Run commands that show something on one network device"),
    post(
        "/execute-commands",
        CallDoor::ExecuteCommands,
        "Run commands that show something on many network devices at once",
    ),
    asking(
        "/secure/device/{ip}",
        CallDoor::SecureDevice,
        "Whether a network device answers now, and how the caller's limit stands",
    ),
    post(
        "/secure/execute",
        CallDoor::SecureExecute,
        "Run one command that shows something on a network device; for some tiers only",
    ),
    get(
        "/secure/usage",
        Need::Key,
        Page::Usage,
        "How often these credentials have called; it is not counted itself",
    ),
    Door {
        method: Method::POST,
        path: "/webhook/device-alert",
        need: Need::Signature,
        work: Work::Webhook,
        about: "An alert about a network device, signed by a principal with a `webhook`",
    },
    Door {
        method: Method::POST,
        path: "/mcp",
        need: Need::Key,
        work: Work::Mcp,
        about: "The Model Context Protocol, 2026-07-28 and older: one JSON-RPC message",
    },
    Door {
        method: Method::POST,
        path: "/mcp/toolsets/{name}",
        need: Need::Key,
        work: Work::Mcp,
        about: "The same for a toolset: a chosen part of what there is, as if it were a server of its own",
    },
    get("/mcp/info", Need::Nothing, Page::Info, "Name, version and protocol versions of this server"),
    get("/mcp/tools", Need::Key, Page::McpTools, "The tools these credentials may see, with their schemas"),
    get("/tools", Need::Key, Page::Tools, "The tools these credentials may see, by name and by older names"),
    get("/stats", Need::Key, Page::Stats, "How long the server runs and how much it has done"),
    get("/health", Need::Nothing, Page::Health, "How the server and its sources are, as last probed"),
    get(
        "/health/detailed",
        Need::Key,
        Page::HealthDetailed,
        "How every source is, and the load of the machine",
    ),
    get("/health/ready", Need::Nothing, Page::Ready, "Whether calls are taken"),
    get("/health/live", Need::Nothing, Page::Live, "Whether the process answers"),
    get(
        "/metrics",
        Need::Metrics,
        Page::Metrics,
        "All metrics as OpenMetrics, or as the text of Prometheus for `Accept: text/plain`",
    ),
    get(
        "/openapi.json",
        Need::Optional,
        Page::OpenApi,
        "This document, with the tools these credentials may see",
    ),
    get("/docs", Need::Nothing, Page::Docs, "The documentation to try out (Swagger UI)"),
    get("/redoc", Need::Nothing, Page::Redoc, "The documentation to read (ReDoc)"),
    get("/assets/{file}", Need::Nothing, Page::Asset, "Scripts and styles of the documentation pages"),
];

/// Beneath these everything is public, what is not there too (RFC 8615: clients look there before they have keys).
const OPEN_FOLDERS: &[&str] = &["/.well-known/", "/assets/"];

const fn get(path: &'static str, need: Need, page: Page, about: &'static str) -> Door {
    Door { method: Method::GET, path, need, work: Work::Show(page), about }
}

/// A call that needs no body.
const fn asking(path: &'static str, call: CallDoor, about: &'static str) -> Door {
    Door { method: Method::GET, path, need: Need::Key, work: Work::Call(call), about }
}

const fn post(path: &'static str, call: CallDoor, about: &'static str) -> Door {
    Door { method: Method::POST, path, need: Need::Key, work: Work::Call(call), about }
}

impl Door {
    /// The methods it takes, for `Allow`.
    pub(crate) fn allow(&self) -> &'static str {
        if self.method == Method::GET { "GET, HEAD" } else { "POST" }
    }

    fn takes(&self, method: &Method) -> bool {
        if self.work == Work::Mcp {
            // It answers for itself what it does with each.
            return true;
        }
        self.method == method || (self.method == Method::GET && method == Method::HEAD)
    }
}

/// Where toolsets are.
const TOOLSETS: &str = "/mcp/toolsets/";

/// The door at a path, and what stands for its `{..}`.
pub(crate) fn find(path: &str) -> Option<(&'static Door, Option<&str>)> {
    if let Some(tool) = path.strip_prefix("/v1/mcp/") {
        return at("/v1/mcp/{tool}", tool);
    }
    if let Some(toolset) = path.strip_prefix(TOOLSETS) {
        return at("/mcp/toolsets/{name}", toolset);
    }
    if let Some(host) = path.strip_prefix("/operations/status/") {
        return at("/operations/status/{host}", host);
    }
    if let Some(ip) = path.strip_prefix("/secure/device/") {
        return at("/secure/device/{ip}", ip);
    }
    if let Some(file) = path.strip_prefix("/assets/") {
        return at("/assets/{file}", file);
    }
    DOORS.iter().find(|door| door.path == path).map(|door| (door, None))
}

fn at<'a>(template: &str, segment: &'a str) -> Option<(&'static Door, Option<&'a str>)> {
    let door = DOORS.iter().find(|door| door.path == template)?;
    (!segment.is_empty() && !segment.contains('/')).then_some((door, Some(segment)))
}

/// What all listeners share.
pub(crate) struct Inside {
    pub(crate) road: Arc<dyn Road>,
    pub(crate) mcp: Arc<Mcp>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) name: String,
    pub(crate) version: Arc<str>,
    pub(crate) started: Timestamp,
    pub(crate) operations: ArcSwap<Operations>,
    pub(crate) sample: ArcSwap<SystemSample>,
    pub(crate) memory_percent_max: u8,
    /// The tiers that `POST /secure/execute` is for.
    pub(crate) secure_tiers: Arc<[String]>,
    /// The line of REST callers: nobody listens while the call runs.
    pub(crate) deaf: Arc<dyn Line>,
}

/// What kind of listener the doors stand behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// On the network, reachable from other machines.
    Open,
    /// On the network, reachable from this machine only.
    Loopback,
    /// Metrics and health alone.
    Metrics,
    /// The local socket.
    Local,
}

/// The doors as they stand behind one listener.
pub(crate) struct Doors {
    pub(crate) inside: Arc<Inside>,
    pub(crate) listener: Listener,
    pub(crate) guard: Guard,
}

/// One request on its way: who sent it, and what goes back with its answer.
pub(crate) struct Visit {
    pub(crate) ids: Ids,
    pub(crate) form: Form,
    pub(crate) peer: Peer,
    pub(crate) headers: HeaderMap,
}

impl Visit {
    /// What the caller shows of itself. A key counts at the local socket too; without one, the socket vouches for
    /// its user. A header that is no bearer token is handed on as one: it stands for nobody, and is noted as such.
    pub(crate) fn credentials(&self) -> Credentials {
        if !self.headers.contains_key(header::AUTHORIZATION) {
            return match self.peer {
                Peer::Network { from } => Credentials::None { from: Some(from) },
                Peer::Local { uid } => Credentials::Local { uid },
            };
        }
        let text = headers::only(&self.headers, &header::AUTHORIZATION).unwrap_or("");
        let token = match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => "",
        };
        Credentials::Bearer { secret: Secret::new(token.to_owned()), from: self.peer.address() }
    }

    pub(crate) fn refuse(&self, refusal: &Refusal) -> Response<Body> {
        if refusal.fault.code == Code::Internal {
            let request_id = self.ids.request.as_str();
            tracing::error!(request_id, cause = refusal.fault.cause(), "{}", refusal.fault);
        }
        let has_credentials = self.headers.contains_key(header::AUTHORIZATION);
        problem::respond(refusal, self.form, &self.ids.request, has_credentials)
    }
}

#[async_trait]
impl Answers for Doors {
    async fn answer(&self, peer: Peer, request: Request<Upload>) -> Response<Body> {
        let began = Instant::now();
        let (head, upload) = request.into_parts();
        let (ids, form) = (Ids::of(&head.headers), Form::of(&head.headers));
        let visit = Visit { ids, form, peer, headers: head.headers };
        let found = find(head.uri.path()).filter(|(door, _)| self.has(door.work));
        let needs_host =
            !(head.version == Version::HTTP_10 && found.is_some_and(|(door, _)| is_health(door)));
        let mut response = match self.admit(&visit, &head.method, &head.uri, needs_host) {
            Err(fault) => visit.refuse(&fault.into()),
            Ok(()) if guard::is_preflight(&head.method, &visit.headers) => guard::preflight(),
            Ok(()) => {
                let passing = async {
                    match found {
                        None => Err(self.no_door(head.uri.path(), &visit).await),
                        Some((door, segment)) => self.pass(door, segment, &head.method, &visit, upload).await,
                    }
                };
                let passed = AssertUnwindSafe(passing).catch_unwind().await;
                let passed = passed.unwrap_or_else(|_| Err(Fault::internal("a door broke").into()));
                passed.unwrap_or_else(|refusal| visit.refuse(&refusal))
            }
        };
        let headers = response.headers_mut();
        visit.ids.write(headers);
        headers::write_security(headers);
        // A stranger that may not even ask was refused above; what is left is told apart once more for the answer.
        let from = self.guard.check_origin(&Method::GET, &visit.headers).unwrap_or(guard::From::Stranger);
        guard::write_cors(headers, from, !self.guard.origins.is_empty());
        let (endpoint, status, took) =
            (found.map_or("unmatched", |(door, _)| door.path), response.status().as_u16(), began.elapsed());
        self.inside.road.http_request(endpoint, status, took);
        let request_id = visit.ids.request.as_str();
        tracing::debug!(
            request_id,
            endpoint,
            status,
            latency_ms = took.as_secs_f64() * 1e3,
            "request answered"
        );
        response
    }

    fn unread(&self, peer: Peer, refusal: &Refusal, took: Duration) -> Response<Body> {
        let headers = HeaderMap::new();
        let visit = Visit { ids: Ids::of(&headers), form: Form::Seed, peer, headers };
        let mut response = visit.refuse(refusal);
        let headers = response.headers_mut();
        headers::put(headers, header::DATE, &headers::date(self.inside.clock.now()));
        visit.ids.write(headers);
        headers::write_security(headers);
        self.inside.road.http_request("refused", refusal.http, took);
        let (request_id, status) = (visit.ids.request.as_str(), refusal.http);
        tracing::debug!(request_id, status, "a request was refused unread: {}", refusal.fault);
        response
    }
}

impl Doors {
    /// Host and origin, for listeners that browsers can reach. `needs_host` is false where a request without one may
    /// pass; one that names a host must name ours all the same.
    fn admit(&self, visit: &Visit, method: &Method, uri: &Uri, needs_host: bool) -> Result<(), Fault> {
        if self.listener == Listener::Local {
            return Ok(());
        }
        let has_host = uri.authority().is_some() || visit.headers.contains_key(header::HOST);
        if has_host || needs_host {
            self.guard.check_host(uri, &visit.headers)?;
        }
        // A stranger's page does not even get to read from the protocol's endpoint.
        let is_protocol = uri.path() == "/mcp" || uri.path().starts_with(TOOLSETS);
        let as_method = if is_protocol { &Method::POST } else { method };
        self.guard.check_origin(as_method, &visit.headers).map(drop)
    }

    /// Credentials first, then the method, then the work.
    async fn pass(
        &self,
        door: &Door,
        segment: Option<&str>,
        method: &Method,
        visit: &Visit,
        upload: Upload,
    ) -> Result<Response<Body>, Refusal> {
        if !door.takes(method) {
            match door.need {
                Need::Nothing | Need::Optional => {}
                Need::Key | Need::Metrics => drop(self.identify(door.need, visit).await?),
                // What has no body is signed by nobody; a key may still ask what is there.
                Need::Signature => drop(self.identify(Need::Key, visit).await?),
            }
            return Ok(wrong_method(door, method, visit));
        }
        match door.work {
            Work::Call(call) => {
                call::answer(&self.inside, call, segment.unwrap_or_default(), visit, upload).await
            }
            Work::Webhook => webhook::answer(&self.inside, visit, upload).await,
            Work::Show(page) => {
                let caller = self.identify(door.need, visit).await?;
                self.show(page, segment.unwrap_or_default(), caller, visit).await
            }
            Work::Mcp => mcp::answer(&self.inside.mcp, segment, method, visit, upload).await,
        }
    }

    async fn show(
        &self,
        page: Page,
        segment: &str,
        caller: Option<Arc<Caller>>,
        visit: &Visit,
    ) -> Result<Response<Body>, Refusal> {
        let inside = self.inside.as_ref();
        Ok(match page {
            Page::McpTools => lists::mcp_tools(inside, known(caller.as_deref())?),
            Page::Tools => lists::tools(inside, known(caller.as_deref())?),
            Page::Root => lists::root(inside),
            Page::Info => lists::info(inside),
            Page::Stats => lists::stats(inside),
            Page::Usage => lists::usage(inside, known(caller.as_deref())?).await?,
            Page::Health => health::health(inside),
            Page::HealthDetailed => health::detailed(inside),
            Page::Ready => health::ready(inside, visit),
            Page::Live => health::live(),
            Page::Metrics => health::metrics(inside, &visit.headers),
            Page::OpenApi => openapi::answer(inside, caller.as_deref()),
            Page::Docs => docs::swagger(),
            Page::Redoc => docs::redoc(),
            Page::Asset => docs::asset(segment, &visit.headers)?,
        })
    }

    /// Why there is no answer at a path that is no door: who is nobody learns nothing else, not even that.
    async fn no_door(&self, path: &str, visit: &Visit) -> Refusal {
        if OPEN_FOLDERS.iter().any(|folder| path.starts_with(folder)) {
            return nothing_at(path).into();
        }
        match self.identify(Need::Key, visit).await {
            Ok(_) => nothing_at(path).into(),
            Err(refusal) => refusal,
        }
    }

    async fn identify(&self, need: Need, visit: &Visit) -> Result<Option<Arc<Caller>>, Refusal> {
        let credentials = visit.credentials();
        let is_open = match need {
            Need::Nothing => true,
            Need::Optional => matches!(credentials, Credentials::None { .. }),
            Need::Key | Need::Signature => false,
            Need::Metrics => self.listener != Listener::Open,
        };
        if is_open {
            return Ok(None);
        }
        let caller = self.inside.road.identify(&credentials, &visit.ids).await?;
        if need == Need::Metrics && !caller.roles.iter().any(|role| role.as_ref() == "metrics") {
            let text = "metrics need a key with the role \"metrics\", or server.metrics_listen";
            return Err(Fault::new(Code::Denied, text).into());
        }
        Ok(Some(caller))
    }

    fn has(&self, work: Work) -> bool {
        let is_metrics = matches!(work, Work::Show(Page::Metrics | Page::Health | Page::Ready | Page::Live));
        self.listener != Listener::Metrics || is_metrics
    }
}

fn known(caller: Option<&Caller>) -> Result<&Caller, Refusal> {
    caller.ok_or_else(|| Fault::new(Code::Internal, "a list was reached by nobody").into())
}

/// The doors of probes, which may be as old as HTTP/1.0 and then name no host. No browser speaks that.
fn is_health(door: &Door) -> bool {
    matches!(door.work, Work::Show(Page::Health | Page::HealthDetailed | Page::Ready | Page::Live))
}

fn wrong_method(door: &Door, method: &Method, visit: &Visit) -> Response<Body> {
    let shown: String = method.as_str().chars().take(20).collect();
    let fault =
        Fault::new(Code::MethodNotAllowed, format!("{} takes {}, not {shown}", door.path, door.allow()));
    let mut response = visit.refuse(&fault.into());
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(door.allow()));
    response
}

fn nothing_at(path: &str) -> Fault {
    let shown: String = path.chars().take(80).collect();
    Fault::not_found(format!("there is no door at {shown:?}; GET / shows what there is"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_door_is_found_by_its_own_path_and_only_by_it() {
        for door in DOORS {
            let path = door
                .path
                .replace("{tool}", "x")
                .replace("{file}", "x")
                .replace("{name}", "x")
                .replace("{ip}", "x")
                .replace("{host}", "x");
            let (found, _) = find(&path).unwrap();
            assert_eq!((found.path, found.work), (door.path, door.work));
        }
        for path in [
            "",
            "*",
            "//",
            "/nothing",
            "/docs/",
            "/v1/mcp/",
            "/v1/mcp",
            "/v1/mcp/a/b",
            "/assets/",
            "/Docs",
            "/health/",
        ] {
            assert!(find(path).is_none(), "{path}");
        }
        let text = r#"there is no door at "/v1/mcp/a/b"; GET / shows what there is"#;
        assert_eq!(nothing_at("/v1/mcp/a/b").text, text);
    }
}
