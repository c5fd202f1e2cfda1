//! One step of retention: a small transaction with bounded work.

use std::collections::BTreeMap;

use rdev_domain::Result;
use rdev_ports::STEP_BYTES_MAX;

use super::weight::LogSize;
use crate::db::{Tx, execute};
use crate::log::rows::KIND_OUTPUT;
use crate::row::row;

/// Maximum number of rows that one transaction removes, or of one job. With [`STEP_BYTES_MAX`] this bounds a transaction
/// to some 40 ms of SQLite's one writer.
pub(super) const ROWS_MAX: usize = 64;
/// All columns that an [`EntrySize`] reads. The length of a body is known without reading the body.
macro_rules! size_columns {
    () => {
        "position, job_id, log, kind, CAST(length(body) AS BIGINT) AS bytes, file_bytes"
    };
}
pub(super) use size_columns;

row! {
    /// Size of an entry.
    #[derive(Debug)]
    pub(super) struct EntrySize {
        pub(super) position: i64,
        pub(super) job_id: String,
        log: String,
        pub(super) kind: String,
        pub(super) bytes: i64,
        /// Bytes of the task's files, in the entry of the task's end.
        pub(super) file_bytes: i64,
    }
}

impl EntrySize {
    /// Returns the bytes of output.
    pub(super) fn output(&self) -> i64 {
        if self.kind == KIND_OUTPUT { self.bytes } else { 0 }
    }

    /// Returns the bytes of output and files.
    pub(super) fn weight(&self) -> i64 {
        self.output() + self.file_bytes
    }
}

/// Room that is left for the removals of a step.
#[derive(Debug, Default)]
pub(super) struct Room {
    bytes: u64,
    pub(super) rows: usize,
}

impl Room {
    /// Takes the room of one more row, and tells whether there was enough. The first row with bytes always fits.
    pub(super) fn take(&mut self, bytes: i64) -> bool {
        let (before, bytes) = (self.bytes, self.bytes + bytes.unsigned_abs());
        let fits = self.rows < ROWS_MAX && (before == 0 || bytes <= STEP_BYTES_MAX);
        if fits {
            *self = Self { bytes, rows: self.rows + 1 };
        }
        fits
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows >= ROWS_MAX || self.bytes >= STEP_BYTES_MAX
    }
}

/// A step of retention.
pub(super) struct Step<'t> {
    pub(super) tx: &'t mut Tx,
    pub(super) size: LogSize,
    pub(super) room: Room,
    pub(super) removed: Vec<EntrySize>,
}

impl<'t> Step<'t> {
    pub(super) async fn begin(tx: &'t mut Tx) -> Result<Self> {
        let size = LogSize::of(tx).await?;
        Ok(Self { tx, size, room: Room::default(), removed: Vec::new() })
    }

    /// Stores the size of the log, and how far the logs of targets are incomplete.
    pub(super) async fn end(self) -> Result<()> {
        self.size.store(self.tx).await?;
        let mut last: BTreeMap<&str, i64> = BTreeMap::new();
        for entry in &self.removed {
            let last = last.entry(&entry.log).or_insert(entry.position);
            *last = entry.position.max(*last);
        }
        for (log, position) in last {
            execute!(
                &mut *self.tx,
                "INSERT INTO pruned_logs (log, position) VALUES ($1, $2)
                 ON CONFLICT (log) DO UPDATE SET position = excluded.position
                 WHERE pruned_logs.position < excluded.position",
                log,
                position,
            )?;
        }
        Ok(())
    }
}
