//! Choices of a subscriber: standard error under another name, and where to begin.

use rdev_client::types::{Event, EventName, OutputStream};
use rdev_client::{Received, Subscription};
use serde_json::json;

use crate::support::{Client, Events, ReceivedExt, Runtime, Server, event_streams, on_both_stores};

on_both_stores! {
    standard_error_comes_as_output_where_it_is_asked_for,
    a_stream_begins_with_what_comes_next_or_at_a_time,
    a_stream_that_is_cut_before_its_first_event_goes_on_where_it_began,
    a_stream_that_shows_nothing_for_long_goes_on_where_it_was,
}

/// The lines of a stream, with the name of their event and the stream of their process.
async fn lines(subscription: Subscription, until: usize) -> Vec<(&'static str, OutputStream, String)> {
    let mut events = Events::connect(subscription, None).await;
    let mut lines = Vec::new();
    while lines.len() < until {
        match events.event().await.event {
            Event::Output(line) => lines.push(("output", line.stream, line.line)),
            Event::Error(line) => lines.push(("error", line.stream, line.line)),
            _ => {}
        }
    }
    lines
}

async fn standard_error_comes_as_output_where_it_is_asked_for(on: Runtime) {
    let server = on.server_with_workers(1).await;
    let client = server.client();
    let accepted = client.shell("echo out; sleep 0.1; echo err >&2").await;
    client.ended(&accepted.id).await;
    let step = "echo err >&2";
    let task = client.add_task(&json!({"type": "shell", "steps": [step], "project": "demo"})).await;
    client.api().await_task(&task.id, 60).await.unwrap();
    let api = client.api();
    let (out, err) = (OutputStream::Stdout, OutputStream::Stderr);
    for of in [api.stream_events("demo", &accepted.stream_id), api.project_events("demo"), api.all_events()] {
        let as_ever = lines(of.clone(), 2).await;
        assert_eq!(as_ever, [("output", out, "out".to_owned()), ("error", err, "err".to_owned())]);
        let as_output = lines(of.stderr_as_output(), 2).await;
        assert_eq!(as_output, [("output", out, "out".to_owned()), ("output", err, "err".to_owned())]);
    }
    let of_task = lines(api.task_events(&task.id).stderr_as_output(), 2).await;
    assert!(of_task.iter().all(|(name, ..)| *name == "output"), "{of_task:?}");
    assert!(of_task.iter().any(|(_, stream, line)| *stream == err && line == "err"), "{of_task:?}");
}

/// The first event of a stream that has a number.
async fn first(events: &mut Events) -> Received {
    loop {
        let event = events.event().await;
        if event.seq().is_some() {
            return event;
        }
    }
}

async fn a_stream_begins_with_what_comes_next_or_at_a_time(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    // Lines have the time of their pod, and entries that of the store, which on a busy machine lies some milliseconds off: the
    // second line is later than that.
    let line = "echo early; until [ -e go ]; do sleep 0.02; done; sleep 0.5; echo late; \
                until [ -e end ]; do sleep 0.02; done";
    let accepted = client.shell_on("s", line).await;
    let mut events = client.follow("s", None).await;
    let early = first(&mut events).await;
    let mut latest = client.follow("s", Some("latest")).await;
    let everything = client.api().all_events();
    server.touch("go").await;
    let late = first(&mut events).await;
    assert_eq!(late.seq(), Some(2));
    assert_eq!(first(&mut latest).await, late);

    // The second line was written after the first one was stored. The time is told in the zone of somebody else.
    let there = late.at() + jiff::SignedDuration::from_hours(5);
    let since = format!("{}+05:00", there.to_string().trim_end_matches('Z'));
    for of in [client.api().stream_events("demo", "s"), client.api().project_events("demo"), everything] {
        let told = first(&mut Events::connect(of.since(&since), None).await).await;
        assert_eq!(told.event, late.event);
    }
    // An id goes before a time.
    let of = client.api().stream_events("demo", "s").since(&since);
    assert_eq!(first(&mut Events::connect(of, Some("0")).await).await, early);
    server.touch("end").await;
    client.ended(&accepted.id).await;
    // Nothing is left of a stream that has ended.
    for query in ["last_event_id=latest", "since=9999-12-31T23:59:59Z"] {
        assert_eq!(
            client.get(&format!("/projects/demo/events/s?{query}")).send().await.status,
            204,
            "{query}"
        );
    }
}

