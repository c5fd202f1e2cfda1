//! Promises of [`OperationSteps`], [`Operations`] and
//! [`ProjectRecords`], and of the queue about operations.
//! [`operations_contract!`](crate::operations_contract) makes a test of each.

use rdev_domain::{
    Conflict, Ending, Entry, EntryBody, Error, Job, JobId, JobSpec, Made, OnFailure, OperationRequest,
    OperationStatus, OperationStep, Outcome, Position, Reason, Result, Seq, StepError, StepErrorCode,
    StepEvent, StepName, StepStatus, Target, TaskKind,
};

use crate::testing::contract::steps::*;
use crate::testing::{id, idempotency_key, job, log_of, operation, slots, target, task};
use crate::{
    Artefacts, ClaimLimits, Enqueued, EventLog, Fence, JobFilter, OperationSteps, Operations, ProjectRecords,
    Reopened, StepReport, TaskLeases, TaskQueue,
};

/// Store under test; clones share their data. Operations are jobs, and their changes are entries of the log.
pub trait Store:
    OperationSteps + Operations + ProjectRecords + TaskLeases + TaskQueue + EventLog + Artefacts + Clone + 'static
{
}

impl<S> Store for S where
    S: OperationSteps
        + Operations
        + ProjectRecords
        + TaskLeases
        + TaskQueue
        + EventLog
        + Artefacts
        + Clone
        + 'static
{
}

/// Makes one test of each promise about operations.
///
/// Takes the path of an async function that makes a fresh store, and what must live as long:
/// `async fn fresh() -> (MyStore, TempDir)`.
#[macro_export]
macro_rules! operations_contract {
    ($fresh:path) => {
        $crate::contract_tests! { operations, $fresh;
            an_operation_is_read_back_and_claimed
            operations_and_commands_have_slots_of_their_own
            a_plan_is_stored_once
            each_change_of_a_step_is_an_entry_with_a_number
            a_change_that_comes_again_is_stored_once
            a_stale_claim_changes_no_step
            a_step_changes_only_as_its_state_allows
            one_operation_of_a_project_is_accepted_at_a_time
            callers_at_the_same_time_begin_one_operation
            an_earlier_operation_is_found_by_its_key_or_its_project
            a_retried_operation_goes_on_where_it_stopped
            only_an_operation_that_ended_without_success_is_retried
            a_cancelled_operation_ends_at_once_only_before_its_first_step
            what_has_not_ended_of_a_project_is_found
            the_records_of_a_project_are_removed_and_no_others
        }
    };
}

fn names() -> Vec<StepName> {
    ["workspace", "repository"].map(id).to_vec()
}

fn error(message: &str) -> StepError {
    StepError { code: StepErrorCode::Unavailable, message: message.to_owned() }
}

fn made() -> Made {
    Made::from([("path".to_owned(), "/w/ä \"shop\"".to_owned())])
}

fn creation(project: &str) -> OperationRequest {
    OperationRequest::CreateProject { project: id(project), on_failure: OnFailure::Rollback }
}

/// Stores the `n`th operation, the creation of the project `shop`.
async fn accept(store: &impl Store, n: u64) -> Result<Job> {
    let operation = operation("shop", n);
    store.enqueue(&operation, None).await?;
    Ok(operation)
}

/// Claims and starts the only operation, and stores its plan.
async fn begin(store: &impl Store, now: u64) -> Result<Fence> {
    let fence = claim(store, now).await?;
    start(store, &fence, "", None, at(now)).await?;
    store.plan(&fence, &names()).await?;
    Ok(fence)
}

async fn steps(store: &impl Store, id: &JobId) -> Result<Vec<OperationStep>> {
    let steps = store.steps(std::slice::from_ref(id)).await?;
    assert!(steps.iter().all(|(of, _)| of == id));
    Ok(steps.into_iter().map(|(_, step)| step).collect())
}

fn statuses(steps: &[OperationStep]) -> Vec<StepStatus> {
    steps.iter().map(|step| step.state.status()).collect()
}

async fn end(store: &impl Store, fence: &Fence, seq: u64, ending: Ending, now: u64) -> Result<Entry> {
    store.finish(fence, Seq(seq), Outcome::without_process(ending, "m"), at(now)).await
}

