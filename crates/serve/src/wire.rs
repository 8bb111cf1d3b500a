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
    /// The status of an answer of hyper's own that was held back; nothing is sent any more.
    held_back: Option<u16>,
}

/// The status of a head that hyper sends by itself where it cannot read a request: without a body, and with nothing but
/// these fields. Every answer of the doors has more.
fn bare_refusal(bytes: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(bytes).ok()?.strip_prefix("HTTP/1.1 4")?.strip_suffix("\r\n\r\n")?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?.get(..2)?.parse::<u16>().ok()?;
    let is_bare = lines
        .all(|line| matches!(line, "connection: close" | "content-length: 0") || line.starts_with("date: "));
    is_bare.then_some(400 + status)
}

/// Counts the lines that begin with `content-length:`, over pieces of any size. How much of it has matched so far.
struct LengthLines(usize);

impl LengthLines {
    const START: &[u8] = b"\ncontent-length:";

    fn count(&mut self, mut bytes: &[u8]) -> u64 {
        let mut lines = 0;
        loop {
            // Nothing has matched: all up to the next line end cannot.
            if self.0 == 0 {
                let Some(end) = memchr::memchr(b'\n', bytes) else { return lines };
                bytes = &bytes[end..];
            }
            let Some((byte, rest)) = bytes.split_first() else { return lines };
            bytes = rest;
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
    }
}

struct Linger {
    until: Pin<Box<Sleep>>,
    bytes: usize,
    has_said_bye: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(socket: S, pulse: SharedPulse) -> TokioIo<Self> {
        TokioIo::new(Self { socket, pulse, linger: None, lengths: LengthLines(0), held_back: None })
    }

    /// The status of the bare answer that hyper wanted to send to a request that it cannot read, and that was held
    /// back. From here on everything is sent again.
    pub(crate) fn take_held_back(&mut self) -> Option<u16> {
        self.held_back.take()
    }

    /// True where these bytes are not to be sent: they are a bare refusal, and nothing of ours is being answered.
    fn holds_back(&mut self, bytes: &[u8]) -> bool {
        if self.held_back.is_none() && !self.pulse.lock().is_busy() {
            self.held_back = bare_refusal(bytes);
        }
        self.held_back.is_some()
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
        if self.holds_back(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let polled = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.note_write(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next())
            && self.holds_back(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
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
        if self.held_back.is_some() {
            return Poll::Ready(Ok(()));
        }
        let must_linger = self.pulse.lock().must_linger();
        if must_linger { self.poll_linger(cx) } else { Pin::new(&mut self.socket).poll_shutdown(cx) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_hyper_sends_by_itself_is_held_back() {
        for (text, status) in [
            (
                "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n",
                Some(400),
            ),
            ("HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n", Some(431)),
            ("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nx-request-id: r-1\r\n\r\n", None),
            ("HTTP/1.1 400 Bad Request\r\ncontent-length: 1\r\n\r\nx", None),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", None),
            ("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n", None),
            ("HTTP/1.1 4", None),
            ("", None),
        ] {
            assert_eq!(bare_refusal(text.as_bytes()), status, "{text}");
        }
    }

    #[test]
    fn lines_with_a_length_are_counted_however_they_are_cut() {
        let text = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nx-content-length: 1\n\ncontent-length:6\r\ncontent-lengths: 7\r\n";
        for size in [1, 2, 7, text.len()] {
            let mut lines = LengthLines(0);
            assert_eq!(text.chunks(size).map(|piece| lines.count(piece)).sum::<u64>(), 2, "{size}");
        }
    }
}
