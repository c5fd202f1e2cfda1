//! Claims commands and keeps their leases while they run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdev_domain::{Error, Home, Result, WorkerId};
use rdev_ports::{Artefacts, Chance, Claim, Clock, EventLog, Fence, Pods, PoolQueue, Slots, TaskQueue};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::Live;
use crate::execution::Executor;
use crate::janitor::Janitor;
use crate::supervise::until_stored;

/// Work is claimed at least this often, whether or not anybody has rung.
const POLL: Duration = Duration::from_secs(1);

/// Pause between two sweeps of the journals.
const SWEEP: Duration = Duration::from_secs(10);

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Its name in the leases.
    pub id: WorkerId,
    /// Commands of projects that it runs at once; tasks of the pool are as many as the pool has workers.
    pub concurrency: u32,
    /// Time after which a silent worker's commands are taken over.
    pub lease: Duration,
    /// How long a command waits for its place to be ready.
    pub place_patience: Duration,
}

/// A claim that is being worked on.
struct Running {
    fence: Fence,
    task: AbortHandle,
    in_pool: bool,
}

/// What a worker works with.
#[derive(Clone)]
pub struct WorkerPorts {
    /// Where commands run.
    pub pods: Arc<dyn Pods>,
    /// The queue.
    pub queue: Arc<dyn TaskQueue>,
    /// What the queue knows of the pool.
    pub pool: Arc<dyn PoolQueue>,
    /// Where the files of tasks go.
    pub artefacts: Arc<dyn Artefacts>,
    /// Where their events go.
    pub log: Arc<dyn EventLog>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What spreads the attempts of tasks that failed together.
    pub chance: Arc<dyn Chance>,
}

/// The loop that claims commands and runs them.
pub struct Worker {
    config: WorkerConfig,
    executor: Arc<Executor>,
    running: HashMap<Id, Running>,
    tasks: JoinSet<()>,
    /// The answer to a claim was lost: something may be leased to this worker that it does not know of.
    unsure: bool,
}

impl Worker {
    /// Wires the worker.
    pub fn new(config: WorkerConfig, ports: WorkerPorts, live: Live) -> Self {
        let WorkerPorts { pods, queue, pool, artefacts, log, clock, chance } = ports;
        let place_patience = config.place_patience;
        let janitor = Janitor::default();
        let executor = Arc::new(Executor {
            pods,
            queue,
            pool,
            artefacts,
            log,
            clock,
            chance,
            live,
            janitor,
            place_patience,
        });
        Self { config, executor, running: HashMap::new(), tasks: JoinSet::new(), unsure: false }
    }

