//! A cluster, and the adapter that is connected to it.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use rdev_domain::{Project, ProjectId, ProjectStatus};
use rdev_kube::{Bundled, Config, Kube};
use rdev_kube_double::{Cluster, NewPod, PodHandle};
use rdev_ports::testing::{FakeClock, FakeRandom};
use rdev_ports::{Exec, Pod, PodRef, Pods, Readiness, Stdin};
use tokio::time::timeout;

/// Longest time of any step here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
pub(crate) const NAMESPACE: &str = "rdev";

/// Stand-in for the runner: it reports its folder, and executes the arguments after `run`.
const RUNNER: &str = r#"#!/bin/sh
verb=$1; shift
runs=${RDEV_RUNS_DIR:-/run/rdev}
case $verb in
identity)
    mkdir -p "$runs"
    [ -s "$runs/.uid" ] || echo "$2.$$" >"$runs/.uid"
    if [ "$3" = --instead-of ] && [ "$4" = "$(cat "$runs/.uid")" ]; then
        echo "$4" >>"$runs/.uid.before"
        echo "$2.$$" >"$runs/.uid"
    fi
    [ ! -e "$runs/.uid.before" ] || before=" before=$(paste -sd , "$runs/.uid.before")"
    echo "rdev-runner 8 $runs $(cat "$runs/.uid")$before" ;;
run) exec "$@" ;;
esac
"#;

/// The runner that rdev would bring along.
pub(crate) const BUNDLED: Bundled = Bundled {
    program: RUNNER.as_bytes(),
    // A change of the script above changes the checksum.
    sha256: "cfa4299d913f8f7f58789e1b3be3873a0a37c7317f5b4839f2457ebd9cbbdb3a",
    protocol: 8,
    machine: std::env::consts::ARCH,
};

pub(crate) async fn open(kubeconfig: &Path) -> Kube {
    open_with(kubeconfig, BUNDLED).await
}

pub(crate) async fn open_with(kubeconfig: &Path, runner: Bundled) -> Kube {
    open_at(kubeconfig, runner, Arc::default()).await
}

/// Opens the adapter with a clock that the test sets.
pub(crate) async fn open_at(kubeconfig: &Path, runner: Bundled, clock: Arc<FakeClock>) -> Kube {
    let (namespace, kubeconfig) = (NAMESPACE.to_owned(), Some(kubeconfig.to_owned()));
    Kube::open(Config { namespace, kubeconfig, runner, clock, random: Arc::new(FakeRandom(0.5)) })
        .await
        .unwrap()
}

/// Returns the pod of a project.
pub(crate) fn project(id: &str) -> NewPod {
    NewPod::new(NAMESPACE, &format!("claudebox-{id}-0"))
        .label("rdev.orchard9.ai/project", "true")
        .label("rdev.orchard9.ai/project-id", id)
}

/// Returns a cluster with the project `demo`, and the adapter.
pub(crate) async fn demo() -> (Cluster, PodHandle, Kube) {
    demo_on(Cluster::start().await.unwrap(), project("demo")).await
}

pub(crate) async fn demo_on(cluster: Cluster, pod: NewPod) -> (Cluster, PodHandle, Kube) {
    let pod = cluster.add_pod(pod).unwrap();
    let kube = open(cluster.kubeconfig()).await;
    (cluster, pod, kube)
}

pub(crate) fn id(text: &str) -> ProjectId {
    text.parse().unwrap()
}

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Polls until there is a result.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut poll: impl FnMut() -> F,
) -> T {
    within(what, async {
        loop {
            if let Some(seen) = poll().await {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

/// Returns all projects, once there are that many.
pub(crate) async fn projects(kube: &Kube, count: usize) -> Vec<Project> {
    let looked = async || kube.projects().await.ok().filter(|projects| projects.len() == count);
    eventually(&format!("{count} projects"), looked).await
}

/// Waits for a status, as word and reason.
pub(crate) async fn status(kube: &Kube, project: &str, wanted: &str) {
    let looked = async || {
        let project = kube.project(&id(project)).await.ok().flatten()?;
        (describe(&project.status) == wanted).then_some(())
    };
    eventually(wanted, looked).await;
}

fn describe(status: &ProjectStatus) -> String {
    match status {
        ProjectStatus::Ready | ProjectStatus::Deleting => "ready".to_owned(),
        ProjectStatus::Starting(condition) => format!("starting {}", condition.reason),
        ProjectStatus::Failing(condition) => format!("failing {}", condition.reason),
        ProjectStatus::Gone(condition) => format!("gone {}", condition.reason),
    }
}

/// Returns the pod of `demo`, once jobs can run in it.
pub(crate) async fn ready_pod(kube: &Kube) -> Pod {
    eventually("a pod", async || match kube.readiness(&PodRef::Project(id("demo"))).await {
        Ok(Some(Readiness::Ready(run_pod))) => Some(run_pod),
        _ => None,
    })
    .await
}

/// Runs a program in the pod: its output, and the end of the channel.
pub(crate) async fn run(
    kube: &Kube,
    run_pod: &Pod,
    argv: &[&str],
    stdin: Stdin,
) -> (Bytes, Result<(), String>) {
    let argv = argv.iter().map(|&word| word.to_owned()).collect();
    let mut all = BytesMut::new();
    let text_of = |error: rdev_ports::ExecError| format!("{:#}", anyhow::Error::from(error));
    let mut output = match kube.exec(run_pod, Exec { argv, stdin }).await {
        Ok(output) => output,
        Err(error) => return (all.freeze(), Err(text_of(error))),
    };
    loop {
        match within("output", output.next()).await {
            Some(Ok(bytes)) => all.extend_from_slice(&bytes),
            Some(Err(error)) => return (all.freeze(), Err(text_of(error))),
            None => return (all.freeze(), Ok(())),
        }
    }
}
