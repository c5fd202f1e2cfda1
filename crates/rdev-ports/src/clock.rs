use rdev_domain::{CommandId, Timestamp};

/// The time of day.
pub trait Clock: Send + Sync {
    /// Now, exact to the microsecond.
    fn now(&self) -> Timestamp;
}

/// New ids.
pub trait Ids: Send + Sync {
    /// An id that no command has; later ones sort after earlier ones of the same process.
    fn command_id(&self) -> CommandId;
}

/// Randomness.
pub trait Chance: Send + Sync {
    /// A number from 0 to 1, all of them equally likely.
    fn fraction(&self) -> f64;
}
