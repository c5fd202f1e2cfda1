//! Finding commands, tasks and operations again: by their stream, status and time.

use rdev_client::types::{CommandPage, CreateProjectBody, Details, OperationPage, Status, TaskPage};
use serde_json::json;

use crate::support::{Client, Runtime, Server, on_both_stores};

on_both_stores! {
    commands_are_found_by_their_stream_status_and_time,
    tasks_and_operations_are_found_by_their_time,
    a_name_that_is_taken_leads_to_its_command,
}

async fn found(client: &Client, page: CommandPage) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = CommandPage { limit: Some(2), cursor, ..page.clone() };
        let page = client.api().commands("demo", &page).await.unwrap();
        found.extend(page.items.into_iter().map(|command| command.accepted.id));
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => return found,
        }
    }
}

async fn commands_are_found_by_their_stream_status_and_time(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let mut ids = Vec::new();
    for (stream, line) in [("a", "true"), ("b", "false"), ("c", "true"), ("d", "false"), ("e", "false")] {
        let accepted = client.shell_on(stream, line).await;
        client.ended(&accepted.id).await;
        ids.push(accepted.id);
    }
    let running = client.shell_on("f", "until [ -e go ]; do sleep 0.02; done").await;
    client.begun(&running.id).await;
    let third = client.command(&ids[2]).await.progress.created_at;
    let page = CommandPage::default;
    let status = |status: Status| CommandPage { status: Some(status.into()), ..page() };
    let newest_first = |positions: &[usize]| positions.iter().map(|n| ids[*n].clone()).collect::<Vec<_>>();
    assert_eq!(found(&client, status(Status::Failed)).await, newest_first(&[4, 3, 1]));
    assert_eq!(found(&client, status(Status::Completed)).await, newest_first(&[2, 0]));
    assert_eq!(found(&client, status(Status::Running)).await, std::slice::from_ref(&running.id));
    assert!(found(&client, status(Status::Pending)).await.is_empty());
    let of_stream = CommandPage { stream_id: Some("b".to_owned()), ..page() };
    assert_eq!(found(&client, of_stream).await, newest_first(&[1]));
    let since = CommandPage { since: Some(third.to_string()), ..page() };
    assert_eq!(found(&client, since.clone()).await.len(), 4);
    let failed_since = CommandPage { since: since.since, ..status(Status::Failed) };
    assert_eq!(found(&client, failed_since).await, newest_first(&[4, 3]));
    server.touch("go").await;
    client.ended(&running.id).await;
}

async fn tasks_and_operations_are_found_by_their_time(on: Runtime) {
    let server = on.server_with_workers(1).await;
    let client = server.client();
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let task = client.add_task(&json!({"type": "shell", "steps": ["true"]})).await;
        tasks.push(client.api().await_task(&task.id, 60).await.unwrap());
    }
    let since = TaskPage { since: Some(tasks[1].progress.created_at.to_string()), ..TaskPage::default() };
    let later = client.api().tasks(&since).await.unwrap().items;
    assert_eq!(later.iter().map(|task| &task.id).collect::<Vec<_>>(), [&tasks[2].id, &tasks[1].id]);
    let of_stream = TaskPage { stream_id: Some(tasks[0].stream_id.clone()), ..TaskPage::default() };
    assert_eq!(client.api().tasks(&of_stream).await.unwrap().items[0].id, tasks[0].id);
    let operation = client.api().create_project(&CreateProjectBody::new("shop")).await.unwrap();
    let operation = client.api().await_operation(&operation.operation_id, 60).await.unwrap();
    let count = async |page: OperationPage| client.api().operations(&page).await.unwrap().items.len();
    let of = |project: &str| OperationPage { project: Some(project.to_owned()), ..OperationPage::default() };
    assert_eq!((count(of("shop")).await, count(of("other")).await), (1, 0));
    let since = OperationPage { since: Some(operation.created_at.to_string()), ..of("shop") };
    assert_eq!(count(since).await, 1);
    let later = OperationPage { since: Some("9999-01-01T00:00:00Z".to_owned()), ..OperationPage::default() };
    assert_eq!(count(later).await, 0);
}

async fn a_name_that_is_taken_leads_to_its_command(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let first = client.shell_on("message-1", "true").await;
    for accept in ["application/json", "text/event-stream"] {
        let body = json!({"command": "true", "stream_id": "message-1"});
        let answer = client.post("/projects/demo/shell", &body).header("accept", accept).send().await;
        let failure = answer.failure(409, "STREAM_ID_TAKEN");
        let Some(Details::Job(job)) = failure.error.details else { panic!("{failure:?}") };
        assert_eq!((job.command_id, job.task_id), (Some(first.id.clone()), None));
        assert_eq!(answer.header("location"), format!("/projects/demo/commands/{}", first.id));
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_its_name() {
    let server = Server::start().await;
    let client = server.client();
    for (query, field) in [("status=done", "status"), ("stream_id=a/b", "stream_id"), ("since=now", "since")]
    {
        for path in ["/projects/demo/commands", "/queue/tasks"] {
            let answer = client.get(&format!("{path}?{query}")).send().await;
            assert_eq!(answer.failure(422, "VALIDATION_FAILED").fields(), [field], "{path}?{query}");
        }
    }
    for (query, field) in [("project=A", "project"), ("since=now", "since")] {
        let answer = client.get(&format!("/operations?{query}")).send().await;
        assert_eq!(answer.failure(422, "VALIDATION_FAILED").fields(), [field], "{query}");
    }
}

/// Texts of times sort as the times do: every one has six digits of a second.
#[tokio::test]
async fn every_time_has_six_digits_of_a_second() {
    let server = Server::start().await;
    let client = server.client();
    let accepted = client.shell("seq 200").await;
    client.ended(&accepted.id).await;
    let mut texts = client.get(&format!("/projects/demo/commands/{}", accepted.id)).send().await.text();
    texts += &client.get(&format!("/projects/demo/events/{}", accepted.stream_id)).send().await.text();
    let times: Vec<&str> =
        texts.split('"').filter(|text| text.starts_with("20") && text.ends_with('Z')).collect();
    assert!(times.len() > 200);
    assert!(times.iter().all(|time| time.len() == "2026-01-24T20:00:00.123456Z".len()), "{times:?}");
}
