//! What a record costs: CPU time of the whole process for each, over all its threads, written one after another
//! and by fifty callers at once. Run it in the profile that matters:
//! `cargo run --profile dist -p audit --example cost -- 200000`.

#![allow(clippy::print_stdout, reason = "a bench prints")]

use std::{error::Error, sync::Arc, time::Instant};

use audit::{Audit, Config, Durability, Record};
use serde_json::json;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let count: u64 = std::env::args().nth(1).as_deref().unwrap_or("20000").parse()?;
    for callers in [1, 50] {
        let dir = tempfile::tempdir()?;
        let audit = Audit::open(dir.path(), &Config::default(), testkit::ManualClock::new())?;
        let (cpu, wall) = (cpu_ms()?, Instant::now());
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..callers {
            let audit = audit.clone();
            tasks.spawn(async move {
                for n in 0..count / callers {
                    audit.write(record(n), Durability::Written).await.expect("the disk takes it");
                }
            });
        }
        tasks.join_all().await;
        let (cpu_after, wall) = (cpu_ms()?, wall.elapsed());
        audit.close().await?;
        let [user, system] = [0, 1].map(|i| (cpu_after[i] - cpu[i]) * 1_000_000 / count);
        let rate = count as f64 / wall.as_secs_f64();
        println!(
            "{callers} callers: {user} ns user and {system} ns system CPU a record, {rate:.0} records a second"
        );
        let wall = Instant::now();
        let report = audit::verify(dir.path())?;
        let rate = report.records as f64 / wall.elapsed().as_secs_f64();
        println!("verified {} records, {rate:.0} a second, problem: {:?}", report.records, report.problem);
    }
    Ok(())
}

fn record(n: u64) -> Record {
    let body = json!({
        "request_id": "0199a3f2-7c1e-7d40-9c52-6a1f0f3b2c11", "principal": "alice", "tool": "get_customer",
        "face": "rest", "params": { "customer_id": n }, "result_size": 84, "duration_ms": 3, "outcome": "ok",
        "rules": "b3:5cd9bd353432da146c9e8ead66976c0c",
    });
    let clock: Arc<dyn tool::Clock> = testkit::ManualClock::new();
    Record {
        at: clock.now(),
        event: "call.outcome",
        body: body.as_object().cloned().unwrap_or_default().into(),
    }
}

/// User and system time of this process so far, in milliseconds, in steps of 10.
fn cpu_ms() -> Result<[u64; 2], Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    Ok([fields[11].parse::<u64>()? * 10, fields[12].parse::<u64>()? * 10])
}
