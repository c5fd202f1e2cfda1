//! The steps that the transactions of the queue are made of.

use rdev_domain::{Entry, EntryBody, Error, Job, JobId, Outcome, Result, Schedule, Seq, Timestamp};
use rdev_ports::{Fence, NewJob};

use crate::db::{Tx, execute, run};
use crate::entries::{entry, stored};
use crate::error::database;
use crate::retention::weigh_files;
use crate::rows::{TaskRow, as_micros, task_columns};
use crate::target::{column_of, stored_spec};

macro_rules! task {
    ($lock:literal) => {
        concat!("SELECT ", task_columns!(), " FROM tasks WHERE id = $1", $lock)
    };
}

pub(crate) async fn task(tx: &mut Tx, id: &str) -> Result<Option<TaskRow>> {
    run!(tx, fetch_optional, query_as<TaskRow>, task!(""), id)
}

/// As [`task`], for what is decided by the row and then written to it: nobody changes it in between.
pub(crate) async fn locked(tx: &mut Tx, id: &str) -> Result<Option<TaskRow>> {
    let sql = match tx {
        // There is one writer.
        Tx::Sqlite(_) => task!(""),
        Tx::Postgres(_) => task!(" FOR UPDATE"),
    };
    run!(tx, fetch_optional, query_as<TaskRow>, sql, id)
}

/// The unfinished command of a claim that is still the latest.
pub(crate) async fn fenced(tx: &mut Tx, fence: &Fence) -> Result<(TaskRow, Job)> {
    let row = locked(tx, fence.id.as_str()).await?.ok_or(Error::LeaseLost)?;
    let job = row.job()?;
    if row.attempt != fence.token || job.state.is_ended() {
        return Err(Error::LeaseLost);
    }
    Ok((row, job))
}

pub(crate) async fn leased(tx: &mut Tx, id: &JobId, now: Timestamp) -> Result<bool> {
    run!(
        tx,
        fetch_one,
        query_scalar<bool>,
        "SELECT lease_owner IS NOT NULL AND lease_until_us >= $1 FROM tasks WHERE id = $2",
        now.as_micros(),
        id.as_str(),
    )
}

pub(crate) async fn insert_task(tx: &mut Tx, new: &NewJob) -> Result<()> {
    let job = &new.job;
    let request = stored_spec(&job.spec)?;
    let taken = |what: &str| Error::Conflict {
        conflict: rdev_domain::Conflict::StreamIdTaken,
        message: format!("{} {what} {:?}", job.target(), job.stream.as_str()),
    };
    let refused = |error: sqlx::Error| match &error {
        sqlx::Error::Database(db) if db.is_unique_violation() => taken("already has a stream"),
        _ => database(error),
    };
    if job.stream.as_str() != job.id.as_str() && is_removed(tx, job).await? {
        return Err(taken("had, not long ago, a stream"));
    }
    let turn = turn(tx, job).await?;
    let schedule = &job.schedule;
    execute!(
        else refused;
        tx,
        "INSERT INTO tasks (id, project, stream, kind, request, timeout_us, created_by, created_us,
                            concurrency_key, pool, share, priority, turn, run_after_us, max_attempts, status)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 'pending')",
        job.id.as_str(),
        column_of(&job.spec),
        job.stream.as_str(),
        job.spec.kind().as_str(),
        request,
        as_micros(job.timeout),
        job.created_by.as_str(),
        job.created_at.as_micros(),
        new.concurrency_key.as_deref(),
        job.spec.is_task(),
        share(job),
        schedule.priority,
        turn,
        run_after_us(schedule),
        schedule.max_attempts.cast_signed(),
    )?;
    Ok(())
}

/// Tells whether retention has removed a stream of that name.
async fn is_removed(tx: &mut Tx, job: &Job) -> Result<bool> {
    run!(
        tx,
        fetch_one,
        query_scalar<bool>,
        "SELECT EXISTS (SELECT 1 FROM removed_streams WHERE project = $1 AND stream = $2)",
        column_of(&job.spec),
        job.stream.as_str(),
    )
}

pub(crate) fn run_after_us(schedule: &Schedule) -> i64 {
    schedule.run_after.map_or(0, Timestamp::as_micros)
}

