//! Watches one file for changes, as editors and deployments make them: written in place, or replaced by a rename
//! or a link. The folder is watched, events are gathered for a moment, and what counts is the content.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// How long a file must be left alone before it counts as changed.
const QUIET: Duration = Duration::from_millis(250);

/// The changes of one file.
pub(crate) struct Changes {
    events: mpsc::Receiver<()>,
    file: PathBuf,
    content: Option<[u8; 32]>,
    _watcher: RecommendedWatcher,
}

/// Begins to watch a file.
pub(crate) fn changes(file: &Path) -> notify::Result<Changes> {
    let (sender, events) = mpsc::channel(1);
    // A full channel already says what this event would say.
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Who only reads changes nothing; the databases beside the file are read all the time.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            let _ = sender.try_send(());
        }
    })?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    let file = file.to_owned();
    Ok(Changes { events, content: digest(&file), file, _watcher: watcher })
}

impl Changes {
    /// Ends when the file has another content than before. Whoever drops it in between looks at the file again.
    pub(crate) async fn next(&mut self) {
        loop {
            if self.events.recv().await.is_none() {
                return std::future::pending().await;
            }
            let content = settled(&self.file).await;
            // A file that is away for a moment is being replaced.
            if content.is_some() && content != self.content {
                self.content = content;
                return;
            }
        }
    }
}

/// The content once it has stayed the same for a moment. It goes by the file alone: in a folder where other files
/// change all the time no moment is quiet.
async fn settled(file: &Path) -> Option<[u8; 32]> {
    let mut content = digest(file);
    loop {
        tokio::time::sleep(QUIET).await;
        let later = digest(file);
        if later == content {
            return content;
        }
        content = later;
    }
}

fn digest(file: &Path) -> Option<[u8; 32]> {
    Some(*blake3::hash(&fs::read(file).ok()?).as_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_busy_folder_does_not_hold_a_change_up() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        fs::write(&file, "a").unwrap();
        let mut changes = changes(&file).unwrap();
        let busy = folder.path().join("state.db");
        let writing = async {
            for n in 0.. {
                fs::write(&busy, format!("{n}")).unwrap();
                tokio::time::sleep(QUIET / 10).await;
            }
        };
        fs::write(&file, "b").unwrap();
        tokio::select! {
            found = soon(&mut changes) => assert!(found, "the change was not seen"),
            () = writing => {}
        }
    }

    async fn soon(changes: &mut Changes) -> bool {
        tokio::time::timeout(Duration::from_secs(5), changes.next()).await.is_ok()
    }

    #[tokio::test]
    async fn a_file_changes_in_place_by_rename_and_by_link_and_not_by_a_touch() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        fs::write(&file, "a").unwrap();
        let mut changes = changes(&file).unwrap();
        fs::write(&file, "b").unwrap();
        assert!(soon(&mut changes).await);
        fs::write(folder.path().join("new"), "c").unwrap();
        fs::rename(folder.path().join("new"), &file).unwrap();
        assert!(soon(&mut changes).await);
        fs::write(&file, "c").unwrap();
        fs::write(folder.path().join("other"), "x").unwrap();
        let wait = tokio::time::timeout(QUIET * 3, changes.next()).await;
        assert!(wait.is_err(), "the same content is no change");
        fs::write(folder.path().join("v2"), "d").unwrap();
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("v2", &file).unwrap();
        assert!(soon(&mut changes).await);
    }
}
