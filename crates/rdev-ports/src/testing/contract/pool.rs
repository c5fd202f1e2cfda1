use rdev_domain::{
    BlockedBy, Ending, Entry, Job, JobId, JobKind, JobStatus, Outcome, Reason, Result, Schedule, Seq, Target,
    TaskKind,
};

use super::Store;
use super::steps::*;
use crate::testing::{id, job, new_job, task};
use crate::{Backlog, BacklogPosition, BacklogState, Claim, ClaimLimits, NewJob, Slot, TaskFilter};

pub(super) async fn enqueue_task(store: &impl Store, kind: TaskKind, n: u64) -> Result<Job> {
    let task = task(kind, n);
    store.enqueue(new_job(task.clone())).await?;
    Ok(task)
}

/// Stores the `n`th task, claims it, and starts it in a worker.
pub(super) async fn run_task(store: &impl Store, n: u64, worker: &str) -> Result<Claim> {
    enqueue_task(store, TaskKind::Test, n).await?;
    let of_pool = ClaimLimits { jobs: 0, pool: 1 };
    let claim = store.claim(&super::steps::worker(), of_pool, at(0), at(LEASE)).await?.remove(0);
    store.start(&claim.fence, "pod-1", Some(&slot(worker)), at(5)).await?;
    Ok(claim)
}

pub(super) async fn fail_task(store: &impl Store, claim: &Claim, seq: u64) -> Result<Entry> {
    let outcome = Outcome {
        exit_code: Some(2),
        ..Outcome::without_process(Ending::Failed(Reason::ExitCode), "step 2 failed")
    };
    store.finish(&claim.fence, Seq(seq), outcome, at(9)).await
}

pub(super) async fn the_task(store: &impl Store, id: &JobId) -> Result<Job> {
    Ok(store.job(&Target::Pool, id).await?.expect("the task is stored"))
}

/// Whoever comes second looks for another seat; once the first is over, its seat is free.
pub async fn a_seat_is_for_one_task_at_a_time(store: &impl Store) -> Result<()> {
    let first = run_task(store, 1, "slot-1").await?;
    enqueue_task(store, TaskKind::Test, 2).await?;
    let second = claim_all(store, 0).await?.remove(0);
    let taken = store.start(&second.fence, "pod-1", Some(&slot("slot-1")), at(0)).await;
    assert_conflict(taken, "WORKER_TAKEN");
    store.finish(&first.fence, Seq(1), completed(), at(1)).await?;
    store.start(&second.fence, "pod-1", Some(&slot("slot-1")), at(1)).await?;
    Ok(())
}

/// A worker has as many tasks as seats; each keeps its own, whoever asks again.
pub async fn a_worker_has_several_seats(store: &impl Store) -> Result<()> {
    let first = run_task(store, 1, "slot-1").await?;
    enqueue_task(store, TaskKind::Test, 2).await?;
    let second = claim_all(store, 0).await?.remove(0);
    let beside = Slot { number: 1, ..slot("slot-1") };
    let started = store.start(&second.fence, "pod-1", Some(&beside), at(5)).await?;
    assert_eq!(started.slot.as_ref(), Some(&beside));
    let again = store.start(&second.fence, "pod-1", Some(&slot("slot-9")), at(6)).await?;
    assert_eq!(again.slot.as_ref(), Some(&beside));
    let busy = [(slot("slot-1"), first.fence.id.clone()), (beside.clone(), second.fence.id.clone())];
    assert_eq!(store.occupancy().await?.busy, busy);
    let taken_over = claim_all(store, LEASE + 1).await?;
    assert_eq!(taken_over.iter().filter(|claim| claim.slot.as_ref() == Some(&beside)).count(), 1);
    Ok(())
}

