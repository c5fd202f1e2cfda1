//! Figures for Prometheus: counters of this process, and gauges of the queue and the pool, which come from the store, so
//! that every replica reports the same.

mod ended;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use metrics::{
    Counter, Gauge, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use rdev_domain::{TaskKind, Timestamp};
use rdev_ports::{Backlog, BacklogState, Clock, LogFollower, Pods, Unread};
use rdev_services::{Pool, WorkerView};
use tokio::sync::Mutex;
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use self::ended::JobsEnded;
use crate::telemetry;

/// Time for which figures of store and runtime are reused, however often they are scraped.
const FRESH: Duration = Duration::from_secs(1);
/// Longest time that the store, and the runtime, may take to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// Time between two upkeeps, which sort durations into their buckets: until then each takes memory of its own.
const UPKEEP: Duration = Duration::from_secs(5);

const REQUESTS: &str = "rdev_http_requests_total";
const REQUEST_SECONDS: &str = "rdev_http_request_duration_seconds";
const REQUEST_SECONDS_BUCKETS: [f64; 11] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
const STREAMS: &str = "rdev_streams_open";
const STREAMS_REFUSED: &str = "rdev_streams_refused_total";
const CONNECTIONS_CLOSED: &str = "rdev_connections_closed_total";
const LOG_LINES_LOST: &str = "rdev_log_lines_lost_total";
const PANICS: &str = "rdev_panics_total";

/// Figures of this process, of the store and of the runtime.
#[derive(Clone)]
pub(crate) struct Metrics {
    process: PrometheusHandle,
    pool: Pool,
    pods: Arc<dyn Pods>,
    log: Arc<dyn LogFollower>,
    clock: Arc<dyn Clock>,
    shared: Arc<Mutex<Option<SharedFigures>>>,
}

/// Figures of store and runtime, and their time.
struct SharedFigures {
    at: Instant,
    text: Arc<str>,
}

/// Begins to count in this process.
fn install() -> anyhow::Result<PrometheusHandle> {
    let buckets = Matcher::Full(REQUEST_SECONDS.to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(buckets, &REQUEST_SECONDS_BUCKETS)?;
    let process = builder.install_recorder().context("metrics")?;
    describe_gauge!("rdev_build_info", "1, with the version of this rdev-api");
    gauge!("rdev_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
    describe_counter!(REQUESTS, "Requests answered by this process, by route");
    describe_histogram!(REQUEST_SECONDS, "Time to the head of an answer; of streams no more than that");
    describe_gauge!(STREAMS, "Event streams that this process has open");
    describe_counter!(STREAMS_REFUSED, "Event streams refused to keys that had as many open as they may");
    counter!(STREAMS_REFUSED).absolute(0);
    describe_counter!(CONNECTIONS_CLOSED, "Connections closed before their next request, for want of room");
    for reason in [Closed::TooMany, Closed::MadeRoom] {
        reason.counter().absolute(0);
    }
    describe_counter!(LOG_LINES_LOST, "Lines of the log that nobody took, or that found no room");
    describe_counter!(PANICS, "Panics of this process, each a fault of rdev that its log tells of");
    OpenStream::gauge().set(0);
    ended::install();
    Ok(process)
}

impl Metrics {
    /// Installs the recorder of this process.
    ///
    /// # Errors
    /// When it is installed already.
    pub(crate) fn begin(
        pool: Pool,
        pods: Arc<dyn Pods>,
        log: Arc<dyn LogFollower>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        Ok(Self { process: install()?, pool, pods, log, clock, shared: Arc::default() })
    }

    /// Keeps the recorder's memory small until `stop`, also when nobody scrapes.
    pub(crate) async fn upkeep(self, stop: CancellationToken) {
        let mut tick = interval(UPKEEP);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            self.process.run_upkeep();
        }
    }

    /// Returns all figures in Prometheus' text format.
    pub(crate) async fn text(&self) -> String {
        counter!(LOG_LINES_LOST).absolute(telemetry::lines_lost());
        counter!(PANICS).absolute(telemetry::panics());
        let mut text = self.process.render();
        text.push_str(&self.shared_figures().await);
        text
    }

    /// Returns the figures of store and runtime, asked for once for all scrapes that arrive meanwhile.
    async fn shared_figures(&self) -> Arc<str> {
        let mut shared = self.shared.lock().await;
        if let Some(figures) = shared.as_ref().filter(|figures| figures.at.elapsed() < FRESH) {
            return figures.text.clone();
        }
        let (backlog, workers, runtime, unread) = tokio::join!(
            timeout(ASK_TIMEOUT, self.pool.backlog()),
            timeout(ASK_TIMEOUT, self.pool.workers()),
            timeout(ASK_TIMEOUT, self.pods.check()),
            timeout(ASK_TIMEOUT, self.log.unread(ended::FOLLOWER))
        );
        let now = self.clock.now();
        // A recorder of its own: a figure that is unknown now is left out, and no old value is reported.
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe_gauge!("rdev_store_up", "Whether the store answers");
            gauge!("rdev_store_up").set(f64::from(u8::from(matches!(backlog, Ok(Ok(_))))));
            describe_gauge!("rdev_runtime_up", "Whether the place where commands run answers");
            gauge!("rdev_runtime_up").set(f64::from(u8::from(matches!(runtime, Ok(Ok(()))))));
            let workers = workers.ok().and_then(Result::ok);
            if let Ok(Ok(backlog)) = backlog {
                record_backlog(&backlog, workers.as_deref().unwrap_or_default(), now);
            }
            if let Some(workers) = workers {
                record_workers(&workers);
            }
            if let Ok(Ok(unread)) = unread {
                record_lag(unread, now);
            }
        });
        let text: Arc<str> = recorder.handle().render().into();
        *shared = Some(SharedFigures { at: Instant::now(), text: text.clone() });
        text
    }
}

