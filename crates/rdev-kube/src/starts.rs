//! Turns of programs that are started: so many at once on a node, and in all.
//!
//! Container runtimes start programs slowly, and go on with those whose clients have given up: who asks for more than a
//! node can do gets less. A turn lasts from the call until the program's first word or its end, not as long as it runs.
//! Those who wait are served in the order in which they came.

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

/// Programs that start at once in all. For as long as the API server takes to answer, and no longer than this time: what
/// hangs is some node's trouble, and keeps those on the others waiting no longer.
const STARTS_IN_ALL: usize = 64;
const ANSWER_AWAITED: Duration = Duration::from_secs(5);
/// On one node.
const STARTS_ON_A_NODE: usize = 16;
/// Short calls have their own share, in all and on a node: a cancel does not wait behind a thousand starts.
const CONTROLS_IN_ALL: usize = 16;
const CONTROLS_ON_A_NODE: usize = 4;
/// Longest pause that an API server with too much to do can ask for, and the one that it gets where it names none.
const BUSY_MAX: Duration = Duration::from_secs(60);
const BUSY_DEFAULT: Duration = Duration::from_secs(1);

/// Kind of what is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A command, or a look at a container.
    Start,
    /// A call that is short, and may be urgent.
    Control,
}

/// The turns of a cluster.
#[derive(Clone)]
pub(crate) struct Starts(Arc<Shares>);

struct Shares {
    starts: Share,
    controls: Share,
    /// Until then the API server wants to be left in peace.
    busy_until: Mutex<Option<Instant>>,
}

/// The turns of one kind.
struct Share {
    in_all: Arc<Semaphore>,
    on_a_node: usize,
    nodes: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A turn, until it is dropped.
pub(crate) struct Turn {
    #[expect(dead_code, reason = "held until the program has started")]
    on_node: OwnedSemaphorePermit,
    in_all: Option<OwnedSemaphorePermit>,
}

impl Default for Starts {
    fn default() -> Self {
        Self(Arc::new(Shares {
            starts: Share::new(STARTS_IN_ALL, STARTS_ON_A_NODE),
            controls: Share::new(CONTROLS_IN_ALL, CONTROLS_ON_A_NODE),
            busy_until: Mutex::default(),
        }))
    }
}

impl Starts {
    /// Waits for a turn on a node, for [`EXEC_TURN_TIMEOUT`] at most.
    pub(crate) async fn turn(&self, node: &str, kind: Kind) -> Result<Turn, ExecError> {
        let share = match kind {
            Kind::Start => &self.0.starts,
            Kind::Control => &self.0.controls,
        };
        let turn = async {
            let turn = share.turn(node).await?;
            while let Some(until) = self.busy_until() {
                sleep_until(until).await;
            }
            Ok::<Turn, AcquireError>(turn)
        };
        match timeout(EXEC_TURN_TIMEOUT, turn).await {
            Ok(turn) => turn.map_err(|closed| ExecError::Cut(closed.into())),
            Err(_) => Err(ExecError::Cut(anyhow::anyhow!(
                "node {node} has so much to start that its turn did not come within {EXEC_TURN_TIMEOUT:?}"
            ))),
        }
    }

    /// Heeds an answer of the API server: one that has too much to do (429) says when to come again.
    pub(crate) fn heed(&self, status: StatusCode, headers: &HeaderMap) {
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

impl Share {
    fn new(in_all: usize, on_a_node: usize) -> Self {
        Self { in_all: Arc::new(Semaphore::new(in_all)), on_a_node, nodes: Mutex::default() }
    }

    /// First on the node: whoever waits there keeps nobody from another.
    async fn turn(&self, node: &str) -> Result<Turn, AcquireError> {
        let on_node = self.node(node).acquire_owned().await?;
        let in_all = Some(self.in_all.clone().acquire_owned().await?);
        Ok(Turn { on_node, in_all })
    }

    fn node(&self, name: &str) -> Arc<Semaphore> {
        let mut nodes = lock(&self.nodes);
        if let Some(node) = nodes.get(name) {
            return node.clone();
        }
        // A new one comes: those where nobody starts anything may be gone.
        nodes.retain(|_, node| Arc::strong_count(node) > 1);
        let node = Arc::new(Semaphore::new(self.on_a_node));
        nodes.insert(name.to_owned(), node.clone());
        node
    }
}

impl Turn {
    /// Calls the API server, whose turn this no longer is once it has answered.
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

    async fn turns(starts: &Starts, node: &str, kind: Kind, count: usize) -> Vec<Turn> {
        let mut turns = Vec::new();
        for _ in 0..count {
            turns.push(starts.turn(node, kind).await.unwrap());
        }
        turns
    }

    fn is_full(starts: &Starts, node: &str, kind: Kind) -> bool {
        tokio::task::unconstrained(starts.turn(node, kind)).now_or_never().is_none()
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_starts_so_many_and_others_do_not_notice() {
        let starts = Starts::default();
        let mut there = turns(&starts, "a", Kind::Start, STARTS_ON_A_NODE).await;
        assert!(is_full(&starts, "a", Kind::Start));
        assert!(!is_full(&starts, "a", Kind::Control));
        assert!(!is_full(&starts, "b", Kind::Start));
        // In the order in which they came.
        let (mut first, mut second) =
            (Box::pin(starts.turn("a", Kind::Start)), Box::pin(starts.turn("a", Kind::Start)));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        there.pop();
        assert!((&mut second).now_or_never().is_none());
        let turn = first.now_or_never().unwrap().unwrap();
        drop(turn);
        second.now_or_never().unwrap().unwrap();
        // Nobody waits for ever.
        there.push(starts.turn("a", Kind::Start).await.unwrap());
        let late = starts.turn("a", Kind::Start).await.err().unwrap().to_string();
        assert!(late.contains("node a"), "{late}");
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_that_are_silent_keep_the_others_waiting_for_no_more_than_seconds() {
        let starts = Starts::default();
        let mut silent = Vec::new();
        for node in ["a", "b", "c", "d"] {
            silent.extend(turns(&starts, node, Kind::Start, STARTS_ON_A_NODE).await);
        }
        assert_eq!(silent.len(), STARTS_IN_ALL);
        assert!(is_full(&starts, "e", Kind::Start) && !is_full(&starts, "e", Kind::Control));
        let calls: Vec<_> = silent
            .into_iter()
            .map(|mut turn| tokio::spawn(async move { turn.call(pending::<()>()).await }))
            .collect();
        turns(&starts, "e", Kind::Start, STARTS_ON_A_NODE).await;
        assert!(is_full(&starts, "a", Kind::Start));
        calls.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_api_server_is_left_in_peace_for_as_long_as_it_says() {
        let starts = Starts::default();
        let mut headers = HeaderMap::new();
        starts.heed(StatusCode::OK, &headers);
        assert!(!is_full(&starts, "a", Kind::Start));
        for (word, pause) in [(Some("7"), 7), (None, 1), (Some("soon"), 1), (Some("86400"), 60)] {
            headers.clear();
            headers.extend(word.map(|word| (RETRY_AFTER, word.parse().unwrap())));
            let asked = Instant::now();
            starts.heed(StatusCode::TOO_MANY_REQUESTS, &headers);
            starts.turn("a", Kind::Control).await.unwrap();
            assert_eq!(asked.elapsed().as_secs(), pause, "{word:?}");
        }
    }
}
