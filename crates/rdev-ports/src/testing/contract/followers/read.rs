//! Reading by followers.

use std::time::Duration;

use rdev_domain::{
    AgentRequest, CommandRequest, Ending, Entry, EntryBody, GitRequest, Job, JobKind, JobSpec, JobStatus,
    OperationRequest, Outcome, Position, Reason, Result, Schedule, Seq, Target, TaskKind,
};

use super::{FIRST, Store, batch, read_all};
use crate::testing::contract::steps::*;
use crate::testing::{chunk, id, idempotency_key, job, operation, task};
use crate::{Rest, Retry};

/// Status of a job that an entry tells of.
fn status(told: &Entry) -> &'static str {
    match &told.body {
        EntryBody::Status(status) => status.as_str(),
        EntryBody::Stalled(_) => "stalled",
        EntryBody::Retry(_) => "retry",
        EntryBody::Output(_) => "output",
        EntryBody::Step(_) => "step",
        EntryBody::Complete(outcome) | EntryBody::FormerEnd(outcome) => {
            JobStatus::from(outcome.ending).as_str()
        }
    }
}

/// Entries of all targets come in the order of their positions, as in the logs of their jobs, and without output.
pub async fn everything_but_output_is_read_in_order(store: &impl Store) -> Result<()> {
    let begin = store.open(FIRST, at(0)).await?;
    let fence = run(store, 1).await?;
    store.append(&fence, vec![chunk(1, 2), chunk(3, 3)], at(1)).await?;
    let other = job("other", 2);
    store.enqueue(&other, None).await?;
    let claim = run_task(store, 3, "slot-1").await?;
    store.append(&fence, vec![chunk(4, 4)], at(2)).await?;
    finish_at(store, &fence, 3).await?;
    fail_task(store, &claim, 1).await?;

    let told = read_all(store, begin).await?;
    let seen: Vec<_> = told.iter().map(|told| (told.job.clone(), status(told))).collect();
    let (one, three) = (fence.id.clone(), claim.fence.id.clone());
    let expected = [
        (&one, "pending"),
        (&one, "running"),
        (&other.id, "pending"),
        (&three, "pending"),
        (&three, "running"),
        (&one, "completed"),
        (&three, "failed"),
    ];
    assert_eq!(seen, expected.map(|(id, status)| (id.clone(), status)));
    assert!(told.is_sorted_by(|a, b| a.position < b.position));
    for id in [&one, &other.id, &three] {
        let mut of_job = store.read_job(id, Position::ZERO, ALL).await?;
        of_job.retain(|entry| !matches!(entry.body, EntryBody::Output(_)));
        let entries = told.iter().filter(|entry| entry.job == *id);
        assert!(entries.eq(&of_job), "{id}");
    }
    Ok(())
}

/// A read returns no more entries than asked for, and the position after which the next one goes on.
pub async fn a_batch_is_bounded_and_the_next_goes_on(store: &impl Store) -> Result<()> {
    let begin = store.open(FIRST, at(0)).await?;
    for n in 1..=5 {
        enqueue(store, n).await?;
    }
    let all = read_all(store, begin).await?;
    let (mut after, mut told) = (begin, Vec::new());
    for expected in [2, 2, 1] {
        let batch = batch(store, FIRST, after, 2).await?;
        assert_eq!((batch.entries.len(), batch.gap), (expected, None));
        assert_eq!(batch.rest, if expected == 2 { Rest::More } else { Rest::Nothing });
        after = batch.next;
        told.extend(batch.entries.into_iter().map(|followed| followed.entry));
    }
    assert_eq!(told, all);
    let empty = batch(store, FIRST, after, 2).await?;
    assert_eq!((empty.entries, empty.next), (Vec::new(), after));
    Ok(())
}

/// A command, a task and an operation of each kind.
fn one_of_each_kind() -> Vec<Job> {
    let requests = [
        CommandRequest::Claude(AgentRequest { prompt: "say".to_owned(), ..AgentRequest::default() }),
        CommandRequest::Shell(rdev_domain::ShellRequest::default()),
        CommandRequest::Git(GitRequest { args: vec!["status".to_owned()] }),
    ];
    let command =
        |(n, request)| Job { spec: JobSpec::Command { project: id("demo"), request }, ..job("demo", n) };
    let commands = (1..).zip(requests).map(command);
    let tasks = (11..).zip(TaskKind::ALL).map(|(n, kind)| task(kind, n));
    let deletion = OperationRequest::DeleteProject { project: id("old") };
    let operations =
        [operation("new", 21), Job { spec: JobSpec::Operation(deletion), ..operation("old", 22) }];
    commands.chain(tasks).chain(operations).collect()
}

