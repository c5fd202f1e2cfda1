use async_trait::async_trait;
use rdev_domain::{
    Command, CommandId, Entry, EntryBody, Error, IdempotencyKey, Outcome, ProjectId, Result, Seq, State,
    Status, StreamId, Timestamp, WorkerId,
};
use rdev_ports::{CancelRequested, Claim, Enqueued, Fence, NewCommand, Renewal, Started, TaskQueue};

use crate::SqlStore;
use crate::db::{DURABLE, read, write};
use crate::error::database;
use crate::idempotency;
use crate::rows::{TaskRow, parse, task_columns};
use crate::tasks::{end, entry, fenced, insert_task, leased, stored, task};

/// A running command holds its concurrency key, and so does a claimed one until its worker gives it back,
/// even when the lease has run out: the worker may still start it. Of the others the oldest is next.
pub(crate) const CLAIM: &str = concat!(
    "UPDATE tasks SET lease_owner = $1, lease_until_us = $2, attempt = attempt + 1
     WHERE id IN (
         SELECT t.id FROM tasks t
         WHERE t.status IN ('pending', 'running') AND t.lease_until_us < $3
           AND (t.concurrency_key IS NULL OR NOT EXISTS (
               SELECT 1 FROM tasks o
               WHERE o.concurrency_key = t.concurrency_key AND o.status IN ('pending', 'running')
                 AND o.id <> t.id
                 AND (o.status = 'running' OR o.lease_owner IS NOT NULL
                      OR o.id < t.id AND t.status = 'pending' AND t.lease_owner IS NULL)))
         ORDER BY t.id LIMIT $4)
     RETURNING ",
    task_columns!()
);

/// Ends a lease early. The next attempt begins at once, so that the claim given back is worthless: its
/// worker cannot start the command beside another one of the key.
macro_rules! give_back {
    () => {
        "UPDATE tasks SET lease_owner = NULL, lease_until_us = 0, attempt = attempt + 1"
    };
}

#[async_trait]
impl TaskQueue for SqlStore {
    async fn enqueue(&self, new: NewCommand) -> Result<Enqueued> {
        let command = &new.command;
        write!(&self.db, DURABLE, |tx| {
            if let Some(key) = &new.idempotency {
                let first =
                    idempotency::take(&mut tx, key, Some(command.id.as_str()), command.created_at).await?;
                if let Some(id) = first.and_then(|first| first.task_id) {
                    let row = task(&mut tx, &id).await?.ok_or(Error::NotFound { kind: "command", id })?;
                    return Ok(Enqueued::Before(row.command()?));
                }
            }
            insert_task(&mut tx, &new).await?;
            let entry = entry(command, Seq::ZERO, command.created_at, EntryBody::Status(Status::Pending));
            Ok(Enqueued::New(stored(&mut tx, entry).await?))
        })
    }

