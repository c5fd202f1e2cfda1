//! What is asked of the queue about the pool.

use async_trait::async_trait;
use rdev_domain::{
    BlockedBy, EntryBody, Error, IdempotencyKey, Job, JobId, JobState, JobStatus, Outcome, Result, Seq,
    TaskKind, Timestamp, WorkerName,
};
use rdev_ports::{
    Backlog, BacklogPosition, Occupancy, Occurrence, PoolQueue, QueueStats, Reopened, STATS_WAITS_MAX,
    TaskFilter,
};

use crate::SqlStore;
use crate::backlog::backlog;
use crate::claim::key_is_held;
use crate::db::{Commit, Tx, execute, read, write};
use crate::entries::{entry, stored};
use crate::error::unreadable;
use crate::idempotency;
use crate::retention::weigh_no_more;
use crate::rows::{FormerEnd, KIND_COMPLETE, TaskRow, parse, slot, task_columns};
use crate::tasks::{locked, requeue, turn};

macro_rules! ahead {
    ($queue_position:literal) => {
        concat!(
            "SELECT COUNT(*) FROM tasks t JOIN tasks me ON me.id = $1 WHERE ",
            $queue_position,
            " AND t.status = 'pending'
              AND (t.priority > me.priority OR t.priority = me.priority
                   AND (t.turn < me.turn OR t.turn = me.turn AND t.id < me.id))"
        )
    };
}

const COMMANDS_AHEAD: &str = ahead!("t.status IN ('pending', 'running') AND NOT t.pool");
const TASKS_AHEAD: &str = ahead!("t.status = 'pending' AND t.pool");

#[async_trait]
impl PoolQueue for SqlStore {
    async fn tasks(&self, filter: &TaskFilter, before: Option<&JobId>, limit: u32) -> Result<Vec<Job>> {
        // As a text between commas: how lists are bound differs between the databases.
        let statuses: String =
            filter.statuses.iter().map(|status| format!(",{},", status.as_str())).collect();
        let rows = read!(
            &self.db,
            fetch_all,
            query_as<TaskRow>,
            concat!(
                "SELECT ",
                task_columns!(),
                " FROM tasks WHERE project = $1 AND id < $2
                   AND ($3 = '' OR $3 LIKE '%,' || status || ',%')
                   AND ($4 = '' OR kind = $4) AND ($5 = '' OR share = $5)
                  ORDER BY id DESC LIMIT $6"
            ),
            crate::target::POOL,
            // Every id begins with a letter, which sorts before this.
            before.map_or("~", JobId::as_str),
            &statuses,
            filter.kind.map_or("", TaskKind::as_str),
            filter.project.as_ref().map_or("", |project| project.as_str()),
            i64::from(limit),
        )?;
        rows.iter().map(TaskRow::job).collect()
    }

