//! Discovery of projects, and their status.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use rdev_kube::PROJECTS;
use rdev_kube_double::{Cluster, How, NewPod, Refusal, Request, Times};
use rdev_ports::testing::FakeClock;
use rdev_ports::{PodRef, Pods};

use crate::support::{
    BUNDLED, NAMESPACE, demo, eventually, id, open, open_at, project, projects, ready_pod, status, within,
};

#[tokio::test]
async fn projects_are_pods_with_the_label_in_the_namespace() {
    let cluster = Cluster::start().await.unwrap();
    cluster.add_pod(project("beta").annotation("rdev.orchard9.ai/description", "the second")).unwrap();
    cluster.add_pod(project("alpha").annotation("rdev.orchard9.ai/repository", "git@host:a.git")).unwrap();
    cluster.add_pod(NewPod::new(NAMESPACE, "other").label("app", "claudebox-other")).unwrap();
    let elsewhere =
        NewPod::new("elsewhere", "far").label("rdev.orchard9.ai/project", "true").label("app", "far");
    cluster.add_pod(elsewhere).unwrap();
    let kube = open(cluster.kubeconfig()).await;
    let found = projects(&kube, 2).await;
    assert_eq!(found.iter().map(|project| project.id.to_string()).collect::<Vec<_>>(), ["alpha", "beta"]);
    assert_eq!(found[0].repository.as_deref(), Some("git@host:a.git"));
    assert_eq!(found[1].description.as_deref(), Some("the second"));
    assert_eq!(kube.project(&id("other")).await.unwrap(), None);
    eventually("the list of the pool", async || kube.check().await.ok()).await;
}

#[tokio::test]
async fn a_project_follows_its_pod() {
    let (cluster, pod, kube) = demo().await;
    status(&kube, "demo", "ready").await;
    pod.set_waiting("ImagePullBackOff", "no such image").unwrap();
    status(&kube, "demo", "failing ImagePullBackOff").await;
    pod.run().unwrap();
    status(&kube, "demo", "starting ContainersNotReady").await;
    pod.set_ready(true).unwrap();
    status(&kube, "demo", "ready").await;
    pod.node_lost().unwrap();
    status(&kube, "demo", "failing NodeLost").await;
    pod.node_back().unwrap();
    status(&kube, "demo", "ready").await;
    pod.annotate("rdev.orchard9.ai/description", Some("new")).unwrap();
    let described = async || kube.project(&id("demo")).await.unwrap().filter(|p| p.description.is_some());
    crate::support::eventually("the new description", described).await;
    pod.evict("too little disk").unwrap();
    status(&kube, "demo", "failing Evicted").await;
    pod.replace().unwrap();
    status(&kube, "demo", "ready").await;
    pod.delete(Duration::ZERO).unwrap();
    status(&kube, "demo", "gone Gone").await;
    cluster.add_pod(project("demo")).unwrap();
    status(&kube, "demo", "ready").await;
    pod.set_label("rdev.orchard9.ai/project", None).unwrap();
    status(&kube, "demo", "gone TakenOut").await;
    // A restored label restores the project.
    pod.set_label("rdev.orchard9.ai/project", Some("true")).unwrap();
    status(&kube, "demo", "ready").await;
    pod.set_label("rdev.orchard9.ai/project-id", Some("other")).unwrap();
    status(&kube, "demo", "gone TakenOut").await;
    status(&kube, "other", "ready").await;
}

#[tokio::test]
async fn a_pod_that_becomes_ready_is_broadcast() {
    let (_cluster, pod, kube) = demo().await;
    ready_pod(&kube).await;
    let mut ready = kube.became_ready();
    for _ in 0..2 {
        pod.set_ready(false).unwrap();
        status(&kube, "demo", "starting ContainersNotReady").await;
        // Another event of a ready pod is no change to ready.
        pod.set_ready(true).unwrap();
        pod.annotate("rdev.orchard9.ai/description", Some("new")).unwrap();
        assert_eq!(within("the event", ready.next()).await, Some(PodRef::Project(id("demo"))));
        status(&kube, "demo", "ready").await;
    }
    assert!(ready.next().now_or_never().is_none());
}

