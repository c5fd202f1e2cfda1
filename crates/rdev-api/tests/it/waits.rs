//! Waiting for an end without holding a stream: `?wait=` of one command, task or operation.

use std::time::Duration;

use rdev_client::types::{Command, CreateProjectBody, Data, OperationStatus, Status};
use serde_json::json;

use crate::support::{Client, Fixture, Runtime, Server, on_both_stores, within};

on_both_stores! {
    a_command_is_answered_at_its_end_and_so_are_a_task_and_an_operation,
    many_wait_for_many_and_each_is_answered,
    whoever_waits_is_answered_when_the_server_stops,
}

const UNTIL_GO: &str = "until [ -e go ]; do sleep 0.02; done";

/// Begins to wait for a command of `demo`.
fn waiting(client: &Client, id: &str, seconds: u32) -> tokio::task::JoinHandle<Command> {
    let (api, id) = (client.api().clone(), id.to_owned());
    tokio::spawn(async move { api.await_command("demo", &id, seconds).await.expect("the command is there") })
}

async fn a_command_is_answered_at_its_end_and_so_are_a_task_and_an_operation(on: Runtime) {
    let server = on.server_with_workers(1).await;
    let client = server.client();
    let accepted = client.shell(&format!("{UNTIL_GO}; exit 3")).await;
    // After a second it is told as it stands.
    let running = client.api().await_command("demo", &accepted.id, 1).await.unwrap();
    assert!(!running.accepted.status.is_ended(), "{running:?}");
    let waiting = waiting(&client, &accepted.id, 60);
    client.begun(&accepted.id).await;
    server.touch("go").await;
    let ended = within("the end", waiting).await.unwrap();
    assert_eq!((ended.accepted.status, ended.progress.exit_code), (Status::Failed, Some(3)));
    // What has ended is answered at once.
    let again = client.api().await_command("demo", &accepted.id, 60).await.unwrap();
    assert_eq!(again, ended);

    let task = client.add_task(&json!({"type": "shell", "steps": ["true"]})).await;
    assert_eq!(client.api().await_task(&task.id, 60).await.unwrap().status, Status::Completed);
    let operation = client.api().create_project(&CreateProjectBody::new("shop")).await.unwrap();
    let operation = client.api().await_operation(&operation.operation_id, 60).await.unwrap();
    assert_eq!(operation.accepted.status, OperationStatus::Completed);
}

async fn many_wait_for_many_and_each_is_answered(on: Runtime) {
    const COMMANDS: usize = 20;
    let server = on.server().await;
    let client = server.client();
    let mut waits = Vec::new();
    for n in 0..COMMANDS {
        let accepted = client.shell(&format!("sleep 0.{}; exit {n}", n % 7)).await;
        waits.push((waiting(&client, &accepted.id, 60), n));
    }
    for (wait, n) in waits {
        let ended = within("the end", wait).await.unwrap();
        assert_eq!(ended.progress.exit_code, Some(n as i32));
    }
}

async fn whoever_waits_is_answered_when_the_server_stops(on: Runtime) {
    let mut server = on.server().await;
    let client = server.client();
    let accepted = client.shell(UNTIL_GO).await;
    client.begun(&accepted.id).await;
    let waiting = waiting(&client, &accepted.id, 60);
    // The request is under way once another one is answered that came after it.
    tokio::time::sleep(Duration::from_millis(200)).await;
    client.command(&accepted.id).await;
    server.terminate();
    assert_eq!(within("the answer", waiting).await.unwrap().accepted.status, Status::Running);
    assert!(server.wait().await.success());
    server.restart().await;
    server.touch("go").await;
    server.client().ended(&accepted.id).await;
}

/// hyper tells nothing of a client that leaves; here it closes its side, and is told at once how the command stands.
#[tokio::test]
async fn nobody_waits_for_a_client_that_has_left() {
    let server = Server::start().await;
    let client = server.client();
    let accepted = client.shell(UNTIL_GO).await;
    client.begun(&accepted.id).await;
    let wait = format!("/projects/demo/commands/{}?wait=60", accepted.id);
    let answer = within("the answer", client.get(&wait).try_send_half_closed()).await.unwrap();
    let command: Data<Command> = answer.json(200);
    assert_eq!(command.data.accepted.status, Status::Running);
    server.touch("go").await;
    client.ended(&accepted.id).await;
}

#[tokio::test]
async fn a_wait_has_a_range() {
    let server = Server::start().await;
    let client = server.client();
    let id = client.shell("true").await.id;
    for seconds in ["0", "61", "4294967295"] {
        let answer = client.get(&format!("/projects/demo/commands/{id}?wait={seconds}")).send().await;
        assert_eq!(answer.failure(422, "VALIDATION_FAILED").fields(), ["wait"], "{seconds}");
    }
    for wrong in ["x", "-1", "1.5", ""] {
        client
            .get(&format!("/projects/demo/commands/{id}?wait={wrong}"))
            .send()
            .await
            .failure(400, "INVALID_QUERY");
    }
    let none = format!("cmd-{}", "0".repeat(32));
    client
        .get(&format!("/projects/demo/commands/{none}?wait=60"))
        .send()
        .await
        .failure(404, "COMMAND_NOT_FOUND");
    client.get("/projects/demo/commands?wait=1").send().await.failure(400, "INVALID_QUERY");
}

#[tokio::test]
async fn the_end_is_found_by_a_server_that_does_not_run_the_command() {
    let a = Runtime::LocalOnPostgres.server().await;
    let b = Fixture::new().with("RDEV_LEASE_SECONDS", "3").start_beside(&a).await;
    for client in [a.client(), b.client()] {
        let body = json!({"command": "sleep 0.3; exit 4"});
        let accepted = client.post("/projects/demo/shell", &body).send().await;
        let accepted: Data<rdev_client::types::Accepted> = accepted.json(202);
        let waits = [&a, &b].map(|server| waiting(&server.client(), &accepted.data.id, 60));
        for wait in waits {
            assert_eq!(within("the end", wait).await.unwrap().progress.exit_code, Some(4));
        }
    }
}
