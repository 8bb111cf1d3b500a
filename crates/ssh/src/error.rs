use std::time::Duration;

/// Why there is no connection, or no more of it. The sentences name the far end and never hold a secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SshError {
    /// Nobody answers there.
    #[error("cannot reach {to}: {why}")]
    Unreachable {
        /// The endpoint.
        to: String,
        /// What the system said.
        why: String,
    },
    /// It took too long.
    #[error("{to} did not {doing} within {} s", took.as_secs_f32())]
    TimedOut {
        /// The endpoint.
        to: String,
        /// What was waited for.
        doing: &'static str,
        /// How long that was.
        took: Duration,
    },
    /// Both sides have no algorithm of a kind in common.
    #[error("{to} offers no {kind} that the profile {profile} allows; it offers {}{}", theirs.join(", "), hint(*wider))]
    NoCommonAlgorithm {
        /// The endpoint.
        to: String,
        /// What kind: `key exchange`, `host key`, `cipher`, `MAC`.
        kind: &'static str,
        /// The profile in use.
        profile: &'static str,
        /// What the other side offers.
        theirs: Vec<String>,
        /// The profile that would do.
        wider: Option<&'static str>,
    },
    /// The host key is not known.
    #[error("the host key of {to} is not known: {key}; compare it with the device's own and trust it")]
    UnknownHostKey {
        /// The endpoint.
        to: String,
        /// Its algorithm and fingerprint.
        key: String,
    },
    /// The host key is another one than the one that is known.
    #[error(
        "the host key of {to} has changed: it shows {key}, but {known} is known; either the device was replaced, or someone is in between"
    )]
    HostKeyChanged {
        /// The endpoint.
        to: String,
        /// The algorithm and fingerprint it shows.
        key: String,
        /// Where the known one stands.
        known: String,
    },
    /// The host key was revoked.
    #[error("the host key of {to} is revoked: {key}")]
    HostKeyRevoked {
        /// The endpoint.
        to: String,
        /// Its algorithm and fingerprint.
        key: String,
    },
    /// The file of known hosts cannot be read.
    #[error("cannot read {file}: {why}")]
    KnownHosts {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// The other side did not take the login.
    #[error("{to} refused the login of {user:?} by {tried}; it would take {}", or_nothing(left))]
    LoginRefused {
        /// The endpoint.
        to: String,
        /// The user.
        user: String,
        /// The methods that were tried.
        tried: String,
        /// The methods it would take.
        left: Vec<String>,
    },
    /// Nothing we have is a method that the other side takes.
    #[error("{to} takes a login only by {}, and {user:?} has nothing for that", or_nothing(takes))]
    NoLoginMethod {
        /// The endpoint.
        to: String,
        /// The user.
        user: String,
        /// The methods it takes.
        takes: Vec<String>,
    },
    /// A private key, a certificate or an agent cannot be used.
    #[error("cannot use {what}: {why}")]
    BadKey {
        /// Which.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The other side does not give what was asked of it: a channel, a terminal, a shell.
    #[error("{to} refused {what}{why}")]
    Refused {
        /// The endpoint.
        to: String,
        /// What was asked.
        what: &'static str,
        /// What it said, after a colon; empty for nothing.
        why: String,
    },
    /// The connection ended.
    #[error("{to} closed the connection")]
    Closed {
        /// The endpoint.
        to: String,
    },
    /// The other side does not speak the protocol as it is written.
    #[error("{to} breaks the SSH protocol: {why}")]
    Protocol {
        /// The endpoint.
        to: String,
        /// How.
        why: String,
    },
}

fn or_nothing(methods: &[String]) -> String {
    match methods {
        [] => "nothing".to_owned(),
        some => some.join(", "),
    }
}

fn hint(wider: Option<&'static str>) -> String {
    match wider {
        Some(profile) => format!("; `algorithms: {profile}` would allow it"),
        None => "; no profile has any of these".to_owned(),
    }
}

/// What happens inside a connection that is being made: the library's errors, and our verdict on the host key.
#[derive(Debug)]
pub(crate) enum Inside {
    /// The library's.
    Ssh(russh::Error),
    /// Ours.
    Verdict(SshError),
}

impl From<russh::Error> for Inside {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl Inside {
    /// As it is told to others.
    pub(crate) fn of(self, to: &str, profile: crate::Algorithms) -> SshError {
        match self {
            Self::Verdict(error) => error,
            Self::Ssh(error) => of(error, to, profile),
        }
    }
}

/// An error of the library, as it is told to others.
pub(crate) fn of(error: russh::Error, to: &str, profile: crate::Algorithms) -> SshError {
    use russh::Error;
    let to = to.to_owned();
    match error {
        Error::NoCommonAlgo { kind, theirs, .. } => {
            let kind_name = crate::algorithms::kind_name(&kind);
            let wider = profile.wider_for(&kind, &theirs);
            SshError::NoCommonAlgorithm { to, kind: kind_name, profile: profile.as_str(), theirs, wider }
        }
        Error::Disconnect
        | Error::HUP
        | Error::SendError
        | Error::RecvError
        | Error::KeepaliveTimeout
        | Error::InactivityTimeout
        | Error::ConnectionTimeout => SshError::Closed { to },
        Error::IO(error) if is_an_end(&error) => SshError::Closed { to },
        Error::IO(error) => SshError::Unreachable { to, why: error.to_string() },
        Error::ChannelOpenFailure(reason) => {
            SshError::Refused { to, what: "a channel", why: format!(": {reason:?}") }
        }
        Error::WrongServerSig => {
            SshError::Protocol { to, why: "its host key does not fit its signature".to_owned() }
        }
        other => SshError::Protocol { to, why: other.to_string() },
    }
}

fn is_an_end(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
    )
}
