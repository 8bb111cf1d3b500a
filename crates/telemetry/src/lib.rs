//! Traces: what a call did, told to an OpenTelemetry collector by OTLP over HTTP (`/v1/traces`, protobuf).
//!
//! [`open`] gives the [`Tracer`] that the gate calls at both ends of every call. Ending a call puts its span into
//! a bounded queue and returns; a thread of its own sends them in batches, with a blocking client, so that neither
//! a slow collector nor a missing one costs a call anything. What does not fit is dropped and counted.
//! Without an `otlp:` section nothing is traced and the caller's `traceparent` is passed on as it came.
//!
//! Nothing is read from the environment, with one exception of the exporter that is used here: it looks at
//! `OTEL_EXPORTER_OTLP_COMPRESSION` and refuses to be built where that asks for what was not compiled in.

mod client;
mod config;
mod export;
mod parent;
mod span;
mod tally;

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{InstrumentationScope, trace::TracerProvider as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tool::{ConfigFault, Secrets, Tracer, Untraced};

pub use config::{Config, Otlp};
pub use tally::Counts;

use crate::{span::Following, tally::Tally};

/// Follows calls, and tells a collector about them where one is configured.
pub struct Telemetry {
    /// For the gate: `gate::Parts::tracer`.
    pub tracer: Arc<dyn Tracer>,
    pipeline: Option<Pipeline>,
}

struct Pipeline {
    provider: SdkTracerProvider,
    tally: Arc<Tally>,
    flush_timeout: Duration,
}

/// Opens the room; `version` is the server's own, for `service.version`. May be called inside and outside of a
/// runtime. A collector that cannot be reached is no error: it is logged, and tried again with the next batch.
///
/// Error: everything [`Config::check`] finds, and header values that cannot be resolved or sent.
pub fn open(config: &Config, secrets: &dyn Secrets, version: &str) -> Result<Telemetry, Vec<ConfigFault>> {
    let Some(otlp) = &config.otlp else {
        return Ok(Telemetry { tracer: Arc::new(Untraced), pipeline: None });
    };
    let faults = config.check();
    if !faults.is_empty() {
        return Err(faults);
    }
    let headers = resolve(otlp, secrets)?;
    let tally = Arc::new(Tally::new(otlp.queue_max));
    let provider = export::provider(otlp, headers, version, &tally)
        .map_err(|text| vec![ConfigFault::new("/telemetry/otlp", text)])?;
    let scope = InstrumentationScope::builder("portcullis").with_version(version.to_owned()).build();
    let tracer = Arc::new(Following::new(provider.tracer_with_scope(scope)));
    let flush_timeout = Duration::from_millis(otlp.flush_timeout_ms);
    Ok(Telemetry { tracer, pipeline: Some(Pipeline { provider, tally, flush_timeout }) })
}

/// Everything that [`open`] would object to, without opening anything.
#[must_use]
pub fn check(config: &Config, secrets: &dyn Secrets) -> Vec<ConfigFault> {
    let mut faults = config.check();
    if let Some(otlp) = &config.otlp {
        faults.extend(resolve(otlp, secrets).err().unwrap_or_default());
    }
    faults
}

impl Telemetry {
    /// What became of the spans so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.pipeline.as_ref().map(|pipeline| pipeline.tally.counts()).unwrap_or_default()
    }

    /// Sends what waits and stops; at most `flush_timeout_ms` long. Calls that end later are no longer traced, so
    /// it comes after the gate's drain. Gives the final counts, in which what was not sent has failed.
    pub async fn close(self) -> Counts {
        let Some(Pipeline { provider, tally, flush_timeout }) = self.pipeline else {
            return Counts::default();
        };
        // It waits for the thread that sends. Two waits of the same length: the outer one also holds where there
        // is no free thread to wait on.
        let flush = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(flush_timeout));
        let flushed = tokio::time::timeout(flush_timeout, flush).await;
        tally.close();
        let counts = tally.final_counts();
        if !matches!(flushed, Ok(Ok(Ok(())))) || counts.failed > 0 || counts.dropped > 0 {
            let Counts { exported, failed, dropped } = counts;
            tracing::warn!(exported, failed, dropped, "the trace collector did not get every span");
        }
        counts
    }
}

/// The configured headers with their values, marked as sensitive.
fn resolve(otlp: &Otlp, secrets: &dyn Secrets) -> Result<HeaderMap, Vec<ConfigFault>> {
    let mut headers = HeaderMap::new();
    let mut faults = Vec::new();
    for (name, reference) in &otlp.headers {
        let value = secrets.resolve(reference).and_then(|secret| {
            HeaderValue::from_str(secret.expose())
                .map_err(|_| "the value cannot be a header: it holds control characters".to_owned())
        });
        match (HeaderName::from_bytes(name.as_bytes()), value) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            (Err(_), _) => faults.push(ConfigFault::new(config::header_at(name), "not a header name")),
            (_, Err(text)) => faults.push(ConfigFault::new(config::header_at(name), text)),
        }
    }
    if faults.is_empty() { Ok(headers) } else { Err(faults) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
