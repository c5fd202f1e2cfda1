use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{Result, Timestamp};
use rdev_ports::{PeriodicLease, PeriodicLeases};

use crate::SqlStore;
use crate::db::{Commit, execute, write};
use crate::rows::as_micros;

/// A sign of life from beyond the next period is of a clock that was wrong: it holds nobody up.
const TAKE: &str = "INSERT INTO turns (chore, taken_us) VALUES ($1, $2)
     ON CONFLICT (chore) DO UPDATE SET taken_us = excluded.taken_us
     WHERE turns.taken_us <= $3 OR turns.taken_us > $4";

const KEEP: &str = "UPDATE turns SET taken_us = $1 WHERE chore = $2 AND taken_us = $3";

/// A row rather than an advisory lock: it also says when the chore was done last, it is the same on both
/// databases, and it holds no connection. Of two that take it at once the second sees the first one's row.
#[async_trait]
impl PeriodicLeases for SqlStore {
    async fn try_acquire(
        &self,
        job_name: &'static str,
        period: Duration,
        now: Timestamp,
    ) -> Result<Option<PeriodicLease>> {
        let (at, period) = (now.as_micros(), as_micros(period));
        write!(&self.db, Commit::Async, |tx| {
            let taken = execute!(&mut tx, TAKE, job_name, at, at - period, at + period)?;
            Ok((taken == 1).then_some(PeriodicLease { job_name, at: now }))
        })
    }

    async fn extend(&self, turn: PeriodicLease, now: Timestamp) -> Result<Option<PeriodicLease>> {
        write!(&self.db, Commit::Async, |tx| {
            let kept = execute!(&mut tx, KEEP, now.as_micros(), turn.job_name, turn.at.as_micros())?;
            Ok((kept == 1).then_some(PeriodicLease { at: now, ..turn }))
        })
    }
}
