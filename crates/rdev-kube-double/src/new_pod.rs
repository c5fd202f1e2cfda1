//! Description of a pod to add.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// A pod to add: by default running and ready, with one container `main`.
#[derive(Debug, Clone)]
pub struct NewPod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) containers: Vec<String>,
    pub(crate) sidecars: Vec<String>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) path: Option<OsString>,
    pub(crate) node: Option<String>,
    pub(crate) runs: Option<PathBuf>,
    pub(crate) beginning: Beginning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    Unscheduled,
    Creating,
    Unready,
    Ready,
}

impl NewPod {
    /// Describes a pod of this name.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            containers: Vec::new(),
            sidecars: Vec::new(),
            env: Vec::new(),
            path: None,
            node: None,
            runs: None,
            beginning: Beginning::Ready,
        }
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds a container; the first call replaces `main`.
    #[must_use]
    pub fn container(mut self, name: &str) -> Self {
        self.containers.push(name.to_owned());
        self
    }

    /// Adds an init container that runs beside the others, with `restartPolicy: Always`.
    #[must_use]
    pub fn sidecar(mut self, name: &str) -> Self {
        self.sidecars.push(name.to_owned());
        self
    }

    /// Adds a variable to the environment of its processes.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets `PATH` of its processes.
    #[must_use]
    pub fn path(mut self, path: impl AsRef<OsStr>) -> Self {
        self.path = Some(path.as_ref().to_owned());
        self
    }

    /// Sets the node of the pod; by default all pods share one.
    #[must_use]
    pub fn node(mut self, name: &str) -> Self {
        self.node = Some(name.to_owned());
        self
    }

    /// Sets the folder of runs, as on a claim: it exists before the pod and stays after it, and other
    /// pods may share it.
    #[must_use]
    pub fn runs(mut self, folder: impl AsRef<Path>) -> Self {
        self.runs = Some(folder.as_ref().to_owned());
        self
    }

    /// Starts with running containers that are not ready yet.
    #[must_use]
    pub fn unready(mut self) -> Self {
        self.beginning = Beginning::Unready;
        self
    }

    /// Starts with containers that are being created. [`PodHandle::run`] starts them.
    ///
    /// [`PodHandle::run`]: crate::PodHandle::run
    #[must_use]
    pub fn starting(mut self) -> Self {
        self.beginning = Beginning::Creating;
        self
    }

    /// Starts without a node. [`PodHandle::run`] assigns one.
    ///
    /// [`PodHandle::run`]: crate::PodHandle::run
    #[must_use]
    pub fn unscheduled(mut self) -> Self {
        self.beginning = Beginning::Unscheduled;
        self
    }
}
