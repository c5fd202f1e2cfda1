//! Leases on periodic work.

use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{Result, Timestamp};
use rdev_ports::{PeriodicLease, PeriodicLeases};

use crate::db::{Commit, execute, write};
use crate::store::SqlStore;
use crate::values::as_micros;

/// A lease that was acquired more than a period in the future comes from a clock that was wrong, and does not count.
const ACQUIRE: &str = "INSERT INTO turns (chore, taken_us) VALUES ($1, $2)
     ON CONFLICT (chore) DO UPDATE SET taken_us = excluded.taken_us
     WHERE turns.taken_us <= $3 OR turns.taken_us > $4";

const EXTEND: &str = "UPDATE turns SET taken_us = $1 WHERE chore = $2 AND taken_us = $3";

/// A lease is a row rather than an advisory lock: the row also has the time of the last run, is the same on both databases,
/// and holds no connection. Of two processes that acquire it at once the second sees the first one's row.
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
            let acquired = execute!(&mut tx, ACQUIRE, job_name, at, at - period, at + period)?;
            Ok((acquired == 1).then_some(PeriodicLease { job_name, at: now }))
        })
    }

    async fn extend(&self, lease: PeriodicLease, now: Timestamp) -> Result<Option<PeriodicLease>> {
        write!(&self.db, Commit::Async, |tx| {
            let extended = execute!(&mut tx, EXTEND, now.as_micros(), lease.job_name, lease.at.as_micros())?;
            Ok((extended == 1).then_some(PeriodicLease { at: now, ..lease }))
        })
    }
}
