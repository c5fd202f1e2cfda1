//! At most one job of a concurrency key runs.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use rdev_domain::{JobId, Result, Seq};

use super::Store;
use crate::Fence;
use crate::testing::contract::steps::*;
use crate::testing::{id, job, slots};

/// Only the oldest command of a key is claimed, and none while one is leased or running.
pub async fn one_command_of_a_key_is_claimed_at_a_time(store: &impl Store) -> Result<()> {
    for n in 1..=3 {
        enqueue_agent(store, "demo", n).await?;
    }
    let claims = claim_all(store, 0).await?;
    assert_eq!(ids(&claims), [job("demo", 1).id]);
    assert!(claim_all(store, 1).await?.is_empty());
    start(store, &claims[0].fence, "pod-1", None, at(1)).await?;
    assert!(claim_all(store, 2).await?.is_empty());
    Ok(())
}

/// Commands of a key run in the order of their ids.
pub async fn commands_of_a_key_run_in_order(store: &impl Store) -> Result<()> {
    for n in [2, 3, 1] {
        enqueue_agent(store, "demo", n).await?;
    }
    for n in 1..=3 {
        let fence = claim(store, n).await?;
        assert_eq!(fence.id, job("demo", n).id);
        start(store, &fence, "pod-1", None, at(n)).await?;
        store.finish(&fence, Seq(1), completed(), at(n)).await?;
    }
    Ok(())
}

/// A running command without a worker still holds its key: it is claimed again, and the others wait.
pub async fn an_expired_lease_of_a_running_command_still_holds_its_key(store: &impl Store) -> Result<()> {
    for n in 1..=2 {
        enqueue_agent(store, "demo", n).await?;
    }
    let first = claim(store, 0).await?;
    start(store, &first, "pod-1", None, at(0)).await?;
    assert_eq!(ids(&claim_all(store, LEASE + 1).await?), [first.id]);
    assert!(claim_all(store, LEASE + 2).await?.is_empty());
    Ok(())
}

/// Ids are assigned before commands are stored, so an older one may come when a newer one already runs.
pub async fn an_older_latecomer_does_not_block_what_runs(store: &impl Store) -> Result<()> {
    enqueue_agent(store, "demo", 2).await?;
    let running = claim(store, 0).await?;
    start(store, &running, "pod-1", None, at(0)).await?;
    enqueue_agent(store, "demo", 1).await?;
    let claims = claim_all(store, LEASE + 1).await?;
    assert_eq!(ids(&claims), [running.id]);
    let end = at(LEASE + 1);
    store.finish(&claims[0].fence, Seq(1), completed(), end).await?;
    assert_eq!(ids(&claim_all(store, LEASE + 1).await?), [job("demo", 1).id]);
    Ok(())
}

/// A worker whose lease expired before the start cannot start beside another command of the key.
pub async fn a_late_start_never_runs_two_commands_of_a_key(store: &impl Store) -> Result<()> {
    enqueue_agent(store, "demo", 2).await?;
    let late = claim(store, 0).await?;
    enqueue_agent(store, "demo", 1).await?;
    assert_eq!(starts_of_the_key(store, late, LEASE + 1).await?, 1);
    Ok(())
}

/// A worker that has released its claim cannot start beside another command of the key.
pub async fn a_start_after_release_never_runs_two_commands_of_a_key(store: &impl Store) -> Result<()> {
    enqueue_agent(store, "demo", 2).await?;
    let released = claim(store, 0).await?;
    store.release(std::slice::from_ref(&released)).await?;
    enqueue_agent(store, "demo", 1).await?;
    assert_eq!(starts_of_the_key(store, released, 1).await?, 1);
    Ok(())
}

