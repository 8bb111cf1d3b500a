//! The keys that exist from the first start on.

use admin::{KeyMaker, NewKey};
use state::{Key, KeySecret, Keys as _, Slot, Swap};
use tool::{ConfigFault, Parts, Secret, SecretRef, Secrets};

use super::{Core, OpenError, other, problems};
use crate::{
    config::{BootstrapKey, Loaded, ShownAs},
    data, secrets,
};

/// A key that was made at this start: shown once, and kept nowhere.
pub(crate) struct ShownKey {
    /// The name to show it under.
    pub shown_as: ShownAs,
    /// The key's label.
    pub label: String,
    /// The secret.
    pub secret: Secret,
}

/// What `check` can find out: whether the secrets are there.
pub(super) fn check(loaded: &Loaded, parts: &Parts) -> Vec<ConfigFault> {
    let mut faults = Vec::new();
    for (i, key) in loaded.config.bootstrap.keys.iter().enumerate() {
        for (name, reference) in [("secret", &key.secret), ("secondary", &key.secondary)] {
            let Some(reference) = reference else { continue };
            if let Err(text) = fit(loaded, &*parts.secrets, reference) {
                faults.push(ConfigFault::new(format!("/bootstrap/keys/{i}/{name}"), text));
            }
        }
    }
    faults
}

/// A secret that is fit for a key.
pub(super) fn fit(loaded: &Loaded, store: &dyn Secrets, reference: &SecretRef) -> Result<Secret, String> {
    let secret = store.resolve(reference)?;
    match secrets::unfit_for_a_key(secret.expose()) {
        Some(why) if !loaded.takes_placeholders => Err(why.to_owned()),
        _ => Ok(secret),
    }
}

impl Core {
    /// Makes the keys that are not there yet. One that is there is left as it is, but for a secret that the
    /// configuration gives: that one always holds.
    pub(super) async fn bootstrap(&self) -> Result<Vec<ShownKey>, OpenError> {
        let loaded = self.loaded();
        let secrets = data::secrets(&loaded);
        let mut shown = Vec::new();
        for (i, key) in loaded.config.bootstrap.keys.iter().enumerate() {
            let resolve = |name: &str, reference: &Option<SecretRef>| match reference {
                None => Ok(None),
                Some(reference) => fit(&loaded, &secrets, reference).map(Some).map_err(|text| {
                    problems(&loaded, vec![ConfigFault::new(format!("/bootstrap/keys/{i}/{name}"), text)])
                }),
            };
            let (given, second) = (resolve("secret", &key.secret)?, resolve("secondary", &key.secondary)?);
            let roles = self.roles_of(key);
            match self.ring.get(&key.label).await? {
                Some(known) => self.align(known, given.as_ref(), second.as_ref()).await?,
                None => shown.extend(self.make(key, roles, given, second).await?),
            }
        }
        if !loaded.takes_placeholders {
            self.end_placeholders().await?;
        }
        Ok(shown)
    }

    /// Takes the placeholders off keys that got them when this was only for trying things out. The gate takes none
    /// as a secret either way; so that it does not look as if it did, they go.
    async fn end_placeholders(&self) -> Result<(), OpenError> {
        let hashes: Vec<String> = secrets::known_placeholders().map(|text| self.maker.hash(text)).collect();
        for mut key in self.ring.list().await? {
            let before = key.secrets.len();
            key.secrets.retain(|secret| !hashes.contains(&secret.hash));
            if key.secrets.len() == before || key.revoked_at.is_some() {
                continue;
            }
            if self.ring.swap(&key).await? == Swap::Stale {
                return Err(other(format!("the key {:?} was changed meanwhile; start again", key.label)));
            }
            tracing::warn!(
                key = key.id,
                label = key.label,
                "a key lost its placeholder secret, which is good in development only; make a new one with keys_rotate"
            );
        }
        Ok(())
    }

    /// The roles that were named, or all of the principal's.
    fn roles_of(&self, key: &BootstrapKey) -> Vec<String> {
        let loaded = self.loaded();
        let all =
            || loaded.config.principals.get(&key.principal).map(|p| p.roles.clone()).unwrap_or_default();
        key.roles.clone().unwrap_or_else(all)
    }

    async fn make(
        &self,
        wanted: &BootstrapKey,
        roles: Vec<String>,
        given: Option<Secret>,
        second: Option<Secret>,
    ) -> Result<Option<ShownKey>, OpenError> {
        let new = NewKey {
            label: wanted.label.clone(),
            principal: wanted.principal.clone(),
            roles,
            tier: wanted.tier.clone(),
            user_id: wanted.user_id.clone().unwrap_or_else(|| wanted.principal.clone()),
            rate_per_minute: wanted.rate_per_minute,
            expires_at: None,
        };
        let now = self.clock.now();
        let (mut key, minted) = match &given {
            Some(secret) => (new.adopt(&self.maker, secret, now), None),
            None => {
                let minted = new.mint(&self.maker, now);
                (minted.key, Some(minted.secret))
            }
        };
        key.secrets.extend(second.as_ref().map(|second| self.slot(Slot::Secondary, second)));
        if self.ring.insert(&key).await? == Swap::Stale {
            let label = &wanted.label;
            return Err(other(format!(
                "the key {label:?} cannot be made: its secret belongs to another key"
            )));
        }
        tracing::info!(key = key.id, label = key.label, principal = key.principal, "a key was made");
        let shown = wanted.show.zip(minted);
        Ok(shown.map(|(shown_as, secret)| ShownKey { shown_as, label: key.label, secret }))
    }

    /// Lets the secrets that the configuration gives replace the ones that are kept, where they differ.
    async fn align(
        &self,
        mut key: Key,
        given: Option<&Secret>,
        second: Option<&Secret>,
    ) -> Result<(), OpenError> {
        let Some(given) = given else { return Ok(()) };
        let mut secrets = vec![self.slot(Slot::Primary, given)];
        secrets.extend(second.map(|second| self.slot(Slot::Secondary, second)));
        let hashes = |secrets: &[KeySecret]| secrets.iter().map(|s| s.hash.clone()).collect::<Vec<_>>();
        if hashes(&secrets) == hashes(&key.secrets) || key.revoked_at.is_some() {
            return Ok(());
        }
        key.secrets = secrets;
        match self.ring.swap(&key).await? {
            Swap::Done => {
                tracing::info!(key = key.id, label = key.label, "a key has the secrets it is given now");
            }
            Swap::Stale => {
                return Err(other(format!("the key {:?} was changed meanwhile; start again", key.label)));
            }
        }
        Ok(())
    }

    /// A secret as it is kept: hashed, with its first characters to tell keys apart.
    fn slot(&self, slot: Slot, secret: &Secret) -> KeySecret {
        let text = secret.expose();
        KeySecret { slot, hash: self.maker.hash(text), prefix: KeyMaker::prefix(text), expires_at: None }
    }
}

/// The first key to show under a name.
pub(crate) fn first(shown: &[ShownKey], shown_as: ShownAs) -> Option<&ShownKey> {
    shown.iter().find(|key| key.shown_as == shown_as)
}
