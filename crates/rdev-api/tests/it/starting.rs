//! Starts that fail, and their messages.

use crate::support::{Fixture, Told, eventually};

#[tokio::test]
async fn what_cannot_start_is_told_of_and_starts_when_it_can() {
    let server = Fixture::new().start().await;
    let client = server.client();
    let runs = server.fixture().data_dir().join("runs");
    let aside = runs.with_extension("aside");
    std::fs::rename(&runs, &aside).unwrap();
    std::fs::write(&runs, "a file").unwrap();
    let accepted = client.shell("echo ran >> ran").await;
    let stalled = eventually("the reason", async || {
        Some(client.command(&accepted.id).await).filter(|command| command.reason.is_some())
    });
    let stalled = stalled.await;
    let message = stalled.message.unwrap();
    assert_eq!((stalled.status.as_str(), stalled.reason.as_deref()), ("running", Some("runner_failed")));
    assert!(message.contains("Not a directory") && message.contains(runs.to_str().unwrap()), "{message}");

    std::fs::remove_file(&runs).unwrap();
    std::fs::rename(&aside, &runs).unwrap();
    let ended = client.ended(&accepted.id).await;
    assert_eq!((ended.status.as_str(), ended.reason, ended.message), ("completed", None, None));
    assert_eq!(server.file("ran").await.as_deref(), Some("ran\n"));
    let mut events = client.follow(&accepted.stream_id, None).await;
    let mut told = Vec::new();
    loop {
        match events.event().await.told {
            Told::Status(status) => told.push((status.status, status.reason)),
            Told::Complete(_) => break,
            _ => {}
        }
    }
    let reason = |status: &str, reason: Option<&str>| (status.to_owned(), reason.map(str::to_owned));
    let all = [("pending", None), ("running", None), ("running", Some("runner_failed")), ("running", None)];
    assert_eq!(told, all.map(|(status, why)| reason(status, why)));
}
