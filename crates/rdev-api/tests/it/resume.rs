//! Coming back to a stream: from the middle, at its end, with an id that is none.

use rdev_client::Received;
use rdev_client::types::{Event, GapEvent, GapReason};

use crate::support::{Client, Item, RawEvents, ReceivedExt, Runtime, Server, on_every_runtime};

on_every_runtime! {
    and on postgres:
    a_reader_resumes_by_header_query_and_path,
    the_header_counts_before_the_query,
    after_complete_there_is_no_content,
    ids_that_are_none_are_refused,
    an_id_beyond_the_end_is_no_way_to_miss_the_end,
    an_id_beyond_what_a_running_stream_will_have_is_told_its_end,
    unknown_streams_and_projects_are_not_found,
    a_silent_stream_beats,
}

/// A server with a stream `s` that is over: nine lines and its complete event.
async fn with_a_stream(on: Runtime) -> Server {
    let server = on.server().await;
    let client = server.client();
    let accepted = client.shell_on("s", "seq 9").await;
    client.ended(&accepted.id).await;
    server
}

/// The numbers of the events that are left in a stream.
async fn numbers(mut events: RawEvents) -> Vec<u64> {
    let items = events.rest().await;
    items
        .into_iter()
        .filter_map(|item| match item {
            Item::Event(event) => event.seq(),
            Item::Retry(_) => None,
        })
        .collect()
}

async fn after(client: &Client, path: &str, header: Option<&str>) -> Vec<u64> {
    let call = client.get(path);
    let call = match header {
        Some(id) => call.header("last-event-id", id),
        None => call,
    };
    numbers(call.events().await).await
}

async fn a_reader_resumes_by_header_query_and_path(on: Runtime) {
    let server = with_a_stream(on).await;
    let client = server.client();
    let (query, path) = ("/projects/demo/events?stream_id=s", "/projects/demo/events/s");
    let from = |first: u64| (first..=10).collect::<Vec<_>>();
    assert_eq!(after(&client, query, None).await, from(1));
    assert_eq!(after(&client, path, None).await, from(1));
    for last in [0, 1, 4, 9] {
        let id = last.to_string();
        assert_eq!(after(&client, query, Some(&id)).await, from(last + 1));
        assert_eq!(after(&client, path, Some(&id)).await, from(last + 1));
        let with_query = format!("{query}&last_event_id={last}");
        assert_eq!(after(&client, &with_query, None).await, from(last + 1));
        let with_query = format!("{path}?last_event_id={last}");
        assert_eq!(after(&client, &with_query, None).await, from(last + 1));
    }
}

async fn the_header_counts_before_the_query(on: Runtime) {
    let server = with_a_stream(on).await;
    let client = server.client();
    let path = "/projects/demo/events?stream_id=s&last_event_id=2";
    assert_eq!(after(&client, path, Some("7")).await, [8, 9, 10]);
    assert_eq!(after(&client, path, Some("")).await, (3..=10).collect::<Vec<_>>());
}

async fn after_complete_there_is_no_content(on: Runtime) {
    let server = with_a_stream(on).await;
    let client = server.client();
    for path in ["/projects/demo/events?stream_id=s", "/projects/demo/events/s"] {
        let answer = client.get(path).header("last-event-id", "10").send().await;
        assert_eq!(answer.status, 204);
        assert!(answer.body.is_empty());
    }
    let answer = client.get("/projects/demo/events/s?last_event_id=10").send().await;
    assert_eq!(answer.status, 204);
}

async fn ids_that_are_none_are_refused(on: Runtime) {
    let server = with_a_stream(on).await;
    let client = server.client();
    for id in ["x", "-1", "+1", "1.5", "1-2", "1234567890123456789", "99999999999999999999999"] {
        let answer = client.get("/projects/demo/events/s").header("last-event-id", id).send().await;
        assert_eq!(answer.failure(422, "VALIDATION_FAILED").fields(), ["last_event_id"], "{id}");
    }
    for id in ["x", "7", "1-x", "+1-2", "1-+2", "1234567890123456789-1"] {
        let answer = client.get("/projects/demo/events").header("last-event-id", id).send().await;
        assert_eq!(answer.failure(422, "VALIDATION_FAILED").fields(), ["last_event_id"], "{id}");
    }
}

async fn an_id_beyond_the_end_is_no_way_to_miss_the_end(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    // A reader that claims to have more than there is, of a stream that still runs, gets an answer too.
    let accepted = client.shell_on("s", "echo 1; until [ -e go ]; do sleep 0.02; done; echo 2").await;
    client.begun(&accepted.id).await;
    let mut events = client.follow("s", Some("1")).await;
    client.run("touch go").await;
    loop {
        match events.event().await.event {
            Event::Output(line) => assert_eq!((line.seq, line.line.as_str()), (2, "2")),
            Event::Complete(complete) => {
                assert_eq!(complete.seq, 3);
                break;
            }
            Event::Status(_) | Event::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    }
    // It cannot have come from this stream, so what was not sent of it is announced, and its end is told.
    let mut events = client.connection("s", Some("12345")).await;
    let gap = GapEvent { stream_id: "s".to_owned(), from: 1, to: Some(2), reason: GapReason::UnknownId };
    assert!(matches!(events.event().await.event, Event::Gap(told) if told == gap));
    let end = events.event().await;
    assert!(matches!(&end.event, Event::Complete(complete) if complete.seq == 3), "{end:?}");
    assert!(events.next().await.is_none());
    let answer = client.get("/projects/demo/events/s").header("last-event-id", end.id()).send().await;
    assert_eq!(answer.status, 204);
}

async fn an_id_beyond_what_a_running_stream_will_have_is_told_its_end(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let accepted = client.shell_on("s", "until [ -e go ]; do sleep 0.02; done; echo a; exit 7").await;
    client.begun(&accepted.id).await;
    let mut events = client.connection("s", Some("99")).await;
    client.run("touch go").await;
    let mut told = Vec::new();
    while let Some(item) = events.next().await {
        match item {
            Item::Event(Received { event: Event::Status(_) | Event::Heartbeat(_), .. }) | Item::Retry(_) => {}
            Item::Event(event) => told.push(event.event),
        }
    }
    let [Event::Gap(gap), Event::Complete(complete)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((gap.from, gap.to, gap.reason), (1, Some(1), GapReason::UnknownId));
    assert_eq!((complete.seq, complete.exit_code), (2, Some(7)));
}

async fn unknown_streams_and_projects_are_not_found(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    for (path, code) in [
        ("/projects/demo/events?stream_id=none", "STREAM_NOT_FOUND"),
        ("/projects/demo/events/none", "STREAM_NOT_FOUND"),
        ("/projects/demo/events/no%20stream", "STREAM_NOT_FOUND"),
        ("/projects/none/events", "PROJECT_NOT_FOUND"),
        ("/projects/none/events?stream_id=none", "PROJECT_NOT_FOUND"),
        ("/projects/none/events/none", "PROJECT_NOT_FOUND"),
        ("/projects/NONE/events/none", "PROJECT_NOT_FOUND"),
    ] {
        client.get(path).send().await.failure(404, code);
    }
}

async fn a_silent_stream_beats(on: Runtime) {
    let server = on.fixture().with("RDEV_HEARTBEAT_SECONDS", "1").start().await;
    let client = server.client();
    let accepted = client.shell("until [ -e go ]; do sleep 0.02; done").await;
    let mut events = client.connection(&accepted.stream_id, None).await;
    events.heartbeats(2).await;
    client.run("touch go").await;
    assert_eq!(numbers(events).await, [1]);
}
