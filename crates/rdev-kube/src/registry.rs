//! The projects, or the workers of the pool, as the watch tells them, in memory.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::Stream;
use k8s_openapi::api::core::v1::Pod;
use rdev_domain::{Condition, Failure, Project, ProjectId, Reason, Timestamp};
use rdev_ports::Disruption;
use tokio::sync::watch;

use crate::cluster::CallError;
use crate::known::{End, Known};
use crate::labels::{Role, details_as};
use crate::lock::lock;
use crate::news::News;
use crate::pod::PodView;

/// A pod that the watch does not tell of any more, before it was looked at.
const MISSING: &str = "it was deleted, or its label was taken off";

/// The projects' pods.
pub(crate) struct Registry {
    role: Role,
    pods: Mutex<Pods>,
    link: watch::Sender<Link>,
    became_ready: News<ProjectId>,
}

/// How the watch stands.
#[derive(Debug, Default)]
struct Link {
    /// The list has been whole at least once.
    synced: bool,
    /// No watch could be had since then.
    blind: Option<Blind>,
}

/// Pods are not watched.
#[derive(Debug, Clone)]
pub(crate) struct Blind {
    pub(crate) since: Timestamp,
    /// As it was told last.
    pub(crate) why: Arc<CallError>,
}

#[derive(Default)]
struct Pods {
    known: Known,
    /// Pods of the list that is coming in.
    listed: HashSet<String>,
    /// Pods that cannot be projects, or are not any more: each is complained of once.
    refused: HashSet<String>,
}

