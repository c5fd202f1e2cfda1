//! Promises of [`PoolQueue`].
//! [`pool_contract!`](crate::pool_contract) makes a test of each.

use rdev_domain::{Conflict, Job, JobKind, JobStatus, Result, Schedule, Seq, TaskKind};

use crate::testing::contract::steps::*;
use crate::testing::{agent, id, idempotency_key, job, keyed, operation, slots, task};
use crate::{
    Backlog, BacklogState, ClaimLimits, Occurrence, PoolQueue, Slot, StartAnswer, TaskLeases, TaskQueue,
};

/// Store under test; clones share their data. Tasks are accepted and started through the queue.
pub trait Store: PoolQueue + TaskQueue + TaskLeases + Clone + 'static {}

impl<S: PoolQueue + TaskQueue + TaskLeases + Clone + 'static> Store for S {}

/// Makes one test of each promise of [`PoolQueue`](crate::PoolQueue).
///
/// Takes the path of an async function that makes a fresh store, and what must live as long:
/// `async fn fresh() -> (MyStore, TempDir)`.
#[macro_export]
macro_rules! pool_contract {
    ($fresh:path) => {
        $crate::contract_tests! { pool, $fresh;
            a_slot_is_for_one_task_at_a_time
            a_worker_has_several_slots
            occupancy_shows_the_busy_slots
            draining_holds_until_it_is_undone
            stats_count_by_kind_and_status
            the_backlog_counts_what_workers_could_do
            the_longest_wait_of_a_command_is_not_for_its_workspace
            a_worker_is_drained_once_a_key
        }
    };
}

/// A second task learns that the slot is occupied, and stays as it was. The end of the first task frees the slot.
pub async fn a_slot_is_for_one_task_at_a_time(store: &impl Store) -> Result<()> {
    let first = run_task(store, 1, "slot-1").await?;
    enqueue_task(store, TaskKind::Test, 2).await?;
    let second = claim_all(store, 0).await?.remove(0);
    for _ in 0..2 {
        let answer = store.start(&second.fence, "pod-1", Some(&slot("slot-1")), at(0)).await;
        assert!(matches!(answer, Ok(StartAnswer::SlotTaken)), "{answer:?}");
    }
    assert_eq!(the_task(store, &second.fence.id).await?, second.job);
    store.finish(&first.fence, Seq(1), completed(), at(1)).await?;
    start(store, &second.fence, "pod-1", Some(&slot("slot-1")), at(1)).await?;
    Ok(())
}

/// A worker runs as many tasks as it has slots. Each task keeps its slot, also when it is started again.
pub async fn a_worker_has_several_slots(store: &impl Store) -> Result<()> {
    let first = run_task(store, 1, "slot-1").await?;
    enqueue_task(store, TaskKind::Test, 2).await?;
    let second = claim_all(store, 0).await?.remove(0);
    let beside = Slot { number: 1, ..slot("slot-1") };
    let started = start(store, &second.fence, "pod-1", Some(&beside), at(5)).await?;
    assert_eq!(started.slot.as_ref(), Some(&beside));
    let again = start(store, &second.fence, "pod-1", Some(&slot("slot-9")), at(6)).await?;
    assert_eq!(again.slot.as_ref(), Some(&beside));
    let busy = [(slot("slot-1"), first.fence.id.clone()), (beside.clone(), second.fence.id.clone())];
    assert_eq!(store.occupancy().await?.busy, busy);
    let taken_over = claim_all(store, LEASE + 1).await?;
    assert_eq!(taken_over.iter().filter(|claim| claim.slot.as_ref() == Some(&beside)).count(), 1);
    Ok(())
}

/// Occupied slots are returned with their tasks, while these run.
pub async fn occupancy_shows_the_busy_slots(store: &impl Store) -> Result<()> {
    let running = run_task(store, 1, "slot-2").await?;
    enqueue_task(store, TaskKind::Test, 2).await?;
    enqueue(store, 3).await?;
    let occupancy = store.occupancy().await?;
    assert_eq!(occupancy.busy, [(slot("slot-2"), running.fence.id.clone())]);
    assert_eq!((occupancy.draining, occupancy.waits), (vec![], true));
    store.finish(&running.fence, Seq(1), completed(), at(6)).await?;
    assert!(store.occupancy().await?.busy.is_empty());
    Ok(())
}

/// A worker drains until the setting is undone; setting it again changes nothing.
pub async fn draining_holds_until_it_is_undone(store: &impl Store) -> Result<()> {
    for _ in 0..2 {
        store.set_draining(&id("slot-1"), true, None, at(0)).await?;
        assert_eq!(store.occupancy().await?.draining, [id("slot-1")]);
    }
    for _ in 0..2 {
        store.set_draining(&id("slot-1"), false, None, at(0)).await?;
        assert!(store.occupancy().await?.draining.is_empty());
    }
    Ok(())
}

/// Tasks are counted. Waiting times come from ended tasks, the oldest acceptance from pending ones.
pub async fn stats_count_by_kind_and_status(store: &impl Store) -> Result<()> {
    assert_eq!(store.stats().await?, crate::QueueStats::default());
    enqueue(store, 9).await?;
    let failed = run_task(store, 1, "slot-1").await?;
    fail_task(store, &failed, 1).await?;
    for n in 2..=3 {
        enqueue_task(store, TaskKind::Build, n).await?;
    }
    let stats = store.stats().await?;
    let expected = [(TaskKind::Build, JobStatus::Pending, 2), (TaskKind::Test, JobStatus::Failed, 1)];
    assert_eq!(stats.counts, expected);
    assert_eq!(stats.oldest_waiting, Some(at(0)));
    assert_eq!(stats.waits_us, [5_000_000]);
    Ok(())
}

