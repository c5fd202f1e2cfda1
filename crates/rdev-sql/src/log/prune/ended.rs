//! Jobs that have ended, with all of their data: first files, then entries, then the row.

use rdev_domain::{ProjectId, Result, Timestamp};
use rdev_ports::{DELETION_PATIENCE, FOLLOWER_PATIENCE, StepReport};

use super::step::{EntrySize, ROWS_MAX, Step, size_columns};
use super::weight::{End, end_of};
use crate::db::{Tx, execute, run};
use crate::log::followers::{mark_gap, slowest};
use crate::log::rows::is_end;
use crate::row::row;
use crate::values::POOL;

/// Maximum number of jobs that one transaction removes.
const JOBS_MAX: usize = 32;

/// Selects jobs that ended before a time, those that ended first, by the entries of their ends: these lie in the order of
/// their times, so only the first are looked at.
macro_rules! ended {
    ($lock:literal) => {
        concat!(
            "SELECT j.id, j.target, j.stream, j.kind, j.status, j.ended_us FROM (
                 SELECT job_id, position FROM entries WHERE ",
            is_end!(),
            " ORDER BY position LIMIT $2) ends
             JOIN jobs j ON j.id = ends.job_id WHERE j.ended_us < $1 ORDER BY ends.position",
            $lock
        )
    };
}

pub(crate) const ENDED: &str = ended!("");
/// Skips a task that is being reopened.
pub(crate) const ENDED_BESIDE_OTHERS: &str = ended!(" FOR UPDATE OF j SKIP LOCKED");

macro_rules! of_project {
    ($where:literal, $lock:literal) => {
        concat!(
            "SELECT id, target, stream, kind, status, ended_us FROM jobs WHERE ",
            $where,
            " AND ended_us IS NOT NULL ORDER BY id LIMIT $2",
            $lock
        )
    };
}

pub(crate) const OF_PROJECT: &str = of_project!("target = $1", "");
const OF_PROJECT_BESIDE_OTHERS: &str = of_project!("target = $1", " FOR UPDATE SKIP LOCKED");
/// Tasks of the pool are found by reading all that have ended: deletions are rare.
const FOR_PROJECT: &str = of_project!("target = '@pool' AND project = $1", "");
const FOR_PROJECT_BESIDE_OTHERS: &str =
    of_project!("target = '@pool' AND project = $1", " FOR UPDATE SKIP LOCKED");

/// Entries of a job up to a position but for its end, which goes last. They are a range of pairs: see
/// `read_on_postgres!`. A former end is like any other entry.
macro_rules! but_the_end {
    ($to:literal) => {
        concat!(
            "FROM entries WHERE (job_id, position) > ($1, 0) AND (job_id, position) <= ($1, ",
            $to,
            ") AND (kind <> 'complete' OR length(body) > 0)"
        )
    };
}

pub(crate) const ENTRIES_OF: &str = concat!(
    "SELECT ",
    size_columns!(),
    " ",
    but_the_end!("9223372036854775807"),
    " ORDER BY job_id, position LIMIT 64"
);

/// The order makes SQLite choose the index that has it.
pub(crate) const REMOVE_ENTRIES: &str = concat!(
    "DELETE FROM entries WHERE position IN (SELECT position ",
    but_the_end!("$2"),
    " ORDER BY job_id, position LIMIT 64)"
);

const REMOVE_END: &str = concat!("DELETE FROM entries WHERE job_id = $1 RETURNING ", size_columns!());

// The number stands in the texts: with a parameter Postgres would plan to read everything.
const _: () = assert!(ROWS_MAX == 64);

row! {
    #[derive(Debug)]
    struct Ended {
        id: String,
        target: String,
        stream: String,
        kind: String,
        status: Option<String>,
        ended_us: i64,
    }
}

impl Ended {
    /// Returns the status of a task, which is counted and may have files; `None` of any other job.
    fn of_task(&self) -> Option<&str> {
        self.status.as_deref().filter(|_| self.target == POOL)
    }
}

pub(super) async fn remove(tx: &mut Tx, before: Timestamp, now: Timestamp) -> Result<StepReport> {
    let sql = tx.text([ENDED, ENDED_BESIDE_OTHERS]);
    let jobs = run!(&mut *tx, fetch_all, query_as<Ended>, sql, before.as_micros(), JOBS_MAX as i64)?;
    remove_jobs(tx, &jobs, before - FOLLOWER_PATIENCE, now).await
}

