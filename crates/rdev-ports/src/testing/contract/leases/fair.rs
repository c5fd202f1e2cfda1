//! Priorities, times and fairness between callers.

use rdev_domain::{Job, Result, Schedule, TaskKind};

use super::Store;
use crate::ClaimLimits;
use crate::testing::contract::steps::*;
use crate::testing::{agent, id, job, slots, task};

async fn enqueue_with(store: &impl Store, n: u64, schedule: Schedule) -> Result<()> {
    store.enqueue(&Job { schedule, ..job("demo", n) }, None).await.map(drop)
}

/// The highest priority comes first; within a priority, first in first out.
pub async fn the_highest_priority_is_claimed_first(store: &impl Store) -> Result<()> {
    for (n, priority) in [(1, -5), (2, 0), (3, 7), (4, 0)] {
        enqueue_with(store, n, Schedule { priority, ..Schedule::default() }).await?;
    }
    assert_eq!(ids(&claim_all(store, 0).await?), [3, 2, 4, 1].map(|n| job("demo", n).id));
    Ok(())
}

/// A scheduled job is claimed from its time on, inclusive.
pub async fn nothing_is_claimed_before_its_time(store: &impl Store) -> Result<()> {
    enqueue_with(store, 1, Schedule { run_after: Some(at(10)), ..Schedule::default() }).await?;
    assert!(claim_all(store, 9).await?.is_empty());
    assert_eq!(claim_all(store, 10).await?.len(), 1);
    Ok(())
}

/// Projects are served round-robin: a job that comes after a flood does not wait for all of it.
pub async fn a_flood_does_not_starve_others(store: &impl Store) -> Result<()> {
    for n in 1..=20 {
        store.enqueue(&job("flood", n), None).await?;
    }
    let flood = store.claim(&worker(), slots(2), at(0), at(LEASE)).await?;
    for claim in &flood {
        start(store, &claim.fence, "pod-1", None, at(0)).await?;
    }
    for n in 21..=22 {
        store.enqueue(&job("other", n), None).await?;
    }
    let next = store.claim(&worker(), slots(4), at(0), at(LEASE)).await?;
    assert_eq!(ids(&next), [3, 21, 4, 22].map(|n| job("demo", n).id));
    Ok(())
}

/// Callers within one project are served round-robin too.
pub async fn callers_are_served_round_robin_in_one_project(store: &impl Store) -> Result<()> {
    for (n, key) in [(1, "key-1"), (2, "key-1"), (3, "key-1"), (4, "key-2")] {
        let job = Job { created_by: id(key), ..job("demo", n) };
        store.enqueue(&job, None).await?;
    }
    assert_eq!(ids(&claim_all(store, 0).await?), [1, 4, 2, 3].map(|n| job("demo", n).id));
    Ok(())
}

/// Neither kind uses the other's limit.
pub async fn commands_and_tasks_have_slots_of_their_own(store: &impl Store) -> Result<()> {
    for n in 1..=3 {
        enqueue(store, n).await?;
        store.enqueue(&task(TaskKind::Test, n + 10), None).await?;
    }
    let limits = ClaimLimits { pool: 2, ..slots(1) };
    let first = store.claim(&worker(), limits, at(0), at(LEASE)).await?;
    assert_eq!(ids(&first), [1, 11, 12].map(|n| job("demo", n).id));
    let limits = ClaimLimits { pool: 0, ..slots(3) };
    let second = store.claim(&worker(), limits, at(0), at(LEASE)).await?;
    assert_eq!(ids(&second), [2, 3].map(|n| job("demo", n).id));
    Ok(())
}

/// A running task has its slot already, and is claimed beyond the limit.
pub async fn a_running_task_is_taken_over_without_a_slot(store: &impl Store) -> Result<()> {
    for n in 1..=2 {
        store.enqueue(&task(TaskKind::Test, n), None).await?;
    }
    let running = store.claim(&worker(), slots(1), at(0), at(LEASE)).await?.remove(0);
    start(store, &running.fence, "pod-1", Some(&slot("slot-1")), at(0)).await?;
    let taken = store.claim(&worker(), slots(0), at(LEASE + 1), at(2 * LEASE)).await?;
    assert_eq!(ids(&taken), [running.fence.id]);
    assert_eq!(taken[0].slot, Some(slot("slot-1")));
    Ok(())
}

/// A job whose time has not come does not block the others of its key.
pub async fn what_is_not_due_does_not_hold_its_key(store: &impl Store) -> Result<()> {
    for (n, run_after) in [(1, Some(at(100))), (2, None)] {
        let schedule = Schedule { run_after, ..Schedule::default() };
        store.enqueue(&Job { schedule, ..agent("demo", n) }, None).await?;
    }
    assert_eq!(ids(&claim_all(store, 0).await?), [job("demo", 2).id]);
    Ok(())
}