/// The id of the next heartbeat that has one.
async fn place(events: &mut Events) -> String {
    loop {
        let event = events.event().await;
        if let (Event::Heartbeat(_), Some(id)) = (&event.event, &event.id) {
            return id.clone();
        }
    }
}

async fn a_stream_that_is_cut_before_its_first_event_goes_on_where_it_began(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let api = client.api();
    let at_first = place(&mut Events::connect(api.all_events(), Some("latest")).await).await;
    let (_, early) = client.run("echo early").await;
    let accepted = client.shell_on("s", "until [ -e go ]; do sleep 0.02; done; echo late").await;
    client.begun(&accepted.id).await;
    let streams = || [api.stream_events("demo", "s"), api.project_events("demo"), api.all_events()];
    let mut cut = Vec::new();
    for of in streams() {
        let by_id = place(&mut Events::connect(of.clone(), Some("latest")).await).await;
        let far = of.clone().since("9999-12-31T23:59:59Z");
        let by_time = place(&mut Events::connect(far, None).await).await;
        cut.extend([(of.clone(), by_id), (of, by_time)]);
    }
    server.touch("go").await;
    client.ended(&accepted.id).await;
    for (of, id) in cut {
        let told = first(&mut Events::connect(of, Some(&id)).await).await;
        assert!(matches!(&told.event, Event::Output(line) if line.line == "late"), "{id}: {told:?}");
    }
    // Of an empty log that is everything.
    let told = first(&mut Events::connect(api.all_events(), Some(&at_first)).await).await;
    assert_eq!(told.stream(), Some(early.stream_id.as_str()));
}

async fn a_stream_that_shows_nothing_for_long_goes_on_where_it_was(on: Runtime) {
    let server = on.fixture().with("RDEV_HEARTBEAT_SECONDS", "1").start().await;
    let client = server.client();
    let api = client.api();
    for (n, of) in [api.stream_events("demo", "s0"), api.project_events("demo"), api.all_events()]
        .into_iter()
        .enumerate()
    {
        let stream = format!("s{n}");
        let line = format!("seq 20; until [ -e go{n} ]; do sleep 0.02; done; echo late");
        let accepted = client.shell_on(&stream, &line).await;
        let mut errors = Events::connect(of.clone().types(&[EventName::Error]), None).await;
        let mut all = client.follow(&stream, None).await;
        while first(&mut all).await.seq() != Some(20) {}
        let mut id = String::new();
        while id != "20" && !id.ends_with("-20") {
            id = place(&mut errors).await;
        }
        server.touch(&format!("go{n}")).await;
        let told = first(&mut Events::connect(of, Some(&id)).await).await;
        assert_eq!(told.seq(), Some(21), "{told:?}");
        client.ended(&accepted.id).await;
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_its_name() {
    let server = Server::start().await;
    let client = server.client();
    client.shell_on("s", "true").await;
    for path in event_streams() {
        for (query, field) in [
            ("since=yesterday", "since"),
            ("since=2026-01-24", "since"),
            ("stderr=both", "stderr"),
            ("types=everything", "types"),
            ("last_event_id=first", "last_event_id"),
        ] {
            refused(&client, &format!("{path}?{query}"), field).await;
        }
        client.get(&format!("{path}?streamId=x")).send().await.failure(400, "INVALID_QUERY");
    }
    client.get("/events?stream_id=s").send().await.failure(400, "INVALID_QUERY");
    let [.., task, _] = event_streams();
    client.get(&format!("{task}?agent=raw")).send().await.failure(400, "INVALID_QUERY");
}

async fn refused(client: &Client, path: &str, field: &str) {
    let failure = client.get(path).send().await.failure(422, "VALIDATION_FAILED");
    assert_eq!(failure.fields(), [field], "{path}");
}
