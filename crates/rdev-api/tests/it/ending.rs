//! Cancelling and running out of time: nothing is left alive, and the end is told honestly.

use rdev_client::Received;
use rdev_client::types::{Command, CompleteEvent, Event, Reason, Status};

use crate::support::{Item, Runtime, Server, eventually, moment, on_every_runtime};

on_every_runtime! {
    a_running_command_is_cancelled,
    a_pending_command_is_cancelled_without_a_start,
    cancelling_twice_at_once_is_cancelling,
    a_completed_command_stays_completed,
    an_unknown_command_cannot_be_cancelled,
    a_command_that_ignores_term_is_killed_after_the_grace,
    a_grandchild_in_its_own_session_goes_with_a_cancel,
    a_grandchild_in_its_own_session_goes_with_the_time,
    a_stopped_process_goes_too,
    a_cancel_survives_a_kill_of_the_server,
    the_default_limit_is_the_configured_one,
    a_cancelled_command_is_seen_running_first,
}

/// Grace, a second, and what a busy machine takes, in milliseconds.
const GRACE_AND_SLACK_MS: u64 = 5_000 + 1_000 + 2_000;

/// The complete event at the end of a stream.
async fn complete(server: &Server, stream: &str) -> CompleteEvent {
    let items = server.client().connection(stream, None).await.rest().await;
    match items.last() {
        Some(Item::Event(Received { event: Event::Complete(complete), .. })) => complete.clone(),
        other => panic!("{other:?}"),
    }
}

fn told(command: &Command) -> (Status, Option<Reason>) {
    (command.accepted.status, command.progress.reason)
}

async fn a_running_command_is_cancelled(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let accepted = client.shell("echo $$ > pid; echo up; sleep 300").await;
    server.file_written("pid").await;
    let asked = client.cancel(&accepted.id).await;
    assert!(asked.progress.cancel_requested);
    let complete = complete(&server, &accepted.stream_id).await;
    assert_eq!((complete.status, complete.reason), (Status::Cancelled, Some(Reason::Cancelled)));
    assert!(!server.lives("pid").await);

    // After the end, and again: nothing changes.
    let ended = client.command(&accepted.id).await;
    assert_eq!(told(&ended), (Status::Cancelled, Some(Reason::Cancelled)));
    for _ in 0..2 {
        let again = client.cancel(&accepted.id).await;
        assert_eq!(told(&again), (Status::Cancelled, Some(Reason::Cancelled)));
        assert_eq!(
            (&again.progress.ended_at, again.progress.exit_code),
            (&ended.progress.ended_at, ended.progress.exit_code)
        );
    }
}

async fn a_pending_command_is_cancelled_without_a_start(on: Runtime) {
    let server = on.fixture().with("RDEV_WORKER_CONCURRENCY", "1").start().await;
    let client = server.client();
    let first = client.shell("until [ -e go ]; do sleep 0.02; done").await;
    client.begun(&first.id).await;
    let second = client.shell("touch second-ran").await;
    let third = client.shell("echo third").await;
    assert_eq!(client.command(&second.id).await.accepted.status, Status::Pending);
    let cancelled = client.cancel(&second.id).await;
    assert_eq!(told(&cancelled), (Status::Cancelled, Some(Reason::Cancelled)));
    assert_eq!((cancelled.progress.started_at, cancelled.progress.exit_code), (None, None));
    let complete = complete(&server, &second.stream_id).await;
    assert_eq!((complete.seq, complete.status), (1, Status::Cancelled));
    server.touch("go").await;
    assert_eq!(client.ended(&third.id).await.accepted.status, Status::Completed);
    assert_eq!(server.file("second-ran").await, None);
}

async fn cancelling_twice_at_once_is_cancelling(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let accepted = client.shell("echo $$ > pid; sleep 300").await;
    server.file_written("pid").await;
    let (one, two) = tokio::join!(client.cancel(&accepted.id), client.cancel(&accepted.id));
    assert!(one.progress.cancel_requested && two.progress.cancel_requested);
    assert_eq!(told(&client.ended(&accepted.id).await), (Status::Cancelled, Some(Reason::Cancelled)));
}

async fn a_completed_command_stays_completed(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let accepted = client.shell("echo ready").await;
    let ended = client.ended(&accepted.id).await;
    let after = client.cancel(&accepted.id).await;
    assert_eq!(told(&after), (Status::Completed, None));
    assert_eq!(
        (after.progress.ended_at, after.progress.cancel_requested),
        (ended.progress.ended_at, ended.progress.cancel_requested)
    );
}

