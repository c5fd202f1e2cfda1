//! The size of the log: output, and the files of tasks that have ended.

use rdev_domain::{Position, Result};

use crate::db::{Tx, execute, run};
use crate::row::row;

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

row! {
    /// Entry of a task's end, with which its files count.
    #[derive(Debug)]
    pub(super) struct End {
        pub(super) position: i64,
        pub(super) file_bytes: i64,
    }
}

/// Counts the files of a task in the size of the log, with the entry of the task's end.
pub(crate) async fn weigh_files(tx: &mut Tx, task: &str, end: Position) -> Result<()> {
    let weigh = concat!("UPDATE events SET file_bytes = ", file_bytes!("$1"), " WHERE position = $2");
    execute!(tx, weigh, task, end.0 as i64).map(|_| ())
}

/// Stops counting the files of a reopened task with this end: they count with the next one.
pub(crate) async fn unweigh_files(tx: &mut Tx, task: &str, last_seq: i64) -> Result<()> {
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
        let sql = match tx {
            Tx::Sqlite(_) => "SELECT counted_to, count_to, removed_to, bytes FROM log_size",
            Tx::Postgres(_) => "SELECT counted_to, count_to, removed_to, bytes FROM log_size FOR UPDATE",
        };
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