#[tokio::test]
async fn before_the_first_list_every_query_reports_an_error() {
    let cluster = Cluster::start().await.unwrap();
    cluster.add_pod(project("demo")).unwrap();
    cluster.refuse("list", "pods", Times::All, Refusal::Unavailable);
    let kube = open(cluster.kubeconfig()).await;
    cluster.request(|request| request.is("list", "pods")).await.unwrap();
    assert!(matches!(kube.projects().await, Err(rdev_domain::Error::Unavailable { .. })));
    assert!(kube.check().await.is_err());
    cluster.refuse_nothing();
    projects(&kube, 1).await;
    eventually("the list of the pool", async || kube.check().await.ok()).await;
}

/// Counts the lists of projects' pods; those of the pool are watched beside them.
fn lists(cluster: &Cluster) -> usize {
    cluster.requests().iter().filter(|request| is_list_of_projects(request)).count()
}

fn is_list_of_projects(request: &Request) -> bool {
    request.is("list", "pods") && request.label_selector.as_deref() == Some(PROJECTS)
}

#[tokio::test]
async fn a_restart_of_the_api_server_is_watched_on_from_where_it_was() {
    let (cluster, _pod, kube) = demo().await;
    status(&kube, "demo", "ready").await;
    for round in 0..3 {
        cluster.stop().await;
        // Queries are answered from memory.
        assert_eq!(kube.projects().await.unwrap().len(), 1 + round);
        cluster.add_pod(project(&format!("new-{round}"))).unwrap();
        cluster.start_again(true).await.unwrap();
        projects(&kube, 2 + round).await;
    }
    assert_eq!(lists(&cluster), 1);
}

#[tokio::test]
async fn a_forgotten_version_is_listed_anew_once() {
    let (cluster, pod, kube) = demo().await;
    cluster.add_pod(project("second")).unwrap();
    projects(&kube, 2).await;
    cluster.stop().await;
    pod.delete(Duration::ZERO).unwrap();
    cluster.add_pod(project("third")).unwrap();
    cluster.start_again(false).await.unwrap();
    status(&kube, "third", "ready").await;
    status(&kube, "demo", "gone Gone").await;
    assert_eq!(lists(&cluster), 2);
}

#[tokio::test]
async fn an_http_410_on_the_watch_is_listed_anew() {
    let (cluster, _pod, kube) = demo().await;
    status(&kube, "demo", "ready").await;
    // One for each of the two watches, in either order.
    cluster.refuse("watch", "pods", Times::Next(2), Refusal::Expired);
    cluster.cut_watches_now(How::Close);
    cluster.add_pod(project("second")).unwrap();
    projects(&kube, 2).await;
    let all = async || {
        let lists = cluster.requests().iter().filter(|request| request.is("list", "pods")).count();
        (lists == 4).then_some(())
    };
    eventually("a list for each refusal", all).await;
}

#[tokio::test]
async fn a_version_that_is_forgotten_again_and_again_is_no_storm_of_lists() {
    let cluster = Cluster::start().await.unwrap();
    cluster.add_pod(project("demo")).unwrap();
    cluster.refuse("watch", "pods", Times::All, Refusal::Expired);
    let kube = open(cluster.kubeconfig()).await;
    let four = async || {
        let lists: Vec<_> = cluster.requests().into_iter().filter(is_list_of_projects).collect();
        (lists.len() >= 4).then_some(lists)
    };
    let lists = eventually("four lists", four).await;
    let pauses: Vec<Duration> = lists.windows(2).map(|two| two[1].at - two[0].at).collect();
    assert!(pauses.iter().sum::<Duration>() > Duration::from_secs(3), "{pauses:?}");
    status(&kube, "demo", "ready").await;
}

