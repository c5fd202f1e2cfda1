//! The first walk of a newcomer: a command, its events, its output, the history.

use jiff::Timestamp;
use rdev_client::Received;
use rdev_client::types::{Accepted, Command, CommandType, Data, Event, List, OutputStream, Reason, Status};
use serde::Deserialize;

use crate::support::{Item, ReceivedExt, Runtime, moment, on_every_runtime};

on_every_runtime! {
    and on postgres:
    an_accepted_command_tells_where_to_look,
    a_stream_tells_the_command_from_pending_to_complete,
    a_command_that_has_ended_is_described_whole,
    history_comes_newest_first_and_page_by_page,
    the_whole_output_comes_as_bytes_or_as_json_lines,
    lines_come_while_the_command_runs,
    a_command_may_be_answered_with_its_events,
}

async fn an_accepted_command_tells_where_to_look(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let body = serde_json::json!({"command": "true"});
    let answer = client.post("/projects/demo/shell", &body).send().await;
    let Data { data, meta } = answer.json::<Data<Accepted>>(202);
    assert!(data.id.starts_with("cmd-") && data.id.len() == 36, "{}", data.id);
    assert_eq!(data.command_id, data.id);
    assert_eq!(data.stream_id, data.id);
    assert_eq!(data.project, "demo");
    assert_eq!((data.kind, data.status), (CommandType::Shell, Status::Pending));
    assert_eq!(data.stream_url, format!("/projects/demo/events?stream_id={}", data.id));
    assert_eq!(answer.header("location"), format!("/projects/demo/commands/{}", data.id));
    assert_eq!(answer.header("x-request-id"), meta.request_id);
    assert!(moment(&meta.timestamp) > Timestamp::UNIX_EPOCH);

    let found = client.get(answer.header("location")).send().await.json::<Data<Command>>(200).data;
    assert_eq!(found.accepted.id, data.id);
    let followed = client.get(&data.stream_url).events().await.rest().await;
    assert!(matches!(followed.last(), Some(Item::Event(Received { event: Event::Complete(_), .. }))));
}

async fn a_stream_tells_the_command_from_pending_to_complete(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let accepted = client.shell_on("walk-1", "echo one; echo two >&2; echo three; exit 3").await;
    assert_eq!(accepted.stream_id, "walk-1");
    let mut events = client.connection("walk-1", None).await;
    for (name, value) in
        [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("x-accel-buffering", "no")]
    {
        assert_eq!(events.headers[name], value);
    }
    assert!(!events.headers.contains_key("content-encoding"));
    let items = events.rest().await;
    assert!(matches!(items[0], Item::Retry(1000)), "{:?}", items[0]);
    let events: Vec<&Received> = items[1..].iter().map(event).collect();

    let statuses: Vec<Status> = events.iter().filter_map(|event| status(event)).collect();
    assert_eq!(statuses, [Status::Pending, Status::Running]);
    let times = events.iter().map(|event| event.at());
    assert!(times.clone().all(|at| at > Timestamp::UNIX_EPOCH) && times.is_sorted(), "{events:?}");
    let numbered: Vec<&&Received> = events.iter().filter(|event| event.seq().is_some()).collect();
    let numbers: Vec<u64> = numbered.iter().filter_map(|event| event.seq()).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    for event in &numbered {
        assert_eq!(event.id(), event.seq().unwrap().to_string());
        assert_eq!(event.stream(), Some("walk-1"));
    }
    // The two pipes have no common clock: only the order within each is certain.
    let (mut out, mut err) = (Vec::new(), Vec::new());
    for event in &numbered {
        match &event.event {
            Event::Output(line) => out.push((line.stream, line.line.as_str())),
            Event::Error(line) => err.push((line.stream, line.line.as_str())),
            _ => {}
        }
    }
    assert_eq!(out, [(OutputStream::Stdout, "one"), (OutputStream::Stdout, "three")]);
    assert_eq!(err, [(OutputStream::Stderr, "two")]);
    let Event::Complete(complete) = &numbered[3].event else { panic!("{:?}", numbered[3]) };
    assert_eq!((complete.status, complete.exit_code), (Status::Failed, Some(3)));
    assert_eq!(complete.reason, Some(Reason::ExitCode));
}

async fn a_command_that_has_ended_is_described_whole(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let accepted = client.shell_for(77, "echo said; kill -9 $$").await;
    let command = client.ended(&accepted.id).await;
    assert_eq!(command.accepted.project, "demo");
    assert_eq!((command.accepted.kind, command.accepted.status), (CommandType::Shell, Status::Failed));
    assert_eq!(command.accepted.stream_id, accepted.stream_id);
    assert_eq!(command.summary, "echo said; kill -9 $$");
    assert_eq!(command.progress.timeout_ms, 77_000);
    assert!(!command.progress.cancel_requested);
    assert_eq!((command.progress.exit_code, command.progress.reason), (Some(137), Some(Reason::Signal)));
    assert!(command.progress.message.is_some() && command.progress.duration_ms.is_some());
    let times = [
        Some(&command.progress.created_at),
        command.progress.started_at.as_ref(),
        command.progress.ended_at.as_ref(),
    ];
    assert!(times.map(|time| moment(time.unwrap())).is_sorted(), "{times:?}");
}

