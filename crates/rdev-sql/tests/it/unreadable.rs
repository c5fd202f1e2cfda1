//! A row that this version cannot read is an error that names it, never a panic.

use rdev_domain::{Error, Position};
use rdev_ports::testing::{command, new_command};
use rdev_ports::{EventLog, TaskQueue};
use rdev_sql::SqlStore;
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use crate::fresh;

/// A store with one command, and a change to its tables made behind its back.
async fn damaged(change: &'static str) -> anyhow::Result<(SqlStore, TempDir)> {
    let (store, dir) = fresh().await;
    store.enqueue(new_command(command("demo", 1))).await?;
    let url = format!("sqlite://{}", dir.path().join("rdev.db").display());
    let mut connection = SqliteConnection::connect(&url).await?;
    sqlx::query(change).execute(&mut connection).await?;
    connection.close().await?;
    Ok((store, dir))
}

fn assert_names<T: std::fmt::Debug>(result: Result<T, Error>, row: &str, value: &str) {
    let Err(Error::Internal(source)) = result else {
        panic!("{value} was read: {result:?}");
    };
    let message = format!("{source:#}");
    assert!(message.contains(row) && message.contains(value), "{message}");
}

#[tokio::test]
async fn a_command() {
    let changes = [
        ("UPDATE tasks SET status = 'paused'", "paused"),
        ("UPDATE tasks SET status = 'running'", "running"),
        ("UPDATE tasks SET status = 'failed', reason = 'bad_luck', ended_us = 1", "bad_luck"),
        ("UPDATE tasks SET status = 'completed'", "completed"),
        ("UPDATE tasks SET request = '{\"type\":\"dream\"}'", "request"),
        ("UPDATE tasks SET created_by = 'no key'", "no key"),
        ("UPDATE tasks SET created_us = 'yesterday'", "created_us"),
    ];
    let command = command("demo", 1);
    for (change, value) in changes {
        let (store, _dir) = damaged(change).await.unwrap();
        let found = store.command(&command.project, &command.id).await;
        let row = if value == "created_us" { "" } else { command.id.as_str() };
        assert_names(found, row, value);
    }
}

#[tokio::test]
async fn an_entry() {
    let changes = [
        ("UPDATE events SET kind = 'rumour'", "rumour"),
        ("UPDATE events SET body = x'ff'", "status"),
        ("UPDATE events SET kind = 'complete'", "ending"),
        ("UPDATE tasks SET stream = 'a b'", "a b"),
    ];
    let command = command("demo", 1);
    for (change, value) in changes {
        let (store, _dir) = damaged(change).await.unwrap();
        let read = store.read_command(&command.id, Position::ZERO, 10).await;
        assert_names(read, "event 1", value);
        let read = store.read_project(&command.project, Position::ZERO, 10).await;
        assert_names(read, "event 1", value);
    }
}
