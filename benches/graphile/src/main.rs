//! graphile_worker, the crate, told what to do by a JSON object a line on stdin; each is answered by one on stdout. The protocol is
//! that of `crates/rdev-bench/peers.mjs`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::StreamExt;
use futures_util::stream::iter;
use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler, Worker, WorkerContext,
    WorkerOptions, WorkerUtils,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::task::JoinHandle;

const POLL: Duration = Duration::from_millis(2);
/// Without a local queue a worker takes one job each time it polls: as often as its own benchmarks poll, where
/// it is to be fast; where it waits it is notified, and polls once a second, as by default.
const POLL_BUSY: Duration = Duration::from_millis(5);
const POLL_WAITING: Duration = Duration::from_secs(1);
const UNFINISHED: &str = "SELECT count(*) FROM graphile_worker._private_jobs";

/// The task; `sent_us` is since the run's beginning.
#[derive(Clone, Serialize, Deserialize)]
struct Noop {
    sent_us: u64,
}

/// Figures of the tasks that have run.
#[derive(Debug, Default)]
struct Told {
    begun: OnceLock<Instant>,
    first: OnceLock<Instant>,
    took: AtomicU64,
    lags: Mutex<Vec<f64>>,
}

impl TaskHandler for Noop {
    const IDENTIFIER: &'static str = "noop";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        if let Some(told) = context.get_ext::<Arc<Told>>() {
            told.first.get_or_init(Instant::now);
            if let (Some(begun), Ok(mut lags)) = (told.begun.get(), told.lags.lock()) {
                let lag = begun.elapsed().saturating_sub(Duration::from_micros(self.sent_us));
                lags.push(lag.as_secs_f64() * 1e3);
            }
            told.took.fetch_add(1, Ordering::Relaxed);
        }
        Ok::<(), String>(())
    }
}

/// An order. Times are in seconds.
#[derive(Deserialize)]
#[serde(tag = "call", rename_all = "lowercase", rename_all_fields = "camelCase")]
enum Call {
    Open { url: String, pool: u32 },
    Enqueue { count: u64, at_once: usize, batch: u64 },
    Run { count: u64, at_once: usize, batch: u64 },
    Latency { rate: u64, seconds: u64, at_once: usize },
    Idle { seconds: f64, at_once: usize },
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Ok(Figures),
    Error(String),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Figures {
    Nothing,
    Seconds(f64),
    Lags(Vec<f64>),
}

struct Graphile {
    pool: PgPool,
    utils: WorkerUtils,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut out = tokio::io::stdout();
    let mut graphile = None;
    while let Some(line) = lines.next_line().await? {
        let answer = match call(&mut graphile, serde_json::from_str(&line)?).await {
            Ok(figures) => Answer::Ok(figures),
            Err(error) => Answer::Error(format!("{error:?}")),
        };
        out.write_all(format!("{}\n", serde_json::to_string(&answer)?).as_bytes()).await?;
        out.flush().await?;
    }
    Ok(())
}

async fn call(graphile: &mut Option<Graphile>, call: Call) -> anyhow::Result<Figures> {
    if let Call::Open { url, pool } = call {
        *graphile = Some(Graphile::open(&url, pool).await?);
        return Ok(Figures::Nothing);
    }
    let graphile = graphile.as_ref().context("the first call is `open`")?;
    match call {
        Call::Open { .. } => Ok(Figures::Nothing),
        Call::Enqueue { count, at_once, batch } => graphile.enqueue(count, at_once, batch).await.map(seconds),
        Call::Run { count, at_once, batch } => graphile.run(count, at_once, batch).await.map(seconds),
        Call::Latency { rate, seconds, at_once } => {
            graphile.latency(rate, seconds, at_once).await.map(Figures::Lags)
        }
        Call::Idle { seconds, at_once } => graphile.idle(seconds, at_once).await.map(|()| Figures::Nothing),
    }
}

fn seconds(time: Duration) -> Figures {
    Figures::Seconds(time.as_secs_f64())
}

impl Graphile {
    async fn open(url: &str, pool: u32) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new().max_connections(pool).connect(url).await?;
        let utils = WorkerUtils::new(pool.clone(), "graphile_worker");
        utils.migrate().await?;
        Ok(Self { pool, utils })
    }