fn record_backlog(backlog: &Backlog, workers: &[WorkerView], now: Timestamp) {
    describe_gauge!("rdev_pool_tasks", "Tasks of the pool that have not ended, by type and state");
    for kind in TaskKind::ALL {
        for stage in BacklogState::ALL {
            let of = backlog.tasks.iter().filter(|(k, s, _)| (*k, *s) == (kind, stage));
            let count: u64 = of.map(|(.., count)| count).sum();
            gauge!("rdev_pool_tasks", "type" => kind.as_str(), "state" => stage.as_str()).set(count as f64);
        }
    }
    describe_gauge!(
        "rdev_pool_load",
        "Seats that the pool could use now: tasks that run in workers which stay, or wait for one"
    );
    // A worker that leaves is no part of the pool any more: its tasks need no other worker.
    let leaves = workers.iter().filter(|worker| worker.leaves).map(|worker| worker.tasks.len() as u64).sum();
    let running = backlog.count(BacklogState::Running).saturating_sub(leaves);
    gauge!("rdev_pool_load").set((running + backlog.count(BacklogState::Waiting)) as f64);
    describe_gauge!("rdev_pool_oldest_waiting_seconds", "How long the task has waited that waits longest");
    let waited = backlog.waiting_since.map_or(Duration::ZERO, |since| now.since(since));
    gauge!("rdev_pool_oldest_waiting_seconds").set(waited.as_secs_f64());
    describe_gauge!("rdev_commands", "Commands of projects that have not ended, by state");
    gauge!("rdev_commands", "state" => "waiting").set(backlog.commands_waiting as f64);
    gauge!("rdev_commands", "state" => "running").set(backlog.commands_running as f64);
}

/// Records how far the follower is behind; nothing before its first opening, when nobody follows.
fn record_lag(unread: Unread, now: Timestamp) {
    let lag = match unread {
        Unread::NoCursor => return,
        Unread::Nothing => Duration::ZERO,
        Unread::Since(at) => now.since(at),
    };
    describe_gauge!(
        "rdev_log_follower_lag_seconds",
        "Age of the oldest entry of the log that a follower has not handled"
    );
    gauge!("rdev_log_follower_lag_seconds", "follower" => ended::FOLLOWER.as_str()).set(lag.as_secs_f64());
}

