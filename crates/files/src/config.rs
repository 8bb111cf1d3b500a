use std::path::{Component, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tool::ConfigFault;

use crate::path;

/// The `files:` section: one folder, and what may be done beneath it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The folder. A relative path starts at the folder of the configuration file.
    pub root: PathBuf,
    /// Makes the folder where it is missing.
    #[serde(default)]
    pub create: bool,
    /// Offers `fs_write_text`. Every write is planned, approved and then applied.
    #[serde(default)]
    pub writable: bool,
    /// What happens to symbolic links. Those that lead out of the folder are refused either way.
    #[serde(default)]
    pub symlinks: Symlinks,
    /// What happens to files with more than one name: the other name may lie outside of the folder.
    #[serde(default)]
    pub hard_links: HardLinks,
    /// What happens to names that begin with a dot, and all beneath them.
    #[serde(default)]
    pub hidden: Hidden,
    /// Globs of paths that do not exist for any caller, such as `secrets` or `**/*.key`, relative to the folder.
    /// `*` stays within one name, `**` crosses; a match hides all beneath it too.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// The longest path that is taken, in characters.
    #[serde(default = "default_path_chars_max")]
    #[schemars(range(min = 1, max = 4096))]
    pub path_chars_max: u32,
    /// The most bytes of text that one `fs_read_text` returns.
    #[serde(default = "default_bytes_max")]
    #[schemars(range(min = 4, max = 268_435_456))]
    pub bytes_max: u64,
    /// The most entries that one `fs_list` returns.
    #[serde(default = "default_entries_max")]
    #[schemars(range(min = 1, max = 100_000))]
    pub entries_max: u32,
    /// The most entries that one call looks at on its way.
    #[serde(default = "default_scan_entries_max")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub scan_entries_max: u32,
    /// How many folders deep a recursive list or a search goes.
    #[serde(default = "default_depth_max")]
    #[schemars(range(min = 1, max = 128))]
    pub depth_max: u32,
    /// The most bytes that one `fs_search` reads.
    #[serde(default = "default_search_bytes_max")]
    #[schemars(range(min = 1))]
    pub search_bytes_max: u64,
    /// The most files that one `fs_search` opens.
    #[serde(default = "default_search_files_max")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub search_files_max: u32,
    /// The most matches that one `fs_search` returns.
    #[serde(default = "default_search_matches_max")]
    #[schemars(range(min = 1, max = 100_000))]
    pub search_matches_max: u32,
    /// The most characters of a matching line that are shown.
    #[serde(default = "default_search_line_chars_max")]
    #[schemars(range(min = 1, max = 65_536))]
    pub search_line_chars_max: u32,
    /// The most bytes that `fs_write_text` writes, and the largest file that it replaces.
    #[serde(default = "default_write_bytes_max")]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub write_bytes_max: u64,
    /// The largest difference that is put before an approver, in bytes; a larger one is not planned at all, since
    /// nobody can approve what they cannot see.
    #[serde(default = "default_diff_bytes_max")]
    #[schemars(range(min = 1, max = 67_108_864))]
    pub diff_bytes_max: u64,
    /// The longest that a call may take, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    #[schemars(range(min = 1, max = 600_000))]
    pub timeout_ms: u64,
    /// How many calls of one tool may run at once.
    #[serde(default = "default_concurrent_max")]
    #[schemars(range(min = 1, max = 1000))]
    pub concurrent_max: u32,
}

/// What happens to symbolic links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Symlinks {
    /// No path through a link is opened.
    #[default]
    Refuse,
    /// Links that stay beneath the folder are followed, but never listed into, searched or written through as the
    /// last name. A rule about a path does not hold for a link to it.
    Beneath,
}

/// What happens to files with more than one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HardLinks {
    /// They are not opened: a hard link into the folder shows a file from outside of it, and no way of opening can
    /// tell. The default.
    #[default]
    Refuse,
    /// They are opened like any file. For folders that only trusted programs write to.
    Allow,
}

/// What happens to names that begin with a dot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hidden {
    /// They are neither listed nor opened: keys and credentials live there (`.env`, `.ssh`, `.git`).
    #[default]
    Refuse,
    /// They are files like any other.
    Allow,
}

