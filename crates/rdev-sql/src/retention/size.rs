//! The size of the log, output and files together, and the rule that bounds it.

use rdev_domain::{Position, Result};
use rdev_ports::StepReport;
use sqlx::FromRow;

use super::files::End;
use super::{EntrySize, ROWS_MAX, Step, size_columns};
use crate::db::{Tx, execute, run};
use crate::rows::KIND_OUTPUT;

/// Entries that one transaction counts.
const COUNTED_MAX: usize = 1024;

pub(crate) const ENTRIES_BETWEEN: &str = concat!(
    "SELECT ",
    size_columns!(),
    " FROM events WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3"
);

pub(crate) const REMOVE_OUTPUT: &str =
    "DELETE FROM events WHERE position > $1 AND position <= $2 AND kind = 'output'";

/// Bytes of a task's files that are stored.
macro_rules! file_bytes {
    ($task:literal) => {
        concat!(
            "(SELECT COALESCE(SUM(length(p.body)), 0) FROM artefact_parts p WHERE p.task_id = ",
            $task,
            ")"
        )
    };
}
pub(crate) use file_bytes;

/// The files of a task weigh from its end on, with the entry that tells of it.
pub(crate) async fn weigh_files(tx: &mut Tx, task: &str, end: Position) -> Result<()> {
    let weigh = concat!("UPDATE events SET file_bytes = ", file_bytes!("$1"), " WHERE position = $2");
    execute!(tx, weigh, task, end.0 as i64).map(|_| ())
}

/// The files of a task that is run again weigh with its next end, and with this one no more.
pub(crate) async fn weigh_no_more(tx: &mut Tx, task: &str, last_seq: i64) -> Result<()> {
    let mut size = LogSize::of(tx).await?;
    let end = run!(
        &mut *tx,
        fetch_optional,
        query_as<End>,
        "SELECT position, file_bytes FROM events
         WHERE task_id = $1 AND last_seq = $2 AND kind = 'complete' AND file_bytes > 0",
        task,
        last_seq,
    )?;
    let Some(end) = end else { return Ok(()) };
    execute!(&mut *tx, "UPDATE events SET file_bytes = 0 WHERE position = $1", end.position)?;
    size.less(end.position, end.file_bytes);
    size.store(tx).await
}

pub(super) async fn remove(tx: &mut Tx, bytes_max: i64) -> Result<StepReport> {
    let mut step = Step::begin(tx).await?;
    if step.count().await? {
        step.end().await?;
        return Ok(StepReport { done: 0, more: true });
    }
    let done = step.remove_oldest(bytes_max).await?;
    let more = step.room.rows > 0 && step.size.bytes > bytes_max;
    if !more {
        step.size.count_to = last_position(step.tx).await?.max(step.size.count_to);
    }
    step.end().await?;
    Ok(StepReport { done, more })
}

impl Step<'_> {
    /// Counts what was stored since; whether there was anything.
    async fn count(&mut self) -> Result<bool> {
        let LogSize { counted_to, count_to, .. } = self.size;
        let stored = entries_between(self.tx, counted_to, count_to, COUNTED_MAX).await?;
        self.size.counted_to = stored.last().map_or(count_to, |last| last.position);
        self.size.bytes += stored.iter().map(EntrySize::weight).sum::<i64>();
        Ok(!stored.is_empty())
    }

    /// Removes the oldest output and files, as long as there is too much of them, and room; how many of them.
    async fn remove_oldest(&mut self, bytes_max: i64) -> Result<u64> {
        let (from, mut done) = (self.size.removed_to, 0);
        if self.size.bytes <= bytes_max {
            return Ok(done);
        }
        for entry in entries_between(self.tx, from, self.size.counted_to, ROWS_MAX).await? {
            if self.size.bytes <= bytes_max || !self.room.take(entry.output()) {
                break;
            }
            if entry.file_bytes > 0 {
                let end = End { position: entry.position, file_bytes: entry.file_bytes };
                if !self.remove_files(&entry.task_id, &end).await? {
                    break;
                }
                done += 1;
            }
            self.size.removed_to = entry.position;
            self.size.bytes -= entry.output();
            if entry.kind == KIND_OUTPUT {
                self.gone.push(entry);
            }
        }
        done += execute!(&mut *self.tx, REMOVE_OUTPUT, from, self.size.removed_to)?;
        Ok(done)
    }
}

async fn entries_between(tx: &mut Tx, after: i64, to: i64, limit: usize) -> Result<Vec<EntrySize>> {
    run!(tx, fetch_all, query_as<EntrySize>, ENTRIES_BETWEEN, after, to, limit as i64)
}

async fn last_position(tx: &mut Tx) -> Result<i64> {
    run!(tx, fetch_one, query_scalar<i64>, "SELECT COALESCE(MAX(position), 0) FROM events")
}

/// How large the output and the files in the log are, as far as they were counted.
///
/// Positions are given before they are seen, so that one below the last may still appear. What was the last one
/// when this was looked at before has nothing below it that could: between two looks there is a turn's period,
/// which is longer than any transaction.
#[derive(Debug, Clone, Copy, FromRow)]
pub(super) struct LogSize {
    counted_to: i64,
    count_to: i64,
    removed_to: i64,
    bytes: i64,
}

impl LogSize {
    /// Locked: of two processes that remove something the second waits for the first. Whoever locks a task as well does
    /// so before, and entries and files after it.
    pub(super) async fn of(tx: &mut Tx) -> Result<Self> {
        let sql = match tx {
            Tx::Sqlite(_) => "SELECT counted_to, count_to, removed_to, bytes FROM log_size",
            Tx::Postgres(_) => "SELECT counted_to, count_to, removed_to, bytes FROM log_size FOR UPDATE",
        };
        run!(tx, fetch_one, query_as<Self>, sql)
    }

    /// Takes away the weight of files or output that went with this entry.
    pub(super) fn less(&mut self, position: i64, bytes: i64) {
        if position <= self.counted_to {
            self.bytes -= bytes;
        }
    }

    pub(super) async fn store(&self, tx: &mut Tx) -> Result<()> {
        execute!(
            tx,
            "UPDATE log_size SET counted_to = $1, count_to = $2, removed_to = $3, bytes = $4",
            self.counted_to,
            self.count_to,
            self.removed_to,
            self.bytes,
        )
        .map(|_| ())
    }
}
