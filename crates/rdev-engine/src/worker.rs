//! Worker: claims jobs, and keeps their leases while they run.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use rdev_domain::{Error, JobState, Lane, Result, WorkerId};
use rdev_ports::{Claim, ClaimLimits, Fence, Pod};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::pulse::Pulse;
use crate::ready_pods::{ReadyPods, RecentProjects};
use crate::run::Executor;
use crate::run::journal_gc::JournalGc;
use crate::run::retry::until_available;
use crate::waking::wake;
use crate::{TailCache, Wakeups, WorkerPorts};

/// Longest pause between two claims; work that is announced is claimed at once.
const POLL: Duration = Duration::from_secs(1);

/// Pause between two sweeps of the journals.
const SWEEP: Duration = Duration::from_secs(10);

/// Most operations that run at once in one process. They have slots of their own, and take no processor time of note.
const OPERATIONS_MAX: u32 = 8;

/// Settings of a worker.
#[derive(Clone)]
pub struct WorkerConfig {
    /// Name of the worker in its leases.
    pub id: WorkerId,
    /// Seats of commands and operations; of tasks, as many run as the pool has slots.
    pub seats: Seats,
    /// Duration of a lease: the jobs of a worker that is silent for longer are taken over.
    pub lease: Duration,
    /// Longest wait of a job for its pod to be ready.
    pub pod_patience: Duration,
}

/// Renewals of a lease before it expires. A renewal may take until the next one is due, so one of them may fail, or stay
/// without an answer.
const RENEWALS_A_LEASE: u32 = 3;
/// Leases after which a worker whose loop has not turned is taken for dead.
const LEASES_TO_DEATH: u32 = 3;

/// Claim of a job that runs.
struct Running {
    fence: Fence,
    task: AbortHandle,
    lane: Lane,
    /// Time of the first renewal in a row that found the claim lost. The execution may have released it just then, and be
    /// about to end.
    lost_since: Option<Instant>,
}

/// Claims of the jobs that run, by the tasks that run them.
#[derive(Default)]
struct Claims(Mutex<HashMap<Id, Running>>);

impl Claims {
    fn lock(&self) -> MutexGuard<'_, HashMap<Id, Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fences(&self) -> Vec<Fence> {
        self.lock().values().map(|running| running.fence.clone()).collect()
    }

    fn count(&self, lane: Lane) -> u32 {
        self.lock().values().filter(|running| running.lane == lane).count() as u32
    }

    /// Aborts the executions of claims that were found lost, by this renewal and by one at least `after` ago.
    fn abort(&self, lost: &[Fence], asked: Instant, after: Duration) {
        for running in self.lock().values_mut() {
            if !lost.contains(&running.fence) {
                running.lost_since = None;
                continue;
            }
            let since = *running.lost_since.get_or_insert(asked);
            if asked.duration_since(since) >= after && !running.task.is_finished() {
                tracing::warn!(job = %running.fence.id, "another worker has taken over, execution aborted");
                running.task.abort();
            }
        }
    }
}

/// Seats of a worker: how many jobs it may run at once. Clones share them.
#[derive(Clone)]
pub struct Seats {
    claims: Arc<Claims>,
    concurrency: u32,
}

impl Seats {
    /// Makes the seats of a worker that runs up to `concurrency` commands at once.
    pub fn new(concurrency: u32) -> Self {
        Self { claims: Arc::default(), concurrency }
    }

    /// Returns the number of commands that the worker could claim now.
    pub fn free_for_commands(&self) -> u32 {
        self.concurrency.saturating_sub(self.claims.count(Lane::Commands))
    }

    /// Returns the number of operations that the worker could claim now.
    pub fn free_for_operations(&self) -> u32 {
        OPERATIONS_MAX.saturating_sub(self.claims.count(Lane::Operations))
    }
}

/// Loop that claims jobs and runs them.
pub struct Worker {
    config: WorkerConfig,
    ports: WorkerPorts,
    wakeups: Wakeups,
    executor: Arc<Executor>,
    journal_gc: Arc<JournalGc>,
    /// Executions; one fails that ends with its claim still leased.
    tasks: JoinSet<Result<()>>,
    pulse: Pulse,
    /// The store may hold jobs as this worker's that it does not know of: the answer to a claim was lost, or a release
    /// failed. Their lease does not expire while the worker lives.
    may_hold_unknown: bool,
    /// Nothing was claimed yet since the start.
    is_first_claim: bool,
    recent: RecentProjects,
}

