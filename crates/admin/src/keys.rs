use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use state::{Key, KeySecret, Keys, Slot, Swap};
use tool::{Clock, Code, Fault, Identity, Outcome, PrincipalKind, Secret, Timestamp, nearest};

use crate::{House, KeyMaker, Principal};

/// How often a key is read again when somebody else was faster to change it.
const ATTEMPTS_MAX: usize = 8;

/// Tiers that exist without being declared.
pub const BUILT_IN_TIERS: [&str; 2] = ["basic", "premium"];

/// So many names are said in an error; of more, how many there are.
const NAMES_MAX: usize = 8;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The operator's name for it; see [`crate::is_label`].
    pub label: String,
    /// The principal it stands for.
    pub principal: String,
    /// The roles it may use.
    pub roles: Vec<String>,
    /// Its tier.
    pub tier: String,
    /// The operator's name for the user.
    pub user_id: String,
    /// Calls in any 60 seconds; the tier's limit where none is set.
    pub rate_per_minute: Option<u32>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// A key, and its secret for the one time it is shown.
#[derive(Debug)]
pub struct Minted {
    /// The secret.
    pub secret: Secret,
    /// The key, not yet stored.
    pub key: Key,
}

impl NewKey {
    /// Makes the key with a new secret.
    #[must_use]
    pub fn mint(self, maker: &KeyMaker, now: Timestamp) -> Minted {
        let (secret, hash, prefix) = maker.mint(&self.label);
        let key = self.with(KeySecret { slot: Slot::Primary, hash, prefix, expires_at: None }, now);
        Minted { secret, key }
    }

    /// Makes the key with a secret that was given from outside, of whatever shape.
    #[must_use]
    pub fn adopt(self, maker: &KeyMaker, secret: &Secret, now: Timestamp) -> Key {
        let (hash, prefix) = (maker.hash(secret.expose()), KeyMaker::prefix(secret.expose()));
        self.with(KeySecret { slot: Slot::Primary, hash, prefix, expires_at: None }, now)
    }

    fn with(self, secret: KeySecret, now: Timestamp) -> Key {
        Key {
            id: new_id(),
            label: self.label,
            principal: self.principal,
            user_id: self.user_id,
            tier: self.tier,
            roles: self.roles,
            rate_per_minute: self.rate_per_minute,
            enabled: true,
            created_at: now,
            expires_at: self.expires_at,
            revoked_at: None,
            last_used_at: None,
            secrets: vec![secret],
            version: 1,
        }
    }
}

/// The arguments of `keys_create`.
#[derive(Deserialize)]
pub(crate) struct Create {
    label: String,
    principal: String,
    tier: Option<String>,
    roles: Option<Vec<String>>,
    rate_per_minute: Option<u32>,
    expires_days: Option<u32>,
    user_id: Option<String>,
}

/// The arguments of `keys_update`: what is left out stays, what is null goes back to having none.
#[derive(Deserialize)]
pub(crate) struct Update {
    key: String,
    enabled: Option<bool>,
    tier: Option<String>,
    #[serde(default, deserialize_with = "given")]
    rate_per_minute: Option<Option<u32>>,
    #[serde(default, deserialize_with = "given")]
    expires_at: Option<Option<String>>,
}

/// The arguments of `keys_rotate`.
#[derive(Deserialize)]
pub(crate) struct Rotate {
    key: String,
    overlap_hours: Option<u32>,
}

/// The desk where keys are made and changed.
pub(crate) struct KeyDesk {
    pub(crate) keys: Arc<dyn Keys>,
    pub(crate) maker: KeyMaker,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) house: Arc<dyn House>,
}

impl KeyDesk {
    pub(crate) async fn create(&self, wanted: Create, caller: &Identity) -> Result<Outcome, Fault> {
        let now = self.clock.now();
        let label = wanted.label.clone();
        let minted = self.fill_in(wanted, caller, now)?.mint(&self.maker, now);
        if self.keys.insert(&minted.key).await? == Swap::Stale {
            let text = format!(
                "the label {label:?} is taken, perhaps by a revoked key; keys_list shows them, choose another"
            );
            return Err(Fault::new(Code::Conflict, text));
        }
        Ok(shown_once(&minted.secret, view(&minted.key, now)))
    }

    pub(crate) async fn list(&self) -> Result<Value, Fault> {
        let now = self.clock.now();
        let keys: Vec<_> = self.keys.list().await?.iter().map(|key| view(key, now)).collect();
        Ok(json!({ "count": keys.len(), "keys": keys }))
    }

    /// Revokes a key for good. Revoking it twice is revoking it once.
    pub(crate) async fn revoke(&self, key: &str) -> Result<Value, Fault> {
        let now = self.clock.now();
        let key = self.find(key).await?;
        if key.revoked_at.is_some() {
            return Ok(view(&key, now));
        }
        let revoke = |key: &mut Key| {
            key.revoked_at = Some(key.revoked_at.unwrap_or(now));
            Ok(())
        };
        Ok(view(&self.change(key, revoke).await?, now))
    }

