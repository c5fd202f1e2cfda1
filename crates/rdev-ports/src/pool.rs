use async_trait::async_trait;
use rdev_domain::{
    BlockedBy, Entry, IdempotencyKey, Job, JobId, JobStatus, ProjectId, ProjectStatus, Result, TaskKind,
    Timestamp, WorkerName,
};

use crate::{Occurrence, PoolWorker, Slot};

/// What is asked of the queue about the pool, and told to it.
#[async_trait]
pub trait PoolQueue: Send + Sync {
    /// Up to `limit` tasks of the pool that are older than `before`, newest first.
    async fn tasks(&self, filter: &TaskFilter, before: Option<&JobId>, limit: u32) -> Result<Vec<Job>>;

    /// Has a task of the pool that has ended wait again, for one more round of as many attempts as the first had.
    /// Its log keeps all that it has: the complete entry reads as a former end from then on, and an entry that
    /// takes no number follows it. Under an idempotency key that was used before nothing is done. `None` when
    /// there is no such task.
    ///
    /// # Errors
    /// `Conflict` with `TASK_NOT_ENDED`, and with `IDEMPOTENCY_KEY_REUSED` when the key was used for another request.
    async fn reopen(
        &self,
        id: &JobId,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<Reopened>>;

    /// Returns the position of a pending job; `None` for any other.
    async fn queue_position(&self, id: &JobId, now: Timestamp) -> Result<Option<BacklogPosition>>;

    /// Who works in the pool, and who is to take nothing new.
    async fn occupancy(&self) -> Result<Occupancy>;

    /// Sets whether a worker of the pool is to take nothing new; it holds until it is set otherwise. Under an
    /// idempotency key that was used before nothing is set.
    ///
    /// # Errors
    /// `Conflict` with `IDEMPOTENCY_KEY_REUSED` when the key was used for another request.
    async fn set_draining(
        &self,
        worker: &WorkerName,
        draining: bool,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Occurrence>;

    /// How much there is to do; of what waits, [`BACKLOG_MAX`] are looked at.
    async fn backlog(&self, now: Timestamp) -> Result<Backlog>;

    /// How much there is of what; of times from acceptance to start, those of the newest tasks that have ended.
    async fn stats(&self) -> Result<QueueStats>;
}

/// Which tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// In one of these; empty: in any.
    pub statuses: Vec<JobStatus>,
    /// Of this kind.
    pub kind: Option<TaskKind>,
    /// Done for this project.
    pub project: Option<ProjectId>,
}

/// Outcome for a task that was to be reopened.
#[derive(Debug, Clone)]
pub enum Reopened {
    /// It waits again; the entry says so.
    New(Box<Job>, Entry),
    /// The same request had reopened it before: it stands as it is here.
    Existing(Box<Job>),
}

/// Position of a pending job in the backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogPosition {
    /// Number of pending jobs that are claimed before it.
    pub ahead: u64,
    /// Cause for which the job waits, as far as the queue knows: `RunAfter`; `ConcurrencyKey` of a task, `Workspace` of a
    /// command; `None` for causes outside of the queue.
    pub blocked_by: Option<BlockedBy>,
}

/// Who works in the pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// The seats that are taken, each with its task.
    pub busy: Vec<(Slot, JobId)>,
    /// The workers that take nothing new.
    pub draining: Vec<WorkerName>,
    /// Whether tasks wait.
    pub waits: bool,
}

impl Occupancy {
    /// Whether tasks that come may be run in a worker, now or when one of its own has ended.
    pub fn takes_tasks(&self, worker: &PoolWorker) -> bool {
        worker.status == ProjectStatus::Ready && !self.draining.contains(&worker.name)
    }

    /// The seats of a worker in which a task could begin now.
    pub fn free_slots(&self, worker: &PoolWorker) -> impl Iterator<Item = Slot> {
        let seats = (0..if self.takes_tasks(worker) { worker.capacity } else { 0 })
            .map(|number| Slot { worker: worker.name.clone(), number });
        seats.filter(|slot| !self.busy.iter().any(|(busy, _)| busy == slot))
    }
}

/// How much there is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Tasks of the pool that have not ended, by kind and stage.
    pub tasks: Vec<(TaskKind, BacklogState, u64)>,
    /// Since when the task of the pool waits that could have started first.
    pub waiting_since: Option<Timestamp>,
    /// Commands of projects that wait.
    pub commands_waiting: u64,
    /// Commands of projects that run.
    pub commands_running: u64,
}

impl Backlog {
    /// Tasks of the pool in a stage.
    pub fn count(&self, stage: BacklogState) -> u64 {
        self.tasks.iter().filter(|(_, of, _)| *of == stage).map(|(.., count)| count).sum()
    }

    /// Tasks of the pool that wait, for whatever.
    pub fn waiting(&self) -> u64 {
        [BacklogState::Waiting, BacklogState::Blocked, BacklogState::Scheduled]
            .map(|stage| self.count(stage))
            .iter()
            .sum()
    }
}

/// How far a task has come that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BacklogState {
    /// One more worker would run it.
    Waiting,
    /// It waits for another task of its key, and no worker could help it.
    Blocked,
    /// Its time has not come.
    Scheduled,
    /// It runs.
    Running,
}

impl BacklogState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Blocked, Self::Scheduled, Self::Running];

    /// Its name in stores and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
        }
    }

    /// The stage of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }
}

/// Most tasks, and most commands, that [`PoolQueue::backlog`] looks at: who asks often must not load the store.
pub const BACKLOG_MAX: u32 = 100_000;

/// How much there is of what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Tasks by kind and status.
    pub counts: Vec<(TaskKind, JobStatus, u64)>,
    /// When the oldest task was accepted that waits and is due.
    pub oldest_waiting: Option<Timestamp>,
    /// Microseconds from acceptance, or from the time before which it must not run, to the start, ascending.
    pub waits_us: Vec<i64>,
}

/// Newest tasks whose waiting times [`PoolQueue::stats`] tells.
pub const STATS_WAITS_MAX: usize = 200;
