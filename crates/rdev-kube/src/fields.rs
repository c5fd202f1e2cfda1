//! Fields of a pod's status.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rdev_domain::{Failure, Reason, Timestamp};

/// Returns the end of a pod in which nothing will run again; `None` for any other pod.
pub(crate) fn terminal_failure(status: &PodStatus) -> Option<Failure> {
    let message = status.message.as_deref().unwrap_or("its containers have ended");
    match (status.phase.as_deref(), status.reason.as_deref()) {
        (Some("Failed"), Some(reason @ ("Evicted" | "Preempting" | "Preempted"))) => {
            Some(Failure::new(Reason::PodEvicted, format!("its pod was evicted ({reason}): {message}")))
        }
        (Some("Failed"), Some("NodeLost" | "NodeShutdown" | "Terminated")) => {
            Some(Failure::new(Reason::NodeLost, format!("its node went away: {message}")))
        }
        (Some(phase @ ("Failed" | "Succeeded")), _) => {
            Some(Failure::new(Reason::PodLost, format!("its pod has ended ({phase}): {message}")))
        }
        _ => None,
    }
}

pub(crate) fn describe_exit(ended: &ContainerStateTerminated) -> String {
    let reason = ended.reason.as_deref().unwrap_or("ended");
    match ended.message.as_deref().map(str::trim).filter(|message| !message.is_empty()) {
        Some(message) => format!("{reason}, exit code {}: {message}", ended.exit_code),
        None => format!("{reason}, exit code {}", ended.exit_code),
    }
}

pub(crate) fn condition<'a>(status: &'a PodStatus, kind: &str) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

pub(crate) fn of_container<'a>(status: &'a PodStatus, name: &str) -> Option<&'a ContainerStatus> {
    let statuses = [&status.container_statuses, &status.init_container_statuses];
    statuses.into_iter().flatten().flatten().find(|status| status.name == name)
}

pub(crate) fn time(time: Option<&Time>) -> Timestamp {
    Timestamp::from_micros(time.map_or(0, |time| time.0.as_microsecond()))
}
