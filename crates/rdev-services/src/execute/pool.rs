//! The workers of the pool.

use std::sync::Arc;

use rdev_domain::{Condition, Error, IdempotencyKey, JobId, ProjectStatus, Resource, Result, WorkerName};
use rdev_engine::Live;
use rdev_ports::{Backlog, Clock, Occupancy, Occurrence, Pods, PoolQueue, PoolWorker};

/// The workers of the pool.
#[derive(Clone)]
pub struct Pool {
    pods: Arc<dyn Pods>,
    queue: Arc<dyn PoolQueue>,
    clock: Arc<dyn Clock>,
    live: Live,
}

/// A worker, and what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerView {
    /// Its name.
    pub name: WorkerName,
    /// Whether tasks can run in it.
    pub status: ProjectStatus,
    /// How many tasks run in it at once.
    pub capacity: u32,
    /// A lack that somebody is to know of, whatever its status.
    pub warning: Option<Condition>,
    /// The tasks that run in it.
    pub tasks: Vec<JobId>,
    /// Whether it takes nothing new.
    pub draining: bool,
    /// It is to be gone when what runs in it has ended.
    pub leaves: bool,
}

/// What the workers of the pool can do, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUsage {
    /// Tasks that run at once in workers that are ready, and not draining.
    pub capacity: usize,
    /// Tasks that run.
    pub busy: usize,
    /// Tasks that could begin now.
    pub idle: usize,
    /// Workers that take nothing new.
    pub draining: usize,
    /// Workers that are not ready.
    pub not_ready: usize,
}

impl Pool {
    /// Wires the service.
    pub fn new(pods: Arc<dyn Pods>, queue: Arc<dyn PoolQueue>, clock: Arc<dyn Clock>, live: Live) -> Self {
        Self { pods, queue, clock, live }
    }

    /// All workers, by name.
    pub async fn workers(&self) -> Result<Vec<WorkerView>> {
        let occupancy = self.queue.occupancy().await?;
        Ok(self.pods.workers().await?.into_iter().map(|worker| view(worker, &occupancy)).collect())
    }

    /// One worker.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn worker(&self, name: &WorkerName) -> Result<WorkerView> {
        let worker = self.workers().await?.into_iter().find(|worker| worker.name == *name);
        worker.ok_or_else(|| Error::not_found(Resource::Worker, name))
    }

    /// What the workers can do, counted.
    pub async fn seats(&self) -> Result<PoolUsage> {
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

    /// How much there is to do, for the pool and for projects.
    pub async fn backlog(&self) -> Result<Backlog> {
        self.queue.backlog(self.clock.now()).await
    }

    /// Sets whether a worker takes nothing new; what runs in it goes on.
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
        let asked = self.queue.set_draining(name, draining, idempotency.as_ref(), now).await?;
        self.live.work_came();
        Ok((self.worker(name).await?, asked))
    }
}

impl WorkerView {
    /// Whether tasks can run in it.
    pub fn is_ready(&self) -> bool {
        self.status == ProjectStatus::Ready
    }

    /// Whether tasks that come may be run in it, now or when one of its own has ended.
    pub fn takes_tasks(&self) -> bool {
        self.is_ready() && !self.draining
    }

    /// How many more tasks it could run.
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
