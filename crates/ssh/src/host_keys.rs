//! Which host keys are trusted: those of a file in the form of OpenSSH (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"), or one
//! that is pinned.

use std::{
    fmt, fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use russh::keys::{
    Algorithm, HashAlg, PublicKey,
    ssh_key::known_hosts::{Entry, HostPatterns, KnownHosts as Lines, Marker},
};
use sha1::Sha1;

use crate::SshError;

/// A host key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey(pub(crate) PublicKey);

impl HostKey {
    /// Its fingerprint as OpenSSH shows it: `SHA256:..`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Its algorithm: `ssh-ed25519`, `ssh-rsa`.
    #[must_use]
    pub fn algorithm(&self) -> String {
        self.0.algorithm().to_string()
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm(), self.fingerprint())
    }
}

/// How a host key is judged.
#[derive(Clone, Debug)]
pub enum HostKeys {
    /// It must stand in this file.
    Known(KnownHosts),
    /// It must have this fingerprint: `SHA256:..`.
    Pinned(String),
}

/// What is known of one endpoint, read once for a connection.
#[derive(Debug)]
pub(crate) struct Expected {
    name: String,
    known: Known,
}

#[derive(Debug)]
enum Known {
    /// The lines about it, and the file they are from.
    Lines(Vec<Entry>, PathBuf),
    /// The fingerprint it must have.
    Pinned(String),
}

impl HostKeys {
    /// What is known of an endpoint, by its name in `known_hosts`.
    ///
    /// Error: a file that cannot be read.
    pub(crate) fn of(&self, name: String) -> Result<Expected, SshError> {
        let known = match self {
            Self::Known(file) => Known::Lines(file.entries(&name)?, file.path.clone()),
            Self::Pinned(fingerprint) => Known::Pinned(fingerprint.clone()),
        };
        Ok(Expected { name, known })
    }
}

impl Expected {
    /// The algorithms of the keys that are known.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        match &self.known {
            Known::Pinned(_) => Vec::new(),
            Known::Lines(entries, _) => {
                let plain = entries.iter().filter(|entry| entry.marker().is_none());
                plain.map(|entry| entry.public_key().algorithm()).collect()
            }
        }
    }

    /// Judges the key that the endpoint shows.
    ///
    /// Error: `UnknownHostKey`, `HostKeyChanged`, `HostKeyRevoked`.
    pub(crate) fn judge(&self, shown: &PublicKey) -> Result<(), SshError> {
        let key = HostKey(shown.clone());
        let (to, shows) = (self.name.clone(), key.to_string());
        match &self.known {
            Known::Pinned(fingerprint) if *fingerprint == key.fingerprint() => Ok(()),
            Known::Pinned(fingerprint) => {
                Err(SshError::HostKeyChanged { to, key: shows, known: format!("the pinned {fingerprint}") })
            }
            Known::Lines(entries, file) => {
                let same = |entry: &&Entry| entry.public_key().key_data() == shown.key_data();
                let markers: Vec<Option<&Marker>> =
                    entries.iter().filter(same).map(|entry| entry.marker()).collect();
                // Wherever it stands: a key that is trusted too is revoked all the same.
                if markers.contains(&Some(&Marker::Revoked)) {
                    return Err(SshError::HostKeyRevoked { to, key: shows });
                }
                if markers.contains(&None) {
                    return Ok(());
                }
                if entries.iter().all(|entry| entry.marker().is_some()) {
                    return Err(SshError::UnknownHostKey { to, key: shows });
                }
                let known = format!("another in {}", file.display());
                Err(SshError::HostKeyChanged { to, key: shows, known })
            }
        }
    }
}

/// A file of known hosts. It is read for each new connection, so that a key that was just trusted counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHosts {
    path: PathBuf,
}

impl KnownHosts {
    /// The file at a path; one that is not there is an empty one.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn cannot(&self, why: impl fmt::Display) -> SshError {
        SshError::KnownHosts { file: self.path.display().to_string(), why: why.to_string() }
    }

    fn text(&self) -> Result<String, SshError> {
        match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read.map_err(|error| self.cannot(error)),
        }
    }

    /// The lines that are about a host of this name.
    fn entries(&self, name: &str) -> Result<Vec<Entry>, SshError> {
        let text = self.text()?;
        // Reading a key costs more than looking for a name, and files of thousands of hosts are usual.
        let wanted = name.to_ascii_lowercase();
        let may_name = |line: &&str| {
            let hosts = line.to_ascii_lowercase();
            hosts.contains(&wanted) || hosts.contains(['*', '?', '@', '!']) || hosts.starts_with("|1|")
        };
        // A line that nobody can read trusts nobody; as with OpenSSH, the others still count.
        let read = |line: &str| Lines::new(line).next().and_then(Result::ok);
        Ok(text.lines().filter(may_name).filter_map(read).filter(|entry| names(entry, name)).collect())
    }

    /// The keys that are trusted for an endpoint, by its name: `host`, or `[host]:port` where the port is not 22.
    ///
    /// Error: a file that cannot be read.
    pub fn keys_of(&self, name: &str) -> Result<Vec<HostKey>, SshError> {
        let entries = self.entries(name)?;
        let plain = entries.into_iter().filter(|entry| entry.marker().is_none());
        Ok(plain.map(|entry| HostKey(entry.public_key().clone())).collect())
    }

    /// Trusts a key from now on, in the place of all that were trusted for this endpoint by a line of its own.
    ///
    /// The file is written anew and renamed into place. Error: a file that cannot be read or written.
    pub fn trust(&self, name: &str, key: &HostKey) -> Result<(), SshError> {
        let text = self.text()?;
        let is_old = |line: &str| {
            Lines::new(line).next().and_then(Result::ok).is_some_and(|entry| {
                entry.marker().is_none()
                    && matches!(entry.host_patterns(), HostPatterns::Patterns(all) if all.len() == 1)
                    && names(&entry, name)
            })
        };
        let mut kept: String =
            text.lines().filter(|line| !is_old(line)).map(|line| format!("{line}\n")).collect();
        let public = key.0.to_openssh().map_err(|error| self.cannot(error))?;
        let words: Vec<&str> = public.split(' ').take(2).collect();
        kept.push_str(&format!("{name} {}\n", words.join(" ")));
        self.write(&kept).map_err(|error| self.cannot(error))
    }

    fn write(&self, text: &str) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let new = self.path.with_extension("new");
        let mut file = fs::File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }
}

