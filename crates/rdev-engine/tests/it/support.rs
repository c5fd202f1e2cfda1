//! What the tests stand on: pods, a store that fails, and a worker between them.

mod pods;
mod store;

use std::sync::Arc;
use std::time::Duration;

use rdev_domain::{
    AgentRequest, Artefact, CommandRequest, Entry, EntryBody, Job, JobId, JobSpec, JobStatus, Position,
    Result, Schedule, Target, TaskKind, TaskRequest, Timestamp,
};
use rdev_engine::{Live, Worker, WorkerConfig, WorkerPorts, accept, cancel};
use rdev_ports::testing::{FakeRandom, MemoryStore, START, id, job, new_job, task};
use rdev_ports::{Artefacts, ClaimLimits, Clock, EventLog, TaskQueue, testing};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub(crate) use pods::{Answer, Collecting, FakePods};
pub(crate) use store::{Fault, Faulty};

/// Longest lease that is needed here; nobody takes over.
const LEASE: Duration = Duration::from_secs(24 * 3600);

/// The time of day, as time passes for tokio.
struct Passing(Instant);

impl Clock for Passing {
    fn now(&self) -> Timestamp {
        START + self.0.elapsed()
    }
}

/// A worker at work; it stops when this is dropped.
pub(crate) struct Bench {
    pub(crate) pods: Arc<FakePods>,
    pub(crate) store: Faulty,
    pub(crate) live: Live,
    clock: Arc<Passing>,
    stop: CancellationToken,
}

impl Bench {
    /// With pods that answer so, one after the other; the last answer stands.
    pub(crate) fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::with_lease(LEASE, answers)
    }

    /// As [`Bench::new`], with a lease that may run out.
    pub(crate) fn with_lease(lease: Duration, answers: impl IntoIterator<Item = Answer>) -> Self {
        let clock = Arc::new(Passing(Instant::now()));
        let (store, live) = (Faulty::new(MemoryStore::default()), Live::default());
        let pods = Arc::new(FakePods::new(answers));
        let bench = Self { pods, store, live, clock, stop: CancellationToken::new() };
        let config = WorkerConfig {
            id: id("worker-1"),
            concurrency: 100,
            lease,
            place_patience: Duration::from_secs(300),
        };
        let ports = WorkerPorts {
            pods: bench.pods.clone(),
            queue: Arc::new(bench.store.clone()),
            pool: Arc::new(bench.store.memory.clone()),
            artefacts: Arc::new(bench.store.memory.clone()),
            log: Arc::new(bench.store.clone()),
            clock: bench.clock.clone(),
            random: Arc::new(FakeRandom(0.5)),
        };
        tokio::spawn(Worker::new(config, ports, bench.live.clone()).run(bench.stop.clone()));
        bench
    }

    /// Has an agent asked for something in project `demo`.
    pub(crate) async fn ask_agent(&self) -> JobId {
        let request =
            CommandRequest::Claude(AgentRequest { prompt: "think".to_owned(), ..AgentRequest::default() });
        let spec = JobSpec::Command { project: id("demo"), request };
        let job = Job { spec, created_at: self.clock.now(), ..job("demo", 1) };
        let stored = job.id.clone();
        self.store.memory.enqueue(new_job(job)).await.expect("it is new");
        stored
    }

    /// Asks for a command's end, as a caller does.
    pub(crate) async fn cancel(&self, job: &JobId) {
        let (target, now) = (testing::target("demo"), self.clock.now());
        let cancelled = cancel(&self.store, &self.live, (&target, job), None, now).await;
        cancelled.expect("the store answers").expect("it is there");
    }

    /// Asks for a command in project `demo`, as a caller does.
    pub(crate) async fn post(&self) -> Result<JobId> {
        let job = Job { created_at: self.clock.now(), ..job("demo", 1) };
        accept(&self.store, &self.live, job, None).await.map(|(job, _)| job.id)
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
        self.store.memory.enqueue(new_job(job)).await.expect("it is new");
        stored
    }

    /// The task once this holds of it and its files, with the time that has passed until then.
    pub(crate) async fn task_when(
        &self,
        id: &JobId,
        holds: impl Fn(&Job, &[Artefact]) -> bool,
    ) -> (Vec<Artefact>, Duration) {
        let since = Instant::now();
        loop {
            let task =
                self.store.memory.job(&Target::Pool, id).await.expect("it answers").expect("it is stored");
            let files = self.store.memory.artefacts(id).await.expect("it answers");
            let files: Vec<Artefact> = files.into_iter().map(|(_, file)| file).collect();
            if holds(&task, &files) {
                return (files, since.elapsed());
            }
            assert!(
                since.elapsed() < Duration::from_secs(24 * 3600),
                "it never comes to that: {task:?} {files:?}"
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks for a task's end, as a caller does.
    pub(crate) async fn cancel_task(&self, task: &JobId) {
        let (store, now) = (&self.store.memory, self.clock.now());
        let cancelled = cancel(store, &self.live, (&Target::Pool, task), None, now).await;
        cancelled.expect("the store answers").expect("it is there");
    }

    /// Has another worker claim all that can be claimed now; how much that is.
    pub(crate) async fn taken_over(&self) -> usize {
        let (now, slots) = (self.clock.now(), ClaimLimits { jobs: 100, pool: 0 });
        let claims = self.store.memory.claim(&id("worker-2"), slots, now, now + LEASE).await;
        claims.expect("the store answers").len()
    }

    /// Has the `n`th command of project `demo` stored.
    pub(crate) async fn submit(&self, n: u64) -> JobId {
        let job = Job { created_at: self.clock.now(), ..job("demo", n) };
        let stored = job.id.clone();
        self.store.memory.enqueue(new_job(job)).await.expect("it is new");
        stored
    }

    pub(crate) async fn job(&self, id: &JobId) -> Job {
        let found = self.store.memory.job(&testing::target("demo"), id).await;
        found.expect("the store answers").expect("it is stored")
    }

    /// The command as it is when this holds, with the time that has passed until then.
    pub(crate) async fn when(&self, id: &JobId, holds: impl Fn(&Job) -> bool) -> (Job, Duration) {
        let since = Instant::now();
        loop {
            let job = self.job(id).await;
            if holds(&job) {
                return (job, since.elapsed());
            }
            assert!(since.elapsed() < Duration::from_secs(24 * 3600), "it never comes to that: {job:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn ended(&self, id: &JobId) -> (Job, Duration) {
        self.when(id, |job| job.state.is_ended()).await
    }

    /// What the command's log says, each entry in a few words.
    pub(crate) async fn told(&self, id: &JobId) -> Vec<String> {
        let entries = self.store.memory.read_job(id, Position::ZERO, 1000).await.expect("it answers");
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
        EntryBody::Output(_) => format!("output {}-{}", entry.first_seq.0, entry.last_seq.0),
        EntryBody::Complete(outcome) | EntryBody::FormerEnd(outcome) => {
            format!("{} {}", JobStatus::from(outcome.ending).as_str(), entry.last_seq.0)
        }
    }
}
