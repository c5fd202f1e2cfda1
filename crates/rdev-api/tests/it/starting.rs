//! Starts that fail, and their messages.

use rdev_client::types::{Event, Reason, Status};

use crate::support::{Fixture, eventually};

#[tokio::test]
async fn a_command_that_cannot_start_says_so_and_starts_when_it_can() {
    let server = Fixture::new().start().await;
    let client = server.client();
    let runs = server.fixture().data_dir().join("runs");
    let aside = runs.with_extension("aside");
    std::fs::rename(&runs, &aside).unwrap();
    std::fs::write(&runs, "a file").unwrap();
    let accepted = client.shell("echo ran >> ran").await;
    let stalled = eventually("the reason", async || {
        Some(client.command(&accepted.id).await).filter(|command| command.progress.reason.is_some())
    });
    let stalled = stalled.await;
    let message = stalled.progress.message.unwrap();
    assert_eq!(
        (stalled.accepted.status, stalled.progress.reason),
        (Status::Running, Some(Reason::RunnerFailed))
    );
    assert!(message.contains("Not a directory") && message.contains(runs.to_str().unwrap()), "{message}");

    std::fs::remove_file(&runs).unwrap();
    std::fs::rename(&aside, &runs).unwrap();
    let ended = client.ended(&accepted.id).await;
    assert_eq!(
        (ended.accepted.status, ended.progress.reason, ended.progress.message),
        (Status::Completed, None, None)
    );
    assert_eq!(server.file("ran").await.as_deref(), Some("ran\n"));
    let mut events = client.follow(&accepted.stream_id, None).await;
    let mut told = Vec::new();
    loop {
        match events.event().await.event {
            Event::Status(status) => told.push((status.status, status.reason)),
            Event::Complete(_) => break,
            _ => {}
        }
    }
    let expected = [
        (Status::Pending, None),
        (Status::Running, None),
        (Status::Running, Some(Reason::RunnerFailed)),
        (Status::Running, None),
    ];
    assert_eq!(told, expected);
}