#[tokio::test]
async fn without_a_watch_pods_are_listed_and_the_failure_is_reported() {
    let cluster = Cluster::start().await.unwrap();
    cluster.add_pod(project("demo")).unwrap();
    cluster.refuse("watch", "pods", Times::All, Refusal::Forbidden);
    let clock = Arc::new(FakeClock::default());
    let kube = open_at(cluster.kubeconfig(), BUNDLED, clock.clone()).await;
    status(&kube, "demo", "ready").await;
    cluster.request(|request| request.is("watch", "pods")).await.unwrap();
    // The failure may be temporary.
    eventually("the list of the pool", async || kube.check().await.ok()).await;
    let failure = async || {
        clock.advance(Duration::from_secs(60));
        kube.check().await.err()
    };
    let error = eventually("the failure of the watch", failure).await;
    let text = format!("{error:?}");
    assert!(text.contains("cannot be watched") && text.contains("refused by the test"), "{text}");
    // A list does not end the failure, and reports the pods.
    cluster.add_pod(project("second")).unwrap();
    projects(&kube, 2).await;
    assert!(kube.check().await.is_err());
    cluster.refuse_nothing();
    eventually("the watch", async || kube.check().await.ok()).await;
}

#[tokio::test]
async fn a_call_that_is_never_answered_is_made_again() {
    let cluster = Cluster::start().await.unwrap();
    cluster.add_pod(project("demo")).unwrap();
    // The first list of both roles.
    cluster.refuse("list", "pods", Times::Next(2), Refusal::Silence);
    let kube = open(cluster.kubeconfig()).await;
    status(&kube, "demo", "ready").await;
}

#[tokio::test]
async fn a_watch_that_never_begins_is_begun_again() {
    let cluster = Cluster::start().await.unwrap();
    cluster.add_pod(project("demo")).unwrap();
    cluster.refuse("watch", "pods", Times::Next(2), Refusal::Silence);
    let kube = open(cluster.kubeconfig()).await;
    status(&kube, "demo", "ready").await;
    cluster.request(|request| request.is("watch", "pods")).await.unwrap();
    cluster.add_pod(project("second")).unwrap();
    projects(&kube, 2).await;
}

#[tokio::test]
async fn certificates_and_tokens_that_are_replaced_are_read_again() {
    let mut cluster = Cluster::start().await.unwrap();
    cluster.add_pod(project("demo")).unwrap();
    let clock = Arc::new(FakeClock::default());
    let kube = open_at(cluster.kubeconfig(), BUNDLED, clock.clone()).await;
    status(&kube, "demo", "ready").await;
    cluster.renew_authority().unwrap();
    cluster.add_pod(project("second")).unwrap();
    let seen = async |count| {
        clock.advance(Duration::from_secs(60));
        kube.projects().await.unwrap().len() == count
    };
    eventually("the project that came after another authority", async || seen(2).await.then_some(())).await;
    cluster.renew_token().unwrap();
    cluster.cut_watches_now(How::Close);
    cluster.add_pod(project("third")).unwrap();
    eventually("the project that came after another token", async || seen(3).await.then_some(())).await;
    ready_pod(&kube).await;
}

#[tokio::test]
async fn refused_credentials_are_reported() {
    let cluster = Cluster::start().await.unwrap();
    let kube = open(&cluster.kubeconfig_with("expired").unwrap()).await;
    let word =
        async || Some(format!("{:?}", kube.check().await.err()?)).filter(|text| text.contains("token"));
    let text = eventually("the error", word).await;
    assert!(text.contains("does not accept rdev's token or certificate"), "{text}");
    let findings = kube.diagnose().await;
    assert!(format!("{findings:?}").contains("does not accept rdev's token"), "{findings:?}");
}

#[tokio::test]
async fn five_hundred_projects_are_found_with_one_list() {
    let cluster = Cluster::start().await.unwrap();
    for number in 0..500 {
        cluster.add_pod(project(&format!("project-{number}"))).unwrap();
    }
    let kube = open(cluster.kubeconfig()).await;
    let found = projects(&kube, 500).await;
    assert!(found.is_sorted_by(|a, b| a.id < b.id));
    assert_eq!(lists(&cluster), 1);
}
