use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout};
use tool::{Fault, Permit, Probe, ProbeState, Prompt, Provider, Reply, Resource, Talk, Tool, ToolName};

use crate::{
    admin,
    catalogue::Catalogue,
    error::UpstreamError,
    request::{Params, Request},
    upstream::Upstream,
};

/// How long one server may take to say how it is.
const PROBE_TIME_MAX: Duration = Duration::from_secs(4);

/// All servers of the configuration.
pub(crate) struct Upstreams {
    servers: Vec<Arc<Upstream>>,
    /// Those of operators.
    tools: Vec<Arc<Tool>>,
}

impl Upstreams {
    /// A room of these servers.
    pub(crate) fn new(upstreams: Vec<Arc<Upstream>>) -> Self {
        Self { servers: upstreams, tools: admin::tools() }
    }

    fn gathered<T: Clone>(&self, part: impl Fn(&Catalogue) -> &Vec<T>) -> Arc<[T]> {
        self.servers.iter().flat_map(|upstream| part(&upstream.catalogue()).clone()).collect()
    }
}

#[async_trait]
impl Provider for Upstreams {
    fn name(&self) -> &str {
        "upstreams"
    }

    fn tools(&self) -> Arc<[Arc<Tool>]> {
        let offered = self.gathered(|catalogue| &catalogue.tools);
        self.tools.iter().chain(offered.iter()).cloned().collect()
    }

    fn may_offer(&self, name: &str) -> bool {
        self.servers.iter().any(|upstream| upstream.settings.shape.may_name(name))
    }

    fn prompts(&self) -> Arc<[Arc<Prompt>]> {
        self.gathered(|catalogue| &catalogue.prompts)
    }

    fn resources(&self) -> Arc<[Arc<Resource>]> {
        self.gathered(|catalogue| &catalogue.resources)
    }

    fn templates(&self) -> Arc<[Arc<Resource>]> {
        self.gathered(|catalogue| &catalogue.templates)
    }

    fn reads(&self, uri: &str) -> Option<ToolName> {
        self.servers.iter().find_map(|upstream| upstream.catalogue().reads(uri))
    }

    /// `mcp:<server>/<its name there>`; for resources the URI.
    fn target(&self, tool: &Tool, arguments: &mut Value) -> Result<String, Fault> {
        if &*tool.source == admin::SOURCE {
            let server = arguments.get("server").and_then(Value::as_str).unwrap_or("*");
            return Ok(format!("mcp:{server}"));
        }
        // That of a resource, or of a template that is completed.
        let uri = arguments.get("uri").or_else(|| arguments.get("ref")?.get("uri"));
        let what = tool.origin.as_deref().or_else(|| uri?.as_str()).unwrap_or_default();
        Ok(format!("{}/{what}", tool.source))
    }

    async fn run(&self, permit: Permit, talk: Talk) -> Result<Reply, Fault> {
        let source = &permit.tool().source;
        if &**source == admin::SOURCE {
            return admin::run(&self.servers, &permit).await.map(Reply::value);
        }
        let upstream = self.servers.iter().find(|upstream| upstream.source() == source);
        let upstream = upstream.ok_or_else(|| {
            Fault::internal(format!("{} is none of the tools of upstreams", permit.tool().name))
        })?;
        upstream.call(&permit, &talk).await.map(Reply::Done)
    }

    async fn probe(&self) -> Vec<Probe> {
        futures_util::future::join_all(self.servers.iter().map(probe)).await
    }

    async fn close(&self) {
        futures_util::future::join_all(self.servers.iter().map(|upstream| upstream.close())).await;
    }
}

/// How a server is: it is connected to where it is not, and asked for a sign of life.
async fn probe(upstream: &Arc<Upstream>) -> Probe {
    let began = Instant::now();
    let looked = timeout(PROBE_TIME_MAX, async {
        let peer = upstream.peer().await?;
        let method = if peer.is_modern() { "server/discover" } else { "ping" };
        match peer.result(&Request::ours(method, Params::default())).await {
            // It is there, whatever it thinks of the question.
            Ok(_) | Err(UpstreamError::Answered(_)) => Ok(peer),
            Err(error) => {
                if matches!(error, UpstreamError::SessionGone) {
                    peer.hub.close("its session is gone");
                }
                Err(error)
            }
        }
    });
    let looked = looked.await.unwrap_or(Err(UpstreamError::Timeout));
    upstream.report();
    let catalogue = upstream.catalogue();
    let mut details = Map::new();
    let state = match &looked {
        Ok(peer) => {
            let (late, unknown) = peer.hub.table.stray();
            details.insert("protocol_version".to_owned(), peer.version.as_str().into());
            details.insert("stray_answers".to_owned(), json!(late + unknown));
            ProbeState::Healthy
        }
        Err(error) => {
            details.insert("error".to_owned(), format!("it {error}").into());
            ProbeState::Unhealthy
        }
    };
    if upstream.is_program() {
        details.insert("restarts".to_owned(), json!(upstream.restarts().count));
        details.insert("quarantined".to_owned(), json!(upstream.restarts().is_quarantined()));
    }
    details.insert("tools".to_owned(), json!(catalogue.tools.len()));
    details.insert("left_out".to_owned(), json!(catalogue.left_out));
    details.insert("held".to_owned(), json!(catalogue.held.len()));
    details.insert("suspicious".to_owned(), json!(catalogue.suspicious.len()));
    let source = Arc::clone(upstream.source());
    Probe { source, kind: "tool_server", state, latency: began.elapsed(), details }
}