async fn an_unknown_command_cannot_be_cancelled(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let unknown = format!("cmd-{}", "0".repeat(32));
    for (path, code) in [
        (format!("/projects/demo/commands/{unknown}/cancel"), "COMMAND_NOT_FOUND"),
        ("/projects/demo/commands/nonsense/cancel".to_owned(), "COMMAND_NOT_FOUND"),
        (format!("/projects/none/commands/{unknown}/cancel"), "PROJECT_NOT_FOUND"),
    ] {
        client.call("POST", &path).send().await.failure(404, code);
    }
    // A command of one project is not found in another.
    server.add_project("other").await;
    let accepted = client.shell("true").await;
    let path = format!("/projects/other/commands/{}/cancel", accepted.id);
    client.call("POST", &path).send().await.failure(404, "COMMAND_NOT_FOUND");
}

async fn a_command_that_ignores_term_is_killed_after_the_grace(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let stubborn = "trap '' TERM INT HUP; echo $$ > pid; while :; do sleep 1; done";
    let accepted = client.shell(stubborn).await;
    server.file_written("pid").await;
    let asked = client.cancel(&accepted.id).await;
    let ended = client.ended(&accepted.id).await;
    assert_eq!(told(&ended), (Status::Cancelled, Some(Reason::Cancelled)));
    assert_eq!(ended.progress.exit_code, Some(137));
    let took = moment(&ended.progress.ended_at.unwrap())
        .duration_since(moment(&asked.progress.started_at.unwrap()))
        .as_millis();
    let grace = u64::try_from(took).unwrap();
    assert!(grace < GRACE_AND_SLACK_MS + 3_000, "it took {grace} ms");
    assert!(!server.lives("pid").await);
}

async fn a_grandchild_in_its_own_session_goes_with_a_cancel(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let accepted = client.shell("setsid sh -c 'echo $$ > far; exec sleep 300' & sleep 300").await;
    server.file_written("far").await;
    client.cancel(&accepted.id).await;
    assert_eq!(told(&client.ended(&accepted.id).await), (Status::Cancelled, Some(Reason::Cancelled)));
    assert!(!server.lives("far").await);
    server.nothing_left().await;
}

async fn a_grandchild_in_its_own_session_goes_with_the_time(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let stubborn = "setsid sh -c 'trap \"\" TERM; echo $$ > far; while :; do sleep 1; done' & sleep 300";
    let accepted = client.shell_for(1, stubborn).await;
    let ended = client.ended(&accepted.id).await;
    assert_eq!(told(&ended), (Status::TimedOut, Some(Reason::Timeout)));
    assert_eq!(ended.progress.timeout_ms, 1_000);
    assert!(!server.lives("far").await);
    let complete = complete(&server, &accepted.stream_id).await;
    assert_eq!((complete.status, complete.reason), (Status::TimedOut, Some(Reason::Timeout)));
    assert!(complete.message.is_some());
}

async fn a_stopped_process_goes_too(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let accepted = client.shell("sh -c 'echo $$ > stopped; kill -STOP $$' & sleep 300").await;
    server.file_written("stopped").await;
    client.cancel(&accepted.id).await;
    assert_eq!(client.ended(&accepted.id).await.accepted.status, Status::Cancelled);
    assert!(!server.lives("stopped").await);
}

async fn a_cancel_survives_a_kill_of_the_server(on: Runtime) {
    let mut server = on.server().await;
    let stubborn = "trap '' TERM; echo $$ > pid; while :; do sleep 1; done";
    let accepted = server.client().shell(stubborn).await;
    server.file_written("pid").await;
    server.client().cancel(&accepted.id).await;
    server.kill9().await;
    server.restart().await;
    let ended = server.client().ended(&accepted.id).await;
    assert_eq!(told(&ended), (Status::Cancelled, Some(Reason::Cancelled)));
    assert!(!server.lives("pid").await);
}

async fn the_default_limit_is_the_configured_one(on: Runtime) {
    let server = on.fixture().with("RDEV_COMMAND_TIMEOUT_SECONDS", "1").start().await;
    let client = server.client();
    let accepted = client.shell("sleep 300").await;
    let ended = client.ended(&accepted.id).await;
    assert_eq!((told(&ended), ended.progress.timeout_ms), ((Status::TimedOut, Some(Reason::Timeout)), 1_000));
    let (lines, complete) = client.run("echo quick").await;
    assert_eq!((lines, complete.exit_code), (vec!["quick".to_owned()], Some(0)));
}

async fn a_cancelled_command_is_seen_running_first(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let accepted = client.shell("sleep 300").await;
    client.begun(&accepted.id).await;
    client.cancel(&accepted.id).await;
    let over = async || {
        let command = client.command(&accepted.id).await;
        let status = command.accepted.status;
        assert!(matches!(status, Status::Running | Status::Cancelled), "{status}");
        status.is_ended().then_some(command)
    };
    assert_eq!(eventually("its end", over).await.progress.reason, Some(Reason::Cancelled));
}