    pub(crate) async fn update(&self, wanted: Update, caller: &Identity) -> Result<Value, Fault> {
        let now = self.clock.now();
        if wanted.enabled.is_none()
            && wanted.tier.is_none()
            && wanted.rate_per_minute.is_none()
            && wanted.expires_at.is_none()
        {
            let text = "nothing to update; give enabled, tier, rate_per_minute or expires_at";
            return Err(Fault::bad_argument("", text));
        }
        if let Some(tier) = &wanted.tier {
            self.check_tier(tier)?;
        }
        let expires_at = match &wanted.expires_at {
            Some(Some(end)) => Some(Some(moment_ahead(end, now)?)),
            Some(None) => Some(None),
            None => None,
        };
        let update = |key: &mut Key| {
            refuse_revoked(key)?;
            key.enabled = wanted.enabled.unwrap_or(key.enabled);
            key.tier = wanted.tier.clone().unwrap_or_else(|| key.tier.clone());
            key.rate_per_minute = wanted.rate_per_minute.unwrap_or(key.rate_per_minute);
            key.expires_at = expires_at.unwrap_or(key.expires_at);
            Ok(())
        };
        let key = self.find(&wanted.key).await?;
        // Switching a human's key on again is as good as making one.
        if let Some(principal) = self.house.principals().iter().find(|known| known.name == key.principal) {
            may_stand_for(caller, principal)?;
        }
        Ok(view(&self.change(key, update).await?, now))
    }

    /// Gives a key a new secret. The one before stays good for the overlap, the one before that ends now.
    pub(crate) async fn rotate(&self, wanted: Rotate, caller: &Identity) -> Result<Outcome, Fault> {
        let now = self.clock.now();
        let key = self.find(&wanted.key).await?;
        let principals = self.house.principals();
        let Some(principal) = principals.iter().find(|principal| principal.name == key.principal) else {
            let text = format!("the principal {:?} of this key is not declared any more", key.principal);
            return Err(Fault::new(Code::Conflict, text));
        };
        may_stand_for(caller, principal)?;
        if let Some(from) = self.house.secret_from(&key.label) {
            let text = format!(
                "the secret of key {:?} is set by {from}, and the next start would undo a rotation; change it there and \
                 start again",
                key.label
            );
            return Err(Fault::new(Code::Conflict, text));
        }
        let (secret, hash, prefix) = self.maker.mint(&key.label);
        let overlap = HOUR * wanted.overlap_hours.unwrap_or(24);
        let rotate = |key: &mut Key| {
            refuse_revoked(key)?;
            let new = KeySecret {
                slot: Slot::Primary,
                hash: hash.clone(),
                prefix: prefix.clone(),
                expires_at: None,
            };
            rotate_secrets(&mut key.secrets, new, now.after(overlap), now);
            Ok(())
        };
        let key = self.change(key, rotate).await?;
        Ok(shown_once(&secret, view(&key, now)))
    }

    /// The key with this id or label.
    pub(crate) async fn find(&self, id_or_label: &str) -> Result<Key, Fault> {
        let found = self.keys.get(id_or_label).await?;
        found.ok_or_else(|| no_key(id_or_label))
    }

    /// Changes a key by compare-and-swap; reads it again where somebody else was faster.
    async fn change(
        &self,
        mut key: Key,
        change: impl Fn(&mut Key) -> Result<(), Fault> + Send,
    ) -> Result<Key, Fault> {
        for _ in 0..ATTEMPTS_MAX {
            change(&mut key)?;
            if self.keys.swap(&key).await? == Swap::Done {
                key.version += 1;
                return Ok(key);
            }
            key = self.find(&key.id).await?;
        }
        Err(Fault::new(Code::Busy, format!("key {:?} is being changed by others; try again", key.id))
            .retry_after(Duration::from_secs(1)))
    }

    /// Checks what is wanted against what is declared, and fills in the rest.
    fn fill_in(&self, wanted: Create, caller: &Identity, now: Timestamp) -> Result<NewKey, Fault> {
        let principals = self.house.principals();
        let Some(principal) = principals.iter().find(|principal| principal.name == wanted.principal) else {
            let names = principals.iter().map(|principal| principal.name.as_str());
            return Err(unknown("/principal", "principal", &wanted.principal, names));
        };
        may_stand_for(caller, principal)?;
        let roles = wanted.roles.unwrap_or_else(|| principal.roles.clone());
        for (i, role) in roles.iter().enumerate() {
            if !principal.roles.contains(role) {
                let of = format!("role of {:?} called", principal.name);
                let names = principal.roles.iter().map(String::as_str);
                return Err(unknown(&format!("/roles/{i}"), &of, role, names));
            }
        }
        let tier = wanted.tier.unwrap_or_else(|| "basic".to_owned());
        self.check_tier(&tier)?;
        Ok(NewKey {
            label: wanted.label,
            user_id: wanted.user_id.unwrap_or_else(|| principal.name.clone()),
            principal: principal.name.clone(),
            roles,
            tier,
            rate_per_minute: wanted.rate_per_minute,
            expires_at: wanted.expires_days.map(|days| now.after(DAY * days)),
        })
    }

