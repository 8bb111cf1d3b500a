//! One socket under hyper: it tells the [`Pulse`] what it sees, and closes gently where an answer would be lost.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use crate::pulse::Pulse;

/// How long we go on reading what nobody wants after an early answer, so that the client gets to see it instead of
/// a reset connection (RFC 9112, 9.6).
const LINGER_MAX: Duration = Duration::from_secs(2);
/// How much of it we read.
const LINGER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The pulse of a connection, shared by its socket, its requests and its watch. All of them run in one task, so the
/// lock is never waited for.
#[derive(Clone)]
pub(crate) struct SharedPulse(Arc<Mutex<Pulse>>);

impl SharedPulse {
    pub(crate) fn new(pulse: Pulse) -> Self {
        Self(Arc::new(Mutex::new(pulse)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Pulse> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket that is watched.
pub(crate) struct Wire<S> {
    socket: S,
    pulse: SharedPulse,
    linger: Option<Linger>,
    lengths: LengthLines,
}

/// Counts the lines that begin with `content-length:`, over pieces of any size. How much of it has matched so far.
struct LengthLines(usize);

impl LengthLines {
    const START: &[u8] = b"\ncontent-length:";

    fn count(&mut self, bytes: &[u8]) -> u64 {
        let mut lines = 0;
        for byte in bytes {
            let byte = byte.to_ascii_lowercase();
            if byte == Self::START[self.0] {
                self.0 += 1;
            } else {
                self.0 = usize::from(byte == b'\n');
            }
            if self.0 == Self::START.len() {
                (self.0, lines) = (0, lines + 1);
            }
        }
        lines
    }
}

struct Linger {
    until: Pin<Box<Sleep>>,
    bytes: usize,
    has_said_bye: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(socket: S, pulse: SharedPulse) -> TokioIo<Self> {
        TokioIo::new(Self { socket, pulse, linger: None, lengths: LengthLines(0) })
    }

    fn note_write<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            self.pulse.lock().write_stuck(Instant::now());
        }
        polled
    }

    /// Says that we send no more, then reads and forgets until the client has closed or the bounds are met.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let linger = self.linger.get_or_insert_with(|| Linger {
            until: Box::pin(tokio::time::sleep(LINGER_MAX)),
            bytes: 0,
            has_said_bye: false,
        });
        if !linger.has_said_bye {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            linger.has_said_bye = true;
        }
        let mut scratch = [0_u8; 8192];
        loop {
            if linger.bytes > LINGER_BYTES_MAX || linger.until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => linger.bytes += buffer.filled().len(),
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if polled.is_ready() && buffer.filled().len() > before {
            let lines = self.lengths.count(&buffer.filled()[before..]);
            let mut pulse = self.pulse.lock();
            pulse.heard(Instant::now());
            pulse.heard_lengths(lines);
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.note_write(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.note_write(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_flush(cx);
        if polled.is_ready() {
            self.pulse.lock().flushed();
        }
        self.note_write(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let must_linger = self.pulse.lock().must_linger();
        if must_linger { self.poll_linger(cx) } else { Pin::new(&mut self.socket).poll_shutdown(cx) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_a_length_are_counted_however_they_are_cut() {
        let text = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nx-content-length: 1\n\ncontent-length:6\r\ncontent-lengths: 7\r\n";
        for size in [1, 2, 7, text.len()] {
            let mut lines = LengthLines(0);
            assert_eq!(text.chunks(size).map(|piece| lines.count(piece)).sum::<u64>(), 2, "{size}");
        }
    }
}