    /// Works until `shutdown`. Then it claims nothing more, lets go of what runs, without stopping it, and
    /// gives the leases back.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut renewal = interval(self.config.lease / 3);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let executor = self.executor.clone();
        let sweeping = tokio::spawn(sweep(executor.clone()));
        while !shutdown.is_cancelled() {
            self.claim().await;
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = executor.live.work().notified() => {}
                Some(done) = self.tasks.join_next_with_id() => self.done(done),
                _ = renewal.tick() => self.renew().await,
                () = executor.live.renewal().notified() => self.renew().await,
                () = sleep(POLL) => {}
            }
        }
        sweeping.abort();
        self.let_go().await;
    }

    async fn claim(&mut self) {
        if let Err(error) = self.try_claim().await {
            tracing::warn!(?error, "nothing could be claimed, trying again");
        }
    }

    async fn try_claim(&mut self) -> Result<()> {
        if self.unsure {
            self.executor.queue.release_all_but(&self.config.id, &self.fences()).await?;
            self.unsure = false;
        }
        let slots = self.slots().await?;
        let now = self.executor.clock.now();
        self.unsure = true;
        let claims = self.executor.queue.claim(&self.config.id, slots, now, now + self.config.lease).await?;
        self.unsure = false;
        claims.into_iter().for_each(|claim| self.spawn(claim));
        // The leases began before the store was asked.
        if self.executor.clock.now().since(now) > self.config.lease / 3 {
            self.renew().await;
        }
        Ok(())
    }

    fn fences(&self) -> Vec<Fence> {
        self.running.values().map(|running| running.fence.clone()).collect()
    }

    /// A task of the pool is claimed only for a worker that is free: it waits in the queue, not here.
    async fn slots(&self) -> Result<Slots> {
        let commands = self.running.values().filter(|running| !running.in_pool).count();
        let commands = self.config.concurrency.saturating_sub(commands as u32);
        let occupancy = self.executor.pool.occupancy().await?;
        if !occupancy.waits {
            return Ok(Slots { commands, pool: 0 });
        }
        let workers = match self.executor.pods.workers().await {
            Ok(workers) => workers,
            // The cluster's pods are not known yet: commands are put back by themselves.
            Err(Error::Unavailable { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let free: usize = workers.iter().map(|worker| occupancy.free_seats(worker).count()).sum();
        let starting = self.running.values().filter(|running| running.in_pool);
        let starting =
            starting.filter(|running| !occupancy.busy.iter().any(|(_, task)| *task == running.fence.id));
        Ok(Slots { commands, pool: free.saturating_sub(starting.count()) as u32 })
    }

    fn spawn(&mut self, claim: Claim) {
        let executor = self.executor.clone();
        let (fence, in_pool) = (claim.fence.clone(), claim.command.home == Home::Pool);
        let task = self.tasks.spawn(async move {
            match executor.run(&claim).await {
                Ok(()) => return,
                Err(Error::LeaseLost) => {
                    let what = "another worker has taken over, or an answer of the store was lost";
                    tracing::warn!(command = %claim.fence.id, "{what}");
                }
                Err(error) => {
                    tracing::error!(command = %claim.fence.id, ?error, "the command was let go");
                    sleep(POLL).await;
                }
            }
            // So that the next claim goes on where this one stopped, and not only when the lease has run out: it may
            // be the latest one even where it seemed lost, to a write that was stored before it was tried again.
            let given_back =
                until_stored(&claim.fence.id, || executor.queue.release(std::slice::from_ref(&claim.fence)));
            if let Err(error) = given_back.await {
                tracing::error!(command = %claim.fence.id, ?error, "its lease will run out");
            }
        });
        self.running.insert(task.id(), Running { fence, task, in_pool });
    }

    fn done(&mut self, done: std::result::Result<(Id, ()), JoinError>) {
        let id = match done {
            Ok((id, ())) => id,
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(%error, "an execution panicked; its lease will run out");
                }
                error.id()
            }
        };
        self.running.remove(&id);
    }

    async fn renew(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let fences = self.fences();
        let until = self.executor.clock.now() + self.config.lease;
        match self.executor.queue.renew(&fences, until).await {
            Ok(renewal) => {
                for fence in renewal.cancelled {
                    self.executor.live.tail(&fence.id).stop.cancel();
                }
                let lost = |running: &&Running| renewal.lost.contains(&running.fence);
                for running in self.running.values().filter(lost) {
                    tracing::warn!(command = %running.fence.id, "another worker has taken over");
                    running.task.abort();
                }
            }
            Err(error) => tracing::warn!(?error, "leases could not be renewed, trying again"),
        }
    }

    async fn let_go(mut self) {
        self.tasks.shutdown().await;
        let fences: Vec<Fence> = self.running.drain().map(|(_, running)| running.fence).collect();
        if !fences.is_empty() {
            tracing::info!(
                commands = fences.len(),
                "these commands go on, and are attached to at the next start"
            );
            release(&self.executor, &fences).await;
            self.executor.live.work_for_others();
        }
    }
}

/// Frees journals now and then, beside the commands.
async fn sweep(executor: Arc<Executor>) {
    let mut tick = interval(SWEEP);
    loop {
        tick.tick().await;
        executor.janitor.sweep(&*executor.pods).await;
    }
}

async fn release(executor: &Executor, fences: &[Fence]) {
    if let Err(error) = executor.queue.release(fences).await {
        tracing::warn!(?error, "leases could not be given back; they will run out");
    }
}
