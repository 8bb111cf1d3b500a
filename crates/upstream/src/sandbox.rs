//! What a program may do: the `sandbox:` of a server.

use std::path::{Path, PathBuf};

use child::{Level, Limits, Network, Rules, User};
use schemars::JsonSchema;
use serde::Deserialize;

/// Users that a program gets for its own where we are root: those that no distribution gives to anybody
/// (systemd's UIDS-GIDS page, "DynamicUser").
const OWN_USERS: std::ops::Range<u32> = 61_184..65_520;

/// What a program may do.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SandboxConfig {
    /// How much is kept from it.
    #[serde(default)]
    pub mode: SandboxMode,
    /// Whether it is refused to start where this kernel cannot keep all of that from it. Left out: yes for `strict`.
    #[serde(default)]
    pub required: Option<bool>,
    /// Files and folders that it may read and run, beside libraries, its own folder and the one it starts in.
    #[serde(default)]
    pub read: Vec<String>,
    /// Files and folders that it may change as well. It has a folder of its own for what is temporary (`TMPDIR`), gone
    /// when it ends.
    #[serde(default)]
    pub write: Vec<String>,
    /// Whom it may talk to, each as `host:port`; `*` is everybody. Without any it has no network and no sockets. The
    /// kernel holds it to the ports; hosts stand here for whoever reads this.
    #[serde(default)]
    pub network: Vec<String>,
    /// Whom it runs as, a name or a number; only root can have it run as somebody else. Left out: us, or a user of its
    /// own where we are root and the mode is `strict`.
    #[serde(default)]
    pub user: Option<String>,
    /// Memory that each of its processes can write to, in MiB.
    #[serde(default = "defaults::memory_mb_max")]
    #[schemars(range(min = 16, max = 1_048_576))]
    pub memory_mb_max: u64,
    /// The largest file it may write, in MiB.
    #[serde(default = "defaults::file_mb_max")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub file_mb_max: u64,
    /// Files that each of its processes may have open.
    #[serde(default = "defaults::files_max")]
    #[schemars(range(min = 16, max = 1_048_576))]
    pub files_max: u64,
    /// Processes and threads it may have. Only where it runs as a user of its own: the kernel counts by user.
    #[serde(default = "defaults::processes_max")]
    #[schemars(range(min = 1, max = 100_000))]
    pub processes_max: u64,
}

/// How much is kept from a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SandboxMode {
    /// Nothing is. It still ends as a whole.
    Off,
    /// What no tool server needs: new privileges, other processes, the kernel's own affairs.
    #[default]
    Standard,
    /// Everything but what is named: files, network, other users' processes, more than its share.
    Strict,
}

/// What is wrong with it, and where.
pub(crate) type Wrong = (Vec<String>, String);

impl SandboxConfig {
    /// What the schema cannot say.
    pub(crate) fn check(&self) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        if self.mode != SandboxMode::Strict {
            for (member, is_there) in [
                ("read", !self.read.is_empty()),
                ("write", !self.write.is_empty()),
                ("network", !self.network.is_empty()),
            ] {
                if is_there {
                    wrong.push((vec![member.to_owned()], "it is for the mode `strict`".to_owned()));
                }
            }
        }
        for (i, place) in self.network.iter().enumerate() {
            if place != "*" && port(place).is_none() {
                let at = vec!["network".to_owned(), i.to_string()];
                wrong.push((at, format!("{place:?} is not host:port, such as api.example.com:443, nor `*`")));
            }
        }
        if let Some(user) = &self.user
            && find(user).is_none()
        {
            wrong.push((vec!["user".to_owned()], format!("there is no user {user:?} on this machine")));
        }
        wrong
    }

    /// The rules of the program of this server; relative paths start at `base`.
    ///
    /// Error: it is to run as somebody else, and we are not root.
    pub(crate) fn rules(&self, server: &str, base: &Path) -> Result<Rules, String> {
        let path = |text: &String| base.join(text);
        let paths = |list: &[String]| list.iter().map(path).collect::<Vec<PathBuf>>();
        let is_strict = self.mode == SandboxMode::Strict;
        let mib = |most: u64| is_strict.then_some(most << 20);
        Ok(Rules {
            level: match self.mode {
                SandboxMode::Off => Level::Off,
                SandboxMode::Standard => Level::Standard,
                SandboxMode::Strict => Level::Strict,
            },
            required: self.required.unwrap_or(is_strict),
            read: paths(&self.read),
            write: paths(&self.write),
            network: self.allowed(),
            user: self.user(server)?,
            limits: Limits {
                memory_bytes_max: mib(self.memory_mb_max),
                file_bytes_max: mib(self.file_mb_max),
                files_max: is_strict.then_some(self.files_max),
                processes_max: is_strict.then_some(self.processes_max),
            },
        })
    }

    fn allowed(&self) -> Network {
        if self.mode != SandboxMode::Strict || self.network.iter().any(|place| place == "*") {
            return Network::Open;
        }
        match self.network.as_slice() {
            [] => Network::Closed,
            places => Network::Ports(places.iter().filter_map(|place| port(place)).collect()),
        }
    }

    fn user(&self, server: &str) -> Result<Option<User>, String> {
        let ours = User::ours();
        let wanted = match &self.user {
            Some(user) => {
                Some(find(user).ok_or_else(|| format!("there is no user {user:?} on this machine"))?)
            }
            None if self.mode == SandboxMode::Strict && ours.uid == 0 => Some(own(server)),
            None => None,
        };
        match wanted {
            Some(user) if user == ours => Ok(None),
            Some(_) if ours.uid != 0 => {
                Err("only root can have a program run as somebody else; leave `user` out".to_owned())
            }
            wanted => Ok(wanted),
        }
    }
}

