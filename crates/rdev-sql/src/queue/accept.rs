//! Jobs are accepted, once.

use rdev_domain::{
    Conflict, Entry, EntryBody, Error, IdempotencyKey, Job, JobStatus, Resource, Result, Seq, Timestamp,
};
use rdev_ports::Enqueued;

use super::heads::{elect, lock};
use super::idempotency;
use super::rows::{job_row, run_after_us, stored_spec};
use super::virtual_time::virtual_time_before;
use crate::batch::Enqueue;
use crate::db::{Commit, Tx, execute, run, write};
use crate::error::database;
use crate::log::entries::{entry, store_entry};
use crate::log::rows::{EventRow, entries_where};
use crate::operations;
use crate::store::SqlStore;
use crate::values::{as_micros, column_of, lane_column, project_column};

pub(super) async fn enqueue(
    store: &SqlStore,
    job: &Job,
    idempotency: Option<&IdempotencyKey>,
) -> Result<Enqueued> {
    if let Some(batchers) = &store.batchers
        && idempotency.is_none()
        && job.spec.concurrency_key().is_none()
    {
        let step = Enqueue::try_from(job).map_err(anyhow::Error::from)?;
        if let Some(inserted) = batchers.enqueue.write(step).await?.first() {
            let pending = EntryBody::Status(JobStatus::Pending);
            return inserted.entry(job.created_at, pending).map(Enqueued::New);
        }
        // Alone, the write returns the reason; so do the others below.
    }
    let enqueued = match enqueue_alone(store, job, idempotency).await {
        // The transaction is over: on Postgres a failed one takes no further query.
        Err(refused @ Error::Conflict { conflict: Conflict::StreamIdTaken, .. }) => {
            let stored = write!(&store.db, Commit::Visible, |tx| { accepted(&mut tx, job).await })?;
            Ok(Enqueued::New(stored.ok_or(refused)?))
        }
        answer => answer,
    }?;
    store.db.begin_flush();
    Ok(enqueued)
}

async fn enqueue_alone(
    store: &SqlStore,
    job: &Job,
    idempotency: Option<&IdempotencyKey>,
) -> Result<Enqueued> {
    let concurrency_key = job.spec.concurrency_key();
    write!(&store.db, Commit::Visible, |tx| {
        if let Some(key) = &concurrency_key {
            lock(&mut tx, key).await?;
        }
        if let Some(key) = idempotency {
            let first = idempotency::take(&mut tx, key, Some(job.id.as_str()), job.created_at).await?;
            let first = first.and_then(|first| first.job_id);
            if let Some(id) = first.filter(|id| *id != job.id.as_str()) {
                let row = job_row(&mut tx, &id)
                    .await?
                    .ok_or(Error::NotFound { resource: Resource::Command, id })?;
                return Ok(Enqueued::Existing(Box::new(row.job()?)));
            }
        }
        if let Some(request) = job.operation()
            && let Some(earlier) = operations::unfinished(&mut tx, &request.key()).await?
        {
            if earlier.operation() != Some(request) {
                return Err(earlier.operation_in_progress());
            }
            // The first call of this one, whose answer was lost.
            if earlier.id == job.id
                && let Some(entry) = accepted(&mut tx, job).await?
            {
                return Ok(Enqueued::New(entry));
            }
            if let Some(key) = idempotency {
                idempotency::lead_to(&mut tx, key, earlier.id.as_str()).await?;
            }
            return Ok(Enqueued::Existing(Box::new(earlier)));
        }
        insert_job(&mut tx, job).await?;
        if let Some(key) = &concurrency_key {
            elect(&mut tx, key, job.created_at).await?;
        }
        let entry = entry(job, Seq::ZERO, job.created_at, EntryBody::Status(JobStatus::Pending));
        Ok(Enqueued::New(store_entry(&mut tx, entry).await?))
    })
}

pub(super) async fn first_use(store: &SqlStore, key: &IdempotencyKey, now: Timestamp) -> Result<Timestamp> {
    write!(&store.db, Commit::Visible, |tx| {
        let first = idempotency::take(&mut tx, key, None, now).await?;
        Ok(first.map_or(now, |first| Timestamp::from_micros(first.created_us)))
    })
}

