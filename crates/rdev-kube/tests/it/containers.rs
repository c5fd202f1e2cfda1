//! Readiness of pods for jobs, and the disruption of jobs in them.

use std::sync::Arc;
use std::time::Duration;

use rdev_domain::Reason;
use rdev_kube_double::{Cluster, Refusal, Times};
use rdev_ports::testing::{FakeClock, START};
use rdev_ports::{Clock, Disruption, Pod, PodRef, Pods, Readiness, Stdin};

use crate::support::{
    BUNDLED, demo, demo_on, eventually, id, open_at, open_with, project, ready_pod, run, status,
};

async fn readiness(kube: &rdev_kube::Kube) -> Readiness {
    eventually("a readiness", async || kube.readiness(&PodRef::Project(id("demo"))).await.ok().flatten())
        .await
}

/// Returns the reason of a pod that needs repair.
fn unusable(readiness: &Readiness) -> Reason {
    match readiness {
        Readiness::Unusable { cause: failure } => failure.reason,
        other => panic!("{other:?}"),
    }
}

fn waiting(readiness: &Readiness) -> Reason {
    match readiness {
        Readiness::NotReady { cause: failure, .. } => failure.reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_runner_is_copied_in_once_and_called_by_its_name() {
    let (cluster, pod, kube) = demo().await;
    let there = ready_pod(&kube).await;
    let bin = pod.run_folder().unwrap().join("bin");
    let program = std::fs::read_dir(&bin).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read(&program).unwrap(), BUNDLED.program);
    assert_eq!(std::fs::read_dir(&bin).unwrap().count(), 1);
    assert_eq!(run(&kube, &there, &["rdev-runner", "run", "echo", "hi"], Stdin::None).await.0, "hi\n");
    // Another server finds the runner installed.
    cluster.forget_requests();
    let other = open_with(cluster.kubeconfig(), BUNDLED).await;
    assert_eq!(ready_pod(&other).await, there);
    let copies =
        cluster.requests().into_iter().filter(|r| r.command.iter().any(|word| word.contains("head -c")));
    assert_eq!(copies.count(), 0);
}

#[tokio::test]
async fn a_copy_that_a_command_has_replaced_is_never_run() {
    let (_cluster, pod, kube) = demo().await;
    let there = ready_pod(&kube).await;
    let bin = pod.run_folder().unwrap().join("bin");
    let program = std::fs::read_dir(&bin).unwrap().next().unwrap().unwrap().path();
    for _ in 0..2 {
        std::fs::write(&program, "#!/bin/sh\necho false\n").unwrap();
        let (said, error) = run(&kube, &there, &["rdev-runner", "run", "echo", "hi"], Stdin::None).await;
        assert_eq!(said, "");
        assert!(format!("{error:?}").contains("is not the runner"), "{error:?}");
        // The next probe of the pod installs the runner again.
        assert_eq!(ready_pod(&kube).await, there);
        assert_eq!(std::fs::read(&program).unwrap(), BUNDLED.program);
        assert_eq!(run(&kube, &there, &["rdev-runner", "run", "echo", "hi"], Stdin::None).await.0, "hi\n");
    }
}

#[tokio::test]
async fn a_runner_in_the_image_is_used_and_one_of_another_version_is_not() {
    for (protocol, copied) in [(8, false), (7, true)] {
        let image = tempfile::tempdir().unwrap();
        let program = image.path().join("rdev-runner");
        let text = String::from_utf8(BUNDLED.program.to_vec())
            .unwrap()
            .replace("rdev-runner 8", &format!("rdev-runner {protocol}"));
        std::fs::write(&program, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        let path = format!("{}:/usr/bin:/bin", image.path().display());
        let (_cluster, pod, kube) =
            demo_on(Cluster::start().await.unwrap(), project("demo").path(path)).await;
        let there = ready_pod(&kube).await;
        assert_eq!(pod.run_folder().unwrap().join("bin").exists(), copied, "protocol {protocol}");
        assert_eq!(run(&kube, &there, &["rdev-runner", "run", "echo", "hi"], Stdin::None).await.0, "hi\n");
    }
}

#[tokio::test]
async fn commands_run_in_a_sidecar_that_is_named() {
    let pod =
        project("demo").container("app").sidecar("agent").annotation("rdev.orchard9.ai/container", "agent");
    let (cluster, _pod, kube) = demo_on(Cluster::start().await.unwrap(), pod).await;
    let there = ready_pod(&kube).await;
    assert_eq!(run(&kube, &there, &["echo", "hi"], Stdin::None).await, ("hi\n".into(), Ok(())));
    cluster.request(|request| request.resource == "pods/exec").await.unwrap();
}

#[tokio::test]
async fn a_sidecar_that_is_started_again_is_none_of_a_projects_business() {
    let (_cluster, pod, kube) =
        demo_on(Cluster::start().await.unwrap(), project("demo").sidecar("mesh")).await;
    let there = ready_pod(&kube).await;
    pod.restart_container("mesh", true, "OOMKilled", 137).unwrap();
    status(&kube, "demo", "ready").await;
    assert_eq!(ready_pod(&kube).await, there);
    assert_eq!(kube.disruption(&there.pod_ref, &there.uid, START).await.unwrap(), Disruption::Unknown);
}

#[tokio::test]
async fn what_keeps_commands_from_running_has_its_reason() {
    let cluster = Cluster::start().await.unwrap();
    let nothing = tempfile::tempdir().unwrap();
    let (cluster, _pod, kube) = demo_on(cluster, project("demo").path(nothing.path())).await;
    assert_eq!(unusable(&readiness(&kube).await), Reason::NoShell);

    let foreign = rdev_kube::Bundled { machine: "vax", ..BUNDLED };
    cluster.add_pod(project("other")).unwrap();
    let kube = open_with(cluster.kubeconfig(), foreign).await;
    let other = eventually("a readiness", async || {
        kube.readiness(&PodRef::Project(id("other"))).await.ok().flatten()
    })
    .await;
    assert_eq!(unusable(&other), Reason::RunnerMissing);
    assert!(matches!(other, Readiness::Unusable { cause: failure } if failure.message.contains("vax")));
}

#[tokio::test]
async fn a_refusal_is_waited_out_until_it_is_permanent() {
    let cluster = Cluster::start().await.unwrap();
    cluster.add_pod(project("demo")).unwrap();
    let clock = Arc::new(FakeClock::default());
    cluster.refuse("get", "pods/exec", Times::All, Refusal::Forbidden);
    let kube = open_at(cluster.kubeconfig(), BUNDLED, clock.clone()).await;
    assert_eq!(waiting(&readiness(&kube).await), Reason::ExecForbidden);
    clock.advance(Duration::from_secs(30));
    let verdict = async || {
        Some(readiness(&kube).await).filter(|readiness| matches!(readiness, Readiness::Unusable { .. }))
    };
    assert_eq!(unusable(&eventually("the permanent failure", verdict).await), Reason::ExecForbidden);
    // A repair needs no restart of rdev, and until then the cluster gets few requests.
    cluster.forget_requests();
    assert_eq!(unusable(&readiness(&kube).await), Reason::ExecForbidden);
    assert!(!cluster.requests().iter().any(|request| request.resource == "pods/exec"));
    cluster.refuse_nothing();
    ready_pod(&kube).await;
}

#[tokio::test]
async fn refused_credentials_are_transient() {
    let cluster = Cluster::start().await.unwrap();
    cluster.add_pod(project("demo")).unwrap();
    let clock = Arc::new(FakeClock::default());
    cluster.refuse("get", "pods/exec", Times::All, Refusal::Unauthorized);
    let kube = open_at(cluster.kubeconfig(), BUNDLED, clock.clone()).await;
    for _ in 0..2 {
        let readiness = readiness(&kube).await;
        assert_eq!(waiting(&readiness), Reason::ExecForbidden);
        assert!(
            matches!(readiness, Readiness::NotReady { cause: failure, .. } if failure.message.contains("token"))
        );
        clock.advance(Duration::from_secs(3600));
    }
    cluster.refuse_nothing();
    ready_pod(&kube).await;
}

#[tokio::test]
async fn a_failed_probe_shell_is_retried() {
    // A `head` that is killed, or finds the disk full, while the runner is copied in.
    for failure in ["kill -9 $PPID", "echo 'head: error writing: No space left on device' >&2; exit 1"] {
        let image = tempfile::tempdir().unwrap();
        let head = image.path().join("head");
        std::fs::write(&head, format!("#!/bin/sh\n{failure}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&head, mode).unwrap();
        let path = format!("{}:/usr/bin:/bin", image.path().display());
        let (_cluster, _pod, kube) =
            demo_on(Cluster::start().await.unwrap(), project("demo").path(path)).await;
        // The reporter of the copy ends a moment after a killed shell.
        let failed = async || (waiting(&readiness(&kube).await) == Reason::RunnerMissing).then_some(());
        eventually(failure, failed).await;
        std::fs::remove_file(&head).unwrap();
        ready_pod(&kube).await;
    }
}

#[tokio::test]
async fn a_transient_failure_is_waited_out() {
    for refusal in
        [Refusal::TooManyRequests(1), Refusal::InternalError, Refusal::Unavailable, Refusal::Conflict]
    {
        let cluster = Cluster::start().await.unwrap();
        cluster.refuse("get", "pods/exec", Times::All, refusal);
        let (cluster, _pod, kube) = demo_on(cluster, project("demo")).await;
        assert_eq!(waiting(&readiness(&kube).await), Reason::PodNotReady, "{refusal:?}");
        cluster.refuse_nothing();
        ready_pod(&kube).await;
    }
    let (_cluster, pod, kube) = demo().await;
    ready_pod(&kube).await;
    pod.node_lost().unwrap();
    status(&kube, "demo", "failing NodeLost").await;
    assert_eq!(waiting(&readiness(&kube).await), Reason::NodeLost);
    pod.node_back().unwrap();
    ready_pod(&kube).await;
    assert!(kube.readiness(&PodRef::Project(id("unknown"))).await.unwrap().is_none());
}

/// Returns the disruption of the pod, once it is known.
async fn disruption(kube: &rdev_kube::Kube, run_pod: &Pod) -> Disruption {
    eventually("its disruption", async || {
        Some(kube.disruption(&run_pod.pod_ref, &run_pod.uid, START).await.unwrap())
            .filter(|disruption| *disruption != Disruption::Unknown)
    })
    .await
}

fn gone(disruption: Disruption) -> Reason {
    match disruption {
        Disruption::Lost(failure) => failure.reason,
        other => panic!("{other:?}"),
    }
}

fn interrupted(disruption: Disruption) -> Reason {
    match disruption {
        Disruption::Restarted(failure) => failure.reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_loss_has_its_reason() {
    let (cluster, pod, kube) = demo().await;
    let first = ready_pod(&kube).await;
    assert_eq!(kube.disruption(&first.pod_ref, &first.uid, START).await.unwrap(), Disruption::Unknown);

    pod.oom_kill("main").unwrap();
    assert_eq!(interrupted(disruption(&kube, &first).await), Reason::OomKilled);
    // The folder of runs still exists: its journals can still be read.
    assert_eq!(ready_pod(&kube).await, first);

    pod.restart_container("main", false, "Error", 1).unwrap();
    assert_eq!(interrupted(disruption(&kube, &first).await), Reason::PodRestarted);
    let second =
        eventually("another pod", async || Some(ready_pod(&kube).await).filter(|p| *p != first)).await;

    pod.evict("the node needs room").unwrap();
    assert_eq!(gone(disruption(&kube, &second).await), Reason::PodEvicted);
    pod.replace().unwrap();
    assert_eq!(gone(disruption(&kube, &second).await), Reason::PodEvicted);

    let third =
        eventually("another pod", async || Some(ready_pod(&kube).await).filter(|p| *p != second)).await;
    pod.delete(Duration::ZERO).unwrap();
    assert_eq!(gone(disruption(&kube, &third).await), Reason::PodLost);
    // A server that was not running at the time knows that the pod is gone.
    let other = open_with(cluster.kubeconfig(), BUNDLED).await;
    assert_eq!(gone(disruption(&other, &third).await), Reason::PodLost);
}

#[tokio::test]
async fn a_restart_has_the_time_of_our_clock() {
    // The double's node has the time of this machine: far ahead of the one clock, far behind the other.
    for years in [0, 50] {
        let cluster = Cluster::start().await.unwrap();
        let pod = cluster.add_pod(project("demo")).unwrap();
        let clock = Arc::new(FakeClock::default());
        clock.advance(Duration::from_secs(years * 365 * 24 * 3600));
        let kube = open_at(cluster.kubeconfig(), BUNDLED, clock.clone()).await;
        let there = ready_pod(&kube).await;
        let started_before = clock.now();
        clock.advance(Duration::from_secs(5));
        pod.oom_kill("main").unwrap();
        let ended = async || {
            Some(kube.disruption(&there.pod_ref, &there.uid, started_before).await.unwrap())
                .filter(|disruption| *disruption != Disruption::Unknown)
        };
        assert_eq!(interrupted(eventually("the end", ended).await), Reason::OomKilled);
        clock.advance(Duration::from_secs(5));
        assert_eq!(
            kube.disruption(&there.pod_ref, &there.uid, clock.now()).await.unwrap(),
            Disruption::Unknown
        );
    }
}