/// How many workers can start a command: the one of `fence`, and whoever claims what is free now.
async fn starts_of_the_key(store: &impl Store, fence: Fence, now: u64) -> Result<usize> {
    let mut fences = vec![fence];
    fences.extend(claim_all(store, now).await?.into_iter().map(|claim| claim.fence));
    let mut started = 0;
    for fence in fences {
        match start(store, &fence, "pod-1", None, at(now)).await {
            Ok(_) => started += 1,
            refused => assert_lease_lost(refused),
        }
    }
    Ok(started)
}

/// The next command of a key can be claimed as soon as the one before has ended.
pub async fn a_finished_command_frees_its_key(store: &impl Store) -> Result<()> {
    enqueue_agent(store, "demo", 1).await?;
    let first = claim(store, 0).await?;
    let second = enqueue_agent(store, "demo", 2).await?;
    start(store, &first, "pod-1", None, at(0)).await?;
    store.finish(&first, Seq(1), completed(), at(1)).await?;
    assert_eq!(ids(&claim_all(store, 1).await?), [second.id]);
    Ok(())
}

/// A cancelled command no longer blocks the others of its key.
pub async fn a_cancelled_command_frees_its_key(store: &impl Store) -> Result<()> {
    let first = enqueue_agent(store, "demo", 1).await?;
    let second = enqueue_agent(store, "demo", 2).await?;
    store.request_cancel(&demo(), &first.id, None, at(0)).await?;
    assert_eq!(ids(&claim_all(store, 0).await?), [second.id]);
    Ok(())
}

/// A busy key holds up its own commands only.
pub async fn commands_of_other_keys_or_none_are_not_held_up(store: &impl Store) -> Result<()> {
    for n in 1..=2 {
        enqueue_agent(store, "demo", n).await?;
    }
    enqueue_agent(store, "other", 3).await?;
    for n in 4..=5 {
        enqueue(store, n).await?;
    }
    let expected = [1, 3, 4, 5].map(|n| job("demo", n).id);
    assert_eq!(ids(&claim_all(store, 0).await?), expected);
    Ok(())
}

/// Workers that claim at the same time, while older commands still come in, never hold two of a key.
pub async fn workers_at_the_same_time_never_share_a_key(store: &impl Store) -> Result<()> {
    const KEYS: u64 = 3;
    const COMMANDS: u64 = 30 * KEYS;
    let held = Arc::new(Mutex::new(HashSet::new()));
    let done = Arc::new(Mutex::new(HashSet::new()));
    let workers: Vec<_> = (0..4)
        .map(|n| {
            let (store, held, done) = (store.clone(), held.clone(), done.clone());
            tokio::spawn(async move {
                let worker = id(&format!("worker-{n}"));
                while done.lock().expect("nobody panics").len() < COMMANDS as usize {
                    for claim in store.claim(&worker, slots(2), at(0), at(LEASE)).await? {
                        let key = key_of(&claim.fence.id);
                        assert!(held.lock().expect("nobody panics").insert(key), "two of key {key}");
                        start(&store, &claim.fence, "pod-1", None, at(1)).await?;
                        held.lock().expect("nobody panics").remove(&key);
                        store.finish(&claim.fence, Seq(1), completed(), at(1)).await?;
                        done.lock().expect("nobody panics").insert(claim.fence.id);
                    }
                    tokio::task::yield_now().await;
                }
                Result::Ok(())
            })
        })
        .collect();
    // Newest first: each of them is older than what is claimed at the same moment.
    for n in (1..=COMMANDS).rev() {
        let key = key_of(&job("demo", n).id);
        enqueue_agent(store, &format!("project-{key}"), n).await?;
    }
    for worker in workers {
        worker.await.expect("no two workers hold a key")?;
    }
    assert_eq!(done.lock().expect("nobody panics").len(), COMMANDS as usize);
    return Ok(());

    /// The number of a sample command tells its key.
    fn key_of(id: &JobId) -> u64 {
        let number = id.as_str().trim_start_matches("cmd-");
        u64::from_str_radix(number, 16).expect("a sample's id is a number") % KEYS
    }
}