/// A pod that the watch does not tell of any more: it was deleted, or its label was taken off.
#[derive(Debug)]
pub(crate) struct Unseen {
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl Registry {
    pub(crate) fn new(role: Role) -> Self {
        Self { role, pods: Mutex::default(), link: watch::Sender::default(), became_ready: News::default() }
    }

    /// A new list begins.
    pub(crate) fn list_begins(&self) {
        self.pods().listed.clear();
    }

    /// A pod of the list.
    pub(crate) fn listed(&self, pod: &Pod, now: Timestamp) {
        self.apply(pod, now);
        self.pods().listed.insert(uid_of(pod));
    }

    /// The list is whole. What was not in it is one of these no more; those are to be looked at.
    pub(crate) fn list_ended(&self, now: Timestamp) -> Vec<Unseen> {
        let missing = self.change(|pods| {
            let listed = std::mem::take(&mut pods.listed);
            let missing = pods.known.all_and_out().filter(|pod| !listed.contains(&pod.uid));
            let missing = missing.map(|pod| Unseen { name: pod.name.clone(), uid: pod.uid.clone() });
            let missing: Vec<Unseen> = missing.collect();
            for pod in &missing {
                pods.known.take_out(&pod.uid, None, MISSING, now);
            }
            missing
        });
        self.link.send_modify(|link| link.synced = true);
        missing
    }

    /// A pod as it is now.
    pub(crate) fn apply(&self, pod: &Pod, now: Timestamp) {
        let (uid, name) = (uid_of(pod), pod.metadata.name.as_deref().unwrap_or_default());
        let role = self.role;
        self.change(|pods| {
            let view = match role.chooses(pod) {
                true => PodView::read(pod, role),
                false => Err(format!("it does not have the label {} any more", role.selector())),
            };
            match view {
                Ok(view) => {
                    pods.refused.remove(&uid);
                    pods.known.put(view, now);
                }
                Err(why) => {
                    let was_known = pods.known.take_out(&uid, Some(pod), &why, now);
                    if (was_known || role.chooses(pod)) && pods.refused.insert(uid) {
                        tracing::warn!(pod = name, ?role, "nothing is started in this pod: {why}");
                    }
                }
            }
        });
    }

    /// The watch tells of a pod no more, as it was at the last. One that nobody was deleting may have lost its label
    /// alone: it is to be looked at.
    pub(crate) fn deleted(&self, last: &Pod, now: Timestamp) -> Option<Unseen> {
        let uid = uid_of(last);
        self.change(|pods| {
            if last.metadata.deletion_timestamp.is_some() {
                pods.refused.remove(&uid);
                pods.known.remove(&uid, PodView::deleted(last), now);
                return None;
            }
            let was_known = pods.known.take_out(&uid, Some(last), MISSING, now);
            was_known.then(|| Unseen { name: last.metadata.name.clone().unwrap_or_default(), uid })
        })
    }

    /// The pod of that uid is not in the cluster any more.
    pub(crate) fn not_found(&self, uid: &str, now: Timestamp) {
        self.change(|pods| {
            let unknown = || Failure::new(Reason::PodLost, "its pod is gone");
            let failure = pods.known.find(uid).map_or_else(unknown, |pod| pod.should_it_be_gone.clone());
            pods.refused.remove(uid);
            pods.known.remove(uid, failure, now);
        });
    }

    /// A pod in which something was started for this project, and which is none of these by now.
    ///
    /// # Errors
    /// Why nobody can say in which of its containers that was.
    pub(crate) fn found(&self, pod: &Pod, project: ProjectId, now: Timestamp) -> Result<(), String> {
        let view = PodView::of(pod, details_as(pod, self.role, project)?);
        self.change(|pods| pods.known.found(view, now));
        Ok(())
    }

    /// No watch can be had. Lists do not end that.
    pub(crate) fn blind(&self, why: CallError, now: Timestamp) {
        self.link.send_modify(|link| {
            let since = link.blind.as_ref().map_or(now, |before| before.since);
            link.blind = Some(Blind { since, why: Arc::new(why) });
        });
    }

    /// A watch has begun.
    pub(crate) fn seeing(&self) {
        self.link.send_if_modified(|link| link.blind.take().is_some());
    }

    /// Since when, and why, pods are not watched.
    pub(crate) fn is_blind(&self) -> Option<Blind> {
        self.link.borrow().blind.clone()
    }

    /// Whether the first list has come.
    pub(crate) fn is_synced(&self) -> bool {
        self.link.borrow().synced
    }

    /// Tells of those whose pods become ready from now on. A listener that is far behind misses some.
    pub(crate) fn became_ready(&self) -> impl Stream<Item = ProjectId> + Send + use<> {
        self.became_ready.listen()
    }

    /// Waits for the first list.
    pub(crate) async fn synced(&self) {
        let mut link = self.link.subscribe();
        // The sender is ours, so this ends with the list alone.
        link.wait_for(|link| link.synced).await.map(drop).unwrap_or_default();
    }

    pub(crate) fn projects(&self, now: Timestamp) -> Vec<Project> {
        let mut pods = self.pods();
        pods.known.forget_gone(now);
        let known = &pods.known;
        let there = known.ids().filter_map(|id| known.project(id));
        let mut projects: Vec<Project> = there.chain(known.gone().cloned()).collect();
        projects.sort_by(|a, b| a.id.cmp(&b.id));
        projects
    }

    pub(crate) fn project(&self, id: &ProjectId, now: Timestamp) -> Option<Project> {
        let mut pods = self.pods();
        pods.known.forget_gone(now);
        pods.known.project(id)
    }

    /// The pod in which commands of the project are started.
    pub(crate) fn pod_of(&self, id: &ProjectId) -> Option<PodView> {
        self.pods().known.best(id).cloned()
    }

    /// The pod of this uid, one of these or not any more.
    pub(crate) fn find(&self, uid: &str) -> Option<PodView> {
        self.pods().known.find(uid).cloned()
    }

    /// Tells whether the watch tells of the pod of this uid.
    pub(crate) fn watches(&self, uid: &str) -> bool {
        self.pods().known.is_member(uid)
    }

    /// The end of the pod of this uid, if it is remembered.
    pub(crate) fn end(&self, uid: &str) -> Option<End> {
        self.pods().known.end(uid).cloned()
    }

    /// All pods, for an examination.
    pub(crate) fn all(&self) -> Vec<PodView> {
        self.pods().known.all().cloned().collect()
    }

    /// Projects of more than one pod, for an examination.
    pub(crate) fn doubled(&self) -> Vec<Condition> {
        let pods = self.pods();
        pods.known.ids().filter_map(|id| pods.known.warning(id)).collect()
    }

    pub(crate) fn knows(&self, uid: &str) -> bool {
        self.pods().known.find(uid).is_some()
    }

    /// The pods in which commands run, in the order of their ids.
    pub(crate) fn bests(&self) -> Vec<PodView> {
        let pods = self.pods();
        pods.known.ids().filter_map(|id| pods.known.best(id)).cloned().collect()
    }

    /// What became of programs that ran in the pod of this uid.
    pub(crate) fn disruption(&self, uid: &str, since: Timestamp) -> Disruption {
        let pods = self.pods();
        if let Some(pod) = pods.known.find(uid) {
            if let Some(failure) = &pod.over {
                return Disruption::Lost(failure.clone());
            }
            return match &pod.interrupted {
                Some(end) if end.is_after(since) => Disruption::Restarted(end.failure.clone()),
                _ => Disruption::Unknown,
            };
        }
        pods.known.end(uid).map_or(Disruption::Unknown, |end| Disruption::Lost(end.failure.clone()))
    }

    /// Something was started for this project in the pod of this uid, whatever that is by now.
    pub(crate) fn was_of(&self, uid: &str, id: &ProjectId, now: Timestamp) {
        self.change(|pods| pods.known.was_of(uid, id, now));
    }

    /// Changes what is known, and tells of the projects that have become ready by it.
    fn change<T>(&self, change: impl FnOnce(&mut Pods) -> T) -> T {
        let mut pods = self.pods();
        let done = change(&mut pods);
        for project in pods.known.became_ready.drain(..) {
            self.became_ready.tell(project);
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
