//! Claims commands and keeps their leases while they run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdev_domain::{Error, Result, WorkerId};
use rdev_ports::{Artefacts, Claim, ClaimLimits, Clock, EventLog, Fence, Pods, PoolQueue, Random, TaskQueue};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::Live;
use crate::pulse::Pulse;
use crate::run::executor::Executor;
use crate::run::journal_gc::JournalGc;
use crate::run::retry::until_available;
use crate::waking::wake;

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

/// A lease is renewed so many times before it runs out, and a renewal may take as long as until the next: one of
/// them may fail, or be without an answer.
const RENEWALS_A_LEASE: u32 = 3;
/// The worker is taken for dead when its loop has not turned for so many leases.
const LEASES_TO_DEATH: u32 = 3;

/// A claim that is being worked on.
struct Running {
    fence: Fence,
    task: AbortHandle,
    in_pool: bool,
    /// When a renewal found first that the claim has passed on. The execution may have given it up itself just then, and
    /// is about to end.
    lost_since: Option<Instant>,
}

/// The claims that are being worked on, by their tasks.
#[derive(Default)]
struct Claims(Mutex<HashMap<Id, Running>>);

impl Claims {
    fn lock(&self) -> MutexGuard<'_, HashMap<Id, Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fences(&self) -> Vec<Fence> {
        self.lock().values().map(|running| running.fence.clone()).collect()
    }

    /// Ends the executions of claims that have passed on, and had before, so long ago.
    fn abort(&self, lost: &[Fence], asked: Instant, after: Duration) {
        for running in self.lock().values_mut() {
            if !lost.contains(&running.fence) {
                running.lost_since = None;
                continue;
            }
            let since = *running.lost_since.get_or_insert(asked);
            if asked.duration_since(since) >= after && !running.task.is_finished() {
                tracing::warn!(job = %running.fence.id, "another worker has taken over");
                running.task.abort();
            }
        }
    }
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
    pub random: Arc<dyn Random>,
}

/// The loop that claims commands and runs them.
pub struct Worker {
    config: WorkerConfig,
    executor: Arc<Executor>,
    claims: Arc<Claims>,
    tasks: JoinSet<()>,
    pulse: Pulse,
    /// The answer to a claim was lost: something may be leased to this worker that it does not know of.
    unsure: bool,
}

impl Worker {
    /// Wires the worker.
    pub fn new(config: WorkerConfig, ports: WorkerPorts, live: Live) -> Self {
        let WorkerPorts { pods, queue, pool, artefacts, log, clock, random } = ports;
        let place_patience = config.place_patience;
        let journal_gc = JournalGc::default();
        let executor = Arc::new(Executor {
            pods,
            queue,
            pool,
            artefacts,
            log,
            clock,
            random,
            live,
            journal_gc,
            place_patience,
        });
        let pulse = Pulse::new(config.lease * LEASES_TO_DEATH);
        Self { config, executor, claims: Arc::default(), tasks: JoinSet::new(), pulse, unsure: false }
    }

