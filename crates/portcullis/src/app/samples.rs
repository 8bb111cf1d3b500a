//! The sample services of `lab:`, and the samples that they need: a database, a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tokio::task::JoinSet;
use tool::{ConfigFault, StopSource};

use crate::config::Loaded;

/// The sample services that run.
pub(super) struct Samples(Option<(StopSource, JoinSet<io::Result<()>>)>);

impl Samples {
    /// No samples.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Makes what is not there yet, and starts what is to run.
    pub(super) async fn start(loaded: &Loaded) -> Result<Self, Vec<ConfigFault>> {
        let Some(lab) = &loaded.config.lab else { return Ok(Self::none()) };
        if let Some(path) = &lab.shop_database {
            let path = loaded.base_dir.join(path);
            let made = tokio::task::spawn_blocking(move || shop_database(&path)).await;
            let made = made.map_err(|e| fault("/lab/shop_database", e))?;
            made.map_err(|e| fault("/lab/shop_database", e))?;
        }
        if let Some(folder) = &lab.sample_files {
            sample_files(&loaded.base_dir.join(folder)).map_err(|e| fault("/lab/sample_files", e))?;
        }
        let (source, stop) = StopSource::new();
        let mut tasks = JoinSet::new();
        if let Some(api) = &lab.shop_api {
            let bound = lab::ShopApi::bind(api.listen).await;
            let api = bound.map_err(|e| fault("/lab/shop_api/listen", format!("{}: {e}", api.listen)))?;
            tasks.spawn(api.run(stop.clone()));
        }
        if let Some(network) = &lab.network {
            let bound = lab::Network::bind(network, &loaded.base_dir).await;
            let network = bound.map_err(|e| fault("/lab/network", e))?;
            tasks.spawn(async move {
                tokio::select! {
                    () = network.run() => {}
                    () = stop.asked() => {}
                }
                Ok(())
            });
        }
        Ok(Self(Some((source, tasks))))
    }

    /// Stops what runs.
    pub(super) async fn stop(&mut self) {
        let Some((source, mut tasks)) = self.0.take() else { return };
        source.ask();
        while let Some(ended) = tasks.join_next().await {
            let Ok(Err(error)) = ended else { continue };
            tracing::warn!(error = %error, "the sample service ended badly");
        }
    }
}

/// A folder for a check that must not change anything; gone when this is dropped.
pub(super) struct Rehearsal(PathBuf);

impl Rehearsal {
    /// One that is not made yet.
    pub(super) fn new() -> Self {
        let name = format!("portcullis-check-{}", uuid::Uuid::new_v4().simple());
        Self(std::env::temp_dir().join(name))
    }

    /// The folder, made where it is missing.
    pub(super) fn folder(&self) -> io::Result<&Path> {
        fs::create_dir_all(&self.0)?;
        Ok(&self.0)
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        // It lies in the folder for temporary files, where leftovers do no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes what is not there yet and a start would make in a temporary folder, and lets the configuration point there.
pub(super) async fn rehearse(loaded: &mut Loaded) -> Rehearsal {
    let lab = loaded.config.lab.clone();
    let base = loaded.base_dir.clone();
    let rehearsal = Rehearsal::new();
    let folder = &rehearsal.0;
    let missing = |path: &Path| !base.join(path).exists();
    let same = |one: &Path, other: &Path| base.join(one) == base.join(other);
    if let Some(path) = lab.as_ref().and_then(|lab| lab.shop_database.clone()).filter(|path| missing(path)) {
        let made = folder.join("shop.db");
        let theirs = made.clone();
        if let Ok(Ok(())) = tokio::task::spawn_blocking(move || shop_database(&theirs)).await {
            let databases = loaded.config.sql.iter_mut().flat_map(|sql| sql.databases.values_mut());
            databases.filter(|db| same(&db.sqlite, &path)).for_each(|db| db.sqlite.clone_from(&made));
        }
    }
    if let Some(files) = loaded.config.files.as_mut().filter(|files| missing(&files.root)) {
        let made = folder.join("files");
        let is_sample = lab.and_then(|lab| lab.sample_files).is_some_and(|path| same(&files.root, &path));
        if files.create || (is_sample && sample_files(&made).is_ok()) {
            files.root = made;
        }
    }
    rehearsal
}

fn shop_database(path: &Path) -> Result<(), String> {
    if path.exists() {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    }
    sql::create_from_script(path, &lab::shop_sql()).map_err(|e| e.to_string())
}

/// Fills a folder that does not exist yet.
fn sample_files(folder: &Path) -> io::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    for (name, text) in lab::sample_files() {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, text)?;
    }
    Ok(())
}

fn fault(pointer: &str, error: impl std::fmt::Display) -> Vec<ConfigFault> {
    vec![ConfigFault::new(pointer, format!("it cannot be set up: {error}"))]
}
