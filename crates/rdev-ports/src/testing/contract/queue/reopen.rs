//! Tasks that have ended are reopened.

use rdev_domain::{
    Conflict, Ending, Entry, EntryBody, Job, JobId, JobState, Outcome, Position, Reason, Result, Retrying,
    Seq, Target, TaskKind,
};

use super::Store;
use crate::testing::contract::steps::*;
use crate::testing::{chunk, idempotency_key, task};
use crate::{Claim, IDEMPOTENCY_KEY_LIFETIME, Occurrence, Reopened};

async fn reopen(store: &impl Store, id: &JobId, now: u64) -> Result<(Job, Entry)> {
    match store.reopen(&Target::Pool, id, None, at(now)).await?.expect("there is such a task") {
        Reopened::New(job, entry) => Ok((*job, entry)),
        Reopened::Existing(job) => panic!("{} was reopened before", job.id),
    }
}

/// The log of a task, as it reads now.
async fn log_of(store: &impl Store, id: &JobId) -> Result<Vec<Entry>> {
    store.read_job(id, Position::ZERO, ALL).await
}

/// Claims and starts the only task that waits.
async fn begin(store: &impl Store, now: u64) -> Result<Claim> {
    let claim = claim_all(store, now).await?.remove(0);
    start(store, &claim.fence, "pod-2", Some(&slot("slot-2")), at(now)).await?;
    Ok(claim)
}

/// A reopened task is pending for one more round, and its stream goes on at the next number.
pub async fn an_ended_task_is_reopened(store: &impl Store) -> Result<()> {
    let first = run_task(store, 1, "slot-1").await?;
    store.append(&first.fence, vec![chunk(1, 3)], at(5)).await?;
    fail_task(store, &first, 4).await?;
    let (reopened, entry) = reopen(store, &first.fence.id, 10).await?;
    assert_eq!(reopened, the_task(store, &first.fence.id).await?);
    assert_eq!((&reopened.state, reopened.cancel_requested), (&JobState::Pending, false));
    assert_eq!((reopened.schedule.attempts, reopened.schedule.attempts_allowed()), (1, 4));
    assert_eq!(reopened.schedule.last_error.as_deref(), Some("exit_code: step 2 failed"));
    let (reason, message) = ("retried".to_owned(), "exit_code: step 2 failed".to_owned());
    assert_eq!(entry.body, EntryBody::Retry(Retrying { attempt: 2, reason, message, counted: false }));
    assert_eq!((entry.first_seq, entry.last_seq, entry.at), (Seq(4), Seq(4), at(10)));

    let claim = claim_all(store, 10).await?.remove(0);
    assert_eq!((claim.last_seq, &claim.job.schedule), (Seq(4), &reopened.schedule));
    assert_eq!(start(store, &claim.fence, "pod-2", Some(&slot("slot-2")), at(11)).await?.attempt, 2);
    let complete = store.finish(&claim.fence, Seq(5), completed(), at(12)).await?;
    assert_eq!(complete.body, EntryBody::Complete(completed()));
    // A success is no error.
    let (again, _) = reopen(store, &first.fence.id, 13).await?;
    assert_eq!(again, the_task(store, &first.fence.id).await?);
    assert_eq!(again.schedule.last_error.as_deref(), Some("exit_code: step 2 failed"));
    Ok(())
}

/// Every round is as long as the first one.
pub async fn every_round_has_as_many_attempts(store: &impl Store) -> Result<()> {
    let first = run_task(store, 1, "slot-1").await?;
    fail_task(store, &first, 1).await?;
    for round in 1..=4 {
        let (reopened, _) = reopen(store, &first.fence.id, 10).await?;
        let schedule = &reopened.schedule;
        assert_eq!((schedule.attempts, schedule.attempts_allowed()), (round, round + 3), "round {round}");
        let claim = begin(store, 10).await?;
        let outcome = Outcome::without_process(Ending::Failed(Reason::ExitCode), "again");
        store.finish(&claim.fence, claim.last_seq.next(), outcome, at(11)).await?;
    }
    Ok(())
}

/// Reopening removes nothing: the end reads as a former one, at its position and under its number, with its own
/// outcome. The log has one end, which is its last entry.
pub async fn a_former_end_stays_in_the_log(store: &impl Store) -> Result<()> {
    let first = run_task(store, 1, "slot-1").await?;
    store.append(&first.fence, vec![chunk(1, 3)], at(5)).await?;
    let end = fail_task(store, &first, 4).await?;
    let before = log_of(store, &first.fence.id).await?;
    assert_eq!(before.last(), Some(&end));
    let EntryBody::Complete(outcome) = &end.body else { panic!("{end:?}") };
    let former = Entry { body: EntryBody::FormerEnd(outcome.clone()), ..end.clone() };
    for seq in [5, 6] {
        let (_, entry) = reopen(store, &first.fence.id, 10).await?;
        let told = log_of(store, &first.fence.id).await?;
        assert_eq!(told[..before.len() - 1], before[..before.len() - 1]);
        assert_eq!((&told[before.len() - 1], told.last()), (&former, Some(&entry)));
        assert!(!told.iter().any(Entry::is_last));

        let claim = begin(store, 11).await?;
        let complete = store.finish(&claim.fence, Seq(seq), completed(), at(12)).await?;
        let told = log_of(store, &first.fence.id).await?;
        assert_eq!((told.iter().filter(|entry| entry.is_last()).count(), told.last()), (1, Some(&complete)));
        assert_eq!(told[before.len() - 1], former);
    }
    Ok(())
}

