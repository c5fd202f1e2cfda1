//! The orderly end of a server, and its next start.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::support::{Event, Item, Runtime, Told, told_on_every_runtime};

told_on_every_runtime! {
    and on postgres:
    a_stopping_server_says_goodbye_and_its_commands_go_on,
    a_stopping_server_begins_nothing_and_its_successor_does,
    a_second_server_on_the_same_data_is_refused_with_one_line,
}

/// A server that was told to stop is gone after this time at the latest.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

async fn a_stopping_server_says_goodbye_and_its_commands_go_on(on: Runtime) {
    let mut server = on.server().await;
    let client = server.client();
    let command = "echo started >> side-effect; i=0
        until [ -e go ]; do i=$((i + 1)); echo $i; sleep 0.05; done";
    let accepted = client.shell(command).await;
    let mut events = client.follow(&accepted.stream_id, None).await;
    let mut project = client.get("/projects/demo/events").events().await;
    let mut last = 0;
    while last < 5 {
        if let Told::Output(line) = events.event().await.told {
            assert_eq!(line.line, line.seq.to_string());
            last = line.seq;
        }
    }

    let asked = Instant::now();
    server.terminate();
    let items = events.rest().await;
    for item in &items {
        if let Item::Event(Event { told: Told::Output(line), .. }) = item {
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
    assert_eq!(client.command(&accepted.id).await.status, "running");
    let mut events = client.follow(&accepted.stream_id, Some(&last.to_string())).await;
    let while_down = last + 5;
    let complete = loop {
        match events.event().await.told {
            Told::Output(line) => {
                assert_eq!((line.seq, line.line.as_str()), (last + 1, line.seq.to_string().as_str()));
                last = line.seq;
                if last == while_down {
                    server.touch("go").await;
                }
            }
            Told::Complete(complete) => break complete,
            Told::Status(_) | Told::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((complete.seq, complete.status.as_str()), (last + 1, "completed"));
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
    assert_eq!(client.ended(&first.id).await.status, "completed");
    assert_eq!(client.ended(&second.id).await.status, "completed");
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
