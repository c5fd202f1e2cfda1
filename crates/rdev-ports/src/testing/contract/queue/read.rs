//! Jobs are found, listed and ordered.

use rdev_domain::{
    BlockedBy, CommandKind, Job, JobId, JobIdPrefix, JobKind, JobStatus, Position, Reason, Result, Schedule,
    Seq, Target, TaskKind, WaitingFor,
};

use super::Store;
use crate::testing::contract::steps::*;
use crate::testing::{id, job, keyed, log_of, target, task, task_for};
use crate::{BacklogPosition, JobFilter, Retry, Unfinished};

/// A command is found in its own project, and in no other.
pub async fn a_command_is_found_in_its_project_only(store: &impl Store) -> Result<()> {
    let expected = enqueue(store, 1).await?;
    assert_eq!(store.job(&demo(), &expected.id).await?, Some(expected.clone()));
    assert_eq!(store.job(&target("other"), &expected.id).await?, None);
    assert_eq!(store.job(&demo(), &job("demo", 2).id).await?, None);
    Ok(())
}

/// A stream leads to its command, in its own project only.
pub async fn a_command_is_found_by_its_stream(store: &impl Store) -> Result<()> {
    let mut expected = job("demo", 1);
    expected.stream = id("nightly:1");
    store.enqueue(&expected, None).await?;
    let found = store.job_of_stream(&demo(), &expected.stream).await?;
    assert_eq!(found, Some(expected.clone()));
    assert_eq!(store.job_of_stream(&target("other"), &expected.stream).await?, None);
    assert_eq!(store.job_of_stream(&demo(), &id("nightly:2")).await?, None);
    Ok(())
}

/// Pages go from the newest command to the oldest, each going on before the last one's last command.
pub async fn commands_come_newest_first_in_pages(store: &impl Store) -> Result<()> {
    for n in [2, 1, 5, 4] {
        enqueue(store, n).await?;
    }
    store.enqueue(&job("other", 3), None).await?;
    let page = |jobs: Vec<Job>| jobs.into_iter().map(|c| c.id).collect::<Vec<_>>();
    let first = page(store.jobs(&demo(), &JobFilter::default(), None, 3).await?);
    assert_eq!(first, [5, 4, 2].map(|n| job("demo", n).id));
    let second = page(store.jobs(&demo(), &JobFilter::default(), first.last(), 3).await?);
    assert_eq!(second, [job("demo", 1).id]);
    assert!(store.jobs(&demo(), &JobFilter::default(), second.last(), 3).await?.is_empty());
    assert!(store.jobs(&target("empty"), &JobFilter::default(), None, 3).await?.is_empty());
    Ok(())
}

/// Pending and running jobs of all targets are returned with their attempts. Ended and unknown ones are not.
pub async fn the_unfinished_of_many_jobs_are_returned(store: &impl Store) -> Result<()> {
    let (ended, retried) = (run(store, 1).await?, run(store, 2).await?);
    store.finish(&ended, Seq(1), completed(), at(1)).await?;
    let retry = Retry {
        reason: "exit_code".to_owned(),
        error: "exit_code: 2".to_owned(),
        run_after: at(9),
        counts: true,
    };
    store.retry(&retried, retry, at(1)).await?;
    let running = run(store, 3).await?;
    let pending = job("other", 4);
    store.enqueue(&pending, None).await?;
    let unknown = job("demo", 5).id;
    let mut told = store
        .unfinished(&[unknown, pending.id.clone(), ended.id, running.id.clone(), retried.id.clone()])
        .await?;
    told.sort_by(|a, b| a.id.cmp(&b.id));
    let expected = [(retried.id, 1), (running.id, 1), (pending.id, 0)];
    assert_eq!(told, expected.map(|(id, attempt)| Unfinished { id, attempt }));
    assert!(store.unfinished(&[]).await?.is_empty());
    Ok(())
}

