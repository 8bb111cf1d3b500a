mod crash;
mod jail;
mod paths;
mod read;
mod surface;
mod write;

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tool::{Fault, Plan, Provider, Reply};

use crate::{Config, HardLinks, Hidden, Room, Symlinks};

/// What no caller may ever see.
pub(crate) const SECRET: &str = "canary-0b5c";

/// A folder to serve, a folder outside of it that holds [`SECRET`], and the provider over the first.
pub(crate) struct Place {
    pub(crate) all: TempDir,
    pub(crate) provider: Arc<dyn Provider>,
}

impl Place {
    /// A small tree, served as `change` has it.
    pub(crate) fn new(change: impl FnOnce(&mut Config)) -> Self {
        let all = tempfile::tempdir().unwrap();
        let (root, outside) = (all.path().join("root"), all.path().join("outside"));
        for folder in ["notes/deep/er", "empty", ".git"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::create_dir_all(outside.join("folder")).unwrap();
        for (path, text) in [
            ("hello.txt", "hello, hands\n"),
            ("notes/todo.txt", "buy milk\nTODO: call Zoë\n"),
            ("notes/deep/er/a.md", "# Deep\r\nTODO deep\n"),
            ("empty.txt", ""),
            (".env", "KEY=hidden\n"),
            (".git/config", "hidden\n"),
        ] {
            std::fs::write(root.join(path), text).unwrap();
        }
        std::fs::write(root.join("binary.bin"), b"\x00\x01\xff").unwrap();
        std::fs::write(root.join("latin1.txt"), b"caf\xe9\n").unwrap();
        std::fs::write(outside.join("secret.txt"), SECRET).unwrap();
        std::fs::write(outside.join("folder/secret.txt"), SECRET).unwrap();
        symlink(outside.join("secret.txt"), root.join("out_file")).unwrap();
        symlink("../outside", root.join("out_folder")).unwrap();
        symlink("notes/todo.txt", root.join("in_file")).unwrap();
        symlink("notes", root.join("in_folder")).unwrap();
        let provider = open(all.path(), change);
        Self { all, provider }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.all.path().join("root")
    }

    /// Calls a reading tool; the answer as JSON, or the fault in one line.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> String {
        shown(run(&*self.provider, tool, arguments).await)
    }

    /// Plans a write.
    pub(crate) async fn plan(&self, arguments: Value) -> Result<Plan, Fault> {
        let permit = testkit::permit_of(&*self.provider, "fs_write_text", arguments)?;
        self.provider.plan(permit, testkit::talk()).await
    }

    /// Applies a planned write.
    pub(crate) async fn apply(&self, plan: &Plan) -> String {
        shown(apply(&*self.provider, plan).await)
    }
}

/// Opens the provider over `all/root`.
pub(crate) fn open(all: &Path, change: impl FnOnce(&mut Config)) -> Arc<dyn Provider> {
    let mut config = Config::of_folder("root");
    change(&mut config);
    crate::open(&config, &testkit::parts(all)).unwrap()
}

/// The room itself, for work beneath the provider.
pub(crate) fn room(all: &Path, change: impl FnOnce(&mut Config)) -> Room {
    let mut config = Config::of_folder("root");
    change(&mut config);
    Room::open(&config, all).unwrap()
}

pub(crate) async fn run(provider: &dyn Provider, tool: &str, arguments: Value) -> Result<Value, Fault> {
    let permit = testkit::permit_of(provider, tool, arguments)?;
    provider.run(permit, testkit::talk()).await.map(value)
}

pub(crate) async fn apply(provider: &dyn Provider, plan: &Plan) -> Result<Value, Fault> {
    let arguments = json!({
        "path": plan.payload["path"],
        "text": plan.payload["text"],
        "create_parents": plan.payload["create_parents"],
    });
    let permit = testkit::permit_of(provider, "fs_write_text", arguments)?;
    provider.apply(permit, plan.clone(), testkit::talk()).await.map(value)
}

fn value(reply: Reply) -> Value {
    match reply {
        Reply::Done(outcome) => outcome.to_value(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn shown(result: Result<Value, Fault>) -> String {
    match result {
        Ok(value) => value.to_string(),
        Err(fault) => {
            let pointer = fault.pointer.clone().unwrap_or_default();
            format!("{:?} {pointer}: {fault}", fault.code)
        }
    }
}

pub(crate) fn open_to_all(config: &mut Config) {
    config.symlinks = Symlinks::Beneath;
    config.hard_links = HardLinks::Allow;
    config.hidden = Hidden::Allow;
    config.writable = true;
}
