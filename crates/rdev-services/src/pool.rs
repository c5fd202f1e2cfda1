//! The workers of the pool.

use std::sync::Arc;

use rdev_domain::{CommandId, Error, ProjectStatus, Result, Status, WorkerName};
use rdev_ports::{Clock, Occupancy, Pods, PoolQueue, PoolWorker};

use crate::Live;

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
    /// The task that runs in it.
    pub task: Option<CommandId>,
    /// Whether it takes nothing new.
    pub draining: bool,
}

/// The pool as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolView {
    /// Workers that are ready or busy, and not draining: tasks that run at once.
    pub capacity: usize,
    /// Workers that have a task.
    pub busy: usize,
    /// Workers that could take one.
    pub idle: usize,
    /// Workers that take nothing new.
    pub draining: usize,
    /// Workers that are not ready.
    pub not_ready: usize,
    /// Tasks that wait.
    pub queue_depth: u64,
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
        worker.ok_or_else(|| Error::not_found("worker", name))
    }

    /// The pool as a whole.
    pub async fn pool(&self) -> Result<PoolView> {
        let occupancy = self.queue.occupancy().await?;
        let workers = self.pods.workers().await?.into_iter().map(|worker| view(worker, &occupancy));
        let workers: Vec<WorkerView> = workers.collect();
        let counts = self.queue.stats().await?.counts;
        let pending = counts.iter().filter(|(_, status, _)| *status == Status::Pending);
        let queue_depth = pending.map(|(.., count)| count).sum();
        let count = |wanted: fn(&WorkerView) -> bool| workers.iter().filter(|worker| wanted(worker)).count();
        let ready = |worker: &WorkerView| worker.status == ProjectStatus::Ready;
        Ok(PoolView {
            capacity: workers.iter().filter(|worker| ready(worker) && !worker.draining).count(),
            busy: count(|worker| worker.task.is_some()),
            idle: workers
                .iter()
                .filter(|worker| ready(worker) && worker.task.is_none() && !worker.draining)
                .count(),
            draining: count(|worker| worker.draining),
            not_ready: workers.iter().filter(|worker| !ready(worker)).count(),
            queue_depth,
        })
    }

    /// Sets whether a worker takes nothing new; what runs in it goes on.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn set_draining(&self, name: &WorkerName, draining: bool) -> Result<WorkerView> {
        self.worker(name).await?;
        self.queue.set_draining(name, draining, self.clock.now()).await?;
        self.live.work_came();
        self.worker(name).await
    }
}

fn view(worker: PoolWorker, occupancy: &Occupancy) -> WorkerView {
    let task = occupancy.busy.iter().find(|(busy, _)| *busy == worker.name);
    WorkerView {
        task: task.map(|(_, task)| task.clone()),
        draining: occupancy.draining.contains(&worker.name),
        name: worker.name,
        status: worker.status,
    }
}
