//! Leases are renewed, released and postponed.

use std::slice::from_ref;

use rdev_domain::{JobState, Result, Seq};

use super::Store;
use crate::Fence;
use crate::testing::contract::steps::*;
use crate::testing::{id, job, slots, target};

/// A renewed lease lasts to its new end.
pub async fn renewing_extends_the_lease(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    let renewal = store.renew(&worker(), from_ref(&fence), at(2 * LEASE)).await?;
    assert!(renewal.lost.is_empty() && renewal.cancelled.is_empty());
    assert!(claim_all(store, LEASE + 1).await?.is_empty());
    assert_eq!(ids(&claim_all(store, 2 * LEASE + 1).await?), [fence.id]);
    Ok(())
}

/// Claims that are not the latest are lost, those under which a job has ended are not. The others are renewed.
pub async fn renewing_returns_lost_claims(store: &impl Store) -> Result<()> {
    let passed_on = run(store, 1).await?;
    let taken_over = claim(store, LEASE + 1).await?;
    let ended = run(store, 2).await?;
    store.finish(&ended, Seq(1), completed(), at(1)).await?;
    let given_back = run(store, 3).await?;
    store.postpone(&given_back, at(5 * LEASE)).await?;
    let fences = [passed_on.clone(), taken_over, ended, given_back.clone()];
    let renewal = store.renew(&worker(), &fences, at(3 * LEASE)).await?;
    assert_eq!(renewal.lost, [passed_on, given_back]);
    assert!(claim_all(store, 3 * LEASE - 1).await?.is_empty());
    Ok(())
}

/// A worker learns of a requested cancellation by its renewal, and keeps the lease to end the job.
pub async fn renewing_returns_cancelled_claims(store: &impl Store) -> Result<()> {
    let (asked, other) = (run(store, 1).await?, run(store, 2).await?);
    store.request_cancel(&demo(), &asked.id, None, at(1)).await?;
    let renewal = store.renew(&worker(), &[asked.clone(), other], at(2 * LEASE)).await?;
    assert_eq!(renewal.cancelled, [asked]);
    assert!(renewal.lost.is_empty());
    assert!(claim_all(store, LEASE + 1).await?.is_empty());
    Ok(())
}

/// A released job is claimed at once.
pub async fn a_released_command_is_claimed_at_once(store: &impl Store) -> Result<()> {
    enqueue(store, 1).await?;
    let fence = claim(store, 0).await?;
    store.release(from_ref(&fence)).await?;
    let again = claim(store, 0).await?;
    assert_eq!(again.id, fence.id);
    assert!(again.token > fence.token);
    Ok(())
}

/// A worker can release only its latest claims.
pub async fn releasing_a_lost_claim_changes_nothing(store: &impl Store) -> Result<()> {
    let lost = run(store, 1).await?;
    let latest = claim(store, LEASE + 1).await?;
    store.release(from_ref(&lost)).await?;
    assert!(claim_all(store, LEASE + 1).await?.is_empty());
    let end = at(LEASE + 2);
    store.finish(&latest, Seq(1), completed(), end).await?;
    store.release(&[latest]).await?;
    assert!(stored(store, &lost.id).await?.state.is_ended());
    Ok(())
}

/// A postponed job is claimed after its time, and does not block others.
pub async fn a_postponed_command_is_not_claimed_before_its_time(store: &impl Store) -> Result<()> {
    enqueue(store, 1).await?;
    let fence = claim(store, 0).await?;
    enqueue(store, 2).await?;
    store.postpone(&fence, at(5)).await?;
    let other = claim(store, 1).await?;
    assert_ne!(other.id, fence.id);
    assert!(claim_all(store, 5).await?.is_empty());
    let again = claim(store, 6).await?;
    assert_eq!(again.id, fence.id);
    assert!(again.token > fence.token);
    assert_lease_lost(store.start(&fence, "pod-1", None, at(6)).await);
    Ok(())
}

