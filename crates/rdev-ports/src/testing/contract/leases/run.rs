//! A job is started, and ends.

use rdev_domain::{Ending, EntryBody, JobState, JobStatus, Outcome, Reason, Result, Seq, TaskKind};

use super::Store;
use crate::testing::contract::steps::*;
use crate::testing::{chunk, id, job, slots};
use crate::{ClaimLimits, ReadyProject};

/// The first start makes the job running, and stores an entry of that status.
pub async fn the_first_start_makes_it_running(store: &impl Store) -> Result<()> {
    enqueue(store, 1).await?;
    let fence = claim(store, 0).await?;
    let started = start(store, &fence, "pod-1", None, at(1)).await?;
    assert_eq!((started.pod_uid.as_str(), started.started_at), ("pod-1", at(1)));
    assert!(!started.cancel_requested);
    let entry = started.entry.expect("an entry says that it is running");
    assert_eq!(entry.body, EntryBody::Status(JobStatus::Running));
    assert_eq!((entry.first_seq, entry.last_seq, entry.at), (Seq::ZERO, Seq::ZERO, at(1)));
    assert_eq!(log(store).await?.last(), Some(&entry));
    assert_eq!(stored(store, &fence.id).await?.state, JobState::running(at(1)));
    Ok(())
}

/// A pending command of a ready project starts with its claim, as a start of its own would; nothing else does.
pub async fn a_command_of_a_ready_project_starts_with_its_claim(store: &impl Store) -> Result<()> {
    let pending = enqueue(store, 1).await?;
    let other = job("other", 2);
    store.enqueue(&other, None).await?;
    let task = enqueue_task(store, TaskKind::Test, 3).await?;
    let ready = [ReadyProject { project: id("demo"), pod_uid: "pod-1".to_owned() }];
    let limits = ClaimLimits { pool: 1, ..slots(ALL) };
    let claims = store.claim_and_start(&worker(), limits, &ready, at(1), at(1 + LEASE)).await?;
    assert_eq!(ids(&claims), [pending.id.clone(), other.id.clone(), task.id.clone()]);
    assert!(claims[1].start.is_none() && claims[2].start.is_none());
    let claim = &claims[0];
    assert_eq!((&claim.job, &claim.pod_uid), (&pending, &None));
    let started = claim.start.as_ref().expect("it has started");
    assert_eq!((started.pod_uid.as_str(), started.started_at, started.attempt), ("pod-1", at(1), 1));
    assert!(started.slot.is_none() && !started.cancel_requested);
    let entry = started.entry.as_ref().expect("an entry says that it is running");
    assert_eq!(entry.body, EntryBody::Status(JobStatus::Running));
    assert_eq!((entry.first_seq, entry.last_seq, entry.at), (Seq::ZERO, Seq::ZERO, at(1)));
    assert_eq!(log(store).await?.last(), Some(entry));
    assert_eq!(stored(store, &pending.id).await?.state, JobState::running(at(1)));
    // Whoever takes over gets it as one that runs.
    let late = 2 + LEASE;
    let one = ClaimLimits { pool: 0, ..slots(1) };
    let again = store.claim_and_start(&worker(), one, &ready, at(late), at(late + LEASE)).await?;
    assert_eq!((ids(&again), again[0].start.is_none()), (vec![pending.id.clone()], true));
    assert_eq!(again[0].pod_uid.as_deref(), Some("pod-1"));
    assert_lease_lost(store.finish(&claim.fence, Seq(1), completed(), at(late)).await);
    store.finish(&again[0].fence, Seq(1), completed(), at(late)).await?;
    assert_eq!(log(store).await?.len(), 3);
    Ok(())
}

/// A worker that takes over gets the first pod and time, and no further entry.
pub async fn a_second_start_keeps_place_and_time(store: &impl Store) -> Result<()> {
    let first = run(store, 1).await?;
    let second = claim(store, LEASE + 1).await?;
    for fence in [&second, &second] {
        let started = start(store, fence, "pod-2", None, at(LEASE + 1)).await?;
        assert_eq!((started.pod_uid.as_str(), started.started_at), ("pod-1", at(0)));
        assert!(started.entry.is_none());
    }
    assert_eq!(log(store).await?.len(), 2);
    assert_eq!(stored(store, &first.id).await?.state, JobState::running(at(0)));
    Ok(())
}

/// A cancellation that was requested between claim and start comes with the first start and any later one.
pub async fn a_start_returns_a_requested_cancellation(store: &impl Store) -> Result<()> {
    enqueue(store, 1).await?;
    let fence = claim(store, 0).await?;
    store.request_cancel(&demo(), &fence.id, None, at(0)).await?;
    for _ in 0..2 {
        assert!(start(store, &fence, "pod-1", None, at(1)).await?.cancel_requested);
    }
    Ok(())
}

