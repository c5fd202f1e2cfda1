//! Detection of pods that share one folder of runs. A folder that has outlived its pod belongs to the
//! next pod of the same project; two living pods must not share one, since jobs of one could be taken for
//! jobs of the other.

use std::sync::{Arc, Mutex};

use rdev_domain::{Condition, ProjectId, ProjectStatus, Timestamp};

use crate::labels::Role;
use crate::lock::lock;
use crate::pod::PodView;
use crate::registry::Registry;

/// Reason of a status: another pod has the same folder of runs.
pub(crate) const RUNS_SHARED: &str = "RunsShared";
/// Most pairs of pods that are remembered.
const SHARED_MAX: usize = 1024;

/// Registries of all roles, and the pairs of pods that share a folder of runs.
pub(crate) struct SharedRuns {
    registries: [Arc<Registry>; 2],
    shared: Mutex<Vec<SharingPair>>,
}

/// Two pods of different projects or workers with one folder of runs.
struct SharingPair {
    pods: [PodView; 2],
    since: Timestamp,
}

/// State of the pod that owns a folder of runs, as seen by another pod with the same folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The owner is gone: the folder has outlived it.
    Gone,
    /// The owner lives, or may live; the text describes it.
    Lives(String),
}

impl SharedRuns {
    pub(crate) fn new(registries: [Arc<Registry>; 2]) -> Self {
        Self { registries, shared: Mutex::default() }
    }

    /// Returns the state of the owner of an identity that `pod` has found in its folder of runs. Records
    /// two living pods as sharing the folder, unless both belong to one project, where one follows the
    /// other.
    pub(crate) fn owner(&self, identity: &str, pod: &PodView, now: Timestamp) -> Owner {
        let Some(owner) = self.living(pod_of(identity)) else {
            if self.registries.iter().all(|registry| registry.is_synced()) {
                return Owner::Gone;
            }
            return Owner::Lives("a pod that may exist: not all pods have been listed yet".to_owned());
        };
        let words = format!("pod {}, which has the same folder of runs", owner.name);
        if !is_of(&owner, pod.details.role, &pod.details.project) {
            let mut shared = lock(&self.shared);
            let is_known =
                |one: &SharingPair| one.pods.iter().all(|of| of.uid == owner.uid || of.uid == pod.uid);
            if !shared.iter().any(is_known) && shared.len() < SHARED_MAX {
                tracing::warn!(
                    pod = pod.name,
                    other = owner.name,
                    "two pods share a folder of runs: nothing starts in them"
                );
                shared.push(SharingPair { pods: [owner, pod.clone()], since: now });
            }
        }
        Owner::Lives(words)
    }

    /// Returns why nothing may start in the pod of a project or worker: it shares its folder of runs with
    /// another.
    pub(crate) fn failure(&self, role: Role, id: &ProjectId) -> Option<Condition> {
        let mut shared = lock(&self.shared);
        // Once one of them is gone the other has the folder alone.
        shared.retain(|one| one.pods.iter().all(|pod| self.living(&pod.uid).is_some()));
        shared.iter().find_map(|SharingPair { pods: [one, other], since }| {
            let with = match (is_of(one, role, id), is_of(other, role, id)) {
                (true, _) => other,
                (_, true) => one,
                (false, false) => return None,
            };
            let message = format!(
                "its folder of runs is also used by pod {}: give each pod a volume of its own for RDEV_RUNS_DIR (/run/rdev)",
                with.name
            );
            Some(Condition { reason: RUNS_SHARED.to_owned(), message, since: *since })
        })
    }

    /// Returns the status, or the failure of a shared folder of runs in place of a ready one.
    pub(crate) fn status(&self, role: Role, id: &ProjectId, status: ProjectStatus) -> ProjectStatus {
        match (status, self.failure(role, id)) {
            (ProjectStatus::Ready, Some(condition)) => ProjectStatus::Failing(condition),
            (status, _) => status,
        }
    }

    /// Returns the pod of this uid while programs may run in it.
    fn living(&self, pod_uid: &str) -> Option<PodView> {
        self.registries.iter().find_map(|registry| registry.find(pod_uid)).filter(|pod| pod.over.is_none())
    }
}

/// Returns the uid of the pod that gave a folder of runs its identity.
pub(crate) fn pod_of(identity: &str) -> &str {
    identity.split('.').next().unwrap_or_default()
}

fn is_of(pod: &PodView, role: Role, id: &ProjectId) -> bool {
    pod.details.role == role && pod.details.project == *id
}
