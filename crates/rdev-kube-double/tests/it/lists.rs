//! Lists.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::ListParams;
use kube::{Api, Error};
use rdev_kube_double::{Cluster, NewPod};

use crate::{client, names, pods};

async fn cluster() -> Cluster {
    let cluster = Cluster::start().await.unwrap();
    for (namespace, name, colour) in
        [("a", "a-0", "red"), ("a", "a-1", "blue"), ("a", "a-2", "red"), ("b", "b-0", "red")]
    {
        cluster.add_pod(NewPod::new(namespace, name).label("colour", colour).label(name, "")).unwrap();
    }
    cluster
}

#[tokio::test]
async fn selectors_narrow_a_list() {
    let cluster = cluster().await;
    let pods = pods(&cluster, "a").await;
    for (selector, wanted) in [
        ("", vec!["a-0", "a-1", "a-2"]),
        ("colour=red", vec!["a-0", "a-2"]),
        ("colour==blue", vec!["a-1"]),
        ("colour!=red", vec!["a-1"]),
        ("colour in (blue, green)", vec!["a-1"]),
        ("colour in (blue,red),a-0", vec!["a-0"]),
        ("colour notin (blue)", vec!["a-0", "a-2"]),
        ("!a-0,colour", vec!["a-1", "a-2"]),
    ] {
        let got = pods.list(&ListParams::default().labels(selector)).await.unwrap();
        assert_eq!(names(&got.items), wanted, "{selector}");
    }
    let got = pods.list(&ListParams::default().fields("metadata.name=a-1")).await.unwrap();
    assert_eq!(names(&got.items), ["a-1"]);
    assert!(pods.list(&ListParams::default().fields("spec.colour=red")).await.is_err());
    let everywhere = Api::<Pod>::all(client(cluster.kubeconfig()).await);
    assert_eq!(everywhere.list(&ListParams::default()).await.unwrap().items.len(), 4);
}

#[tokio::test]
async fn pages_show_one_state_until_it_is_too_old() {
    let cluster = cluster().await;
    let pods = pods(&cluster, "a").await;
    let first = pods.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(names(&first.items), ["a-0", "a-1"]);
    assert_eq!(first.metadata.remaining_item_count, Some(1));
    cluster.add_pod(NewPod::new("a", "a-3")).unwrap();
    let token = first.metadata.continue_.unwrap();
    let next = ListParams::default().limit(2).continue_token(&token);
    let second = pods.list(&next).await.unwrap();
    assert_eq!(names(&second.items), ["a-2"]);
    assert_eq!(second.metadata.resource_version, first.metadata.resource_version);
    assert_eq!(second.metadata.continue_, None);
    cluster.compact();
    let Err(Error::Api(status)) = pods.list(&next).await else { panic!("the state is still known") };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
}

#[tokio::test]
async fn one_object_is_found_or_not() {
    let cluster = cluster().await;
    let pods = pods(&cluster, "a").await;
    let pod = pods.get("a-0").await.unwrap();
    let status = pod.status.unwrap();
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert!(status.conditions.unwrap().iter().all(|condition| condition.status == "True"));
    let container = &status.container_statuses.unwrap()[0];
    let id = cluster.pod("a", "a-0").container_id("main").unwrap().unwrap();
    assert_eq!(container.container_id, Some(format!("containerd://{id}")));
    assert!(pods.get_opt("a-9").await.unwrap().is_none());
    let namespaces = Api::<Namespace>::all(client(cluster.kubeconfig()).await);
    assert!(namespaces.get_opt("a").await.unwrap().is_some());
    assert!(namespaces.get_opt("c").await.unwrap().is_none());
}

#[tokio::test]
async fn five_hundred_pods_are_no_burden() {
    let cluster = Cluster::start().await.unwrap();
    for number in 0..500 {
        cluster.add_pod(NewPod::new("many", &format!("pod-{number}"))).unwrap();
    }
    let pods = pods(&cluster, "many").await;
    for _ in 0..20 {
        assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 500);
    }
}