    async fn reopen(
        &self,
        id: &JobId,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<Reopened>> {
        write!(&self.db, Commit::Durable, |tx| {
            let Some(row) = locked(&mut tx, id.as_str()).await?.filter(|row| row.pool) else {
                return Ok(None);
            };
            let before = row.job()?;
            if idempotency::asked(&mut tx, idempotency, now).await? == Occurrence::Repeated {
                return Ok(Some(Reopened::Existing(Box::new(before))));
            }
            let (job, retrying) = before.reopened()?;
            if let JobState::Ended { outcome, .. } = &before.state {
                keep_end(&mut tx, &row, outcome).await?;
            }
            let turn = turn(&mut tx, &job).await?;
            requeue(&mut tx, id, Timestamp::from_micros(0), &retrying.message, true).await?;
            execute!(
                &mut tx,
                "UPDATE tasks SET turn = $1, earlier_tries = tries, cancel_requested = FALSE, ended_us = NULL,
                                  exit_code = NULL, reason = NULL, message = NULL, duration_us = NULL
                 WHERE id = $2",
                turn,
                id.as_str(),
            )?;
            let entry = entry(&job, Seq(row.last_seq as u64), now, EntryBody::Retry(retrying));
            Ok(Some(Reopened::New(Box::new(job), stored(&mut tx, entry).await?)))
        })
    }

    async fn queue_position(&self, id: &JobId, now: Timestamp) -> Result<Option<BacklogPosition>> {
        let me = read!(
            &self.db,
            fetch_optional,
            query_as<(bool, i64, bool)>,
            concat!(
                "SELECT t.pool, t.run_after_us, ",
                key_is_held!("$2"),
                " FROM tasks t WHERE t.id = $1 AND t.status = 'pending'"
            ),
            id.as_str(),
            now.as_micros(),
        )?;
        let Some((pool, run_after_us, key_is_held)) = me else { return Ok(None) };
        let sql = if pool { TASKS_AHEAD } else { COMMANDS_AHEAD };
        let ahead = read!(&self.db, fetch_one, query_scalar<i64>, sql, id.as_str())?;
        let blocked_by = match () {
            () if run_after_us > now.as_micros() => Some(BlockedBy::RunAfter),
            () if key_is_held && pool => Some(BlockedBy::ConcurrencyKey),
            () if key_is_held => Some(BlockedBy::Workspace),
            () => None,
        };
        Ok(Some(BacklogPosition { ahead: ahead.unsigned_abs(), blocked_by }))
    }

    async fn occupancy(&self) -> Result<Occupancy> {
        // One question: it is asked before every claim.
        let rows = read!(
            &self.db,
            fetch_all,
            query_as<(Option<String>, i32, Option<String>)>,
            "SELECT worker, seat, id FROM tasks WHERE status = 'running' AND worker IS NOT NULL
             UNION ALL SELECT worker, 0, NULL FROM draining_workers
             UNION ALL SELECT NULL, 0, NULL WHERE EXISTS (SELECT 1 FROM tasks WHERE status = 'pending' AND pool)",
        )?;
        let mut occupancy = Occupancy::default();
        for row in &rows {
            match (row.2.as_deref(), slot(row.0.as_deref(), row.1)?) {
                (Some(task), Some(slot)) => occupancy.busy.push((slot, parse(task)?)),
                (None, Some(slot)) => occupancy.draining.push(slot.worker),
                (_, None) => occupancy.waits = true,
            }
        }
        occupancy.busy.sort();
        occupancy.draining.sort();
        Ok(occupancy)
    }

    async fn set_draining(
        &self,
        worker: &WorkerName,
        draining: bool,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Occurrence> {
        write!(&self.db, Commit::Durable, |tx| {
            let asked = idempotency::asked(&mut tx, idempotency, now).await?;
            match (asked, draining) {
                (Occurrence::Repeated, _) => Ok(0),
                (Occurrence::First, true) => execute!(
                    &mut tx,
                    "INSERT INTO draining_workers (worker, since_us) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                    worker.as_str(),
                    now.as_micros(),
                ),
                (Occurrence::First, false) => {
                    execute!(&mut tx, "DELETE FROM draining_workers WHERE worker = $1", worker.as_str())
                }
            }
            .map(|_| asked)
        })
    }

    async fn backlog(&self, now: Timestamp) -> Result<Backlog> {
        backlog(&self.db, now).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        let counts = read!(
            &self.db,
            fetch_all,
            query_as<(String, String, i64)>,
            "SELECT kind, status, COUNT(*) FROM tasks WHERE pool GROUP BY kind, status ORDER BY kind, status",
        )?;
        let oldest = read!(
            &self.db,
            fetch_one,
            query_scalar<Option<i64>>,
            "SELECT MIN(created_us) FROM tasks WHERE status = 'pending' AND pool",
        )?;
        let mut waits_us = read!(
            &self.db,
            fetch_all,
            query_scalar<i64>,
            "SELECT started_us - CASE WHEN run_after_us > created_us THEN run_after_us ELSE created_us END
             FROM tasks WHERE project = $1 AND started_us IS NOT NULL AND ended_us IS NOT NULL
             ORDER BY id DESC LIMIT $2",
            crate::target::POOL,
            STATS_WAITS_MAX as i64,
        )?;
        waits_us.sort_unstable();
        let count = |(kind, status, count): &(String, String, i64)| {
            let (Some(kind), Some(status)) = (TaskKind::parse(kind), JobStatus::parse(status)) else {
                return Err(unreadable("task", &(kind, status)));
            };
            Ok((kind, status, count.unsigned_abs()))
        };
        Ok(QueueStats {
            counts: counts.iter().map(count).collect::<Result<_>>()?,
            oldest_waiting: oldest.map(Timestamp::from_micros),
            waits_us,
        })
    }
}

/// Has the complete entry of a task say itself how the task ended: its row is about to forget that.
async fn keep_end(tx: &mut Tx, row: &TaskRow, outcome: &Outcome) -> Result<()> {
    let body = serde_json::to_vec(&FormerEnd::of(outcome)).map_err(|error| Error::Internal(error.into()))?;
    weigh_no_more(tx, &row.id, row.last_seq).await?;
    execute!(
        tx,
        "UPDATE events SET body = $1 WHERE task_id = $2 AND last_seq = $3 AND kind = $4",
        body,
        &row.id,
        row.last_seq,
        KIND_COMPLETE,
    )
    .map(|_| ())
}
