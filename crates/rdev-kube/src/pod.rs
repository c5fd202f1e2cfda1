//! What one look at a pod tells: nothing here asks the cluster.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rdev_domain::{Condition, Project, ProjectStatus, Reason, Timestamp};
use rdev_ports::Trouble;

use crate::labels::{Details, details};

/// Reasons of a waiting container that are part of every start.
const ON_ITS_WAY: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// A project's pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodView {
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) details: Details,
    /// Changes with every start of the container.
    pub(crate) container_id: String,
    pub(crate) created: Timestamp,
    pub(crate) terminating: bool,
    pub(crate) status: ProjectStatus,
    /// Its end, after which nothing runs in it again.
    pub(crate) over: Option<Trouble>,
    /// The last end of its container, which was or will be started again.
    pub(crate) interrupted: Option<(Timestamp, Trouble)>,
}

impl PodView {
    /// Reads a pod, or says why it cannot be a project.
    pub(crate) fn read(pod: &Pod) -> Result<Self, String> {
        let details = details(pod)?;
        let meta = &pod.metadata;
        let nothing = PodStatus::default();
        let status = pod.status.as_ref().unwrap_or(&nothing);
        let container = of_container(status.container_statuses.as_deref(), &details.container);
        Ok(Self {
            uid: meta.uid.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            container_id: container.and_then(|c| c.container_id.clone()).unwrap_or_default(),
            created: time(meta.creation_timestamp.as_ref()),
            terminating: meta.deletion_timestamp.is_some(),
            status: Look { pod, status, container }.status(),
            over: over(status),
            interrupted: container.and_then(interrupted),
            details,
        })
    }

    pub(crate) fn project(&self) -> Project {
        Project {
            id: self.details.project.clone(),
            status: self.status.clone(),
            workspace: self.details.workspace.clone(),
            repository: self.details.repository.clone(),
            description: self.details.description.clone(),
            default_agent: self.details.default_agent.clone(),
        }
    }

    /// Why commands in it ended with its deletion. `last` is the pod as it was then.
    pub(crate) fn deleted(last: &Pod) -> Trouble {
        let name = last.metadata.name.as_deref().unwrap_or_default();
        let nothing = PodStatus::default();
        let status = last.status.as_ref().unwrap_or(&nothing);
        if let Some(trouble) = over(status) {
            return trouble;
        }
        let disruption = condition(status, "DisruptionTarget").and_then(|c| c.reason.as_deref());
        match (disruption, status.reason.as_deref()) {
            (Some("DeletionByTaintManager"), _) | (_, Some("NodeLost")) => {
                Trouble::new(Reason::NodeLost, format!("the node of pod {name} was lost"))
            }
            (Some(reason), _) => {
                Trouble::new(Reason::PodEvicted, format!("pod {name} was evicted: {reason}"))
            }
            (None, _) => Trouble::new(Reason::PodLost, format!("pod {name} was deleted")),
        }
    }
}

/// What the status is made from.
struct Look<'a> {
    pod: &'a Pod,
    status: &'a PodStatus,
    container: Option<&'a ContainerStatus>,
}

impl Look<'_> {
    fn status(&self) -> ProjectStatus {
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
            return ProjectStatus::Failing(say(
                ended.reason.as_deref().unwrap_or("Terminated"),
                &told(ended),
            ));
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

/// Reason of a project whose node does not answer.
pub(crate) const NODE_LOST: &str = "NodeLost";

fn over(status: &PodStatus) -> Option<Trouble> {
    let message = status.message.as_deref().unwrap_or("its containers have ended");
    match (status.phase.as_deref(), status.reason.as_deref()) {
        (Some("Failed"), Some(reason @ ("Evicted" | "Preempting" | "Preempted"))) => {
            Some(Trouble::new(Reason::PodEvicted, format!("its pod was evicted ({reason}): {message}")))
        }
        (Some("Failed"), Some("NodeLost" | "NodeShutdown" | "Terminated")) => {
            Some(Trouble::new(Reason::NodeLost, format!("its node went away: {message}")))
        }
        (Some(phase @ ("Failed" | "Succeeded")), _) => {
            Some(Trouble::new(Reason::PodLost, format!("its pod is over ({phase}): {message}")))
        }
        _ => None,
    }
}

fn interrupted(container: &ContainerStatus) -> Option<(Timestamp, Trouble)> {
    let now = container.state.as_ref().and_then(|state| state.terminated.as_ref());
    let before = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let ended = now.or(before)?;
    let trouble = match ended.reason.as_deref() {
        Some("OOMKilled") => Trouble::new(
            Reason::OomKilled,
            "its container needed more memory than it may have, and was killed",
        ),
        _ => Trouble::new(Reason::PodRestarted, format!("its container ended: {}", told(ended))),
    };
    Some((time(ended.finished_at.as_ref()), trouble))
}

fn told(ended: &ContainerStateTerminated) -> String {
    let reason = ended.reason.as_deref().unwrap_or("ended");
    match ended.message.as_deref().map(str::trim).filter(|message| !message.is_empty()) {
        Some(message) => format!("{reason}, exit code {}: {message}", ended.exit_code),
        None => format!("{reason}, exit code {}", ended.exit_code),
    }
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

fn of_container<'a>(statuses: Option<&'a [ContainerStatus]>, name: &str) -> Option<&'a ContainerStatus> {
    statuses?.iter().find(|status| status.name == name)
}

fn time(time: Option<&Time>) -> Timestamp {
    Timestamp::from_micros(time.map_or(0, |time| time.0.as_microsecond()))
}