/// A worker can postpone only its latest claims.
pub async fn postponing_a_lost_claim_changes_nothing(store: &impl Store) -> Result<()> {
    let lost = run(store, 1).await?;
    let latest = claim(store, LEASE + 1).await?;
    store.postpone(&lost, at(0)).await?;
    assert!(claim_all(store, LEASE + 1).await?.is_empty());
    store.finish(&latest, Seq(1), completed(), at(LEASE + 2)).await?;
    store.postpone(&latest, at(0)).await?;
    assert!(stored(store, &lost.id).await?.state.is_ended());
    Ok(())
}

/// A running job that is postponed keeps its pod and its start.
pub async fn what_runs_can_be_postponed_too(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.postpone(&fence, at(3)).await?;
    assert!(claim_all(store, 3).await?.is_empty());
    assert_eq!(stored(store, &fence.id).await?.state, JobState::running(at(0)));
    let claims = claim_all(store, 4).await?;
    assert_eq!(claims[0].pod_uid.as_deref(), Some("pod-1"));
    Ok(())
}

/// A released job that runs goes on, and the next worker attaches to it.
pub async fn releasing_what_runs_keeps_it_running(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.release(from_ref(&fence)).await?;
    assert_eq!(stored(store, &fence.id).await?.state, JobState::running(at(0)));
    let next = claim(store, 1).await?;
    assert_eq!(start(store, &next, "pod-2", None, at(1)).await?.pod_uid, "pod-1");
    Ok(())
}

/// Claims whose answer was lost are released; the worker's other claims stay, and those of others.
pub async fn a_worker_releases_what_it_does_not_know_of(store: &impl Store) -> Result<()> {
    for n in 1..=4 {
        enqueue(store, n).await?;
    }
    let claim = async |worker| -> Result<Fence> {
        let claims = store.claim(&id(worker), slots(1), at(0), at(LEASE)).await?;
        Ok(claims.into_iter().next().expect("something waits").fence)
    };
    let (held, ended) = (claim("worker-1").await?, claim("worker-1").await?);
    let (unknown, of_another) = (claim("worker-1").await?, claim("worker-2").await?);
    start(store, &ended, "pod-1", None, at(0)).await?;
    store.finish(&ended, Seq(1), completed(), at(0)).await?;
    assert_eq!(store.release_all_but(&id("worker-1"), from_ref(&held)).await?, 1);
    assert_eq!(store.release_all_but(&id("worker-1"), from_ref(&held)).await?, 0);
    assert_eq!(ids(&claim_all(store, 0).await?), [unknown.id]);
    assert!(store.renew(&worker(), &[held, of_another], at(2 * LEASE)).await?.lost.is_empty());
    Ok(())
}

/// Every lease is released and counted, and nothing else.
pub async fn releasing_all_releases_every_lease(store: &impl Store) -> Result<()> {
    let ended = run(store, 1).await?;
    store.finish(&ended, Seq(1), completed(), at(0)).await?;
    let running = run(store, 2).await?;
    let pending = enqueue(store, 3).await?;
    claim(store, 0).await?;
    let waiting = enqueue(store, 4).await?;
    assert_eq!(store.release_all().await?, 2);
    assert_eq!(store.release_all().await?, 0);
    let expected = [running.id, pending.id, waiting.id];
    assert_eq!(ids(&claim_all(store, 0).await?), expected);
    Ok(())
}

/// Postponed jobs of a target are due at once when its pod is ready; leases stay.
pub async fn what_was_postponed_is_due_when_its_target_is_ready(store: &impl Store) -> Result<()> {
    let (waiting, leased) = (run(store, 1).await?, run(store, 2).await?);
    enqueue(store, 3).await?;
    let pending = claim(store, 0).await?;
    store.enqueue(&job("other", 4), None).await?;
    let other = claim(store, 0).await?;
    for fence in [&waiting, &pending, &other] {
        store.postpone(fence, at(1000)).await?;
    }
    assert_eq!(store.hurry(&[target("nobody"), demo()]).await?, 2);
    assert_eq!(ids(&claim_all(store, 1).await?), [waiting.id, pending.id]);
    assert_eq!(store.hurry(&[demo()]).await?, 0);
    assert_eq!(store.renew(&worker(), &[leased], at(2 * LEASE)).await?.lost, []);
    assert!(claim_all(store, 1000).await?.iter().all(|claim| claim.fence.id != other.id));
    Ok(())
}
