use std::{
    error::Error,
    io::Read as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use reqwest::{blocking, redirect};

/// Bytes of a collector's answer that are read, at most.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Characters of a collector's own words that are logged, at most.
const WORDS_MAX: usize = 200;

/// Sends requests of the exporter. It blocks: it is called on the thread of the batch processor, which is no
/// thread of a runtime, and so needs none of ours.
///
/// The exporter's own headers would be mixed with those of `OTEL_EXPORTER_OTLP_HEADERS`; of them only the content
/// type is sent, beside the configured ones. No proxy, no redirect.
#[derive(Debug)]
pub(crate) struct Client {
    http: blocking::Client,
    headers: HeaderMap,
    last: Arc<Last>,
}

/// What the collector said last, and how many spans it rejected in a batch that it took.
#[derive(Debug, Default)]
pub(crate) struct Last(Mutex<(u64, Option<String>)>);

impl Last {
    /// The rejected spans and the cause of the last failure; empty afterwards.
    pub(crate) fn take(&self) -> (u64, Option<String>) {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, rejected: u64, cause: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (rejected, cause);
    }
}

impl Client {
    /// A client whose requests take no longer than `timeout`.
    ///
    /// Error: a sentence that says why there is none, such as missing root certificates.
    pub(crate) fn new(
        headers: HeaderMap,
        timeout: Duration,
        version: &str,
        last: Arc<Last>,
    ) -> Result<Self, String> {
        let builder = blocking::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(format!("portcullis/{version}"));
        // A blocking client must not be made on a thread of a runtime.
        let built = std::thread::scope(|scope| scope.spawn(|| builder.build()).join());
        let built = built.map_err(|_| "making the client of the trace collector panicked".to_owned())?;
        let http =
            built.map_err(|error| format!("cannot make the client of the trace collector: {error}"))?;
        Ok(Self { http, headers, last })
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let mut headers = self.headers.clone();
        if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, kind.clone());
        }
        let request = self.http.request(parts.method, parts.uri.to_string()).headers(headers).body(body);
        let answer = request.send().map_err(reqwest::Error::without_url)?;
        let mut response = Response::builder().status(answer.status());
        if let Some(wait) = answer.headers().get(header::RETRY_AFTER) {
            response = response.header(header::RETRY_AFTER, wait);
        }
        // The status has decided; an answer that is too long or breaks off must not have the batch sent again.
        let mut body = Vec::new();
        if let Err(error) = answer.take(ANSWER_BYTES_MAX).read_to_end(&mut body) {
            tracing::debug!(%error, "the answer of the trace collector cannot be read");
        }
        Ok(response.body(body.into())?)
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let result = self.send(request);
        match &result {
            Ok(answer) if answer.status().is_success() => {
                let (rejected, words) = rejected(answer.body());
                self.last.set(rejected, words);
            }
            Ok(answer) => self.last.set(0, Some(format!("it answered {}", answer.status()))),
            Err(error) => self.last.set(0, Some(chain(error.as_ref()))),
        }
        result
    }
}

/// How many spans of a batch that was taken were rejected nevertheless, and why. OTLP 1.7, "Partial Success".
fn rejected(body: &Bytes) -> (u64, Option<String>) {
    let Ok(answer) = ExportTraceServiceResponse::decode(body.clone()) else { return (0, None) };
    let Some(partial) = answer.partial_success else { return (0, None) };
    let words: String = partial.error_message.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect();
    let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0);
    (rejected, Some(format!("it rejected {rejected} spans: {words}")))
}

/// An error and its causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}
