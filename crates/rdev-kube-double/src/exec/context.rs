//! The container of an exec: the checks of its pod, and the errors of its node.

use std::ffi::OsString;
use std::sync::Arc;

use crate::http::answers::Failure;
use crate::http::call::Call;
use crate::inner::Inner;
use crate::pod_folder::PodFolder;
use crate::processes;
use crate::render::HOST_IP;
use crate::state::PodState;
use crate::store::Key;

/// Port of a kubelet.
const KUBELET_PORT: u16 = 10250;

/// The requested container, and the environment of its processes.
pub(super) struct ExecContext {
    pub(super) inner: Arc<Inner>,
    pub(super) pod: Key,
    pub(super) node: String,
    pub(super) pod_folder: Arc<PodFolder>,
    pub(super) container: String,
    pub(super) container_id: String,
    pub(super) env: Vec<(OsString, OsString)>,
}

/// Error of a node.
pub(super) struct NodeError {
    /// As an HTTP answer.
    pub(super) early: Failure,
    /// Over the upgraded connection.
    pub(super) late: Failure,
}

/// Checks the request. The outer error is the API server's, the inner one the node's.
pub(super) fn enter(
    pod: &PodState,
    wanted: Option<&str>,
    call: &Call,
) -> Result<Result<ExecContext, NodeError>, Failure> {
    let names = || pod.containers.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(" ");
    let container = match (wanted, pod.containers.as_slice()) {
        (Some(wanted), all) => all.iter().find(|one| one.name == wanted).ok_or_else(|| {
            Failure::bad_request(format!("container {wanted} is not valid for pod {}", pod.name))
        })?,
        (None, [one]) => one,
        (None, _) => {
            let (name, names) = (&pod.name, names());
            let message =
                format!("a container name must be specified for pod {name}, choose one of: [{names}]");
            return Err(Failure::bad_request(message));
        }
    };
    let Some(node) = pod.node.clone() else {
        return Err(Failure::bad_request(format!("pod {} does not have a host assigned", pod.name)));
    };
    if pod.node_lost {
        let dial = format!("dial tcp {HOST_IP}:{KUBELET_PORT}: connect: connection refused");
        let (namespace, name) = (&pod.namespace, &pod.name);
        let url = format!("https://{HOST_IP}:{KUBELET_PORT}/exec/{namespace}/{name}/{}", container.name);
        return Ok(Err(NodeError {
            early: Failure::no_backend(&format!("error dialing backend: {dial}")),
            late: Failure::internal(&format!("error sending request: Post \"{url}\": {dial}")),
        }));
    }
    let Some(id) = container.id().filter(|_| pod.evicted.is_none()) else {
        return Ok(Err(not_running(&container.name)));
    };
    let mut env: Vec<(OsString, OsString)> = vec![
        ("PATH".into(), pod.path.clone().unwrap_or_else(|| call.inner.path.clone())),
        ("HOSTNAME".into(), pod.name.clone().into()),
    ];
    env.extend(pod.env.iter().cloned());
    env.extend([
        (processes::CLUSTER.into(), call.inner.id.clone().into()),
        (processes::POD.into(), pod.uid.clone().into()),
        (processes::CONTAINER.into(), id.into()),
    ]);
    let (pod_folder, container_id) = (Arc::clone(&pod.pod_folder), id.to_owned());
    let (inner, pod, container) = (Arc::clone(&call.inner), pod.key(), container.name.clone());
    Ok(Ok(ExecContext { inner, pod, node, pod_folder, container, container_id, env }))
}

pub(super) fn not_running(container: &str) -> NodeError {
    let message = format!("container not found (\"{container}\")");
    NodeError {
        late: Failure::internal(&format!("unable to upgrade connection: {message}")),
        early: Failure::from_node(500, message),
    }
}
