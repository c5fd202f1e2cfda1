//! Retention: removal, a little at a time.

mod ended;
mod files;
mod size;

use std::collections::BTreeMap;

use async_trait::async_trait;
use rdev_domain::{Result, Timestamp};
use rdev_ports::{PruneRule, Retention, STEP_BYTES_MAX, StepReport};
use sqlx::FromRow;

#[cfg(test)]
pub(crate) use self::ended::{ENDED, ENDED_BESIDE_OTHERS, ENTRIES_OF, REMOVE_ENTRIES};
#[cfg(test)]
pub(crate) use self::files::PARTS;
use self::size::LogSize;
#[cfg(test)]
pub(crate) use self::size::{ENTRIES_BETWEEN, REMOVE_OUTPUT};
pub(crate) use self::size::{file_bytes, weigh_files, weigh_no_more};
use crate::SqlStore;
use crate::db::{Commit, Tx, execute, write};
use crate::rows::KIND_OUTPUT;

/// Rows that one transaction removes, or of one command; beside [`STEP_BYTES_MAX`] this holds it to some 40 ms of
/// SQLite's one writer.
const ROWS_MAX: usize = 64;
/// Commands that one transaction removes.
const COMMANDS_MAX: usize = 32;
/// Idempotency keys that one transaction removes, and names of streams.
const NAMES_MAX: usize = 512;

/// The age is asked for twice: on Postgres a key may have been taken anew in between.
pub(crate) const REMOVE_KEYS: &str =
    "DELETE FROM idempotency_keys WHERE created_us < $1 AND (key_id, value) IN (
         SELECT key_id, value FROM idempotency_keys WHERE created_us < $1 ORDER BY created_us LIMIT 512)";

/// The age is asked for twice, as for keys.
pub(crate) const REMOVE_STREAMS: &str =
    "DELETE FROM removed_streams WHERE removed_us < $1 AND (project, stream) IN (
         SELECT project, stream FROM removed_streams WHERE removed_us < $1 ORDER BY removed_us LIMIT 512)";

// A number in the texts: for any number Postgres would plan to read everything.
const _: () = assert!(NAMES_MAX == 512);

/// All columns that an [`EntrySize`] reads. The length of a body is known without reading it.
macro_rules! size_columns {
    () => {
        "position, task_id, project, kind, CAST(length(body) AS BIGINT) AS bytes, file_bytes"
    };
}
use size_columns;

#[async_trait]
impl Retention for SqlStore {
    async fn prune(&self, rule: PruneRule) -> Result<StepReport> {
        // What a crash brings back is removed again.
        write!(&self.db, Commit::Async, |tx| {
            match rule {
                PruneRule::Keys { before } => remove_names(&mut tx, REMOVE_KEYS, before).await,
                PruneRule::Streams { before } => remove_names(&mut tx, REMOVE_STREAMS, before).await,
                PruneRule::Ended { before, now } => ended::remove(&mut tx, before, now).await,
                PruneRule::Output { bytes_max } => {
                    size::remove(&mut tx, i64::try_from(bytes_max).unwrap_or(i64::MAX)).await
                }
            }
        })
    }
}

async fn remove_names(tx: &mut Tx, sql: &'static str, before: Timestamp) -> Result<StepReport> {
    let done = execute!(tx, sql, before.as_micros())?;
    Ok(StepReport { done, more: done == NAMES_MAX as u64 })
}

/// An entry, as far as its size goes.
#[derive(Debug, FromRow)]
struct EntrySize {
    position: i64,
    task_id: String,
    project: String,
    kind: String,
    bytes: i64,
    /// Bytes of the files that its task has left, when it tells of the end.
    file_bytes: i64,
}

impl EntrySize {
    fn output(&self) -> i64 {
        if self.kind == KIND_OUTPUT { self.bytes } else { 0 }
    }

    fn weight(&self) -> i64 {
        self.output() + self.file_bytes
    }
}

/// Room for what a step removes.
#[derive(Debug, Default)]
struct Room {
    bytes: u64,
    rows: usize,
}

impl Room {
    /// Takes the room of one more row, if there is as much. The first one of any bytes always has it.
    fn take(&mut self, bytes: i64) -> bool {
        let (before, bytes) = (self.bytes, self.bytes + bytes.unsigned_abs());
        let fits = self.rows < ROWS_MAX && (before == 0 || bytes <= STEP_BYTES_MAX);
        if fits {
            *self = Self { bytes, rows: self.rows + 1 };
        }
        fits
    }

    fn is_full(&self) -> bool {
        self.rows >= ROWS_MAX || self.bytes >= STEP_BYTES_MAX
    }
}

/// A step under way.
struct Step<'t> {
    tx: &'t mut Tx,
    size: LogSize,
    room: Room,
    gone: Vec<EntrySize>,
}

impl<'t> Step<'t> {
    async fn begin(tx: &'t mut Tx) -> Result<Self> {
        let size = LogSize::of(tx).await?;
        Ok(Self { tx, size, room: Room::default(), gone: Vec::new() })
    }

    /// Remembers how large the log is now, and how far those of homes are not whole any more.
    async fn end(self) -> Result<()> {
        self.size.store(self.tx).await?;
        let mut last: BTreeMap<&str, i64> = BTreeMap::new();
        for entry in &self.gone {
            let last = last.entry(&entry.project).or_insert(entry.position);
            *last = entry.position.max(*last);
        }
        for (project, position) in last {
            execute!(
                &mut *self.tx,
                "INSERT INTO pruned_logs (project, position) VALUES ($1, $2)
                 ON CONFLICT (project) DO UPDATE SET position = excluded.position
                 WHERE pruned_logs.position < excluded.position",
                project,
                position,
            )?;
        }
        Ok(())
    }
}
