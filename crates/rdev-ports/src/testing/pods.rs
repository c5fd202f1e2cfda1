//! Promises of every implementation of [`Pods`], one function a promise.

use crate::{PodRef, Pods, Reach, Readiness};

/// A command runs where its place and workspace are: of two sites never both are the same, whatever they share.
pub async fn two_sites_never_share_a_place(pods: &dyn Pods, sites: [&PodRef; 2]) {
    let mut places = Vec::new();
    // Twice: what is known of the one may come with the look at the other.
    for pod_ref in [sites[0], sites[1], sites[0], sites[1]] {
        if let Some(Readiness::Ready(pod)) = pods.readiness(pod_ref).await.expect("places are known") {
            assert_eq!(pod.pod_ref, *pod_ref);
            places.push(pod);
        }
    }
    for one in &places {
        for other in places.iter().filter(|other| other.pod_ref != one.pod_ref) {
            assert_ne!((&one.uid, &one.workspace), (&other.uid, &other.workspace), "{one:?} and {other:?}");
        }
    }
}

/// A place is found by its identity, also by another process (`another`), and what was started there under no other
/// identity.
pub async fn a_place_is_reached_by_its_identity(pods: &dyn Pods, another: &dyn Pods, pod_ref: &PodRef) {
    let Some(Readiness::Ready(pod)) = pods.readiness(pod_ref).await.expect("places are known") else {
        panic!("{pod_ref} is ready");
    };
    for pods in [another, pods] {
        let reached = pods.reach(pod_ref, &pod.uid).await.expect("places are known");
        assert_eq!(reached, Reach::Reachable(pod.clone()));
        let reached = pods.reach(pod_ref, "another.one").await.expect("places are known");
        assert!(matches!(reached, Reach::Lost(_)), "{reached:?}");
    }
}