/// A check succeeds, however many run at once, and leaves nothing behind.
pub async fn a_store_that_can_be_written_is_sound(store: &impl Store) -> Result<()> {
    store.enqueue(&job("demo", 1), None).await?;
    let before = (
        store.jobs(&demo(), &JobFilter::default(), None, 9).await?,
        store.last(&log_of("demo"), Position::MAX).await?,
    );
    for done in futures_util::future::join_all((0..20).map(|_| store.check())).await {
        done?;
    }
    assert_eq!(
        (
            store.jobs(&demo(), &JobFilter::default(), None, 9).await?,
            store.last(&log_of("demo"), Position::MAX).await?
        ),
        before
    );
    Ok(())
}

/// Ids of tasks that earlier versions accepted begin with `cmd-`: these are found, and come after newer ones.
pub async fn tasks_of_earlier_versions_are_older(store: &impl Store) -> Result<()> {
    let earlier = task(TaskKind::Test, 9);
    let newer = JobId::new(JobIdPrefix::Task, 1);
    let newer = Job { stream: (&newer).into(), id: newer, ..task(TaskKind::Test, 1) };
    for task in [&earlier, &newer] {
        store.enqueue(task, None).await?;
        assert_eq!(the_task(store, &task.id).await?, *task);
    }
    let page = store.jobs(&Target::Pool, &JobFilter::default(), None, 1).await?;
    assert_eq!(page, [newer]);
    assert_eq!(store.jobs(&Target::Pool, &JobFilter::default(), Some(&page[0].id), 9).await?, [earlier]);
    Ok(())
}

/// Tasks come newest first in pages, without commands of projects.
pub async fn tasks_are_listed_and_filtered(store: &impl Store) -> Result<()> {
    enqueue(store, 9).await?;
    let failed = run_task(store, 1, "slot-1").await?;
    fail_task(store, &failed, 1).await?;
    for (n, kind) in [(2, TaskKind::Build), (3, TaskKind::Test), (4, TaskKind::Build)] {
        enqueue_task(store, kind, n).await?;
    }
    store.enqueue(&task_for("demo", 5), None).await?;
    let all = JobFilter::default();
    let of_kind = JobFilter { kind: Some(JobKind::Task(TaskKind::Build)), ..all.clone() };
    let dead = JobFilter { statuses: vec![JobStatus::Failed, JobStatus::TimedOut], ..all.clone() };
    let pending = JobFilter { statuses: vec![JobStatus::Pending], ..all.clone() };
    let of_project = JobFilter { project: Some(id("demo")), ..all.clone() };
    let of_stream = JobFilter { stream: Some(task(TaskKind::Test, 3).stream), ..all.clone() };
    for (filter, numbers) in [
        (&all, vec![5, 4, 3, 2, 1]),
        (&of_kind, vec![5, 4, 2]),
        (&dead, vec![1]),
        (&pending, vec![5, 4, 3, 2]),
        (&of_project, vec![5]),
        (&of_stream, vec![3]),
    ] {
        let found: Vec<_> = ids(store.jobs(&Target::Pool, filter, None, ALL).await?);
        let expected: Vec<_> = numbers.into_iter().map(|n| task(TaskKind::Test, n).id).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    for filter in [&all, &pending] {
        let page = store.jobs(&Target::Pool, filter, Some(&task(TaskKind::Test, 3).id), 1).await?;
        assert_eq!(page[0].id, task(TaskKind::Test, 2).id);
    }
    Ok(())
}

fn ids(jobs: Vec<Job>) -> Vec<rdev_domain::JobId> {
    jobs.into_iter().map(|job| job.id).collect()
}

/// A filter leaves out what does not match, in every page.
pub async fn commands_are_filtered(store: &impl Store) -> Result<()> {
    let failed = run(store, 1).await?;
    store
        .finish(
            &failed,
            Seq(1),
            rdev_domain::Outcome::without_process(rdev_domain::Ending::Failed(Reason::Signal), "said"),
            at(1),
        )
        .await?;
    let completed_one = run(store, 2).await?;
    store.finish(&completed_one, Seq(1), completed(), at(1)).await?;
    let running = run(store, 3).await?;
    let mut named = job("demo", 4);
    named.stream = id("ci-7");
    store.enqueue(&named, None).await?;
    enqueue_agent(store, "demo", 5).await?;
    store.enqueue(&job("other", 6), None).await?;
    let all = JobFilter::default();
    let of = |statuses: &[JobStatus]| JobFilter { statuses: statuses.to_vec(), ..all.clone() };
    let claude = JobFilter { kind: Some(JobKind::Command(CommandKind::Claude)), ..all.clone() };
    let from = JobFilter { from: Some(running.id.clone()), ..all.clone() };
    let named = JobFilter { stream: Some(named.stream), ..all.clone() };
    for (filter, numbers) in [
        (of(&[JobStatus::Failed]), vec![1]),
        (of(&[JobStatus::Running, JobStatus::Completed]), vec![3, 2]),
        (of(&[JobStatus::Pending]), vec![5, 4]),
        (of(&[JobStatus::Pending, JobStatus::Running]), vec![5, 4, 3]),
        (of(&[JobStatus::TimedOut]), vec![]),
        (claude, vec![5]),
        (from.clone(), vec![5, 4, 3]),
        (JobFilter { statuses: vec![JobStatus::Pending], ..from }, vec![5, 4]),
        (named.clone(), vec![4]),
        (JobFilter { statuses: vec![JobStatus::Running], ..named }, vec![]),
    ] {
        let expected: Vec<_> = numbers.into_iter().map(|n| job("demo", n).id).collect();
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = ids(store.jobs(&demo(), &filter, before.as_ref(), 1).await?);
            let Some(last) = page.last() else { break };
            before = Some(last.clone());
            found.extend(page);
        }
        assert_eq!(found, expected, "{filter:?}");
    }
    Ok(())
}

