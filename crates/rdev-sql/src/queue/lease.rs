//! Leases: the port of the workers.

use async_trait::async_trait;
use rdev_domain::{Entry, EntryBody, Failure, Outcome, Result, Seq, Target, Timestamp, WaitingFor, WorkerId};
use rdev_ports::{Claim, ClaimLimits, Fence, Renewal, Retry, Slot, StartAnswer, TaskLeases};

use super::rows::fenced;
use super::{claim, end, start};
use crate::db::{Commit, Tx, execute, run, write};
use crate::log::entries::{entry, store_entry};
use crate::store::SqlStore;
use crate::values::{between_commas, column};

/// Releases a lease. The fencing token grows at once, which invalidates the claim: its worker cannot start the job beside
/// another one of the concurrency key.
macro_rules! release_lease {
    () => {
        release_lease!("0")
    };
    ($not_before:literal) => {
        concat!(
            "UPDATE tasks SET lease_owner = NULL, lease_until_us = ",
            $not_before,
            ", attempt = attempt + 1"
        )
    };
}

/// Many targets cost no more than one: the jobs that have not ended are read once.
pub(crate) const HURRY: &str = "UPDATE tasks SET lease_until_us = 0
     WHERE status IN ('pending', 'running') AND lease_owner IS NULL AND lease_until_us > 0
       AND $1 LIKE '%,' || project || ',%'";

#[async_trait]
impl TaskLeases for SqlStore {
    async fn claim(
        &self,
        worker: &WorkerId,
        limits: ClaimLimits,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Claim>> {
        claim::claim(self, worker, limits, now, lease_until).await
    }

    async fn start(
        &self,
        fence: &Fence,
        pod_uid: &str,
        slot: Option<&Slot>,
        now: Timestamp,
    ) -> Result<StartAnswer> {
        start::start(self, fence, pod_uid, slot, now).await
    }

    async fn stall(&self, fence: &Fence, failure: Option<Failure>, now: Timestamp) -> Result<Option<Entry>> {
        let failure = failure.map(Failure::storable);
        write!(&self.db, Commit::Visible, |tx| {
            let (row, job) = fenced(&mut tx, fence).await?;
            let state = job.state.stalled(failure.clone())?;
            if state == job.state {
                return Ok(None);
            }
            execute!(
                &mut tx,
                "UPDATE tasks SET reason = $1, message = $2 WHERE id = $3",
                failure.as_ref().map(|failure| failure.reason.as_str()),
                failure.as_ref().map(|failure| failure.message.as_str()),
                fence.id.as_str(),
            )?;
            let body = failure.map_or(EntryBody::Status(state.status()), EntryBody::Stalled);
            let entry = entry(&job, Seq(row.last_seq as u64), now, body);
            store_entry(&mut tx, entry).await.map(Some)
        })
    }

    async fn wait_for(
        &self,
        fence: &Fence,
        waiting_for: Option<WaitingFor>,
        now: Timestamp,
    ) -> Result<Option<Entry>> {
        write!(&self.db, Commit::Visible, |tx| {
            let (row, job) = fenced(&mut tx, fence).await?;
            let state = job.state.waiting(waiting_for)?;
            if state == job.state {
                return Ok(None);
            }
            execute!(
                &mut tx,
                "UPDATE tasks SET waiting_for = $1 WHERE id = $2",
                waiting_for.map(WaitingFor::as_str),
                fence.id.as_str(),
            )?;
            let status = EntryBody::Status(state.status());
            store_entry(&mut tx, entry(&job, Seq(row.last_seq as u64), now, status)).await.map(Some)
        })
    }

    async fn renew(&self, fences: &[Fence], lease_until: Timestamp) -> Result<Renewal> {
        write!(&self.db, Commit::Async, |tx| {
            let mut renewal = Renewal::default();
            for fence in in_order(fences) {
                let cancelled = run!(
                    &mut tx,
                    fetch_optional,
                    query_scalar<bool>,
                    "UPDATE tasks SET lease_until_us = $1
                     WHERE id = $2 AND attempt = $3 AND status IN ('pending', 'running')
                     RETURNING cancel_requested",
                    lease_until.as_micros(),
                    fence.id.as_str(),
                    fence.token,
                )?;
                match cancelled {
                    // The job has ended.
                    None if is_latest(&mut tx, fence).await? => {}
                    None => renewal.lost.push(fence.clone()),
                    Some(true) => renewal.cancelled.push(fence.clone()),
                    Some(false) => {}
                }
            }
            Ok(renewal)
        })
    }

    async fn finish(&self, fence: &Fence, seq: Seq, outcome: Outcome, now: Timestamp) -> Result<Entry> {
        end::finish(self, fence, seq, outcome, now).await
    }

    async fn retry(&self, fence: &Fence, retry: Retry, now: Timestamp) -> Result<Entry> {
        end::retry(self, fence, retry, now).await
    }

    async fn release(&self, fences: &[Fence]) -> Result<()> {
        write!(&self.db, Commit::Async, |tx| {
            for fence in in_order(fences) {
                execute!(
                    &mut tx,
                    concat!(
                        release_lease!(),
                        " WHERE id = $1 AND attempt = $2 AND status IN ('pending', 'running')"
                    ),
                    fence.id.as_str(),
                    fence.token,
                )?;
            }
            Ok(())
        })
    }

    async fn postpone(&self, fence: &Fence, until: Timestamp) -> Result<()> {
        write!(&self.db, Commit::Async, |tx| {
            execute!(
                &mut tx,
                concat!(
                    release_lease!("$1"),
                    " WHERE id = $2 AND attempt = $3 AND status IN ('pending', 'running')"
                ),
                until.as_micros(),
                fence.id.as_str(),
                fence.token,
            )
            .map(|_| ())
        })
    }

    async fn hurry(&self, targets: &[Target]) -> Result<u64> {
        let targets = between_commas(targets.iter().map(column));
        write!(&self.db, Commit::Async, |tx| { execute!(&mut tx, HURRY, targets.as_str()) })
    }

    async fn release_all_but(&self, worker: &WorkerId, held: &[Fence]) -> Result<u64> {
        let held = between_commas(held.iter().map(|fence| fence.id.as_str()));
        write!(&self.db, Commit::Async, |tx| {
            execute!(
                &mut tx,
                concat!(
                    release_lease!(),
                    " WHERE status IN ('pending', 'running') AND lease_owner = $1
                        AND $2 NOT LIKE '%,' || id || ',%'"
                ),
                worker.as_str(),
                held.as_str(),
            )
        })
    }

    async fn release_all(&self) -> Result<u64> {
        write!(&self.db, Commit::Async, |tx| {
            execute!(
                &mut tx,
                concat!(
                    release_lease!(),
                    " WHERE status IN ('pending', 'running') AND lease_owner IS NOT NULL"
                ),
            )
        })
    }
}

/// Sorts claims by the ids of their jobs: transactions that lock rows in one order never wait for each other.
fn in_order(fences: &[Fence]) -> Vec<&Fence> {
    let mut fences: Vec<_> = fences.iter().collect();
    fences.sort_by_key(|fence| &fence.id);
    fences
}

/// Tells whether a claim is the latest of its job, which may have ended under the claim.
async fn is_latest(tx: &mut Tx, fence: &Fence) -> Result<bool> {
    let status = run!(
        tx,
        fetch_optional,
        query_scalar<String>,
        "SELECT status FROM tasks WHERE id = $1 AND attempt = $2",
        fence.id.as_str(),
        fence.token,
    )?;
    Ok(status.is_some())
}