/// An operation is a job of the target of operations, and is claimed like any other job.
pub async fn an_operation_is_read_back_and_claimed(store: &impl Store) -> Result<()> {
    let operation = accept(store, 1).await?;
    assert_eq!(store.job(&Target::Operations, &operation.id).await?.as_ref(), Some(&operation));
    assert_eq!(store.job(&target("shop"), &operation.id).await?, None);
    assert_eq!(
        store.jobs(&Target::Operations, &JobFilter::default(), None, ALL).await?,
        std::slice::from_ref(&operation)
    );
    let claims = store.claim(&worker(), slots(1), at(0), at(LEASE)).await?;
    assert_eq!(claims.iter().map(|claim| &claim.job).collect::<Vec<_>>(), [&operation]);
    Ok(())
}

/// Neither uses the other's limit, however many of the other wait, or have lost their worker.
pub async fn operations_and_commands_have_slots_of_their_own(store: &impl Store) -> Result<()> {
    for n in 1..=3 {
        enqueue(store, n).await?;
        store.enqueue(&operation(&format!("shop-{n}"), n), None).await?;
    }
    let commands = |n| ClaimLimits { commands: n, ..slots(0) };
    let operations = |n| ClaimLimits { operations: n, ..slots(0) };
    let both = ClaimLimits { commands: 2, operations: 1, pool: 0 };
    for (limits, now, expected) in [
        (slots(0), 0, (0, 0)),
        (commands(1), 0, (1, 0)),
        (operations(2), 0, (0, 2)),
        (both, 0, (2, 1)),
        (slots(9), 0, (0, 0)),
        (commands(9), LEASE + 1, (3, 0)),
        (operations(9), LEASE + 1, (0, 3)),
    ] {
        let claims = store.claim(&worker(), limits, at(now), at(now + LEASE)).await?;
        let of_operations = claims.iter().filter(|claim| claim.job.operation().is_some()).count();
        assert_eq!((claims.len() - of_operations, of_operations), expected, "{limits:?} at {now}");
    }
    Ok(())
}

/// The plan of the first call stands, whoever asks again.
pub async fn a_plan_is_stored_once(store: &impl Store) -> Result<()> {
    let operation = accept(store, 1).await?;
    assert!(steps(store, &operation.id).await?.is_empty());
    let fence = claim(store, 0).await?;
    start(store, &fence, "", None, at(0)).await?;
    let planned = store.plan(&fence, &names()).await?;
    let expected: Vec<_> =
        (1..).zip(names()).map(|(number, name)| OperationStep::pending(number, name)).collect();
    assert_eq!(planned, expected);
    assert_eq!(store.plan(&fence, &[id("other")]).await?, expected);
    let next = store.claim(&worker(), slots(1), at(LEASE + 1), at(2 * LEASE)).await?.remove(0).fence;
    assert_eq!(store.plan(&next, &names()).await?, expected);
    assert_lease_lost(store.plan(&fence, &names()).await);
    assert_eq!(steps(store, &operation.id).await?, expected);
    Ok(())
}

/// A change is stored with its entry, whose number follows the last one. The end follows the last change.
pub async fn each_change_of_a_step_is_an_entry_with_a_number(store: &impl Store) -> Result<()> {
    let operation = accept(store, 1).await?;
    let fence = begin(store, 0).await?;
    let events = [
        (1, StepEvent::Start),
        (1, StepEvent::Retry(error("busy"))),
        (1, StepEvent::Done(made())),
        (2, StepEvent::Start),
        (2, StepEvent::Fail(error("broken"))),
    ];
    let mut changes = Vec::new();
    for (seq, (number, event)) in (1..).zip(events) {
        let (step, entry) = store.advance(&fence, number, event, Seq(seq), at(seq)).await?;
        assert_eq!((entry.first_seq, entry.last_seq, entry.at), (Seq(seq), Seq(seq), at(seq)));
        assert_eq!(
            (entry.kind, entry.log_project(), &entry.job),
            (operation.spec.kind(), None, &operation.id)
        );
        assert_eq!(entry.body, EntryBody::Step(step.change()));
        changes.push(entry);
    }
    let stored = steps(store, &operation.id).await?;
    assert_eq!(statuses(&stored), [StepStatus::Done, StepStatus::Failed]);
    assert_eq!((stored[0].attempt, &stored[0].made), (2, &made()));
    assert_eq!((stored[0].started_at, stored[0].ended_at), (Some(at(1)), Some(at(3))));
    assert_eq!(stored[1].state.error(), Some(&error("broken")));
    changes.push(end(store, &fence, 6, Ending::Failed(Reason::RolledBack), 6).await?);
    let mut log = store.read_job(&operation.id, Position::ZERO, ALL).await?;
    log.retain(|entry| !matches!(entry.body, EntryBody::Status(_)));
    assert_eq!(log, changes);
    Ok(())
}

