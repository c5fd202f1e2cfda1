//! Several processes on one database, each played by a store with connections of its own.

use std::sync::Arc;

use rdev_domain::{Position, Result};
use rdev_ports::testing::{START, agent, id, job, slots};
use rdev_ports::{EventLog, TaskLeases, TaskQueue};
use rdev_sql::SqlStore;
use tokio::task::JoinSet;

use crate::{On, Place, on_both};

on_both! {
    opening_what_is_new_at_the_same_time_migrates_once,
    two_writers_never_find_the_database_locked,
}

async fn opening_what_is_new_at_the_same_time_migrates_once(on: On) {
    for _ in 0..10 {
        let place = Arc::new(on.place().await);
        let mut opening = JoinSet::new();
        for _ in 0..6 {
            let place = place.clone();
            opening.spawn(async move { place.open().await });
        }
        while let Some(opened) = opening.join_next().await {
            opened.unwrap().unwrap().check().await.unwrap();
        }
    }
}

async fn two_writers_never_find_the_database_locked(on: On) {
    const COMMANDS: u64 = 200;
    let place = on.place().await;
    let mut writing = JoinSet::new();
    for first in [0, COMMANDS] {
        let store = place.open().await.unwrap();
        writing.spawn(async move { write_commands(&store, first + 1..=first + COMMANDS).await });
    }
    while let Some(written) = writing.join_next().await {
        written.unwrap().unwrap();
    }
    let store = place.open().await.unwrap();
    let entries = store.read_view(&rdev_ports::testing::log_of("demo"), Position::ZERO, 1000).await.unwrap();
    assert_eq!(entries.len() as u64, 2 * COMMANDS);
}

/// Writes, and reads in between as a server does.
async fn write_commands(store: &SqlStore, numbers: std::ops::RangeInclusive<u64>) -> Result<()> {
    for n in numbers {
        let job = job("demo", n);
        store.enqueue(&job, None).await?;
        assert_eq!(store.job(&job.target(), &job.id).await?, Some(job));
        if n % 20 == 0 {
            store.claim(&id("worker-1"), slots(20), START, START).await?;
        }
    }
    Ok(())
}

/// The head of a key is decided under the key's lock, which claims do not take. Here another process has claimed the newer
/// command, and an older one comes in before that claim is committed: it waits for the claim, and is not ready beside it.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_command_waits_for_another_process_claim_of_the_key() {
    let (store, place) = On::Postgres.fresh().await;
    let Place::Postgres(database) = &place else { panic!("Postgres was asked for") };
    store.enqueue(&agent("demo", 2), None).await.unwrap();
    let mut other = database.connect().await;
    let claim = "BEGIN; INSERT INTO lease_owners VALUES ('worker-2', 9000000000000000);
        UPDATE queue SET lease_owner = 'worker-2'";
    sqlx::raw_sql(claim).execute(&mut other).await.unwrap();
    let accepting = tokio::spawn({
        let store = store.clone();
        async move { store.enqueue(&agent("demo", 1), None).await }
    });
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'";
    while !accepting.is_finished() {
        let waiting: i64 = sqlx::query_scalar(waits).fetch_one(&mut other).await.unwrap();
        if waiting > 0 {
            break;
        }
    }
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    accepting.await.unwrap().unwrap();
    let claims = store.claim(&id("worker-1"), slots(10), START, START).await.unwrap();
    assert!(claims.is_empty(), "two of a key are claimed: {claims:?}");
}
