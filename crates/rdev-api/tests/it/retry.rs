//! Retries by hand: one more round each, done once, in a log that keeps what was there.

use rdev_client::Received;
use rdev_client::types::{Data, Event, Reason, Status, Task};
use serde_json::json;

use crate::support::{Answer, Client, Item, Repository, Runtime, eventually, on_every_runtime};

on_every_runtime! { and on postgres:
    a_deploy_that_is_retried_by_hand_runs_once_a_round_and_once_a_key,
    a_former_end_is_told_as_a_status_and_reading_goes_on_after_it,
    a_task_that_was_cancelled_runs_whole_when_it_is_retried,
}

async fn retry(client: &Client, id: &str, key: Option<&str>) -> Answer {
    let call = client.call("POST", &format!("/queue/tasks/{id}/retry"));
    match key {
        Some(key) => call.header("idempotency-key", key).send().await,
        None => call.send().await,
    }
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
}

/// Returns the task once it has ended and has been started so often.
async fn ended_after(client: &Client, id: &str, attempts: u32) -> Task {
    let over = |task: &Task| task.attempts == attempts && task.status.is_ended();
    eventually("its end", async || Some(client.task(id).await).filter(over)).await
}

async fn a_deploy_that_is_retried_by_hand_runs_once_a_round_and_once_a_key(on: Runtime) {
    let (mut server, repository) = (on.server_with_workers(1).await, Repository::serve(&on.host()).await);
    let steps = ["echo ran >>../ran", "exit 3"];
    let body = json!({"type": "deploy", "repository": repository.url(), "steps": steps});
    let id = server.client().add_task(&body).await.id;
    ended_after(&server.client(), &id, 1).await;
    for round in 2..=4 {
        let (client, key) = (server.client(), format!("round-{round}"));
        let first = retry(&client, &id, Some(&key)).await;
        let task = first.json::<Data<Task>>(200).data;
        assert_eq!((is_replayed(&first), task.status), (false, Status::Pending));
        assert_eq!((task.attempts, task.max_attempts), (round - 1, round));
        // The answer was lost: the caller repeats it now, after the end, and at a server that was started since.
        assert!(is_replayed(&retry(&client, &id, Some(&key)).await));
        let ended = ended_after(&client, &id, round).await;
        assert_eq!((ended.max_attempts, ended.dead, ended.progress.exit_code), (round, true, Some(3)));
        if round == 3 {
            server.kill9().await;
            server.restart().await;
        }
        let again = retry(&server.client(), &id, Some(&key)).await;
        assert_eq!((is_replayed(&again), again.json::<Data<Task>>(200).data), (true, task));
        assert_eq!(server.file_at("slot-1", "ran").await, Some("ran\n".repeat(round as usize)));
    }
    let client = server.client();
    let other = client.add_task(&body).await.id;
    ended_after(&client, &other, 1).await;
    retry(&client, &other, Some("round-2")).await.failure(409, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(client.task(&other).await.attempts, 1);
}

/// A step that says what it is asked to, and fails until there is a file `fixed`.
const UNTIL_FIXED: &str = "echo one; [ -e ../fixed ]";

const FAILED: &str = "step 1 failed with exit code 1";

/// Events that a stream tells after one, or from its start, in short.
async fn told(client: &Client, id: &str, after: Option<&str>) -> Vec<(Option<String>, String)> {
    let call = client.get(&format!("/queue/tasks/{id}/events"));
    let mut events = match after {
        Some(after) => call.header("last-event-id", after).events().await,
        None => call.events().await,
    };
    let short = |item| match item {
        Item::Event(Received { event: Event::Heartbeat(_), .. }) | Item::Retry(_) => None,
        Item::Event(Received { id, event: Event::Status(status) }) => {
            Some((id, format!("{} {}", status.status, status.reason.map_or("", Reason::as_str))))
        }
        Item::Event(Received { id, event: Event::Complete(complete) }) => {
            Some((id, format!("complete {}", complete.status)))
        }
        Item::Event(Received { id, event: Event::Output(line) | Event::Error(line) }) => {
            Some((id, line.line))
        }
        other => panic!("{other:?}"),
    };
    events.rest().await.into_iter().filter_map(short).collect()
}

async fn a_former_end_is_told_as_a_status_and_reading_goes_on_after_it(on: Runtime) {
    let server = on.server_with_workers(1).await;
    let client = server.client();
    let body = json!({"type": "shell", "max_attempts": 1, "steps": [UNTIL_FIXED]});
    let id = client.add_task(&body).await.id;
    // A step is announced before it runs.
    let first = told(&client, &id, None).await;
    let expected = [
        (None, "pending "),
        (None, "running "),
        (Some("1"), "+ echo one; [ -e ../fixed ]"),
        (Some("2"), "one"),
        (Some("3"), FAILED),
        (Some("4"), "complete failed"),
    ]
    .map(|(id, told)| (id.map(str::to_owned), told.to_owned()));
    assert_eq!(first, expected);

    client.api().retry_task(&id).await.unwrap();
    ended_after(&client, &id, 2).await;
    server.touch_at("slot-1", "fixed").await;
    client.api().retry_task(&id).await.unwrap();
    client.task_in(&id, Status::Completed).await;
    let numbered = |seq: u64, told: &str| (Some(seq.to_string()), told.to_owned());
    let mut whole = expected[..5].to_vec();
    for former in [4, 8] {
        whole.push(numbered(former, "failed exit_code"));
        whole.extend([(None, "pending retried".to_owned()), (None, "running ".to_owned())]);
        whole.extend([numbered(former + 1, "+ echo one; [ -e ../fixed ]"), numbered(former + 2, "one")]);
        let ends = if former == 4 { numbered(7, FAILED) } else { numbered(11, "complete completed") };
        whole.push(ends);
    }
    assert_eq!(told(&client, &id, None).await, whole);
    // A status says nothing new to whoever has the event before it.
    for after in [2, 4, 5, 8, 10] {
        let seen =
            |(id, _): &(Option<String>, String)| id.as_ref().is_some_and(|id| id == &after.to_string());
        let from = whole.iter().position(seen).unwrap() + 1;
        let statuses = whole[from..].iter().take_while(|(id, _)| id.is_none()).count();
        let rest = &whole[from + statuses..];
        assert_eq!(told(&client, &id, Some(&after.to_string())).await, rest, "after {after}");
    }
    let last = client.get(&format!("/queue/tasks/{id}/events")).header("last-event-id", "11");
    assert_eq!(last.send().await.status, 204);
    assert_eq!(client.task_output(&id).await.matches("one\n").count(), 3);
}

async fn a_task_that_was_cancelled_runs_whole_when_it_is_retried(on: Runtime) {
    let server = on.server_with_workers(1).await;
    let client = server.client();
    let body = json!({"type": "shell", "max_attempts": 1, "steps": ["[ -e ../fixed ] || sleep 300; echo ran >>../ran"]});
    let id = client.add_task(&body).await.id;
    client.task_in(&id, Status::Running).await;
    // Somebody reads along, and holds what this server knows of the stream.
    let mut reader = client.get(&format!("/queue/tasks/{id}/events")).receive_buffer(1024).events().await;
    let cancel = async || {
        let call = client.call("POST", &format!("/queue/tasks/{id}/cancel"));
        call.header("idempotency-key", "the-end").send().await
    };
    assert!(!is_replayed(&cancel().await));
    client.task_in(&id, Status::Cancelled).await;
    server.touch_at("slot-1", "fixed").await;
    client.api().retry_task(&id).await.unwrap();
    // The cancel whose answer was lost comes again, and is not for this round.
    assert!(is_replayed(&cancel().await));
    let ended = client.task_in(&id, Status::Completed).await;
    assert_eq!((ended.attempts, ended.max_attempts), (2, 2));
    assert_eq!(server.file_at("slot-1", "ran").await.as_deref(), Some("ran\n"));
    let is_end = |item: &Item| matches!(item, Item::Event(Received { event: Event::Complete(_), .. }));
    assert_eq!(reader.rest().await.iter().filter(|item| is_end(item)).count(), 1);
}
