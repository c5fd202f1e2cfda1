//! Frees the journals of commands whose output is stored, many at once and in nobody's way.

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
    waiting: Mutex<Vec<(Place, String)>>,
}

impl Janitor {
    /// The command has ended, and everything in its journal is stored.
    pub(crate) fn ended(&self, place: Place, run: String) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX {
            waiting.push((place, run));
        }
    }

    /// Frees what waits. What fails is left to `gc` by age, which each call asks for as well.
    pub(crate) async fn sweep(&self, pods: &dyn Pods) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let mut places: HashMap<String, (Place, Vec<String>)> = HashMap::new();
        for (place, id) in waiting {
            // The runs of one place lie together, whatever their projects.
            places.entry(place.uid.clone()).or_insert_with(|| (place, Vec::new())).1.push(id);
        }
        for (place, ids) in places.values() {
            for ids in ids.chunks(BATCH_MAX) {
                let mut argv = vec!["rdev-runner", "gc", "--older-than", FORGET_AFTER_SECONDS];
                argv.extend(ids.iter().flat_map(|id| ["--id", id.as_str()]));
                if let Err(error) = control(pods, place, &argv).await {
                    // With the place its journals are gone as well.
                    if !is_gone(pods, place).await {
                        let place = &place.site;
                        tracing::warn!(%place, error = format!("{error:#}"), "journals were not freed");
                    }
                }
            }
        }
    }
}

async fn is_gone(pods: &dyn Pods, place: &Place) -> bool {
    let fate = pods.fate(&place.uid, Timestamp::from_micros(0)).await;
    matches!(fate, Ok(Fate::Gone(_)))
}
