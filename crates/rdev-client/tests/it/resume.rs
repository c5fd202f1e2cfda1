//! Streams that are cut, refused and silent.

use std::time::{Duration, Instant};

use rdev_client::types::{Event, GapReason};
use rdev_client::{AgentForm, Error, EventStream, Received, Reconnect};

use crate::server::{Reply, Server, complete, events, json, line, within};

const FAILURE: &str = r#"{"error":{"code":"UNAVAILABLE","message":"it is down","details":null},"meta":{"request_id":"r-1","timestamp":"2026-01-24T20:00:00Z"}}"#;

/// The numbers of all events, to the end of the stream.
async fn numbers(stream: &mut EventStream) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some(received) = within(stream.next()).await {
        numbers.extend(received.unwrap().event.seq());
    }
    numbers
}

#[tokio::test]
async fn a_stream_that_is_cut_goes_on_behind_the_last_event() {
    let begun = format!("retry: 10\n\n{}{}id: 3\nevent: outp", line(1), line(2));
    let script = vec![
        Reply::Close(events(&begun)),
        Reply::Close(String::new()),
        Reply::Close(events(&line(3))),
        Reply::Hold(events(&complete(4))),
    ];
    let mut server = Server::start(script).await;
    let mut stream = server.client().stream_events("demo", "s").open();
    assert_eq!(numbers(&mut stream).await, [1, 2, 3, 4]);
    assert_eq!(stream.last_event_id(), Some("4"));
    let first = server.request().await;
    assert!(first.starts_with("GET /projects/demo/events/s HTTP/1.1\r\n"), "{first}");
    assert!(
        first.contains("authorization: Bearer k-1\r\n") && first.contains("accept: text/event-stream\r\n")
    );
    assert!(!first.contains("last-event-id"), "{first}");
    for id in ["2", "2", "3"] {
        let again = server.request().await;
        assert!(again.contains(&format!("last-event-id: {id}\r\n")), "{again}");
    }
}

