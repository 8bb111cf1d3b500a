//! The load of the machine and of this process, measured now and then.

use std::{path::PathBuf, sync::Arc, time::Duration};

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tool::Stop;

use crate::{doors::Inside, road::SystemSample};

/// Measures every so often until `stop` is asked. A machine that cannot be measured is said so once, and shows zeros.
pub(crate) async fn watch(inside: Arc<Inside>, data_dir: PathBuf, every: Duration, stop: Stop) {
    let Some(mut sampler) = on_a_blocking_thread(move || Sampler::new(data_dir)).await.flatten() else {
        return;
    };
    loop {
        let Some((sample, back)) = on_a_blocking_thread(move || (sampler.sample(), sampler)).await else {
            return;
        };
        sampler = back;
        inside.sample.store(Arc::new(sample));
        inside.road.set_system(sample);
        tokio::select! {
            () = stop.asked() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

async fn on_a_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Some(done),
        Err(error) => {
            tracing::error!(%error, "the load of the machine cannot be measured any more");
            None
        }
    }
}

/// Measures. The processor load is that since the last measurement.
struct Sampler {
    system: System,
    pid: Pid,
    data_dir: PathBuf,
}

impl Sampler {
    fn new(data_dir: PathBuf) -> Option<Self> {
        let pid = sysinfo::get_current_pid().ok();
        let system = System::new();
        match (system, pid) {
            (Ok(system), Some(pid)) => Some(Self { system, pid, data_dir }),
            (Err(error), _) => {
                tracing::warn!(%error, "the load of this machine cannot be measured");
                None
            }
            (Ok(_), None) => {
                tracing::warn!("the load of this machine cannot be measured");
                None
            }
        }
    }

    fn sample(&mut self) -> SystemSample {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        let own = ProcessRefreshKind::nothing().with_memory().with_cpu();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[self.pid]), true, own);
        let mut sample = SystemSample {
            cpu_percent: f64::from(self.system.global_cpu_usage()),
            memory_percent: self.memory_percent(),
            disk_percent: self.disk_percent(),
            process_open_fds: entries_of("/proc/self/fd", |_| true),
            process_count: entries_of("/proc", |name| name.bytes().all(|b| b.is_ascii_digit())),
            ..SystemSample::default()
        };
        if let Some(process) = self.system.process(self.pid) {
            sample.process_cpu_seconds = process.accumulated_cpu_time() as f64 / 1e3;
            sample.process_resident_bytes = process.memory();
            sample.process_start_unix = process.start_time() as f64;
        }
        sample
    }

    /// The share of memory that is in use: of the control group's, where it has less than the machine.
    fn memory_percent(&self) -> f64 {
        let machine = (self.system.used_memory(), self.system.total_memory());
        let group = self.system.cgroup_limits().filter(|group| (1..machine.1).contains(&group.total_memory));
        let (used, total) = group.map_or(machine, |group| (group.rss, group.total_memory));
        percent(used, total)
    }

    /// As `df` has it: what only root may still fill does not count.
    fn disk_percent(&self) -> f64 {
        rustix::fs::statvfs(&self.data_dir).map_or(0.0, |disk| {
            let used = disk.f_blocks.saturating_sub(disk.f_bfree);
            percent(used, used + disk.f_bavail)
        })
    }
}

/// How many entries a folder of `/proc` has; 0 where there is none.
fn entries_of(folder: &str, fits: impl Fn(&str) -> bool) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| fits(name)).count() as u64
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64 * 100.0).clamp(0.0, 100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_holds_real_values() {
        let mut sampler = Sampler::new(std::env::temp_dir()).unwrap();
        let sample = sampler.sample();
        for percent in [sample.cpu_percent, sample.memory_percent, sample.disk_percent] {
            assert!((0.0..=100.0).contains(&percent), "{sample:?}");
        }
        assert!(sample.memory_percent > 0.0, "{sample:?}");
        assert!(sample.process_resident_bytes > 1_000_000, "{sample:?}");
        assert!(sample.process_open_fds > 2 && sample.process_count > 0, "{sample:?}");
        assert!(sample.process_start_unix > 1.6e9, "{sample:?}");
    }
}
