//! Time to discover 500 projects, and to see a change of one, each beside a bare list or a bare watch of
//! the same pods by the same client in the same run: `cargo bench -p rdev-kube`.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints, and panics on any error")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use rdev_kube::{Bundled, Config, Kube, PROJECTS};
use rdev_kube_double::{Cluster, NewPod};
use rdev_ports::Pods;
use rdev_ports::testing::{FakeClock, FakeRandom};
use tokio::time::Instant;

const PODS: usize = 500;
const ROUNDS: usize = 20;
const NAMESPACE: &str = "rdev";

#[tokio::main]
async fn main() {
    let cluster = Cluster::start().await.unwrap();
    for number in 0..PODS {
        let pod = NewPod::new(NAMESPACE, &format!("claudebox-{number}"))
            .label("rdev.orchard9.ai/project", "true")
            .label("rdev.orchard9.ai/project-id", &format!("project-{number}"));
        cluster.add_pod(pod).unwrap();
    }
    let config = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(Client::try_from(config).unwrap(), NAMESPACE);

    let (mut bare, mut found) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let list = pods.list(&ListParams::default().labels(PROJECTS)).await.unwrap();
        assert_eq!(list.items.len(), PODS);
        bare.push(began.elapsed());

        let began = Instant::now();
        let kube = open(&cluster).await;
        while kube.projects().await.map_or(0, |projects| projects.len()) < PODS {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        found.push(began.elapsed());
    }
    report("500 projects, from start to found", &mut found, "a bare list", &mut bare);

    let kube = open(&cluster).await;
    let version = pods.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let mut watch = pods.watch(&WatchParams::default().labels(PROJECTS), &version).await.unwrap().boxed();
    while kube.projects().await.is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (mut bare, mut seen) = (Vec::new(), Vec::new());
    let project = "project-7".parse().unwrap();
    for round in 0..ROUNDS {
        let text = format!("round {round}");
        let began = Instant::now();
        cluster.pod(NAMESPACE, "claudebox-7").annotate("rdev.orchard9.ai/description", Some(&text)).unwrap();
        while kube.project(&project).await.unwrap().unwrap().description.as_deref() != Some(&text) {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        seen.push(began.elapsed());
        watch.try_next().await.unwrap();

        let began = Instant::now();
        cluster.pod(NAMESPACE, "claudebox-8").annotate("rdev.orchard9.ai/description", Some(&text)).unwrap();
        watch.try_next().await.unwrap();
        bare.push(began.elapsed());
    }
    report("a change, until it is seen", &mut seen, "a bare watch", &mut bare);

    let calls = 100_000_u32;
    let began = Instant::now();
    for _ in 0..calls {
        assert!(kube.project(&project).await.unwrap().is_some());
    }
    println!("one project from memory: {:?}", began.elapsed() / calls);
}

async fn open(cluster: &Cluster) -> Kube {
    let (namespace, kubeconfig) = (NAMESPACE.to_owned(), Some(cluster.kubeconfig().to_owned()));
    let runner = Bundled { program: b"", sha256: "", protocol: 0, machine: "" };
    Kube::open(Config {
        namespace,
        kubeconfig,
        runner,
        clock: Arc::new(FakeClock::default()),
        random: Arc::new(FakeRandom(0.5)),
    })
    .await
    .unwrap()
}

fn report(what: &str, ours: &mut [Duration], beside: &str, theirs: &mut [Duration]) {
    ours.sort();
    theirs.sort();
    let (ours, theirs, worst) = (ours[ours.len() / 2], theirs[theirs.len() / 2], ours[ours.len() - 1]);
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("{what}: median {ours:.1?}, worst {worst:.1?}; {beside} {theirs:.1?}; ratio {ratio:.2}");
}