/// A start needs the latest claim, and changes nothing without it.
pub async fn a_stale_claim_cannot_start(store: &impl Store) -> Result<()> {
    enqueue(store, 1).await?;
    let stale = claim(store, 0).await?;
    claim(store, LEASE + 1).await?;
    assert_lease_lost(store.start(&stale, "pod-1", None, at(LEASE + 1)).await);
    assert_eq!(stored(store, &stale.id).await?.state, JobState::Pending);
    assert_eq!(log(store).await?.len(), 1);
    Ok(())
}

/// The end is stored with its complete entry, which has the given number and the whole outcome.
pub async fn finishing_stores_the_complete_entry(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.append(&fence, vec![chunk(1, 8)], at(1)).await?;
    let outcome = Outcome {
        ending: Ending::Failed(Reason::ExitCode),
        exit_code: Some(3),
        message: Some("no space left".to_owned()),
        duration: std::time::Duration::from_micros(1_234_567),
    };
    let entry = store.finish(&fence, Seq(9), outcome.clone(), at(2)).await?;
    assert_eq!((entry.first_seq, entry.last_seq, entry.at), (Seq(9), Seq(9), at(2)));
    assert_eq!(entry.body, EntryBody::Complete(outcome.clone()));
    assert_eq!(log(store).await?.last(), Some(&entry));
    let ended = JobState::Ended { started_at: Some(at(0)), ended_at: at(2), outcome };
    assert_eq!(stored(store, &fence.id).await?.state, ended);
    Ok(())
}

/// A claimed command may end before it was started.
pub async fn what_never_started_can_be_finished(store: &impl Store) -> Result<()> {
    enqueue(store, 1).await?;
    let fence = claim(store, 0).await?;
    let outcome = Outcome::without_process(Ending::Failed(Reason::PodLost), "its place is gone");
    let entry = store.finish(&fence, Seq(1), outcome.clone(), at(1)).await?;
    assert_eq!(log(store).await?.last(), Some(&entry));
    let ended = JobState::Ended { started_at: None, ended_at: at(1), outcome };
    assert_eq!(stored(store, &fence.id).await?.state, ended);
    Ok(())
}

/// An end needs the latest claim, and changes nothing without it.
pub async fn a_stale_claim_cannot_finish(store: &impl Store) -> Result<()> {
    let stale = run(store, 1).await?;
    claim(store, LEASE + 1).await?;
    assert_lease_lost(store.finish(&stale, Seq(1), completed(), at(LEASE + 1)).await);
    assert_eq!(stored(store, &stale.id).await?.state, JobState::running(at(0)));
    assert_eq!(log(store).await?.len(), 2);
    Ok(())
}

/// The end comes after everything that is stored, not in its place.
pub async fn an_end_has_a_number_of_its_own(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.append(&fence, vec![chunk(1, 3)], at(1)).await?;
    assert_lease_lost(store.finish(&fence, Seq(3), completed(), at(2)).await);
    assert_eq!(store.finish(&fence, Seq(4), completed(), at(2)).await?.first_seq, Seq(4));
    Ok(())
}

/// After the end the claim is invalid, even though it is the latest.
pub async fn nothing_ends_twice(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.finish(&fence, Seq(1), completed(), at(1)).await?;
    let ended = stored(store, &fence.id).await?;
    let other = Outcome::without_process(Ending::Cancelled, "too late");
    assert_lease_lost(store.finish(&fence, Seq(2), other, at(2)).await);
    assert_lease_lost(store.start(&fence, "pod-1", None, at(2)).await);
    assert_eq!(stored(store, &fence.id).await?, ended);
    assert_eq!(log(store).await?.len(), 3);
    Ok(())
}

/// A message may have any character; one that no store can hold is replaced, not refused.
pub async fn any_text_may_be_the_message_of_an_end(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    let outcome = Outcome::without_process(Ending::Failed(Reason::NoResult), "\u{1F600} a\0b '\"\\ \u{7f}");
    let entry = store.finish(&fence, Seq(1), outcome, at(1)).await?;
    let told =
        Outcome::without_process(Ending::Failed(Reason::NoResult), "\u{1F600} a\u{fffd}b '\"\\ \u{7f}");
    assert_eq!(entry.body, EntryBody::Complete(told));
    assert_eq!(log(store).await?.last(), Some(&entry));
    Ok(())
}
