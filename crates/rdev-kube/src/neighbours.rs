//! Pods that find each other in one folder of runs. A folder that has outlived its pod belongs to the next one; two pods
//! that live must not have the same: commands of one site could be taken for those of the other.

use std::sync::{Arc, Mutex};

use rdev_domain::{Condition, ProjectId, ProjectStatus, Timestamp};

use crate::labels::Role;
use crate::lock::lock;
use crate::pod::PodView;
use crate::registry::Registry;

/// The reason of a status: another pod has the same folder of runs.
pub(crate) const RUNS_SHARED: &str = "RunsShared";
/// Pairs of pods that are remembered.
const SHARED_MAX: usize = 1024;

/// The pods of all roles, and which of them share a folder of runs.
pub(crate) struct Neighbours {
    registries: [Arc<Registry>; 2],
    shared: Mutex<Vec<Shared>>,
}

/// Two pods of different sites with one folder of runs.
struct Shared {
    pods: [PodView; 2],
    since: Timestamp,
}

/// How the pod in whose name a folder of runs stands is related to the one that has found it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// It is gone: the folder has outlived it.
    Gone,
    /// It lives. The words say which pod it is.
    Lives(String),
}

impl Neighbours {
    pub(crate) fn new(registries: [Arc<Registry>; 2]) -> Self {
        Self { registries, shared: Mutex::default() }
    }

    /// How the pod of an identity stands, which `pod` has found in its folder of runs. Two pods that live are remembered
    /// as sharing it, unless they are of one site, where one follows the other.
    pub(crate) fn holder(&self, identity: &str, pod: &PodView, now: Timestamp) -> Holder {
        let Some(holder) = self.living(pod_of(identity)) else {
            if self.registries.iter().all(|registry| registry.is_synced()) {
                return Holder::Gone;
            }
            return Holder::Lives("a pod that may be there: not all pods have been listed yet".to_owned());
        };
        let words = format!("pod {}, which has the same folder of runs", holder.name);
        if !is_of(&holder, pod.details.role, &pod.details.project) {
            let mut shared = lock(&self.shared);
            let is_known = |one: &Shared| one.pods.iter().all(|of| of.uid == holder.uid || of.uid == pod.uid);
            if !shared.iter().any(is_known) && shared.len() < SHARED_MAX {
                tracing::warn!(
                    pod = pod.name,
                    other = holder.name,
                    "two pods share a folder of runs: nothing starts in them"
                );
                shared.push(Shared { pods: [holder, pod.clone()], since: now });
            }
        }
        Holder::Lives(words)
    }

    /// Why nothing may start at a site: its pod shares its folder of runs with one of another site.
    pub(crate) fn failure(&self, role: Role, id: &ProjectId) -> Option<Condition> {
        let mut shared = lock(&self.shared);
        // Once one of them is gone the other has the folder alone.
        shared.retain(|one| one.pods.iter().all(|pod| self.living(&pod.uid).is_some()));
        shared.iter().find_map(|Shared { pods: [one, other], since }| {
            let with = match (is_of(one, role, id), is_of(other, role, id)) {
                (true, _) => other,
                (_, true) => one,
                (false, false) => return None,
            };
            let message = format!(
                "its folder of runs is that of pod {} too: give each pod a volume of its own for RDEV_RUNS_DIR (/run/rdev)",
                with.name
            );
            Some(Condition { reason: RUNS_SHARED.to_owned(), message, since: *since })
        })
    }

    /// The status of a site as it is shown.
    pub(crate) fn status(&self, role: Role, id: &ProjectId, status: ProjectStatus) -> ProjectStatus {
        match (status, self.failure(role, id)) {
            (ProjectStatus::Ready, Some(condition)) => ProjectStatus::Failing(condition),
            (status, _) => status,
        }
    }

    /// The pod of this uid while programs may run in it.
    fn living(&self, pod_uid: &str) -> Option<PodView> {
        self.registries.iter().find_map(|registry| registry.find(pod_uid)).filter(|pod| pod.over.is_none())
    }
}

/// The uid of the pod in which a folder of runs has got an identity.
pub(crate) fn pod_of(identity: &str) -> &str {
    identity.split('.').next().unwrap_or_default()
}

fn is_of(pod: &PodView, role: Role, id: &ProjectId) -> bool {
    pod.details.role == role && pod.details.project == *id
}
