//! Nodes on which nothing starts any more, though their pods stay ready, and nodes that start slowly.

use std::time::Duration;

use rdev_client::types::{Status, WorkerStatus};
use rdev_kube_double::PodHandle;
use serde_json::json;

use crate::support::{Client, Runtime, Server, eventually};

/// Longest time in which everything goes on after the API server was restarted.
const ATTACHED_WITHIN: Duration = Duration::from_secs(60);

/// The pod of that name, also before it is there.
fn pod(server: &Server, name: &str) -> PodHandle {
    server.double().cluster().pod("rdev", name)
}

async fn add_task(client: &Client, max_attempts: u32) -> String {
    let body = json!({"type": "shell", "steps": ["echo ran at $HOSTNAME"], "max_attempts": max_attempts});
    client.add_task(&body).await.id
}

/// The worker in which a task ran.
async fn ran_at(client: &Client, task: &str) -> String {
    client.task_in(task, Status::Completed).await;
    let output = client.task_output(task).await;
    // The line itself is told as well.
    let at = output.lines().filter_map(|line| line.strip_prefix("ran at "));
    at.collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn a_worker_that_never_answers_gets_no_task_and_keeps_none_from_another() {
    let server = Runtime::Double.server().await;
    let client = server.client();
    pod(&server, "a-silent").hang_execs();
    server.double().add_worker("a-silent");
    server.double().add_worker("b-well");
    for _ in 0..4 {
        let task = add_task(&client, 1).await;
        assert_eq!(ran_at(&client, &task).await, "b-well");
    }
    let told = async || {
        Some(client.worker("a-silent").await).filter(|worker| worker.status == WorkerStatus::Failing)
    };
    let silent = eventually("the news", told).await;
    assert_eq!(silent.reason.as_deref(), Some("NotReachable"));
    assert!(silent.message.unwrap().contains("cannot be started"));
    let pool = client.api().pool().await.unwrap();
    assert_eq!([pool.capacity, pool.idle, pool.not_ready], [1, 1, 1]);

    pod(&server, "a-silent").release_execs();
    let back = async || (client.worker("a-silent").await.status == WorkerStatus::Ready).then_some(());
    eventually("the worker", back).await;
}

#[tokio::test]
async fn a_worker_that_falls_silent_holds_no_more_than_the_task_that_it_was_given() {
    let server = Runtime::Double.server().await;
    let client = server.client();
    for worker in ["a-silent", "b-well"] {
        server.double().add_worker(worker);
        let ready = async || (client.worker(worker).await.status == WorkerStatus::Ready).then_some(());
        client.has_worker(worker).await;
        eventually("the worker", ready).await;
    }
    pod(&server, "a-silent").hang_execs();
    let first = add_task(&client, 1).await;
    client.task_in(&first, Status::Running).await;
    for _ in 0..4 {
        let task = add_task(&client, 1).await;
        assert_eq!(ran_at(&client, &task).await, "b-well");
    }
    pod(&server, "a-silent").release_execs();
    assert_eq!(ran_at(&client, &first).await, "a-silent");
    assert_eq!(client.task(&first).await.attempts, 1);
}

#[tokio::test]
async fn commands_that_wait_for_a_silent_node_keep_no_other_project_waiting() {
    let server = Runtime::Double.server().await;
    let client = server.client();
    pod(&server, "silent").hang_execs();
    server.add_project("silent").await;
    let mut waiting = Vec::new();
    for _ in 0..30 {
        waiting.push(client.shell_in("silent", "echo at last").await.id);
    }
    assert_eq!(client.run("echo beside").await.0, ["beside"]);
    for id in &waiting {
        assert_eq!(client.command_in("silent", id).await.accepted.status, Status::Pending);
    }
    let looks = server.double().cluster().requests().into_iter();
    let looks =
        looks.filter(|request| request.name.as_deref() == Some("silent") && !request.command.is_empty());
    assert!(looks.count() <= 4, "one look at a time, with pauses");

    pod(&server, "silent").release_execs();
    for id in &waiting {
        assert_eq!(client.ended_in("silent", id).await.accepted.status, Status::Completed);
    }
}

/// So many commands go on over a restart of the API server, on a node that starts 20 programs at once in 50 ms each.
async fn attach_all(count: usize) {
    let server = Runtime::Double.fixture().with("RDEV_WORKER_CONCURRENCY", count.to_string()).start().await;
    let (client, cluster) = (server.client(), server.double().cluster());
    cluster.set_exec_pace(20, Duration::from_millis(50));
    let gate = server.double().pod().workspace().unwrap().join("gate");
    let made = std::process::Command::new("mkfifo").arg(&gate).status().unwrap();
    assert!(made.success());
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(client.shell("echo up; cat gate; echo down").await.id);
    }
    for id in &ids {
        let up = async || (client.output(id).await == "up\n").then_some(());
        eventually("its first line", up).await;
    }
    let started = cluster.execs("--request-stdin");
    assert_eq!(started, count, "one exec for each start");

    cluster.stop().await;
    cluster.start_again(true).await.unwrap();
    // Whoever has the gate open for reading ends when it was open for writing, and is not any more.
    let opened = tokio::task::spawn_blocking(move || std::fs::OpenOptions::new().write(true).open(gate));
    drop(opened.await.unwrap().unwrap());
    let all = async {
        for id in &ids {
            assert_eq!(client.ended(id).await.accepted.status, Status::Completed);
        }
    };
    tokio::time::timeout(ATTACHED_WITHIN, all).await.expect("all are attached to");
    for id in &ids {
        assert_eq!(client.output(id).await, "up\ndown\n");
    }
    let execs = cluster.execs("--request-stdin");
    assert!(execs <= 2 * count, "{execs} execs for {count} commands");
}

#[tokio::test]
async fn commands_are_attached_to_after_a_restart_of_the_api_server_with_one_exec_each() {
    attach_all(60).await;
}

#[tokio::test]
#[ignore = "a thousand processes: half a minute of two cores"]
async fn three_hundred_commands_are_attached_to_after_a_restart_of_the_api_server() {
    attach_all(300).await;
}
