//! Pods of started jobs: reachable for as long as they exist.

use std::time::Duration;

use futures_util::StreamExt;
use rdev_domain::Reason;
use rdev_kube::Kube;
use rdev_kube_double::{Cluster, NewPod, PodHandle, Refusal, Times};
use rdev_ports::testing::pods::a_place_is_reached_by_its_identity;
use rdev_ports::{Pod, PodRef, Pods, Reach, Readiness, Stdin};

use crate::support::{
    BUNDLED, NAMESPACE, demo, eventually, id, open_with, project, ready_pod, run, status, within,
};

async fn reach(kube: &Kube, run_pod: &Pod) -> Reach {
    eventually("an answer", async || kube.reach(&run_pod.pod_ref, &run_pod.uid).await.ok()).await
}

fn gone(reach: Reach) -> Reason {
    match reach {
        Reach::Lost(failure) => failure.reason,
        other => panic!("{other:?}"),
    }
}

/// A change after which a running job stays reachable, and nothing new starts.
type Happens = fn(&PodHandle);

#[tokio::test]
async fn a_terminating_or_relabelled_pod_is_reached_also_by_another_server() {
    let happens: [Happens; 4] = [
        |pod| pod.delete(Duration::from_secs(60)).unwrap(),
        |pod| pod.set_ready(false).unwrap(),
        |pod| pod.set_label("rdev.orchard9.ai/project", None).unwrap(),
        |pod| pod.set_label("rdev.orchard9.ai/project-id", Some("other")).unwrap(),
    ];
    for (number, happens) in happens.iter().enumerate() {
        let (cluster, pod, kube) = demo().await;
        let there = ready_pod(&kube).await;
        let beside = open_with(cluster.kubeconfig(), BUNDLED).await;
        status(&beside, "demo", "ready").await;
        a_place_is_reached_by_its_identity(&kube, &beside, &there.pod_ref).await;
        happens(&pod);
        let is_new = async || match kube.readiness(&there.pod_ref).await.unwrap() {
            Some(Readiness::Ready(_)) => None,
            readiness => Some(readiness),
        };
        eventually("a pod that accepts nothing new", is_new).await;
        let another = open_with(cluster.kubeconfig(), BUNDLED).await;
        for kube in [&kube, &another] {
            assert_eq!(reach(kube, &there).await, Reach::Reachable(there.clone()), "{number}");
            assert_eq!(run(kube, &there, &["rdev-runner", "run", "echo", "hi"], Stdin::None).await.0, "hi\n");
            assert!(
                !matches!(kube.readiness(&there.pod_ref).await.unwrap(), Some(Readiness::Ready(_))),
                "{number}"
            );
        }
        let pod_ref = PodRef::Project(id("demo"));
        assert_eq!(gone(kube.reach(&pod_ref, "0b5a.other").await.unwrap()), Reason::PodLost);
        pod.delete(Duration::ZERO).unwrap();
        for kube in [&kube, &another] {
            eventually("its end", async || {
                matches!(reach(kube, &there).await, Reach::Lost(failure) if failure.reason == Reason::PodLost)
                    .then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_folder_that_was_emptied_and_a_pod_that_was_replaced_are_gone() {
    let (_cluster, pod, kube) = demo().await;
    let first = ready_pod(&kube).await;
    pod.restart_container("main", false, "Error", 1).unwrap();
    let emptied = async || Some(reach(&kube, &first).await).filter(|reach| matches!(reach, Reach::Lost(_)));
    eventually("its end", emptied).await;
    let second = ready_pod(&kube).await;
    pod.replace().unwrap();
    let replaced = async || Some(reach(&kube, &second).await).filter(|reach| matches!(reach, Reach::Lost(_)));
    eventually("its end", replaced).await;
}

#[tokio::test]
async fn a_server_of_another_version_brings_its_runner_to_what_runs_in_a_pod_that_is_to_go() {
    let (cluster, pod, kube) = demo().await;
    let there = ready_pod(&kube).await;
    std::fs::remove_dir_all(pod.run_folder().unwrap().join("bin")).unwrap();
    pod.delete(Duration::from_secs(60)).unwrap();
    let another = open_with(cluster.kubeconfig(), BUNDLED).await;
    assert_eq!(reach(&another, &there).await, Reach::Reachable(there));
    assert_eq!(std::fs::read_dir(pod.run_folder().unwrap().join("bin")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_label_that_may_be_off_or_not_lets_nothing_new_start() {
    let (cluster, pod, kube) = demo().await;
    let there = ready_pod(&kube).await;
    cluster.refuse("get", "pods", Times::All, Refusal::Unavailable);
    pod.set_label("rdev.orchard9.ai/project", None).unwrap();
    status(&kube, "demo", "gone TakenOut").await;
    assert_eq!(reach(&kube, &there).await, Reach::Reachable(there.clone()));
    cluster.refuse_nothing();
    pod.delete(Duration::ZERO).unwrap();
    assert!(matches!(reach(&kube, &there).await, Reach::Lost(_)));
}

#[tokio::test]
async fn of_two_pods_the_older_is_chosen_in_whatever_order_they_come() {
    let cluster = Cluster::start().await.unwrap();
    let named = |name: &str| {
        NewPod::new(NAMESPACE, name)
            .label("rdev.orchard9.ai/project", "true")
            .label("rdev.orchard9.ai/project-id", "demo")
    };
    // Within one second of the cluster's clock, so that names decide, and last in the order of the list.
    let later = cluster.add_pod(named("b")).unwrap();
    let first = open_with(cluster.kubeconfig(), BUNDLED).await;
    status(&first, "demo", "ready").await;
    let sooner = cluster.add_pod(named("a")).unwrap();
    let second = open_with(cluster.kubeconfig(), BUNDLED).await;
    let warned = async |kube: &Kube| {
        let warning = async || kube.project(&id("demo")).await.ok().flatten()?.warning;
        eventually("a warning", warning).await
    };
    let warning = warned(&first).await;
    assert_eq!(warning.reason, "DuplicateId");
    assert!(warning.message.contains("a, b") || warning.message.contains("b, a"), "{}", warning.message);
    assert_eq!(warned(&second).await, warning);
    let chosen = ready_pod(&first).await;
    assert_eq!(ready_pod(&second).await, chosen);
    // The choice holds while the pod is not ready, and changes when it terminates.
    let (older, younger) = match chosen.uid.starts_with(&later.uid().unwrap()) {
        true => (&later, &sooner),
        false => (&sooner, &later),
    };
    older.set_ready(false).unwrap();
    status(&first, "demo", "starting ContainersNotReady").await;
    assert_eq!(reach(&first, &chosen).await, Reach::Reachable(chosen.clone()));
    let mut ready = first.became_ready();
    older.delete(Duration::from_secs(60)).unwrap();
    status(&first, "demo", "ready").await;
    assert_eq!(within("the event", ready.next()).await, Some(PodRef::Project(id("demo"))));
    let next = ready_pod(&first).await;
    assert!(next.uid.starts_with(&younger.uid().unwrap()));
    assert_eq!(reach(&second, &chosen).await, Reach::Reachable(chosen));
    assert_eq!(first.project(&id("demo")).await.unwrap().unwrap().warning, None);
}

#[tokio::test]
async fn another_project_is_no_double() {
    let (cluster, _pod, kube) = demo().await;
    cluster.add_pod(project("second")).unwrap();
    status(&kube, "second", "ready").await;
    assert_eq!(kube.project(&id("demo")).await.unwrap().unwrap().warning, None);
}
