use async_trait::async_trait;
use rdev_domain::{
    Command, CommandId, Entry, EntryBody, Error, Home, IdempotencyKey, Outcome, Result, Retrying, Seq, State,
    Status, StreamId, Timestamp, WorkerId,
};
use rdev_ports::{
    CancelRequested, Claim, Enqueued, Fence, NewCommand, Renewal, Retry, Seat, Slots, Started, TaskQueue,
};

use crate::SqlStore;
use crate::db::{Commit, Db, execute, read, run, write, write_once};
use crate::group::{Enqueue, Finish, Start};
use crate::idempotency;
use crate::rows::{TaskRow, parse, task_columns};
use crate::tasks::{end, entry, fenced, insert_task, leased, locked, stored, task, wait_again};

/// Whether another task keeps `t` from its concurrency key. A running command holds its key, and so does a
/// claimed one until its worker gives it back, even when the lease has run out: the worker may still start it.
/// Of the others that are due the one of the highest priority is next, then the oldest. These are two questions:
/// as one, Postgres reads all that waits, once for each that is blocked.
macro_rules! key_is_held {
    ($now:literal) => {
        concat!(
            "(EXISTS (SELECT 1 FROM tasks o WHERE o.holds_key = t.concurrency_key AND o.id <> t.id)
              OR t.holds_key IS NULL AND EXISTS (
                  SELECT 1 FROM tasks o
                  WHERE o.concurrency_key = t.concurrency_key AND o.status IN ('pending', 'running')
                    AND o.status = 'pending' AND o.run_after_us <= ",
            $now,
            " AND (o.priority > t.priority OR o.priority = t.priority AND o.id < t.id)))"
        )
    };
}
pub(crate) use key_is_held;

/// What may be claimed of the rest of a query.
macro_rules! first {
    ($of:literal, $limit:literal) => {
        concat!(
            "SELECT t.id FROM tasks t WHERE ",
            $of,
            " AND t.lease_until_us < $3 AND t.run_after_us <= $3
              AND (t.concurrency_key IS NULL OR NOT ",
            key_is_held!("$3"),
            ") ORDER BY t.priority DESC, t.turn, t.id LIMIT ",
            $limit
        )
    };
}

macro_rules! commands {
    () => {
        first!("t.status IN ('pending', 'running') AND NOT t.pool", "$4")
    };
}

macro_rules! waiting_tasks {
    () => {
        first!("t.status = 'pending' AND t.pool", "$5")
    };
}

/// Tasks of the pool that run, and whose worker process is gone: more than these are for the next claim.
macro_rules! running_tasks {
    () => {
        "SELECT t.id FROM tasks t WHERE t.status = 'running' AND t.pool = TRUE AND t.lease_until_us < $3 LIMIT 256"
    };
}

/// The number of a claim is its time, or the next one: also a claim that a crash of the server has forgotten
/// shares its number with none.
macro_rules! claim {
    ($from:literal, $begin:literal, $between:literal, $end:literal) => {
        concat!(
            "UPDATE tasks SET lease_owner = $1, lease_until_us = $2,
                              attempt = CASE WHEN attempt < $3 THEN $3 ELSE attempt + 1 END",
            $from,
            " WHERE id ",
            $begin,
            commands!(),
            $between,
            waiting_tasks!(),
            $between,
            running_tasks!(),
            $end,
            " RETURNING ",
            task_columns!()
        )
    };
}

pub(crate) const CLAIM: &str = claim!("", "IN (SELECT id FROM (", ") UNION ALL SELECT id FROM (", "))");

/// What another process is claiming is passed over; it is seen as it was before. Two that claim different
/// commands of one key at once are kept apart by the index `tasks_by_held_key`. The arrays make
/// sure that the inner queries, and with them their limits, are evaluated once.
///
/// It waits for no flush: nobody acts upon a claim but through a later write, whose flush is also of what was
/// written before.
pub(crate) const CLAIM_BESIDE_OTHERS: &str = claim!(
    " FROM (SELECT set_config('synchronous_commit', 'off', TRUE)) AS light",
    "= ANY (ARRAY(",
    " FOR UPDATE OF t SKIP LOCKED) || ARRAY(",
    " FOR UPDATE OF t SKIP LOCKED))"
);

/// Claims that met another one of the same key begin again; each time, one of them has gone on.
const CLAIM_ATTEMPTS: u32 = 5;

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
        write!(&self.db, Commit::Durable, |tx| {
            if let Some(key) = &new.idempotency {
                let first =
                    idempotency::take(&mut tx, key, Some(command.id.as_str()), command.created_at).await?;
                if let Some(id) = first.and_then(|first| first.task_id) {
                    let row = task(&mut tx, &id).await?.ok_or(Error::NotFound { kind: "command", id })?;
                    return Ok(Enqueued::Before(Box::new(row.command()?)));
                }
            }
            insert_task(&mut tx, &new).await?;
            let entry = entry(command, Seq::ZERO, command.created_at, EntryBody::Status(Status::Pending));
            Ok(Enqueued::New(stored(&mut tx, entry).await?))
        })
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
        let mut attempts = 1;
        let mut rows = loop {
            match self.try_claim(worker, slots, now, lease_until).await {
                Err(error) if attempts < CLAIM_ATTEMPTS && met_another(&error) => attempts += 1,
                rows => break rows?,
            }
        };
        rows.sort_by(|a, b| {
            let rank = |row: &TaskRow| (row.pool && row.place_uid.is_none(), -row.priority, row.turn);
            rank(a).cmp(&rank(b)).then_with(|| a.id.cmp(&b.id))
        });
        rows.iter().map(claim).collect()
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
            let State::Running { started_at } = command.state.start(now)? else {
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
            }
            Ok(started)
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
            let (row, command) = fenced(&mut tx, fence).await?;
            if seq.0 as i64 <= row.last_seq {
                return Err(Error::LeaseLost);
            }
            end(&mut tx, command, seq, outcome, now).await.map(|(_, entry)| entry)
        })
    }

    async fn retry(&self, fence: &Fence, retry: Retry, now: Timestamp) -> Result<Entry> {
        write!(&self.db, Commit::Told, |tx| {
            let (row, command) = fenced(&mut tx, fence).await?;
            let last_seq = Seq(row.last_seq as u64);
            if command.cancel_requested {
                let outcome = Outcome::without_process(rdev_domain::Ending::Cancelled, retry.error);
                let ended = end(&mut tx, command, last_seq.next(), outcome, now).await?;
                return Ok(ended.1);
            }
            command.state.retry()?;
            wait_again(&mut tx, &fence.id, retry.run_after, &retry.error).await?;
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

    async fn release_all_but(&self, worker: &WorkerId, held: &[Fence]) -> Result<u64> {
        // As a text between commas: how lists are bound differs between the databases.
        let held: String = held.iter().map(|fence| format!(",{},", fence.id)).collect();
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
            if command.state.is_ended() || command.cancel_requested {
                return Ok(Some(CancelRequested { command, entry: None }));
            }
            execute!(&mut tx, "UPDATE tasks SET cancel_requested = TRUE WHERE id = $1", id.as_str())?;
            command.cancel_requested = true;
            let leased = leased(&mut tx, id, now).await?;
            if command.state != State::Pending || leased {
                return Ok(Some(CancelRequested { command, entry: None }));
            }
            let outcome =
                Outcome::without_process(rdev_domain::Ending::Cancelled, "cancelled before it started");
            let (command, entry) = end(&mut tx, command, seq, outcome, now).await?;
            Ok(Some(CancelRequested { command, entry: Some(entry) }))
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

    async fn check(&self) -> Result<()> {
        self.check_writes().await
    }
}

impl SqlStore {
    async fn try_claim(
        &self,
        worker: &WorkerId,
        slots: Slots,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<TaskRow>> {
        let sql = match &self.db {
            Db::Sqlite { .. } => CLAIM,
            Db::Postgres(_) => CLAIM_BESIDE_OTHERS,
        };
        write_once!(&self.db, |tx| {
            run!(
                &mut tx,
                fetch_all,
                query_as<TaskRow>,
                sql,
                worker.as_str(),
                lease_until.as_micros(),
                now.as_micros(),
                i64::from(slots.commands),
                i64::from(slots.pool),
            )
        })
    }
}

/// As whoever changes several tasks at once takes them: so nobody waits for each other.
fn in_order(fences: &[Fence]) -> Vec<&Fence> {
    let mut fences: Vec<_> = fences.iter().collect();
    fences.sort_by_key(|fence| &fence.id);
    fences
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

/// Whether a claim has met another process's of the same key.
fn met_another(error: &Error) -> bool {
    let Error::Internal(source) = error else {
        return false;
    };
    let error = source.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
    error.is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

fn claim(row: &TaskRow) -> Result<Claim> {
    Ok(Claim {
        fence: Fence { id: parse(&row.id)?, attempt: row.attempt },
        command: row.command()?,
        last_seq: Seq(row.last_seq as u64),
        place_uid: row.place_uid.clone(),
        seat: row.seat()?,
    })
}
