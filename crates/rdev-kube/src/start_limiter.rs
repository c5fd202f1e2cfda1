//! Limits of concurrent starts of programs: on a node, and in total.
//!
//! Container runtimes start programs slowly, and continue starts whose clients have given up: more
//! requests than a node can serve get less done. A permit lasts from the call until the program's first
//! output or its end, not as long as the program runs. Waiters are served in order of arrival.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use rdev_ports::EXEC_TURN_TIMEOUT;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use crate::exec::ExecError;
use crate::lock::lock;

/// Concurrent starts in total. A start counts until the API server answers, for [`ANSWER_AWAITED`] at
/// most: a hanging node does not delay starts on the others for longer.
const STARTS_IN_ALL: usize = 64;
const ANSWER_AWAITED: Duration = Duration::from_secs(5);
/// Concurrent starts on one node.
const STARTS_ON_A_NODE: usize = 16;
/// Short calls have limits of their own, in total and on a node: a cancel does not wait behind a thousand
/// starts.
const CONTROLS_IN_ALL: usize = 16;
const CONTROLS_ON_A_NODE: usize = 4;
/// Longest pause that a busy API server can request, and the pause when it names none.
const BUSY_MAX: Duration = Duration::from_secs(60);
const BUSY_DEFAULT: Duration = Duration::from_secs(1);

/// Kind of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A job, or a probe of a container.
    Start,
    /// A short call, which may be urgent.
    Control,
}

/// Start limiter of a cluster.
#[derive(Clone)]
pub(crate) struct StartLimiter(Arc<Pools>);

struct Pools {
    starts: Pool,
    controls: Pool,
    /// No start is sent before this time: the API server is busy.
    busy_until: Mutex<Option<Instant>>,
}

/// Permits of one kind.
struct Pool {
    in_all: Arc<Semaphore>,
    on_a_node: usize,
    nodes: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A start permit, held until dropped.
pub(crate) struct StartPermit {
    #[expect(dead_code, reason = "held until the program has started")]
    on_node: OwnedSemaphorePermit,
    in_all: Option<OwnedSemaphorePermit>,
}

impl Default for StartLimiter {
    fn default() -> Self {
        Self(Arc::new(Pools {
            starts: Pool::new(STARTS_IN_ALL, STARTS_ON_A_NODE),
            controls: Pool::new(CONTROLS_IN_ALL, CONTROLS_ON_A_NODE),
            busy_until: Mutex::default(),
        }))
    }
}

impl StartLimiter {
    /// Acquires a permit on a node, waiting for [`EXEC_TURN_TIMEOUT`] at most.
    pub(crate) async fn acquire(&self, node: &str, kind: Kind) -> Result<StartPermit, ExecError> {
        let pool = match kind {
            Kind::Start => &self.0.starts,
            Kind::Control => &self.0.controls,
        };
        let permit = async {
            let permit = pool.acquire(node).await?;
            while let Some(until) = self.busy_until() {
                sleep_until(until).await;
            }
            Ok::<StartPermit, AcquireError>(permit)
        };
        match timeout(EXEC_TURN_TIMEOUT, permit).await {
            Ok(permit) => permit.map_err(|closed| ExecError::Unreached(closed.into())),
            Err(_) => Err(ExecError::Unreached(anyhow::anyhow!(
                "no start permit on node {node} within {EXEC_TURN_TIMEOUT:?}: too many programs are starting there"
            ))),
        }
    }

    /// Observes an answer of the API server: a 429 names the pause before the next call.
    pub(crate) fn observe(&self, status: StatusCode, headers: &HeaderMap) {
        if status != StatusCode::TOO_MANY_REQUESTS {
            return;
        }
        let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let pause = seconds.map_or(BUSY_DEFAULT, Duration::from_secs).min(BUSY_MAX);
        let until = Instant::now() + pause;
        let mut busy_until = lock(&self.0.busy_until);
        *busy_until = Some(busy_until.map_or(until, |before| before.max(until)));
    }

    fn busy_until(&self) -> Option<Instant> {
        lock(&self.0.busy_until).filter(|until| *until > Instant::now())
    }
}

impl Pool {
    fn new(in_all: usize, on_a_node: usize) -> Self {
        Self { in_all: Arc::new(Semaphore::new(in_all)), on_a_node, nodes: Mutex::default() }
    }