    /// Starts a worker; with more than one job a batch through its local queue and its batched completion.
    async fn start(
        &self,
        at_once: usize,
        batch: u64,
        poll: Duration,
        told: &Arc<Told>,
    ) -> anyhow::Result<Running> {
        let mut options = WorkerOptions::default()
            .pg_pool(self.pool.clone())
            .schema("graphile_worker")
            .concurrency(at_once)
            .poll_interval(poll)
            .listen_os_shutdown_signals(false)
            .add_extension(told.clone())
            .define_job::<Noop>();
        if batch > 1 {
            options = options
                .local_queue(LocalQueueConfig::default().with_size(batch as usize))
                .complete_job_batch_delay(Duration::from_millis(5));
        }
        let worker = Arc::new(options.init().await?);
        let running = worker.clone();
        let task = tokio::spawn(async move { running.run().await.map_err(anyhow::Error::from) });
        Ok(Running { worker, task })
    }

    async fn enqueue(&self, count: u64, at_once: usize, batch: u64) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        if batch == 1 {
            let jobs = iter(0..count).map(|_| self.utils.add_job(Noop { sent_us: 0 }, JobSpec::default()));
            let mut jobs = jobs.buffer_unordered(at_once);
            while let Some(job) = jobs.next().await {
                job?;
            }
        } else {
            let jobs: Vec<_> = (0..batch)
                .map(|_| RawJobSpec {
                    identifier: Noop::IDENTIFIER.to_owned(),
                    payload: serde_json::json!({ "sent_us": 0 }),
                    spec: JobSpec::default(),
                })
                .collect();
            let batches = iter(0..count / batch).map(|_| self.utils.add_raw_jobs(&jobs));
            let mut batches = batches.buffer_unordered(at_once);
            while let Some(batch) = batches.next().await {
                batch?;
            }
        }
        Ok(begun.elapsed())
    }

    /// Returns the time from the first start until no job is left.
    async fn run(&self, count: u64, at_once: usize, batch: u64) -> anyhow::Result<Duration> {
        let told = Arc::new(Told::default());
        let running = self.start(at_once, batch, POLL_BUSY, &told).await?;
        running.took(&told, count).await;
        while sqlx::query_scalar::<_, i64>(UNFINISHED).fetch_one(&self.pool).await? > 0 {
            tokio::time::sleep(POLL).await;
        }
        let time = told.first.get().map(Instant::elapsed);
        running.stop().await?;
        time.context("nothing was started")
    }

    /// Returns for each job the time from before it is stored to its start, in milliseconds.
    async fn latency(&self, rate: u64, seconds: u64, at_once: usize) -> anyhow::Result<Vec<f64>> {
        let told = Arc::new(Told::default());
        let begun = *told.begun.get_or_init(Instant::now);
        let running = self.start(at_once, 1, POLL_WAITING, &told).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut tick = tokio::time::interval(Duration::from_secs(1) / rate as u32);
        let mut sending = tokio::task::JoinSet::new();
        for _ in 0..rate * seconds {
            tick.tick().await;
            let utils = self.utils.clone();
            sending.spawn(async move {
                let sent_us = begun.elapsed().as_micros() as u64;
                utils.add_job(Noop { sent_us }, JobSpec::default()).await
            });
        }
        while let Some(sent) = sending.join_next().await {
            sent??;
        }
        running.took(&told, rate * seconds).await;
        running.stop().await?;
        let lags = told.lags.lock().map_err(|_| anyhow::anyhow!("a task panicked"))?;
        Ok(lags.clone())
    }

    async fn idle(&self, seconds: f64, at_once: usize) -> anyhow::Result<()> {
        let running = self.start(at_once, 1, POLL_WAITING, &Arc::default()).await?;
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        running.stop().await
    }
}

struct Running {
    worker: Arc<Worker>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn took(&self, told: &Told, count: u64) {
        while told.took.load(Ordering::Relaxed) < count && !self.task.is_finished() {
            tokio::time::sleep(POLL).await;
        }
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.worker.request_shutdown();
        self.task.await?
    }
}
