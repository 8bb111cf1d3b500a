//! The beginning of a connection: which era the server speaks, which revision, and what it has.
//!
//! Source: 2026-07-28 basic/versioning and the "Backward Compatibility" of both transports; 2025-11-25
//! basic/lifecycle.

use std::{sync::Arc, time::Duration};

use mcp::{Failure, Object, Version, code};
use serde_json::{json, value::RawValue};
use tokio::time::timeout;
use tool::LogLevel;

use crate::{
    config::Protocol,
    error::{UpstreamError, excerpt},
    hub::Hub,
    peer::{Line, Offers, Peer},
    request::{CLIENT, Params, Request},
};

/// A revision that opens as those after it do. Over standard input and output it is spoken still.
const BEFORE_ALL: &str = "2024-11-05";

/// How a connection begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) protocol: Protocol,
    /// How long the first answer in the newer protocol is waited for.
    pub(crate) probe_timeout: Duration,
    pub(crate) log_level: LogLevel,
}

/// What the first question in the newer protocol came to.
pub(crate) enum Probed {
    /// It speaks it.
    Modern(Offers),
    /// It speaks the older one, as far as can be told.
    Legacy,
    /// It may speak the older one; this connection is over.
    LegacyAnew,
}

/// Asks whether the server speaks the newer protocol. Everything but an error of that protocol says that it does not,
/// silence too.
///
/// Error: it cannot be reached, or it speaks neither.
pub(crate) async fn probe(line: &Line, hub: &Hub, manner: &Manner) -> Result<Probed, UpstreamError> {
    let mut modern = line.clone();
    modern.agreed.version = Some(Version::LATEST);
    let request = Request::ours("server/discover", Params::default());
    let ask = || {
        timeout(manner.probe_timeout, async {
            let mut exchange = modern.start(&request, hub).await?;
            exchange.result(hub).await
        })
    };
    let mut asked = ask().await;
    // One that refuses the revision and names it among those that it speaks has changed its mind.
    if let Ok(Err(UpstreamError::Answered(error))) = &asked
        && supported(error)
            .is_some_and(|versions| versions.iter().any(|version| version == Version::LATEST.as_str()))
    {
        asked = ask().await;
    }
    match asked {
        Ok(Ok(result)) => discovered(&result),
        Ok(Err(UpstreamError::Answered(error))) => refused(error),
        Err(_) => Ok(Probed::Legacy),
        Ok(Err(UpstreamError::Status { status: 400..=499, .. } | UpstreamError::Protocol(_))) => {
            Ok(Probed::Legacy)
        }
        Ok(Err(UpstreamError::Broken(_))) => Ok(Probed::LegacyAnew),
        Ok(Err(error)) => Err(error),
    }
}

fn discovered(result: &RawValue) -> Result<Probed, UpstreamError> {
    let result = Object::read(result).map_err(|e| UpstreamError::protocol(e.to_string()))?;
    let versions: Vec<String> =
        result.get("supportedVersions").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    if versions.iter().any(|version| version == Version::LATEST.as_str()) {
        return Ok(Probed::Modern(Offers::read(result.object("capabilities").ok().flatten())));
    }
    // Some older servers answer whatever they are asked.
    if versions.is_empty() { Ok(Probed::Legacy) } else { common(&versions) }
}

/// An error of the newer protocol identifies a server that speaks it, if not in a revision of ours.
fn refused(error: Box<RawValue>) -> Result<Probed, UpstreamError> {
    let failure = Failure { id: None, error: &error };
    let Ok(read) = failure.read() else { return Ok(Probed::Legacy) };
    if !code::is_modern(read.code) {
        return Ok(Probed::Legacy);
    }
    match supported(&error) {
        Some(versions) => common(&versions),
        None => Err(UpstreamError::Answered(error)),
    }
}

/// The revisions that a server speaks which says that it does not speak the one it was asked in.
fn supported(error: &RawValue) -> Option<Vec<String>> {
    let read =
        Failure { id: None, error }.read().ok().filter(|read| read.code == code::UNSUPPORTED_VERSION)?;
    let data: serde_json::Value = serde_json::from_str(read.data?).ok()?;
    serde_json::from_value(data["supported"].clone()).ok()
}

/// Falls back where a server names an older revision that we speak.
fn common(versions: &[String]) -> Result<Probed, UpstreamError> {
    if versions.iter().any(|version| older(version).is_some()) {
        return Ok(Probed::Legacy);
    }
    let named = excerpt(&versions.join(", "));
    Err(UpstreamError::protocol(format!("it speaks no revision that is spoken here, but {named:?}")))
}

fn older(version: &str) -> Option<Version> {
    if version == BEFORE_ALL {
        return Some(Version::UNSAID);
    }
    Version::parse(version).filter(|version| !version.is_modern())
}

/// Opens in the older protocol.
pub(crate) async fn initialize(line: Line, hub: Arc<Hub>, manner: &Manner) -> Result<Peer, UpstreamError> {
    let mut line = line;
    let mut exchange = line.start(&opening(), &hub).await?;
    let result = exchange.result(&hub).await?;
    let result = Object::read(&result).map_err(|e| UpstreamError::protocol(e.to_string()))?;
    let named = result.text("protocolVersion").ok().flatten().unwrap_or_default();
    let version = older(&named).ok_or_else(|| {
        UpstreamError::protocol(format!("it answers initialize with the revision {:?}", excerpt(&named)))
    })?;
    let offers = Offers::read(result.object("capabilities").ok().flatten());
    line.agreed.version = Some(version);
    line.agreed.session = exchange.session();
    drop(exchange);
    line.notify("notifications/initialized").await?;
    let peer = Peer { hub, offers, version, line };
    if offers.logging {
        set_level(&peer, manner.log_level).await;
    }
    Ok(peer)
}

/// What we can be asked is what some callers can be: where one cannot, the question is answered with an error.
fn opening() -> Request {
    let capabilities = json!({ "elicitation": {}, "sampling": {}, "roots": {} });
    let client: serde_json::Value = serde_json::from_str(&CLIENT).unwrap_or_default();
    let params = Params::default()
        .with_text("protocolVersion", Version::LATEST_LEGACY.as_str())
        .with("capabilities", tool::json::raw(&capabilities))
        .with("clientInfo", tool::json::raw(&client));
    Request::ours("initialize", params)
}

async fn set_level(peer: &Peer, level: LogLevel) {
    let params = Params::default().with_text("level", mcp::meta::Level::from(level).as_str());
    if let Err(error) = peer.result(&Request::ours("logging/setLevel", params)).await {
        tracing::debug!(server = peer.hub.name(), %error, "the level of its log lines cannot be set");
    }
}