    /// The permit of the node comes first: a waiter for one node does not block starts on another.
    async fn acquire(&self, node: &str) -> Result<StartPermit, AcquireError> {
        let on_node = self.node(node).acquire_owned().await?;
        let in_all = Some(self.in_all.clone().acquire_owned().await?);
        Ok(StartPermit { on_node, in_all })
    }

    fn node(&self, name: &str) -> Arc<Semaphore> {
        let mut nodes = lock(&self.nodes);
        if let Some(node) = nodes.get(name) {
            return node.clone();
        }
        // Before a node is added, nodes without starts are removed.
        nodes.retain(|_, node| Arc::strong_count(node) > 1);
        let node = Arc::new(Semaphore::new(self.on_a_node));
        nodes.insert(name.to_owned(), node.clone());
        node
    }
}

impl StartPermit {
    /// Calls the API server, and returns the permit of the total once the server has answered.
    pub(crate) async fn call<T>(&mut self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        let answered = timeout(ANSWER_AWAITED, &mut call).await;
        self.in_all = None;
        match answered {
            Ok(answer) => answer,
            Err(_) => call.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;

    use super::*;

    async fn permits(starts: &StartLimiter, node: &str, kind: Kind, count: usize) -> Vec<StartPermit> {
        let mut permits = Vec::new();
        for _ in 0..count {
            permits.push(starts.acquire(node, kind).await.unwrap());
        }
        permits
    }

    fn is_full(starts: &StartLimiter, node: &str, kind: Kind) -> bool {
        tokio::task::unconstrained(starts.acquire(node, kind)).now_or_never().is_none()
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_node_does_not_delay_others() {
        let starts = StartLimiter::default();
        let mut there = permits(&starts, "a", Kind::Start, STARTS_ON_A_NODE).await;
        assert!(is_full(&starts, "a", Kind::Start));
        assert!(!is_full(&starts, "a", Kind::Control));
        assert!(!is_full(&starts, "b", Kind::Start));
        // In order of arrival.
        let (mut first, mut second) =
            (Box::pin(starts.acquire("a", Kind::Start)), Box::pin(starts.acquire("a", Kind::Start)));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        there.pop();
        assert!((&mut second).now_or_never().is_none());
        let permit = first.now_or_never().unwrap().unwrap();
        drop(permit);
        second.now_or_never().unwrap().unwrap();
        // Waiting has a limit.
        there.push(starts.acquire("a", Kind::Start).await.unwrap());
        let late = starts.acquire("a", Kind::Start).await.err().unwrap().to_string();
        assert!(late.contains("node a"), "{late}");
    }

    #[tokio::test(start_paused = true)]
    async fn silent_nodes_delay_the_others_for_seconds_at_most() {
        let starts = StartLimiter::default();
        let mut silent = Vec::new();
        for node in ["a", "b", "c", "d"] {
            silent.extend(permits(&starts, node, Kind::Start, STARTS_ON_A_NODE).await);
        }
        assert_eq!(silent.len(), STARTS_IN_ALL);
        assert!(is_full(&starts, "e", Kind::Start) && !is_full(&starts, "e", Kind::Control));
        let calls: Vec<_> = silent
            .into_iter()
            .map(|mut permit| tokio::spawn(async move { permit.call(pending::<()>()).await }))
            .collect();
        permits(&starts, "e", Kind::Start, STARTS_ON_A_NODE).await;
        assert!(is_full(&starts, "a", Kind::Start));
        calls.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_api_server_gets_the_pause_that_it_names() {
        let starts = StartLimiter::default();
        let mut headers = HeaderMap::new();
        starts.observe(StatusCode::OK, &headers);
        assert!(!is_full(&starts, "a", Kind::Start));
        for (word, pause) in [(Some("7"), 7), (None, 1), (Some("soon"), 1), (Some("86400"), 60)] {
            headers.clear();
            headers.extend(word.map(|word| (RETRY_AFTER, word.parse().unwrap())));
            let asked = Instant::now();
            starts.observe(StatusCode::TOO_MANY_REQUESTS, &headers);
            starts.acquire("a", Kind::Control).await.unwrap();
            assert_eq!(asked.elapsed().as_secs(), pause, "{word:?}");
        }
    }
}
