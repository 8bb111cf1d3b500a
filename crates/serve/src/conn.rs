//! One connection, from its first byte to its close.

use std::{
    convert::Infallible,
    future::poll_fn,
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep},
};
use tool::{Code, Fault, Stop};

use crate::{
    config::Config,
    headers::Ids,
    late,
    problem::{self, Form, Refusal},
    pulse::{Bounds, Pulse},
    upload::{Upload, UploadBounds},
    wire::{SharedPulse, Wire},
};

pub(crate) use crate::body::Body;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A client on the network.
    Network {
        /// Its address. That of the last proxy, where there is one: no header is believed.
        from: IpAddr,
    },
    /// A user of this machine, at the local socket.
    Local { uid: u32 },
}

impl Peer {
    /// Its address, where it came over the network.
    pub(crate) fn address(self) -> Option<IpAddr> {
        match self {
            Self::Network { from } => Some(from),
            Self::Local { .. } => None,
        }
    }
}

/// Answers requests. The doors do; tests of the connection have their own.
#[async_trait]
pub(crate) trait Answers: Send + Sync {
    /// Answers one request. Dropping the future means that the client left.
    async fn answer(&self, peer: Peer, request: Request<Upload>) -> Response<Body>;
    /// The answer where a head never became a request, after so long a time.
    fn unread(&self, peer: Peer, refusal: &Refusal, took: Duration) -> Response<Body>;
}

/// The bounds of connections, from the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnBounds {
    pulse: Bounds,
    upload: UploadBounds,
    header_bytes_max: usize,
    headers_max: usize,
}

impl ConnBounds {
    pub(crate) fn new(config: &Config) -> Self {
        let ms = Duration::from_millis;
        Self {
            pulse: Bounds {
                header: ms(config.header_timeout_ms),
                idle: ms(config.idle_ms),
                write: ms(config.request_total_ms),
            },
            upload: UploadBounds {
                idle: ms(config.body_idle_ms),
                total: ms(config.request_total_ms),
                bytes_max: config.body_bytes_max,
            },
            header_bytes_max: config.header_bytes_max.max(8_192),
            headers_max: config.headers_max,
        }
    }
}

/// Serves a connection until either side ends it, a bound is met, or `stop` is asked: then the request that runs is
/// answered with `Connection: close`. A head that takes too long is answered with 408 and one that cannot be read with
/// what is wrong with it; an idle connection is closed without a word.
pub(crate) async fn serve<S>(socket: S, peer: Peer, bounds: ConnBounds, doors: Arc<dyn Answers>, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let pulse = SharedPulse::new(Pulse::new(bounds.pulse, Instant::now()));
    let wire = Wire::new(socket, pulse.clone());
    let service = service_fn(|request: Request<Incoming>| {
        let (doors, pulse) = (Arc::clone(&doors), pulse.clone());
        async move { Ok::<_, Infallible>(answer(doors.as_ref(), peer, request, bounds.upload, pulse).await) }
    });
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_buf_size(bounds.header_bytes_max);
    builder.max_header_size(bounds.header_bytes_max);
    if bounds.headers_max != 100 {
        builder.max_headers(bounds.headers_max);
    }
    let mut connection = builder.serve_connection(wire, service);
    let mut watch = Watch { pulse: pulse.clone(), alarm: None };
    let mut asked = pin!(stop.asked());
    let mut is_stopping = false;
    let end = poll_fn(|cx| {
        let mut connection = Pin::new(&mut connection);
        if !is_stopping && asked.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(end) = connection.poll(cx) {
            if let Err(error) = &end {
                tracing::debug!(%error, "a connection ended early");
            }
            return Poll::Ready(end.err().map_or(End::Closed, End::Broken));
        }
        if is_stopping && pulse.lock().is_quiet() {
            return Poll::Ready(End::Closed);
        }
        watch.poll_overdue(cx).map(|()| End::Overdue)
    })
    .await;
    let parts = connection.into_parts();
    let mut wire = parts.io.into_inner();
    let (refusal, took) = match end {
        End::Overdue if pulse.lock().may_speak() && late::has_begun(&parts.read_buf) => {
            (late::too_late(bounds.pulse.header), bounds.pulse.header)
        }
        End::Broken(error) => match wire.take_held_back() {
            Some(http) => {
                let (bytes_max, fields_max) = (bounds.header_bytes_max, bounds.headers_max);
                (late::unreadable(http, &error, bytes_max, fields_max), Duration::ZERO)
            }
            None => return,
        },
        End::Overdue | End::Closed => return,
    };
    pulse.lock().linger();
    late::answer(wire, doors.unread(peer, &refusal, took)).await;
}

/// How a connection ended.
#[derive(Debug)]
enum End {
    /// Nothing is left to be said.
    Closed,
    /// It took too long.
    Overdue,
    /// Something came that cannot be read, or the client left.
    Broken(hyper::Error),
}

async fn answer(
    doors: &dyn Answers,
    peer: Peer,
    request: Request<Incoming>,
    bounds: UploadBounds,
    pulse: SharedPulse,
) -> Response<Answering> {
    pulse.lock().asked();
    let guard = Guard(pulse.clone());
    let (has_length, is_chunked) = (
        request.headers().contains_key(header::CONTENT_LENGTH),
        request.headers().contains_key(header::TRANSFER_ENCODING),
    );
    let is_ambiguous = pulse.lock().is_ambiguous(has_length, is_chunked);
    let request = request.map(|incoming| Upload::new(incoming, bounds, pulse.clone()));
    let mut response = if is_ambiguous {
        pulse.lock().linger();
        refuse_ambiguous(request.headers())
    } else {
        doors.answer(peer, request).await
    };
    if pulse.lock().must_linger() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response.map(|body| Answering { body, _guard: guard })
}

fn refuse_ambiguous(headers: &HeaderMap) -> Response<Body> {
    let fault =
        Fault::new(Code::Malformed, "the request has both Content-Length and Transfer-Encoding; send one");
    problem::respond(&fault.into(), Form::of(headers), &Ids::of(headers).request, false)
}

/// Ends a connection that is overdue.
struct Watch {
    pulse: SharedPulse,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Watch {
    /// Ready when the connection is overdue. The alarm is only ever moved nearer, and looked at again when it
    /// rings, so that a busy connection does not touch the timer for every request.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(due) = self.pulse.lock().due() else { return Poll::Pending };
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            if due < alarm.deadline() {
                alarm.as_mut().reset(due);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if due <= Instant::now() {
                tracing::debug!("a connection was overdue");
                return Poll::Ready(());
            }
            alarm.as_mut().reset(due);
        }
    }
}

/// The body of an answer; its end starts the wait for the next request.
struct Answering {
    body: Body,
    _guard: Guard,
}

struct Guard(SharedPulse);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.lock().answered(Instant::now());
    }
}

impl http_body::Body for Answering {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
