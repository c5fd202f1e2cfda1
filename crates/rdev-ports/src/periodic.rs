//! Leases on periodic work: of the processes that share a store, one does a job at a time.

use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{Result, Timestamp};

/// Leases on periodic jobs.
#[async_trait]
pub trait PeriodicLeases: Send + Sync {
    /// Acquires the lease of a periodic job, unless a process acquired or extended it less than `period` ago. Of several
    /// processes that ask at the same time one gets it. A lease needs no release: it expires after `period`, also when
    /// its holder dies. `None` when another process holds the lease.
    async fn try_acquire(
        &self,
        job_name: &'static str,
        period: Duration,
        now: Timestamp,
    ) -> Result<Option<PeriodicLease>>;

    /// Extends a lease from `now` on; `None` when another process has acquired it since.
    async fn extend(&self, lease: PeriodicLease, now: Timestamp) -> Result<Option<PeriodicLease>>;
}

/// A lease on a periodic job, as it was acquired or extended last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeriodicLease {
    /// Name of the periodic job.
    pub job_name: &'static str,
    /// Time at which the lease was acquired or extended.
    pub at: Timestamp,
}
