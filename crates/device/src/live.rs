//! A session that is open: the one without IO, and the bytes that go to and fro.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ssh::{Connection, Shell, SshError, Telnet, Terminal};
use tokio::time::timeout_at;

use crate::{
    error::DeviceError,
    inventory::Device,
    platform::Channel,
    session::{Bounds, Output, Session, SessionError, Step, Typist},
    tape::Tape,
};

/// What bytes go through.
pub(crate) enum Wire {
    Ssh(Box<Shell>),
    Telnet(Box<Telnet>),
}

impl Wire {
    async fn read(&mut self) -> Option<Bytes> {
        match self {
            Self::Ssh(shell) => shell.read().await,
            Self::Telnet(telnet) => telnet.read().await,
        }
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), SshError> {
        match self {
            Self::Ssh(shell) => shell.write(bytes).await,
            Self::Telnet(telnet) => telnet.write(&bytes).await,
        }
    }
}

/// An open session on a device.
pub(crate) struct Live {
    /// The connection; over telnet there is only the terminal.
    connection: Option<Arc<Connection>>,
    /// The terminal; a device whose commands run on channels of their own has none.
    shell: Option<(Wire, Session)>,
    /// What is recorded now.
    pub(crate) tape: Arc<Tape>,
    pub(crate) opened: Instant,
    pub(crate) used: Instant,
    /// When it last said that it is there.
    seen: Instant,
}

impl Live {
    /// Opens what commands are run on: for a shell, that is brought to its prompt.
    pub(crate) async fn open(
        device: &Device,
        connection: Arc<Connection>,
        channel: Channel,
        bounds: Bounds,
        tape: Arc<Tape>,
    ) -> Result<Self, DeviceError> {
        let now = Instant::now();
        let mut live = Self {
            connection: Some(Arc::clone(&connection)),
            shell: None,
            tape,
            opened: now,
            used: now,
            seen: now,
        };
        if channel == Channel::Shell {
            let shell = connection
                .shell(Terminal::default())
                .await
                .map_err(|source| DeviceError::ssh(device, source))?;
            live.greet(device, Wire::Ssh(Box::new(shell)), bounds).await?;
        }
        Ok(live)
    }

    /// Brings a terminal over telnet to its prompt.
    pub(crate) async fn over_telnet(
        device: &Device,
        telnet: Telnet,
        bounds: Bounds,
        tape: Arc<Tape>,
    ) -> Result<Self, DeviceError> {
        let now = Instant::now();
        let mut live = Self { connection: None, shell: None, tape, opened: now, used: now, seen: now };
        live.greet(device, Wire::Telnet(Box::new(telnet)), bounds).await?;
        Ok(live)
    }

    /// Brings a terminal to its prompt.
    async fn greet(&mut self, device: &Device, wire: Wire, bounds: Bounds) -> Result<(), DeviceError> {
        let typist = Typist {
            user: device.credential.login.user.clone(),
            password: device.credential.login.password.clone(),
            enable: device.credential.enable.clone(),
        };
        let session = Session::open(Arc::clone(device.platform), typist, bounds, Instant::now());
        self.shell = Some((wire, session));
        self.drive().await.map_err(|source| DeviceError::session(device, source))?;
        Ok(())
    }

    /// Runs one command.
    pub(crate) async fn run(
        &mut self,
        device: &Device,
        command: &str,
        bounds: &Bounds,
    ) -> Result<Output, DeviceError> {
        let output = match &mut self.shell {
            Some((_, session)) => {
                session.run(command, Instant::now());
                self.drive().await.map_err(|source| DeviceError::session(device, source))
            }
            None => self.exec(device, command, bounds).await,
        };
        self.used = Instant::now();
        output
    }

    /// The prompt of the terminal.
    pub(crate) fn prompt(&self) -> Option<&str> {
        self.shell.as_ref().and_then(|(_, session)| session.prompt())
    }

    /// True once nothing more can be run on it.
    pub(crate) fn is_lost(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.is_closed())
            || self.shell.as_ref().is_some_and(|(_, session)| session.is_lost())
    }

    /// Whether there is a question that its user does not see.
    pub(crate) fn can_be_asked(&self) -> bool {
        self.connection.is_some()
    }

    /// When it was last known to be there.
    pub(crate) fn checked(&self) -> Instant {
        self.used.max(self.seen)
    }

    /// Asks whether the other side is still there.
    pub(crate) async fn is_alive(&mut self, within: Duration) -> bool {
        if self.is_lost() {
            return false;
        }
        // Telnet has no question that its user does not see: after a while the session is made anew.
        let Some(connection) = &self.connection else { return false };
        let alive = tokio::time::timeout(within, connection.ping()).await.is_ok_and(|asked| asked.is_ok());
        if alive {
            self.seen = Instant::now();
        }
        alive
    }

    /// Passes bytes to and fro until what was asked for is done.
    async fn drive(&mut self) -> Result<Output, SessionError> {
        let Some((shell, session)) = &mut self.shell else { return Err(SessionError::Closed) };
        loop {
            match session.poll(Instant::now()) {
                Step::Done(result) => return result,
                Step::Write(typed) => {
                    self.tape.typed(&typed.bytes, typed.is_secret);
                    if shell.write(typed.bytes).await.is_err() {
                        session.closed();
                    }
                }
                Step::Wait(until) => match timeout_at(until.into(), shell.read()).await {
                    Ok(Some(bytes)) => {
                        self.tape.printed(&bytes);
                        session.feed(&bytes, Instant::now());
                    }
                    Ok(None) => session.closed(),
                    Err(_) => {}
                },
            }
        }
    }

    /// Runs a command on a channel of its own.
    async fn exec(&self, device: &Device, command: &str, bounds: &Bounds) -> Result<Output, DeviceError> {
        let began = Instant::now();
        let Some(connection) = &self.connection else {
            return Err(DeviceError::session(device, SessionError::Closed));
        };
        let mut exec = connection.exec(command).await.map_err(|source| DeviceError::ssh(device, source))?;
        self.tape.typed(format!("{command}\n").as_bytes(), false);
        let (mut bytes, mut cut) = (Vec::new(), false);
        loop {
            let ends = (began + bounds.command_max).min(Instant::now() + bounds.silence_max);
            match timeout_at(ends.into(), exec.read()).await {
                Ok(Some(more)) => {
                    self.tape.printed(&more);
                    let room = bounds.output_bytes_max.saturating_sub(bytes.len());
                    bytes.extend_from_slice(&more[..more.len().min(room)]);
                    if more.len() > room {
                        // Dropping the channel ends the command.
                        cut = true;
                        break;
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    let last =
                        String::from_utf8_lossy(&bytes).lines().next_back().unwrap_or_default().to_owned();
                    return Err(DeviceError::session(
                        device,
                        SessionError::TimedOut { took: began.elapsed(), last },
                    ));
                }
            }
        }
        let text = String::from_utf8_lossy(&bytes).replace('\r', "").trim_end().to_owned();
        let error = match exec.exit_status() {
            Some(0) | None => None,
            Some(status) => {
                let told = device.platform.error_in(&text).map(|(class, line)| (class, line.to_owned()));
                let last = || text.lines().next_back().unwrap_or("it said nothing").to_owned();
                Some(told.unwrap_or_else(|| {
                    (crate::platform::ErrorClass::Failed, format!("it ended with {status}: {}", last()))
                }))
            }
        };
        Ok(Output { text, cut, error })
    }
}
