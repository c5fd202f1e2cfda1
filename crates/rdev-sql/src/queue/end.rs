//! Attempts and jobs end.

use rdev_domain::{
    Ending, Entry, EntryBody, Error, Job, JobId, JobState, Outcome, Result, Retrying, Seq, Timestamp,
};
use rdev_ports::{Fence, Retry};

use super::rows::{fenced, task};
use crate::batch::Finish;
use crate::db::{Commit, Tx, execute, run, write};
use crate::log::entries::{entry, store_entry};
use crate::log::prune::weigh_files;
use crate::log::rows::{EventRow, KIND_COMPLETE, KIND_RETRY, entries_where};
use crate::store::SqlStore;
use crate::values::as_micros;

pub(super) async fn finish(
    store: &SqlStore,
    fence: &Fence,
    seq: Seq,
    outcome: Outcome,
    now: Timestamp,
) -> Result<Entry> {
    let outcome = outcome.storable();
    if let Some(batchers) = &store.batchers {
        let step = Finish { fence: fence.clone(), seq, outcome: outcome.clone(), now };
        if let Some(inserted) = batchers.finish.write(step).await?.first() {
            return inserted.entry(now, EntryBody::Complete(outcome));
        }
    }
    write!(&store.db, Commit::Visible, |tx| {
        let (row, job) = match fenced(&mut tx, fence).await {
            Err(Error::LeaseLost) => return finished(&mut tx, fence, seq, &outcome).await,
            found => found?,
        };
        if seq.0 as i64 <= row.last_seq {
            return Err(Error::LeaseLost);
        }
        end(&mut tx, job, seq, outcome, now).await.map(|(_, entry)| entry)
    })
}

pub(super) async fn retry(store: &SqlStore, fence: &Fence, retry: Retry, now: Timestamp) -> Result<Entry> {
    write!(&store.db, Commit::Visible, |tx| {
        let (row, job) = match fenced(&mut tx, fence).await {
            Err(Error::LeaseLost) => return retried(&mut tx, fence, &retry, now).await,
            found => found?,
        };
        let last_seq = Seq(row.last_seq as u64);
        if job.cancel_requested {
            let outcome = Outcome::without_process(Ending::Cancelled, retry.error);
            let ended = end(&mut tx, job, last_seq.next(), outcome, now).await?;
            return Ok(ended.1);
        }
        job.state.retry()?;
        requeue(&mut tx, &fence.id, retry.run_after, Some(&retry.error), retry.counts).await?;
        let attempt = job.schedule.attempts + 1;
        let retrying = Retrying { attempt, reason: retry.reason, message: retry.error, counted: false };
        store_entry(&mut tx, entry(&job, last_seq, now, EntryBody::Retry(retrying))).await
    })
}

/// Ends a job: its row and its complete entry.
pub(super) async fn end(
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
                          duration_us = $6, last_seq = $7, waiting_for = NULL, lease_owner = NULL, lease_until_us = 0
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
    let complete = store_entry(&mut *tx, complete).await?;
    if job.spec.is_task() {
        weigh_files(tx, job.id.as_str(), complete.position).await?;
    }
    Ok((job, complete))
}

/// Requeues a job for its next attempt, in any pod, and invalidates its claim. An attempt that does not count moves to
/// the earlier ones, which the job's maximum excludes.
pub(super) async fn requeue(
    tx: &mut Tx,
    id: &JobId,
    run_after: Timestamp,
    error: Option<&str>,
    counts: bool,
) -> Result<()> {
    execute!(
        tx,
        "UPDATE tasks SET status = 'pending', place_uid = NULL, worker = NULL, started_us = NULL,
                          lease_owner = NULL, lease_until_us = 0, attempt = attempt + 1,
                          reason = NULL, message = NULL, waiting_for = NULL, run_after_us = $1, last_error = $2,
                          earlier_tries = earlier_tries + $3
         WHERE id = $4",
        run_after.as_micros(),
        error,
        i32::from(!counts),
        id.as_str(),
    )
    .map(|_| ())
}

/// Returns the complete entry of a job that this claim has ended with this outcome.
async fn finished(tx: &mut Tx, fence: &Fence, seq: Seq, outcome: &Outcome) -> Result<Entry> {
    let row = task(tx, fence.id.as_str()).await?.ok_or(Error::LeaseLost)?;
    let is_same = matches!(row.job()?.state, JobState::Ended { outcome: stored, .. } if stored == *outcome);
    if row.token != fence.token || !is_same {
        return Err(Error::LeaseLost);
    }
    let row = run!(
        tx,
        fetch_optional,
        query_as<EventRow>,
        entries_where!("e.last_seq = $2 AND e.kind = $3"),
        fence.id.as_str(),
        seq.0.cast_signed(),
        KIND_COMPLETE,
    )?;
    row.ok_or(Error::LeaseLost)?.entry()
}

/// Returns the entry of an attempt that was ended so at this time, also when the next attempt has begun since.
async fn retried(tx: &mut Tx, fence: &Fence, retry: &Retry, now: Timestamp) -> Result<Entry> {
    let row = run!(
        tx,
        fetch_optional,
        query_as<EventRow>,
        entries_where!("e.at_us = $2 AND e.kind IN ($3, $4) ORDER BY e.position DESC LIMIT 1"),
        fence.id.as_str(),
        now.as_micros(),
        KIND_RETRY,
        KIND_COMPLETE,
    )?;
    let entry = row.ok_or(Error::LeaseLost)?.entry()?;
    match retry.is_stored_as(&entry) {
        true => Ok(entry),
        false => Err(Error::LeaseLost),
    }
}
