//! Who asks: from credentials to a caller.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use state::{Key, Slot};
use tool::{Caller, Code, Fault, GateSeal, Identity, PrincipalKind, Rate, Secret, Timestamp};

use crate::{
    Snapshot,
    config::PrincipalConfig,
    keyring::KeyRing,
    policy::LOCAL_ROLE,
    signed::{self, Seen, Signed},
};

/// The principal of whoever sits at the machine and owns the data folder.
pub const LOCAL_PRINCIPAL: &str = "local";

/// The tier of those who sign what they send.
const WEBHOOK_TIER: &str = "webhook";

/// What is known of those who may call.
pub(crate) struct Known<'a> {
    pub(crate) ring: &'a KeyRing,
    pub(crate) hash: &'a KeyHash,
    pub(crate) seal: &'a GateSeal,
    /// The signed bodies that were taken.
    pub(crate) seen: &'a Seen,
}

/// What a caller shows of itself.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Nothing.
    None {
        /// The address it came from, for the record of a refused login.
        from: Option<IpAddr>,
    },
    /// A bearer key.
    Bearer {
        /// The key, as it came.
        secret: Secret,
        /// The address it came from, for the record of a refused login.
        from: Option<IpAddr>,
    },
    /// The local socket or the command line in process: the operating system vouches for the user.
    Local {
        /// The user's id.
        uid: u32,
    },
    /// A body that is signed: a webhook.
    Signed(Signed),
    /// Whoever these stand for, come for one toolset.
    Within {
        /// Its name.
        toolset: Arc<str>,
        /// The credentials themselves.
        credentials: Box<Self>,
    },
}

impl Credentials {
    /// A bearer key that did not come over the network.
    #[must_use]
    pub fn bearer(secret: Secret) -> Self {
        Self::Bearer { secret, from: None }
    }

    /// The same, for one toolset.
    #[must_use]
    pub fn within(self, toolset: &str) -> Self {
        Self::Within { toolset: toolset.into(), credentials: Box::new(self) }
    }

    /// What was shown, and from which address, in words.
    pub(crate) fn shown(&self) -> (&'static str, Option<IpAddr>) {
        match self {
            Self::None { from } => ("none", *from),
            Self::Bearer { from, .. } => ("bearer", *from),
            Self::Signed(signed) => ("signature", signed.from),
            Self::Local { .. } => ("local", None),
            Self::Within { credentials, .. } => credentials.shown(),
        }
    }
}

/// Turns a presented secret into the hash it is stored by.
pub type KeyHash = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Finds out who these credentials stand for.
///
/// Fault: `Unauthenticated` where they stand for nobody, `Disabled` where the key was switched off. All unknown,
/// expired and revoked keys get the same sentence.
pub(crate) async fn identify(
    credentials: &Credentials,
    known: &Known<'_>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Arc<Caller>, Fault> {
    let Known { ring, hash, seal, seen } = *known;
    let principals = &snapshot.config.principals;
    match credentials {
        Credentials::None { .. } => {
            let text = "missing API key; send `Authorization: Bearer <key>`";
            Err(Fault::new(Code::Unauthenticated, text))
        }
        Credentials::Local { uid } => Ok(Arc::new(Caller::vouch(seal, local(*uid, principals)))),
        Credentials::Within { toolset, credentials } => {
            let caller = Box::pin(identify(credentials, known, snapshot, now)).await?;
            let identity = Identity { toolset: Some(Arc::clone(toolset)), ..Identity::clone(&caller) };
            Ok(Arc::new(Caller::vouch(seal, identity)))
        }
        Credentials::Signed(signed) => {
            let signer = signed::signer(signed, &snapshot.config.signers, seen, now)?;
            let principal =
                principals.get(&*signer.principal).ok_or_else(|| invalid("its principal is gone"))?;
            Ok(Arc::new(Caller::vouch(seal, of_signer(&signer.principal, principal))))
        }
        Credentials::Bearer { secret, .. } => {
            let found = ring.find_secret(secret, hash).await?.ok_or_else(|| invalid("no such key"))?;
            let key = &*found.key;
            check(&key.key, &found.hash, now)?;
            key.caller(&snapshot.serial, || Ok(Caller::vouch(seal, of_key(&key.key, principals)?)))
        }
    }
}

/// Whether the key is good at this moment.
fn check(key: &Key, hash: &str, now: Timestamp) -> Result<(), Fault> {
    let secret =
        key.secrets.iter().find(|secret| secret.hash == hash).ok_or_else(|| invalid("no such secret"))?;
    if key.revoked_at.is_some() {
        return Err(invalid("revoked"));
    }
    if key.expires_at.is_some_and(|end| end <= now) {
        return Err(invalid("expired"));
    }
    if secret.expires_at.is_some_and(|end| end <= now) {
        let which =
            if secret.slot == Slot::Secondary { "secondary secret expired" } else { "secret expired" };
        return Err(invalid(which));
    }
    if !key.enabled {
        return Err(Fault::new(Code::Disabled, "API key disabled"));
    }
    Ok(())
}

/// Whom the key stands for.
fn of_key(key: &Key, principals: &BTreeMap<String, PrincipalConfig>) -> Result<Identity, Fault> {
    let Some(principal) = principals.get(&key.principal) else {
        return Err(invalid(&format!("its principal {:?} is not declared", key.principal)));
    };
    // A key never has a role that its principal lost.
    let roles = key.roles.iter().filter(|role| principal.roles.contains(role));
    Ok(Identity {
        principal: key.principal.as_str().into(),
        kind: principal.kind,
        owner: principal.owner.as_deref().map(Into::into),
        user_id: key.user_id.as_str().into(),
        tier: key.tier.as_str().into(),
        roles: roles.map(|role| Arc::from(role.as_str())).collect(),
        credential: key.id.as_str().into(),
        rate: key.rate_per_minute.map(Rate::per_minute),
        toolset: None,
    })
}

/// Whom a signature stands for: its principal, with all of its roles.
fn of_signer(name: &Arc<str>, principal: &PrincipalConfig) -> Identity {
    Identity {
        principal: Arc::clone(name),
        kind: principal.kind,
        owner: principal.owner.as_deref().map(Into::into),
        user_id: Arc::clone(name),
        tier: WEBHOOK_TIER.into(),
        roles: principal.roles.iter().map(|role| Arc::from(role.as_str())).collect(),
        credential: format!("webhook:{name}").into(),
        rate: None,
        toolset: None,
    }
}

fn local(uid: u32, principals: &BTreeMap<String, PrincipalConfig>) -> Identity {
    let declared = principals.get(LOCAL_PRINCIPAL);
    let roles: Arc<[Arc<str>]> = match declared {
        Some(principal) => principal.roles.iter().map(|role| Arc::from(role.as_str())).collect(),
        None => Arc::from([Arc::from(LOCAL_ROLE)]),
    };
    Identity {
        principal: LOCAL_PRINCIPAL.into(),
        kind: declared.map_or(PrincipalKind::Human, |principal| principal.kind),
        owner: declared.and_then(|principal| principal.owner.as_deref().map(Into::into)),
        user_id: format!("uid:{uid}").into(),
        tier: LOCAL_PRINCIPAL.into(),
        roles,
        credential: format!("local:{uid}").into(),
        rate: Some(Rate::per_minute(100_000)),
        toolset: None,
    }
}

fn invalid(why: &str) -> Fault {
    Fault::new(Code::Unauthenticated, "Invalid API key").with_log(why.to_owned())
}
