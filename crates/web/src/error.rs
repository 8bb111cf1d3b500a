use std::{error::Error, net::IpAddr};

use tool::{Code, Fault};

/// Why something on the web was not reached, or not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebError {
    #[error("{0}")]
    BadUrl(String),
    #[error("{host} is not among the hosts that may be fetched; an operator can add it to `fetch.allow`")]
    NotListed { host: String },
    #[error(
        "{host} is or leads to {what} and is not reached from here; an operator can allow the host and port in \
         `{setting}`"
    )]
    OwnNetwork { host: String, what: &'static str, address: IpAddr, setting: String },
    #[error("cannot find the host {host}")]
    NoHost { host: String, source: Box<dyn Error + Send + Sync> },
    #[error("cannot connect to {host}")]
    Connect { host: String, source: Box<dyn Error + Send + Sync> },
    #[error("{host} broke off before it had answered")]
    Broken { host: String, source: Box<dyn Error + Send + Sync> },
    #[error("{host} did not answer in time")]
    Timeout { host: String },
    #[error("{host} redirected to a place that is not followed: {why}")]
    BadRedirect { host: String, why: String },
    #[error("{host} redirected more than {max} times")]
    TooManyRedirects { host: String, max: usize },
    #[error("{host} answered with more than {max} bytes")]
    TooLarge { host: String, max: usize },
    #[error("{host} answered with headers of more than {max} bytes")]
    HeadersTooLarge { host: String, max: usize },
    #[error("{host} answered in the encoding {encoding:?}, which is not known here")]
    Encoding { host: String, encoding: String },
    #[error(
        "{host} answered with {content_type}, which is not returned as text; `fetch.content_types` lists what is"
    )]
    NotText { host: String, content_type: String },
    #[error("the caller went away or asked to stop")]
    Cancelled,
}

impl WebError {
    /// The `status_code` of `api_errors_total`, where the source is to be counted.
    pub(crate) fn metric(&self) -> Option<&'static str> {
        match self {
            Self::Timeout { .. } => Some("timeout"),
            Self::NoHost { .. } => Some("dns"),
            Self::Connect { .. } => Some("connect"),
            Self::Broken { .. }
            | Self::BadRedirect { .. }
            | Self::TooManyRedirects { .. }
            | Self::TooLarge { .. }
            | Self::HeadersTooLarge { .. }
            | Self::Encoding { .. } => Some("protocol"),
            Self::BadUrl(_)
            | Self::NotListed { .. }
            | Self::OwnNetwork { .. }
            | Self::NotText { .. }
            | Self::Cancelled => None,
        }
    }

    /// The same error of something that goes by this name, and the host that it happened at.
    pub(crate) fn named(mut self, name: &str) -> (Self, String) {
        let mut at = String::new();
        match &mut self {
            Self::BadUrl(_) | Self::Cancelled => {}
            Self::NotListed { host }
            | Self::OwnNetwork { host, .. }
            | Self::NoHost { host, .. }
            | Self::Connect { host, .. }
            | Self::Broken { host, .. }
            | Self::Timeout { host }
            | Self::BadRedirect { host, .. }
            | Self::TooManyRedirects { host, .. }
            | Self::TooLarge { host, .. }
            | Self::HeadersTooLarge { host, .. }
            | Self::Encoding { host, .. }
            | Self::NotText { host, .. } => at = std::mem::replace(host, name.to_owned()),
        }
        (self, at)
    }

    /// True where the request may have reached the other side.
    pub(crate) fn may_have_arrived(&self) -> bool {
        match self {
            Self::Timeout { .. }
            | Self::Broken { .. }
            | Self::TooLarge { .. }
            | Self::HeadersTooLarge { .. }
            | Self::Encoding { .. }
            | Self::BadRedirect { .. }
            | Self::TooManyRedirects { .. }
            | Self::NotText { .. }
            | Self::Cancelled => true,
            Self::BadUrl(_)
            | Self::NotListed { .. }
            | Self::OwnNetwork { .. }
            | Self::NoHost { .. }
            | Self::Connect { .. } => false,
        }
    }

    /// The kind of fault, for work that only reads.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::BadUrl(_) => Code::BadArguments,
            Self::NotListed { .. } | Self::OwnNetwork { .. } | Self::NotText { .. } => Code::Denied,
            Self::Timeout { .. } => Code::TimedOut,
            Self::Cancelled => Code::Cancelled,
            Self::NoHost { .. }
            | Self::Connect { .. }
            | Self::Broken { .. }
            | Self::BadRedirect { .. }
            | Self::TooManyRedirects { .. }
            | Self::TooLarge { .. }
            | Self::HeadersTooLarge { .. }
            | Self::Encoding { .. } => Code::Upstream,
        }
    }
}

impl From<WebError> for Fault {
    fn from(error: WebError) -> Self {
        let mut fault = Self::new(error.code(), error.to_string());
        if let WebError::OwnNetwork { address, .. } = &error {
            fault.log = Some(format!("the address is {address}").into());
        }
        fault.because(error)
    }
}
