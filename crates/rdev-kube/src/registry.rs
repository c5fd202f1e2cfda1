//! Projects, or workers of the pool, in memory, as the watch reports them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::Stream;
use k8s_openapi::api::core::v1::Pod;
use rdev_domain::{Condition, Failure, Project, ProjectId, Reason, Timestamp};
use rdev_ports::Disruption;
use tokio::sync::watch;

use crate::broadcast::Broadcast;
use crate::cluster::CallError;
use crate::labels::{Role, details_as};
use crate::lock::lock;
use crate::pod::PodView;
use crate::pod_index::{End, PodIndex};

/// Message for a pod that has left the watch, before it was looked up.
const MISSING: &str = "it was deleted, or its label was taken off";

/// Pods of one role.
pub(crate) struct Registry {
    role: Role,
    pods: Mutex<Pods>,
    watch: watch::Sender<WatchState>,
    became_ready: Broadcast<ProjectId>,
}

/// State of the watch.
#[derive(Debug, Default)]
struct WatchState {
    /// True after the first complete list.
    synced: bool,
    /// The failure of the watch, while none works.
    failure: Option<WatchFailure>,
}

/// Failure of a watch.
#[derive(Debug, Clone)]
pub(crate) struct WatchFailure {
    pub(crate) since: Timestamp,
    /// The last error.
    pub(crate) why: Arc<CallError>,
}

#[derive(Default)]
struct Pods {
    index: PodIndex,
    /// Pods of the list in progress.
    listed: HashSet<String>,
    /// Pods that cannot be of this role, or no longer: each is logged once.
    refused: HashSet<String>,
}

