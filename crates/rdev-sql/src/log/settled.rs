//! Settled positions: nothing can appear at one, or before it, any more.
//!
//! On Postgres a position is assigned before its transaction commits, so that a lower one may appear after a higher one.
//! A transaction that stores an entry holds a lock on the table `entries` from before its first position is assigned
//! until its end: a statement locks its tables before it is executed. So once all transactions have ended that hold such
//! a lock after the last position was read, every position up to the last one is settled.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rdev_domain::Result;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::db::{Db, Transaction, bounded, read};
use crate::error::database;

const LAST_STORED: &str = "SELECT COALESCE(MAX(position), 0) FROM entries";

/// Selects the last assigned position. The function locks the page of the sequence; a plain read of the sequence may see
/// a higher position, which the server writes to its log ahead.
const LAST_ASSIGNED: &str = "SELECT COALESCE(pg_sequence_last_value('entries_position_seq'::regclass), 0)";

/// Selects the transactions that write entries. A statement of its own after [`LAST_ASSIGNED`]: in one statement the
/// server might read the locks first.
const WRITERS: &str = "SELECT virtualtransaction FROM pg_locks
     WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
       AND relation = 'entries'::regclass
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Settled position as of one look, and the last assigned position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Last settled position.
    pub(crate) to: i64,
    /// Last assigned position. Beyond `to` entries may still appear.
    pub(crate) last: i64,
}

/// Pause between two looks at the writers for which somebody waits.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Settled positions of a Postgres database, from one look to the next; clones share them. A look waits for no writer.
#[derive(Debug, Clone, Default)]
pub(crate) struct SettledPositions(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    looks: Mutex<Looks>,
    /// Settled position as of the last look.
    known: AtomicI64,
}

#[derive(Debug, Default)]
struct Looks {
    settled: i64,
    candidate: Option<Candidate>,
}

/// Position that is settled when the transactions have ended that wrote when the position was the last.
#[derive(Debug)]
struct Candidate {
    position: i64,
    writers: HashSet<String>,
}

impl Looks {
    /// Takes what a look has found: the last assigned position, and the transactions that wrote entries after that.
    fn look(&mut self, last: i64, writers: HashSet<String>) -> Settled {
        if writers.is_empty() {
            self.settled = last;
            self.candidate = None;
        } else {
            let ended = self.candidate.take_if(|candidate| candidate.writers.is_disjoint(&writers));
            self.settled = ended.map_or(self.settled, |candidate| candidate.position);
            self.candidate.get_or_insert(Candidate { position: last, writers });
        }
        Settled { to: self.settled, last }
    }
}

impl SettledPositions {
    /// Returns the settled position that the last look has found, without another look.
    pub(crate) fn known(&self, db: &Db) -> i64 {
        match db {
            Db::Sqlite { .. } => i64::MAX,
            Db::Postgres(_) => self.0.known.load(Ordering::Relaxed),
        }
    }

    /// Waits until the last assigned position is settled, and returns a settled position from then. Writers that were
    /// there before end within the timeouts of their transactions.
    pub(crate) async fn end(&self, db: &Db) -> Result<i64> {
        bounded(db, async {
            let first = self.of(db).await?;
            let mut settled = first.to;
            while settled < first.last {
                sleep(LOOK_AGAIN).await;
                settled = self.of(db).await?.to;
            }
            Ok(settled)
        })
        .await
    }

    /// Returns the last settled position of the database that is known.
    pub(crate) async fn of(&self, db: &Db) -> Result<Settled> {
        let Db::Postgres(pool) = db else {
            // There is one writer: what is committed is settled.
            let last = read!(db, fetch_one, query_scalar<i64>, LAST_STORED)?;
            return Ok(Settled { to: last, last });
        };
        bounded(db, async {
            // One look at a time: a candidate must be older than the locks with which it is compared.
            let mut looks = self.0.looks.lock().await;
            let mut transaction = Transaction::reading(pool).await?;
            let found: Result<(i64, HashSet<String>)> = async {
                let connection = transaction.connection()?;
                let last: i64 =
                    sqlx::query_scalar(LAST_ASSIGNED).fetch_one(&mut *connection).await.map_err(database)?;
                let writers: Vec<String> =
                    sqlx::query_scalar(WRITERS).fetch_all(connection).await.map_err(database)?;
                Ok((last, writers.into_iter().collect()))
            }
            .await;
            let (last, writers) = transaction.end(found).await?;
            let settled = looks.look(last, writers);
            self.0.known.store(settled.to, Ordering::Relaxed);
            Ok(settled)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writers(names: &[&str]) -> HashSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_position_is_settled_when_all_who_wrote_then_have_ended() {
        let mut looks = Looks::default();
        for (last, now, settled) in [
            (10, &["3/1", "4/1"][..], 0),
            // One of the two goes on, and another has begun.
            (20, &["4/1", "5/1"], 0),
            (30, &["5/1", "3/2"], 10),
            // The candidate is of the look before.
            (40, &["3/2"], 10),
            (50, &["6/1"], 30),
            (60, &[], 60),
            (60, &["6/2"], 60),
        ] {
            assert_eq!(looks.look(last, writers(now)), Settled { to: settled, last }, "{last}");
        }
    }
}
