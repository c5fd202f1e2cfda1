use async_trait::async_trait;
use rdev_domain::{
    Entry, EntryBody, Error, Failure, IdempotencyKey, Job, JobId, JobState, JobStatus, Outcome, Result,
    Retrying, Seq, StreamId, Target, Timestamp, WorkerId,
};
use rdev_ports::{
    CancelRequested, Claim, ClaimLimits, Enqueued, EventLog, Fence, NewJob, Occurrence, Renewal, Retry, Slot,
    Started, TaskQueue, Unfinished,
};

use crate::SqlStore;
use crate::again;
use crate::batch::{Enqueue, Finish, Start};
use crate::db::{Commit, Db, Transaction, Tx, bounded, execute, read, run, write};
use crate::entries::{entry, stored};
use crate::error::database;
use crate::idempotency;
use crate::rows::{TaskRow, parse, task_columns};
use crate::target::column;
use crate::tasks::{end, fenced, insert_task, leased, locked, requeue, task};

/// Ends a lease early. The next attempt begins at once, so that the claim given back is worthless: its
/// worker cannot start the command beside another one of the key.
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

/// Many homes cost no more than one: what has not ended is gone through once.
pub(crate) const HURRY: &str = "UPDATE tasks SET lease_until_us = 0
     WHERE status IN ('pending', 'running') AND lease_owner IS NULL AND lease_until_us > 0
       AND $1 LIKE '%,' || project || ',%'";

pub(crate) const UNFINISHED: &str = "SELECT id, tries FROM tasks
     WHERE id IN (SELECT value FROM json_each($1)) AND status IN ('pending', 'running')";
pub(crate) const UNFINISHED_ON_POSTGRES: &str = "SELECT id, tries FROM tasks
     WHERE id = ANY($1) AND status IN ('pending', 'running')";

#[async_trait]
impl TaskQueue for SqlStore {
    async fn enqueue(&self, new: NewJob) -> Result<Enqueued> {
        let job = &new.job;
        if let Some(groups) = &self.groups
            && new.idempotency.is_none()
        {
            let step = Enqueue::try_from(&new).map_err(anyhow::Error::from)?;
            if let Some(told) = groups.enqueue.take(step).await?.first() {
                let pending = EntryBody::Status(JobStatus::Pending);
                return told.entry(job.created_at, pending).map(Enqueued::New);
            }
            // By itself it is told why not; so are the others below.
        }
        match self.enqueue_alone(&new).await {
            // Its transaction is over: on Postgres nothing more can be asked in it.
            Err(refused @ Error::Conflict { conflict: rdev_domain::Conflict::StreamIdTaken, .. }) => {
                let before = write!(&self.db, Commit::Visible, |tx| { again::accepted(&mut tx, job).await })?;
                let entry = before.ok_or(refused)?;
                // On SQLite it may be seen before the disk has it, whose failure has lost the answer.
                self.flush().await?;
                Ok(Enqueued::New(entry))
            }
            told => told,
        }
    }

