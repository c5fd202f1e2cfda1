//! The projects, or the workers of the pool, as the watch tells them, in memory.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use k8s_openapi::api::core::v1::Pod;
use rdev_domain::{Condition, Project, ProjectId, ProjectStatus, Reason, Timestamp, Trouble};
use rdev_ports::{Fate, PoolWorker};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use crate::cluster::CallError;
use crate::labels::Role;
use crate::pod::PodView;

/// Pods that are gone and whose end is remembered.
const GONE_MAX: usize = 4096;
/// Pods that have become ready, and of which somebody has yet to hear.
const READY_MAX: usize = 4096;
/// How long a project without a pod is still shown.
const GONE_SHOWN: Duration = Duration::from_secs(600);

/// The projects' pods.
pub(crate) struct Registry {
    role: Role,
    pods: Mutex<Pods>,
    link: watch::Sender<Link>,
    became_ready: broadcast::Sender<ProjectId>,
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
    by_uid: HashMap<String, PodView>,
    of_project: BTreeMap<ProjectId, Vec<String>>,
    /// Pods of the list that is coming in.
    listed: HashSet<String>,
    /// Ends of pods that are gone, and their order.
    ends: HashMap<String, Trouble>,
    ends_in_order: VecDeque<String>,
    /// Projects that have lost their last pod.
    gone: BTreeMap<ProjectId, Project>,
    /// Pods that cannot be projects: each is complained of once.
    refused: HashSet<String>,
}

impl Registry {
    pub(crate) fn new(role: Role) -> Self {
        let became_ready = broadcast::Sender::new(READY_MAX);
        Self { role, pods: Mutex::default(), link: watch::Sender::default(), became_ready }
    }

    /// A new list begins.
    pub(crate) fn list_begins(&self) {
        self.pods().listed.clear();
    }

    /// A pod of the list.
    pub(crate) fn listed(&self, pod: &Pod, now: Timestamp) {
        if let Some(uid) = self.apply(pod, now) {
            self.pods().listed.insert(uid);
        }
    }

    /// The list is whole: what was not in it is gone.
    pub(crate) fn list_ended(&self, now: Timestamp) {
        let mut pods = self.pods();
        let listed = std::mem::take(&mut pods.listed);
        let gone: Vec<String> = pods.by_uid.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
        for uid in gone {
            let name = pods.by_uid.get(&uid).map(|pod| pod.name.clone()).unwrap_or_default();
            pods.remove(&uid, Trouble::new(Reason::PodLost, format!("pod {name} was deleted")), now);
        }
        drop(pods);
        self.link.send_modify(|link| link.synced = true);
    }

    /// A pod as it is now; gives its uid if it is a project's.
    pub(crate) fn apply(&self, pod: &Pod, now: Timestamp) -> Option<String> {
        let mut pods = self.pods();
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        match PodView::read(pod, self.role) {
            Ok(view) => {
                let view = view.after(pods.by_uid.get(&uid), now);
                pods.refused.remove(&uid);
                let is_ready = |view: &PodView| view.status == ProjectStatus::Ready;
                if is_ready(&view) && !pods.by_uid.get(&uid).is_some_and(is_ready) {
                    // Nobody listens while no worker works here.
                    self.became_ready.send(view.details.project.clone()).unwrap_or_default();
                }
                pods.put(view);
                Some(uid)
            }
            Err(why) => {
                if pods.refused.insert(uid.clone()) {
                    let pod = pod.metadata.name.as_deref().unwrap_or_default();
                    let role = self.role;
                    tracing::warn!(pod, ?role, "this pod is labelled so, and cannot be one: {why}");
                }
                pods.remove(&uid, Trouble::new(Reason::PodLost, why), now);
                None
            }
        }
    }

    /// A pod is gone; as it was at the last.
    pub(crate) fn deleted(&self, last: &Pod, now: Timestamp) {
        let uid = last.metadata.uid.clone().unwrap_or_default();
        let mut pods = self.pods();
        pods.refused.remove(&uid);
        pods.remove(&uid, PodView::deleted(last), now);
    }

    /// A pod of that uid is not in the cluster any more.
    pub(crate) fn not_found(&self, uid: &str, now: Timestamp) {
        let trouble = Trouble::new(Reason::PodLost, "its pod was deleted");
        self.pods().remove(uid, trouble, now);
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
        unfold(self.became_ready.subscribe(), |mut ready| async {
            loop {
                match ready.recv().await {
                    Ok(id) => return Some((id, ready)),
                    Err(RecvError::Lagged(_)) => {}
                    // Nothing will be told any more, which is no news.
                    Err(RecvError::Closed) => pending::<()>().await,
                }
            }
        })
    }

    /// Waits for the first list.
    pub(crate) async fn synced(&self) {
        let mut link = self.link.subscribe();
        // The sender is ours, so this ends with the list alone.
        link.wait_for(|link| link.synced).await.map(drop).unwrap_or_default();
    }

