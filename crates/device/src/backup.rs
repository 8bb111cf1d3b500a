//! Versions of configurations, in files: `<folder>/<device>/<version>-running.cfg`.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use similar::TextDiff;
use tool::{Timestamp, json::digest_bytes};

use crate::{
    Room,
    error::DeviceError,
    inventory::Device,
    look::Reading,
    mask::masked,
    platform::{Intent, Platform},
    shapes::{Backup, BackupArguments, BackupResult, BackupShowArguments, BackupShowResult, ConfigType},
};

/// The largest diff that an answer holds, in bytes.
const DIFF_BYTES_MAX: usize = 32 * 1024;

/// Whether a backup is shown with its secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secrets {
    /// They are masked.
    Masked,
    /// They are shown.
    Shown,
}

/// The versions of one configuration of one device.
struct Versions {
    folder: PathBuf,
    suffix: &'static str,
}

impl Versions {
    fn of(backups: &Path, location: Option<&str>, device: &Device, config_type: ConfigType) -> Self {
        let suffix = match config_type {
            ConfigType::Running => "-running.cfg",
            ConfigType::Startup => "-startup.cfg",
        };
        let folder = location.map_or_else(|| backups.to_owned(), |location| backups.join(location));
        Self { folder: folder.join(&*device.name), suffix }
    }

    /// Every version, the newest last.
    fn all(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read?,
        };
        let mut versions = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            versions.extend(name.to_str().and_then(|name| name.strip_suffix(self.suffix)).map(str::to_owned));
        }
        versions.sort();
        Ok(versions)
    }

    fn read(&self, version: &str) -> io::Result<String> {
        fs::read_to_string(self.folder.join(format!("{version}{}", self.suffix)))
    }

    /// Writes a version: whole, or not at all.
    fn write(&self, version: &str, text: &str) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let path = self.folder.join(format!("{version}{}", self.suffix));
        let new = path.with_extension("new");
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(new, path)
    }
}

impl Reading<'_> {
    /// `backup_config`.
    pub(crate) async fn backup(&mut self, asked: &BackupArguments) -> Result<BackupResult, DeviceError> {
        let has_startup = self.device.platform.intents.contains_key(&Intent::StartupConfig);
        let startup = (asked.include_startup && has_startup).then_some(ConfigType::Startup);
        let now = self.room().clock.now();
        let mut backups = Vec::new();
        for config_type in [ConfigType::Running].into_iter().chain(startup) {
            let text = self.config(config_type).await? + "\n";
            let location = asked.backup_location.as_deref();
            let versions = Versions::of(&self.room().backups, location, &self.device, config_type);
            let (device, platform) = (self.device.name.to_string(), self.device.platform);
            let kept = keep(&versions, &text, now, config_type, platform);
            backups.push(kept.map_err(|error| DeviceError::Backup { device, why: error.to_string() })?);
        }
        let changed = backups.iter().any(|backup| backup.changed);
        Ok(BackupResult {
            device: Arc::clone(&self.device.name),
            status: if changed { "backed_up" } else { "unchanged" },
            backups,
            timestamp: now,
        })
    }
}

/// Keeps a configuration, unless it is the last one in all but what changes by itself.
fn keep(
    versions: &Versions,
    text: &str,
    now: Timestamp,
    config_type: ConfigType,
    platform: &Platform,
) -> io::Result<Backup> {
    let previous = versions.all()?.pop();
    let last = previous.as_ref().map(|version| versions.read(version)).transpose()?;
    let changed = last.as_ref().is_none_or(|last| lasting(last, platform) != lasting(text, platform));
    let version = match &previous {
        Some(previous) if !changed => previous.clone(),
        _ => now.utc().format("%Y%m%dT%H%M%S%3fZ").to_string(),
    };
    if changed {
        versions.write(&version, text)?;
    }
    Ok(Backup {
        config_type,
        version,
        digest: digest_bytes(text.as_bytes()),
        lines: text.lines().count(),
        bytes: text.len(),
        diff: last.filter(|_| changed).map_or_else(String::new, |last| diff(&last, text, platform)),
        changed,
        previous: previous.filter(|_| changed),
    })
}

/// The lines of a configuration that do not change by themselves.
fn lasting<'a>(text: &'a str, platform: &Platform) -> Vec<&'a str> {
    let is_volatile = |line: &&str| platform.volatile.iter().any(|pattern| pattern.is_match(line.as_bytes()));
    text.lines().map(str::trim_end).filter(|line| !is_volatile(line)).collect()
}

fn diff(last: &str, text: &str, platform: &Platform) -> String {
    let (last, text) = (masked(last, platform).0, masked(text, platform).0);
    let mut diff = TextDiff::from_lines(&last, &text).unified_diff().context_radius(3).to_string();
    if diff.is_empty() {
        diff = "what differs is a secret\n".to_owned();
    }
    if diff.len() > DIFF_BYTES_MAX {
        diff.truncate(diff.floor_char_boundary(DIFF_BYTES_MAX));
        diff.push_str("\n.. and more\n");
    }
    diff
}

impl Room {
    /// `backup_show` and `backup_show_raw`.
    pub(crate) fn show_backup(
        &self,
        asked: &BackupShowArguments,
        secrets: Secrets,
    ) -> Result<BackupShowResult, DeviceError> {
        let device = self.find(&asked.device_ip)?;
        let versions =
            Versions::of(&self.backups, asked.backup_location.as_deref(), &device, asked.config_type);
        let cannot = |error: io::Error| DeviceError::Backup {
            device: device.name.to_string(),
            why: error.to_string(),
        };
        let all = versions.all().map_err(cannot)?;
        let version = asked.version.clone().or_else(|| all.last().cloned());
        let Some(version) = version.filter(|version| all.contains(version)) else {
            let what = format!("there is no such backup of {}; backup_config makes one", device.name);
            return Err(DeviceError::BadArgument { pointer: "/version".to_owned(), what });
        };
        let raw = versions.read(&version).map_err(cannot)?;
        let (config, redactions) = match secrets {
            Secrets::Masked => masked(&raw, device.platform),
            Secrets::Shown => (raw, 0),
        };
        Ok(BackupShowResult {
            device: Arc::clone(&device.name),
            config_type: asked.config_type,
            version,
            versions: all,
            config,
            redactions,
        })
    }
}
