//! Container runtimes, which start the programs of a node: they can be slow or silent.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use crate::store::Key;

/// The container runtimes of all nodes.
pub(crate) struct Runtimes {
    /// Pods in which nothing starts.
    hung: watch::Sender<HashSet<Key>>,
    pace: Mutex<Option<Pace>>,
}

/// Speed of starts on a node.
struct Pace {
    each: Duration,
    at_once: usize,
    nodes: HashMap<String, Arc<Semaphore>>,
}

impl Runtimes {
    pub(crate) fn new() -> Self {
        Self { hung: watch::Sender::default(), pace: Mutex::default() }
    }

    pub(crate) fn hang(&self, pod: &Key) {
        self.hung.send_modify(|hung| {
            hung.insert(pod.clone());
        });
    }

    pub(crate) fn release(&self, pod: &Key) {
        self.hung.send_modify(|hung| {
            hung.remove(pod);
        });
    }

    pub(crate) fn set_pace(&self, at_once: usize, each: Duration) {
        *self.pace() = Some(Pace { each, at_once, nodes: HashMap::new() });
    }

    /// Returns when the runtime answers for this pod.
    pub(crate) async fn answers(&self, pod: &Key) {
        // Fails when the cluster ends.
        self.hung.subscribe().wait_for(|hung| !hung.contains(pod)).await.ok();
    }

    /// Returns when a program of the pod may start on its node, whether or not its client is still
    /// connected.
    pub(crate) async fn acquire(&self, pod: &Key, node: &str) {
        self.answers(pod).await;
        let Some((each, of_node)) = self.pace_of(node) else { return };
        // The semaphore is never closed.
        let _one = of_node.acquire().await.ok();
        tokio::time::sleep(each).await;
    }

    fn pace_of(&self, node: &str) -> Option<(Duration, Arc<Semaphore>)> {
        let mut pace = self.pace();
        let Pace { each, at_once, nodes } = pace.as_mut()?;
        let of_node = nodes.entry(node.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(*at_once)));
        Some((*each, of_node.clone()))
    }

    fn pace(&self) -> MutexGuard<'_, Option<Pace>> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
