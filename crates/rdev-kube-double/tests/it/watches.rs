//! Watches, alone and under kube's watcher.

use futures_util::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use rdev_kube_double::{Cluster, Config, How, NewPod};

use crate::{pods, soon};

fn describe(event: &WatchEvent<Pod>) -> String {
    let name = |pod: &Pod| pod.metadata.name.clone().unwrap();
    match event {
        WatchEvent::Added(pod) => format!("added {}", name(pod)),
        WatchEvent::Modified(pod) => format!("modified {}", name(pod)),
        WatchEvent::Deleted(pod) => format!("deleted {}", name(pod)),
        WatchEvent::Bookmark(_) => "bookmark".to_owned(),
        WatchEvent::Error(status) => format!("error {}", status.code),
    }
}

async fn next(stream: &mut (impl Stream<Item = kube::Result<WatchEvent<Pod>>> + Unpin)) -> String {
    describe(&soon(stream.try_next()).await.unwrap().unwrap())
}

#[tokio::test]
async fn a_watch_reports_matching_pods() {
    let cluster = Cluster::start().await.unwrap();
    let pods = pods(&cluster, "a").await;
    let pod = cluster.add_pod(NewPod::new("a", "a-0").label("colour", "red")).unwrap();
    let version = pods.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let params = WatchParams::default().labels("colour=red");
    let mut watch = soon(pods.watch(&params, &version)).await.unwrap().boxed();
    cluster.add_pod(NewPod::new("b", "b-0").label("colour", "red")).unwrap();
    pod.annotate("note", Some("1")).unwrap();
    assert_eq!(next(&mut watch).await, "modified a-0");
    pod.set_label("colour", Some("blue")).unwrap();
    assert_eq!(next(&mut watch).await, "deleted a-0");
    pod.annotate("note", None).unwrap();
    pod.set_label("colour", Some("red")).unwrap();
    assert_eq!(next(&mut watch).await, "added a-0");
    cluster.bookmark();
    assert_eq!(next(&mut watch).await, "bookmark");
    pods.delete("a-0", &DeleteParams::default().grace_period(1)).await.unwrap();
    assert_eq!(next(&mut watch).await, "modified a-0");
    assert_eq!(next(&mut watch).await, "deleted a-0");
    soon(pod.gone()).await;
}

#[tokio::test]
async fn a_watch_ends_at_its_timeout_and_one_from_nothing_begins_with_all() {
    let cluster = Cluster::start().await.unwrap();
    cluster.add_pod(NewPod::new("a", "a-0")).unwrap();
    let params = WatchParams::default().timeout(1);
    let watch = soon(pods(&cluster, "a").await.watch(&params, "0")).await.unwrap();
    let events: Vec<_> = soon(watch.try_collect()).await.unwrap();
    assert_eq!(events.iter().map(describe).collect::<Vec<_>>(), ["added a-0"]);
}

#[tokio::test]
async fn a_version_that_is_too_old_is_gone() {
    let config = Config { history: 3, ..Config::default() };
    let cluster = Cluster::start_with(config).await.unwrap();
    let pods = pods(&cluster, "a").await;
    let old = cluster.resource_version().to_string();
    for number in 0..3 {
        cluster.add_pod(NewPod::new("a", &format!("a-{number}"))).unwrap();
    }
    let mut watch = soon(pods.watch(&WatchParams::default(), &old)).await.unwrap().boxed();
    assert_eq!(next(&mut watch).await, "added a-0");
    cluster.add_pod(NewPod::new("a", "a-3")).unwrap();
    let mut watch = soon(pods.watch(&WatchParams::default(), &old)).await.unwrap().boxed();
    assert_eq!(next(&mut watch).await, "error 410");
    assert!(soon(watch.try_next()).await.unwrap().is_none());
}

