//! What callers work on lies apart from what the house keeps: an agent that reads the folder of its files must not find
//! the signing key of the audit log there, and a room that opens and closes the database of the state gives up every
//! lock that the store holds on it (fcntl(2)).

use std::{
    ffi::OsString,
    path::{Component, Path, PathBuf},
};

use tool::ConfigFault;

use crate::{
    config::Loaded,
    data::{self, STATE_FILE},
};

/// One thing that the house keeps to itself.
struct Own {
    what: String,
    path: PathBuf,
    /// What to move, where the folder of files is not.
    setting: &'static str,
}

/// Every overlap of `files.root`, and of the databases, with what the house keeps in `dir` and elsewhere. Links are
/// followed; what does not exist yet is taken by its name.
pub(crate) fn check(loaded: &Loaded, dir: &Path) -> Vec<ConfigFault> {
    let mut faults = databases(loaded, dir);
    faults.extend(files(loaded, dir));
    faults
}

fn files(loaded: &Loaded, dir: &Path) -> Option<ConfigFault> {
    let config = loaded.config.files.as_ref()?;
    let root = real(&loaded.base_dir.join(&config.root));
    let own = own(loaded, dir).into_iter().find(|own| {
        let path = real(&own.path);
        // A folder of files may lie in the data folder, beside what is ours, as the demo has it.
        path.starts_with(&root) || (own.setting == "audit.directory" && root.starts_with(&path))
    })?;
    let text = format!("{} is in this folder, and nothing that callers can reach may hold it", own.what);
    let hint = format!("name a folder that holds nothing but their files, or move {}", own.setting);
    Some(ConfigFault::new("/files/root", text).hint(hint))
}

fn databases(loaded: &Loaded, dir: &Path) -> Vec<ConfigFault> {
    let state = real(&dir.join(STATE_FILE));
    let databases = loaded.config.sql.iter().flat_map(|sql| &sql.databases);
    let ours = databases.filter(|(_, database)| real(&loaded.base_dir.join(&database.sqlite)) == state);
    ours.map(|(name, _)| {
        let mut pointer = "/sql/databases".to_owned();
        tool::json::push_pointer(&mut pointer, name);
        pointer.push_str("/sqlite");
        let text = "this is the server's own state, which no caller may read";
        ConfigFault::new(pointer, text).hint("name another file, or move data_dir")
    })
    .collect()
}

fn own(loaded: &Loaded, dir: &Path) -> Vec<Own> {
    let own = |what: &str, path: PathBuf, setting| Own { what: what.to_owned(), path, setting };
    let mut all = vec![
        own("the data folder", dir.to_owned(), "data_dir"),
        own("the audit log", data::audit_of(loaded, dir), "audit.directory"),
    ];
    all.extend(loaded.file.iter().map(|file| own("the configuration", file.clone(), "the configuration")));
    let databases = loaded.config.sql.iter().flat_map(|sql| &sql.databases);
    all.extend(databases.map(|(name, database)| Own {
        what: format!("the database {name:?}"),
        path: loaded.base_dir.join(&database.sqlite),
        setting: "the database",
    }));
    all
}

/// A path without links, as far as it exists; what does not exist yet is added by name.
fn real(path: &Path) -> PathBuf {
    let mut missing: Vec<OsString> = Vec::new();
    let mut at = path;
    loop {
        if let Ok(mut real) = at.canonicalize() {
            for name in missing.iter().rev() {
                real.push(name);
            }
            return real;
        }
        match (at.components().next_back(), at.parent()) {
            (Some(Component::Normal(name)), Some(parent)) => {
                missing.push(name.to_owned());
                at = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            }
            // Something that cannot be walked through is taken as it is written.
            _ => return path.to_owned(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fmt::Write as _, fs, os::unix::fs::symlink};

    use expect_test::{Expect, expect};

    use super::*;
    use crate::config;

    fn check(text: &str, expected: &Expect) {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("house/shared")).unwrap();
        symlink("house", at("link")).unwrap();
        fs::write(at("house/state-link"), "").unwrap();
        let file = at("house/portcullis.yaml");
        fs::write(&file, text).unwrap();
        let loaded = config::load(&file, &|_| None).map_err(|p| format!("{p:?}")).unwrap();
        let dir = loaded.base_dir.join(loaded.config.data_dir.as_deref().unwrap_or(Path::new("data")));
        let mut found = String::new();
        for fault in super::check(&loaded, &dir) {
            let _ = writeln!(found, "{}: {} ({})", fault.pointer, fault.text, fault.hint.unwrap_or_default());
        }
        expected.assert_eq(&found);
    }

    #[test]
    fn an_agent_that_reads_files_does_not_find_the_keys_and_the_state_of_the_server() {
        let inside = &expect![[r#"
            /files/root: the data folder is in this folder, and nothing that callers can reach may hold it (name a folder that holds nothing but their files, or move data_dir)
        "#]];
        check("files: { root: . }", inside);
        check("files: { root: data, create: true }", inside);
        check("files: { root: ../link }", inside);
        check("files: { root: shared/.. }", inside);
        check("{ data_dir: shared, files: { root: ../link/shared } }", inside);
        check(
            "{ data_dir: ../d, files: { root: . } }",
            &expect![[r#"
                /files/root: the configuration is in this folder, and nothing that callers can reach may hold it (name a folder that holds nothing but their files, or move the configuration)
            "#]],
        );
        let log = &expect![[r#"
            /files/root: the audit log is in this folder, and nothing that callers can reach may hold it (name a folder that holds nothing but their files, or move audit.directory)
        "#]];
        check("files: { root: data/audit/segments }", log);
        check("{ audit: { directory: shared/log }, files: { root: shared } }", log);
        check(
            "{ sql: { databases: { shop: { sqlite: ../link/shared/shop.db } } }, files: { root: shared } }",
            &expect![[r#"
                /files/root: the database "shop" is in this folder, and nothing that callers can reach may hold it (name a folder that holds nothing but their files, or move the database)
            "#]],
        );
        check("files: { root: shared }", &expect![""]);
        check("{ data_dir: ., files: { root: files } }", &expect![""]);
    }

    #[test]
    fn sql_does_not_read_the_state_of_the_server() {
        check(
            "sql: { databases: { a: { sqlite: ../link/data/state.db } } }",
            &expect![[r#"
                /sql/databases/a/sqlite: this is the server's own state, which no caller may read (name another file, or move data_dir)
            "#]],
        );
    }
}
