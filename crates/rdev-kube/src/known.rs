//! The pods of one role that are known, and which of them is whose.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use rdev_domain::{Condition, Failure, Project, ProjectId, ProjectStatus, Timestamp};

use crate::pod::PodView;

/// Pods that are gone and whose end is remembered.
const GONE_MAX: usize = 4096;
/// How long a project without a pod is still shown.
pub(crate) const GONE_SHOWN: Duration = Duration::from_secs(600);
/// Reason of a project that has lost its pod.
const GONE: &str = "Gone";
/// Reason of a project whose pod belongs to it no more, and is there.
const TAKEN_OUT: &str = "TakenOut";
/// Warning on a project of which there is more than one pod.
const DUPLICATE_ID: &str = "DuplicateId";

/// The end of a pod that is gone.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) failure: Failure,
    /// When it was noticed.
    pub(crate) at: Timestamp,
    /// Its folder of runs is on a volume that the next pod has.
    pub(crate) runs_outlive: bool,
}

/// A project that its last pod has left.
struct Left {
    project: Project,
    /// The uid of that pod, which may be there still.
    pod: String,
}

/// Everything that is known.
#[derive(Default)]
pub(crate) struct Known {
    by_uid: HashMap<String, PodView>,
    /// Pods that are none of these any more, and may be there still: what was started in them is followed to its end.
    out: HashMap<String, PodView>,
    of_project: BTreeMap<ProjectId, Vec<String>>,
    /// Ends of pods that are gone, and their order.
    ends: HashMap<String, End>,
    ends_in_order: VecDeque<String>,
    /// Projects that have lost their last pod.
    gone: BTreeMap<ProjectId, Left>,
    /// Projects that are ready, and the pod in which they are.
    ready: HashMap<ProjectId, String>,
    /// Projects of more than one pod: each is complained of once.
    doubled: HashSet<ProjectId>,
    /// Projects that have become ready, and of which nobody was told yet.
    pub(crate) became_ready: Vec<ProjectId>,
}

impl Known {
    /// A pod of these, as it is now.
    pub(crate) fn put(&mut self, view: PodView, now: Timestamp) {
        let (uid, project) = (view.uid.clone(), view.details.project.clone());
        let view = view.after(self.find(&uid), now);
        self.out.remove(&uid);
        self.gone.remove(&project);
        let before = self.by_uid.insert(uid.clone(), view);
        if before.as_ref().is_none_or(|before| before.details.project != project) {
            self.of_project.entry(project.clone()).or_default().push(uid);
            if let Some(before) = before {
                let message = format!("pod {} is the project {project} by its label now", before.name);
                self.leave(&before, true, TAKEN_OUT, message, now);
            }
        }
        self.settle(&project);
    }

    /// A pod is none of these any more, and may be there still, as in `pod`. False: it was none.
    pub(crate) fn take_out(&mut self, uid: &str, pod: Option<&Pod>, why: &str, now: Timestamp) -> bool {
        let member = self.by_uid.remove(uid);
        let was_member = member.is_some();
        let Some(mut view) = member.or_else(|| self.out.remove(uid)) else { return false };
        if let Some(pod) = pod {
            view = PodView::of(pod, view.details.clone()).after(Some(&view), now);
        }
        self.leave(&view, was_member, TAKEN_OUT, format!("pod {} was taken out: {why}", view.name), now);
        self.out.insert(uid.to_owned(), view);
        true
    }

    /// A pod is none of these, and something was started in it.
    pub(crate) fn found(&mut self, view: PodView, now: Timestamp) {
        if self.find(&view.uid).is_none() {
            let message = format!("pod {} was taken out: it is a pod of this project no more", view.name);
            self.leave(&view, true, TAKEN_OUT, message, now);
            self.out.insert(view.uid.clone(), view);
        }
    }

    /// Something was started for this project in a pod that is another's by now.
    pub(crate) fn was_of(&mut self, uid: &str, id: &ProjectId, now: Timestamp) {
        let Some(view) = self.find(uid).filter(|view| view.details.project != *id) else { return };
        if !self.of_project.contains_key(id) && !self.gone.contains_key(id) {
            let mut view = view.clone();
            let message =
                format!("pod {} is the project {} by its label now", view.name, view.details.project);
            view.details.project = id.clone();
            self.leave(&view, true, TAKEN_OUT, message, now);
        }
    }

