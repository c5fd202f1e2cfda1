//! The double, used by real clients.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot know")]

mod access;
mod changes;
mod cuts;
mod exec;
mod faults;
mod kubectl;
mod lists;
mod raw;
mod watches;

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use rdev_kube_double::Cluster;

/// Longest time of any step here.
const PATIENCE: Duration = Duration::from_secs(20);

async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    Client::try_from(config).unwrap()
}

async fn pods(cluster: &Cluster, namespace: &str) -> Api<Pod> {
    Api::namespaced(client(cluster.kubeconfig()).await, namespace)
}

fn names(pods: &[Pod]) -> Vec<&str> {
    pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap()
}

/// Waits for a file that a process creates; only polling detects it.
async fn appears(file: &Path) {
    let looking = async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(looking).await;
}