impl Worker {
    /// Wires the worker.
    pub fn new(config: WorkerConfig, ports: WorkerPorts, tails: TailCache, wakeups: Wakeups) -> Self {
        let journal_gc = Arc::<JournalGc>::default();
        let executor = Executor {
            ports: ports.clone(),
            tails,
            wakeups: wakeups.clone(),
            journal_gc: journal_gc.clone(),
            pod_patience: config.pod_patience,
        };
        let pulse = Pulse::new(config.lease * LEASES_TO_DEATH);
        Self {
            config,
            ports,
            wakeups,
            executor: Arc::new(executor),
            journal_gc,
            tasks: JoinSet::new(),
            pulse,
            may_hold_unknown: false,
            is_first_claim: true,
            recent: RecentProjects::default(),
        }
    }

    /// Returns the pulse of the worker's loop.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Works until `shutdown`. Then claims nothing more, leaves the jobs running, and releases their leases. Returns
    /// before `shutdown` only if a background task of the worker has ended.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut background = JoinSet::new();
        background.spawn(sweep(self.ports.clone(), self.journal_gc.clone()));
        background.spawn(wake(self.ports.pods.clone(), self.ports.leases.clone(), self.wakeups.clone()));
        let (claims, lease) = (self.config.seats.claims.clone(), self.config.lease);
        background.spawn(renew(
            self.ports.clone(),
            self.config.id.clone(),
            self.wakeups.clone(),
            claims,
            lease,
        ));
        let wakeups = self.wakeups.clone();
        while !shutdown.is_cancelled() {
            self.pulse.beat();
            self.claim().await;
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = wakeups.work() => {}
                Some(done) = self.tasks.join_next_with_id() => self.done(done),
                Some(ended) = background.join_next() => {
                    tracing::error!(?ended, "background task of the worker ended");
                    break;
                }
                () = sleep(POLL) => {}
            }
        }
        background.shutdown().await;
        self.release_all_held().await;
    }

    async fn claim(&mut self) {
        if let Err(error) = self.try_claim().await {
            tracing::warn!(?error, "claim failed, retrying");
        }
    }

    async fn try_claim(&mut self) -> Result<()> {
        if self.may_hold_unknown {
            let held = self.config.seats.claims.fences();
            self.ports.leases.release_all_but(&self.config.id, &held).await?;
            self.may_hold_unknown = false;
        }
        let seats = &self.config.seats;
        let limits = ClaimLimits {
            commands: seats.free_for_commands(),
            operations: seats.free_for_operations(),
            pool: 0,
        };
        // No command waits for a look at the pool.
        let pool = Self::free_slots(self.ports.clone(), self.config.seats.clone());
        let (claimed, pool) = tokio::join!(self.claim_up_to(limits), pool);
        claimed?;
        match pool? {
            0 => Ok(()),
            pool => self.claim_up_to(ClaimLimits { commands: 0, operations: 0, pool }).await,
        }
    }

    /// Claims jobs up to these limits, and runs them.
    async fn claim_up_to(&mut self, limits: ClaimLimits) -> Result<()> {
        let ready = match limits.commands {
            0 => ReadyPods::default(),
            _ => self.recent.ready(&*self.ports.pods, self.wakeups.take_projects()).await,
        };
        let (now, asked, unheard) = (self.ports.clock.now(), Instant::now(), self.wakeups.unheard());
        let (worker, leases) = (&self.config.id, &self.ports.leases);
        self.may_hold_unknown = true;
        let claims =
            leases.claim_and_start(worker, limits, &ready.projects(), now, now + self.config.lease).await?;
        self.may_hold_unknown = false;
        if std::mem::take(&mut self.is_first_claim) {
            log_taken_over(&claims);
        }
        let has_started = claims.iter().any(|claim| claim.start.is_some());
        for claim in claims {
            self.recent.note(&claim.job.target());
            let pod = ready.pod_of(&claim);
            self.spawn(claim, pod);
        }
        // The leases began before the store was asked; and a job that started with its claim may have been cancelled before
        // anybody here was waiting for that.
        let may_be_cancelled = has_started && self.wakeups.unheard() != unheard;
        if asked.elapsed() > self.config.lease / RENEWALS_A_LEASE || may_be_cancelled {
            self.wakeups.notify_renewal();
        }
        Ok(())
    }

    /// Returns how many tasks of the pool may be claimed. A task is claimed only for a free slot: it waits in the queue, not
    /// here.
    async fn free_slots(ports: WorkerPorts, seats: Seats) -> Result<u32> {
        let occupancy = ports.pool.occupancy().await?;
        if !occupancy.waits {
            return Ok(0);
        }
        let workers = match ports.pods.workers().await {
            Ok(workers) => workers,
            // The cluster's pods are not known yet; jobs of projects are postponed one by one.
            Err(Error::Unavailable { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let free: usize = workers.iter().map(|worker| occupancy.free_slots(worker).count()).sum();
        let has_slot = |running: &&Running| occupancy.busy.iter().any(|(_, task)| *task == running.fence.id);
        let claims = seats.claims.lock();
        let starting =
            claims.values().filter(|running| running.lane == Lane::Tasks && !has_slot(running)).count();
        Ok(free.saturating_sub(starting) as u32)
    }

    fn spawn(&mut self, claim: Claim, pod: Option<Pod>) {
        let (executor, leases) = (self.executor.clone(), self.ports.leases.clone());
        let (fence, lane) = (claim.fence.clone(), claim.job.target().lane());
        // Held from the beginning, so that a cancellation is noticed whenever it comes.
        let cancelled = self.wakeups.cancellation(&claim.fence.id);
        let task = self.tasks.spawn(async move {
            match AssertUnwindSafe(executor.run(&claim, pod, cancelled)).catch_unwind().await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(Error::LeaseLost)) => {
                    let what = "another worker has taken over, or an answer of the store was lost";
                    tracing::warn!(job = %claim.fence.id, "{what}");
                }
                Ok(Err(error)) => {
                    tracing::error!(job = %claim.fence.id, ?error, "execution failed, lease released");
                    sleep(POLL).await;
                }
                Err(_) => {
                    tracing::error!(job = %claim.fence.id, "execution panicked, lease released");
                    sleep(POLL).await;
                }
            }
            // This claim may be the latest one even where it seemed lost, to a write that was stored before it was repeated.
            until_available(&claim.fence.id, || leases.release(std::slice::from_ref(&claim.fence))).await
        });
        self.config.seats.claims.lock().insert(task.id(), Running { fence, task, lane, lost_since: None });
    }

    fn done(&mut self, done: std::result::Result<(Id, Result<()>), JoinError>) {
        let id = match done {
            Ok((id, Ok(()))) => id,
            Ok((id, Err(error))) => {
                tracing::error!(?error, "release failed, it is repeated with the next claim");
                self.may_hold_unknown = true;
                id
            }
            // The execution was aborted: another worker has the job.
            Err(error) => error.id(),
        };
        self.config.seats.claims.lock().remove(&id);
    }

    async fn release_all_held(mut self) {
        self.tasks.shutdown().await;
        let fences = self.config.seats.claims.fences();
        if fences.is_empty() {
            return;
        }
        tracing::info!(jobs = fences.len(), "jobs left running, the next start attaches to them");
        if let Err(error) = self.ports.leases.release(&fences).await {
            tracing::warn!(?error, "release failed, the leases will expire");
        }
        self.wakeups.notify_work_elsewhere();
    }
}