/// Removes jobs of a project that have ended, and tasks that were done for it; operations stay.
pub(crate) async fn remove_of(tx: &mut Tx, project: &ProjectId, now: Timestamp) -> Result<StepReport> {
    let sql = tx.text([OF_PROJECT, OF_PROJECT_BESIDE_OTHERS]);
    let mut jobs = run!(&mut *tx, fetch_all, query_as<Ended>, sql, project.as_str(), JOBS_MAX as i64)?;
    if jobs.is_empty() {
        let sql = tx.text([FOR_PROJECT, FOR_PROJECT_BESIDE_OTHERS]);
        jobs = run!(&mut *tx, fetch_all, query_as<Ended>, sql, project.as_str(), JOBS_MAX as i64)?;
    }
    let report = remove_jobs(tx, &jobs, now - DELETION_PATIENCE, now).await?;
    // Only a step that finds nothing knows that nothing is left. A job of which a part is removed counts.
    let done = report.done.max(u64::from(report.more));
    Ok(StepReport { done, more: !jobs.is_empty() || is_any_left(tx, project).await? })
}

/// Tells whether a job of a project that has ended is stored, also one that another transaction has locked.
async fn is_any_left(tx: &mut Tx, project: &ProjectId) -> Result<bool> {
    if let Tx::Sqlite(_) = tx {
        // There is one writer: nothing was skipped.
        return Ok(false);
    }
    for sql in [OF_PROJECT, FOR_PROJECT] {
        if run!(&mut *tx, fetch_optional, query_as<Ended>, sql, project.as_str(), 1_i64)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes these jobs, but for those that ended at `held_from` or later and whose end a follower has not read.
async fn remove_jobs(
    tx: &mut Tx,
    jobs: &[Ended],
    held_from: Timestamp,
    now: Timestamp,
) -> Result<StepReport> {
    if jobs.is_empty() {
        return Ok(StepReport::default());
    }
    let mut step = Step::begin(tx).await?;
    let slowest = slowest(step.tx).await?.unwrap_or(i64::MAX);
    let (mut done, mut is_cut_short) = (0, false);
    for job in jobs {
        let end = end_of(step.tx, &job.id).await?;
        let unread = end.as_ref().map(|end| end.position).filter(|end| *end > slowest);
        if unread.is_some() && job.ended_us >= held_from.as_micros() {
            continue;
        }
        is_cut_short = step.room.is_full();
        if !is_cut_short {
            if let Some(to) = unread {
                mark_gap(step.tx, to).await?;
            }
            is_cut_short = !step.remove_job(job, end, now).await?;
        }
        if is_cut_short {
            break;
        }
        done += 1;
    }
    step.end().await?;
    // Where all jobs wait for a follower, nothing is left to do.
    let is_full = jobs.len() == JOBS_MAX && done > 0;
    Ok(StepReport { done, more: is_full || is_cut_short })
}

impl Step<'_> {
    /// Removes a job, or as much of its data as there is room for. True when nothing is left.
    async fn remove_job(&mut self, job: &Ended, end: Option<End>, now: Timestamp) -> Result<bool> {
        if job.of_task().is_some()
            && let Some(end) = end
            && !self.remove_files(&job.id, &end).await?
        {
            return Ok(false);
        }
        if !self.remove_entries(&job.id).await? {
            return Ok(false);
        }
        let ends = run!(&mut *self.tx, fetch_all, query_as<EntrySize>, REMOVE_END, &job.id)?;
        self.count_removed(ends);
        if job.stream != job.id {
            execute!(
                &mut *self.tx,
                "INSERT INTO removed_streams (target, stream, removed_us) VALUES ($1, $2, $3)
                 ON CONFLICT (target, stream) DO UPDATE SET removed_us = excluded.removed_us",
                &job.target,
                &job.stream,
                now.as_micros(),
            )?;
        }
        execute!(&mut *self.tx, "DELETE FROM jobs WHERE id = $1", &job.id)?;
        if let Some(status) = job.of_task() {
            let count = "UPDATE ended_tasks SET count = count - 1 WHERE kind = $1 AND status = $2";
            execute!(&mut *self.tx, count, &job.kind, status)?;
        }
        Ok(true)
    }

    /// Removes the entries before the end, or as many as there is room for. True when none is left.
    async fn remove_entries(&mut self, id: &str) -> Result<bool> {
        let mut entries = run!(&mut *self.tx, fetch_all, query_as<EntrySize>, ENTRIES_OF, id)?;
        let found = entries.len();
        let fitting = entries.iter().take_while(|entry| self.room.take(entry.bytes)).count();
        entries.truncate(fitting);
        if let Some(last) = entries.last() {
            execute!(&mut *self.tx, REMOVE_ENTRIES, id, last.position)?;
        }
        self.count_removed(entries);
        Ok(fitting == found && found < ROWS_MAX)
    }

    fn count_removed(&mut self, entries: Vec<EntrySize>) {
        for entry in &entries {
            self.size.subtract(entry.position, entry.weight());
        }
        self.removed.extend(entries);
    }
}
