//! Sequence numbers, positions in the log, and entries.

use std::time::Duration;

use bytes::Bytes;
use rdev_domain::{
    Ending, Entry, EntryBody, Failure, JobKind, JobStatus, Outcome, Position, Reason, Retrying, Seq,
    TaskKind, Timestamp,
};

#[test]
fn numbers_follow_each_other_without_gaps() {
    assert_eq!(Seq::ZERO.next(), Seq(1));
    assert_eq!(Seq(41).next(), Seq(42));
    assert_eq!(Seq(42).before(), Seq(41));
    assert_eq!(Seq(1).before(), Seq::ZERO);
    assert_eq!(Seq::ZERO.before(), Seq::ZERO);
    assert_eq!(Seq(u64::MAX).next(), Seq(u64::MAX));
    assert_eq!(Position(7).before(), Position(6));
    assert_eq!(Position::ZERO.before(), Position::ZERO);
    assert!(Position::ZERO < Position(1) && Position(1) < Position::MAX);
}

fn outcome() -> Outcome {
    Outcome { ending: Ending::Completed, exit_code: Some(0), message: None, duration: Duration::ZERO }
}

fn entry(body: EntryBody) -> Entry {
    Entry {
        position: Position(1),
        job: format!("cmd-{}", "0".repeat(32)).parse().unwrap(),
        kind: JobKind::Task(TaskKind::Build),
        project: None,
        stream: "s".parse().unwrap(),
        first_seq: Seq(1),
        last_seq: Seq(1),
        at: Timestamp::from_micros(0),
        body,
    }
}

#[test]
fn only_output_has_bytes_and_only_the_end_is_last() {
    let output = entry(EntryBody::Output(Bytes::from_static(b"three lines")));
    assert_eq!(output.output_bytes(), 11);
    assert!(!output.is_last());
    let retrying = Retrying { attempt: 2, reason: "signal".into(), message: "m".into(), counted: true };
    for body in [
        EntryBody::Status(JobStatus::Running),
        EntryBody::Stalled(Failure::new(Reason::PodNotReady, "m")),
        EntryBody::Retry(retrying),
        EntryBody::FormerEnd(outcome()),
    ] {
        let entry = entry(body);
        assert_eq!(entry.output_bytes(), 0, "{entry:?}");
        assert!(!entry.is_last(), "{entry:?}");
    }
    let end = entry(EntryBody::Complete(outcome()));
    assert!(end.is_last());
    assert_eq!(end.output_bytes(), 0);
}

#[test]
fn messages_are_storable_in_every_database() {
    let failure = Failure::new(Reason::NoShell, "a\0b").storable();
    assert_eq!(failure, Failure { reason: Reason::NoShell, message: "a\u{fffd}b".into() });
    let failed = Outcome::without_process(Ending::TimedOut, "never ran\0");
    assert_eq!((failed.ending, failed.exit_code, failed.duration), (Ending::TimedOut, None, Duration::ZERO));
    let stored = failed.storable();
    assert_eq!(stored.message.as_deref(), Some("never ran\u{fffd}"));
    assert_eq!(stored.ending, Ending::TimedOut);
    let plain = Failure::new(Reason::NoShell, "ab");
    assert_eq!(plain.clone().storable(), plain);
}

#[test]
fn json_is_compared_by_its_text() {
    let json =
        |text: &str| rdev_domain::Json::new(&serde_json::value::RawValue::from_string(text.into()).unwrap());
    assert_eq!(json("{\"a\":1}"), json("{\"a\":1}"));
    assert_ne!(json("{\"a\":1}"), json("{\"a\": 1}"));
}
