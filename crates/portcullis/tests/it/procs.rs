//! Processes, as the kernel counts them.

use std::{fs, path::Path, process::Child};

/// A process that ends with the test that started it.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Ends it, and waits until it has.
    pub(crate) fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// The ids of the living processes that have this home: a server of a test, and all that comes of it.
pub(crate) fn at_home(home: &Path) -> Vec<u32> {
    let wanted = format!("HOME={}", home.display());
    let carries = |id: &u32| {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
    };
    let all =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(carries).collect()
}

/// How many they are.
pub(crate) fn count(home: &Path) -> usize {
    at_home(home).len()
}

/// Whether a living process runs a program whose name begins so.
pub(crate) fn runs(id: u32, program: &str) -> bool {
    fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.starts_with(program))
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holds {
    pub descriptors: usize,
    pub resident_mb: u64,
}

/// What a living process holds.
pub(crate) fn of(id: u32) -> Holds {
    let place = Path::new("/proc").join(id.to_string());
    let status = fs::read_to_string(place.join("status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kb: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    Holds { descriptors: fs::read_dir(place.join("fd")).unwrap().count(), resident_mb: kb / 1024 }
}
