//! Streams as lines of JSON: the same events as by server-sent events, under the same ids.

use rdev_client::Received;
use rdev_client::types::{Accepted, AcceptedOperation, Command, Data, Event, GapReason, List};
use serde_json::json;

use crate::support::{Call, Client, Item, RawEvents, ReceivedExt, Runtime, Server, on_every_runtime};

const NDJSON: &str = "application/x-ndjson";

on_every_runtime! {
    and on postgres:
    each_stream_has_the_same_events_as_lines_of_json,
    a_post_is_answered_with_lines_of_json_once,
    a_reader_of_lines_resumes_and_is_told_the_end,
    a_silent_stream_of_lines_beats_from_its_beginning,
}

fn as_lines(client: &Client, path: &str) -> Call {
    client.get(path).header("accept", NDJSON)
}

/// The events up to the ends of so many jobs, without signs of life.
async fn told(mut events: RawEvents, ends: usize) -> Vec<Received> {
    let (mut told, mut ended) = (Vec::new(), 0);
    while ended < ends {
        let event = events.event().await;
        ended += usize::from(matches!(event.event, Event::Complete(_)));
        if !matches!(event.event, Event::Heartbeat(_)) {
            told.push(event);
        }
    }
    told
}

async fn each_stream_has_the_same_events_as_lines_of_json(on: Runtime) {
    let server = on.server_with_workers(1).await;
    let client = server.client();
    let accepted = client.shell_on("s", "echo 'a \"b\" \\'; sleep 0.1; printf 'ä\\xff' >&2; exit 3").await;
    client.ended(&accepted.id).await;
    let task = json!({"type": "shell", "steps": ["echo of a task"], "project": "demo"});
    let task = client.add_task(&task).await;
    client.api().await_task(&task.id, 60).await.unwrap();
    for (path, ends) in [
        ("/projects/demo/events?stream_id=s".to_owned(), 1),
        ("/projects/demo/events/s".to_owned(), 1),
        ("/projects/demo/events/s?stderr=output&types=output".to_owned(), 1),
        (format!("/queue/tasks/{}/events", task.id), 1),
        ("/projects/demo/events".to_owned(), 2),
        ("/events".to_owned(), 2),
        ("/events?types=status,complete".to_owned(), 2),
    ] {
        let lines = as_lines(&client, &path).header("accept-encoding", "gzip, br").events().await;
        for (name, value) in
            [("content-type", NDJSON), ("cache-control", "no-store"), ("x-accel-buffering", "no")]
        {
            assert_eq!(lines.headers[name], value, "{path}");
        }
        assert!(!lines.headers.contains_key("content-encoding"), "{path}");
        let lines = told(lines, ends).await;
        assert_eq!(lines, told(client.get(&path).events().await, ends).await, "{path}");
        assert!(lines.iter().any(|event| event.id.is_some()), "{path}: {lines:?}");
    }
}

#[tokio::test]
async fn the_steps_of_an_operation_come_as_lines_of_json() {
    let server = Server::start().await;
    let client = server.client();
    let made = client.post("/projects", &json!({"name": "shop"})).send().await;
    let path = made.part::<Data<AcceptedOperation>>(202).data.events_url;
    let lines = told(as_lines(&client, &path).events().await, 1).await;
    assert!(lines.iter().any(|event| matches!(event.event, Event::Step(_))), "{lines:?}");
    assert_eq!(lines, told(client.get(&path).events().await, 1).await);
}

