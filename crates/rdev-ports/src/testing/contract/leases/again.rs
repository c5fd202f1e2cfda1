//! Writes that come again because their answer was lost: the first answer comes back, and nothing is stored twice.

use rdev_domain::{Ending, EntryBody, JobStatus, Outcome, Reason, Result, Seq};

use super::Store;
use crate::Retry;
use crate::testing::chunk;
use crate::testing::contract::steps::*;

fn retry() -> Retry {
    let error = "exit_code: 2".to_owned();
    Retry { reason: "exit_code".to_owned(), error, run_after: at(20), counts: true }
}

/// A first start that comes again returns its entry each time; a later one has none.
pub async fn a_start_that_comes_again_gets_the_first_answer(store: &impl Store) -> Result<()> {
    enqueue(store, 1).await?;
    let fence = claim(store, 0).await?;
    let first = start(store, &fence, "pod-1", None, at(1)).await?;
    for _ in 0..2 {
        let again = start(store, &fence, "pod-1", None, at(1)).await?;
        assert_eq!((&again.entry, again.attempt), (&first.entry, 1));
    }
    assert!(first.entry.is_some());
    assert!(start(store, &fence, "pod-1", None, at(2)).await?.entry.is_none());
    assert_eq!(log(store).await?.len(), 2);
    Ok(())
}

/// An end that comes again under its claim returns the first entry, and another end is refused.
pub async fn an_end_that_comes_again_gets_the_first_answer(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.append(&fence, vec![chunk(1, 4)], at(1)).await?;
    let outcome = Outcome::without_process(Ending::Failed(Reason::NoResult), "a\0b");
    let first = store.finish(&fence, Seq(5), outcome.clone(), at(2)).await?;
    let (ended, entries) = (stored(store, &fence.id).await?, log(store).await?);
    for _ in 0..2 {
        assert_eq!(store.finish(&fence, Seq(5), outcome.clone(), at(2)).await?, first);
    }
    assert_lease_lost(store.finish(&fence, Seq(6), outcome, at(2)).await);
    assert_lease_lost(store.finish(&fence, Seq(5), completed(), at(2)).await);
    assert_eq!((stored(store, &fence.id).await?, log(store).await?), (ended, entries));
    Ok(())
}

/// An attempt's end that comes again returns the first entry, also when the next attempt has begun.
pub async fn an_attempts_end_that_comes_again_gets_the_first_answer(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.append(&fence, vec![chunk(1, 4)], at(1)).await?;
    let first = store.retry(&fence, retry(), at(2)).await?;
    assert!(matches!(first.body, EntryBody::Retry(_)));
    assert_eq!(store.retry(&fence, retry(), at(2)).await?, first);
    assert_eq!(stored(store, &fence.id).await?.schedule.attempts, 1);
    let next = claim(store, 20).await?;
    start(store, &next, "pod-2", None, at(21)).await?;
    store.append(&next, vec![chunk(5, 5)], at(21)).await?;
    assert_eq!(store.retry(&fence, retry(), at(2)).await?, first);
    assert_eq!(log(store).await?.len(), 6);
    Ok(())
}

/// An attempt's end that cancelled the job returns the complete entry again.
pub async fn a_cancelled_attempts_end_that_comes_again_gets_the_first_answer(
    store: &impl Store,
) -> Result<()> {
    let fence = run(store, 1).await?;
    store.request_cancel(&demo(), &fence.id, None, at(1)).await?;
    let first = store.retry(&fence, retry(), at(2)).await?;
    assert!(matches!(first.body, EntryBody::Complete(_)));
    assert_eq!(store.retry(&fence, retry(), at(2)).await?, first);
    assert_eq!(stored(store, &fence.id).await?.state.status(), JobStatus::Cancelled);
    assert_eq!(log(store).await?.len(), 3);
    Ok(())
}

/// An entry of another claim is not taken for one's own.
pub async fn nothing_comes_again_under_a_claim_that_was_lost(store: &impl Store) -> Result<()> {
    let stale = run(store, 1).await?;
    store.append(&stale, vec![chunk(1, 4)], at(1)).await?;
    let latest = claim(store, LEASE + 1).await?;
    assert_lease_lost(store.append(&stale, vec![chunk(1, 4)], at(1)).await);
    assert_lease_lost(store.start(&stale, "pod-1", None, at(0)).await);
    store.finish(&latest, Seq(5), completed(), at(LEASE + 2)).await?;
    assert_lease_lost(store.finish(&stale, Seq(5), completed(), at(LEASE + 2)).await);
    Ok(())
}
