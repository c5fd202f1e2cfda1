//! The doubled version of Kubernetes.

use std::ffi::OsString;
use std::time::Duration;

/// Subprotocol of exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecProtocol {
    /// Standard input ends only with the connection.
    V4,
    /// A channel can be closed while the connection stays.
    V5,
}

impl ExecProtocol {
    /// Returns the name in `Sec-WebSocket-Protocol`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "v4.channel.k8s.io",
            Self::V5 => "v5.channel.k8s.io",
        }
    }
}

/// Permissions that exec over a WebSocket requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecVerbs {
    /// `get` on `pods/exec`.
    Old,
    /// `get` and `create` on `pods/exec`: 1.35 and later.
    New,
}

/// Behaviour of the server. Start from a version, and change the field under test.
#[derive(Debug, Clone)]
pub struct Config {
    /// Version in `/version`: major, minor.
    pub version: (u16, u16),
    /// Subprotocols of the server. It takes the first offered one in this list.
    pub exec_protocols: Vec<ExecProtocol>,
    /// Permissions that exec requires.
    pub exec_verbs: ExecVerbs,
    /// With v5, errors of a pod's node (a silent node, a stopped container) arrive as a status over the
    /// connection, since the server has upgraded it before it contacts the node: 1.30 and later. With v4,
    /// and where this is false, they are HTTP answers.
    pub late_node_errors: bool,
    /// True where `sendInitialEvents` is supported; otherwise the answer is 422.
    pub streaming_lists: bool,
    /// Changes that are kept for watches; older resource versions get 410.
    pub history: usize,
    /// Interval of bookmarks on a watch that requested them. [`Cluster::bookmark`] sends one more.
    ///
    /// [`Cluster::bookmark`]: crate::Cluster::bookmark
    pub bookmark_every: Duration,
    /// `PATH` of the processes in pods; by default that of this process.
    pub path: Option<OsString>,
}

impl Config {
    /// Kubernetes of Debian 12: exec v4 only, no streaming lists.
    pub fn kubernetes_1_20() -> Self {
        Self {
            version: (1, 20),
            exec_protocols: vec![ExecProtocol::V4],
            exec_verbs: ExecVerbs::Old,
            late_node_errors: false,
            streaming_lists: false,
            ..Self::kubernetes_1_35()
        }
    }

    /// Exec v5, which requires `create` too.
    pub fn kubernetes_1_35() -> Self {
        Self {
            version: (1, 35),
            exec_protocols: vec![ExecProtocol::V5, ExecProtocol::V4],
            exec_verbs: ExecVerbs::New,
            late_node_errors: true,
            streaming_lists: true,
            history: 4096,
            bookmark_every: Duration::from_secs(60),
            path: None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::kubernetes_1_35()
    }
}
