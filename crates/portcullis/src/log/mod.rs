//! The log: one line an event, with the members that API.md names at top level, to a stream and, where wanted, to
//! a file that is turned over.
//!
//! Whoever logs never waits for a disk or a pipe: lines go to a buffer of bounded size, a thread of its own writes
//! it out, and lines that find it full are counted and reported.

mod layer;
mod line;
mod sink;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::{path::Path, sync::Arc};

use tool::Clock;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Registry,
    filter::Targets,
    layer::{Layer as _, SubscriberExt as _},
    reload,
    util::SubscriberInitExt as _,
};

use crate::config::{LogConfig, LogFormat, LogLevel};

use layer::LogLayer;
use sink::{Outputs, RotatingFile, Sink, Stream};

/// Where the log goes beside the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogTo {
    /// Standard output: `serve`.
    Stdout,
    /// Standard error: whatever prints data of its own.
    Stderr,
}

/// The running log. Ends it, with everything written, when dropped.
pub(crate) struct Log {
    sink: Sink,
    filter: reload::Handle<Targets, Registry>,
}

/// The crates that are ours: their events are logged at the configured level, all others from `warning` on.
const OURS: &[&str] = &[
    "portcullis",
    "admin",
    "audit",
    "change",
    "files",
    "gate",
    "lab",
    "mcp",
    "serve",
    "sql",
    "state",
    "store",
    "tool",
    "upstream",
    "web",
];

impl Log {
    /// Starts the log of this process. Relative paths start at `base_dir`.
    ///
    /// Error: a sentence, where the file cannot be opened.
    pub(crate) fn start(
        config: &LogConfig,
        base_dir: &Path,
        to: LogTo,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let stream = match to {
            LogTo::Stdout => Stream::Stdout,
            LogTo::Stderr => Stream::Stderr,
        };
        let file = match &config.file {
            Some(file) => Some(RotatingFile::open(&base_dir.join(&file.path), file.bytes_max, file.keep)?),
            None => None,
        };
        let sink = Sink::start(Outputs { stream, file });
        let (filter, handle) = reload::Layer::new(targets(config.level));
        let layer = LogLayer::new(sink.clone(), clock, config.format == LogFormat::Json);
        // A second subscriber in one process is a test's doing; the first one stays.
        let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
        Ok(Self { sink, filter: handle })
    }

    /// The switch of how much is logged.
    pub(crate) fn level_switch(&self) -> LogLevelSwitch {
        LogLevelSwitch(self.filter.clone())
    }

    /// Waits until everything logged so far is written, at most two seconds.
    pub(crate) fn flush(&self) {
        self.sink.flush();
    }
}

/// Changes how much is logged.
#[derive(Clone)]
pub(crate) struct LogLevelSwitch(reload::Handle<Targets, Registry>);

impl LogLevelSwitch {
    /// Logs at this level from now on.
    pub(crate) fn set_level(&self, level: LogLevel) {
        // It fails only where the subscriber is gone, and then nothing is logged anyway.
        let _ = self.0.reload(targets(level));
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.sink.flush();
    }
}

fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let others = level.min(LevelFilter::WARN);
    Targets::new().with_default(others).with_targets(OURS.iter().map(|name| (*name, level)))
}
