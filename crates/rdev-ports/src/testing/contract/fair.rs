use rdev_domain::{Job, Result, Schedule, TaskKind};

use super::Store;
use super::steps::*;
use crate::testing::{id, job, new_job, slots, task};
use crate::{ClaimLimits, NewJob};

async fn enqueue_with(store: &impl Store, n: u64, schedule: Schedule) -> Result<()> {
    store.enqueue(new_job(Job { schedule, ..job("demo", n) })).await.map(drop)
}

/// Of what waits the highest priority comes first, and what has the same in the order of coming.
pub async fn the_highest_priority_is_claimed_first(store: &impl Store) -> Result<()> {
    for (n, priority) in [(1, -5), (2, 0), (3, 7), (4, 0)] {
        enqueue_with(store, n, Schedule { priority, ..Schedule::default() }).await?;
    }
    assert_eq!(ids(&claim_all(store, 0).await?), [3, 2, 4, 1].map(|n| job("demo", n).id));
    Ok(())
}

/// What is to run later is not claimed before that moment, and at it.
pub async fn nothing_is_claimed_before_its_time(store: &impl Store) -> Result<()> {
    enqueue_with(store, 1, Schedule { run_after: Some(at(10)), ..Schedule::default() }).await?;
    assert!(claim_all(store, 9).await?.is_empty());
    assert_eq!(claim_all(store, 10).await?.len(), 1);
    Ok(())
}

/// Projects have turns: what comes after a flood does not wait for all of it.
pub async fn a_flood_does_not_starve_others(store: &impl Store) -> Result<()> {
    for n in 1..=20 {
        store.enqueue(new_job(job("flood", n))).await?;
    }
    let flood = store.claim(&worker(), slots(2), at(0), at(LEASE)).await?;
    for claim in &flood {
        store.start(&claim.fence, "pod-1", None, at(0)).await?;
    }
    for n in 21..=22 {
        store.enqueue(new_job(job("other", n))).await?;
    }
    let next = store.claim(&worker(), slots(4), at(0), at(LEASE)).await?;
    assert_eq!(ids(&next), [3, 21, 4, 22].map(|n| job("demo", n).id));
    Ok(())
}

/// And so have the callers in one project.
pub async fn callers_have_turns_in_one_project(store: &impl Store) -> Result<()> {
    for (n, key) in [(1, "key-1"), (2, "key-1"), (3, "key-1"), (4, "key-2")] {
        let job = Job { created_by: id(key), ..job("demo", n) };
        store.enqueue(new_job(job)).await?;
    }
    assert_eq!(ids(&claim_all(store, 0).await?), [1, 4, 2, 3].map(|n| job("demo", n).id));
    Ok(())
}

/// Neither kind takes the other's slots.
pub async fn commands_and_tasks_have_slots_of_their_own(store: &impl Store) -> Result<()> {
    for n in 1..=3 {
        enqueue(store, n).await?;
        store.enqueue(new_job(task(TaskKind::Test, n + 10))).await?;
    }
    let slots = ClaimLimits { jobs: 1, pool: 2 };
    let first = store.claim(&worker(), slots, at(0), at(LEASE)).await?;
    assert_eq!(ids(&first), [1, 11, 12].map(|n| job("demo", n).id));
    let slots = ClaimLimits { jobs: 3, pool: 0 };
    let second = store.claim(&worker(), slots, at(0), at(LEASE)).await?;
    assert_eq!(ids(&second), [2, 3].map(|n| job("demo", n).id));
    Ok(())
}

/// A task that runs has its worker already: it needs no slot to be gone on with.
pub async fn a_running_task_is_taken_over_without_a_slot(store: &impl Store) -> Result<()> {
    for n in 1..=2 {
        store.enqueue(new_job(task(TaskKind::Test, n))).await?;
    }
    let running = store.claim(&worker(), slots(1), at(0), at(LEASE)).await?.remove(0);
    store.start(&running.fence, "pod-1", Some(&slot("slot-1")), at(0)).await?;
    let none = ClaimLimits { jobs: 0, pool: 0 };
    let taken = store.claim(&worker(), none, at(LEASE + 1), at(2 * LEASE)).await?;
    assert_eq!(ids(&taken), [running.fence.id]);
    assert_eq!(taken[0].slot, Some(slot("slot-1")));
    Ok(())
}

/// The next of a key need not wait for one whose time has not come.
pub async fn what_is_not_due_does_not_hold_its_key(store: &impl Store) -> Result<()> {
    for (n, run_after) in [(1, Some(at(100))), (2, None)] {
        let schedule = Schedule { run_after, ..Schedule::default() };
        let new = new_job(Job { schedule, ..job("demo", n) });
        store.enqueue(NewJob { concurrency_key: Some("live".to_owned()), ..new }).await?;
    }
    assert_eq!(ids(&claim_all(store, 0).await?), [job("demo", 2).id]);
    Ok(())
}
