//! Outputs that were too long for their answers: kept for a while, for the one who asked, in memory.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use lru::LruCache;
use regex::Regex;

use crate::{
    error::DeviceError,
    shapes::{GrepArguments, GrepLine, GrepResult},
};

/// The most bytes that are kept of all outputs together.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long an output is kept.
const KEEP: Duration = Duration::from_secs(3600);
/// The most characters of a line that are shown.
const LINE_CHARS_MAX: usize = 2000;

/// One output.
pub(crate) struct Kept {
    /// Who asked for it: nobody else finds it.
    pub(crate) principal: Arc<str>,
    pub(crate) device: Arc<str>,
    pub(crate) command: String,
    pub(crate) text: String,
}

/// The outputs that are kept.
pub(crate) struct Shelf {
    outputs: Mutex<Outputs>,
}

struct Outputs {
    by_handle: LruCache<String, (Instant, Arc<Kept>)>,
    bytes: usize,
}

impl Default for Shelf {
    fn default() -> Self {
        Self { outputs: Mutex::new(Outputs { by_handle: LruCache::unbounded(), bytes: 0 }) }
    }
}

impl Shelf {
    /// Keeps an output; the handle it is found by. What was not asked for longest goes first.
    pub(crate) fn keep(&self, kept: Kept) -> String {
        let mut random = [0_u8; 12];
        // Without randomness there is no operating system either.
        getrandom::fill(&mut random).unwrap_or_default();
        let handle = random.iter().fold("out_".to_owned(), |handle, byte| format!("{handle}{byte:02x}"));
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        outputs.bytes += kept.text.len();
        outputs.by_handle.put(handle.clone(), (Instant::now(), Arc::new(kept)));
        while outputs.bytes > BYTES_MAX && outputs.by_handle.len() > 1 {
            if let Some((_, (_, oldest))) = outputs.by_handle.pop_lru() {
                outputs.bytes -= oldest.text.len();
            }
        }
        handle
    }

    fn find(&self, handle: &str, principal: &str) -> Option<Arc<Kept>> {
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, kept) = outputs.by_handle.get(handle)?;
        (at.elapsed() < KEEP && &*kept.principal == principal).then(|| Arc::clone(kept))
    }

    /// Searches or pages through an output.
    ///
    /// Error: a handle that is not known, or a pattern that does not compile.
    pub(crate) fn grep(
        &self,
        asked: &GrepArguments,
        principal: &str,
        may_ask: impl Fn(&str) -> bool,
    ) -> Result<GrepResult, DeviceError> {
        let bad =
            |pointer: &str, what: String| DeviceError::BadArgument { pointer: pointer.to_owned(), what };
        let found = self.find(&asked.handle, principal).filter(|kept| may_ask(&kept.device));
        let kept = found.ok_or_else(|| {
            let what =
                format!("there is no output {:?}; outputs are kept for an hour, for who asked", asked.handle);
            bad("/handle", what)
        })?;
        let pattern = asked.pattern.as_ref().map(|pattern| Regex::new(pattern)).transpose();
        let pattern =
            pattern.map_err(|error| bad("/pattern", format!("the pattern does not compile: {error}")))?;
        let lines: Vec<&str> = kept.text.lines().collect();
        let matches = |line: &&str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(line));
        let mut wanted = vec![false; lines.len()];
        for at in (0..lines.len()).filter(|at| matches(&lines[*at])) {
            let last = at.saturating_add(asked.context).min(lines.len() - 1);
            wanted[at.saturating_sub(asked.context)..=last].fill(true);
        }
        let mut shown = (asked.from_line - 1..lines.len()).filter(|at| wanted[*at]);
        let cut = |text: &str| text.chars().take(LINE_CHARS_MAX).collect();
        let page = shown.by_ref().take(asked.limit).map(|at| GrepLine { line: at + 1, text: cut(lines[at]) });
        let page: Vec<GrepLine> = page.collect();
        Ok(GrepResult {
            command: kept.command.clone(),
            device: Arc::clone(&kept.device),
            lines: page,
            total_lines: lines.len(),
            next_line: shown.next().map(|at| at + 1),
        })
    }
}
