//! View of a pod, read from its object: no function here calls the cluster.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use rdev_domain::{Condition, Failure, Project, ProjectStatus, Reason, Timestamp};
use rdev_ports::PoolWorker;

use crate::fields::{condition, describe_exit, of_container, terminal_failure, time};
use crate::labels::{Details, Role, details};
use crate::status::pod_status;

/// Precision of times in the cluster: whole seconds.
const CLUSTER_TIME_STEP: Duration = Duration::from_secs(1);

/// View of the pod of a project or worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodView {
    pub(crate) uid: String,
    pub(crate) name: String,
    /// Node of the pod; empty while none is assigned.
    pub(crate) node: String,
    pub(crate) details: Details,
    /// Changes with every start of the container.
    pub(crate) container_id: String,
    /// The container runs, ready or not: programs started in it can be reached.
    pub(crate) runs: bool,
    pub(crate) created: Timestamp,
    pub(crate) terminating: bool,
    pub(crate) status: ProjectStatus,
    /// The final end of the pod: nothing runs in it again.
    pub(crate) over: Option<Failure>,
    /// Failure to report once the pod has vanished without a final event.
    pub(crate) failure_if_gone: Failure,
    /// The last end of its container, which was or will be restarted.
    pub(crate) interrupted: Option<Interruption>,
}

/// The end of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interruption {
    /// Id of the ended container.
    container: Option<String>,
    /// Time by rdev's clock where the watch has seen the end, else by the node's clock, which may be
    /// unknown.
    at: Option<Timestamp>,
    pub(crate) failure: Failure,
}

impl Interruption {
    /// Tells whether the end may have interrupted a program started at that time, by rdev's clock.
    pub(crate) fn is_after(&self, start: Timestamp) -> bool {
        self.at.is_none_or(|at| at + CLUSTER_TIME_STEP > start)
    }
}

impl PodView {
    /// Reads a pod, or returns why it cannot be a project or a worker.
    pub(crate) fn read(pod: &Pod, role: Role) -> Result<Self, String> {
        Ok(Self::of(pod, details(pod, role)?))
    }

    /// Reads a pod whose details are known.
    pub(crate) fn of(pod: &Pod, details: Details) -> Self {
        let meta = &pod.metadata;
        let nothing = PodStatus::default();
        let status = pod.status.as_ref().unwrap_or(&nothing);
        let container = of_container(status, &details.container);
        let runs = container.and_then(|container| container.state.as_ref()?.running.as_ref()).is_some();
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            runs,
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
            container_id: container.and_then(|c| c.container_id.clone()).unwrap_or_default(),
            created: time(meta.creation_timestamp.as_ref()),
            terminating: meta.deletion_timestamp.is_some(),
            status: pod_status(pod, status, container),
            over: terminal_failure(status),
            failure_if_gone: Self::deleted(pod),
            interrupted: container.and_then(interrupted),
            details,
        }
    }

    /// Returns the sort key by which a project's pod is chosen, smallest first: pods that stay, then the
    /// oldest.
    pub(crate) fn seniority(&self) -> (bool, bool, Timestamp, &str) {
        (self.over.is_some(), self.terminating, self.created, &self.name)
    }

    /// Tells whether nothing new may start in the pod: it terminates, or its containers have ended for
    /// good.
    pub(crate) fn is_going(&self) -> bool {
        self.terminating || self.over.is_some()
    }

    /// Returns the pod as it follows `before`. An end since then gets the time of rdev's clock: a node's
    /// clock may differ.
    pub(crate) fn after(mut self, before: Option<&Self>, now: Timestamp) -> Self {
        if let (Some(end), Some(before)) = (&mut self.interrupted, before) {
            let known = before.interrupted.as_ref().filter(|known| known.container == end.container);
            end.at = known.map_or(Some(now), |known| known.at);
        }
        self
    }

    pub(crate) fn project(&self) -> Project {
        Project {
            id: self.details.project.clone(),
            status: self.status.clone(),
            warning: None,
            workspace: self.details.workspace.clone(),
            repository: self.details.repository.clone(),
            description: self.details.description.clone(),
            default_agent: self.details.default_agent.clone(),
        }
    }

    /// Returns the worker of the pool with this status; a worker with an unreadable capacity takes no
    /// tasks, and reports why.
    pub(crate) fn worker(&self, status: ProjectStatus) -> Option<PoolWorker> {
        let (status, capacity) = match &self.details.capacity {
            Ok(capacity) => (status, *capacity),
            Err(why) => {
                let (reason, message) = ("InvalidCapacity".to_owned(), why.clone());
                (ProjectStatus::Failing(Condition { reason, message, since: self.created }), 0)
            }
        };
        let name = self.details.project.as_str().parse().ok()?;
        Some(PoolWorker { name, status, capacity, warning: None, leaves: self.is_going() })
    }

    /// Returns why jobs in the pod ended with its deletion. `last` is the pod's last known object.
    pub(crate) fn deleted(last: &Pod) -> Failure {
        let name = last.metadata.name.as_deref().unwrap_or_default();
        let nothing = PodStatus::default();
        let status = last.status.as_ref().unwrap_or(&nothing);
        if let Some(failure) = terminal_failure(status) {
            return failure;
        }
        let disruption = condition(status, "DisruptionTarget").and_then(|c| c.reason.as_deref());
        match (disruption, status.reason.as_deref()) {
            (Some("DeletionByTaintManager"), _) | (_, Some("NodeLost")) => {
                Failure::new(Reason::NodeLost, format!("the node of pod {name} was lost"))
            }
            (Some(reason), _) => {
                Failure::new(Reason::PodEvicted, format!("pod {name} was evicted: {reason}"))
            }
            (None, _) => Failure::new(Reason::PodLost, format!("pod {name} was deleted")),
        }
    }
}