/// A caller whose answer was lost gets it with the same arguments, and nothing is stored twice.
pub async fn a_change_that_comes_again_is_stored_once(store: &impl Store) -> Result<()> {
    let operation = accept(store, 1).await?;
    let fence = begin(store, 0).await?;
    let first = store.advance(&fence, 1, StepEvent::Start, Seq(1), at(1)).await?;
    assert_eq!(store.advance(&fence, 1, StepEvent::Start, Seq(1), at(1)).await?, first);
    let done = store.advance(&fence, 1, StepEvent::Done(made()), Seq(2), at(2)).await?;
    assert_eq!(store.advance(&fence, 1, StepEvent::Done(made()), Seq(2), at(2)).await?, done);
    // Another change has this number.
    assert_lease_lost(store.advance(&fence, 2, StepEvent::Start, Seq(2), at(2)).await);
    assert_lease_lost(store.advance(&fence, 1, StepEvent::Done(made()), Seq(2), at(3)).await);
    let log = store.read_job(&operation.id, Position::ZERO, ALL).await?;
    let changes: Vec<_> = log.into_iter().filter(|entry| matches!(entry.body, EntryBody::Step(_))).collect();
    assert_eq!(changes, [first.1, done.1]);
    Ok(())
}

/// A claim that is not the latest changes nothing, and neither does one whose operation does not run, or has ended.
pub async fn a_stale_claim_changes_no_step(store: &impl Store) -> Result<()> {
    let operation = accept(store, 1).await?;
    let waiting = claim(store, 0).await?;
    store.plan(&waiting, &names()).await?;
    assert_lease_lost(store.advance(&waiting, 1, StepEvent::Start, Seq(1), at(1)).await);
    start(store, &waiting, "", None, at(1)).await?;
    store.advance(&waiting, 1, StepEvent::Start, Seq(1), at(1)).await?;
    let fence = claim(store, LEASE + 1).await?;
    assert_lease_lost(store.advance(&waiting, 1, StepEvent::Done(made()), Seq(2), at(2)).await);
    // A number that does not follow the last one.
    assert_lease_lost(store.advance(&fence, 1, StepEvent::Start, Seq(3), at(LEASE + 1)).await);
    store.advance(&fence, 1, StepEvent::Start, Seq(2), at(LEASE + 1)).await?;
    end(store, &fence, 3, Ending::Failed(Reason::Stuck), LEASE + 2).await?;
    assert_lease_lost(store.advance(&fence, 1, StepEvent::Done(made()), Seq(4), at(LEASE + 2)).await);
    assert_lease_lost(store.plan(&fence, &names()).await);
    let stored = steps(store, &operation.id).await?;
    assert_eq!(statuses(&stored), [StepStatus::Running, StepStatus::Pending]);
    assert_eq!(stored[0].attempt, 2);
    Ok(())
}

/// An event that cannot happen in a step's state stores nothing; nor does one of a step that is not there.
pub async fn a_step_changes_only_as_its_state_allows(store: &impl Store) -> Result<()> {
    let operation = accept(store, 1).await?;
    let fence = begin(store, 0).await?;
    for (number, event) in [(1, StepEvent::Done(made())), (2, StepEvent::Undone), (3, StepEvent::Start)] {
        let refused = store.advance(&fence, number, event, Seq(1), at(1)).await;
        assert!(matches!(refused, Err(Error::Internal(_))), "{refused:?}");
    }
    assert_eq!(statuses(&steps(store, &operation.id).await?), [StepStatus::Pending; 2]);
    store.advance(&fence, 1, StepEvent::Start, Seq(1), at(1)).await?;
    Ok(())
}

/// While an operation of a project has not ended, the same request gets it, and any other is refused.
pub async fn one_operation_of_a_project_is_accepted_at_a_time(store: &impl Store) -> Result<()> {
    let first = accept(store, 1).await?;
    // The same call again, whose answer was lost.
    assert!(matches!(store.enqueue(&first, None).await?, Enqueued::New(_)));
    match store.enqueue(&operation("shop", 2), None).await? {
        Enqueued::Existing(job) => assert_eq!(*job, first),
        Enqueued::New(entry) => panic!("{entry:?}"),
    }
    let request = |request| Job { spec: JobSpec::Operation(request), ..operation("shop", 3) };
    let keep = OperationRequest::CreateProject { project: id("shop"), on_failure: OnFailure::Keep };
    let delete = OperationRequest::DeleteProject { project: id("shop") };
    for other in [keep, delete.clone()] {
        assert_conflict(store.enqueue(&request(other), None).await, Conflict::OperationInProgress);
    }
    store.enqueue(&operation("other", 4), None).await?;
    let fence = begin(store, 0).await?;
    assert_eq!(fence.id, first.id);
    end(store, &fence, 1, Ending::Completed, 1).await?;
    assert!(matches!(store.enqueue(&request(delete), None).await?, Enqueued::New(_)));
    Ok(())
}

