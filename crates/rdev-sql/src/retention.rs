//! What is removed, a little at a time.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rdev_domain::{Result, Timestamp};
use rdev_ports::{Progress, Retention, Rule};
use sqlx::FromRow;

use crate::SqlStore;
use crate::db::{Commit, Tx, execute, run, write};
use crate::rows::KIND_OUTPUT;

/// Entries that one transaction removes, or of one command: at most 8 MiB of output, some 40 ms of SQLite's one
/// writer.
const ENTRIES_MAX: usize = 64;
/// Entries that one transaction counts.
const COUNTED_MAX: usize = 1024;
/// Commands that one transaction removes.
const COMMANDS_MAX: usize = 32;
/// Idempotency keys that one transaction removes.
const KEYS_MAX: usize = 512;

/// The age is asked for twice: on Postgres a key may have been taken anew in between.
pub(crate) const REMOVE_KEYS: &str =
    "DELETE FROM idempotency_keys WHERE created_us < $1 AND (key_id, value) IN (
         SELECT key_id, value FROM idempotency_keys WHERE created_us < $1 ORDER BY created_us LIMIT 512)";

// Numbers in the texts: for any number Postgres would plan to read everything.
const _: () = assert!(ENTRIES_MAX == 64 && KEYS_MAX == 512);

macro_rules! ended {
    ($lock:literal) => {
        concat!("SELECT id FROM tasks WHERE ended_us < $1 ORDER BY ended_us LIMIT $2", $lock)
    };
}

pub(crate) const ENDED: &str = ended!("");
/// One that somebody has run again at this moment is passed over.
pub(crate) const ENDED_BESIDE_OTHERS: &str = ended!(" FOR UPDATE SKIP LOCKED");

/// A range of pairs: see `read_on_postgres!`. The end of a command goes last, former ones as
/// everything else.
pub(crate) const REMOVE_ENTRIES: &str = "DELETE FROM events WHERE position IN (
         SELECT position FROM events
         WHERE (task_id, position) > ($1, 0) AND (task_id, position) <= ($1, 9223372036854775807)
           AND (kind <> 'complete' OR length(body) > 0)
         ORDER BY task_id, position LIMIT 64)
     RETURNING position, project, kind, CAST(length(body) AS BIGINT) AS bytes";

const REMOVE_END: &str = "DELETE FROM events WHERE task_id = $1
     RETURNING position, project, kind, CAST(length(body) AS BIGINT) AS bytes";

/// The length of a body is known without reading it.
pub(crate) const ENTRIES_BETWEEN: &str =
    "SELECT position, project, kind, CAST(length(body) AS BIGINT) AS bytes
     FROM events WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3";

pub(crate) const REMOVE_OUTPUT: &str =
    "DELETE FROM events WHERE position > $1 AND position <= $2 AND kind = 'output'";

#[async_trait]
impl Retention for SqlStore {
    async fn prune(&self, rule: Rule) -> Result<Progress> {
        // What a crash brings back is removed again.
        write!(&self.db, Commit::Light, |tx| {
            match rule {
                Rule::Keys { before } => remove_keys(&mut tx, before).await,
                Rule::Ended { before } => remove_ended(&mut tx, before).await,
                Rule::Output { bytes_max } => {
                    let bytes_max = i64::try_from(bytes_max).unwrap_or(i64::MAX);
                    remove_output(&mut tx, bytes_max).await
                }
            }
        })
    }
}

async fn remove_keys(tx: &mut Tx, before: Timestamp) -> Result<Progress> {
    let done = execute!(tx, REMOVE_KEYS, before.as_micros())?;
    Ok(Progress { done, more: done == KEYS_MAX as u64 })
}

async fn remove_ended(tx: &mut Tx, before: Timestamp) -> Result<Progress> {
    let sql = match tx {
        Tx::Sqlite(_) => ENDED,
        Tx::Postgres(_) => ENDED_BESIDE_OTHERS,
    };
    let commands =
        run!(&mut *tx, fetch_all, query_scalar<String>, sql, before.as_micros(), COMMANDS_MAX as i64)?;
    if commands.is_empty() {
        return Ok(Progress::default());
    }
    let mut size = LogSize::of(tx).await?;
    let (mut gone, mut done) = (Vec::new(), 0);
    for id in &commands {
        let entries = run!(&mut *tx, fetch_all, query_as<EntrySize>, REMOVE_ENTRIES, id)?;
        let is_full = entries.len() == ENTRIES_MAX;
        gone.extend(entries);
        if is_full {
            break;
        }
        gone.extend(run!(&mut *tx, fetch_all, query_as<EntrySize>, REMOVE_END, id)?);
        execute!(&mut *tx, "DELETE FROM tasks WHERE id = $1", id)?;
        done += 1;
        if gone.len() >= ENTRIES_MAX {
            break;
        }
    }
    size.bytes -=
        gone.iter().filter(|entry| entry.position <= size.counted_to).map(EntrySize::output).sum::<i64>();
    size.store(tx).await?;
    announce(tx, &gone).await?;
    Ok(Progress { done, more: done == COMMANDS_MAX as u64 || done < commands.len() as u64 })
}

