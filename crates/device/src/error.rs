use ssh::SshError;
use tool::{Code, Fault};

use crate::{inventory::Device, platform::ErrorClass, session::SessionError};

/// Everything that can go wrong in this room. Devices are called by their names in the inventory.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    #[error("Device not found: {asked}; list_devices shows what there is")]
    NotFound { asked: String },
    #[error("{what}")]
    BadArgument { pointer: String, what: String },
    #[error("{device}: {source}")]
    Ssh { device: String, source: SshError },
    #[error("{device}: {source}")]
    Session { device: String, source: SessionError },
    #[error(
        "{device}: the login {login:?} was refused before and is not tried again for {wait_s} s, so that nobody is locked out: {why}"
    )]
    LoginStopped { device: String, login: String, wait_s: u64, why: String },
    #[error("{device}: no session came free in time; {max} are open (`devices.sessions_per_device_max`)")]
    NoSession { device: String, max: usize },
    #[error(
        "{device}: there were {max} logins in the last 60 s (`devices.logins_per_minute_max`); one is free in {wait_s} s"
    )]
    TooManyLogins { device: String, max: usize, wait_s: u64 },
    #[error(
        "{device}: {what} cannot be asked for on {platform}; run_show_commands runs what its command line has"
    )]
    NoIntent { device: String, what: &'static str, platform: String },
    #[error("{device} does not answer")]
    NoAnswer { device: String },
    #[error("{device}: {command:?} is denied by `devices.commands.deny`")]
    Denied { device: String, command: String },
    #[error("{device} says: {line}")]
    Told { device: String, class: ErrorClass, line: String },
    #[error("{device}: {command:?} prints more than is read (`devices.output_bytes_max`)")]
    TooLong { device: String, command: String },
    #[error("{device}: what {command:?} prints cannot be read: {why}")]
    Unread { device: String, command: String, why: String },
    #[error("cannot keep the backup of {device}: {why}")]
    Backup { device: String, why: String },
    #[error("{device}: the call took longer than it may")]
    Late { device: String },
    #[error("{device}: the call was stopped")]
    Stopped { device: String },
}

impl DeviceError {
    /// What SSH says of a device.
    pub(crate) fn ssh(device: &Device, source: SshError) -> Self {
        Self::Ssh { device: device.name.to_string(), source }
    }

    /// What its session says.
    pub(crate) fn session(device: &Device, source: SessionError) -> Self {
        Self::Session { device: device.name.to_string(), source }
    }

    /// A short word for the kind of error, for answers that list many devices.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::BadArgument { .. } => "bad_arguments",
            Self::Ssh { source, .. } => match source {
                SshError::Unreachable { .. } => "unreachable",
                SshError::TimedOut { .. } => "timeout",
                SshError::NoCommonAlgorithm { .. } => "algorithms",
                SshError::UnknownHostKey { .. }
                | SshError::HostKeyChanged { .. }
                | SshError::HostKeyRevoked { .. }
                | SshError::KnownHosts { .. } => "host_key",
                SshError::LoginRefused { .. } | SshError::NoLoginMethod { .. } | SshError::BadKey { .. } => {
                    "login"
                }
                SshError::Refused { .. } | SshError::Protocol { .. } => "protocol",
                SshError::Closed { .. } => "closed",
            },
            Self::Session { source, .. } => match source {
                SessionError::NoPrompt { .. } => "no_prompt",
                SessionError::TimedOut { .. } => "timeout",
                SessionError::Asked { .. } => "interactive",
                SessionError::Stuck { .. } | SessionError::LoginRefused | SessionError::NoSecret { .. } => {
                    "login"
                }
                SessionError::ModeRefused { .. } | SessionError::NoWay { .. } => "mode",
                SessionError::Closed => "closed",
            },
            Self::NoAnswer { .. } => "unreachable",
            Self::NoIntent { .. } => "unsupported",
            Self::Denied { .. } => "denied",
            Self::Told { class, .. } => class.as_str(),
            Self::TooLong { .. } => "too_long",
            Self::Unread { .. } => "unread",
            Self::Backup { .. } => "backup",
            Self::LoginStopped { .. } => "login",
            Self::NoSession { .. } | Self::TooManyLogins { .. } => "busy",
            Self::Late { .. } => "timeout",
            Self::Stopped { .. } => "cancelled",
        }
    }

    /// True where the other side refused who we are: the login is not tried again then.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Ssh { source: SshError::LoginRefused { .. }, .. }
                | Self::Session { source: SessionError::LoginRefused, .. }
        )
    }

    /// True where a session was dead before a command reached the device: it is run again on a new one.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(
            self,
            Self::Ssh { source: SshError::Closed { .. }, .. }
                | Self::Session { source: SessionError::Closed, .. }
        )
    }
}

impl From<DeviceError> for Fault {
    fn from(error: DeviceError) -> Self {
        use DeviceError as E;
        let (code, pointer) = match &error {
            E::NotFound { .. } => (Code::NotFound, Some("/device_ip".to_owned())),
            E::BadArgument { pointer, .. } => (Code::BadArguments, Some(pointer.clone())),
            E::NoIntent { .. } => (Code::BadArguments, Some("/device_ip".to_owned())),
            E::Denied { .. } => (Code::Denied, None),
            E::NoAnswer { .. } => (Code::Upstream, None),
            // The device has answered: it is well, and its breaker has nothing to do with it.
            E::Told { .. } | E::TooLong { .. } | E::Unread { .. } => (Code::Conflict, None),
            E::NoSession { .. } | E::TooManyLogins { .. } | E::LoginStopped { .. } | E::Backup { .. } => {
                (Code::Busy, None)
            }
            E::Late { .. } => (Code::TimedOut, None),
            E::Stopped { .. } => (Code::Cancelled, None),
            E::Ssh { source: SshError::TimedOut { .. }, .. }
            | E::Session { source: SessionError::TimedOut { .. } | SessionError::NoPrompt { .. }, .. } => {
                (Code::TimedOut, None)
            }
            E::Ssh { .. } | E::Session { .. } => (Code::Upstream, None),
        };
        let mut fault = Fault::new(code, error.to_string());
        fault.pointer = pointer;
        fault.with_details(serde_json::json!({ "error_class": error.class() }))
    }
}