/// A pod that has left the watch: it was deleted, or its label was removed.
#[derive(Debug)]
pub(crate) struct Unwatched {
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl Registry {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            pods: Mutex::default(),
            watch: watch::Sender::default(),
            became_ready: Broadcast::default(),
        }
    }

    /// Begins a new list.
    pub(crate) fn list_begins(&self) {
        self.pods().listed.clear();
    }

    /// Adds a pod of the list.
    pub(crate) fn listed(&self, pod: &Pod, now: Timestamp) {
        self.apply(pod, now);
        self.pods().listed.insert(uid_of(pod));
    }

    /// Ends the list. Pods that were not in it leave the registry; returns them for a lookup.
    pub(crate) fn list_ended(&self, now: Timestamp) -> Vec<Unwatched> {
        let missing = self.change(|pods| {
            let listed = std::mem::take(&mut pods.listed);
            let missing = pods.index.all_and_detached().filter(|pod| !listed.contains(&pod.uid));
            let missing = missing.map(|pod| Unwatched { name: pod.name.clone(), uid: pod.uid.clone() });
            let missing: Vec<Unwatched> = missing.collect();
            for pod in &missing {
                pods.index.detach(&pod.uid, None, MISSING, now);
            }
            missing
        });
        self.watch.send_modify(|watch| watch.synced = true);
        missing
    }

    /// Stores the current state of a pod.
    pub(crate) fn apply(&self, pod: &Pod, now: Timestamp) {
        let (uid, name) = (uid_of(pod), pod.metadata.name.as_deref().unwrap_or_default());
        let role = self.role;
        self.change(|pods| {
            let view = match role.chooses(pod) {
                true => PodView::read(pod, role),
                false => Err(format!("it no longer has the label {}", role.selector())),
            };
            match view {
                Ok(view) => {
                    pods.refused.remove(&uid);
                    pods.index.upsert(view, now);
                }
                Err(why) => {
                    let was_member = pods.index.detach(&uid, Some(pod), &why, now);
                    if (was_member || role.chooses(pod)) && pods.refused.insert(uid) {
                        tracing::warn!(pod = name, ?role, "nothing starts in this pod: {why}");
                    }
                }
            }
        });
    }

    /// Removes a pod that has left the watch; `last` is its last object. Returns the pod for a lookup
    /// when no deletion was requested: perhaps only its label was removed.
    pub(crate) fn deleted(&self, last: &Pod, now: Timestamp) -> Option<Unwatched> {
        let uid = uid_of(last);
        self.change(|pods| {
            if last.metadata.deletion_timestamp.is_some() {
                pods.refused.remove(&uid);
                pods.index.remove(&uid, PodView::deleted(last), now);
                return None;
            }
            let was_member = pods.index.detach(&uid, Some(last), MISSING, now);
            was_member.then(|| Unwatched { name: last.metadata.name.clone().unwrap_or_default(), uid })
        })
    }

    /// Records that the pod of this uid no longer exists in the cluster. The watch may have reported its end while the
    /// cluster was asked: that end names the cause, and stays.
    pub(crate) fn not_found(&self, uid: &str, now: Timestamp) {
        self.change(|pods| {
            if pods.index.find(uid).is_none() && pods.index.end(uid).is_some() {
                return;
            }
            let unknown = || Failure::new(Reason::PodLost, "its pod is gone");
            let failure = pods.index.find(uid).map_or_else(unknown, |pod| pod.failure_if_gone.clone());
            pods.refused.remove(uid);
            pods.index.remove(uid, failure, now);
        });
    }

    /// Adds a pod in which a job of this project was started, and which no longer belongs to the project.
    ///
    /// # Errors
    /// When the container of that job is unknown; the text has the reason.
    pub(crate) fn adopt(&self, pod: &Pod, project: ProjectId, now: Timestamp) -> Result<(), String> {
        let view = PodView::of(pod, details_as(pod, self.role, project)?);
        self.change(|pods| pods.index.adopt(view, now));
        Ok(())
    }

    /// Records that no watch works. Lists do not end that state.
    pub(crate) fn watch_failed(&self, why: CallError, now: Timestamp) {
        self.watch.send_modify(|watch| {
            let since = watch.failure.as_ref().map_or(now, |before| before.since);
            watch.failure = Some(WatchFailure { since, why: Arc::new(why) });
        });
    }

    /// Records that a watch works.
    pub(crate) fn watch_restored(&self) {
        self.watch.send_if_modified(|watch| watch.failure.take().is_some());
    }

    /// Returns the failure of the watch, if none works.
    pub(crate) fn watch_failure(&self) -> Option<WatchFailure> {
        self.watch.borrow().failure.clone()
    }

    /// Tells whether the first list is complete.
    pub(crate) fn is_synced(&self) -> bool {
        self.watch.borrow().synced
    }

    /// Returns a stream of projects whose pods become ready from now on. A slow subscriber misses some.
    pub(crate) fn became_ready(&self) -> impl Stream<Item = ProjectId> + Send + use<> {
        self.became_ready.subscribe()
    }

    /// Waits for the first list.
    pub(crate) async fn synced(&self) {
        let mut watch = self.watch.subscribe();
        // The registry owns the sender, so only the list ends the wait.
        watch.wait_for(|watch| watch.synced).await.map(drop).unwrap_or_default();
    }

    pub(crate) fn projects(&self, now: Timestamp) -> Vec<Project> {
        let mut pods = self.pods();
        pods.index.forget_gone(now);
        let index = &pods.index;
        let there = index.ids().filter_map(|id| index.project(id));
        let mut projects: Vec<Project> = there.chain(index.gone().cloned()).collect();
        projects.sort_by(|a, b| a.id.cmp(&b.id));
        projects
    }

    pub(crate) fn project(&self, id: &ProjectId, now: Timestamp) -> Option<Project> {
        let mut pods = self.pods();
        pods.index.forget_gone(now);
        pods.index.project(id)
    }

    /// Returns the pod in which jobs of the project start.
    pub(crate) fn pod_of(&self, id: &ProjectId) -> Option<PodView> {
        self.pods().index.primary(id).cloned()
    }

    /// Returns the pod of this uid, also one that has left the registry.
    pub(crate) fn find(&self, uid: &str) -> Option<PodView> {
        self.pods().index.find(uid).cloned()
    }

    /// Tells whether the watch reports the pod of this uid.
    pub(crate) fn watches(&self, uid: &str) -> bool {
        self.pods().index.is_member(uid)
    }

    /// Returns the end of the pod of this uid, if it is remembered.
    pub(crate) fn end(&self, uid: &str) -> Option<End> {
        self.pods().index.end(uid).cloned()
    }

    /// Returns all pods, for a diagnosis.
    pub(crate) fn all(&self) -> Vec<PodView> {
        self.pods().index.all().cloned().collect()
    }

    /// Returns a warning for each project with more than one pod, for a diagnosis.
    pub(crate) fn doubled(&self) -> Vec<Condition> {
        let pods = self.pods();
        pods.index.ids().filter_map(|id| pods.index.warning(id)).collect()
    }

    pub(crate) fn knows(&self, uid: &str) -> bool {
        self.pods().index.find(uid).is_some()
    }

    /// Returns the pod of each project in which jobs start, in the order of their ids.
    pub(crate) fn primaries(&self) -> Vec<PodView> {
        let pods = self.pods();
        pods.index.ids().filter_map(|id| pods.index.primary(id)).cloned().collect()
    }

    /// Returns the disruption of jobs that ran in the pod of this uid.
    pub(crate) fn disruption(&self, uid: &str, since: Timestamp) -> Disruption {
        let pods = self.pods();
        if let Some(pod) = pods.index.find(uid) {
            if let Some(failure) = &pod.over {
                return Disruption::Lost(failure.clone());
            }
            return match &pod.interrupted {
                Some(end) if end.is_after(since) => Disruption::Restarted(end.failure.clone()),
                _ => Disruption::Unknown,
            };
        }
        pods.index.end(uid).map_or(Disruption::Unknown, |end| Disruption::Lost(end.failure.clone()))
    }

    /// Records that a job of this project was started in the pod of this uid, whatever that pod is now.
    pub(crate) fn was_of(&self, uid: &str, id: &ProjectId, now: Timestamp) {
        self.change(|pods| pods.index.was_of(uid, id, now));
    }

    /// Changes the index, and broadcasts the projects that have become ready by the change.
    fn change<T>(&self, change: impl FnOnce(&mut Pods) -> T) -> T {
        let mut pods = self.pods();
        let done = change(&mut pods);
        for project in pods.index.became_ready.drain(..) {
            self.became_ready.send(project);
        }
        done
    }

    fn pods(&self) -> MutexGuard<'_, Pods> {
        lock(&self.pods)
    }
}

fn uid_of(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rdev_ports::testing::START;

    use super::*;

    /// A pod whose deletion was requested.
    fn deleted_pod() -> Pod {
        let text = r#"{"metadata": {"name": "p", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"rdev.orchard9.ai/project-id": "demo"}},
            "spec": {"containers": [{"name": "main"}]}, "status": {}}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_end_that_the_watch_has_reported_outlives_an_answer_that_nothing_is_found() {
        let registry = Registry::new(Role::Project);
        registry.apply(&deleted_pod(), START);
        assert!(registry.deleted(&deleted_pod(), START).is_none());
        registry.not_found("u", START);
        assert_eq!(registry.end("u").unwrap().failure.message, "pod p was deleted");
        // Of a pod that was never seen nothing else is known.
        registry.not_found("v", START);
        assert_eq!(registry.end("v").unwrap().failure.message, "its pod is gone");
    }
}