async fn remove_output(tx: &mut Tx, bytes_max: i64) -> Result<Progress> {
    let mut size = LogSize::of(tx).await?;
    let stored = entries_between(tx, size.counted_to, size.count_to, COUNTED_MAX).await?;
    if let Some(last) = stored.last() {
        size.counted_to = last.position;
        size.bytes += stored.iter().map(EntrySize::output).sum::<i64>();
        size.store(tx).await?;
        return Ok(Progress { done: 0, more: true });
    }
    size.counted_to = size.count_to;
    let mut gone = Vec::new();
    if size.bytes > bytes_max {
        for entry in entries_between(tx, size.removed_to, size.counted_to, ENTRIES_MAX).await? {
            if size.bytes <= bytes_max {
                break;
            }
            size.bytes -= entry.output();
            gone.push(entry);
        }
    }
    let from = size.removed_to;
    let mut done = 0;
    if let Some(last) = gone.last() {
        size.removed_to = last.position;
        done = execute!(&mut *tx, REMOVE_OUTPUT, from, size.removed_to)?;
        gone.retain(|entry| entry.kind == KIND_OUTPUT);
        announce(tx, &gone).await?;
    }
    let more = size.removed_to > from && size.bytes > bytes_max;
    if !more {
        size.count_to = last_position(tx).await?.max(size.count_to);
    }
    size.store(tx).await?;
    Ok(Progress { done, more })
}

/// An entry, as far as its size goes.
#[derive(Debug, FromRow)]
struct EntrySize {
    position: i64,
    project: String,
    kind: String,
    bytes: i64,
}

impl EntrySize {
    fn output(&self) -> i64 {
        if self.kind == KIND_OUTPUT { self.bytes } else { 0 }
    }
}

async fn entries_between(tx: &mut Tx, after: i64, to: i64, limit: usize) -> Result<Vec<EntrySize>> {
    run!(tx, fetch_all, query_as<EntrySize>, ENTRIES_BETWEEN, after, to, limit as i64)
}

async fn last_position(tx: &mut Tx) -> Result<i64> {
    run!(tx, fetch_one, query_scalar<i64>, "SELECT COALESCE(MAX(position), 0) FROM events")
}

/// Remembers how far the logs are not whole any more.
async fn announce(tx: &mut Tx, gone: &[EntrySize]) -> Result<()> {
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for entry in gone {
        let last = last.entry(&entry.project).or_insert(entry.position);
        *last = entry.position.max(*last);
    }
    for (project, position) in last {
        execute!(
            &mut *tx,
            "INSERT INTO pruned_logs (project, position) VALUES ($1, $2)
             ON CONFLICT (project) DO UPDATE SET position = excluded.position
             WHERE pruned_logs.position < excluded.position",
            project,
            position,
        )?;
    }
    Ok(())
}

/// How large the output in the log is, as far as it was counted.
///
/// Positions are given before they are seen, so that one below the last may still appear. What was the last one
/// when this was looked at before has nothing below it that could: between two looks there is a turn's period,
/// which is longer than any transaction.
#[derive(Debug, FromRow)]
struct LogSize {
    counted_to: i64,
    count_to: i64,
    removed_to: i64,
    bytes: i64,
}

impl LogSize {
    /// Locked: of two processes that remove something the second waits for the first.
    async fn of(tx: &mut Tx) -> Result<Self> {
        let sql = match tx {
            Tx::Sqlite(_) => "SELECT counted_to, count_to, removed_to, bytes FROM log_size",
            Tx::Postgres(_) => "SELECT counted_to, count_to, removed_to, bytes FROM log_size FOR UPDATE",
        };
        run!(tx, fetch_one, query_as<Self>, sql)
    }

    async fn store(&self, tx: &mut Tx) -> Result<()> {
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