/// Logs which jobs were running before this worker began; each is logged again once a connection to it is made.
fn log_taken_over(claims: &[Claim]) {
    let count = |lane| {
        let running = claims.iter().filter(|claim| matches!(claim.job.state, JobState::Running { .. }));
        running.filter(|claim| claim.job.target().lane() == lane).count()
    };
    let (commands, tasks, operations) = (count(Lane::Commands), count(Lane::Tasks), count(Lane::Operations));
    if commands + tasks + operations > 0 {
        tracing::info!(commands, tasks, operations, "jobs were running before this start, attaching to them");
    }
}

/// Renews the lease at its own pace, whatever the worker waits for.
async fn renew(ports: WorkerPorts, worker: WorkerId, wakeups: Wakeups, claims: Arc<Claims>, lease: Duration) {
    let period = lease / RENEWALS_A_LEASE;
    let mut due = interval(period);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = due.tick() => {}
            () = wakeups.renewal() => {}
        }
        let fences = claims.fences();
        if fences.is_empty() {
            continue;
        }
        let (until, asked) = (ports.clock.now() + lease, Instant::now());
        let renewal = match timeout(period, ports.leases.renew(&worker, &fences, until)).await {
            Ok(Ok(renewal)) => renewal,
            Ok(Err(error)) => {
                tracing::warn!(?error, "renewing leases failed, retrying");
                continue;
            }
            Err(_) => {
                tracing::warn!(?period, "renewing leases timed out, retrying");
                continue;
            }
        };
        for fence in renewal.cancelled {
            wakeups.cancel_here(&fence.id);
        }
        // A renewal may follow right after another one: the second alone proves nothing.
        claims.abort(&renewal.lost, asked, period / 2);
    }
}

/// Frees journals every 10 s, and at once where a pod waits for it, beside the jobs.
async fn sweep(ports: WorkerPorts, journal_gc: Arc<JournalGc>) {
    let mut tick = interval(SWEEP);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = journal_gc.hurried() => {}
        }
        journal_gc.sweep(&*ports.pods, &*ports.log).await;
    }
}
