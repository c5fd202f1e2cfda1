//! Figures for Prometheus: of this process, and of the queue, the pool and the store, which come from the store, so that
//! every replica reports the same.

mod ended;
mod queue;
mod requests;
mod space;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use rdev_ports::{Clock, LogFollower, Pods, StoreFigures};
use rdev_services::Pool;
use tokio::sync::Mutex;
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use self::ended::JobsEnded;
pub(crate) use self::requests::{Closed, OpenStream, RequestTimer, stream_refused};
pub(crate) use self::space::Folders;
use crate::telemetry;

/// Time for which figures of store, runtime and process are reused, however often they are scraped.
const FRESH: Duration = Duration::from_secs(1);
/// Longest time that the store, and the runtime, may take to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// Time between two upkeeps, which sort durations into their buckets: until then each takes memory of its own.
const UPKEEP: Duration = Duration::from_secs(5);

const LOG_LINES_LOST: &str = "rdev_log_lines_lost_total";
const PANICS: &str = "rdev_panics_total";

/// Sources of the figures that are asked for.
#[derive(Clone)]
pub(crate) struct Sources {
    /// Queue, pool and workers.
    pub(crate) pool: Pool,
    /// Runtime of the commands.
    pub(crate) pods: Arc<dyn Pods>,
    /// Progress of the followers.
    pub(crate) log: Arc<dyn LogFollower>,
    /// Size and age of what is stored.
    pub(crate) store: Arc<dyn StoreFigures>,
    /// Age at which an ended job is to be removed; `None`: never.
    pub(crate) kept: Option<Duration>,
    /// Folders in which this process stores.
    pub(crate) folders: Folders,
    /// Time of the store.
    pub(crate) clock: Arc<dyn Clock>,
}

/// Figures of this process, of the store and of the runtime.
#[derive(Clone)]
pub(crate) struct Metrics {
    counted: PrometheusHandle,
    sources: Sources,
    answers: Arc<Mutex<Option<Answers>>>,
}

/// Figures that were asked for, and their time.
struct Answers {
    at: Instant,
    text: Arc<str>,
}

/// Begins to count in this process.
fn install() -> anyhow::Result<PrometheusHandle> {
    let counted = with_buckets(PrometheusBuilder::new())?.install_recorder().context("metrics")?;
    describe_gauge!("rdev_build_info", "1, with the version of this rdev-api");
    gauge!("rdev_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
    describe_counter!(LOG_LINES_LOST, "Lines of the log that nobody took, or that found no room");
    describe_counter!(PANICS, "Panics of this process, each a fault of rdev that its log tells of");
    requests::install();
    ended::install();
    Ok(counted)
}

fn with_buckets(builder: PrometheusBuilder) -> Result<PrometheusBuilder, BuildError> {
    let of = |name: &str| Matcher::Full(name.to_owned());
    builder
        .set_buckets_for_metric(of(requests::REQUEST_SECONDS), &requests::REQUEST_SECONDS_BUCKETS)?
        .set_buckets_for_metric(of(ended::DURATION), &ended::JOB_SECONDS_BUCKETS)?
        .set_buckets_for_metric(of(ended::WAIT), &ended::JOB_SECONDS_BUCKETS)
}

impl Metrics {
    /// Installs the recorder of this process.
    ///
    /// # Errors
    /// When it is installed already.
    pub(crate) fn begin(sources: Sources) -> anyhow::Result<Self> {
        Ok(Self { counted: install()?, sources, answers: Arc::default() })
    }

    /// Keeps the recorder's memory small until `stop`, also when nobody scrapes.
    pub(crate) async fn upkeep(self, stop: CancellationToken) {
        let mut tick = interval(UPKEEP);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            self.counted.run_upkeep();
        }
    }

    /// Returns all figures in Prometheus' text format.
    pub(crate) async fn text(&self) -> String {
        counter!(LOG_LINES_LOST).absolute(telemetry::lines_lost());
        counter!(PANICS).absolute(telemetry::panics());
        let mut text = self.counted.render();
        text.push_str(&self.answers().await);
        text
    }

    /// Returns the figures that are asked for, once for all scrapes that arrive meanwhile.
    async fn answers(&self) -> Arc<str> {
        let mut answers = self.answers.lock().await;
        if let Some(answers) = answers.as_ref().filter(|answers| answers.at.elapsed() < FRESH) {
            return answers.text.clone();
        }
        let text: Arc<str> = self.sources.ask().await.into();
        *answers = Some(Answers { at: Instant::now(), text: text.clone() });
        text
    }
}

impl Sources {
    /// Asks all at once. A figure that is unknown now is left out, and no old value is reported.
    async fn ask(&self) -> String {
        let first_end = async {
            match self.kept {
                Some(kept) => self.store.first_end().await.map(|end| Some((kept, end))),
                None => Ok(None),
            }
        };
        let (backlog, workers, runtime, unread, database, first_end, disks) = tokio::join!(
            timeout(ASK_TIMEOUT, self.pool.backlog()),
            timeout(ASK_TIMEOUT, self.pool.workers()),
            timeout(ASK_TIMEOUT, self.pods.check()),
            timeout(ASK_TIMEOUT, self.log.unread(ended::FOLLOWER)),
            timeout(ASK_TIMEOUT, self.store.database_bytes()),
            timeout(ASK_TIMEOUT, first_end),
            timeout(ASK_TIMEOUT, self.folders.space())
        );
        let now = self.clock.now();
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            record_is_up("rdev_store_up", "Whether the store answers", matches!(backlog, Ok(Ok(_))));
            let runtime_is_up = matches!(runtime, Ok(Ok(())));
            record_is_up("rdev_runtime_up", "Whether the place where commands run answers", runtime_is_up);
            let workers = workers.ok().and_then(Result::ok);
            if let Ok(Ok(backlog)) = backlog {
                queue::record_backlog(&backlog, workers.as_deref().unwrap_or_default(), now);
            }
            if let Some(workers) = workers {
                queue::record_workers(&workers);
            }
            if let Ok(Ok(unread)) = unread {
                queue::record_lag(unread, now);
            }
            if let Ok(Ok(bytes)) = database {
                space::record_database(bytes);
            }
            if let Ok(Ok(Some((kept, first_end)))) = first_end {
                space::record_retention(kept, first_end, now);
            }
            space::record_disks(&disks.unwrap_or_default());
            let process = Collector::default();
            process.describe();
            process.collect();
        });
        recorder.handle().render()
    }
}

fn record_is_up(name: &'static str, help: &'static str, is_up: bool) {
    describe_gauge!(name, help);
    gauge!(name).set(f64::from(u8::from(is_up)));
}