    fn check_tier(&self, tier: &str) -> Result<(), Fault> {
        let declared = self.house.tiers();
        let mut known = declared.iter().map(String::as_str).chain(BUILT_IN_TIERS);
        if known.clone().any(|name| name == tier) {
            return Ok(());
        }
        Err(unknown("/tier", "tier", tier, &mut known))
    }
}

/// A key as answers show it: never a hash, never a secret.
fn view(key: &Key, now: Timestamp) -> Value {
    let secrets: Vec<_> = key
        .secrets
        .iter()
        .map(
            |secret| json!({ "slot": secret.slot, "prefix": secret.prefix, "expires_at": secret.expires_at }),
        )
        .collect();
    json!({
        "id": key.id,
        "label": key.label,
        "prefix": key.secrets.iter().find(|secret| secret.slot == Slot::Primary).map(|secret| &secret.prefix),
        "status": status(key, now),
        "principal": key.principal,
        "user_id": key.user_id,
        "tier": key.tier,
        "roles": key.roles,
        "rate_per_minute": key.rate_per_minute,
        "enabled": key.enabled,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
        "secrets": secrets,
    })
}

fn status(key: &Key, now: Timestamp) -> &'static str {
    match key {
        Key { revoked_at: Some(_), .. } => "revoked",
        Key { expires_at: Some(end), .. } if *end <= now => "expired",
        Key { enabled: false, .. } => "disabled",
        _ => "active",
    }
}

/// The one answer that holds a secret.
fn shown_once(secret: &Secret, mut view: Value) -> Outcome {
    view["key"] = secret.expose().into();
    view["note"] = "the key is shown this once; keep it where secrets are kept".into();
    Outcome::with_secret(view)
}

/// A secret of a human is made by a human: an agent that could make one would approve its own changes with it.
fn may_stand_for(caller: &Identity, principal: &Principal) -> Result<(), Fault> {
    if principal.kind != PrincipalKind::Human || caller.kind == PrincipalKind::Human {
        return Ok(());
    }
    let text = format!(
        "{:?} is a human, and {:?} is not: a key that stands for a human is made by a human",
        principal.name, caller.principal
    );
    Err(Fault::new(Code::Denied, text))
}

/// Somebody may have sent the key itself: then no more of it is said than may be shown.
fn no_key(id_or_label: &str) -> Fault {
    if id_or_label.starts_with("sk_") {
        let shown = KeyMaker::prefix(id_or_label);
        return Fault::not_found(format!(
            "{shown:?} looks like a key itself; give its id or label, see keys_list"
        ));
    }
    Fault::not_found(format!("no key {id_or_label:?}; keys_list shows them"))
}

/// A time that lies ahead.
fn moment_ahead(text: &str, now: Timestamp) -> Result<Timestamp, Fault> {
    let Ok(end) = text.parse::<Timestamp>() else {
        let text = format!("{text:?} is not a time; write it as RFC 3339, such as 2027-01-31T12:00:00Z");
        return Err(Fault::bad_argument("/expires_at", text));
    };
    if end > now {
        return Ok(end);
    }
    let text = "expires_at is not ahead; use enabled: false or keys_revoke to end a key now";
    Err(Fault::bad_argument("/expires_at", text))
}

fn refuse_revoked(key: &Key) -> Result<(), Fault> {
    match key.revoked_at {
        None => Ok(()),
        Some(at) => {
            let text =
                format!("key {:?} was revoked at {at}, for good; make a new one with keys_create", key.id);
            Err(Fault::new(Code::Conflict, text))
        }
    }
}

/// Puts the new secret first and the primary of before second, until `until` or its own earlier end. Anything
/// older goes, and where the overlap is over at once the one before goes too.
fn rotate_secrets(secrets: &mut Vec<KeySecret>, new: KeySecret, until: Timestamp, now: Timestamp) {
    secrets.retain(|secret| secret.slot == Slot::Primary);
    for old in secrets.iter_mut() {
        old.slot = Slot::Secondary;
        old.expires_at = Some(old.expires_at.map_or(until, |end| end.min(until)));
    }
    secrets.retain(|secret| secret.expires_at.is_some_and(|end| end > now));
    secrets.insert(0, new);
}

fn unknown<'a>(pointer: &str, what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Fault {
    let known: Vec<&str> = known.collect();
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None if known.is_empty() => "the configuration declares none".to_owned(),
        None if known.len() <= NAMES_MAX => format!("the configuration declares {}", known.join(", ")),
        None => format!("the configuration declares {} others", known.len()),
    };
    Fault::bad_argument(pointer, format!("there is no {what} {name:?}; {hint}"))
}

fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// `key_` and 12 hex digits of 6 random bytes; the store refuses one that is taken.
fn new_id() -> String {
    let mut random = [0_u8; 6];
    getrandom::fill(&mut random).expect("the operating system always has random bytes");
    random.iter().fold(String::from("key_"), |id, byte| id + &format!("{byte:02x}"))
}
