//! Jobs are found, listed and ordered.

use rdev_domain::{BlockedBy, Job, JobId, JobKind, Lane, Result, StreamId, Target, Timestamp};
use rdev_ports::{BacklogPosition, JobFilter, Unfinished};

use super::claim::key_is_held;
use super::rows::{JobRow, job_columns, status};
use crate::db::read;
use crate::store::SqlStore;
use crate::values::{between_commas, column, json_list, lane_column, of_list, parse};

pub(crate) const UNFINISHED: [&str; 2] = of_list!("SELECT id, attempts FROM queue WHERE id", "$1");

/// Lists jobs of a target, newest first.
macro_rules! jobs {
    ($from:literal, $of:literal) => {
        concat!(
            "SELECT ",
            job_columns!(),
            " FROM ",
            $from,
            " WHERE ",
            $of,
            " AND j.id < $2 AND j.id >= $3 AND ($4 = '' OR $4 LIKE '%,' || ",
            status!(),
            " || ',%' OR $4 LIKE '%,waiting_' || q.waiting_for || ',%')
              AND ($5 = '' OR j.kind = $5) AND ($6 = '' OR j.project = $6) AND ($7 = '' OR j.stream = $7)
              ORDER BY j.id DESC LIMIT $8"
        )
    };
}

pub(crate) const JOBS: &str = jobs!("jobs j LEFT JOIN queue q ON q.id = j.id", "j.target = $1");

/// Of a named stream. The stream of any other job has the job's id.
pub(crate) const JOBS_OF_STREAM: &str = jobs!(
    "jobs j LEFT JOIN queue q ON q.id = j.id",
    "j.id = COALESCE((SELECT n.id FROM jobs n WHERE n.target = $1 AND n.stream = $7 AND n.stream <> n.id), $7)
     AND j.target = $1"
);

/// Reads the jobs of the lane that have not ended, however many have, and sorts them. `CROSS JOIN` keeps SQLite from
/// beginning with the jobs that have ended, too.
macro_rules! unfinished_jobs {
    ($join:literal) => {
        jobs!($join, "j.id = q.id AND q.lane = $9 AND j.target || '' = $1")
    };
}

pub(crate) const UNFINISHED_JOBS: &str = unfinished_jobs!("queue q CROSS JOIN jobs j");
pub(crate) const UNFINISHED_JOBS_ON_POSTGRES: &str = unfinished_jobs!("queue q, jobs j");

/// Counts the pending jobs of a lane before the job `$1`.
const AHEAD: &str = "SELECT COUNT(*) FROM queue q JOIN queue me ON me.id = $1
     WHERE q.lane = me.lane AND q.started_us IS NULL
       AND (q.priority > me.priority OR q.priority = me.priority
            AND (q.virtual_time < me.virtual_time OR q.virtual_time = me.virtual_time AND q.id < me.id))";

const JOB: &str = concat!(
    "SELECT ",
    job_columns!(),
    " FROM jobs j LEFT JOIN queue q ON q.id = j.id WHERE j.id = $1 AND j.target = $2"
);

pub(crate) const JOB_OF_STREAM: &str = concat!(
    "SELECT ",
    job_columns!(),
    " FROM jobs j LEFT JOIN queue q ON q.id = j.id
     WHERE j.id = COALESCE((SELECT n.id FROM jobs n WHERE n.target = $1 AND n.stream = $2 AND n.stream <> n.id), $2)
       AND j.target = $1 AND j.stream = $2"
);

pub(super) async fn job(store: &SqlStore, target: &Target, id: &JobId) -> Result<Option<Job>> {
    let row = read!(&store.db, fetch_optional, query_as<JobRow>, JOB, id.as_str(), column(target),)?;
    row.map(|row| row.job()).transpose()
}

pub(super) async fn job_of_stream(
    store: &SqlStore,
    target: &Target,
    stream: &StreamId,
) -> Result<Option<Job>> {
    let row =
        read!(&store.db, fetch_optional, query_as<JobRow>, JOB_OF_STREAM, column(target), stream.as_str(),)?;
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
    let sql = match () {
        () if filter.stream.is_some() => JOBS_OF_STREAM,
        () if !filter.is_unfinished() => JOBS,
        () => store.db.text([UNFINISHED_JOBS, UNFINISHED_JOBS_ON_POSTGRES]),
    };
    let rows = read!(
        &store.db,
        fetch_all,
        query_as<JobRow>,
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
        lane_column(target.lane()),
    )?;
    rows.iter().map(JobRow::job).collect()
}

pub(super) async fn queue_position(
    store: &SqlStore,
    id: &JobId,
    now: Timestamp,
) -> Result<Option<BacklogPosition>> {
    let me = read!(
        &store.db,
        fetch_optional,
        query_as<(i32, i64, bool)>,
        concat!(
            "SELECT q.lane, q.run_after_us, q.concurrency_key IS NOT NULL AND ",
            key_is_held!(),
            " FROM queue q WHERE q.id = $1 AND q.started_us IS NULL"
        ),
        id.as_str(),
    )?;
    let Some((lane, run_after_us, key_is_held)) = me else { return Ok(None) };
    let ahead = read!(&store.db, fetch_one, query_scalar<i64>, AHEAD, id.as_str())?;
    let blocked_by = match () {
        () if run_after_us > now.as_micros() => Some(BlockedBy::RunAfter),
        () if key_is_held && lane == lane_column(Lane::Tasks) => Some(BlockedBy::ConcurrencyKey),
        () if key_is_held => Some(BlockedBy::Workspace),
        () => None,
    };
    Ok(Some(BacklogPosition { ahead: ahead.unsigned_abs(), blocked_by }))
}

pub(super) async fn unfinished(store: &SqlStore, ids: &[JobId]) -> Result<Vec<Unfinished>> {
    let ids = json_list(ids.iter().map(JobId::as_str))?;
    let rows = read!(&store.db, fetch_all, query_as<(String, i32)>, store.db.text(UNFINISHED), &ids)?;
    rows.iter()
        .map(|(id, attempts)| Ok(Unfinished { id: parse(id)?, attempt: attempts.unsigned_abs() }))
        .collect()
}
