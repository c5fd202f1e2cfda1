//! rdev's queue: `TaskQueue` and `TaskLeases` of rdev-sql, and a consumer that uses them as rdev-engine's worker does.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::iter;
use rdev_domain::{Ending, Job, Outcome, Timestamp};
use rdev_ports::testing::{agent, id, job, slots};
use rdev_ports::{Claim, ReadyProject, Signal, Signals, TaskLeases, TaskQueue};
use rdev_sql::SqlStore;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;

use crate::postgres::run;
use crate::queue::contender::{Contender, Mode};
use crate::stats::millis;

/// Pod of every project.
const PLACE: &str = "place";
const LEASE: Duration = Duration::from_secs(60);
/// As often as rdev's worker looks when nobody has rung.
const POLL: Duration = Duration::from_secs(1);
/// Tasks of one filling statement: rdev bounds statements at five seconds, this connection is not rdev's.
const FILL: u64 = 100_000;

/// Where a task is stored from, seen from the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The worker's own process, which rings in memory.
    Own,
    /// Another replica, which is heard through Postgres.
    Replica,
}

pub(crate) struct Rdev {
    name: String,
    url: String,
    store: SqlStore,
    projects: u64,
    sender: Sender,
    next: u64,
}

impl Rdev {
    pub(crate) async fn open(url: String, projects: u64, sender: Sender) -> anyhow::Result<Self> {
        let store = SqlStore::postgres(&url).await?;
        let name = match (projects, sender) {
            (1, Sender::Own) => "rdev, 1 project".to_owned(),
            (_, Sender::Own) => format!("rdev, {projects} projects"),
            (_, Sender::Replica) => "rdev, from another replica".to_owned(),
        };
        Ok(Self { name, url, store, projects, sender, next: 0 })
    }

    pub(crate) fn store(&self) -> &SqlStore {
        &self.store
    }

    fn jobs(&mut self, count: u64) -> Vec<Job> {
        let first = self.next;
        self.next += count;
        (first..self.next).map(|n| numbered(n, self.projects)).collect()
    }

    /// Stores the newest task so often again, in the state in which it is.
    pub(crate) async fn clone_task(&mut self, count: u64, with_events: bool) -> anyhow::Result<()> {
        let last = self.next + count;
        while self.next < last {
            let (first, end) = (self.next, last.min(self.next + FILL));
            self.next = end;
            for table in ["jobs", "queue"] {
                self.clone_row(table, first, end).await?;
            }
            if with_events {
                run(
                    &self.url,
                    &format!(
                        "INSERT INTO entries (job_id, log, kind, first_seq, last_seq, at_us, body)
                         SELECT id, target, 'status', 0, 0, created_us, 'pending' FROM jobs
                         WHERE id > 'cmd-' || lpad(to_hex({first} - 1), 32, '0')"
                    ),
                )
                .await?;
            }
        }
        Ok(())
    }

    /// Copies the newest row of a table; a task that has ended has none in the queue. Of a concurrency key only the copied
    /// row is ready.
    async fn clone_row(&self, table: &str, first: u64, end: u64) -> anyhow::Result<()> {
        let projects = self.projects;
        run(
            &self.url,
            // A column that Postgres computes cannot be copied.
            &format!(
                "DO $do$ DECLARE columns TEXT := (
                     SELECT string_agg(column_name, ', ') FROM information_schema.columns
                     WHERE table_name = '{table}' AND is_generated = 'NEVER');
                 BEGIN EXECUTE format($sql$
                     INSERT INTO {table} (%1$s) SELECT %1$s FROM (
                         SELECT r.* FROM {table} t, generate_series({first}, {end} - 1) n,
                             LATERAL (SELECT 'cmd-' || lpad(to_hex(n), 32, '0') AS id) i,
                             LATERAL jsonb_populate_record(t, jsonb_build_object(
                                 'id', i.id, 'stream', i.id, 'target', 'p' || n %% {projects},
                                 'project', 'p' || n %% {projects},
                                 'ready', to_jsonb(t) -> 'concurrency_key' = 'null')) r
                         WHERE t.id = 'cmd-' || lpad(to_hex({first} - 1), 32, '0')) copies $sql$, columns);
                 END $do$"
            ),
        )
        .await
    }

    /// Stores a Claude command of this project; all of them have one concurrency key.
    pub(crate) async fn one_of_key(&mut self, project: &str) -> anyhow::Result<()> {
        let n = self.next;
        self.next += 1;
        self.store.enqueue(&agent(project, n), None).await?;
        Ok(())
    }

    /// One task that waits, or has ended.
    pub(crate) async fn one(&mut self, ended: bool) -> anyhow::Result<()> {
        for job in self.jobs(1) {
            self.store.enqueue(&job, None).await?;
        }
        if ended {
            let claims = claim(&self.store, 1).await?;
            work(&self.store, claims.first().context("nothing was claimed")?).await?;
        }
        Ok(())
    }
}

