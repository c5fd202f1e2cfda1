//! Bench of the tests: pods, a store that fails, and a worker between them.

mod operations;
mod pods;
mod store;

use std::sync::Arc;
use std::time::Duration;

use rdev_domain::{
    Artefact, Entry, EntryBody, Job, JobId, JobSpec, JobStatus, Position, Result, Schedule, Target, TaskKind,
    TaskRequest, Timestamp,
};
use rdev_engine::{Plans, Seats, Submitter, TailCache, Wakeups, Worker, WorkerConfig, WorkerPorts};
use rdev_ports::testing::agents::FakeAgent;
use rdev_ports::testing::{FakeRandom, START, agent, id, job, task};
use rdev_ports::{Artefacts, ClaimLimits, Clock, EventLog, TaskLeases, TaskQueue, testing};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use operations::{Scripted, for_good, passing};
pub(crate) use pods::{Answer, Collecting, FakePods};
pub(crate) use store::{Fault, Faulty};

/// Longest time that anything takes here: a lease that nobody takes over, and a wait.
pub(crate) const LEASE: Duration = Duration::from_secs(24 * 3600);

/// The time of day, as time passes for tokio.
pub(crate) struct Passing(Instant);

impl Clock for Passing {
    fn now(&self) -> Timestamp {
        START + self.0.elapsed()
    }
}

/// A worker at work; it stops when this is dropped.
pub(crate) struct Bench {
    pub(crate) pods: Arc<FakePods>,
    /// Steps of every operation.
    pub(crate) plans: Arc<Scripted>,
    pub(crate) store: Faulty,
    /// The same store, without its faults.
    pub(crate) sound: Faulty,
    tails: TailCache,
    wakeups: Wakeups,
    /// Tells that something has happened to the store or the pods.
    pub(crate) changes: watch::Sender<()>,
    pub(crate) clock: Arc<Passing>,
    stop: CancellationToken,
}