    /// Tells whether its loop turns.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Works until `shutdown`. Then it claims nothing more, lets go of what runs, without stopping it, and
    /// gives the leases back. It ends before that only where a part of it has died.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut beside = JoinSet::new();
        beside.spawn(sweep(self.executor.clone()));
        beside.spawn(wake(self.executor.clone()));
        beside.spawn(renew(self.executor.clone(), self.claims.clone(), self.config.lease));
        let executor = self.executor.clone();
        while !shutdown.is_cancelled() {
            self.pulse.beat();
            self.claim().await;
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = executor.live.work().notified() => {}
                Some(done) = self.tasks.join_next_with_id() => self.done(done),
                Some(died) = beside.join_next() => {
                    tracing::error!(?died, "renewing leases, freeing journals, or waking what waits, has come to an end");
                    break;
                }
                () = sleep(POLL) => {}
            }
        }
        beside.shutdown().await;
        self.let_go().await;
    }

    async fn claim(&mut self) {
        if let Err(error) = self.try_claim().await {
            tracing::warn!(?error, "nothing could be claimed, trying again");
        }
    }

    async fn try_claim(&mut self) -> Result<()> {
        if self.unsure {
            let held = self.claims.fences();
            self.executor.queue.release_all_but(&self.config.id, &held).await?;
            self.unsure = false;
        }
        let slots = self.slots().await?;
        let (now, asked) = (self.executor.clock.now(), Instant::now());
        self.unsure = true;
        let claims = self.executor.queue.claim(&self.config.id, slots, now, now + self.config.lease).await?;
        self.unsure = false;
        claims.into_iter().for_each(|claim| self.spawn(claim));
        // The leases began before the store was asked.
        if asked.elapsed() > self.config.lease / RENEWALS_A_LEASE {
            self.executor.live.renewal().notify_one();
        }
        Ok(())
    }

    /// A task of the pool is claimed only for a worker that is free: it waits in the queue, not here.
    async fn slots(&self) -> Result<ClaimLimits> {
        let jobs = self.claims.lock().values().filter(|running| !running.in_pool).count();
        let jobs = self.config.concurrency.saturating_sub(jobs as u32);
        let occupancy = self.executor.pool.occupancy().await?;
        if !occupancy.waits {
            return Ok(ClaimLimits { jobs, pool: 0 });
        }
        let workers = match self.executor.pods.workers().await {
            Ok(workers) => workers,
            // The cluster's pods are not known yet: commands are put back by themselves.
            Err(Error::Unavailable { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let free: usize = workers.iter().map(|worker| occupancy.free_slots(worker).count()).sum();
        let seated = |running: &&Running| occupancy.busy.iter().any(|(_, task)| *task == running.fence.id);
        let claims = self.claims.lock();
        let starting = claims.values().filter(|running| running.in_pool && !seated(running)).count();
        Ok(ClaimLimits { jobs, pool: free.saturating_sub(starting) as u32 })
    }

    fn spawn(&mut self, claim: Claim) {
        let executor = self.executor.clone();
        let (fence, in_pool) = (claim.fence.clone(), claim.job.spec.is_task());
        let task = self.tasks.spawn(async move {
            match executor.run(&claim).await {
                Ok(()) => return,
                Err(Error::LeaseLost) => {
                    let what = "another worker has taken over, or an answer of the store was lost";
                    tracing::warn!(job = %claim.fence.id, "{what}");
                }
                Err(error) => {
                    tracing::error!(job = %claim.fence.id, ?error, "the command was let go");
                    sleep(POLL).await;
                }
            }
            // So that the next claim goes on where this one stopped, and not only when the lease has run out: it may
            // be the latest one even where it seemed lost, to a write that was stored before it was tried again.
            let given_back = until_available(&claim.fence.id, || {
                executor.queue.release(std::slice::from_ref(&claim.fence))
            });
            if let Err(error) = given_back.await {
                tracing::error!(job = %claim.fence.id, ?error, "its lease will run out");
            }
        });
        self.claims.lock().insert(task.id(), Running { fence, task, in_pool, lost_since: None });
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
        self.claims.lock().remove(&id);
    }

    async fn let_go(mut self) {
        self.tasks.shutdown().await;
        let fences = self.claims.fences();
        if !fences.is_empty() {
            tracing::info!(
                jobs = fences.len(),
                "these commands go on, and are attached to at the next start"
            );
            release(&self.executor, &fences).await;
            self.executor.live.work_for_others();
        }
    }
}

/// Renews leases in its own time, whatever else the worker waits for.
async fn renew(executor: Arc<Executor>, claims: Arc<Claims>, lease: Duration) {
    let period = lease / RENEWALS_A_LEASE;
    let mut due = interval(period);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = due.tick() => {}
            () = executor.live.renewal().notified() => {}
        }
        let fences = claims.fences();
        if fences.is_empty() {
            continue;
        }
        let (until, asked) = (executor.clock.now() + lease, Instant::now());
        let renewal = match timeout(period, executor.queue.renew(&fences, until)).await {
            Ok(Ok(renewal)) => renewal,
            Ok(Err(error)) => {
                tracing::warn!(?error, "leases could not be renewed, trying again");
                continue;
            }
            Err(_) => {
                tracing::warn!(?period, "leases were not renewed in time, trying again");
                continue;
            }
        };
        for fence in renewal.cancelled {
            executor.live.stop(&fence.id);
        }
        // One renewal may be rung for right after another: that alone proves nothing.
        claims.abort(&renewal.lost, asked, period / 2);
    }
}

/// Frees journals now and then, and at once where a place waits for it, beside the commands.
async fn sweep(executor: Arc<Executor>) {
    let mut tick = interval(SWEEP);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = executor.journal_gc.hurried() => {}
        }
        executor.journal_gc.sweep(&*executor.pods, &*executor.log).await;
    }
}

async fn release(executor: &Executor, fences: &[Fence]) {
    if let Err(error) = executor.queue.release(fences).await {
        tracing::warn!(?error, "leases could not be given back; they will run out");
    }
}
