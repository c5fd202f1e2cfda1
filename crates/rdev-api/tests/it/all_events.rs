//! The stream over everything that a key may see, and a choice of events.

use std::collections::BTreeMap;

use rdev_client::Received;
use rdev_client::types::{CreateProjectBody, Event, EventJob, EventName, JobType, Status};
use serde_json::json;

use crate::support::{Events, Fixture, ReceivedExt, Runtime, on_both_stores};

on_both_stores! {
    commands_tasks_and_operations_come_once_however_often_it_is_cut,
    a_choice_of_events_has_no_others,
    a_tasks_events_are_on_the_stream_of_its_project,
    what_a_status_and_an_end_are_about_is_told,
    an_old_id_resumes_and_latest_begins_now,
}

const ENDS: [EventName; 2] = [EventName::Status, EventName::Complete];

/// Follows everything after an id, or from the start.
async fn all(server: &crate::support::Server, types: &[EventName], after: Option<&str>) -> Events {
    let mut subscription = server.client().api().all_events();
    if !types.is_empty() {
        subscription = subscription.types(types);
    }
    Events::connect(subscription, after).await
}

/// The next event that is no heartbeat.
async fn next(events: &mut Events) -> Received {
    loop {
        let event = events.event().await;
        if !matches!(event.event, Event::Heartbeat(_)) {
            return event;
        }
    }
}

async fn commands_tasks_and_operations_come_once_however_often_it_is_cut(on: Runtime) {
    const COMMANDS: usize = 6;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let server = on.server_with_workers(2).await;
    let client = server.client();
    server.add_project("other").await;
    for n in 0..COMMANDS {
        client.shell_in(["demo", "other"][n % 2], "for i in 1 2 3 4 5; do seq 20; sleep 0.02; done").await;
    }
    for _ in 0..2 {
        client.add_task(&json!({"type": "shell", "steps": ["seq 100"], "max_attempts": 1})).await;
    }
    let body = CreateProjectBody::new("shop");
    client.api().create_project(&body).await.unwrap();

    let (mut ids, mut lines, mut last, mut ends) = (Vec::new(), BTreeMap::new(), None::<String>, 0);
    while ends < COMMANDS + 3 {
        let mut events = all(&server, &[], last.as_deref()).await;
        for _ in 0..random.usize(1..200) {
            let event = next(&mut events).await;
            ids.push(event.id().to_owned());
            last = Some(event.id().to_owned());
            if let Some(seq) = event.seq() {
                lines.entry(event.stream().unwrap().to_owned()).or_insert_with(Vec::new).push(seq);
            }
            ends += usize::from(matches!(event.event, Event::Complete(_)));
            if ends == COMMANDS + 3 {
                break;
            }
        }
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "seed {seed}: none comes twice");
    assert_eq!(lines.len(), COMMANDS + 3);
    for (stream, numbers) in &lines {
        assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "seed {seed}: {stream} {numbers:?}");
    }
}

async fn a_choice_of_events_has_no_others(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let mut everywhere = all(&server, &ENDS, Some("latest")).await;
    let mut of_project =
        Events::connect(client.api().project_events("demo").types(&ENDS), Some("latest")).await;
    let ended = client.shell("seq 3; echo err >&2").await;
    for events in [&mut everywhere, &mut of_project] {
        let told = [next(events).await, next(events).await, next(events).await];
        let statuses = told.map(|event| match event.event {
            Event::Status(status) => status.status,
            Event::Complete(complete) => complete.status,
            other => panic!("{other:?}"),
        });
        assert_eq!(statuses, [Status::Pending, Status::Running, Status::Completed]);
    }
    client.ended(&ended.id).await;
    // A line that was not chosen leaves a number out, and no gap. The end of the one command is told in any case.
    for (types, expected) in [
        (vec![EventName::Output], vec![1, 2, 3, 5]),
        (vec![EventName::Error, EventName::Complete], vec![4, 5]),
    ] {
        let subscription = client.api().stream_events("demo", &ended.stream_id).types(&types);
        let told = Events::connect(subscription, None).await.rest().await;
        let mut numbers: Vec<_> = told.iter().filter_map(ReceivedExt::seq).collect();
        numbers.sort_unstable();
        assert_eq!((numbers, told.len()), (expected.clone(), expected.len()), "{types:?}");
    }
    let answer = client.get("/events?types=status,done").send().await.failure(422, "VALIDATION_FAILED");
    assert_eq!(answer.fields(), ["types"]);
}

