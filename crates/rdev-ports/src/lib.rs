//! Needs of rdev from the outside, one trait a need.
//!
//! A port promises only what every implementation keeps. Its doc comments are the contract, and each promise has a
//! test in `testing::contract` (feature `testing`), which runs on every implementation.
//! To add an adapter: implement the trait in a crate named for the outside system, run the contract suite on the
//! implementation, and name the adapter in `wire/` of `rdev-api`.

mod agents;
mod answers;
mod artefacts;
mod clock;
mod figures;
mod followers;
mod leases;
mod log;
mod operations;
mod periodic;
mod pods;
mod pool;
mod queue;
mod retention;
mod signals;
#[cfg(feature = "testing")]
pub mod testing;
mod upkeep;
mod workspaces;

pub use agents::{AgentCapabilities, AgentInvocation, AgentJudge, CodeAgent};
pub use answers::{FirstAnswer, IDEMPOTENCY_KEY_LIFETIME, IdempotentAnswers, Occurrence};
pub use artefacts::{ArtefactWrite, Artefacts, PART_BYTES_MAX};
pub use clock::{Clock, Ids, Random};
pub use figures::StoreFigures;
pub use followers::{
    DELETION_PATIENCE, FOLLOWER_PATIENCE, FollowedBatch, FollowedEntry, Follower, FollowerGap, LogFollower,
    Rest, Unread,
};
pub use leases::{Claim, ClaimLimits, Fence, ReadyProject, Renewal, Retry, StartAnswer, Started, TaskLeases};
pub use log::{EventLog, READ_BYTES};
pub use operations::{OperationSteps, Operations, ProjectRecords};
pub use periodic::{PeriodicLease, PeriodicLeases};
pub use pods::{
    Diagnosis, Disruption, EXEC_START_TIMEOUT, EXEC_TURN_TIMEOUT, Exec, ExecError, ExecOutput, ExecResult,
    Pod, PodRef, Pods, PoolWorker, RUNNER_EXIT_LOST, RUNNER_EXIT_OTHER_PLACE, RUNNER_EXITS_NOT_STARTED,
    Reach, Readiness, Severity, Slot, Stdin,
};
pub use pool::{BACKLOG_MAX, Backlog, BacklogState, Occupancy, PoolQueue, QueueStats, STATS_WAITS_MAX};
pub use queue::{BacklogPosition, CancelRequested, Enqueued, JobFilter, Reopened, TaskQueue, Unfinished};
pub use retention::{PruneRule, Retention, STEP_BYTES_MAX, STREAM_NAME_LIFETIME, StepReport};
pub use signals::{Appended, Signal, Signals, SingleProcess};
pub use upkeep::spawn_for_good;
pub use workspaces::Workspaces;