/// Tasks come newest first in pages, and no commands of projects are among them.
pub async fn tasks_are_listed_and_filtered(store: &impl Store) -> Result<()> {
    enqueue(store, 9).await?;
    let failed = run_task(store, 1, "slot-1").await?;
    fail_task(store, &failed, 1).await?;
    for (n, kind) in [(2, TaskKind::Build), (3, TaskKind::Test), (4, TaskKind::Build)] {
        enqueue_task(store, kind, n).await?;
    }
    let all = TaskFilter::default();
    let of_kind = TaskFilter { kind: Some(TaskKind::Build), ..all.clone() };
    let dead = TaskFilter { statuses: vec![JobStatus::Failed, JobStatus::TimedOut], ..all.clone() };
    let of_project = TaskFilter { project: Some(id("demo")), ..all.clone() };
    for (filter, numbers) in
        [(&all, vec![4, 3, 2, 1]), (&of_kind, vec![4, 2]), (&dead, vec![1]), (&of_project, vec![])]
    {
        let found: Vec<_> = store.tasks(filter, None, ALL).await?.into_iter().map(|task| task.id).collect();
        let expected: Vec<_> = numbers.into_iter().map(|n| task(TaskKind::Test, n).id).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let page = store.tasks(&all, Some(&task(TaskKind::Test, 3).id), 1).await?;
    assert_eq!(page[0].id, task(TaskKind::Test, 2).id);
    Ok(())
}

/// A pending job has a position in the backlog, and the cause for which it waits.
pub async fn a_task_knows_its_place_in_line(store: &impl Store) -> Result<()> {
    for n in 1..=2 {
        enqueue_task(store, TaskKind::Test, n).await?;
    }
    let later = Schedule { run_after: Some(at(50)), ..Schedule::default() };
    store.enqueue(new_job(Job { schedule: later, ..task(TaskKind::Test, 3) })).await?;
    for n in 4..=5 {
        let new = new_job(task(TaskKind::Deploy, n));
        store.enqueue(NewJob { concurrency_key: Some("live".to_owned()), ..new }).await?;
    }
    let expected = [
        (1, 0, None),
        (2, 1, None),
        (3, 2, Some(BlockedBy::RunAfter)),
        (4, 3, None),
        (5, 4, Some(BlockedBy::ConcurrencyKey)),
    ];
    for (n, ahead, blocked_by) in expected {
        let line = store.queue_position(&task(TaskKind::Test, n).id, at(0)).await?;
        assert_eq!(line, Some(BacklogPosition { ahead, blocked_by }), "{n}");
    }
    for n in 6..=7 {
        let new = new_job(job("demo", n));
        store.enqueue(NewJob { concurrency_key: Some("workspace:demo".to_owned()), ..new }).await?;
    }
    for (n, ahead, blocked_by) in [(6, 0, None), (7, 1, Some(BlockedBy::Workspace))] {
        let line = store.queue_position(&job("demo", n).id, at(0)).await?;
        assert_eq!(line, Some(BacklogPosition { ahead, blocked_by }), "{n}");
    }
    claim_all(store, 0).await?;
    assert!(store.queue_position(&task(TaskKind::Test, 99).id, at(0)).await?.is_none());
    Ok(())
}

/// The busy workers are told with their tasks, while these run.
pub async fn occupancy_tells_who_works(store: &impl Store) -> Result<()> {
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

/// A drained worker stays so, whether or not it is said again, until it is said otherwise.
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

/// Tasks are counted; of those that have ended the time to the start is told, of those that wait the oldest.
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

/// What has not ended is counted by what could be done about it.
pub async fn the_backlog_tells_what_workers_could_do(store: &impl Store) -> Result<()> {
    assert_eq!(store.backlog(at(0)).await?, Backlog::default());
    let ended = run_task(store, 1, "slot-1").await?;
    fail_task(store, &ended, 1).await?;
    run_task(store, 2, "slot-1").await?;
    enqueue_task(store, TaskKind::Build, 3).await?;
    for (n, kind, after, key) in [
        (4, TaskKind::Test, 50, None),
        (5, TaskKind::Deploy, 0, Some("live")),
        (6, TaskKind::Deploy, 0, Some("live")),
        (7, TaskKind::Deploy, 50, Some("live")),
    ] {
        let schedule = Schedule { run_after: Some(at(after)), ..Schedule::default() };
        let new = new_job(Job { schedule, ..task(kind, n) });
        store.enqueue(NewJob { concurrency_key: key.map(str::to_owned), ..new }).await?;
    }
    enqueue(store, 8).await?;
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
    let of_pool = ClaimLimits { jobs: 0, pool: 2 };
    for claim in store.claim(&super::steps::worker(), of_pool, at(20), at(LEASE)).await? {
        let worker =
            if claim.job.spec.kind() == JobKind::Task(TaskKind::Deploy) { "slot-3" } else { "slot-2" };
        store.start(&claim.fence, "pod-1", Some(&slot(worker)), at(21)).await?;
    }
    let backlog = store.backlog(at(50)).await?;
    assert_eq!(BacklogState::ALL.map(|stage| backlog.count(stage)), [1, 2, 0, 3]);
    assert_eq!(backlog.waiting_since, Some(at(50)));
    Ok(())
}
