//! Promises of [`IdempotentAnswers`].
//! [`answers_contract!`](crate::answers_contract) makes a test of each.

use std::time::Duration;

use rdev_domain::{Conflict, Result};

use crate::testing::contract::steps::*;
use crate::testing::{idempotency_key, job};
use crate::{FirstAnswer, IDEMPOTENCY_KEY_LIFETIME, IdempotentAnswers, TaskQueue};

/// Store under test; clones share their data. Keys are taken through the queue.
pub trait Store: IdempotentAnswers + TaskQueue + Clone + 'static {}

impl<S: IdempotentAnswers + TaskQueue + Clone + 'static> Store for S {}

/// Makes one test of each promise of [`IdempotentAnswers`](crate::IdempotentAnswers).
///
/// Takes the path of an async function that makes a fresh store, and what must live as long:
/// `async fn fresh() -> (MyStore, TempDir)`.
#[macro_export]
macro_rules! answers_contract {
    ($fresh:path) => {
        $crate::contract_tests! { answers, $fresh;
            the_first_answer_is_kept
            an_answer_needs_a_key_that_was_taken
            an_answer_is_for_its_request_only
            an_answer_is_forgotten_with_its_key
        }
    };
}

fn answer(data: &str) -> FirstAnswer {
    let location = Some("/projects/demo/commands/1".to_owned());
    FirstAnswer { status: 202, location, data: data.to_owned() }
}

/// An answer comes back whole, and a later one does not replace it.
pub async fn the_first_answer_is_kept(store: &impl Store) -> Result<()> {
    let key = idempotency_key("key-1", "a", 1);
    store.enqueue(&job("demo", 1), Some(&key)).await?;
    assert_eq!(store.answer(&key, at(0)).await?, None);
    let first = answer("first");
    assert_eq!(store.store_answer(&key, &first).await?, Some(first.clone()));
    let second = FirstAnswer { status: 200, location: None, data: "second".to_owned() };
    assert_eq!(store.store_answer(&key, &second).await?, Some(first.clone()));
    assert_eq!(store.answer(&key, at(1)).await?, Some(first));

    let key = idempotency_key("key-1", "b", 1);
    store.enqueue(&job("demo", 2), Some(&key)).await?;
    assert_eq!(store.store_answer(&key, &second).await?, Some(second.clone()));
    assert_eq!(store.store_answer(&key, &answer("third")).await?, Some(second));
    Ok(())
}

/// No answer is stored under a key that no request has taken.
pub async fn an_answer_needs_a_key_that_was_taken(store: &impl Store) -> Result<()> {
    let key = idempotency_key("key-1", "a", 1);
    assert_eq!(store.answer(&key, at(0)).await?, None);
    assert_eq!(store.store_answer(&key, &answer("first")).await?, None);
    assert_eq!(store.answer(&key, at(0)).await?, None);
    Ok(())
}

/// Another request under the key is refused, and cannot store an answer; another caller's key is another key.
pub async fn an_answer_is_for_its_request_only(store: &impl Store) -> Result<()> {
    let key = idempotency_key("key-1", "a", 1);
    store.enqueue(&job("demo", 1), Some(&key)).await?;
    let other = idempotency_key("key-1", "a", 2);
    assert_eq!(store.store_answer(&other, &answer("other")).await?, None);
    assert_conflict(store.answer(&other, at(0)).await, Conflict::IdempotencyKeyReused);
    assert_eq!(store.answer(&idempotency_key("key-2", "a", 1), at(0)).await?, None);
    assert_eq!(store.answer(&key, at(0)).await?, None);
    Ok(())
}

/// After the key's lifetime its answer is gone, also where the key is taken again.
pub async fn an_answer_is_forgotten_with_its_key(store: &impl Store) -> Result<()> {
    let key = idempotency_key("key-1", "a", 1);
    store.first_use(&key, at(0)).await?;
    store.store_answer(&key, &answer("first")).await?;
    let last = at(0) + IDEMPOTENCY_KEY_LIFETIME;
    assert!(store.answer(&key, last).await?.is_some());
    let later = last + Duration::from_micros(1);
    assert_eq!(store.answer(&key, later).await?, None);
    assert_eq!(store.first_use(&key, later).await?, later);
    assert_eq!(store.answer(&key, later).await?, None);
    Ok(())
}
