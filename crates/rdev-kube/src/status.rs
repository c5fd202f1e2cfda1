//! Whether commands can run in a pod, from what the cluster says of it.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};
use rdev_domain::{Condition, ProjectStatus};

use crate::pod::{condition, over, time, told};

/// Reason of a project whose node does not answer.
pub(crate) const NODE_LOST: &str = "NodeLost";
/// Reasons of a waiting container that are part of every start.
const ON_ITS_WAY: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// What the status is made from.
pub(crate) struct Look<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) status: &'a PodStatus,
    /// The project's container in it.
    pub(crate) container: Option<&'a ContainerStatus>,
}

impl Look<'_> {
    pub(crate) fn status(&self) -> ProjectStatus {
        let ready = condition(self.status, "Ready");
        let since = ready.and_then(|ready| ready.last_transition_time.as_ref());
        let since = time(since.or(self.pod.metadata.creation_timestamp.as_ref()));
        let say = |reason: &str, message: &str| Condition {
            reason: reason.to_owned(),
            message: message.to_owned(),
            since,
        };
        if let Some(deleted) = &self.pod.metadata.deletion_timestamp {
            let since = time(Some(deleted));
            return ProjectStatus::Starting(Condition {
                since,
                ..say("Terminating", "its pod is being deleted")
            });
        }
        if let Some(trouble) = over(self.status) {
            let reason = self.status.reason.as_deref().or(self.status.phase.as_deref());
            return ProjectStatus::Failing(say(reason.unwrap_or("Failed"), &trouble.message));
        }
        if let Some(failing) = self.failing_init() {
            return ProjectStatus::Failing(say(&failing.0, &failing.1));
        }
        let state = self.container.and_then(|container| container.state.as_ref());
        if let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) {
            let reason = waiting.reason.as_deref().unwrap_or("Waiting");
            let condition = say(reason, waiting.message.as_deref().unwrap_or("its container waits"));
            return match ON_ITS_WAY.contains(&reason) {
                true => ProjectStatus::Starting(condition),
                false => ProjectStatus::Failing(condition),
            };
        }
        if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
            // It is started again; should that go on for long, it will wait in CrashLoopBackOff.
            let reason = ended.reason.as_deref().unwrap_or("Terminated");
            return ProjectStatus::Starting(say(reason, &told(ended)));
        }
        if state.and_then(|state| state.running.as_ref()).is_none() {
            return self.unscheduled(say);
        }
        match (self.container.is_some_and(|container| container.ready), ready) {
            (true, Some(ready)) if ready.status != "True" && self.node_is_lost(ready) => {
                let node = self.pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
                let message = format!("its node {} does not answer", node.unwrap_or("?"));
                ProjectStatus::Failing(say(NODE_LOST, &message))
            }
            (true, _) => ProjectStatus::Ready,
            (false, _) => {
                ProjectStatus::Starting(say("ContainersNotReady", "its container runs, and is not ready yet"))
            }
        }
    }

    /// The containers were ready when the node last spoke, and the node's guardian has marked the pod.
    fn node_is_lost(&self, ready: &PodCondition) -> bool {
        let containers = condition(self.status, "ContainersReady").is_some_and(|c| c.status == "True");
        containers && ready.reason.as_deref() != Some("ReadinessGatesNotReady")
    }

    fn failing_init(&self) -> Option<(String, String)> {
        self.status.init_container_statuses.iter().flatten().find_map(|init| {
            let state = init.state.as_ref()?;
            if let Some(waiting) = &state.waiting {
                let reason = waiting.reason.as_deref().filter(|reason| !ON_ITS_WAY.contains(reason))?;
                let last = init.last_state.as_ref().and_then(|last| last.terminated.as_ref()).map(told);
                let message = last.or_else(|| waiting.message.clone()).unwrap_or_default();
                return Some((format!("Init:{reason}"), format!("{}: {message}", init.name)));
            }
            let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
            let reason = ended.reason.as_deref().unwrap_or("Error");
            Some((format!("Init:{reason}"), format!("{}: {}", init.name, told(ended))))
        })
    }

    fn unscheduled(&self, say: impl Fn(&str, &str) -> Condition) -> ProjectStatus {
        match condition(self.status, "PodScheduled").filter(|scheduled| scheduled.status == "False") {
            Some(scheduled) => {
                let reason = scheduled.reason.as_deref().unwrap_or("Unschedulable");
                ProjectStatus::Failing(say(
                    reason,
                    scheduled.message.as_deref().unwrap_or("no node takes it"),
                ))
            }
            None => ProjectStatus::Starting(say("Pending", "its pod is being started")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::pod::PodView;

    use super::*;

    /// The status of a pod whose status is this JSON, as `word reason`.
    fn told_as(status: &str, more_metadata: &str) -> String {
        let pod = format!(
            r#"{{"metadata": {{"name": "p", "uid": "u", "labels": {{"app": "claudebox-demo"}}{more_metadata}}},
                "spec": {{"nodeName": "n1", "containers": [{{"name": "main"}}]}}, "status": {status}}}"#
        );
        let view = PodView::read(&serde_json::from_str(&pod).unwrap(), crate::labels::Role::Project).unwrap();
        match view.status {
            ProjectStatus::Ready => "ready".to_owned(),
            ProjectStatus::Starting(condition) => format!("starting {}", condition.reason),
            ProjectStatus::Failing(condition) => format!("failing {}", condition.reason),
            ProjectStatus::Gone(condition) => format!("gone {}", condition.reason),
        }
    }

    fn container(state: &str, ready: bool) -> String {
        format!(
            r#"[{{"name": "main", "image": "i", "imageID": "", "restartCount": 0, "ready": {ready}, "state": {state}}}]"#
        )
    }

    fn with(state: &str, ready: bool, conditions: &str) -> String {
        let containers = container(state, ready);
        format!(r#"{{"phase": "Running", "containerStatuses": {containers}, "conditions": {conditions}}}"#)
    }

    #[test]
    fn every_state_of_a_pod_has_its_word() {
        let running = r#"{"running": {}}"#;
        let ready = r#"[{"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}]"#;
        let node_gone =
            r#"[{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}]"#;
        let gate = r#"[{"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady"},
                       {"type": "ContainersReady", "status": "True"}]"#;
        let unscheduled = r#"{"phase": "Pending", "conditions":
            [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no room"}]}"#;
        let init = |state: &str| {
            let statuses = container(state, false).replace("main", "clone");
            format!(r#"{{"phase": "Pending", "initContainerStatuses": {statuses}}}"#)
        };
        let waiting = |reason: &str| format!(r#"{{"waiting": {{"reason": "{reason}"}}}}"#);
        let ended = r#"{"terminated": {"exitCode": 137, "reason": "OOMKilled"}}"#;
        for (status, word) in [
            ("{}".to_owned(), "starting Pending"),
            (unscheduled.to_owned(), "failing Unschedulable"),
            (with(&waiting("ContainerCreating"), false, "[]"), "starting ContainerCreating"),
            (with(&waiting("ImagePullBackOff"), false, "[]"), "failing ImagePullBackOff"),
            (with(&waiting("CrashLoopBackOff"), false, "[]"), "failing CrashLoopBackOff"),
            (with(ended, false, "[]"), "starting OOMKilled"),
            (with(running, false, "[]"), "starting ContainersNotReady"),
            (with(running, true, ready), "ready"),
            (with(running, true, "[]"), "ready"),
            (with(running, true, gate), "ready"),
            (with(running, true, node_gone), "failing NodeLost"),
            (init(r#"{"running": {}}"#), "starting Pending"),
            (init(&waiting("CrashLoopBackOff")), "failing Init:CrashLoopBackOff"),
            (init(r#"{"terminated": {"exitCode": 128}}"#), "failing Init:Error"),
            (init(r#"{"terminated": {"exitCode": 0}}"#), "starting Pending"),
            (r#"{"phase": "Failed", "reason": "Evicted", "message": "disk"}"#.to_owned(), "failing Evicted"),
            (r#"{"phase": "Succeeded"}"#.to_owned(), "failing Succeeded"),
        ] {
            assert_eq!(told_as(&status, ""), word, "{status}");
        }
        let deleted = r#", "deletionTimestamp": "2026-01-01T00:00:00Z""#;
        assert_eq!(told_as(&with(running, true, ready), deleted), "starting Terminating");
    }
}
