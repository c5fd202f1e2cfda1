//! Three servers on one Postgres, which die again and again while they work, and Postgres with them.
//!
//! What must hold afterwards is simple: every accepted task has ended, has run exactly as often as it says,
//! and every server tells the same whole stream of it. `scripts/chaos-replicas.sh` runs it at full size.

mod servers;

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use crate::oracle::{Clients, Manners, Severity, Task, seed};
use crate::support::PrivatePostgres;
use servers::Servers;

/// Number of tasks and faults.
#[derive(Debug, Clone, Copy)]
struct Size {
    tasks: usize,
    kills: u32,
    /// Workers of the pool.
    workers: usize,
    /// Longest time from the first task until every one has ended.
    patience: Duration,
}

const SMALL: Size = Size { tasks: 150, kills: 8, workers: 8, patience: Duration::from_secs(180) };
const FULL: Size = Size { tasks: 5_000, kills: 60, workers: 24, patience: Duration::from_secs(1_800) };

/// Time from one kill of a server to the next.
const KILL_EVERY: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_death_of_a_server_or_of_postgres_loses_or_repeats_anything() {
    chaos(SMALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full size: scripts/chaos-replicas.sh"]
async fn no_death_loses_or_repeats_anything_at_full_size() {
    chaos(FULL).await;
}

async fn chaos(size: Size) {
    let mut random = Rng::with_seed(seed("RDEV_CHAOS_SEED"));
    let postgres = PrivatePostgres::start().await;
    let replicas = Servers::start(&postgres, size).await;
    let tasks: Vec<Task> = (0..size.tasks).map(|number| Task::drawn(number, &mut random)).collect();
    let clients = Clients::new(replicas.addresses(), replicas.marks(), size.patience, Manners::Usual);

    let begun = Instant::now();
    let projects = clients.follow_projects(&tasks);
    let disturbing = async {
        replicas.disturb(&postgres, size, &mut random).await;
        println!("{} kills and two restarts of Postgres: {:?}", size.kills, begun.elapsed());
    };
    let (accepted, ()) = tokio::join!(clients.post_all(tasks, KILL_EVERY * size.kills), disturbing);
    println!("{} tasks accepted: {:?}", accepted.len(), begun.elapsed());
    let verdict = Severity::over(accepted, &clients, begun + size.patience).await;
    println!("all have ended: {:?}", begun.elapsed());
    verdict.each_ran_as_often_as_it_says();
    verdict.none_is_stored_twice().await;
    let lines = verdict.every_server_tells_the_same_streams().await;
    let followed = verdict.followers_saw_the_same(projects).await;
    println!("{lines} lines read from each server, {followed} streams followed: {:?}", begun.elapsed());
    replicas.end().await;
}
