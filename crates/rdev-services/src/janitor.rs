//! Frees the journals of commands whose output is stored, and checkouts whose files are, many at once and in nobody's way.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rdev_domain::Timestamp;
use rdev_ports::{Fate, Place, Pods};

use crate::supervise::control;

/// Journals freed by one call of the runner.
const BATCH_MAX: usize = 64;
/// Journals that wait to be freed; of further ones `gc` by age takes care.
const WAITING_MAX: usize = 10_000;
/// Runs that ended so long ago are forgotten whole: in seconds, a week.
const FORGET_AFTER_SECONDS: &str = "604800";

/// The journals that wait to be freed.
#[derive(Default)]
pub(crate) struct Janitor {
    waiting: Mutex<Vec<Ended>>,
}

struct Ended {
    place: Place,
    run: String,
    folder: Option<String>,
}

impl Janitor {
    /// The command has ended, and everything in its journal is stored, as are the files of its folder.
    pub(crate) fn ended(&self, place: Place, run: String, folder: Option<String>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX {
            waiting.push(Ended { place, run, folder });
        }
    }

    /// Frees what waits. What fails is left to `gc` by age, which each call asks for as well, and to
    /// the next task of the seat.
    pub(crate) async fn sweep(&self, pods: &dyn Pods) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let mut places: HashMap<String, Leftovers> = HashMap::new();
        for Ended { place, run, folder } in waiting {
            // The runs of one place lie together, whatever their projects.
            let left = places.entry(place.uid.clone()).or_insert_with(|| Leftovers::of(place));
            left.runs.push(run);
            left.folders.extend(folder);
        }
        for Leftovers { place, runs, folders } in places.values() {
            for runs in runs.chunks(BATCH_MAX) {
                let mut argv = vec!["rdev-runner", "gc", "--older-than", FORGET_AFTER_SECONDS];
                argv.extend(runs.iter().flat_map(|run| ["--id", run.as_str()]));
                free(pods, place, &argv).await;
            }
            for folders in folders.chunks(BATCH_MAX) {
                let argv = ["rm", "-rf", "--"].into_iter().chain(folders.iter().map(String::as_str));
                free(pods, place, &argv.collect::<Vec<_>>()).await;
            }
        }
    }
}

/// What is to be freed in a place.
struct Leftovers {
    place: Place,
    runs: Vec<String>,
    folders: Vec<String>,
}

impl Leftovers {
    fn of(place: Place) -> Self {
        Self { place, runs: Vec::new(), folders: Vec::new() }
    }
}

async fn free(pods: &dyn Pods, place: &Place, argv: &[&str]) {
    if let Err(error) = control(pods, place, argv).await {
        // With the place its journals are gone as well.
        if !is_gone(pods, place).await {
            let place = &place.site;
            tracing::warn!(%place, error = format!("{error:#}"), "journals or checkouts were not freed");
        }
    }
}

async fn is_gone(pods: &dyn Pods, place: &Place) -> bool {
    let fate = pods.fate(&place.uid, Timestamp::from_micros(0)).await;
    matches!(fate, Ok(Fate::Gone(_)))
}
