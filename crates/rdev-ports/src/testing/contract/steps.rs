//! Steps that the promises are made of. Unless they say otherwise, they work on the project `demo`.

use std::fmt::Debug;
use std::time::Duration;

use rdev_domain::{
    Conflict, Ending, Entry, Error, Job, JobId, Outcome, Position, Reason, Result, Seq, Target, TaskKind,
    Timestamp, WorkerId,
};

use crate::testing::{START, agent, id, job, log_of, slots, target, task};
use crate::{
    Claim, ClaimLimits, Enqueued, EventLog, Fence, Slot, StartAnswer, Started, TaskLeases, TaskQueue,
};

/// Length of leases, in seconds.
pub(super) const LEASE: u64 = 30;
/// Number of entries or jobs that no test reaches.
pub(super) const ALL: u32 = 1000;

/// Returns a time, in seconds after the start of the test.
pub(super) fn at(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

pub(super) fn demo() -> Target {
    target("demo")
}

pub(super) fn worker() -> WorkerId {
    id("worker-1")
}

/// Returns the first slot of a worker.
pub(super) fn slot(worker: &str) -> Slot {
    Slot { worker: id(worker), number: 0 }
}

/// Stores the `n`th command.
pub(super) async fn enqueue(store: &impl TaskQueue, n: u64) -> Result<Job> {
    let job = job("demo", n);
    store.enqueue(&job, None).await?;
    Ok(job)
}

/// Stores the `n`th command as a Claude command, whose concurrency key is the workspace of a project.
pub(super) async fn enqueue_agent(store: &impl TaskQueue, project: &str, n: u64) -> Result<Job> {
    let job = agent(project, n);
    store.enqueue(&job, None).await?;
    Ok(job)
}

/// Returns the entry of a job that was stored just now.
pub(super) fn entry_of(enqueued: Enqueued) -> Entry {
    match enqueued {
        Enqueued::New(entry) => entry,
        Enqueued::Existing(job) => panic!("{} was stored before", job.id),
    }
}

/// Claims everything that can be claimed `now` seconds after the start.
pub(super) async fn claim_all(store: &impl TaskLeases, now: u64) -> Result<Vec<Claim>> {
    store.claim(&worker(), slots(ALL), at(now), at(now + LEASE)).await
}

/// Claims the oldest command that can be claimed.
pub(super) async fn claim(store: &impl TaskLeases, now: u64) -> Result<Fence> {
    let mut claims = store.claim(&worker(), slots(1), at(now), at(now + LEASE)).await?;
    Ok(claims.pop().expect("there is something to claim").fence)
}

pub(super) fn ids(claims: &[Claim]) -> Vec<JobId> {
    claims.iter().map(|claim| claim.fence.id.clone()).collect()
}

/// Stores the `n`th command, claims and starts it.
pub(super) async fn run(store: &(impl TaskQueue + TaskLeases), n: u64) -> Result<Fence> {
    enqueue(store, n).await?;
    let fence = claim(store, 0).await?;
    start(store, &fence, "pod-1", None, at(0)).await?;
    Ok(fence)
}

/// Starts a claimed job, in a slot that is free.
pub(super) async fn start(
    store: &impl TaskLeases,
    fence: &Fence,
    pod_uid: &str,
    slot: Option<&Slot>,
    now: Timestamp,
) -> Result<Started> {
    match store.start(fence, pod_uid, slot, now).await? {
        StartAnswer::Started(started) => Ok(*started),
        StartAnswer::SlotTaken => panic!("{slot:?} is occupied"),
    }
}

pub(super) async fn enqueue_task(store: &impl TaskQueue, kind: TaskKind, n: u64) -> Result<Job> {
    let task = task(kind, n);
    store.enqueue(&task, None).await?;
    Ok(task)
}

/// Stores the `n`th task, claims it, and starts it in a worker.
pub(super) async fn run_task(store: &(impl TaskQueue + TaskLeases), n: u64, worker: &str) -> Result<Claim> {
    enqueue_task(store, TaskKind::Test, n).await?;
    let of_pool = ClaimLimits { pool: 1, ..slots(0) };
    let claim = store.claim(&self::worker(), of_pool, at(0), at(LEASE)).await?.remove(0);
    start(store, &claim.fence, "pod-1", Some(&slot(worker)), at(5)).await?;
    Ok(claim)
}

pub(super) async fn fail_task(store: &impl TaskLeases, claim: &Claim, seq: u64) -> Result<Entry> {
    let outcome = Outcome {
        exit_code: Some(2),
        ..Outcome::without_process(Ending::Failed(Reason::ExitCode), "step 2 failed")
    };
    store.finish(&claim.fence, Seq(seq), outcome, at(9)).await
}

pub(super) async fn the_task(store: &impl TaskQueue, id: &JobId) -> Result<Job> {
    Ok(store.job(&Target::Pool, id).await?.expect("the task is stored"))
}

/// Ends a job that has said nothing after its last stored event, so many seconds after the start.
pub(super) async fn finish_at(
    store: &(impl TaskLeases + EventLog),
    fence: &Fence,
    seconds: u64,
) -> Result<Entry> {
    let last = store.last_seq(&fence.id).await?.unwrap_or(Seq::ZERO);
    store.finish(fence, last.next(), completed(), at(seconds)).await
}

pub(super) fn completed() -> Outcome {
    Outcome {
        ending: Ending::Completed,
        exit_code: Some(0),
        message: None,
        duration: Duration::from_millis(1500),
    }
}

/// Returns a command as the store has it.
pub(super) async fn stored(store: &impl TaskQueue, id: &JobId) -> Result<Job> {
    let job = store.job(&demo(), id).await?;
    Ok(job.expect("the command is stored"))
}

/// Returns every entry of the project.
pub(super) async fn log(store: &impl EventLog) -> Result<Vec<Entry>> {
    store.read_view(&log_of("demo"), Position::ZERO, ALL).await
}

pub(super) fn assert_conflict<T: Debug>(result: Result<T>, expected: Conflict) {
    match result {
        Err(Error::Conflict { conflict, .. }) => assert_eq!(conflict, expected),
        other => panic!("{expected:?} was expected: {other:?}"),
    }
}

pub(super) fn assert_lease_lost<T: Debug>(result: Result<T>) {
    assert!(matches!(result, Err(Error::LeaseLost)), "LeaseLost was expected: {result:?}");
}
