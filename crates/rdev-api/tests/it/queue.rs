//! Tasks of the queue: a checkout, attempts, turns, and one run whatever happens to the server.

use std::collections::BTreeMap;

use rdev_client::Received;
use rdev_client::types::{BlockedBy, Data, Details, Event, List, Reason, Status, Task, TaskPage, TaskType};
use serde::Serialize;
use serde_json::{Value, json};

use crate::support::{Item, Repository, Runtime, Server, eventually, moment, on_every_runtime};

on_every_runtime! { and on postgres:
    a_test_task_runs_its_steps_in_a_clean_checkout,
    a_failing_step_is_tried_again_and_then_dead_and_retried_by_hand,
    tasks_are_cancelled_waiting_and_running,
    priority_time_and_turns_decide_who_is_next,
    deploys_to_one_repository_run_one_at_a_time,
    a_task_survives_a_kill_of_the_server_and_runs_once,
}

/// A step that goes on once [`Server::touch_at`] has made `go`.
const UNTIL_GO: &str = "until [ -e ../go ]; do sleep 0.02; done";

/// A shell task of these steps, tried once.
fn once(steps: &[&str]) -> Value {
    json!({"type": "shell", "steps": steps, "max_attempts": 1})
}

async fn output(server: &Server, id: &str) -> String {
    server.client().task_output(id).await
}

/// Everything that the task's stream tells, which must be numbered without gaps.
async fn events(server: &Server, id: &str) -> Vec<Received> {
    let mut stream = server.client().get(&format!("/queue/tasks/{id}/events")).events().await;
    let events = stream.rest().await.into_iter();
    let events = events.filter_map(|item| match item {
        Item::Event(event) if !matches!(event.event, Event::Heartbeat(_)) => Some(event),
        _ => None,
    });
    let events: Vec<Received> = events.collect();
    let ids: Vec<u64> = events.iter().filter_map(|event| event.id.as_ref()?.parse().ok()).collect();
    assert!(ids.iter().copied().eq(1..=ids.len() as u64), "{ids:?}");
    events
}

async fn post(server: &Server, path: &str, body: &impl Serialize) -> crate::support::Answer {
    server.client().post(path, body).send().await
}

async fn a_test_task_runs_its_steps_in_a_clean_checkout(on: Runtime) {
    let (server, repository) = (on.server_with_workers(1).await, Repository::serve(&on.host()).await);
    let body = json!({
        "type": "test", "repository": repository.url(), "ref": "main", "env": {"WORD": "it's here"},
        "steps": ["cat file", "echo \"$WORD\"", "ls; touch made"],
    });
    for _ in 0..2 {
        let task = server.client().add_task(&body).await;
        let ended = server.client().task_in(&task.id, Status::Completed).await;
        assert_eq!((ended.progress.exit_code, ended.attempts, ended.dead), (Some(0), 1, false));
        let told = output(&server, &task.id).await;
        assert!(told.contains("+ cat file\none\n") && told.contains("it's here\n"), "{told}");
        // The second finds nothing of the first.
        assert!(told.ends_with("+ ls; touch made\nfile\n"), "{told}");
    }
    // A commit is as good as a branch, and what is not there is an honest failure.
    let commit = repository.git(&["rev-parse", "main"]).await;
    for (name, status) in [(commit.trim(), Status::Completed), ("nowhere", Status::Failed)] {
        let body = json!({"type": "build", "repository": repository.url(), "ref": name, "steps": ["cat file"],
                          "max_attempts": 1});
        let task = server.client().add_task(&body).await;
        server.client().task_in(&task.id, status).await;
    }
}