/// One of the callers who ask for the same at the same moment begins the operation, and all get it, also by the key of
/// each after its end.
pub async fn callers_at_the_same_time_begin_one_operation(store: &impl Store) -> Result<()> {
    let caller = |n: u64| idempotency_key("key-1", &format!("caller-{n}"), 1);
    let asked: Vec<_> = (1..=8)
        .map(|n| {
            let store = store.clone();
            let key = caller(n);
            tokio::spawn(async move { store.enqueue(&operation("shop", n), Some(&key)).await })
        })
        .collect();
    let mut began = 0;
    for asked in asked {
        began += usize::from(matches!(asked.await.expect("it does not panic")?, Enqueued::New(_)));
    }
    let stored = store.jobs(&Target::Operations, &JobFilter::default(), None, ALL).await?;
    assert_eq!((began, stored.len()), (1, 1));
    let fence = begin(store, 0).await?;
    end(store, &fence, 1, Ending::Completed, 1).await?;
    for n in 1..=8 {
        let earlier = store.earlier(&creation("shop"), Some(&caller(n)), at(2)).await?;
        assert_eq!(earlier.map(|job| job.id).as_ref(), Some(&stored[0].id), "{n}");
        match store.enqueue(&operation("shop", 20 + n), Some(&caller(n))).await? {
            Enqueued::Existing(job) => assert_eq!(job.id, stored[0].id),
            Enqueued::New(entry) => panic!("{entry:?}"),
        }
    }
    Ok(())
}

/// A request finds what it has begun, or joined: by its idempotency key also after the end.
pub async fn an_earlier_operation_is_found_by_its_key_or_its_project(store: &impl Store) -> Result<()> {
    let shop = creation("shop");
    let key = |request| idempotency_key("key-1", "a", request);
    let joining = idempotency_key("key-1", "b", 1);
    assert_eq!(store.earlier(&shop, Some(&key(1)), at(0)).await?, None);
    let first = operation("shop", 1);
    store.enqueue(&first, Some(&key(1))).await?;
    for (project, idempotency, found) in [
        ("shop", None, true),
        ("shop", Some(key(1)), true),
        ("other", None, false),
        ("other", Some(key(1)), true),
    ] {
        let earlier = store.earlier(&creation(project), idempotency.as_ref(), at(1)).await?;
        assert_eq!(earlier.map(|job| job.id), found.then(|| first.id.clone()), "{project}");
    }
    assert_conflict(store.earlier(&shop, Some(&key(2)), at(1)).await, Conflict::IdempotencyKeyReused);
    // A request for something else joins nothing, and its key stays free.
    let other = OperationRequest::DeleteProject { project: id("shop") };
    let of_other = idempotency_key("key-1", "c", 2);
    assert!(store.earlier(&other, Some(&of_other), at(1)).await?.is_some());
    assert!(store.earlier(&shop, Some(&joining), at(1)).await?.is_some());
    let fence = begin(store, 0).await?;
    end(store, &fence, 1, Ending::Completed, 1).await?;
    assert_eq!(store.earlier(&shop, None, at(2)).await?, None);
    assert_eq!(store.earlier(&other, Some(&of_other), at(2)).await?, None);
    for known in [key(1), joining] {
        let ended = store.earlier(&shop, Some(&known), at(2)).await?.expect("the key is known");
        assert_eq!(OperationStatus::of(&ended.state), OperationStatus::Completed);
    }
    Ok(())
}