fn interrupted(container: &ContainerStatus) -> Option<Interruption> {
    let now = container.state.as_ref().and_then(|state| state.terminated.as_ref());
    let before = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let ended = now.or(before)?;
    let failure = match ended.reason.as_deref() {
        Some("OOMKilled") => {
            Failure::new(Reason::OomKilled, "its container exceeded its memory limit and was killed")
        }
        _ => Failure::new(Reason::PodRestarted, format!("its container ended: {}", describe_exit(ended))),
    };
    // After a restart of its node the pod has no record of the end, only of the next start.
    let next = container.state.as_ref().and_then(|state| state.running.as_ref()?.started_at.as_ref());
    let at = ended.finished_at.as_ref().or(next).map(|at| time(Some(at)));
    Some(Interruption { container: ended.container_id.clone(), at, failure })
}

#[cfg(test)]
mod tests {
    use rdev_ports::testing::START;

    use super::*;

    fn pod(metadata: &str, status: &str) -> Pod {
        let text = format!(
            r#"{{"metadata": {{"name": "p", "uid": "u", {metadata}}}, "status": {status},
                "spec": {{"containers": [{{"name": "main"}}, {{"name": "side"}}]}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn read(metadata: &str) -> Result<PodView, String> {
        PodView::read(&pod(metadata, "{}"), Role::Project)
    }

    #[test]
    fn a_projects_id_comes_from_its_label_or_from_app() {
        let id = |labels: &str| {
            read(&format!(r#""labels": {{{labels}}}"#)).map(|view| view.details.project.to_string())
        };
        assert_eq!(id(r#""rdev.orchard9.ai/project-id": "one", "app": "claudebox-two""#).unwrap(), "one");
        assert_eq!(id(r#""app": "claudebox-two""#).unwrap(), "two");
        assert_eq!(id(r#""app": "three""#).unwrap(), "three");
        assert!(id("").unwrap_err().contains("rdev.orchard9.ai/project-id"));
        assert!(id(r#""app": "Not An Id""#).unwrap_err().contains("Not An Id"));
    }

    #[test]
    fn annotations_name_the_details() {
        let view = read(
            r#""labels": {"app": "x"}, "annotations": {
                "rdev.orchard9.ai/repository": "git@example.com:x.git", "rdev.orchard9.ai/workspace-path": "/src",
                "rdev.orchard9.ai/container": "side", "rdev.orchard9.ai/description": "d",
                "rdev.orchard9.ai/default-agent": "opencode"}"#,
        );
        let details = view.unwrap().details;
        assert_eq!((details.container.as_str(), details.workspace.as_str()), ("side", "/src"));
        assert_eq!(details.repository.as_deref(), Some("git@example.com:x.git"));
        assert_eq!(
            (details.description.as_deref(), details.default_agent.as_deref()),
            (Some("d"), Some("opencode"))
        );
        let plain = read(r#""labels": {"app": "x"}"#).unwrap().details;
        assert_eq!((plain.container.as_str(), plain.workspace.as_str()), ("main", "/workspace"));
        let wrong = read(r#""labels": {"app": "x"}, "annotations": {"rdev.orchard9.ai/container": "none"}"#);
        assert!(wrong.unwrap_err().contains("none"));
    }

    #[test]
    fn a_worker_runs_as_many_tasks_as_its_annotation_says() {
        let worker = |annotation: &str| {
            let metadata = format!(r#""annotations": {{{annotation}}}"#);
            PodView::read(&pod(&metadata, "{}"), Role::Worker).unwrap().worker(ProjectStatus::Ready).unwrap()
        };
        assert_eq!(worker("").capacity, 1);
        assert_eq!(worker(r#""rdev.orchard9.ai/capacity": "4""#).capacity, 4);
        for wrong in ["0", "-1", "65", "many", "1.5"] {
            let worker = worker(&format!(r#""rdev.orchard9.ai/capacity": "{wrong}""#));
            let why = worker.status.condition().unwrap();
            assert_eq!((worker.capacity, why.reason.as_str()), (0, "InvalidCapacity"));
            assert!(why.message.contains(&format!("{wrong:?}")), "{}", why.message);
        }
    }

    #[test]
    fn the_end_of_a_pod_has_an_honest_reason() {
        let disrupted = |reason: &str| {
            format!(
                r#"{{"conditions": [{{"type": "DisruptionTarget", "status": "True", "reason": "{reason}"}}]}}"#
            )
        };
        for (status, reason) in [
            ("{}".to_owned(), Reason::PodLost),
            (r#"{"phase": "Failed", "reason": "Evicted"}"#.to_owned(), Reason::PodEvicted),
            (disrupted("EvictionByEvictionAPI"), Reason::PodEvicted),
            (disrupted("DeletionByTaintManager"), Reason::NodeLost),
            (r#"{"reason": "NodeLost"}"#.to_owned(), Reason::NodeLost),
        ] {
            assert_eq!(PodView::deleted(&pod(r#""labels": {}"#, &status)).reason, reason, "{status}");
        }
    }

    /// Returns a pod whose container has ended in this way, and runs again.
    fn started_again(ended: &str) -> PodView {
        let status = format!(
            r#"{{"containerStatuses": [{{"name": "main", "image": "", "imageID": "", "restartCount": 1, "ready": true,
                "state": {{"running": {{}}}}, "lastState": {{"terminated": {{"exitCode": 137, {ended}}}}}}}]}}"#
        );
        PodView::read(&pod(r#""labels": {"app": "x"}"#, &status), Role::Project).unwrap()
    }

    #[test]
    fn a_restarted_container_has_the_reason_of_its_end() {
        let last = |reason: &str| {
            let ended = format!(r#""reason": "{reason}", "finishedAt": "2026-01-01T00:00:01Z""#);
            started_again(&ended).interrupted.unwrap()
        };
        assert_eq!(last("OOMKilled").failure.reason, Reason::OomKilled);
        let end = last("Error");
        assert_eq!(end.failure.reason, Reason::PodRestarted);
        assert_eq!(end.at.unwrap().to_string(), "2026-01-01T00:00:01.000000Z");
    }

    #[test]
    fn an_end_of_unknown_time_may_have_interrupted_anything() {
        let end =
            started_again(r#""reason": "ContainerStatusUnknown", "finishedAt": null"#).interrupted.unwrap();
        assert!(end.is_after(START));
    }

    #[test]
    fn an_observed_end_has_the_time_of_our_clock() {
        let second = Duration::from_secs(1);
        let of = |id: &str| {
            started_again(&format!(r#""containerID": "{id}", "finishedAt": "2020-01-01T00:00:01Z""#))
        };
        let before = PodView::read(&pod(r#""labels": {"app": "x"}"#, "{}"), Role::Project).unwrap();
        let seen = of("one").after(Some(&before), START);
        let again = of("one").after(Some(&seen), START + second * 10);
        for seen in [&seen, &again] {
            let end = seen.interrupted.as_ref().unwrap();
            assert!(end.is_after(START - second) && !end.is_after(START + second));
        }
        let next = of("two").after(Some(&again), START + second * 20).interrupted.unwrap();
        assert!(next.is_after(START + second * 10));
        // Without an observation of rdev's own, only the node's clock is known.
        assert!(!of("one").after(None, START).interrupted.unwrap().is_after(START));
    }
}