async fn a_failing_step_is_tried_again_and_then_dead_and_retried_by_hand(on: Runtime) {
    let (server, repository) = (on.server_with_workers(1).await, Repository::serve(&on.host()).await);
    let client = server.client();
    let body = json!({"type": "test", "repository": repository.url(), "max_attempts": 2,
                      "steps": ["echo one", "exit 7", "echo never"]});
    let task = client.add_task(&body).await;
    assert_eq!(task.stream_url, format!("/queue/tasks/{0}/events?stream_id={0}", task.id));
    let told = events(&server, &task.id).await;
    let statuses: Vec<_> = told
        .iter()
        .filter_map(|event| match &event.event {
            Event::Status(status) => Some((status.status, status.attempt, status.reason)),
            _ => None,
        })
        .collect();
    let expected = [
        (Status::Pending, None, None),
        (Status::Running, None, None),
        (Status::Pending, Some(2), Some(Reason::ExitCode)),
        (Status::Running, None, None),
    ];
    assert_eq!(statuses, expected);
    let why = |event: &Received| match &event.event {
        Event::Status(status) => status.message.clone(),
        _ => None,
    };
    assert_eq!(told.iter().find_map(why).as_deref(), Some("exit_code: 7"));
    let dead = client.task(&task.id).await;
    assert_eq!((dead.status, dead.dead, dead.attempts, dead.max_attempts), (Status::Failed, true, 2, 2));
    assert_eq!((dead.progress.exit_code, dead.last_error.as_deref()), (Some(7), Some("exit_code: 7")));
    assert_eq!(output(&server, &task.id).await.matches("+ exit 7").count(), 2);
    let failed_tests = TaskPage {
        status: Some(Status::Failed.into()),
        kind: Some(TaskType::Test.into()),
        ..TaskPage::default()
    };
    assert_eq!(client.api().tasks(&failed_tests).await.unwrap().items.len(), 1);

    // Whoever has the end gets no more; by hand it goes on in the same stream, with one end again.
    let last = told.last().and_then(|event| event.id.clone()).expect("the end has a number");
    let path = format!("/queue/tasks/{}/events?last_event_id={last}", task.id);
    assert_eq!(client.get(&path).send().await.status, 204);
    let retry = format!("/queue/tasks/{}/retry", task.id);
    let again = client.api().retry_task(&task.id).await.unwrap();
    assert_eq!((again.status, again.attempts, again.max_attempts), (Status::Pending, 2, 4));
    client.call("POST", &retry).send().await.failure(409, "TASK_NOT_ENDED");
    let told = events(&server, &task.id).await;
    let ends = told.iter().filter(|event| matches!(event.event, Event::Complete(_))).count();
    assert_eq!((ends, client.task(&task.id).await.attempts), (1, 4));
}

async fn tasks_are_cancelled_waiting_and_running(on: Runtime) {
    let server = on.server_with_workers(1).await;
    let client = server.client();
    let running = client.add_task(&once(&["sleep 300"])).await;
    client.task_in(&running.id, Status::Running).await;
    let waiting = client.add_task(&once(&["echo never"])).await;
    let queued = client.task(&waiting.id).await.progress.queue.expect("it waits");
    assert_eq!((queued.position, queued.blocked_by), (1, Some(BlockedBy::PoolFull)));
    for id in [&waiting.id, &running.id] {
        for _ in 0..2 {
            client.api().cancel_task(id).await.unwrap();
        }
        let ended = client.task_in(id, Status::Cancelled).await;
        assert_eq!((ended.progress.reason, ended.dead), (Some(Reason::Cancelled), false));
    }
    assert_eq!(client.task(&waiting.id).await.progress.started_at, None);
    assert!(matches!(events(&server, &running.id).await.last().unwrap().event, Event::Complete(_)));
}

async fn priority_time_and_turns_decide_who_is_next(on: Runtime) {
    let server = on.server_with_workers(1).await;
    let client = server.client();
    for project in ["flood", "other"] {
        server.add_project(project).await;
        server.knows(project).await;
    }
    let first = client.add_task(&once(&[UNTIL_GO])).await;
    client.task_in(&first.id, Status::Running).await;
    let add = async |project: &str, priority: i32| {
        let body = json!({"type": "shell", "steps": ["true"], "project": project, "priority": priority});
        client.add_task(&body).await.id
    };
    let mut flood = Vec::new();
    for _ in 0..6 {
        flood.push(add("flood", 0).await);
    }
    let (other, urgent, idle) = (add("other", 0).await, add("flood", 5).await, add("flood", -5).await);
    let later = json!({"type": "shell", "steps": ["true"], "run_after": "2999-01-01T00:00:00+01:00"});
    let later = client.add_task(&later).await;
    assert_eq!(client.task(&later.id).await.progress.queue.unwrap().blocked_by, Some(BlockedBy::RunAfter));
    server.touch_at("slot-1", "go").await;
    let mut order = Vec::new();
    for id in flood.iter().chain([&other, &urgent, &idle]) {
        order.push((
            client.task_in(id, Status::Completed).await.progress.started_at.as_ref().map(moment),
            id.clone(),
        ));
    }
    order.sort();
    let at = |id: &String| order.iter().position(|(_, other)| other == id).unwrap();
    assert_eq!((at(&urgent), at(&idle)), (0, 8));
    assert!(at(&other) <= 2, "the flood came first: {}", at(&other));
    assert_eq!(client.task(&later.id).await.status, Status::Pending);
}

