use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{
    Protocol, SpanExporter as OtlpExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    resource::TelemetryResourceDetector,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, Span, SpanData, SpanExporter,
        SpanLimits, SpanProcessor,
    },
};

use crate::{
    client::{Client, Last},
    config::Otlp,
    tally::Tally,
};

/// Builds the way from a span to the collector: sampler, bounded queue, batches on a thread of their own, OTLP.
/// Every setting is given, since those left open would be read from the environment.
///
/// Error: a sentence that says what cannot be built.
pub(crate) fn provider(
    otlp: &Otlp,
    headers: HeaderMap,
    version: &str,
    tally: &Arc<Tally>,
) -> Result<SdkTracerProvider, String> {
    let timeout = Duration::from_millis(otlp.timeout_ms);
    let last = Arc::new(Last::default());
    let client = Client::new(headers, timeout, version, Arc::clone(&last))?;
    let exporter = OtlpExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(otlp.traces_url())
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(timeout)
        .build()
        .map_err(|error| format!("cannot build the exporter of traces: {error}"))?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(otlp.queue_max as usize)
        .with_max_export_batch_size(otlp.batch_max as usize)
        .with_scheduled_delay(Duration::from_millis(otlp.export_interval_ms))
        .build();
    let watched = Watched { inner: exporter, last, tally: Arc::clone(tally) };
    let inner = BatchSpanProcessor::builder(watched).with_batch_config(batches).build();
    let resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_service_name(otlp.service_name.clone())
        .with_attribute(KeyValue::new("service.version", version.to_owned()))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(otlp.sample_ratio))))
        .with_span_limits(SpanLimits::default())
        .with_resource(resource)
        .with_span_processor(Counted { inner, tally: Arc::clone(tally) })
        .build())
}

/// The queue's door. It keeps the count that the batch processor does not show, and since a span is counted until
/// its batch is on its way, the processor's own queue is never full.
#[derive(Debug)]
struct Counted {
    inner: BatchSpanProcessor,
    tally: Arc<Tally>,
}

impl SpanProcessor for Counted {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.tally.accept() {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Sends batches, on the thread of the batch processor, and counts what becomes of them.
#[derive(Debug)]
struct Watched {
    inner: OtlpExporter,
    last: Arc<Last>,
    tally: Arc<Tally>,
}

impl SpanExporter for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        self.tally.taken(batch.len());
        if self.tally.is_closed() {
            self.tally.sent(0, spans, Some("there was no time left"));
            return Ok(());
        }
        let result = self.inner.export(batch).await;
        let (rejected, cause) = self.last.take();
        match &result {
            Ok(()) => {
                let rejected = rejected.min(spans);
                self.tally.sent(spans - rejected, rejected, cause.as_deref());
            }
            Err(error) => {
                let cause = cause.unwrap_or_else(|| error.to_string());
                self.tally.sent(0, spans, Some(&cause));
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.inner.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
