//! A pod as Kubernetes writes it.

use k8s_openapi::api::core::v1::{
    Container as ContainerSpec, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, HostIP, HostPathVolumeSource, Pod, PodCondition, PodIP, PodSpec,
    PodStatus, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::state::{Container, PodState, Running, Terminated};

pub(crate) const IMAGE: &str = "registry.example/double:1";
/// Name of a volume with runs.
const RUNS: &str = "runs";
const IMAGE_ID: &str =
    "registry.example/double@sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
pub(crate) const NODE: &str = "node-1";
pub(crate) const HOST_IP: &str = "192.0.2.11";

impl PodState {
    pub(crate) fn render(&self) -> Pod {
        let deletion = self.deletion.as_ref();
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(self.namespace.clone()),
            uid: Some(self.uid.clone()),
            labels: Some(self.labels.clone()).filter(|labels| !labels.is_empty()),
            annotations: Some(self.annotations.clone()).filter(|annotations| !annotations.is_empty()),
            creation_timestamp: Some(self.created.clone()),
            deletion_timestamp: deletion.map(|deletion| deletion.at.clone()),
            deletion_grace_period_seconds: deletion.map(|deletion| deletion.grace),
            ..ObjectMeta::default()
        };
        let runs = self.pod_folder.runs_elsewhere();
        let mounts = runs.map(|_| {
            vec![VolumeMount {
                name: RUNS.to_owned(),
                mount_path: "/run/rdev".to_owned(),
                ..VolumeMount::default()
            }]
        });
        let volumes = runs.map(|folder| {
            let host_path = HostPathVolumeSource { path: folder.display().to_string(), type_: None };
            vec![Volume { name: RUNS.to_owned(), host_path: Some(host_path), ..Volume::default() }]
        });
        let containers = |sidecars: bool| {
            let some = self.containers.iter().filter(move |container| container.sidecar == sidecars);
            let spec =
                |container: &Container| ContainerSpec { volume_mounts: mounts.clone(), ..container.spec() };
            some.map(spec).collect::<Vec<_>>()
        };
        let spec = PodSpec {
            volumes,
            containers: containers(false),
            init_containers: Some(containers(true)).filter(|sidecars| !sidecars.is_empty()),
            node_name: self.node.clone(),
            restart_policy: Some("Always".to_owned()),
            termination_grace_period_seconds: Some(30),
            ..PodSpec::default()
        };
        Pod { metadata, spec: Some(spec), status: Some(self.status()) }
    }

    fn status(&self) -> PodStatus {
        let phase = Some(self.phase().to_owned());
        if let Some(message) = &self.evicted {
            return PodStatus {
                phase,
                reason: Some("Evicted".to_owned()),
                message: Some(message.clone()),
                start_time: Some(self.created.clone()),
                ..PodStatus::default()
            };
        }
        let statuses = |sidecars: bool| {
            let some = self.containers.iter().filter(move |container| container.sidecar == sidecars);
            some.map(Container::render).collect::<Vec<_>>()
        };
        let reason = self.node_lost.then(|| "NodeLost".to_owned());
        let message = self
            .node_lost
            .then(|| format!("Node {NODE} which was running pod {} is unresponsive", self.name));
        let host = self.node.as_ref().map(|_| HOST_IP.to_owned());
        let ip = self.node.as_ref().map(|_| self.ip.clone());
        PodStatus {
            phase,
            reason,
            message,
            conditions: Some(self.conditions()),
            container_statuses: Some(statuses(false)),
            init_container_statuses: Some(statuses(true)).filter(|sidecars| !sidecars.is_empty()),
            host_ips: host.clone().map(|ip| vec![HostIP { ip }]),
            host_ip: host,
            pod_ips: ip.clone().map(|ip| vec![PodIP { ip }]),
            pod_ip: ip,
            qos_class: Some("BestEffort".to_owned()),
            start_time: self.node.as_ref().map(|_| self.created.clone()),
            ..PodStatus::default()
        }
    }

    fn conditions(&self) -> Vec<PodCondition> {
        let not_ready: Vec<_> = self
            .containers
            .iter()
            .filter(|container| !container.ready)
            .map(|container| container.name.as_str())
            .collect();
        let unready = Some((
            "ContainersNotReady",
            format!("containers with unready status: [{}]", not_ready.join(" ")),
        ));
        let lost = Some(("NodeStatusUnknown", "Kubelet stopped posting node status.".to_owned()));
        let containers_ready = self.containers_ready();
        let since = &self.ready_since;
        vec![
            condition("Initialized", true, &self.created, None),
            condition("Ready", self.ready(), since, if containers_ready { lost } else { unready.clone() }),
            condition("ContainersReady", containers_ready, since, unready),
            condition("PodScheduled", self.node.is_some(), &self.created, None),
        ]
    }
}

/// Returns a condition; `why` is the reason of a false one.
fn condition(kind: &str, holds: bool, since: &Time, why: Option<(&str, String)>) -> PodCondition {
    let (reason, message) = why.filter(|_| !holds).unzip();
    PodCondition {
        type_: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        last_transition_time: Some(since.clone()),
        reason: reason.map(str::to_owned),
        message,
        ..PodCondition::default()
    }
}

impl Container {
    fn spec(&self) -> ContainerSpec {
        ContainerSpec {
            name: self.name.clone(),
            image: Some(IMAGE.to_owned()),
            restart_policy: self.sidecar.then(|| "Always".to_owned()),
            ..ContainerSpec::default()
        }
    }

    fn render(&self) -> ContainerStatus {
        let id = match (&self.state, &self.last) {
            (Running::Yes { id, .. }, _) | (Running::Ended(Terminated { id, .. }), _) => Some(id),
            (Running::Waiting { .. }, last) => last.as_ref().map(|last| &last.id),
        };
        let state = match &self.state {
            Running::Waiting { reason, message } => ContainerState {
                waiting: Some(ContainerStateWaiting {
                    reason: Some(reason.clone()),
                    message: message.clone(),
                }),
                ..ContainerState::default()
            },
            Running::Yes { since, .. } => ContainerState {
                running: Some(ContainerStateRunning { started_at: Some(since.clone()) }),
                ..ContainerState::default()
            },
            Running::Ended(terminated) => terminated.render(),
        };
        ContainerStatus {
            name: self.name.clone(),
            image: IMAGE.to_owned(),
            image_id: id.map(|_| IMAGE_ID.to_owned()).unwrap_or_default(),
            container_id: id.map(|id| format!("containerd://{id}")),
            ready: self.ready,
            started: Some(self.id().is_some()),
            restart_count: self.restarts,
            last_state: self.last.as_ref().map(Terminated::render),
            state: Some(state),
            ..ContainerStatus::default()
        }
    }
}

impl Terminated {
    fn render(&self) -> ContainerState {
        let terminated = ContainerStateTerminated {
            container_id: Some(format!("containerd://{}", self.id)),
            exit_code: self.exit_code,
            reason: Some(self.reason.clone()),
            started_at: Some(self.started.clone()),
            finished_at: Some(self.finished.clone()),
            ..ContainerStateTerminated::default()
        };
        ContainerState { terminated: Some(terminated), ..ContainerState::default() }
    }
}
