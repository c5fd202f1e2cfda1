//! Commands that have ended, with all that is stored of them: files first, then entries, then the row.

use rdev_domain::{Result, Timestamp};
use rdev_ports::StepReport;
use sqlx::FromRow;

use super::files::End;
use super::{COMMANDS_MAX, EntrySize, ROWS_MAX, Step, size_columns};
use crate::db::{Tx, execute, run};

macro_rules! ended {
    ($lock:literal) => {
        concat!(
            "SELECT id, project, stream, pool FROM tasks WHERE ended_us < $1 ORDER BY ended_us LIMIT $2",
            $lock
        )
    };
}

pub(crate) const ENDED: &str = ended!("");
/// One that somebody has run again at this moment is passed over.
pub(crate) const ENDED_BESIDE_OTHERS: &str = ended!(" FOR UPDATE SKIP LOCKED");

/// The entries of a command up to a position, which are a range of pairs: see `read_on_postgres!`. Its end goes last, a
/// former one as everything else.
macro_rules! but_the_end {
    ($to:literal) => {
        concat!(
            "FROM events WHERE (task_id, position) > ($1, 0) AND (task_id, position) <= ($1, ",
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
    " ORDER BY task_id, position LIMIT 64"
);

/// In their order, which makes SQLite choose the index that has it.
pub(crate) const REMOVE_ENTRIES: &str = concat!(
    "DELETE FROM events WHERE position IN (SELECT position ",
    but_the_end!("$2"),
    " ORDER BY task_id, position LIMIT 64)"
);

const REMOVE_END: &str = concat!("DELETE FROM events WHERE task_id = $1 RETURNING ", size_columns!());

/// The last entry of a command is its end.
const END_OF: &str = "SELECT position, file_bytes FROM events
     WHERE (task_id, position) > ($1, 0) AND (task_id, position) <= ($1, 9223372036854775807)
     ORDER BY task_id DESC, position DESC LIMIT 1";

// A number in the texts: for any number Postgres would plan to read everything.
const _: () = assert!(ROWS_MAX == 64);

#[derive(Debug, FromRow)]
struct Ended {
    id: String,
    project: String,
    stream: String,
    /// A task of the pool; nothing else leaves files.
    pool: bool,
}

pub(super) async fn remove(tx: &mut Tx, before: Timestamp, now: Timestamp) -> Result<StepReport> {
    let sql = match tx {
        Tx::Sqlite(_) => ENDED,
        Tx::Postgres(_) => ENDED_BESIDE_OTHERS,
    };
    let jobs = run!(&mut *tx, fetch_all, query_as<Ended>, sql, before.as_micros(), COMMANDS_MAX as i64)?;
    if jobs.is_empty() {
        return Ok(StepReport::default());
    }
    let mut step = Step::begin(tx).await?;
    let mut done = 0;
    for job in &jobs {
        if step.room.is_full() || !step.remove_command(job, now).await? {
            break;
        }
        done += 1;
    }
    step.end().await?;
    Ok(StepReport { done, more: done == COMMANDS_MAX as u64 || done < jobs.len() as u64 })
}

impl Step<'_> {
    /// Removes a command, or as much of it as there is room for; whether nothing is left.
    async fn remove_command(&mut self, job: &Ended, now: Timestamp) -> Result<bool> {
        if job.pool
            && let Some(end) = run!(&mut *self.tx, fetch_optional, query_as<End>, END_OF, &job.id)?
            && !self.remove_files(&job.id, &end).await?
        {
            return Ok(false);
        }
        if !self.remove_entries(&job.id).await? {
            return Ok(false);
        }
        let ends = run!(&mut *self.tx, fetch_all, query_as<EntrySize>, REMOVE_END, &job.id)?;
        self.count_gone(ends);
        if job.stream != job.id {
            execute!(
                &mut *self.tx,
                "INSERT INTO removed_streams (project, stream, removed_us) VALUES ($1, $2, $3)
                 ON CONFLICT (project, stream) DO UPDATE SET removed_us = excluded.removed_us",
                &job.project,
                &job.stream,
                now.as_micros(),
            )?;
        }
        execute!(&mut *self.tx, "DELETE FROM tasks WHERE id = $1", &job.id)?;
        Ok(true)
    }

    /// Removes what comes before the end, or as much of it as there is room for; whether nothing is left.
    async fn remove_entries(&mut self, id: &str) -> Result<bool> {
        let mut entries = run!(&mut *self.tx, fetch_all, query_as<EntrySize>, ENTRIES_OF, id)?;
        let found = entries.len();
        let fitting = entries.iter().take_while(|entry| self.room.take(entry.bytes)).count();
        entries.truncate(fitting);
        if let Some(last) = entries.last() {
            execute!(&mut *self.tx, REMOVE_ENTRIES, id, last.position)?;
        }
        self.count_gone(entries);
        Ok(fitting == found && found < ROWS_MAX)
    }

    fn count_gone(&mut self, entries: Vec<EntrySize>) {
        for entry in &entries {
            self.size.less(entry.position, entry.weight());
        }
        self.gone.extend(entries);
    }
}
