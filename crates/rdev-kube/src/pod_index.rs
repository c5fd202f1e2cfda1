//! Index of the known pods of one role, and of the project that each belongs to.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use rdev_domain::{Condition, Failure, Project, ProjectId, ProjectStatus, Timestamp};

use crate::pod::PodView;

/// Most ended pods that are remembered.
const GONE_MAX: usize = 4096;
/// Time for which a project without a pod is still shown.
pub(crate) const GONE_SHOWN: Duration = Duration::from_secs(600);
/// Reason of a project that has lost its pod.
const GONE: &str = "Gone";
/// Reason of a project whose pod still exists, but no longer belongs to it.
const TAKEN_OUT: &str = "TakenOut";
/// Warning on a project with more than one pod.
const DUPLICATE_ID: &str = "DuplicateId";

/// The end of a pod that is gone.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) failure: Failure,
    /// Time at which rdev noticed the end.
    pub(crate) at: Timestamp,
    /// The folder of runs is on a volume that the next pod mounts.
    pub(crate) runs_outlive: bool,
}

/// A project without a pod.
struct GoneProject {
    project: Project,
    /// Uid of its last pod, which may still exist.
    pod: String,
}

/// The index.
#[derive(Default)]
pub(crate) struct PodIndex {
    by_uid: HashMap<String, PodView>,
    /// Pods that have left the role, and may still exist: jobs that started in them are followed to their
    /// end.
    detached: HashMap<String, PodView>,
    of_project: BTreeMap<ProjectId, Vec<String>>,
    /// Ends of pods that are gone, and their order.
    ends: HashMap<String, End>,
    ends_in_order: VecDeque<String>,
    /// Projects that have lost their last pod.
    gone: BTreeMap<ProjectId, GoneProject>,
    /// Projects that are ready, with the uid of their pod.
    ready: HashMap<ProjectId, String>,
    /// Projects with more than one pod: each is logged once.
    doubled: HashSet<ProjectId>,
    /// Projects that have become ready and have not been broadcast yet.
    pub(crate) became_ready: Vec<ProjectId>,
}

impl PodIndex {
    /// Stores the current state of a pod of this role.
    pub(crate) fn upsert(&mut self, view: PodView, now: Timestamp) {
        let (uid, project) = (view.uid.clone(), view.details.project.clone());
        let view = view.after(self.find(&uid), now);
        self.detached.remove(&uid);
        self.gone.remove(&project);
        let before = self.by_uid.insert(uid.clone(), view);
        if before.as_ref().is_none_or(|before| before.details.project != project) {
            self.of_project.entry(project.clone()).or_default().push(uid);
            if let Some(before) = before {
                let message = format!("the label of pod {} now names project {project}", before.name);
                self.remove_from_project(&before, true, TAKEN_OUT, message, now);
            }
        }
        self.update_project(&project);
    }

    /// Removes a pod from the role; it may still exist, as in `pod`. Returns false when the pod was not
    /// of the role.
    pub(crate) fn detach(&mut self, uid: &str, pod: Option<&Pod>, why: &str, now: Timestamp) -> bool {
        let member = self.by_uid.remove(uid);
        let was_member = member.is_some();
        let Some(mut view) = member.or_else(|| self.detached.remove(uid)) else { return false };
        if let Some(pod) = pod {
            view = PodView::of(pod, view.details.clone()).after(Some(&view), now);
        }
        self.remove_from_project(
            &view,
            was_member,
            TAKEN_OUT,
            format!("pod {} was taken out: {why}", view.name),
            now,
        );
        self.detached.insert(uid.to_owned(), view);
        true
    }

    /// Adds a pod that is not of the role, and in which a job was started.
    pub(crate) fn adopt(&mut self, view: PodView, now: Timestamp) {
        if self.find(&view.uid).is_none() {
            let message = format!("pod {} was taken out: it no longer belongs to this project", view.name);
            self.remove_from_project(&view, true, TAKEN_OUT, message, now);
            self.detached.insert(view.uid.clone(), view);
        }
    }

    /// Records that a job of this project was started in a pod that now belongs to another.
    pub(crate) fn was_of(&mut self, uid: &str, id: &ProjectId, now: Timestamp) {
        let Some(view) = self.find(uid).filter(|view| view.details.project != *id) else { return };
        if !self.of_project.contains_key(id) && !self.gone.contains_key(id) {
            let mut view = view.clone();
            let message =
                format!("the label of pod {} now names project {}", view.name, view.details.project);
            view.details.project = id.clone();
            self.remove_from_project(&view, true, TAKEN_OUT, message, now);
        }
    }

    /// Removes a pod that no longer exists in the cluster.
    pub(crate) fn remove(&mut self, uid: &str, failure: Failure, now: Timestamp) {
        let runs_outlive = self.find(uid).is_some_and(|pod| pod.details.runs_outlive);
        let end = End { failure: failure.clone(), at: now, runs_outlive };
        if self.ends.insert(uid.to_owned(), end).is_none() {
            self.ends_in_order.push_back(uid.to_owned());
        }
        while self.ends_in_order.len() > GONE_MAX {
            if let Some(oldest) = self.ends_in_order.pop_front() {
                self.ends.remove(&oldest);
            }
        }
        let member = self.by_uid.remove(uid);
        let was_member = member.is_some();
        if let Some(view) = member.or_else(|| self.detached.remove(uid)) {
            self.remove_from_project(&view, was_member, GONE, failure.message, now);
        }
    }

