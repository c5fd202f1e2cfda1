//! What rdev needs from the outside, one trait a need.
//!
//! A port promises only what every implementation keeps; its doc comments are the contract, and each
//! promise has a test in `testing::contract` (feature `testing`) that runs on every implementation.
//! To add an adapter: implement the trait in a crate named for the outside system, run the contract suite
//! on it, and name it in `wire/` of `rdev-api`.

mod artefacts;
mod clock;
mod log;
mod pods;
mod pool;
mod queue;
mod retention;
mod signals;
#[cfg(feature = "testing")]
pub mod testing;
mod upkeep;

pub use artefacts::{ArtefactWrite, Artefacts, PART_BYTES_MAX};
pub use clock::{Clock, Ids, Random};
pub use log::{EventLog, READ_BYTES};
pub use pods::{
    Diagnosis, Disruption, EXEC_START_TIMEOUT, EXEC_TURN_TIMEOUT, Exec, ExecError, ExecOutput, ExecResult,
    Pod, PodRef, Pods, PoolWorker, RUNNER_EXIT_LOST, RUNNER_EXIT_OTHER_PLACE, RUNNER_EXITS_NOT_STARTED,
    Reach, Readiness, Severity, Slot, Stdin,
};
pub use pool::{
    BACKLOG_MAX, Backlog, BacklogPosition, BacklogState, Hold, Occupancy, PoolQueue, QueueStats, Reopened,
    STATS_WAITS_MAX, TaskFilter,
};
pub use queue::{
    CancelRequested, Claim, ClaimLimits, Enqueued, Fence, IDEMPOTENCY_KEY_LIFETIME, NewJob, Occurrence,
    Renewal, Retry, Started, TaskQueue, Unfinished,
};
pub use retention::{
    PeriodicLease, PeriodicLeases, PruneRule, Retention, STEP_BYTES_MAX, STREAM_NAME_LIFETIME, StepReport,
};
pub use signals::{Appended, Signal, Signals, SingleProcess};
pub use upkeep::spawn_for_good;
