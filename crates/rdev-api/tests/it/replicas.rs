//! Several servers on one Postgres: any of them serves any stream and any cancel, and one goes on where another
//! has died.

use rdev_client::types::{Accepted, Event, Status};

use crate::many_lines::Numbered;
use crate::support::{Events, Fixture, Runtime, Server, eventually};

/// A server whose projects are pods, and a command that runs there: it says `one`, and `two` when `go` is there.
async fn one_that_runs() -> (Server, Accepted) {
    let server = Runtime::Double.fixture().with_postgres().start().await;
    let line = "echo ran >> ran; echo one; until [ -e go ]; do sleep 0.02; done; echo two; exit 5";
    let accepted = server.client().shell(line).await;
    let mut events = server.client().follow(&accepted.stream_id, None).await;
    assert_eq!(next_line(&mut events).await, (1, "one".to_owned()));
    (server, accepted)
}

async fn another(server: &Server) -> Server {
    Fixture::new().with("RDEV_LEASE_SECONDS", "3").start_beside(server).await
}

async fn next_line(events: &mut Events) -> (u64, String) {
    loop {
        match events.event().await.event {
            Event::Output(line) => return (line.seq, line.line),
            Event::Status(_) | Event::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn end(events: &mut Events) -> (u64, Status, Option<i32>) {
    loop {
        match events.event().await.event {
            Event::Complete(complete) => return (complete.seq, complete.status, complete.exit_code),
            Event::Status(_) | Event::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_stream_is_read_from_a_server_that_does_not_run_it() {
    let (a, accepted) = one_that_runs().await;
    let b = another(&a).await;
    let mut events = b.client().follow(&accepted.stream_id, None).await;
    let mut project = b.client().follow_project("demo", None).await;
    assert_eq!(next_line(&mut events).await, (1, "one".to_owned()));
    a.touch("go").await;
    assert_eq!(next_line(&mut events).await, (2, "two".to_owned()));
    assert_eq!(end(&mut events).await, (3, Status::Failed, Some(5)));
    let mut lines = Vec::new();
    while !matches!(lines.last(), Some((2, _))) {
        lines.push(next_line(&mut project).await);
    }
    assert!(lines.is_sorted_by(|a, b| a.0 < b.0), "{lines:?}");
}

#[tokio::test]
async fn a_cancel_reaches_the_server_that_runs_the_command() {
    let (a, accepted) = one_that_runs().await;
    let b = another(&a).await;
    let mut events = a.client().follow(&accepted.stream_id, Some("1")).await;
    b.client().cancel(&accepted.id).await;
    let (seq, status, _) = end(&mut events).await;
    assert_eq!((seq, status), (2, Status::Cancelled));
    assert_eq!(b.client().command(&accepted.id).await.accepted.status, Status::Cancelled);
}

#[tokio::test]
async fn a_killed_servers_command_is_attached_to_by_another() {
    let (mut a, accepted) = one_that_runs().await;
    let b = another(&a).await;
    let mut events = b.client().follow(&accepted.stream_id, None).await;
    assert_eq!(next_line(&mut events).await, (1, "one".to_owned()));
    a.kill9().await;
    a.touch("go").await;
    assert_eq!(next_line(&mut events).await, (2, "two".to_owned()));
    assert_eq!(end(&mut events).await, (3, Status::Failed, Some(5)));
    assert_eq!(a.file("ran").await.as_deref(), Some("ran\n"), "it was started once");
    // The one that comes back serves it as well.
    a.restart().await;
    let events = a.client().follow(&accepted.stream_id, None).await.rest().await;
    assert!(events.len() > 3);
    assert_eq!(a.client().run("echo well").await.0, ["well"]);
}

#[tokio::test]
async fn two_servers_share_what_there_is_to_do() {
    const COMMANDS: usize = 12;
    let a = Runtime::Double.fixture().with_postgres().with("RDEV_WORKER_CONCURRENCY", "1").start().await;
    let b = Fixture::new().with("RDEV_WORKER_CONCURRENCY", "1").start_beside(&a).await;
    // Each runs one at a time, so that two that wait for one another need both.
    let first = a.client().shell("touch one; until [ -e two ]; do sleep 0.02; done").await;
    let second = a.client().shell("touch two; until [ -e one ]; do sleep 0.02; done").await;
    for accepted in [&first, &second] {
        assert_eq!(b.client().ended(&accepted.id).await.accepted.status, Status::Completed);
    }
    let mut accepted = Vec::new();
    for number in 0..COMMANDS {
        let client = if number % 2 == 0 { a.client() } else { b.client() };
        accepted.push(client.shell(&format!("echo {number} >> all")).await);
    }
    for (number, accepted) in accepted.iter().enumerate() {
        let client = if number % 2 == 0 { b.client() } else { a.client() };
        assert_eq!(client.ended(&accepted.id).await.accepted.status, Status::Completed);
    }
    let all = eventually("every line", async || a.file("all").await).await;
    let mut all: Vec<usize> = all.lines().map(|line| line.parse().unwrap()).collect();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..COMMANDS), "{all:?}");
}

#[tokio::test]
async fn cut_connections_to_the_database_cost_no_line() {
    const LINES: u64 = 400;
    let server = Runtime::LocalOnPostgres.server().await;
    let accepted =
        server.client().shell(&format!("for i in $(seq {LINES}); do echo $i; sleep 0.01; done")).await;
    let (mut reader, client) = (Numbered::default(), server.client());
    for cut_at in (40..LINES).step_by(40) {
        reader.read_until(&client, &accepted.stream_id, cut_at).await;
        server.cut_database().await;
    }
    reader.read_until(&client, &accepted.stream_id, u64::MAX).await;
    assert_eq!(reader.last, LINES);
}

#[tokio::test]
async fn a_server_that_was_away_longer_than_its_lease_writes_nothing_any_more() {
    let a = Runtime::Double.fixture().with_postgres().start().await;
    let line = "echo ran >> ran; i=0; until [ -e go ]; do i=$((i + 1)); echo $i; sleep 0.02; done";
    let accepted = a.client().shell(line).await;
    let mut reader = Numbered::default();
    reader.read_until(&a.client(), &accepted.stream_id, 20).await;
    let b = another(&a).await;
    a.pause();
    let seen = reader.last;
    reader.read_until(&b.client(), &accepted.stream_id, seen + 100).await;
    // What the runner has told it meanwhile is in its connection still, and it begins with that.
    a.resume();
    a.logged(&["another worker has taken over"]).await;
    let seen = reader.last;
    reader.read_until(&b.client(), &accepted.stream_id, seen + 50).await;
    a.touch("go").await;
    reader.read_until(&b.client(), &accepted.stream_id, u64::MAX).await;
    for server in [&a, &b] {
        let mut again = Numbered::default();
        again.read_until(&server.client(), &accepted.stream_id, u64::MAX).await;
        assert_eq!((again.last, again.complete.is_some()), (reader.last, true));
    }
    assert_eq!(a.file("ran").await.as_deref(), Some("ran\n"));
}
