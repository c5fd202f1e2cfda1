//! The runtime of commands: this machine, or the pods of a cluster.

use clap::{Args, ValueEnum};

/// Runtime of commands.
#[derive(Debug, Clone, Args)]
pub struct RuntimeConfig {
    /// Runtime of commands: this machine, or the pods of a cluster, which is the one around this pod or
    /// that of KUBECONFIG. Without it: kubernetes inside a pod, else local
    #[arg(long, env = "RDEV_RUNTIME")]
    runtime: Option<Runtime>,

    /// Namespace of the pods; the local runtime has none and ignores it
    #[arg(long, env = "RDEV_NAMESPACE", default_value = "rdev", value_parser = namespace)]
    pub namespace: String,

    /// Set by Kubernetes in every pod
    #[arg(long, env = "KUBERNETES_SERVICE_HOST", hide = true)]
    kubernetes_service_host: Option<String>,
}

/// Runtime of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    /// On this machine, as this user.
    Local,
    /// In the pods of a cluster.
    Kubernetes,
}

impl RuntimeConfig {
    /// Returns the runtime: as configured, else Kubernetes inside a pod and local elsewhere.
    pub fn kind(&self) -> Runtime {
        self.runtime.unwrap_or(if self.is_in_pod() { Runtime::Kubernetes } else { Runtime::Local })
    }

    /// Tells whether this process runs in a pod.
    pub fn is_in_pod(&self) -> bool {
        self.kubernetes_service_host.is_some()
    }
}

fn namespace(text: &str) -> Result<String, String> {
    text.parse::<rdev_domain::ProjectId>()
        .map(|_| text.to_owned())
        .map_err(|_| "accepted are 1 to 63 of a-z, 0-9 and '-'".to_owned())
}