async fn deploys_to_one_repository_run_one_at_a_time(on: Runtime) {
    let (server, repository) = (on.server_with_workers(2).await, Repository::serve(&on.host()).await);
    let client = server.client();
    let body = json!({"type": "deploy", "repository": repository.url(), "steps": [UNTIL_GO]});
    let (first, second) = (client.add_task(&body).await, client.add_task(&body).await);
    assert_eq!(first.max_attempts, 1);
    client.task_in(&first.id, Status::Running).await;
    assert_eq!(
        client.task(&second.id).await.progress.queue.unwrap().blocked_by,
        Some(BlockedBy::ConcurrencyKey)
    );
    server.touch_at("slot-1", "go").await;
    server.touch_at("slot-2", "go").await;
    client.task_in(&second.id, Status::Completed).await;
}

async fn a_task_survives_a_kill_of_the_server_and_runs_once(on: Runtime) {
    let mut server = on.server_with_workers(1).await;
    let task = server.client().add_task(&once(&["echo ran >> ../ran", UNTIL_GO])).await;
    eventually("the step", async || server.file_at("slot-1", "ran").await).await;
    server.kill9().await;
    server.restart().await;
    assert_eq!(server.client().task(&task.id).await.status, Status::Running);
    server.touch_at("slot-1", "go").await;
    let ended = server.client().task_in(&task.id, Status::Completed).await;
    assert_eq!(ended.attempts, 1);
    assert_eq!(server.file_at("slot-1", "ran").await.as_deref(), Some("ran\n"));
    events(&server, &task.id).await;
}

#[tokio::test]
async fn every_bad_field_is_named_at_once() {
    let server = Server::start().await;
    let body = json!({
        "type": "test", "repository": "--upload-pack=touch x", "ref": "-b", "steps": [], "env": {"1": "x"},
        "project": "No", "priority": 101, "run_after": "soon", "max_attempts": 0, "concurrency_key": "",
        "timeout_seconds": 0, "credentials": ["npm"], "artefacts": ["dist/*", "../x"],
    });
    let refused = post(&server, "/queue/tasks", &body).await.failure(422, "VALIDATION_FAILED");
    let mut fields = refused.fields();
    fields.sort_unstable();
    let expected = [
        "artefacts[1]",
        "concurrency_key",
        "credentials",
        "env.1",
        "max_attempts",
        "priority",
        "project",
        "ref",
        "repository",
        "run_after",
        "steps",
        "timeout_seconds",
    ];
    assert_eq!(fields, expected);
    let unknown = json!({"type": "test", "steps": ["true"], "step": 1});
    post(&server, "/queue/tasks", &unknown).await.failure(400, "INVALID_BODY");
    let refused = server.client().get("/queue/tasks?status=dead&type=odd").send().await;
    let refused = refused.failure(422, "VALIDATION_FAILED");
    assert_eq!(refused.fields(), ["status", "type"]);
    let Some(Details::Fields(told)) = refused.error.details else { panic!("{:?}", refused.error) };
    let told = &told[0].message;
    assert!(told.contains("\"dead\"") && told.contains("timed_out"), "{told}");
    server.client().get("/queue/tasks?kind=test").send().await.failure(400, "INVALID_QUERY");
    server.client().get("/queue/tasks/nonsense").send().await.failure(404, "TASK_NOT_FOUND");
}

