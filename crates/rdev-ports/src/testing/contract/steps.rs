//! The steps that the promises are told in. Without another word they are about the project `demo`.

use std::fmt::Debug;
use std::time::Duration;

use rdev_domain::{Ending, Entry, Error, Job, JobId, Outcome, Position, Result, Target, Timestamp, WorkerId};

use super::Store;
use crate::testing::{START, id, job, new_job, slots, target};
use crate::{Claim, Enqueued, Fence, NewJob, Slot};

/// How long leases last here, in seconds.
pub(super) const LEASE: u64 = 30;
/// More than any test stores.
pub(super) const ALL: u32 = 1000;

/// A moment, in seconds after the start of the test.
pub(super) fn at(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

pub(super) fn demo() -> Target {
    target("demo")
}

pub(super) fn worker() -> WorkerId {
    id("worker-1")
}

/// The first seat of a worker.
pub(super) fn slot(worker: &str) -> Slot {
    Slot { worker: id(worker), number: 0 }
}

/// Stores the `n`th command.
pub(super) async fn enqueue(store: &impl Store, n: u64) -> Result<Job> {
    let job = job("demo", n);
    store.enqueue(new_job(job.clone())).await?;
    Ok(job)
}

/// Stores the `n`th command, of which at most one of the key may run.
pub(super) async fn enqueue_keyed(store: &impl Store, n: u64, key: &str) -> Result<Job> {
    let job = job("demo", n);
    let new = NewJob { concurrency_key: Some(key.to_owned()), ..new_job(job.clone()) };
    store.enqueue(new).await?;
    Ok(job)
}

/// The entry of a command that was stored just now.
pub(super) fn entry_of(enqueued: Enqueued) -> Entry {
    match enqueued {
        Enqueued::New(entry) => entry,
        Enqueued::Existing(job) => panic!("{} was stored before", job.id),
    }
}

/// Claims everything that can be claimed `now` seconds after the start.
pub(super) async fn claim_all(store: &impl Store, now: u64) -> Result<Vec<Claim>> {
    store.claim(&worker(), slots(ALL), at(now), at(now + LEASE)).await
}

/// Claims the oldest command that can be claimed.
pub(super) async fn claim(store: &impl Store, now: u64) -> Result<Fence> {
    let mut claims = store.claim(&worker(), slots(1), at(now), at(now + LEASE)).await?;
    Ok(claims.pop().expect("there is something to claim").fence)
}

pub(super) fn ids(claims: &[Claim]) -> Vec<JobId> {
    claims.iter().map(|claim| claim.fence.id.clone()).collect()
}

/// Stores the `n`th command, claims and starts it.
pub(super) async fn run(store: &impl Store, n: u64) -> Result<Fence> {
    enqueue(store, n).await?;
    let fence = claim(store, 0).await?;
    store.start(&fence, "pod-1", None, at(0)).await?;
    Ok(fence)
}

pub(super) fn completed() -> Outcome {
    Outcome {
        ending: Ending::Completed,
        exit_code: Some(0),
        message: None,
        duration: Duration::from_millis(1500),
    }
}

/// The command as the store has it.
pub(super) async fn stored(store: &impl Store, id: &JobId) -> Result<Job> {
    let job = store.job(&demo(), id).await?;
    Ok(job.expect("the command is stored"))
}

/// Every entry of the project.
pub(super) async fn log(store: &impl Store) -> Result<Vec<Entry>> {
    store.read_target(&demo(), Position::ZERO, ALL).await
}

pub(super) fn assert_conflict<T: Debug>(result: Result<T>, expected: &str) {
    match result {
        Err(Error::Conflict { conflict, .. }) => assert_eq!(conflict.code(), expected),
        other => panic!("{expected} was expected: {other:?}"),
    }
}

pub(super) fn assert_lease_lost<T: Debug>(result: Result<T>) {
    assert!(matches!(result, Err(Error::LeaseLost)), "LeaseLost was expected: {result:?}");
}
