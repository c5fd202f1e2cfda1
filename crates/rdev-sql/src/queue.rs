use async_trait::async_trait;
use rdev_domain::{
    Command, CommandId, Entry, EntryBody, Error, Home, IdempotencyKey, Outcome, Result, Retrying, Seq, State,
    Status, StreamId, Timestamp, Trouble, WorkerId,
};
use rdev_ports::{
    Asked, CancelRequested, Claim, Enqueued, EventLog, Fence, NewCommand, Renewal, Retry, Seat, Slots,
    Started, TaskQueue, Unfinished,
};

use crate::SqlStore;
use crate::again;
use crate::db::{Commit, Db, Tx, Work, bounded, execute, read, run, write};
use crate::entries::{entry, stored};
use crate::error::database;
use crate::group::{Enqueue, Finish, Start};
use crate::idempotency;
use crate::rows::{TaskRow, parse, task_columns};
use crate::tasks::{STREAM_ID_TAKEN, end, fenced, insert_task, leased, locked, task, wait_again};

/// Ends a lease early. The next attempt begins at once, so that the claim given back is worthless: its
/// worker cannot start the command beside another one of the key.
macro_rules! give_back {
    () => {
        give_back!("0")
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
    async fn enqueue(&self, new: NewCommand) -> Result<Enqueued> {
        let command = &new.command;
        if let Some(groups) = &self.groups
            && new.idempotency.is_none()
        {
            let step = Enqueue::try_from(&new).map_err(anyhow::Error::from)?;
            if let Some(told) = groups.enqueue.take(step).await?.first() {
                let pending = EntryBody::Status(Status::Pending);
                return told.entry(command.created_at, pending).map(Enqueued::New);
            }
            // By itself it is told why not; so are the others below.
        }
        match self.enqueue_alone(&new).await {
            // Its transaction is over: on Postgres nothing more can be asked in it.
            Err(refused @ Error::Conflict { code: STREAM_ID_TAKEN, .. }) => {
                let before =
                    write!(&self.db, Commit::Told, |tx| { again::accepted(&mut tx, command).await })?;
                let entry = before.ok_or(refused)?;
                // On SQLite it may be seen before the disk has it, whose failure has lost the answer.
                self.flush().await?;
                Ok(Enqueued::New(entry))
            }
            told => told,
        }
    }

    async fn first_use(&self, key: &IdempotencyKey, now: Timestamp) -> Result<Timestamp> {
        write!(&self.db, Commit::Told, |tx| {
            let first = idempotency::take(&mut tx, key, None, now).await?;
            Ok(first.map_or(now, |first| Timestamp::from_micros(first.created_us)))
        })
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        slots: Slots,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Claim>> {
        self.claim_first(worker, slots, now, lease_until).await
    }

    async fn start(
        &self,
        fence: &Fence,
        place_uid: &str,
        seat: Option<&Seat>,
        now: Timestamp,
    ) -> Result<Started> {
        if let Some(groups) = &self.groups
            && seat.is_none()
        {
            let step = Start { fence: fence.clone(), place_uid: place_uid.to_owned(), now };
            if let Some(started) = groups.start.take(step).await?.pop() {
                let running = EntryBody::Status(Status::Running);
                return Ok(Started {
                    entry: Some(started.told.entry(now, running)?),
                    place_uid: started.place_uid,
                    seat: None,
                    started_at: now,
                    tries: started.tries.unsigned_abs(),
                    cancel_requested: started.cancel_requested,
                });
            }
        }
        write!(&self.db, Commit::Told, |tx| {
            let (row, command) = fenced(&mut tx, fence).await?;
            let State::Running { started_at, .. } = command.state.start(now)? else {
                return Err(Error::LeaseLost);
            };
            let (kept, tries) = (row.seat()?, row.tries.unsigned_abs());
            let place_uid = row.place_uid.unwrap_or_else(|| place_uid.to_owned());
            let cancel_requested = command.cancel_requested;
            let mut started =
                Started { place_uid, seat: kept, started_at, tries, cancel_requested, entry: None };
            if command.state == State::Pending {
                started.tries += 1;
                started.seat = seat.cloned();
                execute!(
                    else |error| taken(error, seat);
                    &mut tx,
                    "UPDATE tasks SET status = 'running', place_uid = $1, started_us = $2, tries = $3, worker = $4,
                                      seat = $5
                     WHERE id = $6",
                    &started.place_uid,
                    started_at.as_micros(),
                    started.tries.cast_signed(),
                    seat.map(|seat| seat.worker.as_str()),
                    seat.map_or(0, |seat| seat.number.cast_signed()),
                    fence.id.as_str(),
                )?;
                let last_seq = Seq(row.last_seq as u64);
                let running = entry(&command, last_seq, now, EntryBody::Status(Status::Running));
                started.entry = Some(stored(&mut tx, running).await?);
            } else if started_at == now {
                started.entry = again::started(&mut tx, fence, Seq(row.last_seq as u64)).await?;
            }
            Ok(started)
        })
    }

    async fn stall(&self, fence: &Fence, trouble: Option<Trouble>, now: Timestamp) -> Result<Option<Entry>> {
        let trouble = trouble.map(Trouble::storable);
        write!(&self.db, Commit::Told, |tx| {
            let (row, command) = fenced(&mut tx, fence).await?;
            if command.state.stalled(trouble.clone())? == command.state {
                return Ok(None);
            }
            execute!(
                &mut tx,
                "UPDATE tasks SET reason = $1, message = $2 WHERE id = $3",
                trouble.as_ref().map(|trouble| trouble.reason.as_str()),
                trouble.as_ref().map(|trouble| trouble.message.as_str()),
                fence.id.as_str(),
            )?;
            let body = trouble.map_or(EntryBody::Status(Status::Running), EntryBody::Stalled);
            let entry = entry(&command, Seq(row.last_seq as u64), now, body);
            stored(&mut tx, entry).await.map(Some)
        })
    }

    async fn renew(&self, fences: &[Fence], lease_until: Timestamp) -> Result<Renewal> {
        write!(&self.db, Commit::Light, |tx| {
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
                    fence.attempt,
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
        write!(&self.db, Commit::Told, |tx| {
            let (row, command) = match fenced(&mut tx, fence).await {
                Err(Error::LeaseLost) => return again::finished(&mut tx, fence, seq, &outcome).await,
                found => found?,
            };
            if seq.0 as i64 <= row.last_seq {
                return Err(Error::LeaseLost);
            }
            end(&mut tx, command, seq, outcome, now).await.map(|(_, entry)| entry)
        })
    }

    async fn retry(&self, fence: &Fence, retry: Retry, now: Timestamp) -> Result<Entry> {
        write!(&self.db, Commit::Told, |tx| {
            let (row, command) = match fenced(&mut tx, fence).await {
                Err(Error::LeaseLost) => return again::retried(&mut tx, fence, &retry, now).await,
                found => found?,
            };
            let last_seq = Seq(row.last_seq as u64);
            if command.cancel_requested {
                let outcome = Outcome::without_process(rdev_domain::Ending::Cancelled, retry.error);
                let ended = end(&mut tx, command, last_seq.next(), outcome, now).await?;
                return Ok(ended.1);
            }
            command.state.retry()?;
            wait_again(&mut tx, &fence.id, retry.run_after, &retry.error, retry.counts).await?;
            let attempt = command.schedule.tries + 1;
            let retrying = Retrying { attempt, reason: retry.reason, message: retry.error, counted: false };
            stored(&mut tx, entry(&command, last_seq, now, EntryBody::Retry(retrying))).await
        })
    }

    async fn release(&self, fences: &[Fence]) -> Result<()> {
        write!(&self.db, Commit::Light, |tx| {
            for fence in in_order(fences) {
                execute!(
                    &mut tx,
                    concat!(
                        give_back!(),
                        " WHERE id = $1 AND attempt = $2 AND status IN ('pending', 'running')"
                    ),
                    fence.id.as_str(),
                    fence.attempt,
                )?;
            }
            Ok(())
        })
    }

    async fn postpone(&self, fence: &Fence, until: Timestamp) -> Result<()> {
        write!(&self.db, Commit::Light, |tx| {
            execute!(
                &mut tx,
                concat!(
                    give_back!("$1"),
                    " WHERE id = $2 AND attempt = $3 AND status IN ('pending', 'running')"
                ),
                until.as_micros(),
                fence.id.as_str(),
                fence.attempt,
            )
            .map(|_| ())
        })
    }

    async fn hurry(&self, homes: &[Home]) -> Result<u64> {
        let homes = between_commas(homes.iter().map(Home::as_str));
        write!(&self.db, Commit::Light, |tx| { execute!(&mut tx, HURRY, homes.as_str()) })
    }

    async fn release_all_but(&self, worker: &WorkerId, held: &[Fence]) -> Result<u64> {
        let held = between_commas(held.iter().map(|fence| fence.id.as_str()));
        write!(&self.db, Commit::Light, |tx| {
            execute!(
                &mut tx,
                concat!(
                    give_back!(),
                    " WHERE status IN ('pending', 'running') AND lease_owner = $1
                        AND $2 NOT LIKE '%,' || id || ',%'"
                ),
                worker.as_str(),
                held.as_str(),
            )
        })
    }

    async fn release_all(&self) -> Result<u64> {
        write!(&self.db, Commit::Light, |tx| {
            execute!(
                &mut tx,
                concat!(give_back!(), " WHERE status IN ('pending', 'running') AND lease_owner IS NOT NULL"),
            )
        })
    }

    async fn request_cancel(
        &self,
        home: &Home,
        id: &CommandId,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<CancelRequested>> {
        write!(&self.db, Commit::Told, |tx| {
            let Some(row) = locked(&mut tx, id.as_str()).await? else {
                return Ok(None);
            };
            let mut command = row.command()?;
            let seq = Seq(row.last_seq as u64).next();
            if command.home != *home {
                return Ok(None);
            }
            let asked = idempotency::asked(&mut tx, idempotency, now).await?;
            if asked == Asked::Before || command.state.is_ended() || command.cancel_requested {
                return Ok(Some(CancelRequested { command, entry: None, asked }));
            }
            execute!(&mut tx, "UPDATE tasks SET cancel_requested = TRUE WHERE id = $1", id.as_str())?;
            command.cancel_requested = true;
            let leased = leased(&mut tx, id, now).await?;
            if command.state != State::Pending || leased {
                return Ok(Some(CancelRequested { command, entry: None, asked }));
            }
            let outcome =
                Outcome::without_process(rdev_domain::Ending::Cancelled, "cancelled before it started");
            let (command, entry) = end(&mut tx, command, seq, outcome, now).await?;
            Ok(Some(CancelRequested { command, entry: Some(entry), asked }))
        })
    }

    async fn command(&self, home: &Home, id: &CommandId) -> Result<Option<Command>> {
        let row = read!(
            &self.db,
            fetch_optional,
            query_as<TaskRow>,
            concat!("SELECT ", task_columns!(), " FROM tasks WHERE id = $1 AND project = $2"),
            id.as_str(),
            home.as_str(),
        )?;
        row.map(|row| row.command()).transpose()
    }

    async fn command_of_stream(&self, home: &Home, stream: &StreamId) -> Result<Option<Command>> {
        let row = read!(
            &self.db,
            fetch_optional,
            query_as<TaskRow>,
            concat!("SELECT ", task_columns!(), " FROM tasks WHERE project = $1 AND stream = $2"),
            home.as_str(),
            stream.as_str(),
        )?;
        row.map(|row| row.command()).transpose()
    }

    async fn commands(&self, home: &Home, before: Option<&CommandId>, limit: u32) -> Result<Vec<Command>> {
        let rows = read!(
            &self.db,
            fetch_all,
            query_as<TaskRow>,
            concat!(
                "SELECT ",
                task_columns!(),
                " FROM tasks WHERE project = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
            ),
            home.as_str(),
            // Every id begins with a letter, which sorts before this.
            before.map_or("~", CommandId::as_str),
            i64::from(limit),
        )?;
        rows.iter().map(TaskRow::command).collect()
    }

    async fn unfinished(&self, ids: &[CommandId]) -> Result<Vec<Unfinished>> {
        let ids: Vec<&str> = ids.iter().map(CommandId::as_str).collect();
        let rows: Vec<(String, i32)> = match &self.db {
            Db::Sqlite { read, .. } => {
                let ids = serde_json::to_string(&ids).map_err(anyhow::Error::from)?;
                sqlx::query_as(UNFINISHED).bind(ids).fetch_all(read).await.map_err(database)?
            }
            Db::Postgres(pool) => {
                bounded(&self.db, async {
                    let mut work = Work::reading(pool).await?;
                    let query = sqlx::query_as(UNFINISHED_ON_POSTGRES).bind(ids);
                    let rows = query.fetch_all(work.connection()?).await;
                    work.end(rows.map_err(database)).await
                })
                .await?
            }
        };
        rows.iter()
            .map(|(id, tries)| Ok(Unfinished { id: parse(id)?, tries: tries.unsigned_abs() }))
            .collect()
    }

    async fn check(&self) -> Result<()> {
        self.check_writes().await
    }
}

impl SqlStore {
    async fn enqueue_alone(&self, new: &NewCommand) -> Result<Enqueued> {
        let command = &new.command;
        write!(&self.db, Commit::Durable, |tx| {
            if let Some(key) = &new.idempotency {
                let first =
                    idempotency::take(&mut tx, key, Some(command.id.as_str()), command.created_at).await?;
                let first = first.and_then(|first| first.task_id);
                if let Some(id) = first.filter(|id| *id != command.id.as_str()) {
                    let row = task(&mut tx, &id).await?.ok_or(Error::NotFound { kind: "command", id })?;
                    return Ok(Enqueued::Before(Box::new(row.command()?)));
                }
            }
            insert_task(&mut tx, new).await?;
            let entry = entry(command, Seq::ZERO, command.created_at, EntryBody::Status(Status::Pending));
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
        fence.attempt,
    )?;
    Ok(status.is_some())
}

/// Another task has that seat of the pool.
fn taken(error: sqlx::Error, seat: Option<&Seat>) -> Error {
    match (&error, seat) {
        (sqlx::Error::Database(db), Some(seat)) if db.is_unique_violation() => {
            Error::Conflict { code: "WORKER_TAKEN", message: format!("another task has {seat}") }
        }
        _ => crate::error::database(error),
    }
}