fn record_workers(workers: &[WorkerView]) {
    let state = |worker: &WorkerView| match () {
        () if !worker.is_ready() => "not_ready",
        () if worker.draining => "draining",
        () if worker.tasks.is_empty() => "idle",
        () => "busy",
    };
    describe_gauge!("rdev_pool_workers", "Workers of the pool; a busy one has at least one task");
    for name in ["idle", "busy", "draining", "not_ready"] {
        let count = workers.iter().filter(|worker| state(worker) == name).count();
        gauge!("rdev_pool_workers", "state" => name).set(count as f64);
    }
    describe_gauge!("rdev_pool_capacity", "Tasks that the workers which take some run at once");
    let takes = workers.iter().filter(|worker| worker.takes_tasks());
    gauge!("rdev_pool_capacity").set(takes.map(|worker| f64::from(worker.capacity)).sum::<f64>());
}

/// Timer of a request that is being answered.
pub(crate) struct RequestTimer {
    method: &'static str,
    path: Option<MatchedPath>,
    since: Instant,
}

impl RequestTimer {
    /// Starts the timer when the request arrives.
    pub(crate) fn start(request: &Request) -> Self {
        // Methods that clients invent would each be a series of their own.
        let known = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD];
        let names = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
        let method = known.iter().position(|known| known == request.method());
        Self {
            method: method.map_or("other", |at| names[at]),
            path: request.extensions().get::<MatchedPath>().cloned(),
            since: Instant::now(),
        }
    }

    /// Counts the request and its time to the head of the response, which is returned.
    pub(crate) fn stop(self, status: StatusCode) -> Duration {
        let duration = self.since.elapsed();
        // As in the OpenAPI document.
        let path = self.path.as_ref().map_or("none", MatchedPath::as_str).replace("{*", "{");
        let labels = [("method", self.method.to_owned()), ("path", path)];
        histogram!(REQUEST_SECONDS, &labels).record(duration);
        let [method, path] = labels;
        counter!(REQUESTS, &[method, path, ("status", status.as_u16().to_string())]).increment(1);
        duration
    }
}

/// Counts an event stream that is refused because its key has as many as it may.
pub(crate) fn stream_refused() {
    counter!(STREAMS_REFUSED).increment(1);
}

/// Reason for closing a connection between two requests, or before its first.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Closed {
    /// Its client has as many connections without a key as it may.
    TooMany,
    /// It was evicted for another connection.
    MadeRoom,
}

impl Closed {
    /// Counts a connection.
    pub(crate) fn count(self) {
        self.counter().increment(1);
    }

    fn counter(self) -> Counter {
        let reason = match self {
            Self::TooMany => "too_many",
            Self::MadeRoom => "made_room",
        };
        counter!(CONNECTIONS_CLOSED, "reason" => reason)
    }
}

/// Open event stream, counted until this is dropped.
pub(crate) struct OpenStream(Gauge);

impl OpenStream {
    /// Counts a stream as open.
    pub(crate) fn begin() -> Self {
        let gauge = Self::gauge();
        gauge.increment(1);
        Self(gauge)
    }

    fn gauge() -> Gauge {
        gauge!(STREAMS)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_that_nobody_has_opened_has_no_lag() {
        let of = |unread| {
            let recorder = PrometheusBuilder::new().build_recorder();
            metrics::with_local_recorder(&recorder, || record_lag(unread, Timestamp::from_micros(7_000_000)));
            recorder.handle().render()
        };
        assert_eq!(of(Unread::NoCursor), "");
        for (unread, expected) in
            [(Unread::Nothing, "0"), (Unread::Since(Timestamp::from_micros(5_000_000)), "2")]
        {
            let text = of(unread);
            let line = format!("rdev_log_follower_lag_seconds{{follower=\"metrics\"}} {expected}\n");
            assert!(text.contains(&line), "{text}");
        }
    }
}
