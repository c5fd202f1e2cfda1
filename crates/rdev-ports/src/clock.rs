//! Time, ids and randomness.

use rdev_domain::{JobId, JobIdPrefix, Timestamp};

/// The time of day.
pub trait Clock: Send + Sync {
    /// Returns the present time, exact to the microsecond.
    fn now(&self) -> Timestamp;
}

/// Source of new ids.
pub trait Ids: Send + Sync {
    /// Returns an id that no job has. Later ids sort after earlier ones of the same prefix and process.
    fn job_id(&self, prefix: JobIdPrefix) -> JobId;

    /// Returns the least id that a job can get in the millisecond of this time.
    fn least_id(&self, prefix: JobIdPrefix, at: Timestamp) -> JobId;
}

/// Source of randomness.
pub trait Random: Send + Sync {
    /// Returns a uniformly distributed number from 0 to 1, both inclusive.
    fn fraction(&self) -> f64;
}
