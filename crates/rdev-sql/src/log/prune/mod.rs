//! Retention: removal, a little at a time.

mod ended;
mod files;
mod size;
mod step;
mod weight;

use rdev_domain::{Result, Timestamp};
use rdev_ports::{PruneRule, StepReport};

pub(crate) use self::ended::remove_of as remove_jobs_of;
#[cfg(test)]
pub(crate) use self::ended::{ENDED, ENDED_BESIDE_OTHERS, ENTRIES_OF, OF_PROJECT, REMOVE_ENTRIES};
#[cfg(test)]
pub(crate) use self::files::PARTS;
#[cfg(test)]
pub(crate) use self::size::{ENTRIES_BETWEEN, REMOVE_OUTPUT};
pub(crate) use self::weight::{end_of, file_bytes, unweigh_files, weigh_files};
use crate::db::{Commit, Tx, execute, write};
use crate::store::SqlStore;

/// Maximum number of idempotency keys, or of names of streams, that one transaction removes.
const NAMES_MAX: usize = 512;

/// Compares the age twice: on Postgres a key may have been used anew in between.
pub(crate) const REMOVE_KEYS: &str =
    "DELETE FROM idempotency_keys WHERE created_us < $1 AND (key_id, value) IN (
         SELECT key_id, value FROM idempotency_keys WHERE created_us < $1 ORDER BY created_us LIMIT 512)";

/// Compares the age twice, as for keys.
pub(crate) const REMOVE_STREAMS: &str =
    "DELETE FROM removed_streams WHERE removed_us < $1 AND (target, stream) IN (
         SELECT target, stream FROM removed_streams WHERE removed_us < $1 ORDER BY removed_us LIMIT 512)";

// The number stands in the texts: with a parameter Postgres would plan to read everything.
const _: () = assert!(NAMES_MAX == 512);

pub(super) async fn prune(store: &SqlStore, rule: PruneRule) -> Result<StepReport> {
    let settled = match rule {
        PruneRule::Output { .. } => store.settled.of(&store.db).await?.to,
        PruneRule::Keys { .. } | PruneRule::Streams { .. } | PruneRule::Ended { .. } => 0,
    };
    // A removal that a crash undoes is done again.
    write!(&store.db, Commit::Async, |tx| {
        match rule {
            PruneRule::Keys { before } => remove_names(&mut tx, REMOVE_KEYS, before).await,
            PruneRule::Streams { before } => remove_names(&mut tx, REMOVE_STREAMS, before).await,
            PruneRule::Ended { before, now } => ended::remove(&mut tx, before, now).await,
            PruneRule::Output { bytes_max } => {
                size::remove(&mut tx, i64::try_from(bytes_max).unwrap_or(i64::MAX), settled).await
            }
        }
    })
}

async fn remove_names(tx: &mut Tx, sql: &'static str, before: Timestamp) -> Result<StepReport> {
    let done = execute!(tx, sql, before.as_micros())?;
    Ok(StepReport { done, more: done == NAMES_MAX as u64 })
}