#[tokio::test]
async fn a_stream_begins_where_its_reader_says_and_ends_with_204() {
    let nothing = || Reply::Close("HTTP/1.1 204 No Content\r\n\r\n".into());
    let mut server = Server::start(vec![nothing(), nothing()]).await;
    let mut stream = server.client().task_events("cmd-1").after("7").open();
    assert!(within(stream.next()).await.is_none());
    assert!(within(stream.next()).await.is_none(), "it stays over");
    assert_eq!(stream.last_event_id(), Some("7"));
    let request = server.request().await;
    assert!(
        request.starts_with("GET /queue/tasks/cmd-1/events ") && request.contains("last-event-id: 7\r\n")
    );
    let mut stream = server.client().stream_events("demo", "s").agent(AgentForm::Text).open();
    assert!(within(stream.next()).await.is_none());
    assert!(server.request().await.starts_with("GET /projects/demo/events/s?agent=text "));
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_when_it_says() {
    let script = vec![
        json("503 Service Unavailable", "Retry-After: 1\r\n", FAILURE),
        json("502 Bad Gateway", "", "<html>"),
        Reply::Hold(events(&complete(1))),
    ];
    let server = Server::start(script).await;
    let began = Instant::now();
    assert_eq!(numbers(&mut server.client().stream_events("demo", "s").open()).await, [1]);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_refusal_is_the_last_item() {
    let body = FAILURE.replace("UNAVAILABLE", "STREAM_NOT_FOUND");
    let server = Server::start(vec![json("404 Not Found", "", &body)]).await;
    let mut stream = server.client().stream_events("demo", "none").open();
    let error = within(stream.next()).await.unwrap().unwrap_err();
    let failure = error.failure().unwrap();
    assert_eq!((failure.status, failure.code.as_str()), (404, "STREAM_NOT_FOUND"));
    assert_eq!(failure.request_id.as_deref(), Some("r-1"));
    assert!(within(stream.next()).await.is_none());
}

#[tokio::test]
async fn a_stream_that_is_to_be_connected_is_there_or_refused_before_its_first_event() {
    let body = FAILURE.replace("UNAVAILABLE", "PROJECT_NOT_FOUND");
    let script = vec![
        json("503 Service Unavailable", "", FAILURE),
        Reply::Hold(events("retry: 10\n\n")),
        json("404 Not Found", "", &body),
        Reply::Close("HTTP/1.1 204 No Content\r\n\r\n".into()),
    ];
    let mut server = Server::start(script).await;
    let client = server.client();
    let stream = within(client.project_events("demo").after("latest").connect()).await.unwrap();
    for _ in 0..2 {
        assert!(server.request().await.contains("last-event-id: latest\r\n"));
    }
    assert_eq!(stream.last_event_id(), Some("latest"));
    let error = within(client.project_events("none").connect()).await.unwrap_err();
    assert_eq!(error.failure().map(|failure| failure.code.as_str()), Some("PROJECT_NOT_FOUND"));
    let mut over = within(client.task_events("cmd-1").after("7").connect()).await.unwrap();
    assert!(within(over.next()).await.is_none());
}

#[tokio::test]
async fn a_silent_connection_is_given_up() {
    let script = vec![Reply::Hold(events(&line(1))), Reply::Hold(events(&complete(2)))];
    let server = Server::start(script).await;
    let client = server.client_with(|builder| builder.idle_timeout(Duration::from_millis(200)));
    assert_eq!(numbers(&mut client.stream_events("demo", "s").open()).await, [1, 2]);
}

#[tokio::test]
async fn a_reader_does_not_wait_for_ever() {
    let server = Server::start(vec![Reply::Close(events(&line(1))), Reply::Close(String::new())]).await;
    let reconnect = Reconnect { give_up_after: Duration::ZERO, ..Reconnect::default() };
    let mut stream =
        server.client_with(|builder| builder.reconnect(reconnect)).stream_events("demo", "s").open();
    assert_eq!(within(stream.next()).await.unwrap().unwrap().event.seq(), Some(1));
    let error = within(stream.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Stream(_)) && error.is_temporary(), "{error:?}");
    assert!(within(stream.next()).await.is_none());
}

#[tokio::test]
async fn gaps_and_events_of_newer_servers_are_passed_on() {
    let text = format!(
        "event: gap\ndata: {{\"from\":null,\"to\":\"9-0\",\"reason\":\"retention\"}}\n\n\
         event: novelty\ndata: {{\"kind\":\"unheard\"}}\n\n\
         event: heartbeat\ndata: {{\"timestamp\":\"2026-01-24T20:00:00Z\"}}\n\n\
         event: status\ndata: {{\"nothing\":1}}\n\n{}{}",
        complete(1).replace("id: 1", "id: 9-1"),
        line(1).replace("id: 1", "id: 10-1"),
    );
    let mut server = Server::start(vec![Reply::Hold(events(&text))]).await;
    let mut stream = server.client().project_events("demo").after("latest").open();
    let mut next = async || within(stream.next()).await.unwrap();
    let Received { id: None, event: Event::ProjectGap(gap) } = next().await.unwrap() else {
        panic!("no gap")
    };
    assert_eq!((gap.reason, gap.to.as_str()), (GapReason::Retention, "9-0"));
    assert_eq!(next().await.unwrap(), Received { id: None, event: Event::Unknown });
    assert!(matches!(next().await.unwrap().event, Event::Heartbeat(_)));
    assert!(matches!(next().await.unwrap_err(), Error::Shape(_)));
    // The end of one command is not that of the project's stream.
    assert!(
        matches!(next().await.unwrap(), Received { id: Some(id), event: Event::Complete(_) } if id == "9-1")
    );
    assert!(matches!(next().await.unwrap().event, Event::Output(_)));
    assert_eq!(stream.last_event_id(), Some("10-1"));
    assert!(server.request().await.contains("last-event-id: latest\r\n"));
}

#[tokio::test]
async fn a_wait_that_is_given_up_loses_nothing() {
    let server = Server::start(vec![Reply::Close(events(&line(1))), Reply::Hold(events(&complete(2)))]).await;
    let mut stream = server.client().stream_events("demo", "s").open();
    let mut numbers = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_millis(1), stream.next()).await {
            Ok(Some(received)) => numbers.extend(received.unwrap().event.seq()),
            Ok(None) => break,
            Err(_) => {}
        }
    }
    assert_eq!(numbers, [1, 2]);
}
