//! Leases on periodic work.

use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{Result, Timestamp};
use rdev_ports::{PeriodicLease, PeriodicLeases};

use crate::db::{Commit, execute, write};
use crate::store::SqlStore;
use crate::values::as_micros;

/// A lease that was acquired more than a period in the future comes from a clock that was wrong, and does not count.
const ACQUIRE: &str = "INSERT INTO periodic_leases AS l (job_name, acquired_us) VALUES ($1, $2)
     ON CONFLICT (job_name) DO UPDATE SET acquired_us = excluded.acquired_us
     WHERE l.acquired_us <= $3 OR l.acquired_us > $4";

const EXTEND: &str = "UPDATE periodic_leases SET acquired_us = $1 WHERE job_name = $2 AND acquired_us = $3";

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
