use std::collections::HashSet;

use rdev_domain::{JobId, Result, Seq};

use super::Store;
use super::steps::*;
use crate::Fence;
use crate::testing::{chunk, id, job, slots};

/// Commands of one caller and project are claimed in the order in which they were stored.
pub async fn claims_in_the_order_of_coming(store: &impl Store) -> Result<()> {
    for n in [3, 1, 2] {
        enqueue(store, n).await?;
    }
    let expected = [3, 1, 2].map(|n| job("demo", n).id);
    assert_eq!(ids(&claim_all(store, 0).await?), expected);
    Ok(())
}

/// A claim takes at most `limit`, the oldest; the next one goes on from there.
pub async fn claims_no_more_than_the_limit(store: &impl Store) -> Result<()> {
    for n in 1..=3 {
        enqueue(store, n).await?;
    }
    let first = store.claim(&worker(), slots(2), at(0), at(LEASE)).await?;
    assert_eq!(ids(&first), [1, 2].map(|n| job("demo", n).id));
    let second = store.claim(&worker(), slots(2), at(0), at(LEASE)).await?;
    assert_eq!(ids(&second), [job("demo", 3).id]);
    assert!(claim_all(store, 0).await?.is_empty());
    Ok(())
}

/// The worker gets the whole command, of which nothing is stored yet.
pub async fn a_claim_carries_the_command(store: &impl Store) -> Result<()> {
    let job = enqueue(store, 1).await?;
    let claims = claim_all(store, 0).await?;
    assert_eq!(claims.len(), 1);
    assert_eq!((&claims[0].job, claims[0].last_seq), (&job, Seq::ZERO));
    Ok(())
}

/// A lease keeps every other claim away while it lasts, before the start and after it.
pub async fn a_leased_command_is_not_claimed(store: &impl Store) -> Result<()> {
    run(store, 1).await?;
    enqueue(store, 2).await?;
    claim(store, 0).await?;
    assert!(claim_all(store, LEASE - 1).await?.is_empty());
    Ok(())
}

/// What is over is never claimed again.
pub async fn an_ended_command_is_not_claimed(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.finish(&fence, Seq(1), completed(), at(1)).await?;
    let waiting = enqueue(store, 2).await?;
    store.request_cancel(&demo(), &waiting.id, None, at(1)).await?;
    assert!(claim_all(store, 2 * LEASE).await?.is_empty());
    Ok(())
}

/// A dead worker's commands go to the next one, started or not, and its own claims are then worthless.
pub async fn an_expired_lease_is_claimed_with_a_higher_attempt(store: &impl Store) -> Result<()> {
    let running = run(store, 1).await?;
    enqueue(store, 2).await?;
    let pending = claim(store, 0).await?;
    let claims = claim_all(store, LEASE + 1).await?;
    assert_eq!(ids(&claims), [running.id.clone(), pending.id.clone()]);
    for (claim, before) in claims.iter().zip([running, pending]) {
        assert!(claim.fence.token > before.token);
        assert_lease_lost(store.start(&before, "pod-1", None, at(LEASE + 1)).await);
    }
    Ok(())
}

/// Whoever attaches is told the last event that is stored.
pub async fn a_claim_tells_where_attaching_goes_on(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.append(&fence, vec![chunk(1, 3), chunk(4, 4)], at(1)).await?;
    let claims = claim_all(store, LEASE + 1).await?;
    assert_eq!(claims[0].last_seq, Seq(4));
    assert_eq!(claims[0].job, stored(store, &fence.id).await?);
    Ok(())
}

/// Many workers that claim at the same time get every command, and none of them twice.
pub async fn workers_at_the_same_time_never_share_a_command(store: &impl Store) -> Result<()> {
    const COMMANDS: u64 = 60;
    for n in 1..=COMMANDS {
        enqueue(store, n).await?;
    }
    let workers: Vec<_> = (0..8)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { claim_until_none_is_left(&store, n).await })
        })
        .collect();
    let mut claimed = Vec::new();
    for worker in workers {
        claimed.extend(worker.await.expect("no worker panics")?);
    }
    let distinct: HashSet<&JobId> = claimed.iter().map(|fence| &fence.id).collect();
    assert_eq!((claimed.len(), distinct.len()), (COMMANDS as usize, COMMANDS as usize));
    Ok(())
}

async fn claim_until_none_is_left(store: &impl Store, n: u32) -> Result<Vec<Fence>> {
    let worker = id(&format!("worker-{n}"));
    let mut fences = Vec::new();
    loop {
        let claims = store.claim(&worker, slots(3), at(0), at(LEASE)).await?;
        if claims.is_empty() {
            return Ok(fences);
        }
        fences.extend(claims.into_iter().map(|claim| claim.fence));
    }
}
