//! Changes in memory, as honest about compare-and-swap as a database.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use state::{ChangeFilter, ChangeRecord, Changes, JournalEntry, StateError, Swap};

#[derive(Default)]
pub(super) struct Memory {
    rows: Mutex<Vec<(ChangeRecord, Vec<JournalEntry>)>>,
    /// So many swaps to come find that somebody else was faster.
    pub(super) stale: AtomicUsize,
}

#[async_trait]
impl Changes for Memory {
    async fn insert(&self, change: &ChangeRecord, entry: &JournalEntry) -> Result<(), StateError> {
        self.rows.lock().unwrap().push((change.clone(), vec![entry.clone()]));
        Ok(())
    }

    async fn get(&self, id: &str) -> Result<Option<ChangeRecord>, StateError> {
        // Lets others run between reading and swapping, as a database does.
        tokio::task::yield_now().await;
        Ok(self.rows.lock().unwrap().iter().find(|(row, _)| row.id == id).map(|(row, _)| row.clone()))
    }

    async fn list(&self, filter: &ChangeFilter) -> Result<Vec<ChangeRecord>, StateError> {
        let rows = self.rows.lock().unwrap();
        let wanted = rows.iter().rev().map(|(row, _)| row).filter(|row| {
            filter.state.is_none_or(|state| state == row.state)
                && filter.requester.as_ref().is_none_or(|name| *name == row.requester)
        });
        let limit = if filter.limit == 0 { 100 } else { filter.limit as usize };
        Ok(wanted.take(limit).cloned().collect())
    }

    async fn swap(&self, change: &ChangeRecord, entry: &JournalEntry) -> Result<Swap, StateError> {
        let stale = self.stale.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if stale.is_ok() {
            return Ok(Swap::Stale);
        }
        let mut rows = self.rows.lock().unwrap();
        let Some((row, journal)) =
            rows.iter_mut().find(|(row, _)| row.id == change.id && row.version == change.version)
        else {
            return Ok(Swap::Stale);
        };
        *row = change.clone();
        row.version += 1;
        journal.push(entry.clone());
        Ok(Swap::Done)
    }

    async fn journal(&self, id: &str) -> Result<Vec<JournalEntry>, StateError> {
        let rows = self.rows.lock().unwrap();
        Ok(rows.iter().find(|(row, _)| row.id == id).map(|(_, lines)| lines.clone()).unwrap_or_default())
    }
}
