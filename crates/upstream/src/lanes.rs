//! Connections of HTTP/1.1 to one server, each driven by the call that uses it.
//!
//! A client that keeps a task for every connection wakes that task for each request and is woken by it for each
//! answer. Here a call polls its connection itself: one wake-up less each way, and a call that is dropped closes its
//! connection with it, which is how a modern server learns that nobody waits (2026-07-28 basic/transports).

use std::{
    collections::VecDeque,
    future::poll_fn,
    net::IpAddr,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::{
    client::legacy::connect::{Connection as _, HttpInfo},
    rt::TokioIo,
};
use tokio::{net::TcpStream, runtime::Handle, task::unconstrained, time::Instant};
use tower_service::Service as _;

use crate::{
    error::UpstreamError,
    guard::{self, Connector, HEADERS_MAX, IDLE},
};

type Sent = Full<Bytes>;
type Socket = MaybeHttpsStream<TokioIo<TcpStream>>;

/// The connections to one server.
pub(crate) struct Lanes {
    connector: Connector,
    /// Where they lead.
    to: Uri,
    idle_max: usize,
    idle: Mutex<Idle>,
}

/// The connections that nobody uses.
#[derive(Default)]
struct Idle {
    /// The one used last in front, each with the time since when.
    lanes: VecDeque<(Instant, Box<Lane>)>,
    /// True while a task closes those that are kept too long.
    is_swept: bool,
}

/// One connection. It is large, and goes from hand to hand: so always in a box.
struct Lane {
    sender: http1::SendRequest<Sent>,
    /// None once it is over.
    connection: Option<http1::Connection<Socket, Sent>>,
    /// The address at the other end.
    address: Option<IpAddr>,
}

/// The body of an answer, and the connection that it comes over.
pub(crate) struct Answer {
    incoming: Incoming,
    lane: Option<(Box<Lane>, Arc<Lanes>)>,
}

impl Lanes {
    /// No connection yet. Of those that nobody uses, `idle_max` are kept.
    pub(crate) fn new(connector: Connector, to: Uri, idle_max: usize) -> Arc<Self> {
        Arc::new(Self { connector, to, idle_max, idle: Mutex::default() })
    }

    /// Sends a request, whose target is a path and whose `Host` is set; the answer with the address that it came from.
    ///
    /// Error: no connection, or it broke before the head of the answer had come.
    pub(crate) async fn request(
        self: &Arc<Self>,
        mut request: Request<Sent>,
    ) -> Result<(Response<Answer>, Option<IpAddr>), UpstreamError> {
        // One that was kept may have been closed meanwhile; what it has not begun to send goes over the next.
        while let Some(mut lane) = self.take() {
            match lane.ask(request).await {
                Ok(response) => return Ok(self.hand_out(lane, response)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(guard::broken(failed.into_error())),
                },
            }
        }
        let mut lane = Box::pin(self.connect()).await?;
        match lane.ask(request).await {
            Ok(response) => Ok(self.hand_out(lane, response)),
            Err(failed) => Err(guard::broken(failed.into_error())),
        }
    }

    fn hand_out(
        self: &Arc<Self>,
        lane: Box<Lane>,
        response: Response<Incoming>,
    ) -> (Response<Answer>, Option<IpAddr>) {
        let address = lane.address;
        let lane = Some((lane, Arc::clone(self)));
        (response.map(|incoming| Answer { incoming, lane }), address)
    }

    /// A connection that was kept and is still open.
    fn take(&self) -> Option<Box<Lane>> {
        loop {
            let (since, mut lane) = self.idle().lanes.pop_front()?;
            if since.elapsed() < IDLE && lane.is_open() {
                return Some(lane);
            }
        }
    }

    async fn connect(&self) -> Result<Box<Lane>, UpstreamError> {
        let mut connector = self.connector.clone();
        let connected = connector.call(self.to.clone()).await;
        let socket = connected.map_err(guard::not_connected)?;
        let mut extensions = http::Extensions::new();
        socket.connected().get_extras(&mut extensions);
        let address = extensions.get::<HttpInfo>().map(|info| info.remote_addr().ip());
        let shaken = http1::Builder::new().max_headers(HEADERS_MAX).handshake(socket).await;
        let (sender, connection) = shaken.map_err(guard::broken)?;
        Ok(Box::new(Lane { sender, connection: Some(connection), address }))
    }

    /// Keeps a connection whose answer has come to its end.
    fn keep(self: &Arc<Self>, mut lane: Box<Lane>) {
        if !lane.is_open() || !lane.sender.is_ready() {
            return;
        }
        // Without a runtime the process is ending.
        let Ok(runtime) = Handle::try_current() else { return };
        let mut idle = self.idle();
        idle.lanes.push_front((Instant::now(), lane));
        idle.lanes.truncate(self.idle_max);
        if !std::mem::replace(&mut idle.is_swept, true) {
            runtime.spawn(Self::sweep(Arc::downgrade(self)));
        }
    }

    /// Closes what nobody uses any more or the other side has closed, until nothing is left.
    async fn sweep(lanes: Weak<Self>) {
        loop {
            tokio::time::sleep(IDLE / 2).await;
            let Some(lanes) = lanes.upgrade() else { return };
            let mut idle = lanes.idle();
            idle.lanes.retain_mut(|(since, lane)| since.elapsed() < IDLE && lane.is_open());
            if idle.lanes.is_empty() {
                idle.is_swept = false;
                return;
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    /// Sends a request and waits for the head of its answer.
    async fn ask(
        &mut self,
        request: Request<Sent>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Sent>>> {
        // Unconstrained: a channel that puts its reader off for others would wake nobody here.
        let mut answer = pin!(unconstrained(self.sender.try_send_request(request)));
        let connection = &mut self.connection;
        // What is sent was handed over while nobody was to be woken, and waiting for the answer asks nothing more of the
        // connection: one poll of each is enough.
        poll_fn(|cx| {
            advance(connection, cx);
            step(connection.is_some(), cx, |cx| answer.as_mut().poll(cx))
        })
        .await
    }

    /// Looks whether the other side has closed it.
    fn is_open(&mut self) -> bool {
        advance(&mut self.connection, &mut Context::from_waker(Waker::noop()));
        self.connection.is_some()
    }
}

/// Lets a connection go on until whoever reads from it has something. The two talk over channels that wake each other:
/// while both are polled right here nobody has to be woken, so that only the last poll leaves a waker behind.
fn drive<T>(
    connection: &mut Option<http1::Connection<Socket, Sent>>,
    cx: &mut Context<'_>,
    mut read: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let quiet = &mut Context::from_waker(Waker::noop());
    advance(connection, quiet);
    let done = read(quiet);
    if done.is_ready() {
        return done;
    }
    // What was asked for just now may be there already.
    advance(connection, cx);
    step(connection.is_some(), cx, read)
}

/// One step of whoever uses a connection, which wakes the task where there is something. One that is over wakes nobody:
/// the step is told so at once, and where it waits all the same, it leaves the task's waker.
fn step<T>(is_open: bool, cx: &mut Context<'_>, step: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    if is_open { step(&mut Context::from_waker(Waker::noop())) } else { step(cx) }
}

/// Polls a connection; one that is over is dropped, with which everybody who waits for it is told.
fn advance(connection: &mut Option<http1::Connection<Socket, Sent>>, cx: &mut Context<'_>) {
    if let Some(open) = connection
        && Pin::new(open).poll(cx).is_ready()
    {
        *connection = None;
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { incoming, lane } = &mut *self;
        let mut incoming = Pin::new(incoming);
        let Some((open, _)) = lane else {
            // Its connection may be another answer's by now.
            return if incoming.is_end_stream() { Poll::Ready(None) } else { incoming.poll_frame(cx) };
        };
        let polled = drive(&mut open.connection, cx, |cx| incoming.as_mut().poll_frame(cx));
        let is_whole = matches!(&polled, Poll::Ready(Some(Ok(_)))) && incoming.is_end_stream();
        if (is_whole || matches!(polled, Poll::Ready(None)))
            && let Some((lane, lanes)) = lane.take()
        {
            lanes.keep(lane);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Answer {
    /// Where nothing is left but the end, as of an answer without a body, the connection can be used again.
    fn drop(&mut self) {
        if self.lane.is_some() {
            let _ = Pin::new(self).poll_frame(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl From<Incoming> for Answer {
    /// A body whose connection others look after.
    fn from(incoming: Incoming) -> Self {
        Self { incoming, lane: None }
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("lane", &self.lane.is_some()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes").field("to", &self.to).finish_non_exhaustive()
    }
}
