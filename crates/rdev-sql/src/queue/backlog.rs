//! The backlog, for those who ask often.

use rdev_domain::{JobStatus, Result, TaskKind, Timestamp};
use rdev_ports::{BACKLOG_MAX, Backlog, BacklogState};

use super::claim::key_is_held;
use crate::db::{Db, read};
use crate::error::unreadable;

/// Selects the pending jobs of a lane. One is ready unless it waits for its concurrency key.
macro_rules! pending {
    ($lane:literal) => {
        concat!(
            "SELECT kind, q.concurrency_key IS NULL OR NOT ",
            key_is_held!(),
            " AS is_ready, run_after_us > $1 AS later,
                   CASE WHEN run_after_us > created_us THEN run_after_us ELSE created_us END AS since_us
             FROM queue q WHERE lane = ",
            $lane,
            " AND started_us IS NULL LIMIT $2"
        )
    };
}

/// Counts by kind and stage; commands have no kind here.
pub(crate) const BACKLOG: &str = concat!(
    "SELECT kind, stage, COUNT(*), MIN(since_us) FROM (
         SELECT kind, since_us,
                CASE WHEN later THEN 'scheduled' WHEN is_ready THEN 'waiting' ELSE 'blocked' END AS stage
         FROM (",
    pending!("1"),
    ") AS tasks) AS staged GROUP BY kind, stage
     UNION ALL
     SELECT kind, 'running', COUNT(*), 0 FROM queue WHERE lane = 1 AND started_us IS NOT NULL GROUP BY kind
     UNION ALL
     SELECT '', 'pending', COUNT(*), MIN(CASE WHEN is_ready THEN since_us END) FROM (",
    pending!("0"),
    ") AS commands
     UNION ALL
     SELECT '', 'running', COUNT(*), 0 FROM queue WHERE lane = 0 AND started_us IS NOT NULL"
);

/// Counts the jobs that have not ended.
pub(crate) async fn backlog(db: &Db, now: Timestamp) -> Result<Backlog> {
    let rows = read!(
        db,
        fetch_all,
        query_as<(String, String, i64, Option<i64>)>,
        BACKLOG,
        now.as_micros(),
        i64::from(BACKLOG_MAX),
    )?;
    let mut backlog = Backlog::default();
    for (kind, stage, count, since_us) in rows {
        let (of, count) = (TaskKind::parse(&kind), count.unsigned_abs());
        let since = since_us.map(Timestamp::from_micros);
        match (of, BacklogState::parse(&stage), JobStatus::parse(&stage)) {
            (Some(of), Some(stage), _) => {
                backlog.tasks.push((of, stage, count));
                if stage == BacklogState::Waiting {
                    backlog.waiting_since = [backlog.waiting_since, since].into_iter().flatten().min();
                }
            }
            (None, _, Some(JobStatus::Pending)) => {
                (backlog.commands_waiting, backlog.command_waiting_since) = (count, since);
            }
            (None, _, Some(JobStatus::Running)) => backlog.commands_running = count,
            _ => return Err(unreadable("backlog", &(kind, stage))),
        }
    }
    backlog.tasks.sort();
    Ok(backlog)
}
