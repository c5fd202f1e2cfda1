//! The steps that the transactions of the queue are made of.

use rdev_domain::{Command, CommandId, Entry, EntryBody, Error, Outcome, Position, Result, Seq, Timestamp};
use rdev_ports::{Fence, NewCommand};
use sqlx::SqliteConnection;

use crate::error::database;
use crate::events::insert;
use crate::rows::{TaskRow, as_micros, task_columns};

pub(crate) async fn task(tx: &mut SqliteConnection, id: &str) -> Result<Option<TaskRow>> {
    sqlx::query_as(concat!("SELECT ", task_columns!(), " FROM tasks WHERE id = $1"))
        .bind(id)
        .fetch_optional(tx)
        .await
        .map_err(database)
}

/// The unfinished command of a claim that is still the latest.
pub(crate) async fn fenced(tx: &mut SqliteConnection, fence: &Fence) -> Result<(TaskRow, Command)> {
    let row = task(tx, fence.id.as_str()).await?.ok_or(Error::LeaseLost)?;
    let command = row.command()?;
    if row.attempt != fence.attempt || command.state.is_ended() {
        return Err(Error::LeaseLost);
    }
    Ok((row, command))
}

pub(crate) async fn leased(tx: &mut SqliteConnection, id: &CommandId, now: Timestamp) -> Result<bool> {
    sqlx::query_scalar("SELECT lease_owner IS NOT NULL AND lease_until_us >= $1 FROM tasks WHERE id = $2")
        .bind(now.as_micros())
        .bind(id.as_str())
        .fetch_one(tx)
        .await
        .map_err(database)
}

pub(crate) async fn insert_task(tx: &mut SqliteConnection, new: &NewCommand) -> Result<()> {
    let command = &new.command;
    let request = serde_json::to_string(&command.request).map_err(|error| Error::Internal(error.into()))?;
    sqlx::query(
        "INSERT INTO tasks (id, project, stream, kind, request, timeout_us, created_by, created_us,
                            concurrency_key, status)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'pending')",
    )
    .bind(command.id.as_str())
    .bind(command.project.as_str())
    .bind(command.stream.as_str())
    .bind(command.request.kind().as_str())
    .bind(request)
    .bind(as_micros(command.timeout))
    .bind(command.created_by.as_str())
    .bind(command.created_at.as_micros())
    .bind(new.concurrency_key.as_deref())
    .execute(tx)
    .await
    .map_err(|error| match &error {
        sqlx::Error::Database(db) if db.is_unique_violation() => Error::Conflict {
            code: "STREAM_ID_TAKEN",
            message: format!(
                "project {} already has a stream {:?}",
                command.project,
                command.stream.as_str()
            ),
        },
        _ => database(error),
    })?;
    Ok(())
}

/// Ends a command: its row and its last entry.
pub(crate) async fn end(
    tx: &mut SqliteConnection,
    mut command: Command,
    seq: Seq,
    outcome: Outcome,
    now: Timestamp,
) -> Result<(Command, Entry)> {
    command.state = command.state.end(outcome.clone(), now)?;
    sqlx::query(
        "UPDATE tasks SET status = $1, ended_us = $2, exit_code = $3, reason = $4, message = $5,
                          duration_us = $6, last_seq = $7, lease_owner = NULL, lease_until_us = 0
         WHERE id = $8",
    )
    .bind(command.state.status().as_str())
    .bind(now.as_micros())
    .bind(outcome.exit_code)
    .bind(outcome.ending.reason())
    .bind(&outcome.message)
    .bind(as_micros(outcome.duration))
    .bind(seq.0 as i64)
    .bind(command.id.as_str())
    .execute(&mut *tx)
    .await
    .map_err(database)?;
    let complete = entry(&command, seq, now, EntryBody::Complete(outcome));
    let complete = stored(tx, complete).await?;
    Ok((command, complete))
}

pub(crate) fn entry(command: &Command, seq: Seq, at: Timestamp, body: EntryBody) -> Entry {
    Entry {
        position: Position::ZERO,
        project: command.project.clone(),
        command: command.id.clone(),
        stream: command.stream.clone(),
        first_seq: seq,
        last_seq: seq,
        at,
        body,
    }
}

pub(crate) async fn stored(tx: &mut SqliteConnection, mut entry: Entry) -> Result<Entry> {
    entry.position = insert(tx, &entry).await?;
    Ok(entry)
}
