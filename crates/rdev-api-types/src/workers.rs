//! Workers of the pool.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

closed_set! {
    /// Status of a worker.
    WorkerStatus {
        /// It can take a task.
        Ready = "ready",
        /// It runs as many tasks as it may.
        Busy = "busy",
        /// Its pod is starting.
        Starting = "starting",
        /// Its pod has a fault.
        Failing = "failing",
        /// Its pod is gone.
        Gone = "gone",
    }
}

/// Worker of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Worker {
    /// Name of its pod, or of its slot on this machine.
    #[cfg_attr(feature = "schema", schema(example = "slot-1"))]
    pub id: String,
    /// Status of the worker.
    pub status: WorkerStatus,
    /// True while it takes no new task.
    pub draining: bool,
    /// Maximum number of tasks that it runs at once.
    #[cfg_attr(feature = "schema", schema(example = 1))]
    pub capacity: u32,
    /// Number of tasks that it runs.
    pub busy: usize,
    /// Ids of the tasks that it runs.
    #[cfg_attr(feature = "schema", schema(example = json!(["task-0199d7e8c0de7000a0b1c2d3e4f50617"])))]
    pub task_ids: Vec<String>,
    /// Cause for which it is not ready, in one word of the cluster; `NotReachable` where its pod is ready and no program
    /// can be started in it, `NotYetReached` until that has been tried. Or a fault of a ready one: `OomGroup`, its tasks
    /// are ended together when one of them needs too much memory.
    #[cfg_attr(feature = "schema", schema(example = "ImagePullBackOff"))]
    pub reason: Option<String>,
    /// Explanation of the reason, for people.
    pub message: Option<String>,
    /// Time since which the reason holds.
    pub since: Option<Timestamp>,
}

/// Pool of workers in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Pool {
    /// Number of tasks that workers which are ready and not draining can run at once.
    pub capacity: usize,
    /// Number of tasks that run.
    pub busy: usize,
    /// Number of tasks that could start now.
    pub idle: usize,
    /// Number of workers that take no new task.
    pub draining: usize,
    /// Number of workers that are not ready.
    pub not_ready: usize,
    /// Number of tasks that wait.
    pub queue_depth: u64,
}

/// Request to drain a worker, or to end its draining.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DrainBody {
    /// True to let it take no new task, false to let it take tasks again; default true.
    #[serde(default = "drains")]
    #[cfg_attr(feature = "schema", schema(default = true))]
    pub drain: bool,
}

fn drains() -> bool {
    true
}