/// Reads events until the state is complete, and returns its names.
async fn complete(stream: &mut (impl Stream<Item = watcher::Result<Event<Pod>>> + Unpin)) -> Vec<String> {
    let mut names = Vec::new();
    loop {
        // The watcher reports an error before each retry.
        match soon(stream.next()).await.unwrap() {
            Ok(Event::Init) => names.clear(),
            Ok(Event::InitApply(pod)) => names.push(pod.metadata.name.unwrap()),
            Ok(Event::InitDone) => return names,
            Ok(Event::Apply(_) | Event::Delete(_)) | Err(_) => {}
        }
    }
}

async fn applied(stream: &mut (impl Stream<Item = watcher::Result<Event<Pod>>> + Unpin)) -> String {
    loop {
        if let Ok(Event::Apply(pod)) = soon(stream.next()).await.unwrap() {
            return pod.metadata.name.unwrap();
        }
    }
}

#[tokio::test]
async fn the_watcher_lists_again_only_when_it_must() {
    let cluster = Cluster::start().await.unwrap();
    cluster.add_pod(NewPod::new("a", "a-0")).unwrap();
    let pods = pods(&cluster, "a").await;
    let mut stream = watcher(pods, watcher::Config::default().page_size(1)).boxed();
    assert_eq!(complete(&mut stream).await, ["a-0"]);

    let lists = || cluster.requests().iter().filter(|request| request.is("list", "pods")).count();
    cluster.add_pod(NewPod::new("a", "a-1")).unwrap();
    assert_eq!(applied(&mut stream).await, "a-1");
    cluster.cut_watches_now(How::Close);
    cluster.add_pod(NewPod::new("a", "a-2")).unwrap();
    assert_eq!(applied(&mut stream).await, "a-2");
    assert_eq!(lists(), 1);

    cluster.stop().await;
    cluster.start_again(true).await.unwrap();
    cluster.add_pod(NewPod::new("a", "a-3")).unwrap();
    assert_eq!(applied(&mut stream).await, "a-3");
    assert_eq!(lists(), 1);

    cluster.stop().await;
    cluster.start_again(false).await.unwrap();
    assert_eq!(complete(&mut stream).await, ["a-0", "a-1", "a-2", "a-3"]);
    // Four pages.
    assert_eq!(lists(), 5);
}

#[tokio::test]
async fn a_bookmark_saves_a_list() {
    let cluster = Cluster::start().await.unwrap();
    let pods = pods(&cluster, "a").await;
    let mut stream = watcher(pods, watcher::Config::default()).boxed();
    assert!(complete(&mut stream).await.is_empty());
    let reading = tokio::spawn(async move { applied(&mut stream).await });
    cluster.request(|request| request.is("watch", "pods")).await.unwrap();
    // Changes that this watch does not see; then the history before them is dropped.
    cluster.compact();
    cluster.bookmark();
    let version = cluster.resource_version().to_string();
    cluster.cut_watches_now(How::Close);
    let again = |request: &rdev_kube_double::Request| {
        request.is("watch", "pods") && request.resource_version.as_ref() == Some(&version)
    };
    cluster.request(again).await.unwrap();
    cluster.add_pod(NewPod::new("a", "a-0")).unwrap();
    assert_eq!(soon(reading).await.unwrap(), "a-0");
}

#[tokio::test]
async fn the_watcher_streams_its_list_where_the_server_can() {
    let cluster = Cluster::start().await.unwrap();
    cluster.add_pod(NewPod::new("a", "a-0")).unwrap();
    let mut stream = watcher(pods(&cluster, "a").await, watcher::Config::default().streaming_lists()).boxed();
    assert_eq!(complete(&mut stream).await, ["a-0"]);
    assert!(cluster.requests().iter().all(|request| request.verb != "list"));

    let old = Cluster::start_with(Config::kubernetes_1_20()).await.unwrap();
    let mut stream = watcher(pods(&old, "a").await, watcher::Config::default().streaming_lists()).boxed();
    let error = soon(stream.next()).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("sendInitialEvents is forbidden"), "{error}");
}
