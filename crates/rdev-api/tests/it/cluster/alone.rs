//! Stories that disturb every pod of the cluster, so each is told by itself.

use std::time::Duration;

use rdev_client::types::Event;
use tokio::time::timeout;

use super::going::{add_counting_task, killed_and_restarted, ran_once, until_line};
use crate::support::{Runtime, looking};

/// An API server that is asked to end takes a minute to do so.
const BACK_WITHIN: Duration = Duration::from_secs(150);

/// A command writes on while a daemon is restarted: each line comes once and in order, and its exact end.
async fn told_through_a_restart_of(daemon: &str) {
    const LINES: u64 = 600;
    let server = Runtime::Cluster.server().await;
    let client = server.client();
    let line = format!("i=0; while [ $i -lt {LINES} ]; do i=$((i + 1)); echo $i; sleep 0.05; done; exit 7");
    let accepted = client.shell(&line).await;
    let mut events = client.follow(&accepted.stream_id, None).await;
    let mut last = 0;
    let complete = loop {
        match events.event().await.event {
            Event::Output(line) => {
                assert_eq!((line.seq, line.line.as_str()), (last + 1, line.seq.to_string().as_str()));
                last = line.seq;
                if last == 100 {
                    server.namespace().end_daemon(daemon).await;
                }
            }
            Event::Complete(complete) => break complete,
            Event::Status(_) | Event::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((last, complete.seq, complete.exit_code), (LINES, LINES + 1, Some(7)));
    let reachable = looking(async || server.namespace().reachable().await.then_some(()));
    timeout(BACK_WITHIN, reachable).await.expect("the cluster works again");
    let (lines, complete) = client.run("echo well").await;
    assert_eq!((lines, complete.exit_code), (vec!["well".to_owned()], Some(0)));
}

#[tokio::test]
#[ignore = "needs a real cluster: scripts/test-cluster.sh"]
async fn a_restarted_kubelet_costs_no_line() {
    told_through_a_restart_of("kubelet").await;
}

#[tokio::test]
#[ignore = "needs a real cluster: scripts/test-cluster.sh"]
async fn a_restarted_containerd_costs_no_line() {
    told_through_a_restart_of("containerd").await;
}

#[tokio::test]
#[ignore = "needs a real cluster: scripts/test-cluster.sh"]
async fn a_restarted_api_server_costs_no_line() {
    told_through_a_restart_of("kube-apiserver").await;
}

#[tokio::test]
#[ignore = "needs a real cluster: scripts/test-cluster.sh"]
async fn a_drained_node_waits_for_its_tasks() {
    let mut server = Runtime::Cluster.fixture().without_projects().start().await;
    server.namespace().apply_workers(1).await;
    let task = add_counting_task(&server.client()).await;
    until_line(&mut server.client().follow_task(&task.id, None).await, 3).await;
    let mut drain = server.namespace().drain_node().await;
    killed_and_restarted(&mut server).await;
    ran_once(&server.client(), &task).await;
    drain.done().await;
}
