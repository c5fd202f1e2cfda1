//! State of a pod, before it is rendered for Kubernetes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::clock;
use crate::pod_folder::PodFolder;

/// A pod.
pub(crate) struct PodState {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) created: Time,
    pub(crate) deletion: Option<Deletion>,
    pub(crate) containers: Vec<Container>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) path: Option<OsString>,
    /// `None` until a node is assigned.
    pub(crate) node: Option<String>,
    /// Node to assign.
    pub(crate) home_node: String,
    pub(crate) ip: String,
    pub(crate) evicted: Option<String>,
    pub(crate) node_lost: bool,
    /// Time of the last change of the Ready condition.
    pub(crate) ready_since: Time,
    pub(crate) pod_folder: Arc<PodFolder>,
}

pub(crate) struct Deletion {
    pub(crate) at: Time,
    pub(crate) grace: i64,
}

pub(crate) struct Container {
    pub(crate) name: String,
    /// An init container that runs beside the others.
    pub(crate) sidecar: bool,
    pub(crate) restarts: i32,
    pub(crate) ready: bool,
    pub(crate) state: Running,
    pub(crate) last: Option<Terminated>,
}

/// State of a container.
pub(crate) enum Running {
    Waiting { reason: String, message: Option<String> },
    Yes { id: String, since: Time },
    Ended(Terminated),
}

#[derive(Clone)]
pub(crate) struct Terminated {
    pub(crate) id: String,
    pub(crate) reason: String,
    pub(crate) exit_code: i32,
    pub(crate) started: Time,
    pub(crate) finished: Time,
}

impl Container {
    pub(crate) fn id(&self) -> Option<&str> {
        match &self.state {
            Running::Yes { id, .. } => Some(id),
            Running::Waiting { .. } | Running::Ended(_) => None,
        }
    }

    /// Starts the container.
    pub(crate) fn run(&mut self, pod_folder: &PodFolder) {
        let id = clock::new_container_id();
        pod_folder.begin(&self.name, &id);
        self.state = Running::Yes { id, since: clock::now() };
    }

    /// Ends the container; its processes were killed before.
    pub(crate) fn terminate(&mut self, reason: &str, exit_code: i32) {
        self.ready = false;
        let Running::Yes { id, since } = &self.state else { return };
        let terminated = Terminated {
            id: id.clone(),
            reason: reason.to_owned(),
            exit_code,
            started: since.clone(),
            finished: clock::now(),
        };
        self.state = Running::Ended(terminated);
    }
}

impl PodState {
    pub(crate) fn key(&self) -> (String, String) {
        (self.namespace.clone(), self.name.clone())
    }

    pub(crate) fn containers_ready(&self) -> bool {
        self.evicted.is_none() && self.containers.iter().all(|container| container.ready)
    }

    /// Returns the Ready condition: the node's silence makes it false, whatever the containers report.
    pub(crate) fn ready(&self) -> bool {
        self.containers_ready() && !self.node_lost
    }

    pub(crate) fn phase(&self) -> &'static str {
        if self.evicted.is_some() {
            return "Failed";
        }
        let started = |one: &Container| one.id().is_some() || one.restarts > 0 || one.last.is_some();
        if self.containers.iter().any(started) { "Running" } else { "Pending" }
    }
}
