//! Queries end when they are told to, however they are told, and leave room for others.

use std::time::Instant;

use super::*;

const BOMB: &str = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c";

/// Far more than any of this takes, far less than the bomb.
const SOON: Duration = Duration::from_secs(10);

fn one_reader(folder: &Path) -> Arc<dyn Provider> {
    let mut config = config();
    config.databases.get_mut("shop").unwrap().readers = 1;
    room(folder, &config)
}

fn permit(room: &dyn Provider, sql: &str, time: Duration) -> Permit {
    let tools = room.tools();
    let tool = tools.iter().find(|tool| tool.name.as_str() == "sql_query").unwrap();
    let caller = testkit::caller("tester", PrincipalKind::Human);
    testkit::permit_for(caller, tool, json!({ "sql": sql, "database": "shop" }), time)
}

/// The one connection works again.
async fn check_free(room: &dyn Provider) {
    let began = Instant::now();
    assert!(call_for(room, "sql_query", json!({ "sql": "SELECT 1" }), SOON).await.is_ok());
    assert!(began.elapsed() < SOON);
}

#[tokio::test]
async fn a_query_stops_when_it_is_asked_to() {
    let _quiet = MEMORY.read().await;
    let folder = tempfile::tempdir().unwrap();
    let room = one_reader(folder.path());
    let (source, talk) = testkit::talk_that_stops();
    let began = Instant::now();
    let running = room.run(permit(room.as_ref(), BOMB, Duration::from_secs(600)), talk);
    let asking = async {
        started(room.as_ref()).await;
        source.ask();
    };
    let (result, ()) = tokio::join!(running, asking);
    assert_eq!(result.unwrap_err().code, Code::Cancelled);
    assert!(began.elapsed() < SOON);
    check_free(room.as_ref()).await;
}

#[tokio::test]
async fn a_query_stops_when_nobody_waits_for_it() {
    let _quiet = MEMORY.read().await;
    let folder = tempfile::tempdir().unwrap();
    let room = one_reader(folder.path());
    let running = room.run(permit(room.as_ref(), BOMB, Duration::from_secs(600)), testkit::talk());
    tokio::select! {
        _ = running => panic!("the bomb does not end"),
        () = started(room.as_ref()) => {}
    }
    check_free(room.as_ref()).await;
}

#[tokio::test]
async fn a_query_stops_at_its_deadline_and_a_waiting_one_gives_up() {
    let _quiet = MEMORY.read().await;
    let folder = tempfile::tempdir().unwrap();
    let room = one_reader(folder.path());
    let began = Instant::now();
    let bomb = room.run(permit(room.as_ref(), BOMB, Duration::from_millis(400)), testkit::talk());
    let waiting = async {
        started(room.as_ref()).await;
        room.run(permit(room.as_ref(), "SELECT 1", Duration::from_millis(20)), testkit::talk()).await
    };
    let (bomb, waiting) = tokio::join!(bomb, waiting);
    assert_eq!(bomb.unwrap_err().code, Code::TimedOut);
    expect![[r#"Err((Busy, "every reader of the database \"shop\" is taken; try again"))"#]]
        .assert_eq(&format!("{:?}", waiting.map(|_| ()).map_err(|fault| (fault.code, fault.text))));
    assert!(began.elapsed() < SOON);
    check_free(room.as_ref()).await;
}

/// A statement that has a row at once, and no second one for ever.
const ONE_ROW: &str = "SELECT 7 AS a UNION ALL SELECT count(*) FROM \
    (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c)";

#[tokio::test]
async fn rows_that_there_was_time_for_are_given_and_marked_as_cut_by_time() {
    let _quiet = MEMORY.read().await;
    let folder = tempfile::tempdir().unwrap();
    let room = one_reader(folder.path());
    let soon = Duration::from_millis(600);
    let answer = room.run(permit(room.as_ref(), ONE_ROW, soon), testkit::talk()).await;
    let Reply::Done(outcome) = answer.unwrap() else { panic!() };
    assert_eq!(outcome.cut.as_ref().map(|cut| cut.bound), Some("time"));
    expect![[r#"{"rows":[{"a":7}],"columns":["a"],"row_count":1,"truncated":true,"next_offset":1,"next":"there was no time for all rows; narrow it with WHERE, or ask again with offset 1"}"#]].assert_eq(&outcome.to_json());
    check_free(room.as_ref()).await;
    // The gate asks work to stop when its time is up; that is not a caller who went away.
    let (source, talk) = testkit::talk_that_stops();
    let running = room.run(permit(room.as_ref(), ONE_ROW, soon), talk);
    let asking = async {
        let _ = tokio::time::timeout(soon, std::future::pending::<()>()).await;
        source.ask();
    };
    let (answer, ()) = tokio::join!(running, asking);
    assert!(matches!(answer, Ok(Reply::Done(outcome)) if outcome.cut.is_some()));
    check_free(room.as_ref()).await;
}

#[tokio::test]
async fn a_call_that_was_stopped_before_it_began_does_nothing() {
    let _quiet = MEMORY.read().await;
    let folder = tempfile::tempdir().unwrap();
    let room = one_reader(folder.path());
    let (source, talk) = testkit::talk_that_stops();
    source.ask();
    let result = room.run(permit(room.as_ref(), BOMB, Duration::from_secs(600)), talk).await;
    assert_eq!(result.unwrap_err().code, Code::Cancelled);
    let result = room.run(permit(room.as_ref(), BOMB, Duration::ZERO), testkit::talk()).await;
    assert!(matches!(result.unwrap_err().code, Code::TimedOut | Code::Busy));
}

#[tokio::test]
async fn free_sql_never_takes_the_last_reader() {
    let _quiet = MEMORY.read().await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.databases.get_mut("shop").unwrap().readers = 3;
    let room = room(folder.path(), &config);
    let bomb = || room.run(permit(room.as_ref(), BOMB, Duration::from_secs(600)), testkit::talk());
    let bombs = async { tokio::join!(bomb(), bomb(), bomb(), bomb()) };
    let others = async {
        for _ in 0..20 {
            let answer =
                call_for(room.as_ref(), "get_top_customers", json!({ "limit": 1, "offset": 0 }), SOON).await;
            assert_eq!(answer.unwrap()["total_count"], 3);
        }
    };
    tokio::select! {
        _ = bombs => panic!("bombs do not end"),
        () = others => {}
    }
}

#[tokio::test]
async fn many_queries_at_once_are_all_answered() {
    let _quiet = MEMORY.read().await;
    let folder = tempfile::tempdir().unwrap();
    let room = room(folder.path(), &config());
    let calls = (0..200).map(|n| {
        let room = Arc::clone(&room);
        async move {
            let answer =
                call(room.as_ref(), "sql_query", json!({ "sql": "SELECT ? AS n", "params": [n] })).await;
            assert_eq!(answer.unwrap()["rows"][0]["n"], n);
        }
    });
    let mut tasks = tokio::task::JoinSet::new();
    for call in calls {
        tasks.spawn(call);
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let probe = room.probe().await.remove(0);
    assert!(probe.details["connections"].as_u64().unwrap() <= 4);
}

/// Waits until the one connection is taken: a short call has to wait for it in vain.
async fn started(room: &dyn Provider) {
    loop {
        let permit = permit(room, "SELECT 1", Duration::from_millis(20));
        if room.run(permit, testkit::talk()).await.is_err_and(|fault| fault.code == Code::Busy) {
            return;
        }
    }
}
