//! Jobs are found, listed and ordered.

use rdev_domain::{BlockedBy, Job, JobId, JobKind, Result, StreamId, Target, Timestamp};
use rdev_ports::{BacklogPosition, JobFilter, Unfinished};

use super::claim::key_is_held;
use super::rows::{TaskRow, task_columns};
use crate::db::{Db, Transaction, bounded, read};
use crate::error::database;
use crate::store::SqlStore;
use crate::values::{between_commas, column, parse};

pub(crate) const UNFINISHED: &str = "SELECT id, tries FROM tasks
     WHERE id IN (SELECT value FROM json_each($1)) AND status IN ('pending', 'running')";
pub(crate) const UNFINISHED_ON_POSTGRES: &str = "SELECT id, tries FROM tasks
     WHERE id = ANY($1) AND status IN ('pending', 'running')";

/// Lists jobs of a target, newest first.
macro_rules! jobs {
    ($from:literal, $of:literal) => {
        concat!(
            "SELECT ",
            task_columns!(),
            " FROM tasks",
            $from,
            " WHERE pool = $9 AND ",
            $of,
            " AND ($4 = '' OR $4 LIKE '%,' || status || ',%' OR $4 LIKE '%,waiting_' || waiting_for || ',%')
              AND ($5 = '' OR kind = $5) AND ($6 = '' OR share = $6) AND ($7 = '' OR stream = $7)
              ORDER BY id DESC LIMIT $8"
        )
    };
}

pub(crate) const JOBS: &str = jobs!("", "project = $1 AND id < $2 AND id >= $3");

pub(crate) const JOBS_OF_STREAM: &str = jobs!("", "project = $1 AND stream = $7 AND id < $2 AND id >= $3");

/// Reads the jobs that have not ended, however many have, and sorts them. Compares texts that have no index: the other
/// indexes hold the jobs that have ended, too.
macro_rules! unfinished_jobs {
    ($from:literal) => {
        jobs!(
            $from,
            "status IN ('pending', 'running') AND project || '' = $1 AND id || '' < $2 AND id || '' >= $3"
        )
    };
}

pub(crate) const UNFINISHED_JOBS: &str = unfinished_jobs!(" INDEXED BY tasks_by_share");
pub(crate) const UNFINISHED_JOBS_ON_POSTGRES: &str = unfinished_jobs!("");

/// Counts the pending jobs of a queue before the job `$1`.
macro_rules! ahead {
    ($queue:literal) => {
        concat!(
            "SELECT COUNT(*) FROM tasks t JOIN tasks me ON me.id = $1 WHERE ",
            $queue,
            " AND t.status = 'pending'
              AND (t.priority > me.priority OR t.priority = me.priority
                   AND (t.turn < me.turn OR t.turn = me.turn AND t.id < me.id))"
        )
    };
}

const COMMANDS_AHEAD: &str = ahead!("t.status IN ('pending', 'running') AND NOT t.pool");
const TASKS_AHEAD: &str = ahead!("t.status = 'pending' AND t.pool");

pub(super) async fn job(store: &SqlStore, target: &Target, id: &JobId) -> Result<Option<Job>> {
    let row = read!(
        &store.db,
        fetch_optional,
        query_as<TaskRow>,
        concat!("SELECT ", task_columns!(), " FROM tasks WHERE id = $1 AND project = $2"),
        id.as_str(),
        column(target),
    )?;
    row.map(|row| row.job()).transpose()
}

pub(super) async fn job_of_stream(
    store: &SqlStore,
    target: &Target,
    stream: &StreamId,
) -> Result<Option<Job>> {
    let row = read!(
        &store.db,
        fetch_optional,
        query_as<TaskRow>,
        concat!("SELECT ", task_columns!(), " FROM tasks WHERE project = $1 AND stream = $2"),
        column(target),
        stream.as_str(),
    )?;
    row.map(|row| row.job()).transpose()
}

pub(super) async fn jobs(
    store: &SqlStore,
    target: &Target,
    filter: &JobFilter,
    before: Option<&JobId>,
    limit: u32,
) -> Result<Vec<Job>> {
    let statuses = between_commas(filter.statuses.iter().map(|status| status.as_str()));
    let sql = match &store.db {
        _ if filter.stream.is_some() => JOBS_OF_STREAM,
        _ if !filter.is_unfinished() => JOBS,
        Db::Sqlite { .. } => UNFINISHED_JOBS,
        Db::Postgres(_) => UNFINISHED_JOBS_ON_POSTGRES,
    };
    let rows = read!(
        &store.db,
        fetch_all,
        query_as<TaskRow>,
        sql,
        column(target),
        // Every id begins with a letter, and letters sort before this.
        before.map_or("~", JobId::as_str),
        filter.from.as_ref().map_or("", JobId::as_str),
        &statuses,
        filter.kind.map_or("", JobKind::as_str),
        filter.project.as_ref().map_or("", |project| project.as_str()),
        filter.stream.as_ref().map_or("", |stream| stream.as_str()),
        i64::from(limit),
        matches!(target, Target::Pool),
    )?;
    rows.iter().map(TaskRow::job).collect()
}

pub(super) async fn queue_position(
    store: &SqlStore,
    id: &JobId,
    now: Timestamp,
) -> Result<Option<BacklogPosition>> {
    let me = read!(
        &store.db,
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
    let ahead = read!(&store.db, fetch_one, query_scalar<i64>, sql, id.as_str())?;
    let blocked_by = match () {
        () if run_after_us > now.as_micros() => Some(BlockedBy::RunAfter),
        () if key_is_held && pool => Some(BlockedBy::ConcurrencyKey),
        () if key_is_held => Some(BlockedBy::Workspace),
        () => None,
    };
    Ok(Some(BacklogPosition { ahead: ahead.unsigned_abs(), blocked_by }))
}

pub(super) async fn unfinished(store: &SqlStore, ids: &[JobId]) -> Result<Vec<Unfinished>> {
    let ids: Vec<&str> = ids.iter().map(JobId::as_str).collect();
    let rows: Vec<(String, i32)> = match &store.db {
        Db::Sqlite { read, .. } => {
            let ids = serde_json::to_string(&ids).map_err(anyhow::Error::from)?;
            sqlx::query_as(UNFINISHED).bind(ids).fetch_all(read).await.map_err(database)?
        }
        Db::Postgres(pool) => {
            bounded(&store.db, async {
                let mut transaction = Transaction::reading(pool).await?;
                let query = sqlx::query_as(UNFINISHED_ON_POSTGRES).bind(ids);
                let rows = query.fetch_all(transaction.connection()?).await;
                transaction.end(rows.map_err(database)).await
            })
            .await?
        }
    };
    rows.iter()
        .map(|(id, attempts)| Ok(Unfinished { id: parse(id)?, attempt: attempts.unsigned_abs() }))
        .collect()
}
