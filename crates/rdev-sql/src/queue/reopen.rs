//! Tasks and operations that have ended are reopened.

use rdev_domain::{
    Conflict, EntryBody, Error, IdempotencyKey, JobId, JobState, Outcome, Result, Seq, Target, Timestamp,
};
use rdev_ports::{Occurrence, Reopened};

use super::end::requeue;
use super::idempotency;
use super::rows::{TaskRow, locked};
use super::virtual_time::virtual_time;
use crate::db::{Commit, Tx, execute, write};
use crate::log::entries::{entry, store_entry};
use crate::log::prune::unweigh_files;
use crate::log::rows::{FormerEnd, KIND_COMPLETE};
use crate::operations;
use crate::store::SqlStore;

pub(super) async fn reopen(
    store: &SqlStore,
    (target, id): (&Target, &JobId),
    idempotency: Option<&IdempotencyKey>,
    now: Timestamp,
) -> Result<Option<Reopened>> {
    write!(&store.db, Commit::Durable, |tx| {
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
            if operations::has_a_later_one(&mut tx, &request.key(), id).await? {
                let message = "a later operation of the project has completed: request a new operation";
                return Err(Error::conflict(Conflict::OperationNotRetryable, message));
            }
            operations::reopen(&mut tx, id, now).await?;
        }
        if let JobState::Ended { outcome, .. } = &before.state {
            store_former_end(&mut tx, &row, outcome).await?;
        }
        let virtual_time = virtual_time(&mut tx, &job).await?;
        requeue(&mut tx, id, Timestamp::from_micros(0), job.schedule.last_error.as_deref(), true).await?;
        execute!(
            &mut tx,
            "UPDATE tasks SET turn = $1, earlier_tries = tries, cancel_requested = FALSE, ended_us = NULL,
                              exit_code = NULL, reason = NULL, message = NULL, duration_us = NULL
             WHERE id = $2",
            virtual_time,
            id.as_str(),
        )?;
        let entry = entry(&job, Seq(row.last_seq as u64), now, EntryBody::Retry(retrying));
        Ok(Some(Reopened::New(Box::new(job), store_entry(&mut tx, entry).await?)))
    })
}

/// Copies the outcome of a task from its row, which is about to lose it, to the complete entry.
async fn store_former_end(tx: &mut Tx, row: &TaskRow, outcome: &Outcome) -> Result<()> {
    let body = serde_json::to_vec(&FormerEnd::of(outcome)).map_err(|error| Error::Internal(error.into()))?;
    unweigh_files(tx, &row.id, row.last_seq).await?;
    execute!(
        tx,
        "UPDATE events SET body = $1 WHERE task_id = $2 AND last_seq = $3 AND kind = $4",
        body,
        &row.id,
        row.last_seq,
        KIND_COMPLETE,
    )
    .map(|_| ())
}