    /// Returns the pod of this uid, also one that has left the role.
    pub(crate) fn find(&self, uid: &str) -> Option<&PodView> {
        self.by_uid.get(uid).or_else(|| self.detached.get(uid))
    }

    /// Tells whether the pod of this uid has the role.
    pub(crate) fn is_member(&self, uid: &str) -> bool {
        self.by_uid.contains_key(uid)
    }

    /// Returns the end of a pod that is gone.
    pub(crate) fn end(&self, uid: &str) -> Option<&End> {
        self.ends.get(uid)
    }

    /// Returns all pods, also those that have left the role.
    pub(crate) fn all_and_detached(&self) -> impl Iterator<Item = &PodView> {
        self.by_uid.values().chain(self.detached.values())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &PodView> {
        self.by_uid.values()
    }

    /// Returns the ids of projects that have a pod.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &ProjectId> {
        self.of_project.keys()
    }

    /// Returns the oldest pod of a project that does not terminate: every process chooses the same, and a
    /// job in it keeps its workspace to itself, whatever pod is added.
    pub(crate) fn primary(&self, id: &ProjectId) -> Option<&PodView> {
        self.of(id).min_by(|a, b| a.seniority().cmp(&b.seniority()))
    }

    /// Returns a project that has a pod, or had one until recently.
    pub(crate) fn project(&self, id: &ProjectId) -> Option<Project> {
        let there = |pod: &PodView| Project { warning: self.warning(id), ..pod.project() };
        self.primary(id).map(there).or_else(|| self.gone.get(id).map(|left| left.project.clone()))
    }

    /// Returns projects that have recently lost their last pod.
    pub(crate) fn gone(&self) -> impl Iterator<Item = &Project> {
        self.gone.values().map(|left| &left.project)
    }

    /// Forgets projects that were shown long enough. A project stays known while its pod exists: a job
    /// may run in it.
    pub(crate) fn forget_gone(&mut self, now: Timestamp) {
        let is_there = |uid: &str| self.by_uid.contains_key(uid) || self.detached.contains_key(uid);
        self.gone.retain(|_, GoneProject { project, pod }| {
            let ProjectStatus::Gone(condition) = &project.status else { return false };
            now.since(condition.since) <= GONE_SHOWN || is_there(pod)
        });
    }

    fn of(&self, id: &ProjectId) -> impl Iterator<Item = &PodView> {
        self.of_project.get(id).into_iter().flatten().filter_map(|uid| self.by_uid.get(uid))
    }

    /// Returns a warning when several pods of a project stay.
    pub(crate) fn warning(&self, id: &ProjectId) -> Option<Condition> {
        let mut live: Vec<&PodView> = self.of(id).filter(|pod| !pod.is_going()).collect();
        live.sort_by(|a, b| a.seniority().cmp(&b.seniority()));
        let [first, second, ..] = live[..] else { return None };
        let names: Vec<&str> = live.iter().map(|pod| pod.name.as_str()).collect();
        let message = format!(
            "the pods {} all have the id {id}: commands run in {}, the oldest, until it is deleted",
            names.join(", "),
            first.name
        );
        Some(Condition { reason: DUPLICATE_ID.to_owned(), message, since: second.created })
    }

    /// Removes a pod from its project.
    fn remove_from_project(
        &mut self,
        view: &PodView,
        was_member: bool,
        reason: &str,
        message: String,
        now: Timestamp,
    ) {
        let id = &view.details.project;
        if let Some(uids) = self.of_project.get_mut(id) {
            uids.retain(|uid| *uid != view.uid);
            if uids.is_empty() {
                self.of_project.remove(id);
            }
        }
        let before = self.gone.get(id).and_then(|left| left.project.status.clone().condition());
        if !self.of_project.contains_key(id) && (was_member || before.is_some()) {
            let since = before.map_or(now, |before| before.since);
            let condition = Condition { reason: reason.to_owned(), message, since };
            let project = Project { status: ProjectStatus::Gone(condition), ..view.project() };
            self.gone.insert(project.id.clone(), GoneProject { project, pod: view.uid.clone() });
        }
        self.update_project(id);
    }

    /// Updates readiness and warnings of a project after a change of its pods.
    fn update_project(&mut self, id: &ProjectId) {
        match self.warning(id) {
            Some(warning) => {
                if self.doubled.insert(id.clone()) {
                    tracing::warn!(project = %id, "{}", warning.message);
                }
            }
            None => {
                self.doubled.remove(id);
            }
        }
        let ready =
            self.primary(id).filter(|pod| pod.status == ProjectStatus::Ready).map(|pod| pod.uid.clone());
        let before = match &ready {
            Some(uid) => self.ready.insert(id.clone(), uid.clone()),
            None => self.ready.remove(id),
        };
        if ready.is_some() && ready != before {
            self.became_ready.push(id.clone());
        }
    }
}