/// Acceptance and end are told of commands, tasks and operations, whichever call of the queue stores them.
pub async fn every_kind_of_job_has_entries_of_its_acceptance_and_its_end(store: &impl Store) -> Result<()> {
    let begin = store.open(FIRST, at(0)).await?;
    let jobs = one_of_each_kind();
    assert_eq!(jobs.len(), JobKind::all().count());
    for (n, job) in (0..).zip(&jobs) {
        let key = (n % 2 == 0).then(|| idempotency_key("key-1", &n.to_string(), 1));
        store.enqueue(job, key.as_ref()).await?;
    }
    // Some are cancelled while they wait, some while they run, and the others fail or complete.
    for job in jobs.iter().step_by(3) {
        store.request_cancel(&job.target(), &job.id, None, at(1)).await?.expect("it is stored");
    }
    let mut expected: Vec<(JobKind, &str)> =
        jobs.iter().step_by(3).map(|job| (job.spec.kind(), "cancelled")).collect();
    for (n, claim) in (0..).zip(claim_all(store, 2).await?) {
        let (fence, target) = (&claim.fence, claim.job.target());
        let slot = claim.job.spec.is_task().then(|| slot(&format!("slot-{n}")));
        start(store, fence, "pod-1", slot.as_ref(), at(3)).await?;
        let ending = [Ending::Completed, Ending::Failed(Reason::ExitCode), Ending::TimedOut][n % 3];
        if n == 3 {
            store.request_cancel(&target, &fence.id, None, at(4)).await?;
            let retry = Retry {
                reason: "exit_code".to_owned(),
                error: "exit_code: 1".to_owned(),
                run_after: at(5),
                counts: true,
            };
            store.retry(fence, retry, at(5)).await?;
            expected.push((claim.job.spec.kind(), "cancelled"));
            continue;
        }
        store.finish(fence, Seq(1), Outcome::without_process(ending, "said"), at(5)).await?;
        expected.push((claim.job.spec.kind(), JobStatus::from(ending).as_str()));
    }
    let told = read_all(store, begin).await?;
    let accepted: Vec<_> =
        told.iter().filter(|told| status(told) == "pending").map(|told| told.kind).collect();
    assert_eq!(accepted, jobs.iter().map(|job| job.spec.kind()).collect::<Vec<_>>());
    let ends = told.iter().filter(|told| told.is_last());
    assert_eq!(ends.map(|told| (told.kind, status(told))).collect::<Vec<_>>(), expected);
    Ok(())
}

/// A task that was reopened has ended twice, whenever the entries are read.
pub async fn every_end_of_a_task_is_read(store: &impl Store) -> Result<()> {
    let begin = store.open(FIRST, at(0)).await?;
    let claim = run_task(store, 1, "slot-1").await?;
    fail_task(store, &claim, 1).await?;
    let statuses = async || Result::Ok(read_all(store, begin).await?.iter().map(status).collect::<Vec<_>>());
    assert_eq!(statuses().await?, ["pending", "running", "failed"]);
    store.reopen(&Target::Pool, &claim.fence.id, None, at(10)).await?.expect("it has ended");
    assert_eq!(statuses().await?, ["pending", "running", "failed", "retry"]);
    let again = claim_all(store, 11).await?.remove(0);
    start(store, &again.fence, "pod-1", Some(&slot("slot-1")), at(11)).await?;
    store.finish(&again.fence, Seq(2), completed(), at(12)).await?;
    assert_eq!(statuses().await?, ["pending", "running", "failed", "retry", "running", "completed"]);
    Ok(())
}

/// The wait of a job comes with its end: from when it could have started, to its last start. Where it never started, or was
/// reopened since, there is none.
pub async fn an_end_has_the_wait_of_its_job(store: &impl Store) -> Result<()> {
    let begin = store.open(FIRST, at(0)).await?;
    let waits = async || {
        let entries = batch(store, FIRST, begin, ALL).await?.entries;
        let ends = entries.into_iter().filter(|followed| {
            let is_former_end = matches!(followed.entry.body, EntryBody::FormerEnd(_));
            followed.waited.is_some() || followed.entry.is_last() || is_former_end
        });
        Result::Ok(ends.map(|followed| (followed.entry.job, followed.waited)).collect::<Vec<_>>())
    };
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let command = enqueue(store, 1).await?;
    let fence = claim(store, 3).await?;
    start(store, &fence, "pod-1", None, at(4)).await?;
    assert_eq!(waits().await?, []);
    finish_at(store, &fence, 9).await?;

    let cancelled = enqueue(store, 2).await?;
    store.request_cancel(&demo(), &cancelled.id, None, at(9)).await?.expect("it is stored");

    // Accepted at 0, to run not before 10, and again not before 20.
    let schedule = Schedule { run_after: Some(at(10)), max_attempts: 2, ..Schedule::default() };
    let task = Job { schedule, ..task(TaskKind::Test, 3) };
    store.enqueue(&task, None).await?;
    let claimed = claim_all(store, 10).await?.remove(0);
    start(store, &claimed.fence, "pod-1", Some(&slot("slot-1")), at(12)).await?;
    let (reason, error) = ("exit_code".to_owned(), "exit_code: 1".to_owned());
    store.retry(&claimed.fence, Retry { reason, error, run_after: at(20), counts: true }, at(13)).await?;
    let claimed = claim_all(store, 20).await?.remove(0);
    start(store, &claimed.fence, "pod-1", Some(&slot("slot-1")), at(25)).await?;
    fail_task(store, &claimed, 1).await?;
    let first_two = [(command.id, seconds(4)), (cancelled.id, None)];
    let expected = |end| [&first_two[..], &[(task.id.clone(), end)]].concat();
    assert_eq!(waits().await?, expected(seconds(5)));

    store.reopen(&Target::Pool, &task.id, None, at(30)).await?.expect("it has ended");
    let again = claim_all(store, 31).await?.remove(0);
    start(store, &again.fence, "pod-1", Some(&slot("slot-1")), at(37)).await?;
    assert_eq!(waits().await?, expected(None));
    Ok(())
}
