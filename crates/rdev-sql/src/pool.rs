//! Queries and settings of the worker pool.

use async_trait::async_trait;
use rdev_domain::{IdempotencyKey, JobStatus, Result, TaskKind, Timestamp, WorkerName};
use rdev_ports::{Backlog, Occupancy, Occurrence, PoolQueue, QueueStats, STATS_WAITS_MAX};

use crate::db::{Commit, execute, read, write};
use crate::error::unreadable;
use crate::queue::backlog::backlog;
use crate::queue::idempotency;
use crate::queue::rows::slot;
use crate::store::SqlStore;
use crate::values::{POOL, parse};

#[async_trait]
impl PoolQueue for SqlStore {
    async fn occupancy(&self) -> Result<Occupancy> {
        // One query: workers ask before every claim.
        let rows = read!(
            &self.db,
            fetch_all,
            query_as<(Option<String>, i32, Option<String>)>,
            "SELECT worker, slot, id FROM queue WHERE worker IS NOT NULL
             UNION ALL SELECT worker, 0, NULL FROM draining_workers
             UNION ALL SELECT NULL, 0, NULL WHERE EXISTS (
                 SELECT 1 FROM queue WHERE lane = 1 AND started_us IS NULL)",
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
            let asked = idempotency::asked(&mut tx, idempotency, None, now).await?;
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
            "SELECT kind, status, count FROM ended_tasks WHERE count > 0
             UNION ALL
             SELECT kind, 'pending', COUNT(*) FROM queue WHERE lane = 1 AND started_us IS NULL GROUP BY kind
             UNION ALL
             SELECT kind, 'running', COUNT(*) FROM queue WHERE lane = 1 AND started_us IS NOT NULL GROUP BY kind
             ORDER BY 1, 2",
        )?;
        let oldest = read!(
            &self.db,
            fetch_one,
            query_scalar<Option<i64>>,
            "SELECT MIN(created_us) FROM queue WHERE lane = 1 AND started_us IS NULL",
        )?;
        let mut waits_us = read!(
            &self.db,
            fetch_all,
            query_scalar<i64>,
            "SELECT started_us - CASE WHEN run_after_us > created_us THEN run_after_us ELSE created_us END
             FROM jobs WHERE target = $1 AND started_us IS NOT NULL AND ended_us IS NOT NULL
             ORDER BY id DESC LIMIT $2",
            POOL,
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
