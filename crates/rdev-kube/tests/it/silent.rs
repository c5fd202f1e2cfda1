//! Pods that are ready and start nothing: the container runtime of their node is stuck.

use futures_util::future::join_all;
use rdev_domain::{ProjectStatus, Reason};
use rdev_kube::Kube;
use rdev_kube_double::{Cluster, Config, NewPod, Request};
use rdev_ports::{Disruption, Exec, Pod, PodRef, Pods, Readiness, Stdin};

use crate::support::{NAMESPACE, eventually, id, open, project, ready_pod, run, status, within};

/// Matches an exec of any kind in this pod.
fn exec_in(pod: &str) -> impl Fn(&Request) -> bool {
    move |request| request.is("get", "pods/exec") && request.name.as_deref() == Some(pod)
}

/// Returns the readiness of a project, once the watch has reported it.
async fn readiness(kube: &Kube, project: &str) -> Readiness {
    let pod_ref = PodRef::Project(id(project));
    eventually("a readiness", async || kube.readiness(&pod_ref).await.ok().flatten()).await
}

fn worker(name: &str) -> NewPod {
    NewPod::new(NAMESPACE, name).label("rdev.orchard9.ai/role", "worker")
}

/// Returns the status of a worker in two words.
async fn describe(kube: &Kube, name: &str) -> Option<String> {
    let workers = kube.workers().await.ok()?;
    match &workers.iter().find(|worker| worker.name.as_str() == name)?.status {
        ProjectStatus::Ready | ProjectStatus::Deleting => Some("ready".to_owned()),
        ProjectStatus::Starting(condition) => Some(format!("starting {}", condition.reason)),
        ProjectStatus::Failing(condition) => Some(format!("failing {}", condition.reason)),
        ProjectStatus::Gone(_) => Some("gone".to_owned()),
    }
}

#[tokio::test]
async fn waiters_for_a_silent_pod_share_one_probe_and_delay_no_other_pod() {
    for config in [Config::kubernetes_1_20(), Config::kubernetes_1_35()] {
        let cluster = Cluster::start_with(config).await.unwrap();
        cluster.pod(NAMESPACE, "claudebox-demo-0").hang_execs();
        cluster.add_pod(project("demo")).unwrap();
        cluster.add_pod(project("other")).unwrap();
        let kube = open(cluster.kubeconfig()).await;
        status(&kube, "other", "ready").await;
        let asking = (0..100).map(|_| readiness(&kube, "demo"));
        for readiness in within("the answers", join_all(asking)).await {
            assert!(
                matches!(readiness, Readiness::NotReady { cause: ref failure, .. } if failure.reason == Reason::PodNotReady)
            );
        }
        assert!(matches!(readiness(&kube, "other").await, Readiness::Ready(_)));
        let probes = cluster.requests().into_iter().filter(exec_in("claudebox-demo-0")).count();
        assert_eq!(probes, 1, "one probe runs already");
        cluster.pod(NAMESPACE, "claudebox-demo-0").release_execs();
        let there = ready_pod(&kube).await;
        assert_eq!(run(&kube, &there, &["rdev-runner", "run", "echo", "hi"], Stdin::None).await.0, "hi\n");
    }
}

#[tokio::test]
async fn a_pod_is_probed_when_it_becomes_ready_before_any_query() {
    let cluster = Cluster::start().await.unwrap();
    let pod = cluster.add_pod(project("demo").unready()).unwrap();
    let kube = open(cluster.kubeconfig()).await;
    status(&kube, "demo", "starting ContainersNotReady").await;
    assert!(!cluster.requests().iter().any(exec_in(pod.name())));
    pod.set_ready(true).unwrap();
    cluster.request(exec_in(pod.name())).await.unwrap();
}

#[tokio::test]
async fn an_unreachable_worker_is_not_free_until_it_is_reached() {
    let cluster = Cluster::start().await.unwrap();
    let silent = cluster.add_pod(worker("silent").unready()).unwrap();
    silent.hang_execs();
    silent.set_ready(true).unwrap();
    cluster.add_pod(worker("well")).unwrap();
    let kube = open(cluster.kubeconfig()).await;
    let is = async |name: &str, wanted: &str| {
        eventually(wanted, async || describe(&kube, name).await.filter(|state| state == wanted)).await;
    };
    is("silent", "starting NotYetReached").await;
    is("well", "ready").await;
    is("silent", "failing NotReachable").await;
    silent.release_execs();
    is("silent", "ready").await;
}

/// A request without an answer has the container probed again, whoever gives up.
#[tokio::test]
async fn a_silent_pod_is_detected_by_the_first_abandoned_start() {
    let cluster = Cluster::start().await.unwrap();
    let pod = cluster.add_pod(worker("slot")).unwrap();
    let kube = open(cluster.kubeconfig()).await;
    let pod_ref = PodRef::Worker("slot".parse().unwrap());
    let there = eventually("a pod", async || match kube.readiness(&pod_ref).await {
        Ok(Some(Readiness::Ready(run_pod))) => Some(run_pod),
        _ => None,
    });
    let there: Pod = there.await;
    pod.hang_execs();
    let argv = ["rdev-runner", "run", "true"].map(str::to_owned).to_vec();
    let output = kube.exec(&there, Exec { argv, stdin: Stdin::None }).await.unwrap();
    assert_eq!(describe(&kube, "slot").await.as_deref(), Some("ready"));
    drop(output);
    eventually("the failure", async || {
        describe(&kube, "slot").await.filter(|state| state == "failing NotReachable")
    })
    .await;
}

#[tokio::test]
async fn many_cuts_share_one_lookup() {
    let cluster = Cluster::start().await.unwrap();
    let ids: Vec<String> = (0..20).map(|number| format!("p{number}")).collect();
    for id in &ids {
        cluster.add_pod(project(id)).unwrap();
    }
    let kube = open(cluster.kubeconfig()).await;
    let mut containers = Vec::new();
    for id in &ids {
        let pod_ref = PodRef::Project(id.parse().unwrap());
        let ready = async || match kube.readiness(&pod_ref).await {
            Ok(Some(Readiness::Ready(run_pod))) => Some(run_pod),
            _ => None,
        };
        containers.push(eventually("a pod", ready).await);
    }
    // The watch reports nothing of what follows.
    cluster.refuse("watch", "pods", rdev_kube_double::Times::All, rdev_kube_double::Refusal::Unavailable);
    cluster.cut_watches_now(rdev_kube_double::How::Close);
    cluster.pod(NAMESPACE, "claudebox-p7-0").delete(std::time::Duration::ZERO).unwrap();
    cluster.forget_requests();
    let asked = containers.iter().cycle().take(200);
    let disruptions = join_all(
        asked.map(|run_pod| kube.disruption(&run_pod.pod_ref, &run_pod.uid, rdev_ports::testing::START)),
    )
    .await;
    let asked = cluster
        .requests()
        .into_iter()
        .filter(|request| request.is("get", "pods") || request.is("list", "pods"));
    let asked = asked.count();
    assert!((1..=4).contains(&asked), "asked {asked} times");
    for (run_pod, disruption) in containers.iter().cycle().zip(disruptions) {
        let is_p7 = run_pod.pod_ref == PodRef::Project(id("p7"));
        assert_eq!(matches!(disruption.unwrap(), Disruption::Lost(_)), is_p7, "{}", run_pod.pod_ref);
    }
}