async fn a_post_is_answered_with_lines_of_json_once(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let post = || {
        let body = json!({"command": "echo started >>side-effect; echo out; echo err >&2"});
        let call = client.post("/projects/demo/shell?stderr=output", &body).header("accept", NDJSON);
        call.header("idempotency-key", "once")
    };
    let (mut first, mut again) = (post().events().await, post().events().await);
    assert_eq!(first.headers["location"], again.headers["location"]);
    let of = |items: Vec<Item>| -> Vec<Received> {
        let event = |item| match item {
            Item::Event(event) if !matches!(event.event, Event::Heartbeat(_)) => Some(event),
            Item::Event(_) | Item::Retry(_) => None,
        };
        items.into_iter().filter_map(event).collect()
    };
    let told = of(first.rest().await);
    assert_eq!(told, of(again.rest().await));
    assert_eq!(told.iter().filter(|event| matches!(event.event, Event::Output(_))).count(), 2, "{told:?}");
    assert!(matches!(told.last(), Some(Received { event: Event::Complete(_), .. })), "{told:?}");
    assert_eq!(server.file("side-effect").await.as_deref(), Some("started\n"));
    let listed: List<Command> = client.get("/projects/demo/commands").send().await.json(200);
    assert_eq!(listed.data.len(), 1);
    // Without that preference the answer is the acceptance.
    let body = json!({"command": "true"});
    let plain = client.post("/projects/demo/shell", &body).header("accept", "application/x-ndjson;q=0, */*");
    plain.send().await.json::<Data<Accepted>>(202);
}

async fn a_reader_of_lines_resumes_and_is_told_the_end(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let accepted = client.shell_on("s", "seq 9").await;
    client.ended(&accepted.id).await;
    let numbers = |events: &[Received]| events.iter().filter_map(ReceivedExt::seq).collect::<Vec<_>>();
    for path in ["/projects/demo/events?stream_id=s", "/projects/demo/events/s"] {
        let rest = told(as_lines(&client, path).header("last-event-id", "4").events().await, 1).await;
        assert_eq!(numbers(&rest), [5, 6, 7, 8, 9, 10]);
        let separator = if path.contains('?') { '&' } else { '?' };
        let rest = as_lines(&client, &format!("{path}{separator}last_event_id=7")).events().await;
        assert_eq!(numbers(&told(rest, 1).await), [8, 9, 10]);
        let over = as_lines(&client, path).header("last-event-id", "10").send().await;
        assert_eq!((over.status.as_u16(), over.body.len()), (204, 0));
    }
    // The opaque ids of a log of several jobs lead on as well, in either form.
    let all = told(as_lines(&client, "/events").events().await, 1).await;
    for (at, event) in all.iter().enumerate().take(all.len() - 1) {
        let lines =
            as_lines(&client, "/projects/demo/events").header("last-event-id", event.id()).events().await;
        assert_eq!(told(lines, 1).await, all[at + 1..]);
        let rest = client.get("/events").header("last-event-id", event.id()).events().await;
        assert_eq!(told(rest, 1).await, all[at + 1..]);
    }
    // An id that the log has never had is announced, and so is one beyond a stream's end.
    let mut unknown = as_lines(&client, "/events?last_event_id=99999999-1").events().await;
    let Event::ProjectGap(gap) = unknown.event().await.event else { panic!("no gap") };
    assert_eq!(gap.reason, GapReason::UnknownId);
    let beyond = told(as_lines(&client, "/projects/demo/events/s?last_event_id=77").events().await, 1).await;
    assert!(matches!(&beyond[0].event, Event::Gap(gap) if (gap.from, gap.to) == (1, Some(9))), "{beyond:?}");
}

async fn a_silent_stream_of_lines_beats_from_its_beginning(on: Runtime) {
    let server = on.fixture().with("RDEV_HEARTBEAT_SECONDS", "1").start().await;
    let client = server.client();
    let accepted = client.shell_on("s", "echo 1; until [ -e go ]; do sleep 0.02; done; echo 2").await;
    client.begun(&accepted.id).await;
    // The first line comes at once, whatever the stream has.
    let mut latest = as_lines(&client, "/events?last_event_id=latest").events().await;
    let first = latest.event().await;
    assert!(matches!(first.event, Event::Heartbeat(_)) && first.id.is_some(), "{first:?}");
    let mut events = as_lines(&client, "/projects/demo/events/s").events().await;
    assert!(matches!(events.event().await.event, Event::Heartbeat(_)));
    events.heartbeats(2).await;
    server.touch("go").await;
    let rest = told(events, 1).await;
    assert_eq!(rest.first().and_then(ReceivedExt::seq), Some(2), "{rest:?}");
}
