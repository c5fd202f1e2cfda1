//! What rdev needs from the outside, one trait a need.
//!
//! A port promises only what every implementation keeps; its doc comments are the contract, and each
//! promise has a test in `testing::contract` (feature `testing`) that runs on every implementation.
//! To add an adapter: implement the trait in a crate named for the outside system, run the contract suite
//! on it, and name it in `rdev-api`'s `wire.rs`.

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

pub use artefacts::{Artefacts, Keep, PART_BYTES_MAX};
pub use clock::{Chance, Clock, Ids};
pub use log::{EventLog, READ_BYTES};
pub use pods::{
    EXEC_START_TIMEOUT, EXEC_TURN_TIMEOUT, Exec, ExecError, ExecOutput, ExecResult, Fate, Finding, Place,
    Pods, PoolWorker, RUNNER_EXIT_LOST, RUNNER_EXIT_OTHER_PLACE, RUNNER_EXITS_NOT_STARTED, Reach, Seat, Site,
    Standing, Stdin, Verdict,
};
pub use pool::{
    BACKLOG_MAX, Backlog, Hold, InLine, Occupancy, PoolQueue, QueueStats, Reopened, STATS_WAITS_MAX, Stage,
    TaskFilter,
};
pub use queue::{
    Asked, CancelRequested, Claim, Enqueued, Fence, IDEMPOTENCY_KEY_LIFETIME, NewCommand, Renewal, Retry,
    Slots, Started, TaskQueue, Unfinished,
};
pub use retention::{Progress, Retention, Rule, STEP_BYTES_MAX, STREAM_NAME_LIFETIME, Turn, Turns};
pub use signals::{Alone, Growth, Signal, Signals};
pub use upkeep::spawn_for_good;