/// Unfinished jobs are counted by what could be done about them.
pub async fn the_backlog_counts_what_workers_could_do(store: &impl Store) -> Result<()> {
    assert_eq!(store.backlog(at(0)).await?, Backlog::default());
    let ended = run_task(store, 1, "slot-1").await?;
    fail_task(store, &ended, 1).await?;
    run_task(store, 2, "slot-1").await?;
    enqueue_task(store, TaskKind::Build, 3).await?;
    for (task, after) in [
        (task(TaskKind::Test, 4), 50),
        (keyed(task(TaskKind::Deploy, 5), "live"), 0),
        (keyed(task(TaskKind::Deploy, 6), "live"), 0),
        (keyed(task(TaskKind::Deploy, 7), "live"), 50),
    ] {
        let schedule = Schedule { run_after: Some(at(after)), ..Schedule::default() };
        store.enqueue(&Job { schedule, ..task }, None).await?;
    }
    enqueue(store, 8).await?;
    // An operation is no command.
    store.enqueue(&operation("shop", 9), None).await?;
    let backlog = store.backlog(at(20)).await?;
    let expected = [
        (TaskKind::Build, BacklogState::Waiting, 1),
        (TaskKind::Test, BacklogState::Scheduled, 1),
        (TaskKind::Test, BacklogState::Running, 1),
        (TaskKind::Deploy, BacklogState::Waiting, 1),
        (TaskKind::Deploy, BacklogState::Blocked, 1),
        (TaskKind::Deploy, BacklogState::Scheduled, 1),
    ];
    assert_eq!(backlog.tasks, expected);
    assert_eq!((backlog.commands_waiting, backlog.commands_running), (1, 0));
    assert_eq!(backlog.waiting_since, Some(at(0)));

    // With one of the key running, no worker could help the other.
    let of_pool = ClaimLimits { commands: 0, operations: 0, pool: 2 };
    for claim in store.claim(&worker(), of_pool, at(20), at(LEASE)).await? {
        let worker =
            if claim.job.spec.kind() == JobKind::Task(TaskKind::Deploy) { "slot-3" } else { "slot-2" };
        start(store, &claim.fence, "pod-1", Some(&slot(worker)), at(21)).await?;
    }
    let backlog = store.backlog(at(50)).await?;
    assert_eq!(BacklogState::ALL.map(|stage| backlog.count(stage)), [1, 2, 0, 3]);
    assert_eq!(backlog.waiting_since, Some(at(50)));
    Ok(())
}

/// A command waits for its turn from its acceptance on. One behind another agent of its workspace waits for that one.
pub async fn the_longest_wait_of_a_command_is_not_for_its_workspace(store: &impl Store) -> Result<()> {
    let accept = async |job: Job, seconds| {
        store.enqueue(&Job { created_at: at(seconds), ..job }, None).await.map(|_| ())
    };
    accept(agent("demo", 1), 10).await?;
    accept(agent("demo", 2), 20).await?;
    accept(job("demo", 3), 30).await?;
    // Neither an operation nor a task is a command.
    accept(operation("shop", 4), 1).await?;
    accept(task(TaskKind::Test, 5), 2).await?;
    let waiting = async || {
        let backlog = store.backlog(at(40)).await?;
        Result::Ok((backlog.commands_waiting, backlog.command_waiting_since))
    };
    assert_eq!(waiting().await?, (3, Some(at(10))));
    let claim = async || {
        let one_command = ClaimLimits { commands: 1, ..slots(0) };
        let mut claims = store.claim(&worker(), one_command, at(40), at(40 + LEASE)).await?;
        Result::Ok(claims.pop().expect("a command may be claimed").fence)
    };
    let first = claim().await?;
    // What is claimed has not started.
    assert_eq!(waiting().await?, (3, Some(at(10))));
    start(store, &first, "pod-1", None, at(41)).await?;
    assert_eq!(waiting().await?, (2, Some(at(30))));
    let second = claim().await?;
    start(store, &second, "pod-1", None, at(42)).await?;
    assert_eq!(waiting().await?, (1, None));
    store.finish(&first, Seq(1), completed(), at(43)).await?;
    assert_eq!(waiting().await?, (1, Some(at(20))));
    Ok(())
}

/// A repeated request to drain does not undo a later setting.
pub async fn a_worker_is_drained_once_a_key(store: &impl Store) -> Result<()> {
    let (key, worker) = (idempotency_key("key-1", "a", 1), id("slot-1"));
    assert_eq!(store.set_draining(&worker, true, Some(&key), at(0)).await?, Occurrence::First);
    assert_eq!(store.set_draining(&worker, false, None, at(1)).await?, Occurrence::First);
    assert_eq!(store.set_draining(&worker, true, Some(&key), at(2)).await?, Occurrence::Repeated);
    assert!(store.occupancy().await?.draining.is_empty());
    let other = idempotency_key("key-1", "a", 2);
    assert_conflict(
        store.set_draining(&worker, true, Some(&other), at(3)).await,
        Conflict::IdempotencyKeyReused,
    );
    Ok(())
}
