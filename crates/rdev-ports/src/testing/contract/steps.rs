//! The steps that the promises are told in. Without another word they are about the project `demo`.

use std::fmt::Debug;
use std::time::Duration;

use rdev_domain::{
    Command, CommandId, Ending, Entry, Error, Home, Outcome, Position, Result, Timestamp, WorkerId,
};

use super::Store;
use crate::testing::{START, command, id, new_command, slots};
use crate::{Claim, Enqueued, Fence, NewCommand, Seat};

/// How long leases last here, in seconds.
pub(super) const LEASE: u64 = 30;
/// More than any test stores.
pub(super) const ALL: u32 = 1000;

/// A moment, in seconds after the start of the test.
pub(super) fn at(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

pub(super) fn demo() -> Home {
    id("demo")
}

pub(super) fn worker() -> WorkerId {
    id("worker-1")
}

/// The first seat of a worker.
pub(super) fn seat(worker: &str) -> Seat {
    Seat { worker: id(worker), number: 0 }
}

/// Stores the `n`th command.
pub(super) async fn enqueue(store: &impl Store, n: u64) -> Result<Command> {
    let command = command("demo", n);
    store.enqueue(new_command(command.clone())).await?;
    Ok(command)
}

/// Stores the `n`th command, of which at most one of the key may run.
pub(super) async fn enqueue_keyed(store: &impl Store, n: u64, key: &str) -> Result<Command> {
    let command = command("demo", n);
    let new = NewCommand { concurrency_key: Some(key.to_owned()), ..new_command(command.clone()) };
    store.enqueue(new).await?;
    Ok(command)
}

/// The entry of a command that was stored just now.
pub(super) fn entry_of(enqueued: Enqueued) -> Entry {
    match enqueued {
        Enqueued::New(entry) => entry,
        Enqueued::Before(command) => panic!("{} was stored before", command.id),
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

pub(super) fn ids(claims: &[Claim]) -> Vec<CommandId> {
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
pub(super) async fn stored(store: &impl Store, id: &CommandId) -> Result<Command> {
    let command = store.command(&demo(), id).await?;
    Ok(command.expect("the command is stored"))
}

/// Every entry of the project.
pub(super) async fn log(store: &impl Store) -> Result<Vec<Entry>> {
    store.read_home(&demo(), Position::ZERO, ALL).await
}

pub(super) fn assert_conflict<T: Debug>(result: Result<T>, expected: &str) {
    match result {
        Err(Error::Conflict { code, .. }) => assert_eq!(code, expected),
        other => panic!("{expected} was expected: {other:?}"),
    }
}

pub(super) fn assert_lease_lost<T: Debug>(result: Result<T>) {
    assert!(matches!(result, Err(Error::LeaseLost)), "LeaseLost was expected: {result:?}");
}
