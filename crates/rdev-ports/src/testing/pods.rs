//! Promises of every implementation of [`Pods`], one function a promise.

use crate::{PodRef, Pods, Reach, Readiness};

/// Two projects or workers never share both pod and workspace, whatever else they share.
pub async fn two_targets_never_share_a_pod(pods: &dyn Pods, targets: [&PodRef; 2]) {
    let mut found = Vec::new();
    // Twice: a look at one may bring knowledge of the other.
    for pod_ref in [targets[0], targets[1], targets[0], targets[1]] {
        if let Some(Readiness::Ready(pod)) = pods.readiness(pod_ref).await.expect("pods are known") {
            assert_eq!(pod.pod_ref, *pod_ref);
            found.push(pod);
        }
    }
    for one in &found {
        for other in found.iter().filter(|other| other.pod_ref != one.pod_ref) {
            assert_ne!((&one.uid, &one.workspace), (&other.uid, &other.workspace), "{one:?} and {other:?}");
        }
    }
}

/// A pod is found by its identity, also by another process (`another`), and by no other identity.
pub async fn a_pod_is_reached_by_its_identity(pods: &dyn Pods, another: &dyn Pods, pod_ref: &PodRef) {
    let Some(Readiness::Ready(pod)) = pods.readiness(pod_ref).await.expect("pods are known") else {
        panic!("{pod_ref} is ready");
    };
    for pods in [another, pods] {
        let reached = pods.reach(pod_ref, &pod.uid).await.expect("pods are known");
        assert_eq!(reached, Reach::Reachable(pod.clone()));
        let reached = pods.reach(pod_ref, "another.one").await.expect("pods are known");
        assert!(matches!(reached, Reach::Lost(_)), "{reached:?}");
    }
}
