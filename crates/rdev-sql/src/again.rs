//! Writes that come again because their answer was lost: they are told what was stored the first time.

use rdev_domain::{Chunk, Entry, Error, Job, JobState, Outcome, Result, Seq, Timestamp};
use rdev_ports::{Fence, Retry};

use crate::db::{Tx, run};
use crate::rows::{EventRow, KIND_COMPLETE, KIND_OUTPUT, KIND_RETRY, KIND_STATUS, event_columns};
use crate::target::column_of;
use crate::tasks::task;

/// The entries of a task that match the rest of the condition; `$1` is the task.
macro_rules! entries {
    ($that:literal) => {
        concat!(
            "SELECT ",
            event_columns!(),
            " FROM events e JOIN tasks t ON t.id = e.task_id WHERE e.task_id = $1 AND ",
            $that
        )
    };
}

/// The first entry of a command that was accepted under this id before, with this name at this moment.
pub(crate) async fn accepted(tx: &mut Tx, job: &Job) -> Result<Option<Entry>> {
    let row = run!(
        tx,
        fetch_optional,
        query_as<EventRow>,
        entries!(
            "e.position > 0 AND t.project = $2 AND t.stream = $3 AND t.created_us = $4 ORDER BY e.position LIMIT 1"
        ),
        job.id.as_str(),
        column_of(&job.spec),
        job.stream.as_str(),
        job.created_at.as_micros(),
    )?;
    row.map(EventRow::entry).transpose()
}

/// The entry of a start: the last one that says `running`.
pub(crate) async fn started(tx: &mut Tx, fence: &Fence, last_seq: Seq) -> Result<Option<Entry>> {
    let row = run!(
        tx,
        fetch_optional,
        query_as<EventRow>,
        entries!("e.last_seq = $2 AND e.kind = $3 ORDER BY e.position DESC LIMIT 1"),
        fence.id.as_str(),
        last_seq.0.cast_signed(),
        KIND_STATUS,
    )?;
    row.map(EventRow::entry).transpose()
}

/// The entries of output that this claim has stored last.
pub(crate) async fn appended(tx: &mut Tx, fence: &Fence, chunks: &[Chunk]) -> Result<Vec<Entry>> {
    let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else {
        return Ok(Vec::new());
    };
    let row = task(tx, fence.id.as_str()).await?.ok_or(Error::LeaseLost)?;
    if row.attempt != fence.token || row.last_seq != last.last_seq.0.cast_signed() {
        return Err(Error::LeaseLost);
    }
    let rows = run!(
        tx,
        fetch_all,
        query_as<EventRow>,
        entries!("e.last_seq >= $2 AND e.kind = $3 ORDER BY e.position"),
        fence.id.as_str(),
        first.last_seq.0.cast_signed(),
        KIND_OUTPUT,
    )?;
    let entries = rows.into_iter().map(EventRow::entry).collect::<Result<Vec<_>>>()?;
    let numbers = entries.iter().map(|entry| (entry.first_seq, entry.last_seq));
    match numbers.eq(chunks.iter().map(|chunk| (chunk.first_seq, chunk.last_seq))) {
        true => Ok(entries),
        false => Err(Error::LeaseLost),
    }
}

/// The complete entry of a command that this claim has ended so.
pub(crate) async fn finished(tx: &mut Tx, fence: &Fence, seq: Seq, outcome: &Outcome) -> Result<Entry> {
    let row = task(tx, fence.id.as_str()).await?.ok_or(Error::LeaseLost)?;
    let so = matches!(row.job()?.state, JobState::Ended { outcome: stored, .. } if stored == *outcome);
    if row.attempt != fence.token || !so {
        return Err(Error::LeaseLost);
    }
    let row = run!(
        tx,
        fetch_optional,
        query_as<EventRow>,
        entries!("e.last_seq = $2 AND e.kind = $3"),
        fence.id.as_str(),
        seq.0.cast_signed(),
        KIND_COMPLETE,
    )?;
    row.ok_or(Error::LeaseLost)?.entry()
}

/// The entry of an attempt that was ended at this moment, also when the next one has begun since.
pub(crate) async fn retried(tx: &mut Tx, fence: &Fence, retry: &Retry, now: Timestamp) -> Result<Entry> {
    let row = run!(
        tx,
        fetch_optional,
        query_as<EventRow>,
        entries!("e.at_us = $2 AND e.kind IN ($3, $4) ORDER BY e.position DESC LIMIT 1"),
        fence.id.as_str(),
        now.as_micros(),
        KIND_RETRY,
        KIND_COMPLETE,
    )?;
    let entry = row.ok_or(Error::LeaseLost)?.entry()?;
    match retry.is_told_by(&entry) {
        true => Ok(entry),
        false => Err(Error::LeaseLost),
    }
}