/// Whether a line is about a host of this name.
fn names(entry: &Entry, name: &str) -> bool {
    match entry.host_patterns() {
        HostPatterns::HashedName { salt, hash } => Hmac::<Sha1>::new_from_slice(salt)
            .is_ok_and(|mac| mac.chain_update(name.as_bytes()).verify_slice(hash).is_ok()),
        HostPatterns::Patterns(patterns) => {
            let fits = |pattern: &str| is_like(pattern.as_bytes(), name.as_bytes());
            let refused = patterns.iter().any(|pattern| pattern.strip_prefix('!').is_some_and(fits));
            !refused && patterns.iter().any(|pattern| !pattern.starts_with('!') && fits(pattern))
        }
    }
}

/// Whether a name is like a pattern with `*` and `?`. Names of hosts have no case.
fn is_like(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            is_like(rest, name) || name.split_first().is_some_and(|(_, shorter)| is_like(pattern, shorter))
        }
        (Some((b'?', rest)), Some((_, shorter))) => is_like(rest, shorter),
        (Some((want, rest)), Some((have, shorter))) => {
            want.eq_ignore_ascii_case(have) && is_like(rest, shorter)
        }
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMmdpMtCkh3cdNkkceOk0sxSru/p2SkRwQXN07TUHQR5";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC2VSb1bmi1nAzAqyC7f9H+q9/mrA2KFT8Q5q/ZzKKAQ";
    /// The name `hashed.example`, as `ssh-keygen -H` writes it.
    const HASHED: &str = "|1|23JyHTt68RRv+c0PtUPmXHWuSTw=|ZuyFNrsCfXiAO0LNubxwNvUG2R4=";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    /// What a file of these lines says of a host that shows the first key.
    fn judged(lines: &str, name: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        fs::write(&file, lines).unwrap();
        match HostKeys::Known(KnownHosts::at(file)).of(name.to_owned()).unwrap().judge(&key(ONE)) {
            Ok(()) => "trusted".to_owned(),
            Err(SshError::UnknownHostKey { .. }) => "unknown".to_owned(),
            Err(SshError::HostKeyChanged { .. }) => "changed".to_owned(),
            Err(SshError::HostKeyRevoked { .. }) => "revoked".to_owned(),
            Err(other) => other.to_string(),
        }
    }

    #[test]
    fn lines_are_taken_as_openssh_takes_them() {
        let cases = [
            (format!("r1 {ONE}\n"), "r1", "trusted"),
            (format!("R1,other {ONE} a comment\n"), "r1", "trusted"),
            (format!("[r1]:2222 {ONE}\n"), "[r1]:2222", "trusted"),
            (format!("[r1]:2222 {ONE}\n"), "r1", "unknown"),
            (format!("*.example,!bad.example {ONE}\n"), "r1.example", "trusted"),
            (format!("*.example,!bad.example {ONE}\n"), "bad.example", "unknown"),
            (format!("{HASHED} {ONE}\n"), "hashed.example", "trusted"),
            (format!("{HASHED} {ONE}\n"), "other.example", "unknown"),
            (format!("r1 {OTHER}\n"), "r1", "changed"),
            (format!("r1 {OTHER}\nr1 {ONE}\n"), "r1", "trusted"),
            (format!("@revoked r1 {ONE}\nr1 {ONE}\n"), "r1", "revoked"),
            (format!("r1 {ONE}\n@revoked * {ONE}\n"), "r1", "revoked"),
            (format!("@cert-authority *.example {ONE}\n"), "r1.example", "unknown"),
            (format!("# r1 {ONE}\nnonsense\nr1 {ONE}\n"), "r1", "trusted"),
            (String::new(), "r1", "unknown"),
        ];
        for (lines, name, wanted) in cases {
            assert_eq!(judged(&lines, name), wanted, "{name} in {lines}");
        }
    }

    #[test]
    fn trusting_replaces_what_was_trusted_for_the_same_host_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = KnownHosts::at(folder.path().join("known_hosts"));
        file.trust("r1", &HostKey(key(OTHER))).unwrap();
        file.trust("r2", &HostKey(key(OTHER))).unwrap();
        file.trust("r1", &HostKey(key(ONE))).unwrap();
        assert_eq!(file.keys_of("r1").unwrap(), [HostKey(key(ONE))]);
        assert_eq!(file.keys_of("r2").unwrap(), [HostKey(key(OTHER))]);
        let pinned = HostKeys::Pinned(HostKey(key(ONE)).fingerprint()).of("r1".to_owned()).unwrap();
        assert!(pinned.judge(&key(ONE)).is_ok() && pinned.judge(&key(OTHER)).is_err());
    }
}
