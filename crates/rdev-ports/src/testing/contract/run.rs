use rdev_domain::{Ending, EntryBody, Failure, JobState, JobStatus, Outcome, Reason, Result, Seq};

use super::Store;
use super::steps::*;
use crate::Retry;
use crate::testing::chunk;

/// The first start makes the command running, and stores the entry that says so.
pub async fn the_first_start_makes_it_running(store: &impl Store) -> Result<()> {
    enqueue(store, 1).await?;
    let fence = claim(store, 0).await?;
    let started = store.start(&fence, "pod-1", None, at(1)).await?;
    assert_eq!((started.pod_uid.as_str(), started.started_at), ("pod-1", at(1)));
    assert!(!started.cancel_requested);
    let entry = started.entry.expect("an entry says that it is running");
    assert_eq!(entry.body, EntryBody::Status(JobStatus::Running));
    assert_eq!((entry.first_seq, entry.last_seq, entry.at), (Seq::ZERO, Seq::ZERO, at(1)));
    assert_eq!(log(store).await?.last(), Some(&entry));
    assert_eq!(stored(store, &fence.id).await?.state, JobState::running(at(1)));
    Ok(())
}

/// Whoever takes over gets the first place and time, and no further entry.
pub async fn a_second_start_keeps_place_and_time(store: &impl Store) -> Result<()> {
    let first = run(store, 1).await?;
    let second = claim(store, LEASE + 1).await?;
    for fence in [&second, &second] {
        let started = store.start(fence, "pod-2", None, at(LEASE + 1)).await?;
        assert_eq!((started.pod_uid.as_str(), started.started_at), ("pod-1", at(0)));
        assert!(started.entry.is_none());
    }
    assert_eq!(log(store).await?.len(), 2);
    assert_eq!(stored(store, &first.id).await?.state, JobState::running(at(0)));
    Ok(())
}

/// A wish that came between claim and start is told at the start, the first and any later one.
pub async fn a_start_tells_of_a_wish_to_cancel(store: &impl Store) -> Result<()> {
    enqueue(store, 1).await?;
    let fence = claim(store, 0).await?;
    store.request_cancel(&demo(), &fence.id, None, at(0)).await?;
    for _ in 0..2 {
        assert!(store.start(&fence, "pod-1", None, at(1)).await?.cancel_requested);
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

/// The end is stored with its complete entry, which carries the given number and the whole outcome.
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

/// After the end the claim is worthless, even though it was the last one.
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

/// What a program said last may hold any character; what no store can hold is replaced, not refused.
pub async fn any_text_may_tell_of_an_end(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    let outcome = Outcome::without_process(Ending::Failed(Reason::NoResult), "\u{1F600} a\0b '\"\\ \u{7f}");
    let entry = store.finish(&fence, Seq(1), outcome, at(1)).await?;
    let told =
        Outcome::without_process(Ending::Failed(Reason::NoResult), "\u{1F600} a\u{fffd}b '\"\\ \u{7f}");
    assert_eq!(entry.body, EntryBody::Complete(told));
    assert_eq!(log(store).await?.last(), Some(&entry));
    Ok(())
}

/// What keeps a command from running is told once, with the command and in its log, and so is that it is over.
pub async fn what_stalls_a_command_is_told_until_it_is_over(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.append(&fence, vec![chunk(1, 4)], at(1)).await?;
    let failure = Failure::new(Reason::RunnerFailed, "no space\0left");
    let kept = Failure::new(Reason::RunnerFailed, "no space\u{fffd}left");
    let entry = store.stall(&fence, Some(failure.clone()), at(2)).await?.expect("it is news");
    assert_eq!((entry.first_seq, entry.last_seq, entry.at), (Seq(4), Seq(4), at(2)));
    assert_eq!(entry.body, EntryBody::Stalled(kept.clone()));
    assert_eq!(log(store).await?.last(), Some(&entry));
    let stalled = JobState::Running { started_at: at(0), failure: Some(kept) };
    assert_eq!(stored(store, &fence.id).await?.state, stalled);
    assert_eq!(store.stall(&fence, Some(failure.clone()), at(3)).await?, None);
    let over = store.stall(&fence, None, at(3)).await?.expect("it is news");
    assert_eq!(over.body, EntryBody::Status(JobStatus::Running));
    assert_eq!(store.stall(&fence, None, at(3)).await?, None);
    assert_eq!(stored(store, &fence.id).await?.state, JobState::running(at(0)));
    assert_eq!(log(store).await?.len(), 5);
    store.stall(&fence, Some(failure), at(4)).await?;
    store.finish(&fence, Seq(5), completed(), at(5)).await?;
    let ended = JobState::Ended { started_at: Some(at(0)), ended_at: at(5), outcome: completed() };
    assert_eq!(stored(store, &fence.id).await?.state, ended);
    Ok(())
}

/// It needs the latest claim of a command that runs; what stalled one attempt is not told of the next.
pub async fn only_what_runs_can_stall(store: &impl Store) -> Result<()> {
    let failure = || Some(Failure::new(Reason::RunnerFailed, "no space left"));
    enqueue(store, 1).await?;
    let fence = claim(store, 0).await?;
    assert_lease_lost(store.stall(&fence, failure(), at(1)).await);
    store.start(&fence, "pod-1", None, at(1)).await?;
    store.stall(&fence, failure(), at(1)).await?;
    let retry = Retry {
        reason: "runner_failed".to_owned(),
        error: "no space left".to_owned(),
        run_after: at(2),
        counts: true,
    };
    store.retry(&fence, retry, at(2)).await?;
    assert_lease_lost(store.stall(&fence, failure(), at(2)).await);
    let next = claim(store, 3).await?;
    store.start(&next, "pod-1", None, at(3)).await?;
    assert_eq!(stored(store, &next.id).await?.state, JobState::running(at(3)));
    Ok(())
}
