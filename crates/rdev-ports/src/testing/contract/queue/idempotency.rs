//! Idempotency keys: a request is carried out once.

use std::time::Duration;

use rdev_domain::{Conflict, Job, Result};

use super::Store;
use crate::testing::contract::steps::*;
use crate::testing::{START, idempotency_key, job};
use crate::{Enqueued, IDEMPOTENCY_KEY_LIFETIME};

const MICROSECOND: Duration = Duration::from_micros(1);

fn before(enqueued: Enqueued) -> Job {
    match enqueued {
        Enqueued::Existing(job) => *job,
        Enqueued::New(entry) => panic!("{} was stored", entry.job),
    }
}

/// A repeated request stores nothing, even though its command has another id and the same stream.
pub async fn the_same_request_again_gives_the_first_command(store: &impl Store) -> Result<()> {
    let key = idempotency_key("key-1", "a", 1);
    let first = job("demo", 1);
    entry_of(store.enqueue(&first, Some(&key)).await?);
    let mut again = job("demo", 2);
    again.stream = first.stream.clone();
    assert_eq!(before(store.enqueue(&again, Some(&key)).await?), first);
    assert_eq!(store.job(&demo(), &again.id).await?, None);
    assert_eq!(log(store).await?.len(), 1);
    Ok(())
}

/// A repeated request returns the command's present state.
pub async fn the_first_command_comes_back_as_it_stands_now(store: &impl Store) -> Result<()> {
    let key = idempotency_key("key-1", "a", 1);
    let first = job("demo", 1);
    store.enqueue(&first, Some(&key)).await?;
    let fence = claim(store, 0).await?;
    start(store, &fence, "pod-1", None, at(1)).await?;
    let again = before(store.enqueue(&job("demo", 2), Some(&key)).await?);
    assert_eq!(again, stored(store, &first.id).await?);
    assert_ne!(again.state, first.state);
    Ok(())
}

/// A key stands for one request only.
pub async fn another_request_under_a_used_key_is_refused(store: &impl Store) -> Result<()> {
    let (first, second) = (job("demo", 1), job("demo", 2));
    store.enqueue(&first, Some(&idempotency_key("key-1", "a", 1))).await?;
    let refused = store.enqueue(&second, Some(&idempotency_key("key-1", "a", 2))).await;
    assert_conflict(refused, Conflict::IdempotencyKeyReused);
    assert_eq!(store.job(&demo(), &second.id).await?, None);
    assert_eq!(log(store).await?.len(), 1);
    Ok(())
}

/// Two API keys may use the same value for different requests.
pub async fn keys_of_two_callers_are_independent(store: &impl Store) -> Result<()> {
    let (first, second) = (job("demo", 1), job("demo", 2));
    entry_of(store.enqueue(&first, Some(&idempotency_key("key-1", "a", 1))).await?);
    entry_of(store.enqueue(&second, Some(&idempotency_key("key-2", "a", 2))).await?);
    Ok(())
}

/// A key is remembered to the end of its lifetime, and may then be used for anything.
pub async fn a_key_is_forgotten_after_its_lifetime(store: &impl Store) -> Result<()> {
    let (first, mut second) = (job("demo", 1), job("demo", 2));
    store.enqueue(&first, Some(&idempotency_key("key-1", "a", 1))).await?;
    second.created_at = START + IDEMPOTENCY_KEY_LIFETIME;
    let again = store.enqueue(&second, Some(&idempotency_key("key-1", "a", 1))).await?;
    assert_eq!(before(again), first);
    second.created_at = second.created_at + MICROSECOND;
    entry_of(store.enqueue(&second, Some(&idempotency_key("key-1", "a", 2))).await?);
    Ok(())
}

/// The key of a command that was refused is free for the next attempt.
pub async fn a_refused_command_does_not_use_up_its_key(store: &impl Store) -> Result<()> {
    let taken = enqueue(store, 1).await?;
    let mut second = job("demo", 2);
    second.stream = taken.stream;
    let refused = store.enqueue(&second, Some(&idempotency_key("key-1", "a", 1))).await;
    assert_conflict(refused, Conflict::StreamIdTaken);
    second.stream = (&second.id).into();
    entry_of(store.enqueue(&second, Some(&idempotency_key("key-1", "a", 2))).await?);
    Ok(())
}

/// The first use is returned until the key's lifetime is over; the next use is then the first.
pub async fn the_first_use_of_a_key_is_remembered(store: &impl Store) -> Result<()> {
    let key = idempotency_key("key-1", "a", 1);
    assert_eq!(store.first_use(&key, at(0)).await?, at(0));
    assert_eq!(store.first_use(&key, at(60)).await?, at(0));
    let later = at(0) + IDEMPOTENCY_KEY_LIFETIME + MICROSECOND;
    assert_eq!(store.first_use(&key, later).await?, later);
    Ok(())
}

/// `first_use` refuses another request, whether the key was used here or for a command.
pub async fn the_first_use_is_refused_to_another_request(store: &impl Store) -> Result<()> {
    store.first_use(&idempotency_key("key-1", "a", 1), at(0)).await?;
    store.enqueue(&job("demo", 1), Some(&idempotency_key("key-1", "b", 1))).await?;
    for value in ["a", "b"] {
        let refused = store.first_use(&idempotency_key("key-1", value, 2), at(1)).await;
        assert_conflict(refused, Conflict::IdempotencyKeyReused);
    }
    Ok(())
}