    async fn first_use(&self, key: &IdempotencyKey, now: Timestamp) -> Result<Timestamp> {
        write!(&self.db, Commit::Visible, |tx| {
            let first = idempotency::take(&mut tx, key, None, now).await?;
            Ok(first.map_or(now, |first| Timestamp::from_micros(first.created_us)))
        })
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        slots: ClaimLimits,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Claim>> {
        self.claim_first(worker, slots, now, lease_until).await
    }

    async fn start(
        &self,
        fence: &Fence,
        place_uid: &str,
        slot: Option<&Slot>,
        now: Timestamp,
    ) -> Result<Started> {
        if let Some(groups) = &self.groups
            && slot.is_none()
        {
            let step = Start { fence: fence.clone(), place_uid: place_uid.to_owned(), now };
            if let Some(started) = groups.start.take(step).await?.pop() {
                let running = EntryBody::Status(JobStatus::Running);
                return Ok(Started {
                    entry: Some(started.told.entry(now, running)?),
                    pod_uid: started.place_uid,
                    slot: None,
                    started_at: now,
                    attempt: started.tries.unsigned_abs(),
                    cancel_requested: started.cancel_requested,
                });
            }
        }
        write!(&self.db, Commit::Visible, |tx| {
            let (row, job) = fenced(&mut tx, fence).await?;
            let JobState::Running { started_at, .. } = job.state.start(now)? else {
                return Err(Error::LeaseLost);
            };
            let (kept, tries) = (row.slot()?, row.tries.unsigned_abs());
            let place_uid = row.place_uid.unwrap_or_else(|| place_uid.to_owned());
            let cancel_requested = job.cancel_requested;
            let mut started = Started {
                pod_uid: place_uid,
                slot: kept,
                started_at,
                attempt: tries,
                cancel_requested,
                entry: None,
            };
            if job.state == JobState::Pending {
                started.attempt += 1;
                started.slot = slot.cloned();
                execute!(
                    else |error| taken(error, slot);
                    &mut tx,
                    "UPDATE tasks SET status = 'running', place_uid = $1, started_us = $2, tries = $3, worker = $4,
                                      seat = $5
                     WHERE id = $6",
                    &started.pod_uid,
                    started_at.as_micros(),
                    started.attempt.cast_signed(),
                    slot.map(|slot| slot.worker.as_str()),
                    slot.map_or(0, |slot| slot.number.cast_signed()),
                    fence.id.as_str(),
                )?;
                let last_seq = Seq(row.last_seq as u64);
                let running = entry(&job, last_seq, now, EntryBody::Status(JobStatus::Running));
                started.entry = Some(stored(&mut tx, running).await?);
            } else if started_at == now {
                started.entry = again::started(&mut tx, fence, Seq(row.last_seq as u64)).await?;
            }
            Ok(started)
        })
    }

    async fn stall(&self, fence: &Fence, failure: Option<Failure>, now: Timestamp) -> Result<Option<Entry>> {
        let failure = failure.map(Failure::storable);
        write!(&self.db, Commit::Visible, |tx| {
            let (row, job) = fenced(&mut tx, fence).await?;
            if job.state.stalled(failure.clone())? == job.state {
                return Ok(None);
            }
            execute!(
                &mut tx,
                "UPDATE tasks SET reason = $1, message = $2 WHERE id = $3",
                failure.as_ref().map(|failure| failure.reason.as_str()),
                failure.as_ref().map(|failure| failure.message.as_str()),
                fence.id.as_str(),
            )?;
            let body = failure.map_or(EntryBody::Status(JobStatus::Running), EntryBody::Stalled);
            let entry = entry(&job, Seq(row.last_seq as u64), now, body);
            stored(&mut tx, entry).await.map(Some)
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
                    // It has ended.
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
        let outcome = outcome.storable();
        if let Some(groups) = &self.groups {
            let step = Finish { fence: fence.clone(), seq, outcome: outcome.clone(), now };
            if let Some(told) = groups.finish.take(step).await?.first() {
                return told.entry(now, EntryBody::Complete(outcome));
            }
        }
        write!(&self.db, Commit::Visible, |tx| {
            let (row, job) = match fenced(&mut tx, fence).await {
                Err(Error::LeaseLost) => return again::finished(&mut tx, fence, seq, &outcome).await,
                found => found?,
            };
            if seq.0 as i64 <= row.last_seq {
                return Err(Error::LeaseLost);
            }
            end(&mut tx, job, seq, outcome, now).await.map(|(_, entry)| entry)
        })
    }

    async fn retry(&self, fence: &Fence, retry: Retry, now: Timestamp) -> Result<Entry> {
        write!(&self.db, Commit::Visible, |tx| {
            let (row, job) = match fenced(&mut tx, fence).await {
                Err(Error::LeaseLost) => return again::retried(&mut tx, fence, &retry, now).await,
                found => found?,
            };
            let last_seq = Seq(row.last_seq as u64);
            if job.cancel_requested {
                let outcome = Outcome::without_process(rdev_domain::Ending::Cancelled, retry.error);
                let ended = end(&mut tx, job, last_seq.next(), outcome, now).await?;
                return Ok(ended.1);
            }
            job.state.retry()?;
            requeue(&mut tx, &fence.id, retry.run_after, &retry.error, retry.counts).await?;
            let attempt = job.schedule.attempts + 1;
            let retrying = Retrying { attempt, reason: retry.reason, message: retry.error, counted: false };
            stored(&mut tx, entry(&job, last_seq, now, EntryBody::Retry(retrying))).await
        })
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

    async fn request_cancel(
        &self,
        target: &Target,
        id: &JobId,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<CancelRequested>> {
        write!(&self.db, Commit::Visible, |tx| {
            let Some(row) = locked(&mut tx, id.as_str()).await? else {
                return Ok(None);
            };
            let mut job = row.job()?;
            let seq = Seq(row.last_seq as u64).next();
            if job.target() != *target {
                return Ok(None);
            }
            let asked = idempotency::asked(&mut tx, idempotency, now).await?;
            if asked == Occurrence::Repeated || job.state.is_ended() || job.cancel_requested {
                return Ok(Some(CancelRequested { job, entry: None, asked }));
            }
            execute!(&mut tx, "UPDATE tasks SET cancel_requested = TRUE WHERE id = $1", id.as_str())?;
            job.cancel_requested = true;
            let leased = leased(&mut tx, id, now).await?;
            if job.state != JobState::Pending || leased {
                return Ok(Some(CancelRequested { job, entry: None, asked }));
            }
            let outcome =
                Outcome::without_process(rdev_domain::Ending::Cancelled, "cancelled before it started");
            let (job, entry) = end(&mut tx, job, seq, outcome, now).await?;
            Ok(Some(CancelRequested { job, entry: Some(entry), asked }))
        })
    }

    async fn job(&self, target: &Target, id: &JobId) -> Result<Option<Job>> {
        let row = read!(
            &self.db,
            fetch_optional,
            query_as<TaskRow>,
            concat!("SELECT ", task_columns!(), " FROM tasks WHERE id = $1 AND project = $2"),
            id.as_str(),
            column(target),
        )?;
        row.map(|row| row.job()).transpose()
    }

    async fn job_of_stream(&self, target: &Target, stream: &StreamId) -> Result<Option<Job>> {
        let row = read!(
            &self.db,
            fetch_optional,
            query_as<TaskRow>,
            concat!("SELECT ", task_columns!(), " FROM tasks WHERE project = $1 AND stream = $2"),
            column(target),
            stream.as_str(),
        )?;
        row.map(|row| row.job()).transpose()
    }

    async fn jobs(&self, target: &Target, before: Option<&JobId>, limit: u32) -> Result<Vec<Job>> {
        let rows = read!(
            &self.db,
            fetch_all,
            query_as<TaskRow>,
            concat!(
                "SELECT ",
                task_columns!(),
                " FROM tasks WHERE project = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
            ),
            column(target),
            // Every id begins with a letter, which sorts before this.
            before.map_or("~", JobId::as_str),
            i64::from(limit),
        )?;
        rows.iter().map(TaskRow::job).collect()
    }

    async fn unfinished(&self, ids: &[JobId]) -> Result<Vec<Unfinished>> {
        let ids: Vec<&str> = ids.iter().map(JobId::as_str).collect();
        let rows: Vec<(String, i32)> = match &self.db {
            Db::Sqlite { read, .. } => {
                let ids = serde_json::to_string(&ids).map_err(anyhow::Error::from)?;
                sqlx::query_as(UNFINISHED).bind(ids).fetch_all(read).await.map_err(database)?
            }
            Db::Postgres(pool) => {
                bounded(&self.db, async {
                    let mut work = Transaction::reading(pool).await?;
                    let query = sqlx::query_as(UNFINISHED_ON_POSTGRES).bind(ids);
                    let rows = query.fetch_all(work.connection()?).await;
                    work.end(rows.map_err(database)).await
                })
                .await?
            }
        };
        rows.iter()
            .map(|(id, tries)| Ok(Unfinished { id: parse(id)?, attempt: tries.unsigned_abs() }))
            .collect()
    }

    async fn check(&self) -> Result<()> {
        self.check_writes().await
    }
}

impl SqlStore {
    async fn enqueue_alone(&self, new: &NewJob) -> Result<Enqueued> {
        let job = &new.job;
        write!(&self.db, Commit::Durable, |tx| {
            if let Some(key) = &new.idempotency {
                let first = idempotency::take(&mut tx, key, Some(job.id.as_str()), job.created_at).await?;
                let first = first.and_then(|first| first.task_id);
                if let Some(id) = first.filter(|id| *id != job.id.as_str()) {
                    let row = task(&mut tx, &id)
                        .await?
                        .ok_or(Error::NotFound { resource: rdev_domain::Resource::Command, id })?;
                    return Ok(Enqueued::Existing(Box::new(row.job()?)));
                }
            }
            insert_task(&mut tx, new).await?;
            let entry = entry(job, Seq::ZERO, job.created_at, EntryBody::Status(JobStatus::Pending));
            Ok(Enqueued::New(stored(&mut tx, entry).await?))
        })
    }
}

/// A list as a text: how lists are bound differs between the databases.
fn between_commas<'a>(items: impl Iterator<Item = &'a str>) -> String {
    items.map(|item| format!(",{item},")).collect()
}

/// As whoever changes several tasks at once takes them: so nobody waits for each other.
fn in_order(fences: &[Fence]) -> Vec<&Fence> {
    let mut fences: Vec<_> = fences.iter().collect();
    fences.sort_by_key(|fence| &fence.id);
    fences
}

/// Tells whether the claim is its command's last one: it has ended under it, where it does not run any more.
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

/// Another task has that seat of the pool.
fn taken(error: sqlx::Error, slot: Option<&Slot>) -> Error {
    match (&error, slot) {
        (sqlx::Error::Database(db), Some(slot)) if db.is_unique_violation() => Error::Conflict {
            conflict: rdev_domain::Conflict::SlotTaken,
            message: format!("another task has {slot}"),
        },
        _ => crate::error::database(error),
    }
}
