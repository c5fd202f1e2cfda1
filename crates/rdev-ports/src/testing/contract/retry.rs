use rdev_domain::{Ending, EntryBody, JobState, JobStatus, Result, Retrying, Seq, Timestamp};

use super::Store;
use super::steps::*;
use crate::Retry;
use crate::testing::chunk;

fn retry(run_after: Timestamp) -> Retry {
    Retry { reason: "exit_code".to_owned(), error: "exit_code: 2".to_owned(), run_after, counts: true }
}

/// Between attempts a command is pending, and nobody takes it before its time.
pub async fn a_retried_command_waits_for_its_time(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.retry(&fence, retry(at(20)), at(1)).await?;
    let waiting = stored(store, &fence.id).await?;
    assert_eq!(waiting.state, JobState::Pending);
    assert_eq!(waiting.schedule.run_after, Some(at(20)));
    assert_eq!(
        (waiting.schedule.attempts, waiting.schedule.last_error.as_deref()),
        (1, Some("exit_code: 2"))
    );
    assert!(claim_all(store, 19).await?.is_empty());
    assert_eq!(claim_all(store, 20).await?.len(), 1);
    Ok(())
}

/// The next attempt is one more, runs where it may, and goes on after the last number that is stored.
pub async fn a_retried_command_starts_anew_in_any_place(store: &impl Store) -> Result<()> {
    let first = run(store, 1).await?;
    store.append(&first, vec![chunk(1, 4)], at(1)).await?;
    store.retry(&first, retry(at(2)), at(1)).await?;
    let claim = claim_all(store, 2).await?.remove(0);
    assert_eq!((claim.last_seq, &claim.pod_uid, &claim.slot), (Seq(4), &None, &None));
    let started = store.start(&claim.fence, "pod-2", None, at(3)).await?;
    assert_eq!((started.pod_uid.as_str(), started.started_at, started.attempt), ("pod-2", at(3), 2));
    let running = started.entry.expect("it tells that it is running again");
    assert_eq!((running.last_seq, running.body), (Seq(4), EntryBody::Status(JobStatus::Running)));
    store.append(&claim.fence, vec![chunk(5, 5)], at(3)).await?;
    assert_eq!(store.finish(&claim.fence, Seq(6), completed(), at(4)).await?.first_seq, Seq(6));
    Ok(())
}

/// The entry between two attempts says why, and stands at the last number without taking one.
pub async fn a_retry_takes_no_number(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.append(&fence, vec![chunk(1, 4)], at(1)).await?;
    let entry = store.retry(&fence, retry(at(2)), at(1)).await?;
    assert_eq!((entry.first_seq, entry.last_seq, entry.at), (Seq(4), Seq(4), at(1)));
    let (reason, message) = ("exit_code".to_owned(), "exit_code: 2".to_owned());
    assert_eq!(entry.body, EntryBody::Retry(Retrying { attempt: 2, reason, message, counted: false }));
    assert_eq!(log(store).await?.last(), Some(&entry));
    Ok(())
}

/// An attempt that was ended by what it had no part in is not one of those that a command may have.
pub async fn an_attempt_may_go_uncounted(store: &impl Store) -> Result<()> {
    let first = run(store, 1).await?;
    let allowed = stored(store, &first.id).await?.schedule.attempts_allowed();
    store.retry(&first, Retry { counts: false, ..retry(at(2)) }, at(1)).await?;
    let second = claim(store, 2).await?;
    store.start(&second, "pod-2", None, at(2)).await?;
    store.retry(&second, retry(at(4)), at(3)).await?;
    let schedule = stored(store, &first.id).await?.schedule;
    assert_eq!((schedule.attempts, schedule.attempts_allowed()), (2, allowed + 1));
    Ok(())
}

/// Nobody starts again what somebody wants to end.
pub async fn a_retry_of_what_is_to_be_cancelled_cancels(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.append(&fence, vec![chunk(1, 4)], at(1)).await?;
    store.request_cancel(&demo(), &fence.id, None, at(1)).await?;
    let entry = store.retry(&fence, retry(at(2)), at(1)).await?;
    assert!(matches!(&entry.body, EntryBody::Complete(outcome) if outcome.ending == Ending::Cancelled));
    assert_eq!(entry.first_seq, Seq(5));
    assert_eq!(stored(store, &fence.id).await?.state.status(), JobStatus::Cancelled);
    Ok(())
}

/// A retry needs the latest claim, and makes it worthless.
pub async fn a_stale_claim_cannot_retry(store: &impl Store) -> Result<()> {
    let stale = run(store, 1).await?;
    let fence = claim(store, LEASE + 1).await?;
    assert_lease_lost(store.retry(&stale, retry(at(2)), at(LEASE + 1)).await);
    store.retry(&fence, retry(at(LEASE + 2)), at(LEASE + 1)).await?;
    assert_lease_lost(store.retry(&fence, retry(at(2)), at(LEASE + 2)).await);
    assert_lease_lost(store.finish(&fence, Seq(1), completed(), at(LEASE + 1)).await);
    Ok(())
}

/// The end of a command that is cancelled between attempts comes after what the first ones wrote.
pub async fn a_cancel_between_attempts_goes_on_counting(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.append(&fence, vec![chunk(1, 4)], at(1)).await?;
    store.retry(&fence, retry(at(20)), at(1)).await?;
    let asked = store.request_cancel(&demo(), &fence.id, None, at(2)).await?.expect("it is there");
    assert_eq!(asked.entry.expect("it ends at once").first_seq, Seq(5));
    Ok(())
}
