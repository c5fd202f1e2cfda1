//! The orderly end of a server, and its next start.

use std::time::Duration;

use rdev_client::Received;
use rdev_client::types::{Event, Status};
use tokio::time::{Instant, timeout};

use crate::many_lines::Numbered;
use crate::support::{Item, Runtime, on_every_runtime};

on_every_runtime! {
    and on postgres:
    a_stopping_server_says_goodbye_and_its_commands_go_on,
    a_stopping_server_begins_nothing_and_its_successor_does,
    a_second_server_on_the_same_data_is_refused_with_one_line,
    a_reader_that_resumes_sees_every_line_once_through_a_kill_and_a_stop,
}

/// A server that was told to stop is gone after this time at the latest.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

async fn a_stopping_server_says_goodbye_and_its_commands_go_on(on: Runtime) {
    let mut server = on.server().await;
    let client = server.client();
    let command = "echo started >> side-effect; i=0
        until [ -e go ]; do i=$((i + 1)); echo $i; sleep 0.05; done";
    let accepted = client.shell(command).await;
    let mut events = client.connection(&accepted.stream_id, None).await;
    let mut project = client.get("/projects/demo/events").events().await;
    let mut last = 0;
    while last < 5 {
        if let Event::Output(line) = events.event().await.event {
            assert_eq!(line.line, line.seq.to_string());
            last = line.seq;
        }
    }

    let asked = Instant::now();
    server.terminate();
    let items = events.rest().await;
    for item in &items {
        if let Item::Event(Received { event: Event::Output(line), .. }) = item {
            assert_eq!((line.seq, line.line.as_str()), (last + 1, line.seq.to_string().as_str()));
            last = line.seq;
        }
    }
    assert!(matches!(items.last(), Some(Item::Retry(_))), "the last word is retry: {:?}", items.last());
    assert!(matches!(project.rest().await.last(), Some(Item::Retry(_))));
    let status = timeout(STOPPED_WITHIN, server.wait()).await.expect("it stops in time");
    assert!(asked.elapsed() < STOPPED_WITHIN);
    assert!(status.success(), "{status}: {}", server.log());

    server.restart().await;
    let client = server.client();
    assert_eq!(client.command(&accepted.id).await.accepted.status, Status::Running);
    let mut events = client.follow(&accepted.stream_id, Some(&last.to_string())).await;
    let while_down = last + 5;
    let complete = loop {
        match events.event().await.event {
            Event::Output(line) => {
                assert_eq!((line.seq, line.line.as_str()), (last + 1, line.seq.to_string().as_str()));
                last = line.seq;
                if last == while_down {
                    server.touch("go").await;
                }
            }
            Event::Complete(complete) => break complete,
            Event::Status(_) | Event::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((complete.seq, complete.status), (last + 1, Status::Completed));
    assert_eq!(server.file("side-effect").await.as_deref(), Some("started\n"));
}

async fn a_stopping_server_begins_nothing_and_its_successor_does(on: Runtime) {
    let mut server = on.fixture().with("RDEV_WORKER_CONCURRENCY", "1").start().await;
    let client = server.client();
    let first = client.shell("until [ -e go ]; do sleep 0.02; done").await;
    let second = client.shell("echo second >> second").await;
    client.begun(&first.id).await;
    server.terminate();
    server.wait().await;
    server.touch("go").await;
    assert_eq!(server.file("second").await, None);
    server.restart().await;
    let client = server.client();
    assert_eq!(client.ended(&first.id).await.accepted.status, Status::Completed);
    assert_eq!(client.ended(&second.id).await.accepted.status, Status::Completed);
    assert_eq!(server.file("second").await.as_deref(), Some("second\n"));
}

async fn a_second_server_on_the_same_data_is_refused_with_one_line(on: Runtime) {
    let server = on.server().await;
    let refusal = server.fixture().refused().await;
    let lines: Vec<&str> = refusal.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{}", refusal.stderr);
    assert!(lines[0].contains("RDEV_DATA_DIR") && lines[0].contains("another rdev-api"), "{}", lines[0]);
    assert_eq!(refusal.stdout, "", "it must not look as if it had started");
    assert_eq!(server.client().run("echo well").await.0, ["well"]);
}

async fn a_reader_that_resumes_sees_every_line_once_through_a_kill_and_a_stop(on: Runtime) {
    // An address that nobody else takes while the server is down.
    let [a, b, c] = [(); 3].map(|()| fastrand::u8(1..255));
    let mut server = on.fixture().with("RDEV_BIND", format!("127.{a}.{b}.{c}:8080")).start().await;
    let client = server.client().resuming();
    let command = "i=0; until [ -e go ]; do i=$((i + 1)); echo $i; sleep 0.05; done";
    let accepted = client.shell(command).await;
    let mut events = client.follow(&accepted.stream_id, None).await;
    let mut reader = Numbered::default();
    for is_killed in [true, false] {
        let some_more = reader.last + 5;
        while reader.last < some_more {
            reader.take(&events.event().await);
        }
        if is_killed {
            server.kill9().await;
        } else {
            server.terminate();
            server.wait().await;
        }
        server.restart().await;
    }
    server.touch("go").await;
    while reader.complete.is_none() {
        reader.take(&events.event().await);
    }
    assert_eq!(reader.complete.map(|complete| complete.status), Some(Status::Completed));
    assert!(events.next().await.is_none(), "it does not come again after the end");
}