#[tokio::test]
async fn a_repetition_gives_the_first_answer_and_stats_count() {
    let server = Server::start().await;
    let client = server.client();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let call = client.post("/queue/tasks", &once(&["true"])).header("idempotency-key", "once");
        let answer = call.send().await;
        let id = answer.json::<Data<Task>>(202).data.id;
        assert_eq!(answer.header("location"), format!("/queue/tasks/{id}"));
        ids.push(id);
    }
    assert_eq!(ids[0], ids[1]);
    client.task_in(&ids[0], Status::Completed).await;
    let stats = client.api().queue_stats().await.unwrap();
    assert_eq!(stats.by_status, BTreeMap::from([(Status::Completed, 1)]));
    assert_eq!((stats.workers_free, stats.wait_ms.map(|wait| wait.tasks)), (2, Some(1)));
}

#[tokio::test]
async fn a_task_is_done_for_a_known_project_or_for_none() {
    let server = Server::start().await;
    let client = server.client();
    let body = |project: &str| json!({"type": "shell", "steps": ["true"], "project": project});
    let refused = client.post("/queue/tasks", &body("nosuch")).send().await.failure(422, "VALIDATION_FAILED");
    assert_eq!(refused.fields(), ["project"]);
    let Some(Details::Fields(told)) = refused.error.details else { panic!("{:?}", refused.error) };
    let told = &told[0].message;
    assert!(told.contains("\"nosuch\""), "{told}");
    assert!(client.api().tasks(&TaskPage::default()).await.unwrap().items.is_empty());
    assert_eq!(client.add_task(&body("demo")).await.project.as_deref(), Some("demo"));
    assert_eq!(client.add_task(&once(&["true"])).await.project, None);
}

/// A task on an idle system is about to start, and is not blocked.
#[tokio::test]
async fn nothing_blocks_while_a_worker_is_free() {
    let server = Server::start().await;
    let client = server.client();
    let task = client.add_task(&once(&["true"])).await;
    assert_eq!(task.progress.queue.and_then(|queue| queue.blocked_by), None);
}

#[tokio::test]
async fn tasks_and_commands_have_the_same_fields() {
    let server = Server::start().await;
    let client = server.client();
    let task = client.add_task(&once(&["echo one"])).await;
    assert!(task.id.starts_with("task-") && task.id.len() == 37, "{}", task.id);
    assert_eq!((&task.task_id, &task.stream_id), (&task.id, &task.id));
    let command = client.shell("echo one").await;
    let command = client.ended(&command.id).await;
    client.task_in(&task.id, Status::Completed).await;
    assert_eq!(command.progress.created_by, task.progress.created_by);
    let stats: serde_json::Value = client.get("/queue/stats").send().await.part(200);
    assert_eq!(stats["data"]["by_type"], json!({"shell": {"completed": 1}}));
    let typed = client.get("/queue/tasks?type=shell").send().await.json::<List<Task>>(200).data;
    assert_eq!(typed.len(), 1);
    // Both urls take more parameters in the same way.
    for url in [&task.stream_url, &command.accepted.stream_url] {
        let mut events = client.get(&format!("{url}&last_event_id=0")).events().await;
        assert!(!events.rest().await.is_empty(), "{url}");
    }
    let other = format!("/queue/tasks/{}/events?stream_id=other", task.id);
    client.get(&other).send().await.failure(404, "STREAM_NOT_FOUND");
}

#[tokio::test]
async fn a_task_is_answered_with_its_events_where_they_are_preferred() {
    let server = Server::start().await;
    let client = server.client();
    for replayed in [false, true] {
        let call = client.post("/queue/tasks", &once(&["echo ran >>../ran; echo one"]));
        let call = call.header("accept", "text/event-stream").header("idempotency-key", "once");
        let mut events = call.events().await;
        assert_eq!(events.headers.contains_key("idempotent-replayed"), replayed);
        let id =
            events.headers["location"].to_str().unwrap().strip_prefix("/queue/tasks/").unwrap().to_owned();
        let lines: Vec<_> = events.rest().await.into_iter().filter_map(line).collect();
        assert_eq!(lines.last().map(String::as_str), Some("one"), "{lines:?}");
        client.task_in(&id, Status::Completed).await;
    }
    assert_eq!(server.file_at("slot-1", "ran").await.as_deref(), Some("ran\n"));
}

fn line(item: Item) -> Option<String> {
    match item {
        Item::Event(Received { event: Event::Output(line), .. }) => Some(line.line),
        _ => None,
    }
}
