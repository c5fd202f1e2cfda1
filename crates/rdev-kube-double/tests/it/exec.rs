//! Exec without faults.

use std::time::Duration;

use kube::api::AttachParams;
use rdev_kube_double::{Cluster, Config, ExecProtocol, NewPod};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::raw::{self, V4, V5, open, path, path_of, refused, run};
use crate::{appears, pods, soon};

async fn cluster(config: Config) -> Cluster {
    let cluster = Cluster::start_with(config).await.unwrap();
    cluster.add_pod(NewPod::new("default", "demo").env("COLOUR", "red")).unwrap();
    cluster
}

#[tokio::test]
async fn output_and_exit_code_arrive_over_both_protocols() {
    let cluster = cluster(Config::default()).await;
    for protocol in [V4, V5] {
        let got = run(&cluster, protocol, &["sh", "-c", "echo out; echo err >&2; exit 3"]).await;
        assert_eq!((got.text(), got.stderr.as_slice()), ("out\n", b"err\n".as_slice()));
        assert_eq!((got.exit_code(), got.reason(), got.closed), (Some("3"), Some("NonZeroExitCode"), true));
        let got = run(&cluster, protocol, &["true"]).await;
        assert_eq!((got.exit_code(), got.closed), (Some("0"), true));
    }
}

#[tokio::test]
async fn a_death_by_signal_is_128_and_the_signal() {
    let cluster = cluster(Config::default()).await;
    let got = run(&cluster, V4, &["sh", "-c", "kill -9 $$"]).await;
    assert_eq!(got.exit_code(), Some("137"));
}

