//! A caller that goes away in the middle of a write leaves all of it or nothing, and blocks nobody.

use std::time::Duration;

use rdev_domain::Position;
use rdev_ports::testing::job;
use rdev_ports::{EventLog, TaskQueue};

use crate::{On, on_both};

on_both! {
    a_write_that_is_dropped_happens_whole_or_not_at_all,
}

async fn a_write_that_is_dropped_happens_whole_or_not_at_all(on: On) {
    const WRITES: u64 = 200;
    let (store, _dir) = on.fresh().await;
    let mut dropped = 0;
    for n in 1..=WRITES {
        let patience = Duration::from_micros(n * 10);
        let writing = tokio::spawn({
            let store = store.clone();
            async move { store.enqueue(&job("demo", n), None).await }
        });
        tokio::time::sleep(patience).await;
        writing.abort();
        dropped += u64::from(writing.await.is_err());
    }
    let last = job("demo", WRITES + 1);
    store.enqueue(&last, None).await.unwrap();
    let jobs = store.jobs(&last.target(), &rdev_ports::JobFilter::default(), None, 1000).await.unwrap();
    let entries = store.read_view(&rdev_ports::testing::log_of("demo"), Position::ZERO, 1000).await.unwrap();
    let told: Vec<_> = entries.iter().rev().map(|entry| &entry.job).collect();
    assert_eq!(jobs.iter().map(|job| &job.id).collect::<Vec<_>>(), told);
    assert!(dropped > 0, "every write was over before its caller went away");
}
