//! Frees the journals of commands whose output is stored, and checkouts whose files are, many at once and in nobody's way.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rdev_domain::Timestamp;
use rdev_ports::{Disruption, EventLog, Pod, Pods};
use tokio::sync::Notify;

use crate::run::control::{FREED_AT_ONCE, RunId, free, remove};

/// Journals that wait to be freed; further ones are found in their place's next turn.
const WAITING_MAX: usize = 10_000;

/// The journals that wait to be freed.
#[derive(Default)]
pub(crate) struct JournalGc {
    waiting: Mutex<Vec<Ended>>,
    hurry: Notify,
}

struct Ended {
    pod: Pod,
    run: RunId,
    folder: Option<String>,
}

impl JournalGc {
    /// Ends when what waits should not wait longer: its place is to go, and waits for that (`rdev-runner drain`).
    pub(crate) async fn hurried(&self) {
        self.hurry.notified().await;
    }

    /// Has what waits freed at once.
    pub(crate) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// The command has ended, and everything in its journal is stored, as are the files of its folder.
    pub(crate) fn ended(&self, pod: Pod, run: RunId, folder: Option<String>) {
        self.wait([Ended { pod, run, folder }]);
    }

    fn wait(&self, ended: impl IntoIterator<Item = Ended>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let room = WAITING_MAX.saturating_sub(waiting.len());
        waiting.extend(ended.into_iter().take(room));
    }

    /// Frees what waits, once its copy in the log survives the death of the machine. A journal that was not freed is
    /// found in its place's next turn ([`Journals`](crate::Journals)); a checkout is left to the next task of the
    /// seat.
    pub(crate) async fn sweep(&self, pods: &dyn Pods, log: &dyn EventLog) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return;
        }
        if let Err(error) = log.flush().await {
            tracing::warn!(?error, "no journal is freed before its copy is safe, trying again");
            return self.wait(waiting);
        }
        let mut places: HashMap<String, Leftovers> = HashMap::new();
        for Ended { pod, run, folder } in waiting {
            // The runs of one place lie together, whatever their projects.
            let left = places.entry(pod.uid.clone()).or_insert_with(|| Leftovers::of(pod));
            left.runs.push(run);
            left.folders.extend(folder);
        }
        for Leftovers { pod, runs, folders } in places.values() {
            for runs in runs.chunks(FREED_AT_ONCE) {
                told(pods, pod, free(pods, pod, runs).await).await;
            }
            for folders in folders.chunks(FREED_AT_ONCE) {
                told(pods, pod, remove(pods, pod, folders).await).await;
            }
        }
    }
}

/// What is to be freed in a place.
struct Leftovers {
    pod: Pod,
    runs: Vec<RunId>,
    folders: Vec<String>,
}

impl Leftovers {
    fn of(pod: Pod) -> Self {
        Self { pod, runs: Vec::new(), folders: Vec::new() }
    }
}

async fn told(pods: &dyn Pods, pod: &Pod, done: anyhow::Result<()>) {
    if let Err(error) = done {
        // With the place its journals are gone as well.
        if !is_gone(pods, pod).await {
            let pod = &pod.pod_ref;
            tracing::warn!(%pod, error = format!("{error:#}"), "journals or checkouts were not freed");
        }
    }
}

async fn is_gone(pods: &dyn Pods, pod: &Pod) -> bool {
    let disruption = pods.disruption(&pod.pod_ref, &pod.uid, Timestamp::from_micros(0)).await;
    matches!(disruption, Ok(Disruption::Lost(_)))
}