fn port(place: &str) -> Option<u16> {
    let (host, port) = place.rsplit_once(':')?;
    (!host.is_empty()).then(|| port.parse().ok())?
}

fn find(user: &str) -> Option<User> {
    match user.parse() {
        Ok(uid) => Some(User::numbered(uid)),
        Err(_) => User::named(user),
    }
}

/// The user of a server's own: always the same for its name, so that what it wrote stays its.
fn own(server: &str) -> User {
    // FNV-1a, as it must be the same tomorrow and in another build.
    let hash =
        server.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let id = OWN_USERS.start + hash % (OWN_USERS.end - OWN_USERS.start);
    User { uid: id, gid: id }
}

mod defaults {
    pub(super) fn memory_mb_max() -> u64 {
        4_096
    }

    pub(super) fn file_mb_max() -> u64 {
        1_024
    }

    pub(super) fn files_max() -> u64 {
        1_024
    }

    pub(super) fn processes_max() -> u64 {
        256
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(section: Value) -> SandboxConfig {
        serde_json::from_value(section).unwrap()
    }

    #[test]
    fn what_is_named_is_allowed() {
        let rules = read(
            json!({ "mode": "strict", "read": ["docs", "/srv"], "network": ["a.test:443", "[::1]:8443"] }),
        );
        let rules = rules.rules("docs", Path::new("/base")).unwrap();
        assert_eq!(rules.read, [Path::new("/base/docs"), Path::new("/srv")]);
        assert_eq!(rules.network, Network::Ports(vec![443, 8443]));
        assert!(rules.required);
        assert_eq!(rules.limits.memory_bytes_max, Some(4 << 30));
        let network = |list: Value| read(json!({ "mode": "strict", "network": list })).allowed();
        assert_eq!(network(json!([])), Network::Closed);
        assert_eq!(network(json!(["*"])), Network::Open);
        let standard = read(json!({})).rules("docs", Path::new("/")).unwrap();
        assert_eq!(standard, Rules::standard());
    }

    #[test]
    fn what_cannot_be_is_said() {
        let wrong = |section: Value| {
            let wrong = read(section).check();
            wrong.iter().map(|(at, text)| format!("{}: {text}", at.join("/"))).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(wrong(json!({ "mode": "strict", "network": ["a:1", "*"], "user": "root" })), "");
        expect_test::expect![[r#"
            read: it is for the mode `strict`
            network: it is for the mode `strict`
            network/0: "a" is not host:port, such as api.example.com:443, nor `*`
            user: there is no user "no-such-user" on this machine"#]]
        .assert_eq(&wrong(json!({ "read": ["/"], "network": ["a"], "user": "no-such-user" })));
    }

    #[test]
    fn a_server_keeps_its_user() {
        assert_eq!(own("docs"), own("docs"));
        assert_ne!(own("docs"), own("web"));
        assert!(OWN_USERS.contains(&own("").uid));
    }
}
