//! A folder of runs that more than one pod has, one after the other or at once.

use std::time::Duration;

use rdev_domain::Reason;
use rdev_kube_double::Cluster;
use rdev_ports::testing::places::two_sites_never_share_a_place;
use rdev_ports::{Pods, Reach, Site, Standing, Stdin};

use crate::support::{demo_on, eventually, id, place, project, run, status};

#[tokio::test]
async fn two_live_pods_with_one_folder_of_runs_are_refused_with_a_word() {
    let claim = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await.unwrap();
    let (cluster, _demo, kube) = demo_on(cluster, project("demo").runs(claim.path())).await;
    let first = place(&kube).await;
    let other = cluster.add_pod(project("other").runs(claim.path())).unwrap();
    status(&kube, "other", "ready").await;
    let sites = ["demo", "other"].map(|name| Site::Project(id(name)));
    two_sites_never_share_a_place(&kube, [&sites[0], &sites[1]]).await;
    for (site, with) in sites.iter().zip(["claudebox-other-0", "claudebox-demo-0"]) {
        match kube.place(site).await.unwrap() {
            Some(Standing::Waiting(trouble, _)) => {
                assert_eq!(trouble.reason, Reason::RunsShared, "{site}");
                assert!(trouble.message.contains(with), "{}", trouble.message);
            }
            other => panic!("{site}: {other:?}"),
        }
    }
    status(&kube, "demo", "failing RunsShared").await;
    status(&kube, "other", "failing RunsShared").await;

    // The one that stays has the folder alone, as before.
    other.delete(Duration::ZERO).unwrap();
    status(&kube, "other", "gone Gone").await;
    assert_eq!(place(&kube).await, first);
}

#[tokio::test]
async fn a_folder_that_outlives_its_pod_is_told_apart_and_its_former_runs_are_reached() {
    let claim = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await.unwrap();
    let (_cluster, pod, kube) = demo_on(cluster, project("demo").runs(claim.path())).await;
    let mut places = vec![place(&kube).await];
    for _ in 0..2 {
        pod.replace().unwrap();
        let last = places.last().cloned();
        let next = eventually("another place", async || {
            Some(place(&kube).await).filter(|place| Some(place) != last.as_ref())
        });
        places.push(next.await);
        let uid = pod.uid().unwrap();
        assert!(places.last().unwrap().uid.starts_with(&uid), "{places:?}");
        // In the next pod, under the names of then.
        for former in &places {
            assert_eq!(kube.reach(&former.site, &former.uid).await.unwrap(), Reach::There(former.clone()));
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
    let first = place(&kube).await;
    old.delete(Duration::from_secs(3600)).unwrap();
    status(&kube, "demo", "starting Terminating").await;
    let next = rdev_kube_double::NewPod::new(crate::support::NAMESPACE, "claudebox-demo-1")
        .label("rdev.orchard9.ai/project", "true")
        .label("rdev.orchard9.ai/project-id", "demo")
        .runs(claim.path());
    cluster.add_pod(next).unwrap();
    let site = Site::Project(id("demo"));
    let waits = eventually("the next pod", async || match kube.place(&site).await {
        Ok(Some(Standing::Waiting(trouble, _))) if trouble.message.contains("claudebox-demo-0") => {
            Some(trouble)
        }
        _ => None,
    });
    assert_eq!(waits.await.reason, Reason::PodNotReady);
    old.delete(Duration::ZERO).unwrap();
    let second = eventually("its place", async || match kube.place(&site).await {
        Ok(Some(Standing::Ready(place))) => Some(place),
        _ => None,
    });
    assert_ne!(second.await.uid, first.uid);
}
