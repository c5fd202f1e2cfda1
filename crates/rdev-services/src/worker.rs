//! Claims commands and keeps their leases while they run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdev_domain::{Error, WorkerId};
use rdev_ports::{Claim, Clock, EventLog, Fence, Pods, TaskQueue};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::Live;
use crate::execution::Executor;
use crate::janitor::Janitor;

/// Work is claimed at least this often, whether or not anybody has rung.
const POLL: Duration = Duration::from_secs(1);

/// Pause between two sweeps of the journals.
const SWEEP: Duration = Duration::from_secs(10);

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Its name in the leases.
    pub id: WorkerId,
    /// Commands that it runs at once.
    pub concurrency: u32,
    /// Time after which a silent worker's commands are taken over.
    pub lease: Duration,
    /// How long a command waits for its place to be ready.
    pub place_patience: Duration,
}

/// The loop that claims commands and runs them.
pub struct Worker {
    config: WorkerConfig,
    executor: Arc<Executor>,
    running: HashMap<Id, (Fence, AbortHandle)>,
    tasks: JoinSet<()>,
}

impl Worker {
    /// Wires the worker.
    pub fn new(
        config: WorkerConfig,
        pods: Arc<dyn Pods>,
        queue: Arc<dyn TaskQueue>,
        log: Arc<dyn EventLog>,
        clock: Arc<dyn Clock>,
        live: Live,
    ) -> Self {
        let place_patience = config.place_patience;
        let janitor = Janitor::default();
        let executor = Arc::new(Executor { pods, queue, log, clock, live, janitor, place_patience });
        Self { config, executor, running: HashMap::new(), tasks: JoinSet::new() }
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
        let free = self.config.concurrency.saturating_sub(self.tasks.len() as u32);
        if free == 0 {
            return;
        }
        let now = self.executor.clock.now();
        let claims = self.executor.queue.claim(&self.config.id, free, now, now + self.config.lease).await;
        match claims {
            Ok(claims) => claims.into_iter().for_each(|claim| self.spawn(claim)),
            Err(error) => tracing::warn!(?error, "nothing could be claimed, trying again"),
        }
    }

    fn spawn(&mut self, claim: Claim) {
        let executor = self.executor.clone();
        let fence = claim.fence.clone();
        let handle = self.tasks.spawn(async move {
            match executor.run(&claim).await {
                Ok(()) => {}
                Err(Error::LeaseLost) => {
                    tracing::warn!(command = %claim.fence.id, "another worker has taken over");
                }
                Err(error) => {
                    // Given back, so that the next claim goes on where this one stopped.
                    tracing::error!(command = %claim.fence.id, ?error, "the command was let go");
                    sleep(POLL).await;
                    release(&executor, std::slice::from_ref(&claim.fence)).await;
                }
            }
        });
        self.running.insert(handle.id(), (fence, handle));
    }

    fn done(&mut self, done: Result<(Id, ()), JoinError>) {
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
        let fences: Vec<Fence> = self.running.values().map(|(fence, _)| fence.clone()).collect();
        let until = self.executor.clock.now() + self.config.lease;
        match self.executor.queue.renew(&fences, until).await {
            Ok(renewal) => {
                for fence in renewal.cancelled {
                    self.executor.live.tail(&fence.id).stop.cancel();
                }
                let lost = |fence: &Fence| renewal.lost.contains(fence);
                self.running.values().filter(|(fence, _)| lost(fence)).for_each(|(_, task)| task.abort());
            }
            Err(error) => tracing::warn!(?error, "leases could not be renewed, trying again"),
        }
    }

    async fn let_go(mut self) {
        self.tasks.shutdown().await;
        let fences: Vec<Fence> = self.running.drain().map(|(_, (fence, _))| fence).collect();
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
