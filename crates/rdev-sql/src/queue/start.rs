//! Claimed jobs are started.

use rdev_domain::{Entry, EntryBody, Error, Job, JobState, JobStatus, Result, Seq, Timestamp};
use rdev_ports::{Fence, Slot, StartAnswer, Started};

use super::rows::fenced;
use crate::batch::Start;
use crate::db::{Commit, Tx, execute, run, write};
use crate::error::is_unique_violation;
use crate::log::entries::{entry, store_entry};
use crate::log::rows::{EventRow, KIND_STATUS, entries_where};
use crate::store::SqlStore;

pub(super) async fn start(
    store: &SqlStore,
    fence: &Fence,
    pod_uid: &str,
    slot: Option<&Slot>,
    now: Timestamp,
) -> Result<StartAnswer> {
    if let Some(batchers) = &store.batchers
        && slot.is_none()
    {
        let step = Start { fence: fence.clone(), pod_uid: pod_uid.to_owned(), now };
        if let Some(started) = batchers.start.write(step).await?.pop() {
            let running = EntryBody::Status(JobStatus::Running);
            return Ok(StartAnswer::Started(Box::new(Started {
                entry: Some(started.inserted.entry(now, running)?),
                pod_uid: started.pod_uid,
                slot: None,
                started_at: now,
                attempt: started.attempts.unsigned_abs(),
                cancel_requested: started.cancel_requested,
            })));
        }
    }
    let started = write!(&store.db, Commit::Visible, |tx| {
        let (row, job) = fenced(&mut tx, fence).await?;
        let JobState::Running { started_at, .. } = job.state.start(now)? else {
            return Err(Error::LeaseLost);
        };
        let (kept, attempts) = (row.slot()?, row.attempts.unsigned_abs());
        let pod_uid = row.pod_uid.unwrap_or_else(|| pod_uid.to_owned());
        let cancel_requested = job.cancel_requested;
        let last_seq = Seq(row.last_seq as u64);
        let mut started =
            Started { pod_uid, slot: kept, started_at, attempt: attempts, cancel_requested, entry: None };
        if job.state == JobState::Pending {
            started.attempt += 1;
            started.slot = slot.cloned();
            return begin(&mut tx, &job, last_seq, started).await;
        }
        if started_at == now {
            started.entry = entry_of_start(&mut tx, fence, last_seq).await?;
        }
        Ok(started)
    });
    // Nothing begins before the job's acceptance survives the death of the machine: its flush was asked for before.
    store.db.settled().await?;
    match started {
        // Whoever chose the same slot at the same time was first.
        Err(error) if slot.is_some() && is_unique_violation(&error) => Ok(StartAnswer::SlotTaken),
        started => started.map(Box::new).map(StartAnswer::Started),
    }
}

/// Stores a start of a pending job, and its entry, which comes back with it.
pub(super) async fn begin(tx: &mut Tx, job: &Job, last_seq: Seq, started: Started) -> Result<Started> {
    let slot = started.slot.as_ref();
    execute!(
        tx,
        "UPDATE queue SET pod_uid = $1, started_us = $2, attempts = $3, worker = $4, slot = $5 WHERE id = $6",
        &started.pod_uid,
        started.started_at.as_micros(),
        started.attempt.cast_signed(),
        slot.map(|slot| slot.worker.as_str()),
        slot.map_or(0, |slot| slot.number.cast_signed()),
        job.id.as_str(),
    )?;
    let running = entry(job, last_seq, started.started_at, EntryBody::Status(JobStatus::Running));
    Ok(Started { entry: Some(store_entry(tx, running).await?), ..started })
}

/// Returns the entry of a start: the last of a status at this number.
async fn entry_of_start(tx: &mut Tx, fence: &Fence, last_seq: Seq) -> Result<Option<Entry>> {
    let row = run!(
        tx,
        fetch_optional,
        query_as<EventRow>,
        entries_where!("e.last_seq = $2 AND e.kind = $3 ORDER BY e.position DESC LIMIT 1"),
        fence.id.as_str(),
        last_seq.0.cast_signed(),
        KIND_STATUS,
    )?;
    row.map(EventRow::entry).transpose()
}
