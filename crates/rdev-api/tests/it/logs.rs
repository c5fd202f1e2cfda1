//! A log that cannot be written loses lines, and nothing else.

use crate::support::{Fixture, Item, eventually};

/// Nobody reads it any more.
const CLOSED: &str = "exec \"$0\" 2> >(:)";
/// There is no room.
const FULL: &str = "exec \"$0\" 2>/dev/full";
/// Somebody has it open, and does not read.
const STALLED: &str = "mkfifo log.pipe; exec 9<>log.pipe; exec \"$0\" 2>log.pipe";

#[tokio::test]
async fn a_log_that_nobody_can_write_stops_and_stalls_nothing() {
    for log in [CLOSED, FULL, STALLED] {
        let fixture = Fixture::new().started_by(log).with("RDEV_LOG", "debug");
        let mut server = fixture.start().await;
        let client = server.client();
        // More lines than a pipe holds.
        for _ in 0..600 {
            assert_eq!(client.get("/projects").send().await.status, 200, "{log}");
        }
        // The worker warns of a command that is cancelled while it starts, or of one whose runner is cut.
        let accepted = client.shell("sleep 300").await;
        client.begun(&accepted.id).await;
        client.cancel(&accepted.id).await;
        assert_eq!(client.ended(&accepted.id).await.status, "cancelled", "{log}");
        assert_eq!(client.run("echo after").await.0, ["after"], "{log}");
        if log != STALLED {
            let lost = async || {
                let metrics = client.get("/metrics").send().await.text().to_owned();
                let line = metrics.lines().find(|line| line.starts_with("rdev_log_lines_lost_total "))?;
                (!line.ends_with(" 0")).then_some(())
            };
            eventually("lines that are counted", lost).await;
        }
        server.terminate();
        assert!(server.wait().await.success(), "{log}");
    }
}

#[tokio::test]
async fn a_server_that_was_started_by_nohup_outlives_its_terminal() {
    let mut server = Fixture::new().started_by("exec nohup \"$0\"").start().await;
    let client = server.client();
    let accepted = client.shell("until [ -e go ]; do sleep 0.02; done; echo after").await;
    let mut events = client.follow(&accepted.stream_id, None).await;
    client.begun(&accepted.id).await;
    server.hang_up();
    assert_eq!(client.get("/projects").send().await.status, 200);
    server.touch("go").await;
    let items = events.rest().await;
    assert!(!items.iter().any(|item| matches!(item, Item::Retry(500))), "{items:?}");
    assert_eq!(client.ended(&accepted.id).await.status, "completed");
    server.terminate();
    assert!(server.wait().await.success());
}

#[tokio::test]
async fn a_hangup_says_goodbye_as_a_stop_does() {
    let mut server = Fixture::new().start().await;
    let client = server.client();
    let accepted = client.shell("until [ -e go ]; do sleep 0.02; done; echo after").await;
    let mut events = client.follow(&accepted.stream_id, None).await;
    client.begun(&accepted.id).await;
    server.hang_up();
    let items = events.rest().await;
    assert!(matches!(items.last(), Some(Item::Retry(500))), "{items:?}");
    assert!(server.wait().await.success());
    server.restart().await;
    server.touch("go").await;
    assert_eq!(server.client().ended(&accepted.id).await.status, "completed");
}
