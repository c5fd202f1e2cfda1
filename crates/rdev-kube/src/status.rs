//! Status of a pod, from the cluster's object.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rdev_domain::{Condition, ProjectStatus, Timestamp};

use crate::fields::{condition, describe_exit, terminal_failure, time};
use crate::labels::sidecars;

/// Reason of a project whose node does not answer.
pub(crate) const NODE_LOST: &str = "NodeLost";
/// Reasons of a waiting container that are part of every start.
const ON_ITS_WAY: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// Returns the status of a pod; `container` is the one in which jobs run.
pub(crate) fn pod_status(
    pod: &Pod,
    status: &PodStatus,
    container: Option<&ContainerStatus>,
) -> ProjectStatus {
    Input { pod, status, container }.status()
}

struct Input<'a> {
    pod: &'a Pod,
    status: &'a PodStatus,
    container: Option<&'a ContainerStatus>,
}

impl Input<'_> {
    fn status(&self) -> ProjectStatus {
        let ready = condition(self.status, "Ready");
        let since = ready.and_then(|ready| ready.last_transition_time.as_ref());
        let since = time(since.or(self.pod.metadata.creation_timestamp.as_ref()));
        let condition_of = |reason: &str, message: &str| Condition {
            reason: reason.to_owned(),
            message: message.to_owned(),
            since,
        };
        let over = terminal_failure(self.status);
        if over.is_none() && self.node_is_lost() {
            return ProjectStatus::Failing(condition_of(NODE_LOST, &self.lost_node()));
        }
        if let Some(since) = deletion_began(&self.pod.metadata) {
            let deleted = condition_of("Terminating", "its pod is being deleted");
            return ProjectStatus::Starting(Condition { since, ..deleted });
        }
        if let Some(failure) = over {
            let reason = self.status.reason.as_deref().or(self.status.phase.as_deref());
            return ProjectStatus::Failing(condition_of(reason.unwrap_or("Failed"), &failure.message));
        }
        if let Some(failing) = self.failing_init() {
            return ProjectStatus::Failing(condition_of(&failing.0, &failing.1));
        }
        let state = self.container.and_then(|container| container.state.as_ref());
        if let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) {
            let reason = waiting.reason.as_deref().unwrap_or("Waiting");
            let condition = condition_of(reason, waiting.message.as_deref().unwrap_or("its container waits"));
            return match ON_ITS_WAY.contains(&reason) {
                true => ProjectStatus::Starting(condition),
                false => ProjectStatus::Failing(condition),
            };
        }
        if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
            // The container is restarted; repeated failures lead to CrashLoopBackOff.
            let reason = ended.reason.as_deref().unwrap_or("Terminated");
            return ProjectStatus::Starting(condition_of(reason, &describe_exit(ended)));
        }
        if state.and_then(|state| state.running.as_ref()).is_none() {
            return self.unscheduled(condition_of);
        }
        match self.container.is_some_and(|container| container.ready) {
            true => ProjectStatus::Ready,
            false => ProjectStatus::Starting(condition_of(
                "ContainersNotReady",
                "its container runs, and is not ready yet",
            )),
        }
    }

    /// Tells whether the node is lost: the containers were ready at its last report, and the node
    /// controller has marked the pod. It later deletes the pod, which without the node never ends.
    fn node_is_lost(&self) -> bool {
        let container = self.container.filter(|container| container.ready);
        let runs = container.and_then(|container| container.state.as_ref()?.running.as_ref()).is_some();
        let containers = condition(self.status, "ContainersReady").is_some_and(|c| c.status == "True");
        let marked = condition(self.status, "Ready").is_some_and(|ready| {
            ready.status != "True" && ready.reason.as_deref() != Some("ReadinessGatesNotReady")
        });
        runs && containers && marked
    }

    fn lost_node(&self) -> String {
        let node = self.pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("?");
        let pod = self.pod.metadata.name.as_deref().unwrap_or("?");
        let lost = format!("its node {node} does not answer");
        match self.pod.metadata.deletion_timestamp {
            None => lost,
            Some(_) => format!(
                "{lost}, so the deletion of pod {pod} does not end, and no other replaces it. When the node is \
                 certainly off: kubectl delete pod {pod} --force, or \
                 kubectl taint node {node} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
            ),
        }
    }

    /// Returns an init container that fails while the project's container waits for it.
    fn failing_init(&self) -> Option<(String, String)> {
        let state = self.container.and_then(|container| container.state.as_ref());
        let waiting =
            state.and_then(|state| state.waiting.as_ref()).and_then(|waiting| waiting.reason.as_deref());
        let is_held_up = state.is_none_or(|state| *state == ContainerState::default())
            || waiting.is_some_and(|reason| ON_ITS_WAY.contains(&reason));
        if !is_held_up {
            return None;
        }
        let sidecars: Vec<&str> = sidecars(self.pod).map(|sidecar| &*sidecar.name).collect();
        self.status.init_container_statuses.iter().flatten().find_map(|init| {
            let state = init.state.as_ref()?;
            if let Some(waiting) = &state.waiting {
                let reason = waiting.reason.as_deref().filter(|reason| !ON_ITS_WAY.contains(reason))?;
                let last =
                    init.last_state.as_ref().and_then(|last| last.terminated.as_ref()).map(describe_exit);
                let message = last.or_else(|| waiting.message.clone()).unwrap_or_default();
                return Some((format!("Init:{reason}"), format!("{}: {message}", init.name)));
            }
            let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
            if sidecars.contains(&&*init.name) {
                // Restarted, as any container.
                return None;
            }
            let reason = ended.reason.as_deref().unwrap_or("Error");
            Some((format!("Init:{reason}"), format!("{}: {}", init.name, describe_exit(ended))))
        })
    }

    fn unscheduled(&self, condition_of: impl Fn(&str, &str) -> Condition) -> ProjectStatus {
        match condition(self.status, "PodScheduled").filter(|scheduled| scheduled.status == "False") {
            Some(scheduled) => {
                let reason = scheduled.reason.as_deref().unwrap_or("Unschedulable");
                ProjectStatus::Failing(condition_of(
                    reason,
                    scheduled.message.as_deref().unwrap_or("no node takes it"),
                ))
            }
            None => ProjectStatus::Starting(condition_of("Pending", "its pod is being started")),
        }
    }
}

