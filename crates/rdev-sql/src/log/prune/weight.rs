//! The size of the log: output, and the files of tasks that have ended.

use rdev_domain::{Position, Result};

use crate::db::{Tx, execute, run};
use crate::row::row;

/// Bytes of a task's files that are stored.
macro_rules! file_bytes {
    ($job:literal) => {
        concat!("(SELECT COALESCE(SUM(length(p.body)), 0) FROM artefact_parts p WHERE p.job_id = ", $job, ")")
    };
}
pub(crate) use file_bytes;

row! {
    /// Entry of a job's end, with which its files count.
    #[derive(Debug)]
    pub(crate) struct End {
        pub(crate) position: i64,
        pub(crate) file_bytes: i64,
    }
}

/// Counts the files of a task in the size of the log, with the entry of the task's end.
pub(crate) async fn weigh_files(tx: &mut Tx, task: &str, end: Position) -> Result<()> {
    let weigh = concat!("UPDATE entries SET file_bytes = ", file_bytes!("$1"), " WHERE position = $2");
    execute!(tx, weigh, task, end.0 as i64).map(|_| ())
}

/// Selects the last entry of a job, which is the end of one that has ended.
pub(crate) const LAST_OF_JOB: &str = "SELECT position, file_bytes FROM entries
     WHERE (job_id, position) > ($1, 0) AND (job_id, position) <= ($1, 9223372036854775807)
     ORDER BY job_id DESC, position DESC LIMIT 1";

/// Returns the entry of the end of a job that has ended.
pub(crate) async fn end_of(tx: &mut Tx, job: &str) -> Result<Option<End>> {
    run!(tx, fetch_optional, query_as<End>, LAST_OF_JOB, job)
}

/// Stops counting the files of a reopened task with this end: they count with the next one.
pub(crate) async fn unweigh_files(tx: &mut Tx, end: &End) -> Result<()> {
    let mut size = LogSize::of(tx).await?;
    execute!(&mut *tx, "UPDATE entries SET file_bytes = 0 WHERE position = $1", end.position)?;
    size.subtract(end.position, end.file_bytes);
    size.store(tx).await
}

row! {
    /// Size of the output and the files in the log, as far as they were counted.
    ///
    /// Positions are assigned before they are visible, so that one below the last may still appear: entries are counted up to
    /// the position that was settled at the previous look (`count_to`).
    #[derive(Debug, Clone, Copy)]
    pub(super) struct LogSize {
        pub(super) counted_to: i64,
        pub(super) count_to: i64,
        pub(super) removed_to: i64,
        pub(super) bytes: i64,
    }
}

impl LogSize {
    /// Reads the size and locks it: of two processes that remove something the second waits for the first. To avoid
    /// deadlocks, a task is locked before the size, and entries and files after it.
    pub(super) async fn of(tx: &mut Tx) -> Result<Self> {
        let sql = tx.text([
            "SELECT counted_to, count_to, removed_to, bytes FROM log_size",
            "SELECT counted_to, count_to, removed_to, bytes FROM log_size FOR UPDATE",
        ]);
        run!(tx, fetch_one, query_as<Self>, sql)
    }

    /// Subtracts the bytes of files or output that were removed with an entry.
    pub(super) fn subtract(&mut self, position: i64, bytes: i64) {
        if position <= self.counted_to {
            self.bytes -= bytes;
        }
    }

    /// Stores the size.
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
