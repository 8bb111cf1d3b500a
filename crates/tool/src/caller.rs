use std::{ops::Deref, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{GateSeal, Rate};

/// What a principal is. Only a human may approve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// A person.
    Human,
    /// A program that decides by itself what to call; a human or a team answers for it.
    Agent,
    /// A program that does what it was written to do.
    Machine,
}

impl PrincipalKind {
    /// The name in configuration, audit and CEL: `human`, `agent`, `machine`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Agent => "agent",
            Self::Machine => "machine",
        }
    }
}

/// Who someone is, as declared by the configuration and the key they came with.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The declared principal, such as `alice` or `billing-bot`.
    pub principal: Arc<str>,
    /// What that principal is.
    pub kind: PrincipalKind,
    /// The human or team that answers for it; four-eyes rules compare owners.
    pub owner: Option<Arc<str>>,
    /// The operator's own name for the user, in logs and answers.
    pub user_id: Arc<str>,
    /// `basic`, `premium`, or the operator's own.
    pub tier: Arc<str>,
    /// The roles whose rules apply.
    pub roles: Arc<[Arc<str>]>,
    /// The id of the key or other credential; never the secret. Limits and metrics go by it.
    pub credential: Arc<str>,
    /// The credential's own rate limit, where it has one.
    pub rate: Option<Rate>,
    /// The toolset it came for, where it came for one: nothing else is there for it.
    pub toolset: Option<Arc<str>>,
}

/// Who asks: proof that the gate has identified someone. There is no default caller and no anonymous one.
#[derive(Clone, Debug)]
pub struct Caller {
    identity: Identity,
}

impl Caller {
    /// Vouches for an identity. Only the gate holds a seal.
    #[must_use]
    pub fn vouch(_seal: &GateSeal, identity: Identity) -> Self {
        Self { identity }
    }
}

impl Deref for Caller {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.identity
    }
}
