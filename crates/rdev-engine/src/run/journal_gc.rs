//! Frees the journals of jobs whose output is stored, and the checkouts of jobs whose files are, many at once and beside
//! the jobs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rdev_domain::Timestamp;
use rdev_ports::{Disruption, EventLog, Pod, Pods};
use tokio::sync::Notify;

use super::control::{FREED_AT_ONCE, RunId, free, remove};

/// Most journals that wait to be freed; further ones are found by [`JournalSweep`](crate::JournalSweep).
const WAITING_MAX: usize = 10_000;

/// Journals that wait to be freed.
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
    /// Waits until the journals are to be freed at once: a pod that is about to be deleted waits for it (`rdev-runner
    /// drain`).
    pub(crate) async fn hurried(&self) {
        self.hurry.notified().await;
    }

    /// Has the journals freed at once.
    pub(crate) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// Adds the run of an ended job. Everything in the run's journal is stored, as are the files in `folder`.
    pub(crate) fn add(&self, pod: Pod, run: RunId, folder: Option<String>) {
        self.wait([Ended { pod, run, folder }]);
    }

    fn wait(&self, ended: impl IntoIterator<Item = Ended>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let room = WAITING_MAX.saturating_sub(waiting.len());
        waiting.extend(ended.into_iter().take(room));
    }

    /// Frees the journals, once their copies in the log survive a crash of the machine. A journal that was not freed is
    /// found by [`JournalSweep`](crate::JournalSweep); a checkout is left to the next task of the slot.
    pub(crate) async fn sweep(&self, pods: &dyn Pods, log: &dyn EventLog) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return;
        }
        if let Err(error) = log.flush().await {
            tracing::warn!(?error, "flushing the log failed, journals are freed later");
            return self.wait(waiting);
        }
        let mut pods_left: HashMap<String, Leftovers> = HashMap::new();
        for Ended { pod, run, folder } in waiting {
            // The runs of one pod lie together, whatever their projects.
            let left = pods_left.entry(pod.uid.clone()).or_insert_with(|| Leftovers::of(pod));
            left.runs.push(run);
            left.folders.extend(folder);
        }
        for Leftovers { pod, runs, folders } in pods_left.values() {
            for runs in runs.chunks(FREED_AT_ONCE) {
                log_failure(pods, pod, free(pods, pod, runs).await).await;
            }
            for folders in folders.chunks(FREED_AT_ONCE) {
                log_failure(pods, pod, remove(pods, pod, folders).await).await;
            }
        }
    }
}

/// Runs and folders to free in one pod.
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

async fn log_failure(pods: &dyn Pods, pod: &Pod, done: anyhow::Result<()>) {
    if let Err(error) = done {
        // A lost pod has no journals.
        if !is_lost(pods, pod).await {
            let pod = &pod.pod_ref;
            tracing::warn!(%pod, error = format!("{error:#}"), "freeing journals or checkouts failed");
        }
    }
}

async fn is_lost(pods: &dyn Pods, pod: &Pod) -> bool {
    let disruption = pods.disruption(&pod.pod_ref, &pod.uid, Timestamp::from_micros(0)).await;
    matches!(disruption, Ok(Disruption::Lost(_)))
}
