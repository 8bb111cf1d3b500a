//! The body of a request, read within its bounds.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;
use tool::{Code, Fault};

use crate::{problem::Refusal, wire::SharedPulse};

/// The bounds of one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UploadBounds {
    /// The longest pause.
    pub(crate) idle: Duration,
    /// The longest time from the head to the last byte.
    pub(crate) total: Duration,
    /// The most bytes.
    pub(crate) bytes_max: usize,
}

/// The body of a request that may still be on its way. One that is dropped unread, or given up, marks the
/// connection for a gentle close.
pub(crate) struct Upload {
    incoming: Incoming,
    bounds: UploadBounds,
    since: Instant,
    pulse: SharedPulse,
    is_read: bool,
}

impl Upload {
    pub(crate) fn new(incoming: Incoming, bounds: UploadBounds, pulse: SharedPulse) -> Self {
        Self { incoming, bounds, since: Instant::now(), pulse, is_read: false }
    }

    /// True where the client has announced no more than so many bytes.
    pub(crate) fn is_at_most(&self, bytes: u64) -> bool {
        self.incoming.size_hint().upper().is_some_and(|upper| upper <= bytes)
    }

    /// Reads it all.
    ///
    /// Refusal: `TooLarge` as soon as that is known; 408 where the client pauses or takes too long; `Malformed`
    /// where the body breaks off or is not framed as HTTP has it.
    pub(crate) async fn read(mut self) -> Result<Bytes, Refusal> {
        let announced = self.incoming.size_hint().lower();
        if announced > self.bounds.bytes_max as u64 {
            return Err(self.too_large());
        }
        let mut first = Bytes::new();
        let mut rest: Option<BytesMut> = None;
        loop {
            let wait = self.bounds.idle.min(self.bounds.total.saturating_sub(self.since.elapsed()));
            let frame = match tokio::time::timeout(wait, self.incoming.frame()).await {
                Err(_) => return Err(too_slow(self.bounds)),
                Ok(None) => {
                    self.is_read = true;
                    break;
                }
                Ok(Some(frame)) => frame.map_err(broken)?,
            };
            // Trailers are nothing to us.
            let Ok(data) = frame.into_data() else { continue };
            let so_far = first.len() + rest.as_ref().map_or(0, BytesMut::len);
            if so_far + data.len() > self.bounds.bytes_max {
                return Err(self.too_large());
            }
            // Most bodies come in one piece, which is then not copied.
            match &mut rest {
                Some(rest) => rest.extend_from_slice(&data),
                None if first.is_empty() => first = data,
                None => {
                    let mut both = BytesMut::with_capacity(
                        (first.len() + data.len()).max(usize::try_from(announced).unwrap_or(0)),
                    );
                    both.extend_from_slice(&std::mem::take(&mut first));
                    both.extend_from_slice(&data);
                    rest = Some(both);
                }
            }
        }
        Ok(rest.map_or(first, BytesMut::freeze))
    }

    fn too_large(&self) -> Refusal {
        let text = format!("the body is larger than {} bytes (server.body_bytes_max)", self.bounds.bytes_max);
        Fault::new(Code::TooLarge, text).into()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.is_read && !self.incoming.is_end_stream() {
            self.pulse.lock().linger();
        }
    }
}

fn too_slow(bounds: UploadBounds) -> Refusal {
    let text = format!(
        "the body did not arrive in time: {} ms between two pieces, {} ms in all",
        bounds.idle.as_millis(),
        bounds.total.as_millis()
    );
    Refusal { fault: Fault::new(Code::Malformed, text), http: 408 }
}

fn broken(error: hyper::Error) -> Refusal {
    Fault::new(Code::Malformed, "the body breaks off or is not framed as HTTP has it").because(error).into()
}
