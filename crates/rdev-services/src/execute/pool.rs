//! Worker pool: its workers, their use, draining, and the numbers of the queue.

use std::sync::Arc;
use std::time::Duration;

use rdev_domain::{Condition, Error, IdempotencyKey, JobId, ProjectStatus, Resource, Result, WorkerName};
use rdev_engine::Wakeups;
use rdev_ports::{Backlog, Clock, Occupancy, Occurrence, Pods, PoolQueue, PoolWorker, QueueStats};

/// Worker pool.
#[derive(Clone)]
pub struct Pool {
    pods: Arc<dyn Pods>,
    queue: Arc<dyn PoolQueue>,
    clock: Arc<dyn Clock>,
    wakeups: Wakeups,
}

/// Worker of the pool with its tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerView {
    /// Name of the worker.
    pub name: WorkerName,
    /// Readiness of the worker to run tasks.
    pub status: ProjectStatus,
    /// Number of slots: tasks that run in the worker at once.
    pub capacity: u32,
    /// Defect that an operator should know of, whatever the status.
    pub warning: Option<Condition>,
    /// Tasks that run in the worker.
    pub tasks: Vec<JobId>,
    /// The worker takes no new task.
    pub draining: bool,
    /// The worker will be deleted when its tasks have ended.
    pub leaves: bool,
}

/// Use of the pool's slots and workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUsage {
    /// Slots of the workers that are ready and not draining.
    pub capacity: usize,
    /// Tasks that run.
    pub busy: usize,
    /// Free slots of the workers that are ready and not draining.
    pub idle: usize,
    /// Workers that take no new task.
    pub draining: usize,
    /// Workers that are not ready.
    pub not_ready: usize,
}

/// Use of the pool, and the length of its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolView {
    /// Use of the pool.
    pub usage: PoolUsage,
    /// Pending tasks.
    pub queue_depth: u64,
}

/// Numbers of the queue, and the use of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueView {
    /// Numbers of the queue.
    pub stats: QueueStats,
    /// Age of the oldest pending task that is due; `None` if there is none.
    pub oldest_waiting: Option<Duration>,
    /// Use of the pool.
    pub usage: PoolUsage,
}

impl Pool {
    /// Wires the service.
    pub fn new(
        pods: Arc<dyn Pods>,
        queue: Arc<dyn PoolQueue>,
        clock: Arc<dyn Clock>,
        wakeups: Wakeups,
    ) -> Self {
        Self { pods, queue, clock, wakeups }
    }

    /// Returns all workers, by name.
    ///
    /// # Errors
    /// When the store, or the runtime, cannot be read; so of every method.
    pub async fn workers(&self) -> Result<Vec<WorkerView>> {
        let occupancy = self.queue.occupancy().await?;
        Ok(self.pods.workers().await?.into_iter().map(|worker| view(worker, &occupancy)).collect())
    }

    /// Returns one worker.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn worker(&self, name: &WorkerName) -> Result<WorkerView> {
        let worker = self.workers().await?.into_iter().find(|worker| worker.name == *name);
        worker.ok_or_else(|| Error::not_found(Resource::Worker, name))
    }

    /// Returns the use of the pool.
    async fn usage(&self) -> Result<PoolUsage> {
        let workers = self.workers().await?;
        let takes = || workers.iter().filter(|worker| worker.takes_tasks());
        Ok(PoolUsage {
            capacity: takes().map(|worker| worker.capacity as usize).sum(),
            busy: workers.iter().map(|worker| worker.tasks.len()).sum(),
            idle: takes().map(WorkerView::free).sum(),
            draining: workers.iter().filter(|worker| worker.draining).count(),
            not_ready: workers.iter().filter(|worker| !worker.is_ready()).count(),
        })
    }

    /// Returns the jobs that have not ended, of the pool and of projects, counted.
    pub async fn backlog(&self) -> Result<Backlog> {
        self.queue.backlog(self.clock.now()).await
    }

    /// Returns the use of the pool, and the length of its queue.
    pub async fn view(&self) -> Result<PoolView> {
        let usage = self.usage().await?;
        Ok(PoolView { usage, queue_depth: self.backlog().await?.waiting() })
    }

    /// Returns the numbers of the queue, and the use of the pool.
    pub async fn queue(&self) -> Result<QueueView> {
        let (stats, usage) = (self.queue.stats().await?, self.usage().await?);
        let oldest_waiting = stats.oldest_waiting.map(|at| self.clock.now().since(at));
        Ok(QueueView { stats, oldest_waiting, usage })
    }

    /// Sets whether a worker takes no new task; its running tasks go on.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when the idempotency key was used for another request.
    pub async fn set_draining(
        &self,
        name: &WorkerName,
        draining: bool,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<(WorkerView, Occurrence)> {
        self.worker(name).await?;
        let now = self.clock.now();
        let occurrence = self.queue.set_draining(name, draining, idempotency.as_ref(), now).await?;
        self.wakeups.notify_work();
        Ok((self.worker(name).await?, occurrence))
    }
}

impl WorkerView {
    /// Tells whether the worker is ready.
    pub fn is_ready(&self) -> bool {
        self.status == ProjectStatus::Ready
    }

    /// Tells whether the worker takes new tasks, at once or when one of its own has ended.
    pub fn takes_tasks(&self) -> bool {
        self.is_ready() && !self.draining
    }

    /// Returns the number of free slots.
    pub fn free(&self) -> usize {
        (self.capacity as usize).saturating_sub(self.tasks.len())
    }
}

fn view(worker: PoolWorker, occupancy: &Occupancy) -> WorkerView {
    let tasks = occupancy.busy.iter().filter(|(slot, _)| slot.worker == worker.name);
    WorkerView {
        tasks: tasks.map(|(_, task)| task.clone()).collect(),
        capacity: worker.capacity,
        warning: worker.warning,
        leaves: worker.leaves,
        draining: occupancy.draining.contains(&worker.name),
        name: worker.name,
        status: worker.status,
    }
}
