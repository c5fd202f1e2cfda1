//! Writes whose answer was lost: the same again is told what was stored, and stores nothing.

use rdev_domain::{Ending, EntryBody, Job, JobStatus, Outcome, Position, Reason, Result, Seq, TaskKind};

use super::Store;
use super::steps::*;
use crate::testing::{chunk, idempotency_key, job, new_job, task};
use crate::{NewJob, Retry};

fn retry() -> Retry {
    let error = "exit_code: 2".to_owned();
    Retry { reason: "exit_code".to_owned(), error, run_after: at(20), counts: true }
}

/// A command is accepted once under its id, with an idempotency key or without, and told with its first entry, whatever
/// has become of it since.
pub async fn an_accepted_command_that_comes_again_is_told_as_the_first(store: &impl Store) -> Result<()> {
    let plain = new_job(job("demo", 1));
    let keyed = NewJob { idempotency: Some(idempotency_key("key-1", "a", 1)), ..new_job(job("demo", 2)) };
    let pooled = new_job(task(TaskKind::Shell, 3));
    for new in [plain, keyed, pooled] {
        let first = entry_of(store.enqueue(new.clone()).await?);
        assert_eq!(entry_of(store.enqueue(new.clone()).await?), first);
        let fence = claim(store, 0).await?;
        store.start(&fence, "pod-1", None, at(1)).await?;
        store.append(&fence, vec![chunk(1, 1)], at(1)).await?;
        assert_eq!(entry_of(store.enqueue(new.clone()).await?), first);
        store.finish(&fence, Seq(2), completed(), at(2)).await?;
        assert_eq!(entry_of(store.enqueue(new.clone()).await?), first);
        assert_eq!(store.read_job(&fence.id, Position::ZERO, ALL).await?.len(), 4);
    }
    assert!(claim_all(store, LEASE).await?.is_empty(), "each was stored once");
    Ok(())
}

/// Another command is not taken for the one that has its name, or its id.
pub async fn another_command_is_not_taken_for_the_first(store: &impl Store) -> Result<()> {
    let first = enqueue(store, 1).await?;
    let of_its_name = Job { stream: first.stream.clone(), ..job("demo", 2) };
    let of_its_id = Job { created_at: at(1), ..first };
    for other in [of_its_name, of_its_id] {
        assert_conflict(store.enqueue(new_job(other)).await, "STREAM_ID_TAKEN");
    }
    assert_eq!(log(store).await?.len(), 1);
    Ok(())
}

/// The first start of a command is told with its entry each time it is asked for; a later one has none.
pub async fn a_start_that_comes_again_is_told_as_the_first(store: &impl Store) -> Result<()> {
    enqueue(store, 1).await?;
    let fence = claim(store, 0).await?;
    let first = store.start(&fence, "pod-1", None, at(1)).await?;
    for _ in 0..2 {
        let again = store.start(&fence, "pod-1", None, at(1)).await?;
        assert_eq!((&again.entry, again.attempt), (&first.entry, 1));
    }
    assert!(first.entry.is_some());
    assert!(store.start(&fence, "pod-1", None, at(2)).await?.entry.is_none());
    assert_eq!(log(store).await?.len(), 2);
    Ok(())
}

/// Output that is stored comes back as it was stored, whatever it was cut into.
pub async fn output_that_comes_again_is_stored_once(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.append(&fence, vec![chunk(1, 1)], at(1)).await?;
    let chunks = vec![chunk(2, 3), chunk(4, 4)];
    let first = store.append(&fence, chunks.clone(), at(2)).await?;
    for _ in 0..2 {
        assert_eq!(store.append(&fence, chunks.clone(), at(2)).await?, first);
    }
    let entries = log(store).await?;
    assert_eq!(entries.len(), 5);
    store.append(&fence, vec![chunk(5, 5)], at(3)).await?;
    assert_lease_lost(store.append(&fence, chunks, at(2)).await);
    Ok(())
}

/// An end is told again to the claim that has stored it, and another end is refused.
pub async fn an_end_that_comes_again_is_told_as_the_first(store: &impl Store) -> Result<()> {
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

/// The end of an attempt is told again, also when the next one has begun.
pub async fn an_attempts_end_that_comes_again_is_told_as_the_first(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.append(&fence, vec![chunk(1, 4)], at(1)).await?;
    let first = store.retry(&fence, retry(), at(2)).await?;
    assert!(matches!(first.body, EntryBody::Retry(_)));
    assert_eq!(store.retry(&fence, retry(), at(2)).await?, first);
    assert_eq!(stored(store, &fence.id).await?.schedule.attempts, 1);
    let next = claim(store, 20).await?;
    store.start(&next, "pod-2", None, at(21)).await?;
    store.append(&next, vec![chunk(5, 5)], at(21)).await?;
    assert_eq!(store.retry(&fence, retry(), at(2)).await?, first);
    assert_eq!(log(store).await?.len(), 6);
    Ok(())
}

/// The same, where somebody has asked for the command's end.
pub async fn a_cancelled_attempts_end_that_comes_again_is_told_as_the_first(
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

/// What another claim has stored since is not taken for one's own.
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
