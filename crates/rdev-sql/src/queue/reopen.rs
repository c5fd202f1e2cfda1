//! Tasks and operations that have ended are reopened.

use rdev_domain::{
    Conflict, EntryBody, Error, IdempotencyKey, Job, JobId, JobState, Outcome, Result, Seq, Target, Timestamp,
};
use rdev_ports::{Occurrence, Reopened};

use super::accept::put_in_queue;
use super::end::count_ended;
use super::heads::{elect, lock};
use super::rows::locked;
use super::{idempotency, read};
use crate::db::{Commit, Tx, execute, write};
use crate::log::entries::{entry, store_entry};
use crate::log::prune::{end_of, unweigh_files};
use crate::log::rows::{FormerEnd, KIND_COMPLETE};
use crate::operations;
use crate::store::SqlStore;

pub(super) async fn reopen(
    store: &SqlStore,
    (target, id): (&Target, &JobId),
    idempotency: Option<&IdempotencyKey>,
    now: Timestamp,
) -> Result<Option<Reopened>> {
    // The key is locked before any row. A job keeps its specification.
    let concurrency_key = read::job(store, target, id).await?.and_then(|job| job.spec.concurrency_key());
    write!(&store.db, Commit::Durable, |tx| {
        if let Some(key) = &concurrency_key {
            lock(&mut tx, key).await?;
        }
        let Some(row) = locked(&mut tx, id.as_str()).await? else {
            return Ok(None);
        };
        let before = row.job()?;
        if before.target() != *target || matches!(target, Target::Project(_)) {
            return Ok(None);
        }
        if idempotency::asked(&mut tx, idempotency, Some(id), now).await? == Occurrence::Repeated {
            return Ok(Some(Reopened::Existing(Box::new(before))));
        }
        let (job, retrying) = before.reopened()?;
        if let Some(request) = job.operation() {
            if let Some(other) = operations::unfinished(&mut tx, &request.key()).await? {
                return Err(other.operation_in_progress());
            }
            if operations::has_a_later_one(&mut tx, request.project(), id).await? {
                let message = "a later operation of the project has completed: request a new operation";
                return Err(Error::conflict(Conflict::OperationNotRetryable, message));
            }
            operations::reopen(&mut tx, id, now).await?;
        }
        if let JobState::Ended { outcome, .. } = &before.state {
            store_former_end(&mut tx, id, outcome).await?;
        }
        requeue(&mut tx, &job).await?;
        if let Some(key) = &concurrency_key {
            elect(&mut tx, key, now).await?;
        }
        let entry = entry(&job, Seq(row.last_seq as u64), now, EntryBody::Retry(retrying));
        let entry = store_entry(&mut tx, entry).await?;
        if job.spec.is_task() {
            count_ended(&mut tx, job.spec.kind(), before.state.status(), -1).await?;
        }
        Ok(Some(Reopened::New(Box::new(job), entry)))
    })
}

/// Puts a job that has ended back in the queue, with what its end has kept.
async fn requeue(tx: &mut Tx, job: &Job) -> Result<()> {
    put_in_queue(&mut *tx, job).await?;
    execute!(
        &mut *tx,
        "UPDATE queue SET token = j.token + 1, attempts = j.attempts, earlier_attempts = $1, last_error = $2,
                          last_seq = j.last_seq
         FROM jobs j WHERE j.id = queue.id AND queue.id = $3",
        job.schedule.earlier_attempts.cast_signed(),
        job.schedule.last_error.as_deref(),
        job.id.as_str(),
    )?;
    execute!(
        tx,
        "UPDATE jobs SET status = NULL, ended_us = NULL, exit_code = NULL, reason = NULL, message = NULL, duration_us = NULL
         WHERE id = $1",
        job.id.as_str(),
    )
    .map(|_| ())
}

/// Copies the outcome of a job from its row, which is about to lose it, to the complete entry.
async fn store_former_end(tx: &mut Tx, id: &JobId, outcome: &Outcome) -> Result<()> {
    let body = serde_json::to_vec(&FormerEnd::of(outcome)).map_err(|error| Error::Internal(error.into()))?;
    let Some(end) = end_of(tx, id.as_str()).await? else { return Ok(()) };
    if end.file_bytes > 0 {
        unweigh_files(tx, &end).await?;
    }
    execute!(
        tx,
        "UPDATE entries SET body = $1 WHERE position = $2 AND kind = $3",
        body,
        end.position,
        KIND_COMPLETE,
    )
    .map(|_| ())
}