impl Config {
    /// The section for one folder, with the usual bounds and nothing to write.
    #[must_use]
    pub fn of_folder(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            create: false,
            writable: false,
            symlinks: Symlinks::default(),
            hard_links: HardLinks::default(),
            hidden: Hidden::default(),
            exclude: Vec::new(),
            path_chars_max: default_path_chars_max(),
            bytes_max: default_bytes_max(),
            entries_max: default_entries_max(),
            scan_entries_max: default_scan_entries_max(),
            depth_max: default_depth_max(),
            search_bytes_max: default_search_bytes_max(),
            search_files_max: default_search_files_max(),
            search_matches_max: default_search_matches_max(),
            search_line_chars_max: default_search_line_chars_max(),
            write_bytes_max: default_write_bytes_max(),
            diff_bytes_max: default_diff_bytes_max(),
            timeout_ms: default_timeout_ms(),
            concurrent_max: default_concurrent_max(),
        }
    }

    /// The section as the environment has it: `MCP_FS_BASE`, and `MCP_MAX_FILE_SIZE` in bytes where it is set.
    #[must_use]
    pub fn of_environment(fs_base: impl Into<PathBuf>, max_file_size: Option<u64>) -> Self {
        let mut config = Self::of_folder(fs_base);
        config.bytes_max = max_file_size.unwrap_or(config.bytes_max);
        config
    }

    /// Everything wrong with this section that its schema cannot say. Looks at no file.
    #[must_use]
    pub fn check(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        if self.root.as_os_str().is_empty() {
            faults.push(ConfigFault::new("/files/root", "the folder has no name"));
        } else if self.root.components().all(|part| matches!(part, Component::RootDir)) {
            let fault = ConfigFault::new("/files/root", "the whole file system is no folder to serve");
            faults.push(fault.hint("name the one folder that callers need"));
        }
        for (i, pattern) in self.exclude.iter().enumerate() {
            if let Err(error) = path::glob(pattern) {
                let text = format!("{pattern:?} is not a glob: {}", error.kind());
                faults.push(ConfigFault::new(format!("/files/exclude/{i}"), text));
            }
        }
        for (name, value, min, max) in self.bounds() {
            if !(min..=max).contains(&value) {
                let text = format!("{value} is out of bounds; expected {min} to {max}");
                faults.push(ConfigFault::new(format!("/files/{name}"), text));
            }
        }
        faults
    }

    /// Every bound with its least and its greatest value, as in the schema.
    fn bounds(&self) -> [(&'static str, u64, u64, u64); 13] {
        [
            ("path_chars_max", self.path_chars_max.into(), 1, 4096),
            ("bytes_max", self.bytes_max, 4, 256 << 20),
            ("entries_max", self.entries_max.into(), 1, 100_000),
            ("scan_entries_max", self.scan_entries_max.into(), 1, 10_000_000),
            ("depth_max", self.depth_max.into(), 1, 128),
            ("search_bytes_max", self.search_bytes_max, 1, u64::MAX),
            ("search_files_max", self.search_files_max.into(), 1, 10_000_000),
            ("search_matches_max", self.search_matches_max.into(), 1, 100_000),
            ("search_line_chars_max", self.search_line_chars_max.into(), 1, 65_536),
            ("write_bytes_max", self.write_bytes_max, 1, 16 << 20),
            ("diff_bytes_max", self.diff_bytes_max, 1, 64 << 20),
            ("timeout_ms", self.timeout_ms, 1, 600_000),
            ("concurrent_max", self.concurrent_max.into(), 1, 1000),
        ]
    }
}

fn default_path_chars_max() -> u32 {
    255
}

fn default_bytes_max() -> u64 {
    1 << 20
}

fn default_entries_max() -> u32 {
    1000
}

fn default_scan_entries_max() -> u32 {
    100_000
}

fn default_depth_max() -> u32 {
    32
}

fn default_search_bytes_max() -> u64 {
    64 << 20
}

fn default_search_files_max() -> u32 {
    10_000
}

fn default_search_matches_max() -> u32 {
    1000
}

fn default_search_line_chars_max() -> u32 {
    400
}

fn default_write_bytes_max() -> u64 {
    256 << 10
}

fn default_diff_bytes_max() -> u64 {
    1 << 20
}

fn default_timeout_ms() -> u64 {
    10_000
}

fn default_concurrent_max() -> u32 {
    10
}