/// Returns the first entry of a job that was accepted before, under this id, with this stream and time.
async fn accepted(tx: &mut Tx, job: &Job) -> Result<Option<Entry>> {
    let row = run!(
        tx,
        fetch_optional,
        query_as<EventRow>,
        entries_where!(
            "e.position > 0 AND j.target = $2 AND j.stream = $3 AND j.created_us = $4 ORDER BY e.position LIMIT 1"
        ),
        job.id.as_str(),
        column_of(&job.spec),
        job.stream.as_str(),
        job.created_at.as_micros(),
    )?;
    row.map(EventRow::entry).transpose()
}

/// Puts a job behind the jobs of its caller for its project.
pub(crate) const ENQUEUE: &str = concat!(
    "INSERT INTO queue (id, lane, kind, project, created_by, created_us, priority, virtual_time, ready, concurrency_key,
                        run_after_us)
     SELECT $5, $1, $6, $3, $2, $7, $4, (",
    virtual_time_before!("$1", "$2", "$3", "$4"),
    ") + 1, $8, $9, $10"
);

/// Stores the rows of a new job.
async fn insert_job(tx: &mut Tx, job: &Job) -> Result<()> {
    let request = stored_spec(&job.spec)?;
    let taken = |what: &str| {
        let message = format!("{} {what} {:?}", job.target(), job.stream.as_str());
        Error::conflict(Conflict::StreamIdTaken, message)
    };
    let refused = |error: sqlx::Error| match &error {
        sqlx::Error::Database(db) if db.is_unique_violation() => taken("already has a stream"),
        _ => database(error),
    };
    if job.stream.as_str() != job.id.as_str() {
        if is_removed(tx, job).await? {
            return Err(taken("had, not long ago, a stream"));
        }
        if is_id(tx, job).await? {
            return Err(taken("already has a stream"));
        }
    }
    let schedule = &job.schedule;
    execute!(
        else refused;
        tx,
        "INSERT INTO jobs (id, target, project, stream, kind, request, timeout_us, created_by, created_us, priority,
                           run_after_us, max_attempts)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        job.id.as_str(),
        column_of(&job.spec),
        project_column(&job.spec),
        job.stream.as_str(),
        job.spec.kind().as_str(),
        request,
        as_micros(job.timeout),
        job.created_by.as_str(),
        job.created_at.as_micros(),
        schedule.priority,
        run_after_us(schedule),
        schedule.max_attempts.cast_signed(),
    )?;
    put_in_queue(tx, job).await
}

/// Stores the row of a job in the queue. One of a concurrency key is out of line until the key has its head.
pub(super) async fn put_in_queue(tx: &mut Tx, job: &Job) -> Result<()> {
    let concurrency_key = job.spec.concurrency_key();
    execute!(
        tx,
        ENQUEUE,
        lane_column(job.target().lane()),
        job.created_by.as_str(),
        project_column(&job.spec),
        job.schedule.priority,
        job.id.as_str(),
        job.spec.kind().as_str(),
        job.created_at.as_micros(),
        concurrency_key.is_none(),
        concurrency_key,
        run_after_us(&job.schedule),
    )
    .map(|_| ())
}

/// Tells whether the name that a caller gave to a stream is the id of another job of the target, whose stream has it.
async fn is_id(tx: &mut Tx, job: &Job) -> Result<bool> {
    run!(
        tx,
        fetch_one,
        query_scalar<bool>,
        "SELECT EXISTS (SELECT 1 FROM jobs WHERE id = $1 AND target = $2 AND stream = id)",
        job.stream.as_str(),
        column_of(&job.spec),
    )
}

/// Tells whether retention has removed a stream of the same name.
async fn is_removed(tx: &mut Tx, job: &Job) -> Result<bool> {
    run!(
        tx,
        fetch_one,
        query_scalar<bool>,
        "SELECT EXISTS (SELECT 1 FROM removed_streams WHERE target = $1 AND stream = $2)",
        column_of(&job.spec),
        job.stream.as_str(),
    )
}
