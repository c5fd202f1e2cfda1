//! A caller that goes away in the middle of a write leaves all of it or nothing, and blocks nobody.

use std::collections::BTreeSet;
use std::time::Duration;

use rdev_domain::{Position, Target};
use rdev_ports::testing::job;
use rdev_ports::{EventLog, TaskQueue};
use rdev_sql::SqlStore;

use crate::{On, on_both};

/// Longest wait for the end of a statement.
const PATIENCE: Duration = Duration::from_secs(10);

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
    // The statement of a dropped write may be under way beside the last one.
    let is_whole = async {
        while !has_an_entry_of_each_job(&store, &last.target()).await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, is_whole).await.expect("each job has its entry, and each entry its job");
    assert!(dropped > 0, "every write was over before its caller went away");
}

async fn has_an_entry_of_each_job(store: &SqlStore, target: &Target) -> bool {
    let jobs = store.jobs(target, &rdev_ports::JobFilter::default(), None, 1000).await.unwrap();
    let entries = store.read_view(&rdev_ports::testing::log_of("demo"), Position::ZERO, 1000).await.unwrap();
    let jobs: BTreeSet<_> = jobs.iter().map(|job| &job.id).collect();
    entries.len() == jobs.len() && entries.iter().all(|entry| jobs.contains(&entry.job))
}