    /// A pod is not in the cluster any more.
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
        if let Some(view) = member.or_else(|| self.out.remove(uid)) {
            self.leave(&view, was_member, GONE, failure.message, now);
        }
    }

    /// The pod of this uid, one of these or not any more.
    pub(crate) fn find(&self, uid: &str) -> Option<&PodView> {
        self.by_uid.get(uid).or_else(|| self.out.get(uid))
    }

    /// Tells whether the pod of this uid is one of these.
    pub(crate) fn is_member(&self, uid: &str) -> bool {
        self.by_uid.contains_key(uid)
    }

    /// The end of a pod that is gone.
    pub(crate) fn end(&self, uid: &str) -> Option<&End> {
        self.ends.get(uid)
    }

    /// The pods, those that are none of these any more as well.
    pub(crate) fn all_and_out(&self) -> impl Iterator<Item = &PodView> {
        self.by_uid.values().chain(self.out.values())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &PodView> {
        self.by_uid.values()
    }

    /// The ids of projects that have a pod.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &ProjectId> {
        self.of_project.keys()
    }

    /// The oldest pod of a project, until it is to go: every process chooses the same, and what runs in it
    /// keeps its workspace to itself, whatever comes beside it.
    pub(crate) fn best(&self, id: &ProjectId) -> Option<&PodView> {
        self.of(id).min_by(|a, b| a.seniority().cmp(&b.seniority()))
    }

    /// A project that has a pod, or had one until lately.
    pub(crate) fn project(&self, id: &ProjectId) -> Option<Project> {
        let there = |pod: &PodView| Project { warning: self.warning(id), ..pod.project() };
        self.best(id).map(there).or_else(|| self.gone.get(id).map(|left| left.project.clone()))
    }

    /// Projects that have lost their last pod lately.
    pub(crate) fn gone(&self) -> impl Iterator<Item = &Project> {
        self.gone.values().map(|left| &left.project)
    }

    /// Forgets those that were shown long enough. While its pod is there a project stays known: something may run in it.
    pub(crate) fn forget_gone(&mut self, now: Timestamp) {
        let is_there = |uid: &str| self.by_uid.contains_key(uid) || self.out.contains_key(uid);
        self.gone.retain(|_, Left { project, pod }| {
            let ProjectStatus::Gone(condition) = &project.status else { return false };
            now.since(condition.since) <= GONE_SHOWN || is_there(pod)
        });
    }

    fn of(&self, id: &ProjectId) -> impl Iterator<Item = &PodView> {
        self.of_project.get(id).into_iter().flatten().filter_map(|uid| self.by_uid.get(uid))
    }

    /// Why there is not one pod of a project, but several that are to stay.
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

    /// A pod has left its project.
    fn leave(&mut self, view: &PodView, was_member: bool, reason: &str, message: String, now: Timestamp) {
        let id = &view.details.project;
        if let Some(uids) = self.of_project.get_mut(id) {
            uids.retain(|uid| *uid != view.uid);
            if uids.is_empty() {
                self.of_project.remove(id);
            }
        }
        let told = self.gone.get(id).and_then(|left| left.project.status.clone().condition());
        if !self.of_project.contains_key(id) && (was_member || told.is_some()) {
            let since = told.map_or(now, |told| told.since);
            let condition = Condition { reason: reason.to_owned(), message, since };
            let project = Project { status: ProjectStatus::Gone(condition), ..view.project() };
            self.gone.insert(project.id.clone(), Left { project, pod: view.uid.clone() });
        }
        self.settle(id);
    }

    /// The pods of a project are others, or stand otherwise.
    fn settle(&mut self, id: &ProjectId) {
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
        let ready = self.best(id).filter(|pod| pod.status == ProjectStatus::Ready).map(|pod| pod.uid.clone());
        let before = match &ready {
            Some(uid) => self.ready.insert(id.clone(), uid.clone()),
            None => self.ready.remove(id),
        };
        if ready.is_some() && ready != before {
            self.became_ready.push(id.clone());
        }
    }
}
