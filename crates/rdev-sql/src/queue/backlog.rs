//! The backlog, for those who ask often.

use rdev_domain::{JobStatus, Result, TaskKind, Timestamp};
use rdev_ports::{BACKLOG_MAX, Backlog, BacklogState};

use crate::db::{Db, read};
use crate::error::unreadable;

/// Of the pending tasks of a key the first could start, unless one of the key runs. Tasks without a key are handled
/// apart: sorting them, when many are pending, would be most of the work.
pub(crate) const BACKLOG: &str = "
    WITH running_keys AS (
        SELECT concurrency_key FROM tasks WHERE status = 'running' AND concurrency_key IS NOT NULL
    ), waiting AS (
        SELECT id, kind, priority, concurrency_key, run_after_us > $1 AS later,
               CASE WHEN run_after_us > created_us THEN run_after_us ELSE created_us END AS since_us
        FROM tasks WHERE status = 'pending' AND pool LIMIT $2
    ), staged AS (
        SELECT kind, since_us, CASE WHEN later THEN 'scheduled' ELSE 'waiting' END AS stage
        FROM waiting WHERE concurrency_key IS NULL
        UNION ALL
        SELECT kind, since_us,
               CASE WHEN later THEN 'scheduled'
                    WHEN concurrency_key IN (SELECT concurrency_key FROM running_keys) THEN 'blocked'
                    WHEN ROW_NUMBER() OVER (PARTITION BY concurrency_key, later ORDER BY priority DESC, id) > 1
                         THEN 'blocked'
                    ELSE 'waiting' END
        FROM waiting WHERE concurrency_key IS NOT NULL
    )
    SELECT kind, stage, COUNT(*), MIN(since_us) FROM staged GROUP BY kind, stage
    UNION ALL
    SELECT kind, 'running', COUNT(*), 0 FROM tasks WHERE status = 'running' AND pool GROUP BY kind
    UNION ALL
    SELECT '', status, COUNT(*),
           MIN(CASE WHEN concurrency_key IN (SELECT concurrency_key FROM running_keys) THEN NULL ELSE since_us END)
    FROM (SELECT status, concurrency_key,
                 CASE WHEN run_after_us > created_us THEN run_after_us ELSE created_us END AS since_us
          FROM tasks
          WHERE status IN ('pending', 'running') AND NOT pool AND project <> '@operations' LIMIT $2) AS commands
    GROUP BY status";

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
