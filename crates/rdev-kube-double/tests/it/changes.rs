//! Changes of pods.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use kube::Api;
use rdev_kube_double::{Cluster, NewPod, PodHandle};

use crate::raw::{Exec, V4, V5, open, path, refused};
use crate::{pods, soon};

async fn demo() -> (Cluster, PodHandle, Api<Pod>) {
    let cluster = Cluster::start().await.unwrap();
    let pod = cluster.add_pod(NewPod::new("default", "demo")).unwrap();
    let pods = pods(&cluster, "default").await;
    (cluster, pod, pods)
}

async fn status(pods: &Api<Pod>) -> PodStatus {
    pods.get("demo").await.unwrap().status.unwrap()
}

fn main_container(status: &PodStatus) -> &ContainerStatus {
    &status.container_statuses.as_ref().unwrap()[0]
}

fn condition(status: &PodStatus, kind: &str) -> String {
    let conditions = status.conditions.as_ref().unwrap();
    conditions.iter().find(|condition| condition.type_ == kind).unwrap().status.clone()
}

/// Starts an exec that would run for ever.
async fn running(cluster: &Cluster) -> Exec {
    let mut exec = open(cluster, &path(&["sh", "-c", "echo on; exec sleep 1000"]), V5).await.unwrap();
    assert_eq!(exec.next().await.unwrap(), (1, b"on\n".to_vec()));
    exec
}

#[tokio::test]
async fn deletion_waits_for_its_grace_then_kills() {
    let (cluster, pod, pods) = demo().await;
    let exec = running(&cluster).await;
    pod.delete(Duration::from_secs(2)).unwrap();
    let marked = pods.get("demo").await.unwrap().metadata;
    assert!(marked.deletion_timestamp.is_some() && marked.deletion_grace_period_seconds == Some(2));
    assert_eq!(exec.rest().await.exit_code(), Some("137"));
    soon(pod.gone()).await;
    assert!(pods.get_opt("demo").await.unwrap().is_none());
}

#[tokio::test]
async fn a_container_restarts() {
    let (cluster, pod, pods) = demo().await;
    let exec = running(&cluster).await;
    let file = pod.run_folder().unwrap().join("journal");
    std::fs::write(&file, "").unwrap();
    pod.oom_kill("main").unwrap();
    assert_eq!(exec.rest().await.exit_code(), Some("137"));
    assert!(file.exists());
    let status = status(&pods).await;
    let container = main_container(&status);
    let last = container.last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((last.reason.as_deref(), last.exit_code), (Some("OOMKilled"), 137));
    assert!(container.ready && container.restart_count == 1);
    assert_ne!(container.container_id, last.container_id);
    pod.restart_container("main", false, "Error", 1).unwrap();
    assert!(!file.exists() && file.parent().unwrap().exists());
    assert!(pod.restart_container("side", false, "Error", 1).is_err());
    running(&cluster).await;
}

#[tokio::test]
async fn a_replaced_pod_keeps_its_workspace_only() {
    let (cluster, pod, pods) = demo().await;
    let exec = running(&cluster).await;
    let uid = pod.uid().unwrap();
    let (kept, lost) = (pod.workspace().unwrap().join("file"), pod.run_folder().unwrap().join("file"));
    std::fs::write(&kept, "").unwrap();
    std::fs::write(&lost, "").unwrap();
    pod.replace().unwrap();
    assert_eq!(exec.rest().await.exit_code(), Some("137"));
    assert!(kept.exists() && !lost.exists());
    assert_ne!(pod.uid().unwrap(), uid);
    assert_eq!(pods.get("demo").await.unwrap().metadata.uid, Some(pod.uid().unwrap()));
    running(&cluster).await;
}

#[tokio::test]
async fn a_pod_waits_for_its_image_and_then_runs() {
    let cluster = Cluster::start().await.unwrap();
    let pod = cluster.add_pod(NewPod::new("default", "demo").unscheduled()).unwrap();
    let pods = pods(&cluster, "default").await;
    let unscheduled = status(&pods).await;
    assert_eq!(condition(&unscheduled, "PodScheduled"), "False");
    pod.set_waiting("ImagePullBackOff", "no such image").unwrap();
    let waiting = status(&pods).await;
    assert_eq!(waiting.phase.as_deref(), Some("Pending"));
    let state = main_container(&waiting).state.clone().unwrap().waiting.unwrap();
    assert_eq!(state.reason.as_deref(), Some("ImagePullBackOff"));
    pod.run().unwrap();
    let unready = status(&pods).await;
    assert_eq!((unready.phase.as_deref(), condition(&unready, "Ready").as_str()), (Some("Running"), "False"));
    pod.set_ready(true).unwrap();
    assert_eq!(condition(&status(&pods).await, "Ready"), "True");
}

#[tokio::test]
async fn an_evicted_pod_has_failed() {
    let (cluster, pod, pods) = demo().await;
    let exec = running(&cluster).await;
    pod.evict("The node was low on resource: memory.").unwrap();
    assert_eq!(exec.rest().await.exit_code(), Some("137"));
    let status = status(&pods).await;
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("Evicted")));
    assert_eq!(refused(&cluster, &path(&["true"]), V4).await.0, 500);
}

#[tokio::test]
async fn a_silent_node_makes_its_pods_unready_but_not_its_containers() {
    let (cluster, pod, pods) = demo().await;
    pod.node_lost().unwrap();
    let lost = status(&pods).await;
    assert_eq!(condition(&lost, "Ready"), "False");
    assert_eq!(condition(&lost, "ContainersReady"), "True");
    assert!(main_container(&lost).ready);
    let (code, body) = refused(&cluster, &path(&["true"]), V4).await;
    assert!(code == 500 && body.contains("error dialing backend: dial tcp"), "{body}");
    let late = open(&cluster, &path(&["true"]), V5).await.unwrap().rest().await;
    assert!(late.status.unwrap().message.unwrap().ends_with("connect: connection refused"));
    pod.node_back().unwrap();
    assert_eq!(condition(&status(&pods).await, "Ready"), "True");
    running(&cluster).await;
}

#[tokio::test]
async fn a_folder_of_runs_on_a_claim_outlives_its_pod_and_may_be_shared() {
    let cluster = Cluster::start().await.unwrap();
    let claim = tempfile::tempdir().unwrap();
    let pods = ["demo", "other"]
        .map(|name| cluster.add_pod(NewPod::new("default", name).runs(claim.path())).unwrap());
    assert!(pods.iter().all(|pod| pod.run_folder().unwrap() == claim.path()));
    std::fs::write(claim.path().join("journal"), "").unwrap();
    pods[0].replace().unwrap();
    pods[0].restart_container("main", false, "Error", 1).unwrap();
    pods[0].delete(Duration::ZERO).unwrap();
    assert!(claim.path().join("journal").exists());
}