/// The command with number `n`.
pub(crate) fn numbered(n: u64, projects: u64) -> Job {
    job(&format!("p{}", n % projects), n)
}

#[expect(clippy::disallowed_methods, reason = "this program measures the queue as it is in real time")]
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(since.as_micros() as i64)
}

pub(crate) async fn claim(store: &SqlStore, limit: u64) -> anyhow::Result<Vec<Claim>> {
    claim_and_start(store, &[], limit).await
}

async fn claim_and_start(store: &SqlStore, ready: &[ReadyProject], limit: u64) -> anyhow::Result<Vec<Claim>> {
    let now = now();
    Ok(store.claim_and_start(&id("worker-bench"), slots(limit as u32), ready, now, now + LEASE).await?)
}

/// Returns the projects as a worker knows them that has run their commands: their pods are ready.
fn ready(projects: u64) -> Vec<ReadyProject> {
    let ready = |n| ReadyProject { project: id(&format!("p{n}")), pod_uid: PLACE.to_owned() };
    (0..projects).map(ready).collect()
}

/// Starts a task, unless it has started with its claim, and ends it.
pub(crate) async fn work(store: &SqlStore, claim: &Claim) -> anyhow::Result<()> {
    start(store, claim).await?;
    finish(store, claim).await
}

async fn start(store: &SqlStore, claim: &Claim) -> anyhow::Result<()> {
    if claim.start.is_none() {
        store.start(&claim.fence, PLACE, None, now()).await?;
    }
    Ok(())
}

async fn finish(store: &SqlStore, claim: &Claim) -> anyhow::Result<()> {
    let outcome =
        Outcome { ending: Ending::Completed, exit_code: Some(0), message: None, duration: Duration::ZERO };
    store.finish(&claim.fence, claim.last_seq.next(), outcome, now()).await?;
    Ok(())
}

#[async_trait]
impl Contender for Rdev {
    fn name(&self) -> &str {
        &self.name
    }

    fn keeps(&self) -> &str {
        "the job's row, and three entries of its log (pending, running, complete)"
    }

    fn database(&self) -> &str {
        &self.url
    }

    fn is_rdev(&self) -> bool {
        true
    }

    fn tables(&self) -> &str {
        "queue, jobs, entries, idempotency_keys"
    }

    /// The port stores one task a call; a caller with many has many calls under way, which the store brings together.
    async fn enqueue(&mut self, count: u64, mode: Mode) -> anyhow::Result<Duration> {
        let jobs = self.jobs(count);
        let store = &self.store;
        let begun = Instant::now();
        let at_once = (mode.batch() * mode.senders()) as usize;
        let mut stored =
            iter(jobs).map(async |job: Job| store.enqueue(&job, None).await).buffer_unordered(at_once);
        while let Some(stored) = stored.next().await {
            stored?;
        }
        Ok(begun.elapsed())
    }

    async fn fill(&mut self, count: u64) -> anyhow::Result<()> {
        self.one(false).await?;
        self.clone_task(count - 1, true).await
    }

