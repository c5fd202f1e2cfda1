//! Pods that are deleted, rolled out, not ready for a while, or short of memory, while the server is killed and started
//! again: every line comes once, with the true end, and nothing runs twice.

use rdev_client::types::{CompleteEvent, Event, ProjectStatus, Reason, Status, Task};
use serde_json::json;

use crate::support::{Client, Cluster, Events, Repository, Runtime, Server, eventually};

/// Lines that a command writes, about eight seconds long.
const LINES: u64 = 40;

/// Writes its lines, and ends well.
fn counting() -> String {
    format!("i=0; while [ $i -lt {LINES} ]; do i=$((i + 1)); echo $i; sleep 0.2; done")
}

/// A task that must not run twice.
pub(super) async fn add_counting_task(client: &Client) -> Task {
    client.add_task(&json!({"type": "shell", "steps": [counting()], "max_attempts": 1})).await
}

/// Waits for a line, which is the next one.
pub(super) async fn until_line(events: &mut Events, line: u64) {
    loop {
        if let Event::Output(output) = events.event().await.event
            && output.line == line.to_string()
        {
            return;
        }
    }
}

/// Reads a stream from its beginning to its end: its lines count up from 1, after the step of a task, which is told first.
async fn counted(mut events: Events) -> (u64, CompleteEvent) {
    let mut last = 0;
    loop {
        match events.event().await.event {
            Event::Output(output) if last == 0 && output.line.starts_with("+ ") => {}
            Event::Output(output) => {
                assert_eq!(output.line, (last + 1).to_string());
                last += 1;
            }
            Event::Complete(complete) => return (last, complete),
            Event::Status(_) | Event::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The task has run once, to its end, and every line of it is there.
pub(super) async fn ran_once(client: &Client, task: &Task) {
    let ended = eventually("the task's end", async || {
        Some(client.task(&task.id).await).filter(|task| task.status.is_ended())
    })
    .await;
    let (lines, complete) = counted(client.follow_task(&task.id, None).await).await;
    assert_eq!((lines, complete.status, complete.reason), (LINES, Status::Completed, None));
    assert_eq!((ended.status, ended.attempts), (Status::Completed, 1));
}

pub(super) async fn killed_and_restarted(server: &mut Server) {
    server.kill9().await;
    server.restart().await;
}

#[tokio::test]
#[ignore = "needs a real cluster: scripts/test-cluster.sh"]
async fn a_task_in_a_worker_that_is_deleted_ends_as_if_nothing_had_happened() {
    let mut server = Runtime::Cluster.fixture().without_projects().start().await;
    server.namespace().apply_workers(1).await;
    let task = add_counting_task(&server.client()).await;
    let mut events = server.client().follow_task(&task.id, None).await;
    until_line(&mut events, 3).await;
    let worker = server.namespace().pod_of("app.kubernetes.io/name=rdev-worker").await;
    server.namespace().kubectl(&["delete", "pod", &worker, "--wait=false"]).await;
    killed_and_restarted(&mut server).await;
    let client = server.client();
    // The Deployment makes another worker, and it takes what is new.
    let next = client.add_task(&json!({"type": "shell", "steps": ["echo well"]})).await;
    client.task_in(&next.id, Status::Completed).await;
    ran_once(&client, &task).await;
}

#[tokio::test]
#[ignore = "needs a real cluster: scripts/test-cluster.sh"]
async fn a_rollout_of_server_and_workers_at_once_loses_nothing_and_repeats_nothing() {
    let mut server = Runtime::Cluster.fixture().without_projects().start().await;
    server.namespace().apply_workers(2).await;
    let client = server.client();
    let mut tasks = Vec::new();
    for _ in 0..6 {
        tasks.push(add_counting_task(&client).await);
    }
    let mut events = client.follow_task(&tasks[0].id, None).await;
    until_line(&mut events, 3).await;
    server.namespace().kubectl(&["rollout", "restart", "deployment/rdev-worker"]).await;
    killed_and_restarted(&mut server).await;
    let client = server.client();
    for task in &tasks {
        ran_once(&client, task).await;
    }
}

#[tokio::test]
#[ignore = "needs a real cluster: scripts/test-cluster.sh"]
async fn a_project_whose_pod_is_deleted_is_told_so_and_its_next_pod_works() {
    let repository = Repository::serve(&Cluster::host()).await;
    let mut server = Runtime::Cluster.fixture().without_projects().start().await;
    server.namespace().add_claudebox("demo", &repository.url()).await;
    server.knows("demo").await;
    let accepted = server.client().shell(&counting()).await;
    let mut events = server.client().follow(&accepted.stream_id, None).await;
    until_line(&mut events, 3).await;
    server.namespace().kubectl(&["delete", "pod", "claudebox-demo-0", "--wait=false"]).await;
    killed_and_restarted(&mut server).await;
    let client = server.client();
    let (lines, complete) = counted(client.follow(&accepted.stream_id, None).await).await;
    let end = (complete.status, complete.reason);
    assert!(lines >= 3 && end == (Status::Failed, Some(Reason::PodLost)), "{lines}, {complete:?}");
    let (lines, complete) = client.run("echo well").await;
    assert_eq!((lines, complete.exit_code), (vec!["well".to_owned()], Some(0)));
}

#[tokio::test]
#[ignore = "needs a real cluster: scripts/test-cluster.sh"]
async fn a_readiness_that_comes_and_goes_costs_no_line_and_a_cancel_is_heard() {
    let mut server = Runtime::Cluster.fixture().without_projects().start().await;
    server.namespace().add_pod_ready_by_file("demo", "ready").await;
    server.touch("ready").await;
    server.knows("demo").await;
    let client = server.client();
    let counting = client.shell(&counting()).await;
    let endless = client.shell("echo 1; sleep 600").await;
    for accepted in [&counting, &endless] {
        until_line(&mut client.follow(&accepted.stream_id, None).await, 1).await;
    }
    server.namespace().kubectl(&["exec", "demo", "--", "rm", "/workspace/ready"]).await;
    server.project_in("demo", ProjectStatus::Starting).await;
    killed_and_restarted(&mut server).await;
    let client = server.client();
    client.cancel(&endless.id).await;
    assert_eq!(client.ended(&endless.id).await.accepted.status, Status::Cancelled);
    let waiting = client.shell("echo well").await;
    let (lines, complete) = counted(client.follow(&counting.stream_id, None).await).await;
    assert_eq!((lines, complete.exit_code), (LINES, Some(0)));
    assert_eq!(client.command(&waiting.id).await.accepted.status, Status::Pending);
    server.touch("ready").await;
    assert_eq!(client.ended(&waiting.id).await.accepted.status, Status::Completed);
}

#[tokio::test]
#[ignore = "needs a real cluster: scripts/test-cluster.sh"]
async fn an_innocent_command_outlives_one_that_eats_all_memory() {
    let server = Runtime::Cluster.server().await;
    let client = server.client();
    let innocent = client.shell(&counting()).await;
    until_line(&mut client.follow(&innocent.stream_id, None).await, 1).await;
    let (_, complete) = client.run("exec tail /dev/zero").await;
    assert_eq!((complete.status, complete.reason), (Status::Failed, Some(Reason::OomKilled)));
    let (lines, complete) = counted(client.follow(&innocent.stream_id, None).await).await;
    assert_eq!((lines, complete.exit_code), (LINES, Some(0)));
}
