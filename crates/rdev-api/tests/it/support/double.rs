//! A double of a cluster, one for each server: its pods are folders of this machine, with real processes.

use std::path::PathBuf;

use rdev_kube_double::{Access, Cluster, NewPod, PodHandle, ServiceAccount, rule};

use super::places::{DEMO, MASTER_KEY};

const NAMESPACE: &str = "rdev";
/// Git configuration of the system in a project's pod.
const GIT_CONFIG: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../deployments/k8s/components/claudebox/gitconfig");

/// Starts a server as in a pod: it has the files of its service account and the address of the API server, and no
/// kubeconfig. The files are there for it alone. Who is not root needs user namespaces for that.
pub(crate) const IN_A_POD: &str = r#"
    server=$(sed -n 's|^ *server: https://||p' "$KUBECONFIG") account=$(dirname "$KUBECONFIG")/serviceaccount
    export KUBERNETES_SERVICE_HOST=${server%:*} KUBERNETES_SERVICE_PORT=${server##*:}
    unset KUBECONFIG RDEV_RUNTIME
    unshare --mount true 2>/dev/null || user=--map-root-user
    exec unshare $user --mount bash -ec '
        mount -t tmpfs tmpfs /var/run
        mkdir -p /var/run/secrets/kubernetes.io/serviceaccount
        mount --bind "$1" /var/run/secrets/kubernetes.io/serviceaccount
        exec "$0"
    ' "$0" "$account"
"#;

pub(crate) struct Double {
    cluster: Cluster,
    account: ServiceAccount,
    env: Vec<(String, String)>,
}

impl Double {
    pub(super) async fn make(env: Vec<(String, String)>) -> Self {
        let cluster = Cluster::start().await.expect("the double starts");
        let rules = vec![
            rule("", &["pods"], &["get", "list", "watch"]),
            rule("", &["pods/exec"], &["get", "create"]),
        ];
        let access = Access::nothing().role(NAMESPACE, rules);
        let account = cluster.service_account("serviceaccount", NAMESPACE, access);
        Self { account: account.expect("its files can be written"), cluster, env }
    }

    pub(super) fn server_env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("RDEV_RUNTIME", "kubernetes".to_owned()),
            ("RDEV_NAMESPACE", NAMESPACE.to_owned()),
            ("RDEV_MASTER_KEY", MASTER_KEY.to_owned()),
            ("KUBECONFIG", self.cluster.kubeconfig().display().to_string()),
        ]
    }

    pub(crate) fn add_project(&self, id: &str) {
        self.add_project_as(id, |new| new);
    }

    /// Adds a project whose pod is as it is told to be.
    pub(crate) fn add_project_as(&self, id: &str, shape: impl FnOnce(NewPod) -> NewPod) -> PodHandle {
        self.add_pod_as(id, id, shape)
    }

    /// Adds a pod of a project.
    pub(crate) fn add_pod(&self, name: &str, id: &str) -> PodHandle {
        self.add_pod_as(name, id, |new| new)
    }

    fn add_pod_as(&self, name: &str, id: &str, shape: impl FnOnce(NewPod) -> NewPod) -> PodHandle {
        let new = NewPod::new(NAMESPACE, name)
            .label("rdev.orchard9.ai/project", "true")
            .label("rdev.orchard9.ai/project-id", id)
            .container("claudebox")
            .env("GIT_CONFIG_SYSTEM", GIT_CONFIG)
            .unready();
        let new = self.env.iter().fold(new, |new, (name, value)| match name.as_str() {
            "PATH" => new.path(value),
            _ => new.env(name, value),
        });
        self.add(shape(new))
    }

    fn add(&self, new: NewPod) -> PodHandle {
        let pod = self.cluster.add_pod(new).expect("a pod can be added");
        let workspace = pod.workspace().expect("the pod is there").display().to_string();
        pod.annotate("rdev.orchard9.ai/workspace-path", Some(&workspace)).expect("the pod is there");
        pod.set_ready(true).expect("the pod is there");
        pod
    }

    /// Adds a worker of the pool.
    pub(crate) fn add_worker(&self, name: &str) -> PodHandle {
        self.add_worker_as(name, |new| new)
    }

    /// Adds a worker of the pool whose pod is as it is told to be.
    pub(crate) fn add_worker_as(&self, name: &str, shape: impl FnOnce(NewPod) -> NewPod) -> PodHandle {
        let new = NewPod::new(NAMESPACE, name)
            .label("rdev.orchard9.ai/role", "worker")
            .container("worker")
            .env("GIT_CONFIG_SYSTEM", GIT_CONFIG)
            .unready();
        self.add(shape(new))
    }

    /// Account of a server that is started by [`IN_A_POD`].
    pub(crate) fn account(&self) -> &ServiceAccount {
        &self.account
    }

    /// The cluster itself, for what goes wrong in it.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The pod of the project `demo`.
    pub(crate) fn pod(&self) -> PodHandle {
        self.cluster.pod(NAMESPACE, DEMO)
    }

    pub(super) fn workspace(&self) -> PathBuf {
        self.folder_of(DEMO)
    }

    pub(super) fn folder_of(&self, pod: &str) -> PathBuf {
        self.cluster.pod(NAMESPACE, pod).workspace().expect("the pod is there")
    }
}