/// A reader that has a former end goes on after it, and one that has less gets it.
pub async fn reading_goes_on_around_a_former_end(store: &impl Store) -> Result<()> {
    let first = run_task(store, 1, "slot-1").await?;
    store.append(&first.fence, vec![chunk(1, 3)], at(5)).await?;
    let end = fail_task(store, &first, 4).await?;
    let (_, entry) = reopen(store, &first.fence.id, 10).await?;
    assert_eq!(store.last_seq(&first.fence.id).await?, Some(Seq(4)));
    assert!(store.position_of(&first.fence.id, Seq(3)).await? < end.position);
    assert_eq!(store.position_of(&first.fence.id, Seq(4)).await?, entry.position);
    let claim = begin(store, 11).await?;
    let output = store.append(&claim.fence, vec![chunk(5, 6)], at(12)).await?;
    let after = store.position_of(&first.fence.id, Seq(4)).await?;
    assert_eq!(store.read_job(&first.fence.id, after, ALL).await?, output);
    Ok(())
}

/// A task that is cancelled before its next round has an end of its own.
pub async fn a_reopened_task_can_be_cancelled(store: &impl Store) -> Result<()> {
    let first = run_task(store, 1, "slot-1").await?;
    let end = fail_task(store, &first, 1).await?;
    reopen(store, &first.fence.id, 10).await?;
    let asked =
        store.request_cancel(&Target::Pool, &first.fence.id, None, at(11)).await?.expect("it is there");
    let complete = asked.entry.expect("it ends at once");
    assert_eq!(complete.first_seq, end.last_seq.next());
    let ends: Vec<_> = log_of(store, &first.fence.id).await?.into_iter().filter(Entry::is_last).collect();
    assert_eq!(ends, [complete]);
    Ok(())
}

/// Pending and running tasks are not reopened, and no command of a project is.
pub async fn only_ended_tasks_are_reopened(store: &impl Store) -> Result<()> {
    let waiting = enqueue_task(store, TaskKind::Test, 1).await?;
    assert_conflict(store.reopen(&Target::Pool, &waiting.id, None, at(1)).await, Conflict::TaskNotEnded);
    let job = enqueue(store, 2).await?;
    store.request_cancel(&demo(), &job.id, None, at(1)).await?;
    assert!(store.reopen(&Target::Pool, &job.id, None, at(1)).await?.is_none());
    assert!(store.reopen(&Target::Pool, &task(TaskKind::Test, 3).id, None, at(1)).await?.is_none());
    Ok(())
}

/// A repeated request returns the task as it stands, also when it has ended once more.
pub async fn a_task_is_reopened_once_a_key(store: &impl Store) -> Result<()> {
    let key = |value, request| idempotency_key("key-1", value, request);
    let first = run_task(store, 1, "slot-1").await?;
    let id = &first.fence.id;
    // A refusal does not use up the key.
    assert_conflict(store.reopen(&Target::Pool, id, Some(&key("a", 1)), at(8)).await, Conflict::TaskNotEnded);
    fail_task(store, &first, 1).await?;
    let reopened = store.reopen(&Target::Pool, id, Some(&key("a", 1)), at(10)).await?;
    assert!(matches!(reopened, Some(Reopened::New(..))), "{reopened:?}");
    for ended in [false, true] {
        if ended {
            let claim = begin(store, 11).await?;
            store.finish(&claim.fence, Seq(2), completed(), at(12)).await?;
        }
        let (stands, log) = (the_task(store, id).await?, log_of(store, id).await?);
        let again = store.reopen(&Target::Pool, id, Some(&key("a", 1)), at(13)).await?;
        let Some(Reopened::Existing(job)) = again else { panic!("{again:?}") };
        assert_eq!((*job, &stands), (stands.clone(), &the_task(store, id).await?));
        assert_eq!(log_of(store, id).await?, log);
    }
    assert_conflict(
        store.reopen(&Target::Pool, id, Some(&key("a", 2)), at(13)).await,
        Conflict::IdempotencyKeyReused,
    );
    let later = at(11) + IDEMPOTENCY_KEY_LIFETIME;
    for (value, now) in [("b", at(14)), ("a", later)] {
        let reopened = store.reopen(&Target::Pool, id, Some(&key(value, 1)), now).await?;
        assert!(matches!(reopened, Some(Reopened::New(..))), "{value}: {reopened:?}");
        store.request_cancel(&Target::Pool, id, None, now).await?;
    }
    Ok(())
}

/// A repeated cancellation does not affect a round that was requested since.
pub async fn a_task_is_cancelled_once_a_key(store: &impl Store) -> Result<()> {
    let key = idempotency_key("key-1", "a", 1);
    let task = enqueue_task(store, TaskKind::Test, 1).await?;
    let cancel = async |key| {
        let asked = store.request_cancel(&Target::Pool, &task.id, Some(key), at(1)).await?;
        Result::Ok(asked.expect("it is there"))
    };
    assert_eq!(cancel(&key).await?.asked, Occurrence::First);
    reopen(store, &task.id, 2).await?;
    let again = cancel(&key).await?;
    assert_eq!((again.asked, again.entry), (Occurrence::Repeated, None));
    assert_eq!((&again.job.state, again.job.cancel_requested), (&JobState::Pending, false));
    assert_eq!(the_task(store, &task.id).await?, again.job);
    let other =
        store.request_cancel(&Target::Pool, &task.id, Some(&idempotency_key("key-1", "a", 2)), at(3)).await;
    assert_conflict(other, Conflict::IdempotencyKeyReused);
    Ok(())
}