async fn a_tasks_events_are_on_the_stream_of_its_project(on: Runtime) {
    let server = on.server_with_workers(1).await;
    let client = server.client();
    let mut events = client.follow_project("demo", Some("latest")).await;
    let elsewhere = client.add_task(&json!({"type": "shell", "steps": ["echo elsewhere"]})).await;
    client.task_in(&elsewhere.id, Status::Completed).await;
    let task = client.add_task(&json!({"type": "shell", "steps": ["echo here"], "project": "demo"})).await;
    let mut lines = Vec::new();
    loop {
        let event = next(&mut events).await;
        assert_eq!(event.stream(), Some(task.stream_id.as_str()), "{event:?}");
        match event.event {
            Event::Output(line) => lines.push(line.line),
            Event::Complete(_) => break,
            _ => {}
        }
    }
    assert!(lines.contains(&"here".to_owned()), "{lines:?}");
}

async fn what_a_status_and_an_end_are_about_is_told(on: Runtime) {
    let server = on.server_with_workers(1).await;
    let client = server.client();
    let mut events = all(&server, &ENDS, Some("latest")).await;
    let about = async |events: &mut Events| loop {
        if let Event::Complete(complete) = next(events).await.event {
            return complete.job;
        }
    };
    let accepted = client.shell_on("mine", "true").await;
    let none = EventJob {
        command_id: None,
        task_id: None,
        operation_id: None,
        kind: JobType::Shell,
        project: Some("demo".to_owned()),
    };
    let expected = EventJob { command_id: Some(accepted.id), ..none.clone() };
    assert_eq!(about(&mut events).await, expected);
    let task = client.add_task(&json!({"type": "shell", "steps": ["true"]})).await;
    let expected = EventJob { task_id: Some(task.id), kind: JobType::Shell, project: None, ..none.clone() };
    assert_eq!(about(&mut events).await, expected);
    let operation = client.api().create_project(&CreateProjectBody::new("shop")).await.unwrap();
    let expected = EventJob {
        operation_id: Some(operation.operation_id),
        kind: JobType::CreateProject,
        project: Some("shop".to_owned()),
        ..none
    };
    assert_eq!(about(&mut events).await, expected);
}

async fn an_old_id_resumes_and_latest_begins_now(on: Runtime) {
    let mut server = on.server().await;
    let first = server.client().shell("echo first").await;
    let mut events = all(&server, &[], None).await;
    let last = loop {
        let event = next(&mut events).await;
        assert_eq!(event.stream(), Some(first.stream_id.as_str()));
        if matches!(event.event, Event::Complete(_)) {
            break event.id().to_owned();
        }
    };
    server.kill9().await;
    server.restart().await;
    let mut resumed = all(&server, &[], Some(&last)).await;
    let mut latest = all(&server, &[], Some("latest")).await;
    let second = server.client().shell("echo second").await;
    for events in [&mut resumed, &mut latest] {
        let event = next(events).await;
        assert_eq!(event.stream(), Some(second.stream_id.as_str()), "{event:?}");
    }
    // An id of this stream is one of the project's, too.
    let of_project = next(&mut server.client().follow_project("demo", Some(&last)).await).await;
    assert_eq!(of_project.stream(), Some(second.stream_id.as_str()));
    let foreign = next(&mut all(&server, &[], Some("9007199254740991-4")).await).await;
    assert!(matches!(foreign.event, Event::ProjectGap(_)), "{foreign:?}");
}

#[tokio::test]
async fn a_server_shows_what_another_one_stores() {
    let a = Runtime::LocalOnPostgres.server().await;
    let b = Fixture::new().with("RDEV_LEASE_SECONDS", "3").start_beside(&a).await;
    let mut streams = [all(&a, &ENDS, Some("latest")).await, all(&b, &[], Some("latest")).await];
    for client in [a.client(), b.client(), a.client()] {
        let accepted = client.shell("seq 50").await;
        for events in &mut streams {
            loop {
                let event = next(events).await;
                assert_eq!(event.stream(), Some(accepted.stream_id.as_str()));
                if matches!(event.event, Event::Complete(_)) {
                    break;
                }
            }
        }
    }
}