/// Returns the time of the deletion request: `deletionTimestamp` is the time at which the pod has to have
/// ended.
fn deletion_began(meta: &ObjectMeta) -> Option<Timestamp> {
    let over = time(Some(meta.deletion_timestamp.as_ref()?));
    let grace = u64::try_from(meta.deletion_grace_period_seconds.unwrap_or_default()).unwrap_or_default();
    Some(over - Duration::from_secs(grace))
}

#[cfg(test)]
mod tests {
    use crate::fields::of_container;

    use super::*;

    /// Returns the status of a pod with this JSON: it has a container, an init container and a sidecar.
    fn status_of(status: &str, more_metadata: &str) -> ProjectStatus {
        let pod = format!(
            r#"{{"metadata": {{"name": "p", "uid": "u", "labels": {{"app": "claudebox-demo"}}{more_metadata}}},
                "spec": {{"nodeName": "n1", "containers": [{{"name": "main"}}], "initContainers":
                    [{{"name": "clone"}}, {{"name": "mesh", "restartPolicy": "Always"}}]}}, "status": {status}}}"#
        );
        let pod: Pod = serde_json::from_str(&pod).unwrap();
        let status = pod.status.as_ref().unwrap();
        pod_status(&pod, status, of_container(status, "main"))
    }

    /// Returns the status as `word reason`.
    fn describe(status: &str, more_metadata: &str) -> String {
        match status_of(status, more_metadata) {
            ProjectStatus::Ready | ProjectStatus::Deleting => "ready".to_owned(),
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
        let init_of = |name: &str, state: &str, main: &str| {
            let (inits, main) = (container(state, false).replace("main", name), container(main, true));
            format!(
                r#"{{"phase": "Pending", "initContainerStatuses": {inits}, "containerStatuses": {main}}}"#
            )
        };
        let init = |state: &str| init_of("clone", state, "{}");
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
            // A sidecar delays the container until it has started; later failures of the sidecar do not
            // count.
            (init_of("mesh", ended, &waiting("PodInitializing")), "starting PodInitializing"),
            (
                init_of("mesh", &waiting("CrashLoopBackOff"), &waiting("PodInitializing")),
                "failing Init:CrashLoopBackOff",
            ),
            (init_of("mesh", &waiting("CrashLoopBackOff"), &waiting("ErrImagePull")), "failing ErrImagePull"),
            (init_of("mesh", &waiting("CrashLoopBackOff"), running), "ready"),
            (init_of("mesh", ended, running), "ready"),
            (init_of("clone", ended, running), "ready"),
            (r#"{"phase": "Failed", "reason": "Evicted", "message": "disk"}"#.to_owned(), "failing Evicted"),
            (r#"{"phase": "Succeeded"}"#.to_owned(), "failing Succeeded"),
        ] {
            assert_eq!(describe(&status, ""), word, "{status}");
        }
    }

    #[test]
    fn a_deleted_pod_terminates_since_the_request() {
        let ready = r#"[{"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}]"#;
        let status = status_of(&with(r#"{"running": {}}"#, true, ready), DELETED);
        let ProjectStatus::Starting(condition) = status else { panic!("{status:?}") };
        assert_eq!(condition.reason, "Terminating");
        assert_eq!(condition.since.to_string(), "2026-01-01T00:00:00.000000Z");
        assert_eq!(describe(r#"{"phase": "Succeeded"}"#, DELETED), "starting Terminating");
    }

    #[test]
    fn a_deletion_blocked_by_a_lost_node_names_the_remedy() {
        for ready in ["False", "Unknown"] {
            let conditions = format!(
                r#"[{{"type": "Ready", "status": "{ready}"}}, {{"type": "ContainersReady", "status": "True"}}]"#
            );
            let status = status_of(&with(r#"{"running": {}}"#, true, &conditions), DELETED);
            let ProjectStatus::Failing(condition) = status else { panic!("{status:?}") };
            assert_eq!(condition.reason, NODE_LOST);
            for words in ["node n1", "kubectl delete pod p --force", "taint node n1", "out-of-service"] {
                assert!(condition.message.contains(words), "{words}: {}", condition.message);
            }
        }
    }

    /// Metadata of a pod that was deleted with an hour of grace.
    const DELETED: &str =
        r#", "deletionTimestamp": "2026-01-01T01:00:00Z", "deletionGracePeriodSeconds": 3600"#;
}
