//! The heads of concurrency keys: of the jobs of a key one is ready, and the others are out of line.
//!
//! A claim walks through the jobs that are ready, so it never meets those that wait for their key, however many they are.
//! Whoever stores, ends or requeues a job of a key decides anew who is its head, in the same transaction: it locks the key
//! ([`lock`]) before any row, and elects ([`elect`]) after its change. A released job stays the head.

use rdev_domain::{Result, Timestamp};

use crate::db::{Tx, execute, run};
use crate::row::row;

/// Number of the advisory lock of a key; the locks of logs have another seed.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 7237))";

row! {
    /// A job of a key that may be its head.
    #[derive(Debug, Clone)]
    struct Candidate {
        id: String,
        priority: i32,
        run_after_us: i64,
        /// True when the job is claimed or runs: it stays the head.
        holds: bool,
    }
}

macro_rules! candidates {
    ($condition:literal) => {
        concat!(
            "SELECT id, priority, run_after_us, holds_key IS NOT NULL AS holds FROM queue WHERE concurrency_key = $1 AND ",
            $condition
        )
    };
}

pub(crate) const READY: &str = candidates!("ready = TRUE ORDER BY holds_key IS NULL LIMIT 1");
pub(crate) const DUE: &str =
    candidates!("ready = FALSE AND run_after_us <= $2 ORDER BY priority DESC, id LIMIT 1");
/// Sorts the jobs of the key, all of which wait for their time.
const EARLIEST: &str = candidates!("ready = FALSE ORDER BY run_after_us, priority DESC, id LIMIT 1");

/// Locks a key until the end of the transaction: before any row, and one key in a transaction.
pub(super) async fn lock(tx: &mut Tx, key: &str) -> Result<()> {
    match tx {
        // There is one writer.
        Tx::Sqlite(_) => Ok(()),
        Tx::Postgres(_) => execute!(tx, LOCK, key).map(|_| ()),
    }
}

/// Locks the key of a job that has not ended, and returns it; `None` for a job without a key.
pub(super) async fn lock_key_of(tx: &mut Tx, id: &str) -> Result<Option<String>> {
    // A job keeps its key.
    let key = run!(
        &mut *tx,
        fetch_optional,
        query_scalar<Option<String>>,
        "SELECT concurrency_key FROM queue WHERE id = $1",
        id,
    )?;
    let key = key.flatten();
    if let Some(key) = &key {
        lock(tx, key).await?;
    }
    Ok(key)
}

/// Decides who is the head of a key, which the transaction has locked.
pub(super) async fn elect(tx: &mut Tx, key: &str, now: Timestamp) -> Result<()> {
    let head = run!(&mut *tx, fetch_optional, query_as<Candidate>, READY, key)?;
    if head.as_ref().is_some_and(|head| head.holds) {
        return Ok(());
    }
    let now = now.as_micros();
    let due = run!(&mut *tx, fetch_optional, query_as<Candidate>, DUE, key, now)?;
    let next = match due {
        Some(due) => Some(due),
        None => run!(&mut *tx, fetch_optional, query_as<Candidate>, EARLIEST, key)?,
    };
    let Some(next) = next.filter(|next| head.as_ref().is_none_or(|head| comes_before(next, head, now)))
    else {
        return Ok(());
    };
    if let Some(head) = head {
        // A claim may have taken it since.
        let left = "UPDATE queue SET ready = FALSE WHERE id = $1 AND holds_key IS NULL";
        if execute!(&mut *tx, left, &head.id)? == 0 {
            return Ok(());
        }
    }
    execute!(tx, "UPDATE queue SET ready = TRUE WHERE id = $1", &next.id).map(|_| ())
}

/// Tells whether a job comes before another one of its key: one whose time has come before one whose time has not, then
/// the higher priority, then the older one; of two whose time has not come, the earlier one.
fn comes_before(one: &Candidate, other: &Candidate, now: i64) -> bool {
    let rank = |candidate: &Candidate| {
        let due = candidate.run_after_us <= now;
        (if due { 0 } else { candidate.run_after_us }, -i64::from(candidate.priority))
    };
    rank(one).cmp(&rank(other)).then_with(|| one.id.cmp(&other.id)).is_lt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: &str, priority: i32, run_after_us: i64) -> Candidate {
        Candidate { id: id.to_owned(), priority, run_after_us, holds: false }
    }

    #[test]
    fn a_job_whose_time_has_come_goes_first_then_the_priority_then_the_age() {
        let in_order = [
            candidate("c", 5, 10),
            candidate("a", 0, 0),
            candidate("b", 0, 10),
            candidate("e", 0, 11),
            candidate("d", 9, 12),
        ];
        for (at, one) in in_order.iter().enumerate() {
            for (other_at, other) in in_order.iter().enumerate() {
                assert_eq!(comes_before(one, other, 10), at < other_at, "{one:?} {other:?}");
            }
        }
    }
}
