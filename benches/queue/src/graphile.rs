//! graphile_worker, the crate.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::iter;
use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler, Worker, WorkerContext,
    WorkerOptions, WorkerUtils,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinHandle;

use crate::contender::{CONNECTIONS, Contender, Mode};
use crate::postgres::{count, run};
use crate::stats::millis;

const POLL: Duration = Duration::from_millis(2);
/// Without a local queue it takes a job a worker each time it looks: as often as its own benchmarks look, where
/// it is to be fast; where it waits it is told, and looks once a second, as by default.
const LOOK_BUSY: Duration = Duration::from_millis(5);
const LOOK_WAITING: Duration = Duration::from_secs(1);

/// Finished jobs are deleted; this keeps what is deleted, as cheaply as Postgres can.
pub(crate) const KEEP: &str = "
    CREATE TABLE kept (LIKE graphile_worker._private_jobs, PRIMARY KEY (id));
    CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO kept SELECT * FROM gone; RETURN NULL; END $$;
    CREATE TRIGGER keep AFTER DELETE ON graphile_worker._private_jobs
        REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION keep();";

pub(crate) const UNFINISHED: &str = "SELECT count(*) FROM graphile_worker._private_jobs";

/// The task; `sent_us` is since the run's beginning.
#[derive(Clone, Serialize, Deserialize)]
struct Noop {
    sent_us: u64,
}

/// What the tasks tell.
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
                lags.push(millis(begun.elapsed().saturating_sub(Duration::from_micros(self.sent_us))));
            }
            told.took.fetch_add(1, Ordering::Relaxed);
        }
        Ok::<(), String>(())
    }
}

pub(crate) struct Graphile {
    url: String,
    pool: PgPool,
    utils: WorkerUtils,
    keeps: bool,
}

impl Graphile {
    pub(crate) async fn open(url: String, keeps: bool) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(&url).await?;
        let utils = WorkerUtils::new(pool.clone(), "graphile_worker");
        utils.migrate().await?;
        if keeps {
            run(&url, KEEP).await?;
        }
        Ok(Self { url, pool, utils, keeps })
    }

    async fn start(&self, mode: Mode, look: Duration, told: &Arc<Told>) -> anyhow::Result<Running> {
        let mut options = WorkerOptions::default()
            .pg_pool(self.pool.clone())
            .schema("graphile_worker")
            .concurrency(mode.at_once() as usize)
            .poll_interval(look)
            .listen_os_shutdown_signals(false)
            .add_extension(told.clone())
            .define_job::<Noop>();
        if mode == Mode::Batched {
            options = options
                .local_queue(LocalQueueConfig::default().with_size(mode.batch() as usize))
                .complete_job_batch_delay(Duration::from_millis(5));
        }
        let worker = Arc::new(options.init().await?);
        let running = worker.clone();
        let task = tokio::spawn(async move { running.run().await.map_err(anyhow::Error::from) });
        Ok(Running { worker, task })
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

#[async_trait]
impl Contender for Graphile {
    fn name(&self) -> &str {
        if self.keeps { "graphile_worker (Rust)" } else { "graphile_worker (Rust), deleting" }
    }

    fn keeps(&self) -> &str {
        if self.keeps {
            "by itself nothing; here its row, copied by a trigger on the deleting statement"
        } else {
            "nothing"
        }
    }

    fn database(&self) -> &str {
        &self.url
    }

    fn tables(&self) -> &str {
        if self.keeps { "graphile_worker._private_jobs, kept" } else { "graphile_worker._private_jobs" }
    }

    async fn enqueue(&mut self, count: u64, mode: Mode) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let senders = mode.senders() as usize;
        if mode == Mode::Single {
            let jobs = iter(0..count).map(|_| self.utils.add_job(Noop { sent_us: 0 }, JobSpec::default()));
            let mut jobs = jobs.buffer_unordered(senders);
            while let Some(job) = jobs.next().await {
                job?;
            }
        } else {
            let jobs: Vec<_> = (0..mode.batch())
                .map(|_| RawJobSpec {
                    identifier: Noop::IDENTIFIER.to_owned(),
                    payload: serde_json::json!({ "sent_us": 0 }),
                    spec: JobSpec::default(),
                })
                .collect();
            let batches = iter(0..count / mode.batch()).map(|_| self.utils.add_raw_jobs(&jobs));
            let mut batches = batches.buffer_unordered(senders);
            while let Some(batch) = batches.next().await {
                batch?;
            }
        }
        Ok(begun.elapsed())
    }

    async fn fill(&mut self, count: u64) -> anyhow::Result<()> {
        self.enqueue(count, Mode::Batched).await.map(drop)
    }

    async fn run(&mut self, count_: u64, mode: Mode) -> anyhow::Result<Duration> {
        let told = Arc::new(Told::default());
        let running = self.start(mode, LOOK_BUSY, &told).await?;
        running.took(&told, count_).await;
        while count(&self.url, UNFINISHED).await? > 0 {
            tokio::time::sleep(POLL).await;
        }
        let time = told.first.get().map(Instant::elapsed);
        running.stop().await?;
        time.context("nothing was started")
    }

    async fn latency(&mut self, rate: u64, seconds: u64) -> anyhow::Result<Vec<f64>> {
        let told = Arc::new(Told::default());
        let begun = *told.begun.get_or_init(Instant::now);
        let running = self.start(Mode::Single, LOOK_WAITING, &told).await?;
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

    async fn idle(&mut self, time: Duration) -> anyhow::Result<()> {
        let running = self.start(Mode::Single, LOOK_WAITING, &Arc::default()).await?;
        tokio::time::sleep(time).await;
        running.stop().await
    }
}