    async fn run(&mut self, count: u64, mode: Mode) -> anyhow::Result<Duration> {
        let left = Arc::new(AtomicI64::new(count as i64));
        let first = Arc::new(std::sync::OnceLock::new());
        // Whoever is free takes from what was claimed; whoever finds nothing there claims: one by one for all that are free, as
        // rdev's worker does.
        let claimed = Arc::new(Mutex::new(Vec::<Claim>::new()));
        let ready: Arc<[ReadyProject]> = ready(self.projects).into();
        let free = Arc::new(AtomicU64::new(0));
        let mut lanes = JoinSet::new();
        for _ in 0..mode.at_once() {
            let (store, left, first) = (self.store.clone(), left.clone(), first.clone());
            let (claimed, ready, free) = (claimed.clone(), ready.clone(), free.clone());
            lanes.spawn(async move {
                while left.load(Ordering::Relaxed) > 0 {
                    free.fetch_add(1, Ordering::Relaxed);
                    let mut claimed = claimed.lock().await;
                    if claimed.is_empty() && left.load(Ordering::Relaxed) > 0 {
                        let limit = match mode {
                            Mode::Single => free.load(Ordering::Relaxed),
                            Mode::Batched => mode.batch(),
                        };
                        *claimed = claim_and_start(&store, &ready, limit).await?;
                        claimed.reverse();
                    }
                    let next = claimed.pop();
                    drop(claimed);
                    free.fetch_sub(1, Ordering::Relaxed);
                    let Some(claim) = next else {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        continue;
                    };
                    start(&store, &claim).await?;
                    first.get_or_init(Instant::now);
                    finish(&store, &claim).await?;
                    left.fetch_sub(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = lanes.join_next().await {
            done??;
        }
        first.get().map(Instant::elapsed).context("nothing was started")
    }

    async fn latency(&mut self, rate: u64, seconds: u64) -> anyhow::Result<Vec<f64>> {
        let begun = Instant::now();
        let worker = Waiting::start(self.store.clone(), self.projects, self.sender, begun);
        let (store, signals) = match self.sender {
            Sender::Own => (self.store.clone(), None),
            Sender::Replica => {
                let store = SqlStore::postgres(&self.url).await?;
                let signals = store.signals();
                (store, Some(signals))
            }
        };
        // The listener is there, and the connections.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut sending = JoinSet::new();
        let mut tick = tokio::time::interval(Duration::from_secs(1) / rate as u32);
        for mut job in self.jobs(rate * seconds) {
            tick.tick().await;
            let (store, signals, bell) = (store.clone(), signals.clone(), worker.bell.clone());
            sending.spawn(async move {
                job.created_at = Timestamp::from_micros(begun.elapsed().as_micros() as i64);
                store.enqueue(&job, None).await?;
                match signals {
                    Some(signals) => signals.publish(Signal::Work),
                    None => bell.notify_one(),
                }
                anyhow::Ok(())
            });
        }
        while let Some(sent) = sending.join_next().await {
            sent??;
        }
        worker.lags(rate * seconds).await
    }

    async fn idle(&mut self, time: Duration) -> anyhow::Result<()> {
        let worker = Waiting::start(self.store.clone(), self.projects, Sender::Replica, Instant::now());
        tokio::time::sleep(time).await;
        worker.lags(0).await.map(drop)
    }
}

/// A worker that waits for tasks; it ends with this value.
struct Waiting {
    bell: Arc<Notify>,
    lags: Arc<std::sync::Mutex<Vec<f64>>>,
    ended: Arc<AtomicU64>,
    worker: JoinSet<anyhow::Result<()>>,
}

impl Waiting {
    /// `created_at` of the tasks is the time since `begun`.
    fn start(store: SqlStore, projects: u64, sender: Sender, begun: Instant) -> Self {
        let bell = Arc::new(Notify::new());
        let lags = Arc::new(std::sync::Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicU64::new(0));
        let mut worker = JoinSet::new();
        if sender == Sender::Replica {
            worker.spawn(listen(store.signals(), bell.clone()));
        }
        worker.spawn(wait(store, ready(projects), bell.clone(), lags.clone(), ended.clone(), begun));
        Self { bell, lags, ended, worker }
    }

    /// The lags, once so many tasks have ended.
    async fn lags(mut self, count: u64) -> anyhow::Result<Vec<f64>> {
        while self.ended.load(Ordering::Relaxed) < count {
            if let Some(ended) = self.worker.try_join_next() {
                ended??;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let lags = self.lags.lock().map_err(|_| anyhow::anyhow!("a task panicked"))?;
        Ok(lags.clone())
    }
}

async fn listen(signals: Arc<dyn Signals>, bell: Arc<Notify>) -> anyhow::Result<()> {
    let mut heard = signals.subscribe();
    while let Some(signal) = heard.next().await {
        if matches!(signal, Signal::Work | Signal::Resync) {
            bell.notify_one();
        }
    }
    Ok(())
}

async fn wait(
    store: SqlStore,
    ready: Vec<ReadyProject>,
    bell: Arc<Notify>,
    lags: Arc<std::sync::Mutex<Vec<f64>>>,
    ended: Arc<AtomicU64>,
    begun: Instant,
) -> anyhow::Result<()> {
    let mut tasks = JoinSet::<anyhow::Result<()>>::new();
    loop {
        let free = Mode::Single.at_once() - tasks.len() as u64;
        if free > 0 {
            for claim in claim_and_start(&store, &ready, free).await? {
                let (store, lags, ended) = (store.clone(), lags.clone(), ended.clone());
                tasks.spawn(async move {
                    start(&store, &claim).await?;
                    let sent = Duration::from_micros(claim.job.created_at.as_micros() as u64);
                    if let Ok(mut lags) = lags.lock() {
                        lags.push(millis(begun.elapsed().saturating_sub(sent)));
                    }
                    finish(&store, &claim).await?;
                    ended.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                });
            }
        }
        tokio::select! {
            () = bell.notified() => {}
            Some(done) = tasks.join_next() => done??,
            () = tokio::time::sleep(POLL) => {}
        }
    }
}
