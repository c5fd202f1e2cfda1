//! Attempts and jobs end.

use rdev_domain::{
    Ending, Entry, EntryBody, Error, Job, JobId, JobKind, JobState, JobStatus, Outcome, Result, Retrying,
    Seq, Timestamp,
};
use rdev_ports::{Fence, Retry};

use super::heads::{elect, lock_key_of};
use super::rows::{ended_columns, fenced, job_row};
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
        let key = lock_key_of(&mut tx, fence.id.as_str()).await?;
        let (row, job) = match fenced(&mut tx, fence).await {
            Err(Error::LeaseLost) => return finished(&mut tx, fence, seq, &outcome).await,
            found => found?,
        };
        if seq.0 as i64 <= row.last_seq {
            return Err(Error::LeaseLost);
        }
        end(&mut tx, job, key.as_deref(), seq, outcome, now).await.map(|(_, entry)| entry)
    })
}

pub(super) async fn retry(store: &SqlStore, fence: &Fence, retry: Retry, now: Timestamp) -> Result<Entry> {
    write!(&store.db, Commit::Visible, |tx| {
        let key = lock_key_of(&mut tx, fence.id.as_str()).await?;
        let (row, job) = match fenced(&mut tx, fence).await {
            Err(Error::LeaseLost) => return retried(&mut tx, fence, &retry, now).await,
            found => found?,
        };
        let last_seq = Seq(row.last_seq as u64);
        if job.cancel_requested {
            let outcome = Outcome::without_process(Ending::Cancelled, retry.error);
            let ended = end(&mut tx, job, key.as_deref(), last_seq.next(), outcome, now).await?;
            return Ok(ended.1);
        }
        job.state.retry()?;
        requeue(&mut tx, &fence.id, &retry).await?;
        if let Some(key) = &key {
            elect(&mut tx, key, now).await?;
        }
        let attempt = job.schedule.attempts + 1;
        let retrying = Retrying { attempt, reason: retry.reason, message: retry.error, counted: false };
        store_entry(&mut tx, entry(&job, last_seq, now, EntryBody::Retry(retrying))).await
    })
}

const END: &str = concat!(
    "UPDATE jobs AS j SET ",
    ended_columns!("q"),
    ", status = $1, ended_us = $2, exit_code = $3, reason = $4, message = $5, duration_us = $6, last_seq = $7
     FROM queue q WHERE q.id = j.id AND j.id = $8"
);

/// Ends a job: its rows, its concurrency key, which the transaction has locked, and its complete entry.
pub(super) async fn end(
    tx: &mut Tx,
    mut job: Job,
    key: Option<&str>,
    seq: Seq,
    outcome: Outcome,
    now: Timestamp,
) -> Result<(Job, Entry)> {
    job.state = job.state.end(outcome.clone(), now)?;
    let status = job.state.status();
    execute!(
        &mut *tx,
        END,
        status.as_str(),
        now.as_micros(),
        outcome.exit_code,
        outcome.ending.reason(),
        &outcome.message,
        as_micros(outcome.duration),
        seq.0 as i64,
        job.id.as_str(),
    )?;
    execute!(&mut *tx, "DELETE FROM queue WHERE id = $1", job.id.as_str())?;
    if let Some(key) = key {
        elect(&mut *tx, key, now).await?;
    }
    let complete = entry(&job, seq, now, EntryBody::Complete(outcome));
    let complete = store_entry(&mut *tx, complete).await?;
    if job.spec.is_task() {
        weigh_files(&mut *tx, job.id.as_str(), complete.position).await?;
        count_ended(tx, job.spec.kind(), status, 1).await?;
    }
    Ok((job, complete))
}

/// Counts tasks that have ended so: one more, or fewer. The counters are locked last: see `BatchedWrite::SQL`.
pub(crate) async fn count_ended(tx: &mut Tx, kind: JobKind, status: JobStatus, more: i64) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO ended_tasks AS e (kind, status, count) VALUES ($1, $2, $3)
         ON CONFLICT (kind, status) DO UPDATE SET count = e.count + excluded.count",
        kind.as_str(),
        status.as_str(),
        more,
    )
    .map(|_| ())
}

/// Requeues a job for its next attempt, in any pod, and invalidates its claim. An attempt that does not count moves to
/// the earlier ones, which the job's maximum excludes.
async fn requeue(tx: &mut Tx, id: &JobId, retry: &Retry) -> Result<()> {
    execute!(
        tx,
        "UPDATE queue SET started_us = NULL, pod_uid = NULL, worker = NULL, slot = 0, lease_owner = NULL, lease_until_us = 0,
                          postponed_until_us = 0, token = token + 1, reason = NULL, message = NULL, waiting_for = NULL,
                          run_after_us = $1, last_error = $2, earlier_attempts = earlier_attempts + $3
         WHERE id = $4",
        retry.run_after.as_micros(),
        &retry.error,
        i32::from(!retry.counts),
        id.as_str(),
    )
    .map(|_| ())
}

/// Returns the complete entry of a job that this claim has ended with this outcome.
async fn finished(tx: &mut Tx, fence: &Fence, seq: Seq, outcome: &Outcome) -> Result<Entry> {
    let row = job_row(tx, fence.id.as_str()).await?.ok_or(Error::LeaseLost)?;
    let is_same = matches!(row.job()?.state, JobState::Ended { outcome: stored, .. } if stored == *outcome);
    if row.token != fence.token || !is_same {
        return Err(Error::LeaseLost);
    }
    let row = run!(
        tx,
        fetch_optional,
        query_as<EventRow>,
        entries_where!("e.last_seq = $2 AND e.kind = $3 ORDER BY e.position DESC LIMIT 1"),
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
