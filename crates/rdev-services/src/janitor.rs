//! Frees the journals of commands whose output is stored, and checkouts whose files are, many at once and in nobody's way.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rdev_domain::Timestamp;
use rdev_ports::{EventLog, Fate, Place, Pods};
use tokio::sync::Notify;

use crate::runner::{FREED_AT_ONCE, RunId, free, remove};

/// Journals that wait to be freed; further ones are found in their place's next turn.
const WAITING_MAX: usize = 10_000;

/// The journals that wait to be freed.
#[derive(Default)]
pub(crate) struct Janitor {
    waiting: Mutex<Vec<Ended>>,
    hurry: Notify,
}

struct Ended {
    place: Place,
    run: RunId,
    folder: Option<String>,
}

impl Janitor {
    /// Ends when what waits should not wait longer: its place is to go, and waits for that (`rdev-runner drain`).
    pub(crate) async fn hurried(&self) {
        self.hurry.notified().await;
    }

    /// Has what waits freed at once.
    pub(crate) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// The command has ended, and everything in its journal is stored, as are the files of its folder.
    pub(crate) fn ended(&self, place: Place, run: RunId, folder: Option<String>) {
        self.wait([Ended { place, run, folder }]);
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
        for Ended { place, run, folder } in waiting {
            // The runs of one place lie together, whatever their projects.
            let left = places.entry(place.uid.clone()).or_insert_with(|| Leftovers::of(place));
            left.runs.push(run);
            left.folders.extend(folder);
        }
        for Leftovers { place, runs, folders } in places.values() {
            for runs in runs.chunks(FREED_AT_ONCE) {
                told(pods, place, free(pods, place, runs).await).await;
            }
            for folders in folders.chunks(FREED_AT_ONCE) {
                told(pods, place, remove(pods, place, folders).await).await;
            }
        }
    }
}

/// What is to be freed in a place.
struct Leftovers {
    place: Place,
    runs: Vec<RunId>,
    folders: Vec<String>,
}

impl Leftovers {
    fn of(place: Place) -> Self {
        Self { place, runs: Vec::new(), folders: Vec::new() }
    }
}

async fn told(pods: &dyn Pods, place: &Place, done: anyhow::Result<()>) {
    if let Err(error) = done {
        // With the place its journals are gone as well.
        if !is_gone(pods, place).await {
            let place = &place.site;
            tracing::warn!(%place, error = format!("{error:#}"), "journals or checkouts were not freed");
        }
    }
}

async fn is_gone(pods: &dyn Pods, place: &Place) -> bool {
    let fate = pods.fate(&place.site, &place.uid, Timestamp::from_micros(0)).await;
    matches!(fate, Ok(Fate::Gone(_)))
}
