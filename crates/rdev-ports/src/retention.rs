use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{Result, Timestamp};

/// What is not kept for ever.
#[async_trait]
pub trait Retention: Send + Sync {
    /// Removes a little of what a rule no longer allows, at most [`STEP_BYTES_MAX`]: one small transaction. Callers come
    /// again while more is left, and by turns ([`PeriodicLeases`]).
    ///
    /// What was removed from a home's log shows in [`EventLog::pruned`](crate::EventLog::pruned) with the same
    /// transaction.
    async fn prune(&self, rule: PruneRule) -> Result<StepReport>;
}

/// What is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneRule {
    /// Idempotency keys that were first used before this moment.
    Keys {
        /// The moment.
        before: Timestamp,
    },
    /// Commands that ended before this moment, with all of their entries and files. The oldest goes first, and a
    /// command's last entry goes with the command itself. The name that a caller gave to its stream is remembered.
    Ended {
        /// The moment.
        before: Timestamp,
        /// The present moment.
        now: Timestamp,
    },
    /// Names of streams whose command was removed before this moment.
    Streams {
        /// The moment.
        before: Timestamp,
    },
    /// The oldest output of all, of commands that run as well, and the files of the tasks that ended first, in one
    /// order, while there is more of both than so much. A task's files weigh from its last end on. What tells of a
    /// command's states and end stays, and so does the list of its files. What was stored since the call before that
    /// left nothing over may not be counted yet.
    Output {
        /// Bytes of output and files that may be kept.
        bytes_max: u64,
    },
}

/// Bytes of output and files that one step removes at most, unless a single piece has more: some 40 ms of the only writer
/// of a SQLite file.
pub const STEP_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// How long the name that a caller gave to a stream is not given again after retention has removed it.
pub const STREAM_NAME_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// How far a piece of periodic work has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepReport {
    /// How many things it has dealt with.
    pub done: u64,
    /// Whether more is left.
    pub more: bool,
}

/// Whose turn it is: of the processes that share a store, one does a chore at a time.
#[async_trait]
pub trait PeriodicLeases: Send + Sync {
    /// Takes the turn of a chore, unless somebody took or kept it less than `period` ago: of those who ask at the
    /// same time one gets it. A turn needs no end: whoever dies in it is followed after `period` as well.
    async fn try_acquire(
        &self,
        job_name: &'static str,
        period: Duration,
        now: Timestamp,
    ) -> Result<Option<PeriodicLease>>;

    /// Goes on with a turn, or finds that another process has taken it over.
    async fn extend(&self, turn: PeriodicLease, now: Timestamp) -> Result<Option<PeriodicLease>>;
}

/// A turn, as it was taken or kept last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeriodicLease {
    /// What is done.
    pub job_name: &'static str,
    /// When the store last saw a sign of life.
    pub at: Timestamp,
}
