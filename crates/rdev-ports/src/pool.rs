//! Queries and settings of the worker pool.

use async_trait::async_trait;
use rdev_domain::{IdempotencyKey, JobId, JobStatus, ProjectStatus, Result, TaskKind, Timestamp, WorkerName};

use crate::{Occurrence, PoolWorker, Slot};

/// Queries and settings of the worker pool.
#[async_trait]
pub trait PoolQueue: Send + Sync {
    /// Returns the occupied slots, the draining workers, and whether tasks wait.
    async fn occupancy(&self) -> Result<Occupancy>;

    /// Sets whether a worker of the pool is draining: it takes no new task until this is set otherwise. Under an
    /// idempotency key that was used before nothing is set.
    ///
    /// # Errors
    /// `Conflict` with `IdempotencyKeyReused` when the key was used for another request.
    async fn set_draining(
        &self,
        worker: &WorkerName,
        draining: bool,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Occurrence>;

    /// Counts the jobs that have not ended. Of pending tasks and of commands at most [`BACKLOG_MAX`] each are counted.
    async fn backlog(&self, now: Timestamp) -> Result<Backlog>;

    /// Counts all stored tasks, and returns waiting times of the newest that have ended.
    async fn stats(&self) -> Result<QueueStats>;
}

/// Occupied slots and draining workers of the pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Occupied slots, each with its task, sorted.
    pub busy: Vec<(Slot, JobId)>,
    /// Draining workers, sorted.
    pub draining: Vec<WorkerName>,
    /// True when tasks are pending.
    pub waits: bool,
}

impl Occupancy {
    /// Tells whether a worker takes new tasks, now or when one of its own has ended.
    pub fn takes_tasks(&self, worker: &PoolWorker) -> bool {
        worker.status == ProjectStatus::Ready && !self.draining.contains(&worker.name)
    }

    /// Returns the slots of a worker in which a task could start now.
    pub fn free_slots(&self, worker: &PoolWorker) -> impl Iterator<Item = Slot> {
        let slots = (0..if self.takes_tasks(worker) { worker.capacity } else { 0 })
            .map(|number| Slot { worker: worker.name.clone(), number });
        slots.filter(|slot| !self.busy.iter().any(|(busy, _)| busy == slot))
    }
}

/// Numbers of jobs that have not ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Numbers of the pool's tasks by kind and state, sorted.
    pub tasks: Vec<(TaskKind, BacklogState, u64)>,
    /// Time since which the longest waiting task could have started; `None` when no task is in
    /// [`BacklogState::Waiting`].
    pub waiting_since: Option<Timestamp>,
    /// Number of pending commands of projects.
    pub commands_waiting: u64,
    /// Time since which the longest waiting command could have started; `None` when none is pending but such as wait for a
    /// running command of their workspace.
    pub command_waiting_since: Option<Timestamp>,
    /// Number of running commands of projects.
    pub commands_running: u64,
}

impl Backlog {
    /// Returns the number of the pool's tasks in a state.
    pub fn count(&self, state: BacklogState) -> u64 {
        self.tasks.iter().filter(|(_, of, _)| *of == state).map(|(.., count)| count).sum()
    }

    /// Returns the number of the pool's pending tasks.
    pub fn waiting(&self) -> u64 {
        [BacklogState::Waiting, BacklogState::Blocked, BacklogState::Scheduled]
            .map(|state| self.count(state))
            .iter()
            .sum()
    }
}

/// State of a task that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BacklogState {
    /// Pending, and one more worker would run it.
    Waiting,
    /// Pending behind another task of its concurrency key: no worker could help.
    Blocked,
    /// Pending, and its time has not come.
    Scheduled,
    /// Running.
    Running,
}

impl BacklogState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Blocked, Self::Scheduled, Self::Running];

    /// Name in stores and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
        }
    }

    /// Returns the state of a name in stores and answers.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// Maximum number of pending tasks, and of commands, that [`PoolQueue::backlog`] counts: frequent queries must not load
/// the store.
pub const BACKLOG_MAX: u32 = 100_000;

/// Numbers and waiting times of all stored tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Numbers of tasks by kind and status, sorted by their names. A task that waits for an approval, a quota or a
    /// budget counts as running.
    pub counts: Vec<(TaskKind, JobStatus, u64)>,
    /// Time of acceptance of the oldest pending task; `None` when none is pending.
    pub oldest_waiting: Option<Timestamp>,
    /// Waiting times in microseconds, ascending: from a task's acceptance, or the time before which it must not run, to
    /// its last start.
    pub waits_us: Vec<i64>,
}

/// Maximum number of ended tasks whose waiting times [`PoolQueue::stats`] returns.
pub const STATS_WAITS_MAX: usize = 200;
