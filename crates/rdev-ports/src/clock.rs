use rdev_domain::{JobId, Timestamp};

/// The time of day.
pub trait Clock: Send + Sync {
    /// Now, exact to the microsecond.
    fn now(&self) -> Timestamp;
}

/// New ids.
pub trait Ids: Send + Sync {
    /// An id that no command has; later ones sort after earlier ones of the same process.
    fn job_id(&self) -> JobId;
}

/// Randomness.
pub trait Random: Send + Sync {
    /// A number from 0 to 1, all of them equally likely.
    fn fraction(&self) -> f64;
}
