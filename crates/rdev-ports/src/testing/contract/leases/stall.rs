//! A running job is kept from going on, or waits for something.

use rdev_domain::{EntryBody, Failure, JobState, JobStatus, Reason, Result, Seq, WaitingFor};

use super::Store;
use crate::Retry;
use crate::testing::chunk;
use crate::testing::contract::steps::*;

/// A failure is stored with the job and reported in its log once, and so is its end.
pub async fn a_failure_of_a_running_job_is_shown_until_it_is_over(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.append(&fence, vec![chunk(1, 4)], at(1)).await?;
    let failure = Failure::new(Reason::RunnerFailed, "no space\0left");
    let kept = Failure::new(Reason::RunnerFailed, "no space\u{fffd}left");
    let entry = store.stall(&fence, Some(failure.clone()), at(2)).await?.expect("it is news");
    assert_eq!((entry.first_seq, entry.last_seq, entry.at), (Seq(4), Seq(4), at(2)));
    assert_eq!(entry.body, EntryBody::Stalled(kept.clone()));
    assert_eq!(log(store).await?.last(), Some(&entry));
    let stalled = JobState::Running { started_at: at(0), failure: Some(kept), waiting_for: None };
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

/// A failure needs the latest claim of a running job, and ends with its attempt.
pub async fn only_what_runs_can_stall(store: &impl Store) -> Result<()> {
    let failure = || Some(Failure::new(Reason::RunnerFailed, "no space left"));
    enqueue(store, 1).await?;
    let fence = claim(store, 0).await?;
    assert_lease_lost(store.stall(&fence, failure(), at(1)).await);
    start(store, &fence, "pod-1", None, at(1)).await?;
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
    start(store, &next, "pod-1", None, at(3)).await?;
    assert_eq!(stored(store, &next.id).await?.state, JobState::running(at(3)));
    Ok(())
}

/// A wait is stored with the job and reported in its log once, and so is its end. The job keeps its lease and pod.
pub async fn a_running_job_waits_for_something(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.append(&fence, vec![chunk(1, 4)], at(1)).await?;
    for waiting_for in WaitingFor::ALL {
        let entry = store.wait_for(&fence, Some(waiting_for), at(2)).await?.expect("the wait is new");
        assert_eq!((entry.first_seq, entry.last_seq, entry.at), (Seq(4), Seq(4), at(2)));
        assert_eq!(entry.body, EntryBody::Status(waiting_for.status()));
        assert_eq!(log(store).await?.last(), Some(&entry));
        let waiting = JobState::running(at(0)).waiting(Some(waiting_for))?;
        assert_eq!(stored(store, &fence.id).await?.state, waiting);
        assert_eq!(store.wait_for(&fence, Some(waiting_for), at(3)).await?, None);
        assert_eq!(stored(store, &fence.id).await?.state.status(), waiting_for.status());
    }
    let over = store.wait_for(&fence, None, at(4)).await?.expect("the end of the wait is new");
    assert_eq!(over.body, EntryBody::Status(JobStatus::Running));
    assert_eq!(store.wait_for(&fence, None, at(4)).await?, None);
    assert_eq!(stored(store, &fence.id).await?.state, JobState::running(at(0)));
    store.append(&fence, vec![chunk(5, 5)], at(5)).await?;
    assert_eq!(log(store).await?.len(), 8);
    Ok(())
}

/// A worker that takes over learns of the wait, and of a failure beside it. A start changes neither.
pub async fn a_wait_outlives_its_worker(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    let failure = Failure::new(Reason::RunnerFailed, "no space left");
    store.wait_for(&fence, Some(WaitingFor::Approval), at(1)).await?;
    store.stall(&fence, Some(failure.clone()), at(1)).await?;
    let waiting = JobState::Running {
        started_at: at(0),
        failure: Some(failure),
        waiting_for: Some(WaitingFor::Approval),
    };
    let claim = claim_all(store, LEASE + 1).await?.remove(0);
    assert_eq!(claim.job.state, waiting);
    assert!(start(store, &claim.fence, "pod-2", None, at(LEASE + 1)).await?.entry.is_none());
    assert_eq!(stored(store, &fence.id).await?.state, waiting);
    assert_lease_lost(store.wait_for(&fence, None, at(LEASE + 1)).await);
    store.stall(&claim.fence, None, at(LEASE + 2)).await?;
    assert_eq!(stored(store, &fence.id).await?.state.status(), JobStatus::WaitingApproval);
    Ok(())
}

/// A wait needs a running job, and ends with its attempt: a later attempt does not wait, and neither does what ended.
pub async fn a_wait_ends_with_its_attempt(store: &impl Store) -> Result<()> {
    let wait = Some(WaitingFor::Quota);
    enqueue(store, 1).await?;
    let fence = claim(store, 0).await?;
    assert_lease_lost(store.wait_for(&fence, wait, at(1)).await);
    start(store, &fence, "pod-1", None, at(1)).await?;
    store.wait_for(&fence, wait, at(1)).await?;
    let retry = Retry {
        reason: "runner_failed".to_owned(),
        error: "no space left".to_owned(),
        run_after: at(2),
        counts: true,
    };
    store.retry(&fence, retry, at(2)).await?;
    assert_lease_lost(store.wait_for(&fence, wait, at(2)).await);
    let next = claim(store, 3).await?;
    start(store, &next, "pod-1", None, at(3)).await?;
    assert_eq!(stored(store, &next.id).await?.state, JobState::running(at(3)));
    store.wait_for(&next, wait, at(4)).await?;
    store.finish(&next, Seq(1), completed(), at(5)).await?;
    assert_lease_lost(store.wait_for(&next, None, at(6)).await);
    let ended = JobState::Ended { started_at: Some(at(3)), ended_at: at(5), outcome: completed() };
    assert_eq!(stored(store, &next.id).await?.state, ended);
    Ok(())
}

/// A waiting job is running for everything but its status: a cancellation reaches its worker, and its key stays held.
pub async fn a_waiting_job_counts_as_running(store: &impl Store) -> Result<()> {
    for n in 1..=2 {
        enqueue_agent(store, "demo", n).await?;
    }
    let fence = claim(store, 0).await?;
    start(store, &fence, "pod-1", None, at(0)).await?;
    store.wait_for(&fence, Some(WaitingFor::Budget), at(1)).await?;
    assert!(claim_all(store, 1).await?.is_empty());
    let asked = store.request_cancel(&demo(), &fence.id, None, at(2)).await?.expect("the job is stored");
    assert!(asked.entry.is_none());
    assert_eq!(asked.job.state.status(), JobStatus::WaitingBudget);
    assert_eq!(store.renew(&worker(), std::slice::from_ref(&fence), at(LEASE)).await?.cancelled, [fence]);
    Ok(())
}
