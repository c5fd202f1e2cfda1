//! Which Kubernetes is doubled.

use std::ffi::OsString;
use std::time::Duration;

/// A subprotocol of exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecProtocol {
    /// Standard input ends only with the connection.
    V4,
    /// A channel can be closed, the connection stays.
    V5,
}

impl ExecProtocol {
    /// The name in `Sec-WebSocket-Protocol`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "v4.channel.k8s.io",
            Self::V5 => "v5.channel.k8s.io",
        }
    }
}

/// What exec over a WebSocket asks of the one who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecVerbs {
    /// `get` on `pods/exec`.
    Old,
    /// `get` and `create` on `pods/exec`: 1.35 and later.
    New,
}

/// How the server behaves. Start from a version, change what the test is about.
#[derive(Debug, Clone)]
pub struct Config {
    /// As `/version` tells it: major, minor.
    pub version: (u16, u16),
    /// The subprotocols that the server knows. It takes the first one offered that is here.
    pub exec_protocols: Vec<ExecProtocol>,
    /// What exec asks for.
    pub exec_verbs: ExecVerbs,
    /// With v5, errors of a pod's node (it is silent, the container does not run) come as a status over the
    /// connection, since the server has upgraded it before it asks the node: 1.30 and later. With v4, and
    /// where this is false, they are HTTP answers.
    pub late_node_errors: bool,
    /// Whether `sendInitialEvents` is understood; if not, it is answered with 422.
    pub streaming_lists: bool,
    /// Changes that are kept for watches; older resource versions get 410.
    pub history: usize,
    /// Between two bookmarks of a watch that wants them. One more comes with [`Cluster::bookmark`].
    ///
    /// [`Cluster::bookmark`]: crate::Cluster::bookmark
    pub bookmark_every: Duration,
    /// `PATH` of the processes in pods; without one, that of this process.
    pub path: Option<OsString>,
}

impl Config {
    /// Debian 12's: exec v4 only, no streaming lists.
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

    /// Exec v5, which needs `create` too.
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