impl Bench {
    /// Makes a bench with pods that give these answers, one after the other; the last answer stands.
    pub(crate) async fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::with_lease(LEASE, answers).await
    }

    /// As [`Bench::new`], with a lease that may expire.
    pub(crate) async fn with_lease(lease: Duration, answers: impl IntoIterator<Item = Answer>) -> Self {
        let bench = Self::without_worker(answers).await;
        bench.begin(lease);
        bench
    }

    /// As [`Bench::new`], before its worker begins.
    pub(crate) async fn without_worker(answers: impl IntoIterator<Item = Answer>) -> Self {
        let changes = watch::Sender::new(());
        let store = Faulty::open(changes.clone()).await;
        Self {
            pods: Arc::new(FakePods::new(answers, changes.clone())),
            plans: Arc::default(),
            sound: store.sound(),
            store,
            tails: TailCache::default(),
            wakeups: Wakeups::default(),
            changes,
            clock: Arc::new(Passing(Instant::now())),
            stop: CancellationToken::new(),
        }
    }

    /// Has a worker begin.
    pub(crate) fn begin(&self, lease: Duration) {
        let config = WorkerConfig {
            id: id("worker-1"),
            seats: Seats::new(100),
            lease,
            pod_patience: Duration::from_secs(300),
        };
        let ports = WorkerPorts {
            pods: self.pods.clone(),
            agent: Arc::new(FakeAgent),
            leases: Arc::new(self.store.clone()),
            pool: Arc::new(self.store.clone()),
            artefacts: Arc::new(self.store.clone()),
            operations: Arc::new(self.store.clone()),
            plans: self.plans.clone() as Arc<dyn Plans>,
            log: Arc::new(self.store.clone()),
            clock: self.clock.clone(),
            random: Arc::new(FakeRandom(0.5)),
        };
        let worker = Worker::new(config, ports, self.tails.clone(), self.wakeups.clone());
        tokio::spawn(worker.run(self.stop.clone()));
    }

    /// Has an agent asked for something in project `demo`.
    pub(crate) async fn ask_agent(&self) -> JobId {
        let job = Job { created_at: self.clock.now(), ..agent("demo", 1) };
        let stored = job.id.clone();
        self.sound.enqueue(&job, None).await.expect("it is new");
        stored
    }

    /// Asks for a command's end, as a caller does.
    pub(crate) async fn cancel(&self, job: &JobId) {
        let target = testing::target("demo");
        let cancelled = self.submitter().cancel((&target, job), None, self.clock.now()).await;
        cancelled.expect("the store answers").expect("it is there");
    }

    /// Asks for a command in project `demo`, as a caller does.
    pub(crate) async fn post(&self) -> Result<JobId> {
        let job = Job { created_at: self.clock.now(), ..job("demo", 1) };
        self.submitter().submit(job, None).await.map(|(job, _)| job.id)
    }

    pub(crate) fn submitter(&self) -> Submitter {
        Submitter::new(Arc::new(self.store.clone()), self.tails.clone(), self.wakeups.clone())
    }

    /// Has a task stored that is to leave these files, and is tried once.
    pub(crate) async fn submit_task(&self, artefacts: &[&str]) -> JobId {
        self.submit_tries(artefacts, 1).await
    }

    /// The same, tried so often.
    pub(crate) async fn submit_tries(&self, artefacts: &[&str], max_attempts: u32) -> JobId {
        let Job { spec: JobSpec::Task(work), schedule, .. } = task(TaskKind::Test, 1) else {
            panic!("it is work")
        };
        let artefacts = artefacts.iter().map(|pattern| (*pattern).to_owned()).collect();
        let job = Job {
            spec: JobSpec::Task(TaskRequest { artefacts, ..work }),
            schedule: Schedule { max_attempts, ..schedule },
            created_at: self.clock.now(),
            ..task(TaskKind::Test, 1)
        };
        let stored = job.id.clone();
        self.sound.enqueue(&job, None).await.expect("it is new");
        stored
    }

    /// The task once this holds of it and its files, with the time that has passed until then.
    pub(crate) async fn task_when(
        &self,
        id: &JobId,
        holds: impl Fn(&Job, &[Artefact]) -> bool,
    ) -> (Vec<Artefact>, Duration) {
        let (since, mut changes) = (Instant::now(), self.changes.subscribe());
        loop {
            changes.mark_unchanged();
            let task = self.sound.job(&Target::Pool, id).await.expect("it answers").expect("it is stored");
            let files = self.sound.artefacts(id).await.expect("it answers");
            let files: Vec<Artefact> = files.into_iter().map(|(_, file)| file).collect();
            if holds(&task, &files) {
                return (files, since.elapsed());
            }
            let change = timeout(LEASE, changes.changed()).await;
            assert!(matches!(change, Ok(Ok(()))), "it never comes to that: {task:?} {files:?}");
        }
    }

    /// Asks for a task's end, as a caller does.
    pub(crate) async fn cancel_task(&self, task: &JobId) {
        let cancelled = self.submitter().cancel((&Target::Pool, task), None, self.clock.now()).await;
        cancelled.expect("the store answers").expect("it is there");
    }

    /// Has another worker claim all that can be claimed now; how much that is.
    pub(crate) async fn taken_over(&self) -> usize {
        let (now, slots) = (self.clock.now(), ClaimLimits { commands: 100, operations: 100, pool: 0 });
        let claims = self.sound.claim(&id("worker-2"), slots, now, now + LEASE).await;
        claims.expect("the store answers").len()
    }

    /// Has the `n`th command of project `demo` stored.
    pub(crate) async fn submit(&self, n: u64) -> JobId {
        let job = Job { created_at: self.clock.now(), ..job("demo", n) };
        let stored = job.id.clone();
        self.sound.enqueue(&job, None).await.expect("it is new");
        stored
    }

    pub(crate) async fn job(&self, id: &JobId) -> Job {
        let found = self.sound.job(&testing::target("demo"), id).await;
        found.expect("the store answers").expect("it is stored")
    }

    /// The command as it is when this holds, with the time that has passed until then.
    pub(crate) async fn when(&self, id: &JobId, holds: impl Fn(&Job) -> bool) -> (Job, Duration) {
        let (since, mut changes) = (Instant::now(), self.changes.subscribe());
        loop {
            changes.mark_unchanged();
            let job = self.job(id).await;
            if holds(&job) {
                return (job, since.elapsed());
            }
            let change = timeout(LEASE, changes.changed()).await;
            assert!(matches!(change, Ok(Ok(()))), "it never comes to that: {job:?}");
        }
    }

    pub(crate) async fn ended(&self, id: &JobId) -> (Job, Duration) {
        self.when(id, |job| job.state.is_ended()).await
    }

    /// Returns the entries of the command's log, each in a few words.
    pub(crate) async fn told(&self, id: &JobId) -> Vec<String> {
        let entries = self.sound.read_job(id, Position::ZERO, 1000).await.expect("it answers");
        entries.iter().map(words).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn words(entry: &Entry) -> String {
    match &entry.body {
        EntryBody::Status(status) => status.as_str().to_owned(),
        EntryBody::Stalled(failure) => format!("stalled {}: {}", failure.reason.as_str(), failure.message),
        EntryBody::Retry(retrying) => format!("retry {}", retrying.reason),
        EntryBody::Step(change) => {
            let error = change.error.as_ref().map_or(String::new(), |error| format!(": {}", error.message));
            format!("{} {} {}{error}", change.name, change.state.as_str(), change.attempt)
        }
        EntryBody::Output(_) => format!("output {}-{}", entry.first_seq.0, entry.last_seq.0),
        EntryBody::Complete(outcome) | EntryBody::FormerEnd(outcome) => {
            format!("{} {}", JobStatus::from(outcome.ending).as_str(), entry.last_seq.0)
        }
    }
}
