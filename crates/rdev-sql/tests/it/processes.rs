//! Several processes on one file, each played by a store with connections of its own.

use rdev_domain::{Position, Result};
use rdev_ports::testing::{START, command, id, new_command};
use rdev_ports::{EventLog, TaskQueue};
use rdev_sql::SqlStore;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread")]
async fn opening_a_new_file_at_the_same_time_migrates_once() {
    for _ in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let mut opening = JoinSet::new();
        for _ in 0..6 {
            let file = dir.path().join("rdev.db");
            opening.spawn(async move { SqlStore::sqlite(&file).await });
        }
        while let Some(opened) = opening.join_next().await {
            opened.unwrap().unwrap().check().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_never_find_the_database_locked() {
    const COMMANDS: u64 = 200;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rdev.db");
    let mut writing = JoinSet::new();
    for first in [0, COMMANDS] {
        let store = SqlStore::sqlite(&file).await.unwrap();
        writing.spawn(async move { write_commands(&store, first + 1..=first + COMMANDS).await });
    }
    while let Some(written) = writing.join_next().await {
        written.unwrap().unwrap();
    }
    let store = SqlStore::sqlite(&file).await.unwrap();
    let entries = store.read_project(&id("demo"), Position::ZERO, 1000).await.unwrap();
    assert_eq!(entries.len() as u64, 2 * COMMANDS);
}

/// Writes, and reads in between as a server does.
async fn write_commands(store: &SqlStore, numbers: std::ops::RangeInclusive<u64>) -> Result<()> {
    for n in numbers {
        let command = command("demo", n);
        store.enqueue(new_command(command.clone())).await?;
        assert_eq!(store.command(&command.project, &command.id).await?, Some(command));
        if n % 20 == 0 {
            store.claim(&id("worker-1"), 20, START, START).await?;
        }
    }
    Ok(())
}