/// Failed steps are made again, stuck ones are taken back again; the log keeps the former end, and its numbers go on.
pub async fn a_retried_operation_goes_on_where_it_stopped(store: &impl Store) -> Result<()> {
    let operation = accept(store, 1).await?;
    let fence = begin(store, 0).await?;
    let events = [
        (1, StepEvent::Start),
        (1, StepEvent::Done(made())),
        (2, StepEvent::Start),
        (2, StepEvent::Fail(error("broken"))),
    ];
    for (seq, (number, event)) in (1..).zip(events) {
        store.advance(&fence, number, event, Seq(seq), at(seq)).await?;
    }
    end(store, &fence, 5, Ending::Failed(Reason::Degraded), 5).await?;
    let key = idempotency_key("key-1", "again", 1);
    let reopened = store.reopen(&Target::Operations, &operation.id, Some(&key), at(6)).await?;
    assert!(matches!(reopened, Some(Reopened::New(..))), "{reopened:?}");
    let again = store.reopen(&Target::Operations, &operation.id, Some(&key), at(7)).await?;
    assert!(matches!(again, Some(Reopened::Existing(_))), "{again:?}");
    let stored = steps(store, &operation.id).await?;
    assert_eq!(statuses(&stored), [StepStatus::Done, StepStatus::Pending]);
    assert_eq!((&stored[0].made, stored[1].attempt), (&made(), 0));
    let fence = begin(store, 8).await?;
    let claimed = store.advance(&fence, 2, StepEvent::Start, Seq(6), at(8)).await?;
    assert_eq!(claimed.0.attempt, 1);
    store.advance(&fence, 2, StepEvent::Undo, Seq(7), at(9)).await?;
    store.advance(&fence, 2, StepEvent::Stick(error("left")), Seq(8), at(10)).await?;
    end(store, &fence, 9, Ending::Failed(Reason::Stuck), 11).await?;
    store.reopen(&Target::Operations, &operation.id, None, at(12)).await?;
    assert_eq!(statuses(&steps(store, &operation.id).await?), [StepStatus::Done, StepStatus::Undoing]);
    let log = store.read_job(&operation.id, Position::ZERO, ALL).await?;
    let former: Vec<_> = log
        .iter()
        .filter(|entry| matches!(entry.body, EntryBody::FormerEnd(_)))
        .map(|entry| entry.last_seq.0)
        .collect();
    assert_eq!(former, [5, 9]);
    Ok(())
}

/// An operation that runs, or has completed, is not retried; nor is one beside another of its project, or before a later
/// one that has completed: the project may be a new one of the same name.
pub async fn only_an_operation_that_ended_without_success_is_retried(store: &impl Store) -> Result<()> {
    let first = accept(store, 1).await?;
    let retried = async |id| store.reopen(&Target::Operations, id, None, at(9)).await;
    assert_conflict(retried(&first.id).await, Conflict::OperationNotRetryable);
    assert!(store.reopen(&Target::Pool, &first.id, None, at(9)).await?.is_none());
    assert!(store.reopen(&target("shop"), &first.id, None, at(9)).await?.is_none());
    let fence = begin(store, 0).await?;
    assert_conflict(retried(&first.id).await, Conflict::OperationNotRetryable);
    end(store, &fence, 1, Ending::Failed(Reason::RolledBack), 1).await?;
    accept(store, 2).await?;
    assert_conflict(retried(&first.id).await, Conflict::OperationInProgress);
    let fence = begin(store, 2).await?;
    end(store, &fence, 1, Ending::Completed, 3).await?;
    assert_conflict(retried(&fence.id).await, Conflict::OperationNotRetryable);
    assert_conflict(retried(&first.id).await, Conflict::OperationNotRetryable);
    let third = accept(store, 3).await?;
    let fence = begin(store, 4).await?;
    end(store, &fence, 1, Ending::Failed(Reason::RolledBack), 5).await?;
    // Neither what came before, nor another project, is in the way.
    let other = operation("other", 4);
    store.enqueue(&other, None).await?;
    let fence = begin(store, 6).await?;
    end(store, &fence, 1, Ending::Completed, 7).await?;
    assert!(retried(&third.id).await?.is_some());
    Ok(())
}

/// An operation that was never started ends at once; one that is retried has something to take back first.
pub async fn a_cancelled_operation_ends_at_once_only_before_its_first_step(store: &impl Store) -> Result<()> {
    let first = accept(store, 1).await?;
    let cancelled =
        store.request_cancel(&Target::Operations, &first.id, None, at(1)).await?.expect("it is there");
    assert!(cancelled.entry.is_some() && cancelled.job.state.is_ended());
    let second = accept(store, 2).await?;
    let fence = begin(store, 2).await?;
    store.advance(&fence, 1, StepEvent::Start, Seq(1), at(2)).await?;
    store.advance(&fence, 1, StepEvent::Done(made()), Seq(2), at(2)).await?;
    end(store, &fence, 3, Ending::Failed(Reason::Degraded), 3).await?;
    store.reopen(&Target::Operations, &second.id, None, at(4)).await?;
    let cancelled =
        store.request_cancel(&Target::Operations, &second.id, None, at(5)).await?.expect("it is there");
    assert!(cancelled.entry.is_none() && !cancelled.job.state.is_ended());
    let fence = claim(store, 6).await?;
    assert!(start(store, &fence, "", None, at(6)).await?.cancel_requested);
    Ok(())
}