    async fn first_use(&self, key: &IdempotencyKey, now: Timestamp) -> Result<Timestamp> {
        write!(&self.db, |tx| {
            let first = idempotency::take(&mut tx, key, None, now).await?;
            Ok(first.map_or(now, |first| Timestamp::from_micros(first.created_us)))
        })
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        limit: u32,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Claim>> {
        let rows: Vec<TaskRow> = write!(&self.db, |tx| {
            sqlx::query_as(CLAIM)
                .bind(worker.as_str())
                .bind(lease_until.as_micros())
                .bind(now.as_micros())
                .bind(limit)
                .fetch_all(&mut *tx)
                .await
                .map_err(database)
        })?;
        let mut claims = rows.iter().map(claim).collect::<Result<Vec<_>>>()?;
        claims.sort_by(|a, b| a.fence.id.cmp(&b.fence.id));
        Ok(claims)
    }

    async fn start(&self, fence: &Fence, place_uid: &str, now: Timestamp) -> Result<Started> {
        write!(&self.db, |tx| {
            let (row, command) = fenced(&mut tx, fence).await?;
            let State::Running { started_at } = command.state.start(now)? else {
                return Err(Error::LeaseLost);
            };
            let place_uid = row.place_uid.unwrap_or_else(|| place_uid.to_owned());
            let mut started =
                Started { place_uid, started_at, cancel_requested: command.cancel_requested, entry: None };
            if command.state == State::Pending {
                sqlx::query(
                    "UPDATE tasks SET status = 'running', place_uid = $1, started_us = $2 WHERE id = $3",
                )
                .bind(&started.place_uid)
                .bind(started_at.as_micros())
                .bind(fence.id.as_str())
                .execute(&mut *tx)
                .await
                .map_err(database)?;
                let running = entry(&command, Seq::ZERO, now, EntryBody::Status(Status::Running));
                started.entry = Some(stored(&mut tx, running).await?);
            }
            Ok(started)
        })
    }

    async fn renew(&self, fences: &[Fence], lease_until: Timestamp) -> Result<Renewal> {
        write!(&self.db, |tx| {
            let mut renewal = Renewal::default();
            for fence in fences {
                let cancelled: Option<bool> = sqlx::query_scalar(
                    "UPDATE tasks SET lease_until_us = $1
                     WHERE id = $2 AND attempt = $3 AND status IN ('pending', 'running')
                     RETURNING cancel_requested",
                )
                .bind(lease_until.as_micros())
                .bind(fence.id.as_str())
                .bind(fence.attempt)
                .fetch_optional(&mut *tx)
                .await
                .map_err(database)?;
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
        write!(&self.db, |tx| {
            let (row, command) = fenced(&mut tx, fence).await?;
            if seq.0 as i64 <= row.last_seq {
                return Err(Error::LeaseLost);
            }
            end(&mut tx, command, seq, outcome, now).await.map(|(_, entry)| entry)
        })
    }

    async fn release(&self, fences: &[Fence]) -> Result<()> {
        write!(&self.db, |tx| {
            for fence in fences {
                sqlx::query(concat!(
                    give_back!(),
                    " WHERE id = $1 AND attempt = $2 AND status IN ('pending', 'running')"
                ))
                .bind(fence.id.as_str())
                .bind(fence.attempt)
                .execute(&mut *tx)
                .await
                .map_err(database)?;
            }
            Ok(())
        })
    }

    async fn postpone(&self, fence: &Fence, until: Timestamp) -> Result<()> {
        write!(&self.db, |tx| {
            sqlx::query(
                "UPDATE tasks SET lease_owner = NULL, lease_until_us = $1, attempt = attempt + 1
                 WHERE id = $2 AND attempt = $3 AND status IN ('pending', 'running')",
            )
            .bind(until.as_micros())
            .bind(fence.id.as_str())
            .bind(fence.attempt)
            .execute(&mut *tx)
            .await
            .map(|_| ())
            .map_err(database)
        })
    }

    async fn release_all(&self) -> Result<u64> {
        write!(&self.db, |tx| {
            sqlx::query(concat!(
                give_back!(),
                " WHERE status IN ('pending', 'running') AND lease_owner IS NOT NULL"
            ))
            .execute(&mut *tx)
            .await
            .map(|done| done.rows_affected())
            .map_err(database)
        })
    }

    async fn request_cancel(
        &self,
        project: &ProjectId,
        id: &CommandId,
        now: Timestamp,
    ) -> Result<Option<CancelRequested>> {
        write!(&self.db, |tx| {
            let Some(row) = task(&mut tx, id.as_str()).await? else {
                return Ok(None);
            };
            let mut command = row.command()?;
            if command.project != *project {
                return Ok(None);
            }
            if command.state.is_ended() || command.cancel_requested {
                return Ok(Some(CancelRequested { command, entry: None }));
            }
            sqlx::query("UPDATE tasks SET cancel_requested = TRUE WHERE id = $1")
                .bind(id.as_str())
                .execute(&mut *tx)
                .await
                .map_err(database)?;
            command.cancel_requested = true;
            let leased = leased(&mut tx, id, now).await?;
            if command.state != State::Pending || leased {
                return Ok(Some(CancelRequested { command, entry: None }));
            }
            let outcome =
                Outcome::without_process(rdev_domain::Ending::Cancelled, "cancelled before it started");
            let (command, entry) = end(&mut tx, command, Seq::ZERO.next(), outcome, now).await?;
            Ok(Some(CancelRequested { command, entry: Some(entry) }))
        })
    }

    async fn command(&self, project: &ProjectId, id: &CommandId) -> Result<Option<Command>> {
        let row: Option<TaskRow> = read!(&self.db, |pool| sqlx::query_as(concat!(
            "SELECT ",
            task_columns!(),
            " FROM tasks WHERE id = $1 AND project = $2"
        ))
        .bind(id.as_str())
        .bind(project.as_str())
        .fetch_optional(pool))?;
        row.map(|row| row.command()).transpose()
    }

    async fn command_of_stream(&self, project: &ProjectId, stream: &StreamId) -> Result<Option<Command>> {
        let row: Option<TaskRow> = read!(&self.db, |pool| sqlx::query_as(concat!(
            "SELECT ",
            task_columns!(),
            " FROM tasks WHERE project = $1 AND stream = $2"
        ))
        .bind(project.as_str())
        .bind(stream.as_str())
        .fetch_optional(pool))?;
        row.map(|row| row.command()).transpose()
    }

    async fn commands(
        &self,
        project: &ProjectId,
        before: Option<&CommandId>,
        limit: u32,
    ) -> Result<Vec<Command>> {
        let rows: Vec<TaskRow> = read!(&self.db, |pool| sqlx::query_as(concat!(
            "SELECT ",
            task_columns!(),
            " FROM tasks WHERE project = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
        ))
        .bind(project.as_str())
        // Every id begins with a letter, which sorts before this.
        .bind(before.map_or("~", CommandId::as_str))
        .bind(limit)
        .fetch_all(pool))?;
        rows.iter().map(TaskRow::command).collect()
    }

    async fn check(&self) -> Result<()> {
        read!(&self.db, |pool| sqlx::query_scalar::<_, i64>("SELECT 1").fetch_one(pool)).map(|_| ())
    }
}

fn claim(row: &TaskRow) -> Result<Claim> {
    Ok(Claim {
        fence: Fence { id: parse(&row.id)?, attempt: row.attempt },
        command: row.command()?,
        last_seq: Seq(row.last_seq as u64),
        place_uid: row.place_uid.clone(),
    })
}