/// The project among which turns are taken; empty for none.
pub(crate) fn share(job: &Job) -> &str {
    job.spec.project().map_or("", rdev_domain::ProjectId::as_str)
}

/// After all of its caller and project, and not before those that had their turn: the last that runs, and the
/// one before the next.
macro_rules! turn_in {
    ($queue_position:literal, $pool:literal, $created_by:literal, $share:literal, $priority:literal) => {
        concat!(
            "SELECT COALESCE(MAX(turn), 0) + 1 FROM (
                 SELECT MAX(turn) AS turn FROM tasks
                 WHERE status IN ('pending', 'running') AND pool = ",
            $pool,
            " AND created_by = ",
            $created_by,
            " AND share = ",
            $share,
            " AND priority = ",
            $priority,
            " UNION ALL
                 SELECT MAX(turn) FROM tasks WHERE status = 'running' AND pool = ",
            $pool,
            " AND priority = ",
            $priority,
            " UNION ALL
                 SELECT MIN(turn) - 1 FROM tasks WHERE ",
            $queue_position,
            " AND priority = ",
            $priority,
            ") AS turns"
        )
    };
}
pub(crate) use turn_in;

macro_rules! turn_of_command {
    ($pool:literal, $($of:literal),+) => {
        $crate::tasks::turn_in!("status IN ('pending', 'running') AND NOT pool", $pool, $($of),+)
    };
}
pub(crate) use turn_of_command;

macro_rules! turn_of_task {
    ($pool:literal, $($of:literal),+) => {
        $crate::tasks::turn_in!("status = 'pending' AND pool", $pool, $($of),+)
    };
}
pub(crate) use turn_of_task;

// As a query of its own Postgres does not look at its value, and not at the whole line for a caller who is new.
pub(crate) const TURN_OF_COMMAND: &str = turn_of_command!("(SELECT $1)", "$2", "$3", "$4");
pub(crate) const TURN_OF_TASK: &str = turn_of_task!("(SELECT $1)", "$2", "$3", "$4");

pub(crate) async fn turn(tx: &mut Tx, job: &Job) -> Result<i64> {
    let pool = job.spec.is_task();
    run!(
        tx,
        fetch_one,
        query_scalar<i64>,
        if pool { TURN_OF_TASK } else { TURN_OF_COMMAND },
        pool,
        job.created_by.as_str(),
        share(job),
        job.schedule.priority,
    )
}

/// Has a command wait for its next attempt, in whatever place. Its claim is worthless from then on. An attempt that does
/// not count is one before those that it may have.
pub(crate) async fn requeue(
    tx: &mut Tx,
    id: &JobId,
    run_after: Timestamp,
    error: &str,
    counts: bool,
) -> Result<()> {
    execute!(
        tx,
        "UPDATE tasks SET status = 'pending', place_uid = NULL, worker = NULL, started_us = NULL,
                          lease_owner = NULL, lease_until_us = 0, attempt = attempt + 1,
                          reason = NULL, message = NULL, run_after_us = $1, last_error = $2,
                          earlier_tries = earlier_tries + $3
         WHERE id = $4",
        run_after.as_micros(),
        error,
        i32::from(!counts),
        id.as_str(),
    )
    .map(|_| ())
}

/// Ends a command: its row and its last entry.
pub(crate) async fn end(
    tx: &mut Tx,
    mut job: Job,
    seq: Seq,
    outcome: Outcome,
    now: Timestamp,
) -> Result<(Job, Entry)> {
    job.state = job.state.end(outcome.clone(), now)?;
    execute!(
        &mut *tx,
        "UPDATE tasks SET status = $1, ended_us = $2, exit_code = $3, reason = $4, message = $5,
                          duration_us = $6, last_seq = $7, lease_owner = NULL, lease_until_us = 0
         WHERE id = $8",
        job.state.status().as_str(),
        now.as_micros(),
        outcome.exit_code,
        outcome.ending.reason(),
        &outcome.message,
        as_micros(outcome.duration),
        seq.0 as i64,
        job.id.as_str(),
    )?;
    let complete = entry(&job, seq, now, EntryBody::Complete(outcome));
    let complete = stored(&mut *tx, complete).await?;
    if job.spec.is_task() {
        weigh_files(tx, job.id.as_str(), complete.position).await?;
    }
    Ok((job, complete))
}
