//! Clocks that somebody sets while servers work: a machine is suddenly an hour off.

use std::path::Path;

use rdev_client::types::Command;

use crate::many_lines::Numbered;
use crate::support::{Fixture, Runtime, faketime, moment};

/// A lease that no stall of a busy machine ends, in seconds.
const LEASE: &str = "10";

#[tokio::test]
async fn a_server_whose_clock_is_an_hour_ahead_takes_and_holds_nothing() {
    a_clock_is_set("+1h").await;
}

#[tokio::test]
async fn a_server_whose_clock_is_an_hour_behind_loses_and_delays_nothing() {
    a_clock_is_set("-1h").await;
}

/// A server whose clock is what a file says.
pub(crate) fn with_clock(fixture: Fixture, file: &Path) -> Fixture {
    fixture
        .with("LD_PRELOAD", faketime().display().to_string())
        .with("FAKETIME_TIMESTAMP_FILE", file.display().to_string())
        .with("FAKETIME_NO_CACHE", "1")
        // Setting a clock does not change how time passes.
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

async fn a_clock_is_set(to: &str) {
    const LINES: u64 = 140;
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "+0\n").unwrap();
    let fixture = Runtime::Double.fixture().with_postgres().with("RDEV_LEASE_SECONDS", LEASE);
    let mut a = with_clock(fixture, &clock).start().await;
    let b = Fixture::new().with("RDEV_LEASE_SECONDS", LEASE).start_beside(&a).await;
    let (client, other) = (a.client(), b.client());

    // Both may be at work, for longer than a lease, when the clock of one is set.
    let line = format!("echo ran >> ran; for i in $(seq {LINES}); do echo $i; sleep 0.1; done");
    let (first, second) = (client.shell(&line).await, client.shell(&line).await);
    let mut readers = [Numbered::default(), Numbered::default()];
    let mut events = readers[0].open(&other, &first.stream_id).await;
    while readers[0].last < 10 {
        readers[0].take(&events.event().await);
    }
    std::fs::write(&clock, format!("{to}\n")).unwrap();
    while readers[0].last < LINES / 2 {
        readers[0].take(&events.event().await);
    }
    // Leases were renewed meanwhile, and nobody has found one that had run out.
    for server in [&a, &b] {
        assert!(!server.log().contains("another worker has taken over"), "{}", server.log());
    }

    // What it leased by its clock is taken over when it dies, and what it is asked for then is not late.
    a.kill9().await;
    readers[0].read_to_the_end(&mut events).await;
    let mut events = readers[1].open(&other, &second.stream_id).await;
    readers[1].read_to_the_end(&mut events).await;
    assert!(readers.iter().all(|reader| reader.last == LINES));
    assert_eq!(a.file("ran").await.as_deref(), Some("ran\nran\n"));

    // It starts with the clock that it has, and its times and ids are in order with those of the others.
    a.restart().await;
    let (client, mut commands) = (a.client(), Vec::new());
    for client in [&other, &client, &other] {
        let accepted = client.shell("true").await;
        commands.push(client.ended(&accepted.id).await);
    }
    let accepted_at = |command: &Command| moment(&command.progress.created_at);
    let is_sorted =
        commands.is_sorted_by(|a, b| a.accepted.id < b.accepted.id && accepted_at(a) <= accepted_at(b));
    assert!(is_sorted, "{commands:?}");
}

#[tokio::test]
async fn a_machine_whose_clock_is_set_forth_and_back_goes_on_and_repeats_nothing() {
    const LINES: u64 = 100;
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "+0\n").unwrap();
    let server = with_clock(Fixture::new(), &clock).with("RDEV_LEASE_SECONDS", "3").start().await;
    let client = server.client();
    let line = format!("echo ran >> ran; for i in $(seq {LINES}); do echo $i; sleep 0.1; done");
    let accepted = client.shell(&line).await;
    let mut reader = Numbered::default();
    for (to, line) in [("+1h", 20), ("+0", 40), ("-1h", 60), ("+0", 80)] {
        reader.read_until(&client, &accepted.stream_id, line).await;
        std::fs::write(&clock, format!("{to}\n")).unwrap();
        // What comes in then is not late.
        assert_eq!(client.run("echo well").await.0, ["well"], "{to}");
    }
    reader.read_until(&client, &accepted.stream_id, u64::MAX).await;
    assert_eq!(reader.last, LINES);
    assert_eq!(server.file("ran").await.as_deref(), Some("ran\n"));
}
