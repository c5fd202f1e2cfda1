//! A row that this version cannot read is an error that names it, never a panic.

use rdev_domain::{Error, Position};
use rdev_ports::testing::{START, job};
use rdev_ports::{EventLog, Follower, LogFollower, Rest, TaskQueue};
use rdev_sql::SqlStore;

use crate::{On, Place, on_both};

on_both! {
    a_command,
    an_entry,
    an_entry_among_those_of_a_follower,
}

/// A store with one command, and a change to its tables made behind its back.
async fn damaged(on: On, change: &str) -> (SqlStore, Place) {
    let (store, place) = on.fresh().await;
    store.enqueue(&job("demo", 1), None).await.unwrap();
    place.run(change).await;
    (store, place)
}

fn assert_names<T: std::fmt::Debug>(result: Result<T, Error>, row: &str, value: &str) {
    let Err(Error::Internal(source)) = result else {
        panic!("{value} was read: {result:?}");
    };
    let message = format!("{source:#}");
    assert!(message.contains(row) && message.contains(value), "{message}");
}

async fn a_command(on: On) {
    let changes = [
        ("DELETE FROM queue; UPDATE jobs SET status = 'paused'", "paused"),
        ("DELETE FROM queue; UPDATE jobs SET status = 'running'", "running"),
        (
            "DELETE FROM queue; UPDATE jobs SET status = 'failed', reason = 'bad_luck', ended_us = 1",
            "bad_luck",
        ),
        ("UPDATE queue SET started_us = 1, waiting_for = 'luck'", "luck"),
        ("DELETE FROM queue; UPDATE jobs SET status = 'completed'", "completed"),
        ("UPDATE jobs SET request = '{\"type\":\"dream\"}'", "request"),
        ("UPDATE jobs SET created_by = 'no key'", "no key"),
    ];
    let job = job("demo", 1);
    for (change, value) in changes {
        let (store, _place) = damaged(on, change).await;
        let found = store.job(&job.target(), &job.id).await;
        assert_names(found, job.id.as_str(), value);
    }
}

async fn an_entry(on: On) {
    let (not_a_status, no_body) = match on {
        On::Sqlite => ("UPDATE entries SET body = x'ff'", "UPDATE entries SET kind = 'complete', body = x''"),
        On::Postgres => {
            ("UPDATE entries SET body = '\\xff'", "UPDATE entries SET kind = 'complete', body = '\\x'")
        }
    };
    let changes = [
        ("UPDATE entries SET kind = 'rumour'", "rumour"),
        (not_a_status, "status"),
        (no_body, "ending"),
        ("UPDATE entries SET kind = 'complete'", "former end"),
        ("UPDATE jobs SET stream = 'a b'", "a b"),
    ];
    let job = job("demo", 1);
    for (change, value) in changes {
        let (store, _place) = damaged(on, change).await;
        let read = store.read_job(&job.id, Position::ZERO, 10).await;
        assert_names(read, "entry ", value);
        let read = store.read_view(&rdev_ports::testing::log_of("demo"), Position::ZERO, 10).await;
        assert_names(read, "entry ", value);
    }
}

async fn an_entry_among_those_of_a_follower(on: On) {
    const FOLLOWER: Follower = Follower::new("test");
    let (store, place) = on.fresh().await;
    let begin = store.open(FOLLOWER, START).await.unwrap();
    for n in 1..=3 {
        store.enqueue(&job("demo", n), None).await.unwrap();
    }
    let damaged = job("demo", 2).id;
    place.run(&format!("UPDATE entries SET kind = 'rumour' WHERE job_id = '{damaged}'")).await;
    let batch = store.read(FOLLOWER, begin, 10).await.unwrap();
    let jobs: Vec<_> = batch.entries.iter().map(|told| &told.entry.job).collect();
    assert_eq!((jobs, batch.rest), (vec![&job("demo", 1).id], Rest::More));
    assert_eq!(batch.next, batch.entries[0].entry.position);
    assert_names(store.read(FOLLOWER, batch.next, 10).await, "entry ", "rumour");
}

#[tokio::test]
async fn a_value_of_another_type() {
    // SQLite takes anything everywhere; Postgres holds its types.
    let (store, _place) = damaged(On::Sqlite, "UPDATE jobs SET created_us = 'yesterday'").await;
    let job = job("demo", 1);
    assert_names(store.job(&job.target(), &job.id).await, "", "created_us");
}
