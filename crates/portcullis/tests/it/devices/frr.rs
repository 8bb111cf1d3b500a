//! The lab of routers, started and stopped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU16, Ordering},
};

use tempfile::TempDir;

const SCRIPT: &str = include_str!("frr.sh");
const ROUTERS: u16 = 2;

/// Routers that run. They are stopped when it is dropped.
pub(super) struct Lab {
    dir: TempDir,
    prefix: String,
    port: u16,
}

impl Lab {
    /// Starts the routers; `None` where that cannot be done here, and then it is said.
    pub(super) fn start() -> Option<Self> {
        let lab = Self::prepared()?;
        lab.script(&["up"], &[&ROUTERS.to_string(), &lab.port.to_string()]);
        Some(lab)
    }

    /// A folder, ports and a user, and no routers.
    pub(super) fn without_routers() -> Option<Self> {
        let lab = Self::prepared()?;
        lab.script(&["user"], &[]);
        Some(lab)
    }

    fn prepared() -> Option<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        if !rustix::process::getuid().is_root() {
            eprintln!("skipped: network namespaces of routers need root");
            return None;
        }
        crate::beds::place("frr")?;
        let dir = tempfile::Builder::new().prefix("portcullis-frr-").tempdir().unwrap();
        let number = u16::try_from(std::process::id() % 400).unwrap() + NEXT.fetch_add(1, Ordering::Relaxed);
        let lab = Self { dir, prefix: format!("pc{number}r"), port: 28_000 + number * 10 };
        fs::write(lab.dir().join("password"), "pc-Lab-0123456789").unwrap();
        fs::write(lab.dir().join("frr.sh"), SCRIPT).unwrap();
        Some(lab)
    }

    fn script(&self, verb: &[&str], more: &[&str]) {
        let mut command = Command::new("bash");
        command.arg(self.dir().join("frr.sh")).args(verb).arg(self.dir()).arg(&self.prefix).args(more);
        let said = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(said.status.success(), "{}{}", text(&said.stdout), text(&said.stderr));
    }

    /// Where its files are.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The port that a router answers on, or the first ones where there are none, on 127.0.0.1.
    pub(super) fn port(&self, router: u16) -> u16 {
        self.port + router
    }

    /// What the SSH server of a router logged.
    pub(super) fn log(&self, router: u16) -> String {
        let path: PathBuf = self.dir().join(format!("r{router}/sshd.log"));
        fs::read_to_string(path).unwrap_or_default()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.script(&["down"], &[]);
    }
}
