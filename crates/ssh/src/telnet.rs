//! Telnet (RFC 854), for what has nothing else: what is said there, passwords too, can be read on the way.

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    Connection, Endpoint, Options, SshError, Terminal,
    connect::{Route, Stream},
};

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const SB: u8 = 250;
const SE: u8 = 240;
/// Echo (RFC 857): the other side shows what is typed, as a terminal wants it.
const ECHO: u8 = 1;
/// Suppress go-ahead (RFC 858).
const GO_AHEAD: u8 = 3;
/// The size of the window (RFC 1073): wide and high, so that nothing is broken or paged.
const WINDOW: u8 = 31;
/// The longest subnegotiation that is looked at; what is longer is skipped.
const SUB_BYTES_MAX: usize = 256;

/// A terminal over telnet. It ends when it is dropped.
pub struct Telnet {
    stream: Box<dyn Stream>,
    options: Negotiation,
    to: String,
    buffer: Vec<u8>,
}

/// Connects, directly or through a jump host. The login is a dialogue in the session.
///
/// Error: `Unreachable` or `TimedOut`.
pub async fn telnet(
    endpoint: &Endpoint,
    options: &Options,
    via: Option<&Connection>,
) -> Result<Telnet, SshError> {
    let route = Route { endpoint, options };
    let stream = timeout(options.connect_max, route.stream(via)).await;
    let stream = stream.map_err(|_| route.timed_out("answer", options.connect_max))??;
    let buffer = vec![0; 16 * 1024];
    Ok(Telnet { stream, options: Negotiation::new(Terminal::default()), to: route.to(), buffer })
}

impl Telnet {
    /// The next bytes; `None` once the other side has closed. Dropping the future loses nothing.
    pub async fn read(&mut self) -> Option<Bytes> {
        loop {
            let count = self.stream.read(&mut self.buffer).await.ok().filter(|count| *count > 0)?;
            let (data, reply) = self.options.feed(&self.buffer[..count]);
            if !reply.is_empty() {
                self.stream.write_all(&reply).await.ok()?;
            }
            if !data.is_empty() {
                return Some(data.into());
            }
        }
    }

    /// Sends bytes.
    ///
    /// Error: `Closed`.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), SshError> {
        let mut escaped = Vec::with_capacity(bytes.len());
        for byte in bytes {
            escaped.push(*byte);
            match *byte {
                IAC => escaped.push(IAC),
                // The end of a line is two bytes, or a return and nothing (RFC 854, "The NVT printer and keyboard").
                b'\r' => escaped.push(0),
                _ => {}
            }
        }
        let written = self.stream.write_all(&escaped).await;
        written.map_err(|_| SshError::Closed { to: self.to.clone() })
    }
}

/// Where in a command the reader is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    Data,
    Command,
    Option(u8),
    Sub(Vec<u8>),
    SubCommand(Vec<u8>),
}

/// The options of a connection, without IO.
struct Negotiation {
    terminal: Terminal,
    at: At,
    /// What was agreed on; asked for again, it is not answered again.
    ours: Vec<u8>,
    theirs: Vec<u8>,
}

impl Negotiation {
    fn new(terminal: Terminal) -> Self {
        Self { terminal, at: At::Data, ours: Vec::new(), theirs: Vec::new() }
    }

    /// Takes what came: the data in it, and what is to be sent back.
    fn feed(&mut self, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut data, mut reply) = (Vec::with_capacity(bytes.len()), Vec::new());
        for byte in bytes {
            let byte = *byte;
            self.at = match std::mem::replace(&mut self.at, At::Data) {
                At::Data if byte == IAC => At::Command,
                At::Data => {
                    data.push(byte);
                    At::Data
                }
                At::Command => match byte {
                    IAC => {
                        data.push(IAC);
                        At::Data
                    }
                    WILL | WONT | DO | DONT => At::Option(byte),
                    SB => At::Sub(Vec::new()),
                    _ => At::Data,
                },
                At::Option(verb) => {
                    self.answer(verb, byte, &mut reply);
                    At::Data
                }
                At::Sub(sub) if byte == IAC => At::SubCommand(sub),
                At::Sub(mut sub) => {
                    if sub.len() < SUB_BYTES_MAX {
                        sub.push(byte);
                    }
                    At::Sub(sub)
                }
                At::SubCommand(_) if byte == SE => At::Data,
                At::SubCommand(sub) => At::Sub(sub),
            };
        }
        (data, reply)
    }

    fn answer(&mut self, verb: u8, option: u8, reply: &mut Vec<u8>) {
        let agree = |agreed: &mut Vec<u8>, yes: u8, reply: &mut Vec<u8>| {
            let is_new = !agreed.contains(&option);
            if is_new {
                agreed.push(option);
                reply.extend([IAC, yes, option]);
            }
            is_new
        };
        match (verb, option) {
            (WILL, ECHO | GO_AHEAD) => drop(agree(&mut self.theirs, DO, reply)),
            (WILL, _) => reply.extend([IAC, DONT, option]),
            (DO, GO_AHEAD) => drop(agree(&mut self.ours, WILL, reply)),
            (DO, WINDOW) => {
                if agree(&mut self.ours, WILL, reply) {
                    let [a, b] = self.terminal.columns.to_be_bytes();
                    let [c, d] = self.terminal.rows.to_be_bytes();
                    reply.extend([IAC, SB, WINDOW]);
                    // A byte that is the escape is sent twice.
                    reply.extend(
                        [a, b, c, d]
                            .into_iter()
                            .flat_map(|byte| if byte == IAC { vec![IAC, IAC] } else { vec![byte] }),
                    );
                    reply.extend([IAC, SE]);
                }
            }
            (DO, _) => reply.extend([IAC, WONT, option]),
            (WONT, _) => self.theirs.retain(|agreed| *agreed != option),
            (_, _) => self.ours.retain(|agreed| *agreed != option),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_agreed_on_once_and_data_comes_through() {
        let mut options = Negotiation::new(Terminal { kind: "vt100", columns: 511, rows: 1000 });
        let said = [&[IAC, WILL, ECHO, IAC, WILL, GO_AHEAD, IAC, DO, WINDOW, IAC, DO, 24][..], b"Password: "]
            .concat();
        let mut got = (Vec::new(), Vec::new());
        // Split anywhere, it means the same.
        for piece in said.chunks(2) {
            let (data, reply) = options.feed(piece);
            got.0.extend(data);
            got.1.extend(reply);
        }
        assert_eq!(got.0, b"Password: ");
        let wanted = [
            &[IAC, DO, ECHO, IAC, DO, GO_AHEAD, IAC, WILL, WINDOW][..],
            &[IAC, SB, WINDOW, 1, IAC, IAC, 3, 232, IAC, SE],
            &[IAC, WONT, 24],
        ];
        assert_eq!(got.1, wanted.concat());
        assert_eq!(options.feed(&[IAC, WILL, ECHO, b'x', IAC, IAC]), (vec![b'x', IAC], vec![]));
        assert_eq!(options.feed(&[IAC, SB, 24, 1, IAC, SE, b'y']), (vec![b'y'], vec![]));
    }
}