#[tokio::test]
async fn a_missing_program_is_reported_after_the_upgrade_without_a_code() {
    let cluster = cluster(Config::default()).await;
    let got = run(&cluster, V5, &["no-such-program"]).await;
    assert_eq!((got.reason(), got.exit_code()), (Some("InternalError"), None));
    let message = got.status.unwrap().message.unwrap();
    assert!(message.ends_with(r#"exec: "no-such-program": executable file not found in $PATH: unknown"#));
}

#[tokio::test]
async fn processes_live_in_the_folder_of_their_pod_and_see_only_its_environment() {
    let cluster = cluster(Config::default()).await;
    let pod = cluster.pod("default", "demo");
    let got =
        run(&cluster, V5, &["sh", "-c", "pwd; echo $HOME; echo $RDEV_RUNS_DIR; echo $COLOUR; env"]).await;
    let folder = pod.folder().unwrap();
    let mut lines = got.text().lines();
    for name in ["workspace", "home", "run"] {
        assert_eq!(lines.next().unwrap(), folder.join(name).to_str().unwrap());
    }
    assert_eq!(lines.next().unwrap(), "red");
    assert!(lines.all(|line| !line.starts_with("CARGO")));
}

#[tokio::test]
async fn the_first_offered_protocol_that_the_server_knows_is_taken() {
    let both = cluster(Config::default()).await;
    let path_of_both = path_of("default", "demo", "stdout=1", &["true"]);
    for (offered, taken) in [(format!("{V4}, {V5}"), V4), (format!("x, {V5}, {V4}"), V5)] {
        assert_eq!(open(&both, &path_of_both, &offered).await.unwrap().protocol, taken);
    }

    let old = cluster(Config::kubernetes_1_20()).await;
    assert_eq!(open(&old, &path(&["true"]), &format!("{V5}, {V4}")).await.unwrap().protocol, V4);
    assert_eq!(refused(&old, &path(&["true"]), V5).await.0, 403);
}

#[tokio::test]
async fn v5_half_closes_standard_input() {
    let cluster = cluster(Config::default()).await;
    let mut exec = open(&cluster, &path(&["sh", "-c", "cat; echo end"]), V5).await.unwrap();
    exec.send(0, b"one ").await;
    exec.send(0, b"two ").await;
    exec.send(255, &[0]).await;
    let got = exec.rest().await;
    assert_eq!((got.text(), got.exit_code()), ("one two end\n", Some("0")));
}

#[tokio::test]
async fn v4_needs_a_reader_that_counts() {
    let cluster = cluster(Config::kubernetes_1_20()).await;
    let input = vec![b'x'; 2 * 1024 * 1024];
    let count = input.len().to_string();
    let mut exec = open(&cluster, &path(&["sh", "-c", "head -c $0 | wc -c", &count]), V4).await.unwrap();
    for piece in input.chunks(60_000) {
        exec.send(0, piece).await;
    }
    // Channel 255 has no meaning here.
    exec.send(255, &[0]).await;
    let got = exec.rest().await;
    assert_eq!((got.text().trim(), got.exit_code()), (count.as_str(), Some("0")));
}

#[tokio::test]
async fn closing_the_socket_of_v4_ends_input_and_loses_the_rest() {
    let cluster = cluster(Config::kubernetes_1_20()).await;
    let mut exec = open(&cluster, &path(&["sh", "-c", "cat > got; mv got all"]), V4).await.unwrap();
    exec.send(0, b"whole").await;
    soon(exec.socket.close(None)).await.unwrap();
    let got = exec.rest().await;
    assert!(got.status.is_none());
    let file = cluster.pod("default", "demo").workspace().unwrap().join("all");
    appears(&file).await;
    assert_eq!(std::fs::read(file).unwrap(), b"whole");
}

#[tokio::test]
async fn a_slow_client_holds_the_process_back_and_loses_nothing() {
    let cluster = cluster(Config::default()).await;
    let script = "head -c 20000000 /dev/zero; echo done >&2";
    let mut exec = open(&cluster, &path(&["sh", "-c", script]), V5).await.unwrap();
    let (channel, mut data) = exec.next().await.unwrap();
    assert!(channel == 1 && data.len() <= 32 * 1024);
    let mut rest = exec.rest().await;
    data.append(&mut rest.stdout);
    assert_eq!((data.len(), rest.exit_code()), (20_000_000, Some("0")));
}

#[tokio::test]
async fn a_process_outlives_its_client() {
    let cluster = cluster(Config::default()).await;
    let mut exec =
        open(&cluster, &path(&["sh", "-c", "echo on; read line; echo more; touch ended"]), V5).await.unwrap();
    assert_eq!(exec.next().await.unwrap(), (1, b"on\n".to_vec()));
    drop(exec);
    let file = cluster.pod("default", "demo").workspace().unwrap().join("ended");
    appears(&file).await;
}

#[tokio::test]
async fn what_cannot_be_entered_is_refused_as_by_the_real_one() {
    let cluster = cluster(Config::default()).await;
    cluster.add_pod(NewPod::new("default", "two").container("a").container("b")).unwrap();
    cluster.add_pod(NewPod::new("default", "new").unscheduled()).unwrap();
    cluster.add_pod(NewPod::new("default", "pulling").starting()).unwrap();
    let at = |pod: &str, options: &str| path_of("default", pod, &format!("stdout=true{options}"), &["true"]);
    for (path, code, text) in [
        (at("nobody", ""), 404, r#"pods \"nobody\" not found"#),
        (at("demo", "&container=side"), 400, "container side is not valid for pod demo"),
        (at("two", ""), 400, "choose one of: [a b]"),
        (at("new", ""), 400, "pod new does not have a host assigned"),
        (at("pulling", ""), 500, "container not found (\"main\")"),
    ] {
        let (got, body) = refused(&cluster, &path, V4).await;
        assert!(got == code && body.contains(text), "{got}: {body}");
    }
    let late = open(&cluster, &at("pulling", ""), V5).await.unwrap().rest().await;
    assert_eq!(late.reason(), Some("InternalError"));
}

#[tokio::test]
async fn kube_runs_programs_over_both_protocols() {
    for protocol in [ExecProtocol::V4, ExecProtocol::V5] {
        let cluster = cluster(Config { exec_protocols: vec![protocol], ..Config::default() }).await;
        let pods = pods(&cluster, "default").await;
        let params = AttachParams::default().stdin(true).stdout(true).stderr(false);
        let mut process = soon(pods.exec("demo", ["sh", "-c", "head -c 4; exit 7"], &params)).await.unwrap();
        let (mut stdin, mut stdout) = (process.stdin().unwrap(), process.stdout().unwrap());
        let status = process.take_status().unwrap();
        stdin.write_all(b"ping").await.unwrap();
        let mut text = String::new();
        soon(stdout.read_to_string(&mut text)).await.unwrap();
        assert_eq!(text, "ping");
        let causes = soon(status).await.unwrap().details.unwrap().causes.unwrap();
        assert_eq!(causes[0].message.as_deref(), Some("7"));
        soon(process.join()).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let cluster = cluster(Config::default()).await;
    let script = "setsid sh -c 'echo $$; exec sleep 1000' & setsid setsid sleep 1000 & sleep 1000";
    let mut exec = open(&cluster, &raw::path(&["sh", "-c", script]), V5).await.unwrap();
    let (_, pid) = exec.next().await.unwrap();
    let process = format!("/proc/{}", String::from_utf8(pid).unwrap().trim());
    assert!(std::path::Path::new(&process).exists());
    let folder = cluster.pod("default", "demo").folder().unwrap();
    drop(cluster);
    assert!(!folder.exists());
    // The process's new parent may not have reaped it yet.
    let state = std::fs::read_to_string(format!("{process}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
}

#[tokio::test]
async fn a_stuck_runtime_starts_nothing_until_it_is_released_and_other_pods_do_not_notice() {
    for (config, protocol) in [(Config::kubernetes_1_20(), V4), (Config::kubernetes_1_35(), V5)] {
        let cluster = cluster(config).await;
        cluster.add_pod(NewPod::new("default", "other")).unwrap();
        let pod = cluster.pod("default", "demo");
        pod.hang_execs();
        let hung =
            tokio::time::timeout(Duration::from_millis(200), run(&cluster, protocol, &["touch", "late"]));
        assert!(hung.await.is_err());
        let other = path_of("default", "other", "stdout=true", &["echo", "hi"]);
        assert_eq!(open(&cluster, &other, protocol).await.unwrap().rest().await.text(), "hi\n");
        pod.release_execs();
        assert_eq!(run(&cluster, protocol, &["echo", "hi"]).await.text(), "hi\n");
        if protocol == V5 {
            // Accepted by a server that does not wait for the node.
            appears(&pod.workspace().unwrap().join("late")).await;
        }
        assert_eq!((cluster.execs("touch"), cluster.execs("echo")), (1, 2));
    }
}

#[tokio::test]
async fn a_node_starts_so_many_at_once() {
    let cluster = cluster(Config::default()).await;
    cluster.set_exec_pace(1, Duration::from_secs(3600));
    let never = tokio::time::timeout(Duration::from_millis(100), run(&cluster, V5, &["true"]));
    assert!(never.await.is_err());
    cluster.set_exec_pace(1, Duration::from_millis(1));
    assert_eq!(run(&cluster, V5, &["echo", "hi"]).await.text(), "hi\n");
}
