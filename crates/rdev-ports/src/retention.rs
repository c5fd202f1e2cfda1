//! Retention: removal of what is not kept for ever, in small steps.

use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{Result, Timestamp};

/// Removal of what is not kept for ever.
#[async_trait]
pub trait Retention: Send + Sync {
    /// Removes up to [`STEP_BYTES_MAX`] of what a rule no longer allows, in one small transaction. Callers come again
    /// while the report says that more is left, one process at a time ([`PeriodicLeases`](crate::PeriodicLeases)).
    ///
    /// A removal from a target's log shows in [`EventLog::pruned`](crate::EventLog::pruned) with the same transaction.
    async fn prune(&self, rule: PruneRule) -> Result<StepReport>;
}

/// Rule that says what is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneRule {
    /// Idempotency keys that were first used before a moment.
    Keys {
        /// The moment.
        before: Timestamp,
    },
    /// Jobs that ended before a moment, with all of their entries and files. The oldest goes first, and a job's last
    /// entry goes with the job itself. A stream name that a caller chose is remembered.
    ///
    /// A job stays while the cursor of a follower lies before the job's end; unless the job ended more than
    /// [`FOLLOWER_PATIENCE`](crate::FOLLOWER_PATIENCE) before the moment: then it is removed, and every follower whose
    /// cursor lies before its end is told a gap.
    Ended {
        /// The moment.
        before: Timestamp,
        /// The present time.
        now: Timestamp,
    },
    /// Names of streams whose job was removed before a moment.
    Streams {
        /// The moment.
        before: Timestamp,
    },
    /// The oldest output, also of running jobs, and the files of the tasks that ended first, in one order, while both
    /// together exceed a size. A task's files count from its last end on. Entries about states and ends stay, and so
    /// does the list of a task's files: followers miss nothing. Data that was stored since the last call that found
    /// nothing left may not be counted yet.
    Output {
        /// Bytes of output and files that may be kept.
        bytes_max: u64,
    },
}

/// Maximum bytes of output and files that one step removes, unless a single piece has more: 8 MiB, which holds the only
/// writer of a SQLite file for some 40 ms.
pub const STEP_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Time for which a stream name that a caller chose stays taken after retention has removed the stream: 30 days.
pub const STREAM_NAME_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Report of one step of periodic work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepReport {
    /// Number of things that the step dealt with.
    pub done: u64,
    /// True when more is left.
    pub more: bool,
}
