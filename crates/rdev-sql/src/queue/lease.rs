//! Leases: the port of the workers.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{Entry, EntryBody, Failure, Outcome, Result, Seq, Target, Timestamp, WaitingFor, WorkerId};
use rdev_ports::{Claim, ClaimLimits, Fence, ReadyProject, Renewal, Retry, Slot, StartAnswer, TaskLeases};

use super::claim::ClaimCall;
use super::rows::fenced;
use super::{claim, end, start};
use crate::db::{Commit, Tx, execute, run, write};
use crate::log::entries::{entry, store_entry};
use crate::store::SqlStore;
use crate::values::{between_commas, column, json_list, of_list};

/// Releases a lease. The fencing token grows at once, which invalidates the claim: its worker cannot start the job beside
/// another one of the concurrency key.
macro_rules! release_lease {
    ($where:literal) => {
        concat!("UPDATE queue SET lease_owner = NULL, lease_until_us = 0, token = token + 1 WHERE ", $where)
    };
}

const POSTPONE: &str =
    "UPDATE queue SET lease_owner = NULL, lease_until_us = 0, token = token + 1, postponed_until_us = $1
     WHERE id = $2 AND token = $3";

/// Many targets cost no more than one: the postponed jobs are read once.
pub(crate) const HURRY: &str = "UPDATE queue SET postponed_until_us = 0
     WHERE postponed_until_us > 0 AND lease_owner IS NULL
       AND $1 LIKE '%,' || CASE lane WHEN 0 THEN project WHEN 1 THEN '@pool' ELSE '@operations' END || ',%'";

/// One row for all jobs of a worker.
const RENEW: &str = "INSERT INTO lease_owners AS o (owner, lease_until_us) VALUES ($1, $2)
     ON CONFLICT (owner) DO UPDATE SET lease_until_us = excluded.lease_until_us
     WHERE o.lease_until_us < excluded.lease_until_us";

/// A row that has expired is as good as none. Workers that are gone leave theirs behind.
const FORGET: &str = "DELETE FROM lease_owners WHERE lease_until_us < $1";
/// Time after which the expired lease of a worker is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// Claims of these jobs that are in the queue: the token, and whether a cancellation was requested.
pub(crate) const HELD: [&str; 2] = of_list!("SELECT id, token, cancel_requested FROM queue WHERE id", "$1");

#[async_trait]
impl TaskLeases for SqlStore {
    async fn claim_and_start(
        &self,
        worker: &WorkerId,
        limits: ClaimLimits,
        ready: &[ReadyProject],
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Claim>> {
        let call = ClaimCall { worker, limits, ready, now, lease_until };
        claim::claim(self, &call).await
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
                "UPDATE queue SET reason = $1, message = $2 WHERE id = $3",
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
                "UPDATE queue SET waiting_for = $1 WHERE id = $2",
                waiting_for.map(WaitingFor::as_str),
                fence.id.as_str(),
            )?;
            let status = EntryBody::Status(state.status());
            store_entry(&mut tx, entry(&job, Seq(row.last_seq as u64), now, status)).await.map(Some)
        })
    }

    async fn renew(&self, worker: &WorkerId, fences: &[Fence], lease_until: Timestamp) -> Result<Renewal> {
        write!(&self.db, Commit::Async, |tx| {
            execute!(&mut tx, RENEW, worker.as_str(), lease_until.as_micros())?;
            execute!(&mut tx, FORGET, (lease_until - FORGET_AFTER).as_micros())?;
            let held = held(&mut tx, fences).await?;
            let mut renewal = Renewal::default();
            for fence in fences {
                match held.get(fence.id.as_str()) {
                    Some((token, cancelled)) if *token == fence.token => {
                        renewal.cancelled.extend(cancelled.then(|| fence.clone()));
                    }
                    None if has_ended(&mut tx, fence).await? => {}
                    _ => renewal.lost.push(fence.clone()),
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
                execute!(&mut tx, release_lease!("id = $1 AND token = $2"), fence.id.as_str(), fence.token)?;
            }
            Ok(())
        })
    }

    async fn postpone(&self, fence: &Fence, until: Timestamp) -> Result<()> {
        write!(&self.db, Commit::Async, |tx| {
            execute!(&mut tx, POSTPONE, until.as_micros(), fence.id.as_str(), fence.token).map(|_| ())
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
                release_lease!("lease_owner = $1 AND $2 NOT LIKE '%,' || id || ',%'"),
                worker.as_str(),
                held.as_str(),
            )
        })
    }

    async fn release_all(&self) -> Result<u64> {
        write!(&self.db, Commit::Async, |tx| { execute!(&mut tx, release_lease!("lease_owner IS NOT NULL")) })
    }
}

/// Sorts claims by the ids of their jobs: transactions that lock rows in one order never wait for each other.
fn in_order(fences: &[Fence]) -> Vec<&Fence> {
    let mut fences: Vec<_> = fences.iter().collect();
    fences.sort_by_key(|fence| &fence.id);
    fences
}

/// Returns the tokens of those of these jobs that have not ended, and whether their cancellation was requested.
async fn held(tx: &mut Tx, fences: &[Fence]) -> Result<HashMap<String, (i64, bool)>> {
    let ids = json_list(fences.iter().map(|fence| fence.id.as_str()))?;
    let sql = tx.text(HELD);
    let rows = run!(tx, fetch_all, query_as<(String, i64, bool)>, sql, ids)?;
    Ok(rows.into_iter().map(|(id, token, cancelled)| (id, (token, cancelled))).collect())
}

/// Tells whether a job has ended under a claim.
async fn has_ended(tx: &mut Tx, fence: &Fence) -> Result<bool> {
    run!(
        tx,
        fetch_one,
        query_scalar<bool>,
        "SELECT EXISTS (SELECT 1 FROM jobs WHERE id = $1 AND token = $2 AND ended_us IS NOT NULL)",
        fence.id.as_str(),
        fence.token,
    )
}
