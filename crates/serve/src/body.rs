//! The body of an answer: one piece, or a stream that goes on.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use tokio::sync::mpsc;

/// How many pieces of a stream wait for a slow client before its source waits too.
const PIECES_MAX: usize = 16;

/// What an answer carries.
pub(crate) enum Body {
    /// All of it.
    Whole(Full<Bytes>),
    /// Pieces, as they come.
    Stream(Pieces),
}

/// A stream of pieces, and the work that makes them: it runs while the body is read, and is dropped with it.
pub(crate) struct Pieces {
    work: Option<BoxFuture<'static, ()>>,
    pieces: mpsc::Receiver<Bytes>,
}

impl Body {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }

    /// A stream of what `work` sends. The stream ends when the sender is gone.
    pub(crate) fn stream<W>(work: impl FnOnce(mpsc::Sender<Bytes>) -> W) -> Self
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        Self::Stream(Pieces { work: Some(Box::pin(work(sender))), pieces })
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::new(Bytes::new())
    }
}

impl Pieces {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Poll::Ready(piece) = self.pieces.poll_recv(cx) {
            return Poll::Ready(piece);
        }
        if let Some(work) = &mut self.work
            && work.as_mut().poll(cx).is_ready()
        {
            self.work = None;
        }
        // What the work has just sent, or that it has ended.
        self.pieces.poll_recv(cx)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Self::Stream(pieces) => {
                pieces.poll_piece(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_stream_ends_with_its_work() {
        let body = Body::stream(|sender| async move {
            for piece in ["a", "b", "c"] {
                sender.send(Bytes::from_static(piece.as_bytes())).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
    }

    #[tokio::test]
    async fn a_stream_that_is_dropped_drops_its_work() {
        let (held, mut gone) = mpsc::channel::<()>(1);
        let body = Body::stream(|sender| async move {
            let _held = held;
            sender.closed().await;
            std::future::pending::<()>().await;
        });
        drop(body);
        assert_eq!(gone.recv().await, None);
    }
}
