//! A folder of runs that several pods have, one after the other or at once.

use std::time::Duration;

use rdev_domain::Reason;
use rdev_kube_double::Cluster;
use rdev_ports::testing::pods::two_sites_never_share_a_place;
use rdev_ports::{PodRef, Pods, Reach, Readiness, Stdin};

use crate::support::{demo_on, eventually, id, project, ready_pod, run, status};

#[tokio::test]
async fn two_live_pods_with_one_folder_of_runs_are_refused_with_a_word() {
    let claim = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await.unwrap();
    let (cluster, _demo, kube) = demo_on(cluster, project("demo").runs(claim.path())).await;
    let first = ready_pod(&kube).await;
    let other = cluster.add_pod(project("other").runs(claim.path())).unwrap();
    status(&kube, "other", "ready").await;
    let pod_refs = ["demo", "other"].map(|name| PodRef::Project(id(name)));
    two_sites_never_share_a_place(&kube, [&pod_refs[0], &pod_refs[1]]).await;
    for (pod_ref, with) in pod_refs.iter().zip(["claudebox-other-0", "claudebox-demo-0"]) {
        match kube.readiness(pod_ref).await.unwrap() {
            Some(Readiness::NotReady { cause: failure, .. }) => {
                assert_eq!(failure.reason, Reason::RunsShared, "{pod_ref}");
                assert!(failure.message.contains(with), "{}", failure.message);
            }
            other => panic!("{pod_ref}: {other:?}"),
        }
    }
    status(&kube, "demo", "failing RunsShared").await;
    status(&kube, "other", "failing RunsShared").await;

    // The pod that stays has the folder alone, as before.
    other.delete(Duration::ZERO).unwrap();
    status(&kube, "other", "gone Gone").await;
    assert_eq!(ready_pod(&kube).await, first);
}

#[tokio::test]
async fn a_folder_that_outlives_its_pod_is_renamed_and_its_former_runs_are_reached() {
    let claim = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await.unwrap();
    let (_cluster, pod, kube) = demo_on(cluster, project("demo").runs(claim.path())).await;
    let mut containers = vec![ready_pod(&kube).await];
    for _ in 0..2 {
        pod.replace().unwrap();
        let last = containers.last().cloned();
        let next = eventually("another pod", async || {
            Some(ready_pod(&kube).await).filter(|run_pod| Some(run_pod) != last.as_ref())
        });
        containers.push(next.await);
        let uid = pod.uid().unwrap();
        assert!(containers.last().unwrap().uid.starts_with(&uid), "{containers:?}");
        // In the next pod, under the earlier identities.
        for former in &containers {
            assert_eq!(
                kube.reach(&former.pod_ref, &former.uid).await.unwrap(),
                Reach::Reachable(former.clone())
            );
            assert_eq!(
                run(&kube, former, &["rdev-runner", "run", "echo", "hi"], Stdin::None).await.0,
                "hi\n"
            );
        }
    }
}

#[tokio::test]
async fn the_next_pod_of_a_site_waits_for_the_one_before() {
    let claim = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await.unwrap();
    let (cluster, old, kube) = demo_on(cluster, project("demo").runs(claim.path())).await;
    let first = ready_pod(&kube).await;
    old.delete(Duration::from_secs(3600)).unwrap();
    status(&kube, "demo", "starting Terminating").await;
    let next = rdev_kube_double::NewPod::new(crate::support::NAMESPACE, "claudebox-demo-1")
        .label("rdev.orchard9.ai/project", "true")
        .label("rdev.orchard9.ai/project-id", "demo")
        .runs(claim.path());
    cluster.add_pod(next).unwrap();
    let pod_ref = PodRef::Project(id("demo"));
    let waits = eventually("the next pod", async || match kube.readiness(&pod_ref).await {
        Ok(Some(Readiness::NotReady { cause: failure, .. }))
            if failure.message.contains("claudebox-demo-0") =>
        {
            Some(failure)
        }
        _ => None,
    });
    assert_eq!(waits.await.reason, Reason::PodNotReady);
    old.delete(Duration::ZERO).unwrap();
    let second = eventually("its pod", async || match kube.readiness(&pod_ref).await {
        Ok(Some(Readiness::Ready(run_pod))) => Some(run_pod),
        _ => None,
    });
    assert_ne!(second.await.uid, first.uid);
}