    pub(crate) fn projects(&self, now: Timestamp) -> Vec<Project> {
        let mut pods = self.pods();
        pods.forget_gone(now);
        let there = pods.of_project.keys().filter_map(|id| pods.best(id)).map(PodView::project);
        let mut projects: Vec<Project> = there.chain(pods.gone.values().cloned()).collect();
        projects.sort_by(|a, b| a.id.cmp(&b.id));
        projects
    }

    pub(crate) fn project(&self, id: &ProjectId, now: Timestamp) -> Option<Project> {
        let mut pods = self.pods();
        pods.forget_gone(now);
        pods.best(id).map(PodView::project).or_else(|| pods.gone.get(id).cloned())
    }

    /// The pod in which commands of the project run.
    pub(crate) fn pod_of(&self, id: &ProjectId) -> Option<PodView> {
        self.pods().best(id).cloned()
    }

    /// The pod of this uid.
    pub(crate) fn pod(&self, uid: &str) -> Option<PodView> {
        self.pods().by_uid.get(uid).cloned()
    }

    /// All pods, for an examination.
    pub(crate) fn all(&self) -> Vec<PodView> {
        self.pods().by_uid.values().cloned().collect()
    }

    pub(crate) fn knows(&self, uid: &str) -> bool {
        self.pods().by_uid.contains_key(uid)
    }

    /// The workers, by name. One that is gone is none: another pod has another name.
    pub(crate) fn workers(&self, now: Timestamp) -> Vec<PoolWorker> {
        let mut pods = self.pods();
        pods.forget_gone(now);
        pods.of_project.keys().filter_map(|id| pods.best(id)?.worker()).collect()
    }

    /// Whether the pod of this uid is, or was, one of these.
    pub(crate) fn remembers(&self, uid: &str) -> bool {
        let pods = self.pods();
        pods.by_uid.contains_key(uid) || pods.ends.contains_key(uid)
    }

    /// What became of programs that ran in the pod of this uid.
    pub(crate) fn fate(&self, uid: &str, since: Timestamp) -> Fate {
        let pods = self.pods();
        if let Some(pod) = pods.by_uid.get(uid) {
            if let Some(trouble) = &pod.over {
                return Fate::Gone(trouble.clone());
            }
            return match &pod.interrupted {
                Some(end) if end.is_after(since) => Fate::Interrupted(end.trouble.clone()),
                _ => Fate::Unknown,
            };
        }
        if let Some(trouble) = pods.ends.get(uid) {
            return Fate::Gone(trouble.clone());
        }
        match self.is_synced() {
            true => Fate::Gone(Trouble::new(Reason::PodLost, "its pod is gone")),
            false => Fate::Unknown,
        }
    }

    fn pods(&self) -> MutexGuard<'_, Pods> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pods {
    fn put(&mut self, view: PodView) {
        let (uid, project) = (view.uid.clone(), view.details.project.clone());
        self.gone.remove(&project);
        let before = self.by_uid.insert(uid.clone(), view);
        if before.as_ref().is_none_or(|before| before.details.project != project) {
            if let Some(before) = before {
                self.unlink(&before);
            }
            self.of_project.entry(project).or_default().push(uid);
        }
    }

    fn remove(&mut self, uid: &str, trouble: Trouble, now: Timestamp) {
        let Some(view) = self.by_uid.remove(uid) else { return };
        self.unlink(&view);
        if self.ends.insert(uid.to_owned(), trouble.clone()).is_none() {
            self.ends_in_order.push_back(uid.to_owned());
        }
        while self.ends_in_order.len() > GONE_MAX {
            if let Some(oldest) = self.ends_in_order.pop_front() {
                self.ends.remove(&oldest);
            }
        }
        if !self.of_project.contains_key(&view.details.project) {
            let condition = Condition { reason: "Gone".to_owned(), message: trouble.message, since: now };
            let project = Project { status: ProjectStatus::Gone(condition), ..view.project() };
            self.gone.insert(project.id.clone(), project);
        }
    }

    fn unlink(&mut self, view: &PodView) {
        let project = &view.details.project;
        if let Some(uids) = self.of_project.get_mut(project) {
            uids.retain(|uid| *uid != view.uid);
            if uids.is_empty() {
                self.of_project.remove(project);
            }
        }
    }

    /// Of several pods of a project one that is ready, and stays; of these the newest.
    fn best(&self, id: &ProjectId) -> Option<&PodView> {
        let pods = self.of_project.get(id)?.iter().filter_map(|uid| self.by_uid.get(uid));
        pods.max_by_key(|pod| {
            let ready = pod.status == ProjectStatus::Ready;
            (ready, !pod.terminating && pod.over.is_none(), pod.created)
        })
    }

    fn forget_gone(&mut self, now: Timestamp) {
        self.gone.retain(|_, project| {
            let ProjectStatus::Gone(condition) = &project.status else { return false };
            now.since(condition.since) <= GONE_SHOWN
        });
    }
}