/// Stores the `n`th task of the pool, done for a project.
async fn task_for(store: &impl Store, project: &str, n: u64) -> Result<Job> {
    let mut job = task(TaskKind::Test, n);
    if let JobSpec::Task(work) = &mut job.spec {
        work.project = Some(id(project));
    }
    store.enqueue(&job, None).await?;
    Ok(job)
}

/// Commands and tasks count, operations do not, and neither does what has ended.
pub async fn what_has_not_ended_of_a_project_is_found(store: &impl Store) -> Result<()> {
    let demo = id("demo");
    let ended = run(store, 1).await?;
    store.finish(&ended, Seq(1), completed(), at(1)).await?;
    let command = enqueue(store, 2).await?;
    let task = task_for(store, "demo", 3).await?;
    store.enqueue(&job("other", 4), None).await?;
    store.enqueue(&operation("demo", 5), None).await?;
    let found = [(self::demo(), command.id), (Target::Pool, task.id)];
    assert_eq!(store.unfinished_of(&demo, ALL).await?, found);
    assert_eq!(store.unfinished_of(&demo, 1).await?, found[..1]);
    assert!(store.unfinished_of(&id("nobody"), ALL).await?.is_empty());
    Ok(())
}

/// Commands and tasks of the project go with their entries and keys; what others have, and operations, stay.
pub async fn the_records_of_a_project_are_removed_and_no_others(store: &impl Store) -> Result<()> {
    let demo = id("demo");
    let key = idempotency_key("key-1", "a", 1);
    store.enqueue(&job("demo", 1), Some(&key)).await?;
    let others = job("other", 2);
    store.enqueue(&others, None).await?;
    let task = task_for(store, "demo", 3).await?;
    let operation = operation("demo", 4);
    store.enqueue(&operation, None).await?;
    for claim in claim_all(store, 0).await? {
        let pool = claim.job.spec.is_task().then(|| slot("slot-1"));
        start(store, &claim.fence, "pod-1", pool.as_ref(), at(1)).await?;
        store.finish(&claim.fence, Seq(1), completed(), at(2)).await?;
    }
    // The keys of requests about a job go, too: their answers show what it is.
    let cancel = idempotency_key("key-1", "b", 2);
    store.request_cancel(&self::demo(), &job("demo", 1).id, Some(&cancel), at(3)).await?;
    let retry = idempotency_key("key-1", "c", 3);
    store.reopen(&Target::Pool, &task.id, Some(&retry), at(3)).await?;
    store.request_cancel(&Target::Pool, &task.id, None, at(3)).await?;
    // More than one step removes.
    for n in 10..80 {
        let job = Job { created_at: at(3), ..job("demo", n) };
        store.enqueue(&job, None).await?;
        store.request_cancel(&self::demo(), &job.id, None, at(3)).await?;
    }
    assert_eq!(store.remove_keys(&id("other")).await?, 0);
    assert_eq!(store.remove_keys(&demo).await?, 3);
    assert_eq!(store.remove_keys(&demo).await?, 0);
    let mut steps: Vec<StepReport> = Vec::new();
    while steps.last().is_none_or(|step| step.more) {
        steps.push(store.remove_records(&demo, at(4)).await?);
        assert!(steps.len() < 100, "it comes to an end");
    }
    assert_eq!(steps.iter().map(|step| step.done).sum::<u64>(), 72);
    assert!(store.jobs(&self::demo(), &JobFilter::default(), None, ALL).await?.is_empty());
    assert!(log(store).await?.is_empty());
    assert_eq!(store.job(&Target::Pool, &task.id).await?, None);
    assert!(store.job(&target("other"), &others.id).await?.is_some());
    assert!(store.job(&Target::Operations, &operation.id).await?.is_some());
    assert!(store.pruned(&log_of("demo")).await? > Position::ZERO);
    assert!(matches!(store.enqueue(&job("demo", 90), Some(&key)).await?, Enqueued::New(_)));
    Ok(())
}