async fn history_comes_newest_first_and_page_by_page(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.push(client.shell(&format!("echo {number}")).await.id);
    }
    ids.reverse();

    let (mut seen, mut pages, mut cursor) = (Vec::new(), Vec::new(), None::<String>);
    loop {
        let path = match &cursor {
            None => "/projects/demo/commands?limit=3".to_owned(),
            Some(cursor) => format!("/projects/demo/commands?limit=3&cursor={cursor}"),
        };
        let list: List<Command> = client.get(&path).send().await.json(200);
        assert!(!list.meta.meta.request_id.is_empty());
        pages.push(list.data.len());
        seen.extend(list.data.into_iter().map(|command| command.accepted.id));
        cursor = list.meta.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ids);
    assert_eq!(pages, [3, 3, 1]);
    let all: List<Command> = client.get("/projects/demo/commands").send().await.json(200);
    assert_eq!(all.data.len(), 7);
    assert_eq!(all.meta.next_cursor, None);
}

#[derive(Debug, Deserialize)]
struct Line {
    event: String,
    seq: Option<u64>,
    line: Option<String>,
    status: Option<String>,
}

async fn the_whole_output_comes_as_bytes_or_as_json_lines(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    // It goes on to standard error only when its first output has been seen, so that the order is certain.
    let accepted = client
        .shell("printf 'a\\n\\n'; until [ -e go ]; do sleep 0.02; done; printf 'oops\\n' >&2; printf b >&2")
        .await;
    let mut events = client.follow(&accepted.stream_id, None).await;
    while !matches!(events.event().await.event, Event::Output(line) if line.line.is_empty()) {}
    server.touch("go").await;
    client.ended(&accepted.id).await;
    let path = format!("/projects/demo/commands/{}/output", accepted.id);

    let text = client.get(&path).send().await;
    assert_eq!(text.status, 200);
    assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(text.text(), "a\n\noops\nb");

    let json = client.get(&path).header("accept", "application/x-ndjson").send().await;
    assert_eq!(json.header("content-type"), "application/x-ndjson");
    let lines: Vec<Line> =
        json.text().lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let numbered: Vec<_> = lines.iter().filter(|line| line.seq.is_some()).collect();
    let numbers: Vec<u64> = numbered.iter().filter_map(|line| line.seq).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let events: Vec<&str> = numbered.iter().map(|line| line.event.as_str()).collect();
    assert_eq!(events, ["output", "output", "error", "error", "complete"]);
    let texts: Vec<&str> = numbered.iter().filter_map(|line| line.line.as_deref()).collect();
    assert_eq!(texts, ["a", "", "oops", "b"]);
    assert_eq!(numbered[4].status.as_deref(), Some("completed"));
}

async fn lines_come_while_the_command_runs(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    // It goes on only when its first line has been seen.
    let accepted = client.shell("echo first; until [ -e go ]; do sleep 0.02; done; echo second").await;
    let mut events = client.follow(&accepted.stream_id, None).await;
    loop {
        if let Event::Output(line) = events.event().await.event {
            assert_eq!(line.line, "first");
            break;
        }
    }
    assert_eq!(client.command(&accepted.id).await.accepted.status, Status::Running);
    assert_eq!(client.output(&accepted.id).await, "first\n", "what there is by now");
    client.run("touch go").await;
    let rest = events.rest().await;
    assert!(matches!(&rest[0].event, Event::Output(line) if line.line == "second"), "{rest:?}");
}

async fn a_command_may_be_answered_with_its_events(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let body = serde_json::json!({"command": "echo hello"});
    let call = client.post("/projects/demo/shell", &body).header("accept", "text/event-stream");
    let mut events = call.events().await;
    assert!(events.headers["location"].to_str().unwrap().starts_with("/projects/demo/commands/cmd-"));
    let items = events.rest().await;
    let lines: Vec<&Received> = items[1..].iter().map(event).filter(|event| event.seq().is_some()).collect();
    assert!(matches!(&lines[0].event, Event::Output(line) if line.line == "hello"), "{lines:?}");
    assert!(matches!(&lines[1].event, Event::Complete(complete) if complete.status == Status::Completed));

    // As on a stream of its own, standard error may be `output`.
    let loud = |stderr: &str| {
        let path = format!("/projects/demo/shell?stderr={stderr}");
        let body = serde_json::json!({"command": "echo no >&2"});
        client.post(&path, &body).header("accept", "text/event-stream")
    };
    let mut events = loud("output").events().await;
    let items = events.rest().await;
    let line = items[1..].iter().map(event).find(|event| event.seq() == Some(1)).unwrap();
    assert!(matches!(&line.event, Event::Output(line) if line.stream == OutputStream::Stderr), "{line:?}");
    let failure = loud("both").send().await.failure(422, "VALIDATION_FAILED");
    assert_eq!(failure.fields(), ["stderr"]);
}

fn event(item: &Item) -> &Received {
    match item {
        Item::Event(event) => event,
        Item::Retry(_) => panic!("retry in the middle of a stream"),
    }
}

fn status(event: &Received) -> Option<Status> {
    match &event.event {
        Event::Status(status) => Some(status.status),
        _ => None,
    }
}
