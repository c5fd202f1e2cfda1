//! Ready pods of the projects whose commands have come last: commands of these start with their claim, which saves each a
//! transaction.

use std::collections::VecDeque;

use rdev_domain::{ProjectId, Target};
use rdev_ports::{Claim, Pod, PodRef, Pods, Readiness, ReadyProject};

/// Maximum number of projects whose pods are looked at before a claim.
const PROJECTS_MAX: usize = 64;

/// Projects whose commands have come last.
#[derive(Debug, Default)]
pub(crate) struct RecentProjects(VecDeque<ProjectId>);

impl RecentProjects {
    /// Remembers the project of a job.
    pub(crate) fn note(&mut self, target: &Target) {
        if let Target::Project(project) = target
            && !self.0.contains(project)
        {
            self.0.push_back(project.clone());
            if self.0.len() > PROJECTS_MAX {
                self.0.pop_front();
            }
        }
    }

    /// Remembers these projects as well, and returns the pods that are ready.
    pub(crate) async fn ready(&mut self, pods: &dyn Pods, projects: Vec<ProjectId>) -> ReadyPods {
        projects.into_iter().for_each(|project| self.note(&Target::Project(project)));
        let mut ready = Vec::new();
        for project in &self.0 {
            // Whatever keeps a pod from being ready is told when one of its jobs is run.
            if let Ok(Some(Readiness::Ready(pod))) = pods.readiness(&PodRef::Project(project.clone())).await {
                ready.push((project.clone(), pod));
            }
        }
        ReadyPods(ready)
    }
}

/// Pods that were ready just now, by their projects.
#[derive(Debug, Default)]
pub(crate) struct ReadyPods(Vec<(ProjectId, Pod)>);

impl ReadyPods {
    /// Returns the projects, for a claim.
    pub(crate) fn projects(&self) -> Vec<ReadyProject> {
        let ready = |(project, pod): &(ProjectId, Pod)| ReadyProject {
            project: project.clone(),
            pod_uid: pod.uid.clone(),
        };
        self.0.iter().map(ready).collect()
    }

    /// Returns the pod in which a job has started with its claim.
    pub(crate) fn pod_of(&self, claim: &Claim) -> Option<Pod> {
        let (start, target) = (claim.start.as_ref()?, claim.job.target());
        let is_its = |(project, pod): &&(ProjectId, Pod)| {
            pod.uid == start.pod_uid && target == Target::Project(project.clone())
        };
        self.0.iter().find(is_its).map(|(_, pod)| pod.clone())
    }
}
