use std::{
    fs, future::poll_fn, os::unix::fs::PermissionsExt as _, path::Path, pin::pin, sync::Arc, task::Poll,
    time::Duration,
};

use expect_test::{Expect, expect};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use state::{
    Artefact, Artefacts, ChangeFilter, Changes, Grants, Keys, Ledger, LedgerKey, Pins, Sessions, StateError,
    Tasks, Usage, UsageCount,
};
use tempfile::TempDir;
use tool::Timestamp;

use crate::{SqliteStore, contract};

async fn open(folder: &TempDir) -> Arc<SqliteStore> {
    SqliteStore::open(&folder.path().join("store.db")).await.unwrap()
}

/// The errors, with the folder's own name taken out.
fn check(folder: &TempDir, errors: &[StateError], expected: Expect) {
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    expected.assert_eq(&lines.join("\n").replace(folder.path().to_str().unwrap(), "<folder>"));
}

/// Changes the file behind the store's back.
async fn tamper(path: &Path, statement: &'static str) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_contract_holds() {
    let folder = TempDir::new().unwrap();
    contract::keys(&(open(&folder).await as Arc<dyn Keys>)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usage_contract_holds() {
    let folder = TempDir::new().unwrap();
    contract::usage(&(open(&folder).await as Arc<dyn Usage>)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_contract_holds() {
    let folder = TempDir::new().unwrap();
    contract::ledger(&(open(&folder).await as Arc<dyn Ledger>)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_artefacts_contract_holds() {
    let folder = TempDir::new().unwrap();
    contract::artefacts(&(open(&folder).await as Arc<dyn Artefacts>)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_changes_contract_holds() {
    let folder = TempDir::new().unwrap();
    contract::changes(&(open(&folder).await as Arc<dyn Changes>)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_contract_holds() {
    let folder = TempDir::new().unwrap();
    contract::tasks(&(open(&folder).await as Arc<dyn Tasks>)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sessions_contract_holds() {
    let folder = TempDir::new().unwrap();
    contract::sessions(&(open(&folder).await as Arc<dyn Sessions>)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grants_contract_holds() {
    let folder = TempDir::new().unwrap();
    contract::grants(&(open(&folder).await as Arc<dyn Grants>)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pins_contract_holds() {
    let folder = TempDir::new().unwrap();
    contract::pins(&(open(&folder).await as Arc<dyn Pins>)).await;
}

/// Everything that the tests below have put into a store, as text.
async fn all_of(store: &SqliteStore) -> String {
    let mut text = format!("{:?}\n", Keys::list(store).await.unwrap());
    for change in
        Changes::list(store, &ChangeFilter { limit: 1_000, ..ChangeFilter::default() }).await.unwrap()
    {
        text += &format!("{change:?} {:?}\n", store.journal(&change.id).await.unwrap());
    }
    let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    let usage = Usage::read(store, "key_raced", now).await.unwrap();
    let artefact = Artefacts::read(store, "art_last", "alice", 65_000, 1_000, now).await.unwrap();
    let task = Tasks::get(store, "full").await.unwrap();
    let session = Sessions::get(store, "full").await.unwrap();
    let pins = Pins::pinned(store, "replaced").await.unwrap();
    let granted = Grants::granted(store, "server 1").await.unwrap().map(|given| given.expose().to_owned());
    text + &format!("{usage:?}\n{artefact:?}\n{task:?}\n{session:?}\n{pins:?}\n{granted:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_the_file_again_finds_everything() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    contract::keys(&(store.clone() as Arc<dyn Keys>)).await;
    contract::usage(&(store.clone() as Arc<dyn Usage>)).await;
    contract::changes(&(store.clone() as Arc<dyn Changes>)).await;
    contract::tasks(&(store.clone() as Arc<dyn Tasks>)).await;
    contract::sessions(&(store.clone() as Arc<dyn Sessions>)).await;
    contract::pins(&(store.clone() as Arc<dyn Pins>)).await;
    contract::grants(&(store.clone() as Arc<dyn Grants>)).await;
    let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    let artefact = Artefact {
        handle: "art_last".to_owned(),
        principal: "alice".to_owned(),
        tool: "sql_query".to_owned(),
        content: b"0123456789".repeat(10_000),
        created_at: now,
        expires_at: now.after(Duration::from_secs(1)),
    };
    Artefacts::put(&*store, &artefact).await.unwrap();
    let before = all_of(&store).await;
    store.close().await;
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the log has gone into the file");
    assert_eq!(all_of(&*open(&folder).await).await, before);
}

/// As after `kill -9`: the first store is never closed, and the second reads its log.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_not_closed_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let left = open(&folder).await;
    contract::changes(&(left.clone() as Arc<dyn Changes>)).await;
    let before = all_of(&left).await;
    let copy = TempDir::new().unwrap();
    for file in ["store.db", "store.db-wal"] {
        fs::copy(folder.path().join(file), copy.path().join(file)).unwrap();
    }
    assert_eq!(all_of(&*open(&copy).await).await, before);
}

#[tokio::test]
async fn nobody_else_may_read_the_files() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.db");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let store = open(&folder).await;
    store.add(&[]).await.unwrap();
    let mut files: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            format!("{:o} {}", entry.metadata().unwrap().permissions().mode(), entry.file_name().display())
        })
        .collect();
    files.sort();
    expect![[r#"
        100600 store.db
        100600 store.db-shm
        100600 store.db-wal"#]]
    .assert_eq(&files.join("\n"));
}

#[tokio::test]
async fn a_path_has_no_special_meaning() {
    let folder = TempDir::new().unwrap();
    for name in [":memory:", "file:a?mode=memory", "a b%20c#d", "naïve ☃.db", "x.db?immutable=1"] {
        let path = folder.path().join(name);
        let store = SqliteStore::open(&path).await.unwrap();
        let count = UsageCount { key: "k".to_owned(), day: "2026-11-21".to_owned(), calls: 1 };
        store.add(&[count]).await.unwrap();
        store.close().await;
        assert!(fs::metadata(&path).unwrap().len() > 4096, "{name}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_the_store_is_refused() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("folder.db")).unwrap();
    fs::write(at("text.db"), "this is no database, but some text\n".repeat(100)).unwrap();
    tamper(&at("foreign.db"), "CREATE TABLE orders (id INTEGER)").await;
    for name in ["newer.db", "altered.db", "torn.db"] {
        SqliteStore::open(&at(name)).await.unwrap().close().await;
    }
    tamper(&at("newer.db"), "INSERT INTO _sqlx_migrations VALUES (5, 'next', '2027-01-01', true, x'00', 1)")
        .await;
    tamper(&at("altered.db"), "UPDATE _sqlx_migrations SET checksum = x'00'").await;
    let torn = fs::read(at("torn.db")).unwrap();
    fs::write(at("torn.db"), &torn[..4096 + 100]).unwrap();
    let mut errors = Vec::new();
    for name in [
        "none/store.db",
        "folder.db",
        "text.db/store.db",
        "text.db",
        "foreign.db",
        "newer.db",
        "altered.db",
        "torn.db",
    ] {
        errors.push(SqliteStore::open(&at(name)).await.err().unwrap());
    }
    check(
        &folder,
        &errors,
        expect![[r#"
            cannot open the store "<folder>/none/store.db": No such file or directory (os error 2); its folder must exist, and this user must be able to write to both
            cannot open the store "<folder>/folder.db": Is a directory (os error 21); its folder must exist, and this user must be able to write to both
            cannot open the store "<folder>/text.db/store.db": Not a directory (os error 20); its folder must exist, and this user must be able to write to both
            cannot open the store "<folder>/text.db": it is damaged or no SQLite database; move it away and put back a copy
            cannot open the store "<folder>/foreign.db": it is the database of another program; choose another file
            cannot open the store "<folder>/newer.db": it was written by a newer version of portcullis (its schema has step 5, this version knows 4); start that version again, or put back a copy from before the upgrade
            cannot open the store "<folder>/altered.db": its schema was made by another build of portcullis (step 1 differs); start the build that made it, or put back a copy from before it
            cannot open the store "<folder>/torn.db": it is damaged or no SQLite database; move it away and put back a copy"#]],
    );
    let text = fs::read(at("text.db")).unwrap();
    assert!(text.starts_with(b"this is no database"), "a refused file is as it was");
}

#[tokio::test]
async fn a_store_that_fails_while_it_is_open_says_where_and_what_to_do() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.db");
    SqliteStore::open(&path).await.unwrap().close().await;
    let mut bytes = fs::read(&path).unwrap();
    bytes[8192..].fill(0xAA);
    fs::write(&path, bytes).unwrap();
    let damaged = SqliteStore::open(&path).await;
    let mut errors = Vec::new();
    match damaged {
        Err(error) => errors.push(error),
        Ok(store) => errors.push(Keys::list(&*store).await.unwrap_err()),
    }
    let second = TempDir::new().unwrap();
    let store = open(&second).await;
    store.close().await;
    let key = LedgerKey { principal: String::new(), tool: String::new(), key: String::new() };
    errors.push(store.by_hash("").await.unwrap_err());
    errors.push(Keys::touch(&*store, &[]).await.unwrap_err());
    errors.push(store.release(&key).await.unwrap_err());
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    let text = lines.join("\n").replace(folder.path().to_str().unwrap(), "<folder>");
    expect![[r#"
        cannot open the store "<folder>/store.db": it is damaged or no SQLite database; move it away and put back a copy
        cannot look up a key in the store "<second>/store.db": it is closed; the server is stopping
        cannot remember when keys were used in the store "<second>/store.db": it is closed; the server is stopping
        cannot give an idempotency key back in the store "<second>/store.db": it is closed; the server is stopping"#]].assert_eq(&text.replace(second.path().to_str().unwrap(), "<second>"));
}

#[tokio::test]
async fn a_first_start_that_was_killed_does_not_stand_in_the_way() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.db");
    tamper(
        &path,
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
         installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, \
         checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)",
    )
    .await;
    assert_eq!(Keys::list(&*open(&folder).await).await.unwrap(), []);
}

/// Nothing in the program can do this; a person with a database tool is told no.
#[tokio::test]
async fn the_journal_is_only_ever_added_to() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    contract::changes(&(store.clone() as Arc<dyn Changes>)).await;
    store.close().await;
    let path = folder.path().join("store.db");
    let mut connection =
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await.unwrap();
    for statement in ["DELETE FROM change_journal", "UPDATE change_journal SET detail = ''"] {
        let error = sqlx::raw_sql(statement).execute(&mut connection).await.unwrap_err();
        assert!(error.to_string().contains("the journal is only ever added to"), "{error}");
    }
}

/// Polls a future so many times; `None` where it was not done by then, and was dropped.
async fn poll_times<T>(polls: u32, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut polled = 0;
    poll_fn(|context| {
        polled += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if polled < polls => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
        }
    })
    .await
}

/// A call that is aborted drops its futures anywhere: nothing may be half-done, and the writer must be free for the
/// next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_dropped_anywhere_is_whole_or_nothing() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    let artefact = |number: u32| Artefact {
        handle: format!("art_{number}"),
        principal: "alice".to_owned(),
        tool: "sql_query".to_owned(),
        content: vec![7; 300_000],
        created_at: now,
        expires_at: now.after(Duration::from_secs(1)),
    };
    let mut dropped = 0;
    for number in 0..150 {
        let artefact = artefact(number);
        let put = poll_times(1 + number % 30, Artefacts::put(&*store, &artefact)).await;
        let slice = Artefacts::read(&*store, &artefact.handle, "alice", 0, u64::MAX, now).await.unwrap();
        assert!(slice.is_none_or(|slice| slice.bytes == artefact.content), "{number}");
        match put {
            Some(done) => done.unwrap(),
            None => dropped += 1,
        }
    }
    assert!(dropped > 0, "every attempt was done before it could be dropped");
    Artefacts::put(&*store, &artefact(150)).await.unwrap();
}