/// A pending job has a number of jobs before it, and a cause of its wait.
pub async fn a_pending_job_has_a_position_in_its_queue(store: &impl Store) -> Result<()> {
    for n in 1..=2 {
        enqueue_task(store, TaskKind::Test, n).await?;
    }
    let later = Schedule { run_after: Some(at(50)), ..Schedule::default() };
    store.enqueue(&Job { schedule: later, ..task(TaskKind::Test, 3) }, None).await?;
    for n in 4..=5 {
        store.enqueue(&keyed(task(TaskKind::Deploy, n), "live"), None).await?;
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
        enqueue_agent(store, "demo", n).await?;
    }
    for (n, ahead, blocked_by) in [(6, 0, None), (7, 1, Some(BlockedBy::Workspace))] {
        let line = store.queue_position(&job("demo", n).id, at(0)).await?;
        assert_eq!(line, Some(BacklogPosition { ahead, blocked_by }), "{n}");
    }
    claim_all(store, 0).await?;
    assert!(store.queue_position(&task(TaskKind::Test, 99).id, at(0)).await?.is_none());
    Ok(())
}

/// A task that waits for a decision or a resource is found by that status, and as a running one.
pub async fn waiting_tasks_are_listed_by_their_status(store: &impl Store) -> Result<()> {
    let (waiting, running) = (run_task(store, 1, "slot-1").await?, run_task(store, 2, "slot-2").await?);
    store.wait_for(&waiting.fence, Some(WaitingFor::Approval), at(6)).await?;
    for (status, expected) in [
        (JobStatus::WaitingApproval, vec![&waiting.fence.id]),
        (JobStatus::WaitingQuota, vec![]),
        (JobStatus::Running, vec![&running.fence.id, &waiting.fence.id]),
    ] {
        let filter = JobFilter { statuses: vec![status], ..JobFilter::default() };
        let found = store.jobs(&Target::Pool, &filter, None, ALL).await?;
        assert_eq!(found.iter().map(|task| &task.id).collect::<Vec<_>>(), expected, "{status:?}");
    }
    Ok(())
}
