use rdev_domain::{Ending, EntryBody, JobId, JobState, JobStatus, Result, Seq};

use super::Store;
use super::steps::*;
use crate::CancelRequested;
use crate::testing::{job, target};

async fn ask(store: &impl Store, job: &JobId, now: u64) -> Result<CancelRequested> {
    let asked = store.request_cancel(&demo(), job, None, at(now)).await?;
    Ok(asked.expect("the project has the command"))
}

/// The command is flagged, and otherwise as it was.
async fn assert_only_asked(store: &impl Store, job: &JobId, status: JobStatus) -> Result<()> {
    let entries = log(store).await?;
    let asked = ask(store, job, 1).await?;
    assert!(asked.entry.is_none());
    assert!(asked.job.cancel_requested);
    assert_eq!(asked.job.state.status(), status);
    assert_eq!(stored(store, job).await?, asked.job);
    assert_eq!(log(store).await?, entries);
    Ok(())
}

async fn assert_ends_at_once(store: &impl Store, job: &JobId, now: u64) -> Result<()> {
    let asked = ask(store, job, now).await?;
    let entry = asked.entry.expect("a complete entry");
    assert_eq!((entry.first_seq, entry.last_seq, entry.at), (Seq(1), Seq(1), at(now)));
    assert_eq!(log(store).await?.last(), Some(&entry));
    let JobState::Ended { started_at: None, ended_at, outcome } = &asked.job.state else {
        panic!("it has not ended, or was started: {:?}", asked.job.state);
    };
    assert_eq!((*ended_at, outcome.ending), (at(now), Ending::Cancelled));
    assert_eq!(entry.body, EntryBody::Complete(outcome.clone()));
    assert_eq!(stored(store, job).await?, asked.job);
    Ok(())
}

/// A command that nobody has claimed ends with the request; its complete entry is event 1.
pub async fn a_waiting_command_is_cancelled_at_once(store: &impl Store) -> Result<()> {
    let waiting = enqueue(store, 1).await?;
    assert_ends_at_once(store, &waiting.id, 5).await
}

/// A worker that died before the start is nobody; should it live, its claim is worthless.
pub async fn a_command_whose_lease_ran_out_is_cancelled_at_once(store: &impl Store) -> Result<()> {
    let waiting = enqueue(store, 1).await?;
    let late = claim(store, 0).await?;
    assert_ends_at_once(store, &waiting.id, LEASE + 1).await?;
    assert_lease_lost(store.start(&late, "pod-1", None, at(LEASE + 1)).await);
    Ok(())
}

/// Nobody works on it, so nobody else could end it.
pub async fn a_postponed_command_is_cancelled_at_once(store: &impl Store) -> Result<()> {
    enqueue(store, 1).await?;
    let fence = claim(store, 0).await?;
    store.postpone(&fence, at(10)).await?;
    let asked = ask(store, &fence.id, 1).await?;
    assert_eq!(asked.job.state.status(), JobStatus::Cancelled);
    assert!(asked.entry.is_some());
    Ok(())
}

/// A claimed command is its worker's to end.
pub async fn a_leased_command_is_only_asked_to_end(store: &impl Store) -> Result<()> {
    let leased = enqueue(store, 1).await?;
    claim(store, 0).await?;
    assert_only_asked(store, &leased.id, JobStatus::Pending).await
}

/// What runs is ended by its next worker, even when it has none just now.
pub async fn a_running_command_is_only_asked_to_end(store: &impl Store) -> Result<()> {
    let watched = run(store, 1).await?;
    assert_only_asked(store, &watched.id, JobStatus::Running).await?;
    let unwatched = run(store, 2).await?;
    store.release(std::slice::from_ref(&unwatched)).await?;
    assert_only_asked(store, &unwatched.id, JobStatus::Running).await
}

/// A second request finds the first one's work, and adds nothing.
pub async fn asking_again_changes_nothing(store: &impl Store) -> Result<()> {
    let running = run(store, 1).await?;
    let first = ask(store, &running.id, 1).await?;
    let entries = log(store).await?;
    let again = ask(store, &running.id, 2).await?;
    assert!(again.entry.is_none());
    assert_eq!(again.job, first.job);
    assert_eq!(log(store).await?, entries);
    Ok(())
}

/// What is over stays as it ended, cancelled or not.
pub async fn asking_an_ended_command_changes_nothing(store: &impl Store) -> Result<()> {
    let finished = run(store, 1).await?;
    store.finish(&finished, Seq(1), completed(), at(1)).await?;
    let cancelled = enqueue(store, 2).await?;
    ask(store, &cancelled.id, 1).await?;
    let entries = log(store).await?;
    for job in [&finished.id, &cancelled.id] {
        let before = stored(store, job).await?;
        let asked = ask(store, job, 2).await?;
        assert!(asked.entry.is_none());
        assert_eq!(asked.job, before);
        assert_eq!(stored(store, job).await?, before);
    }
    assert_eq!(log(store).await?, entries);
    Ok(())
}

/// A command that does not exist, and one of another project, look alike.
pub async fn only_commands_of_the_project_can_be_cancelled(store: &impl Store) -> Result<()> {
    let waiting = enqueue(store, 1).await?;
    let unknown = job("demo", 2).id;
    assert!(store.request_cancel(&demo(), &unknown, None, at(1)).await?.is_none());
    assert!(store.request_cancel(&target("other"), &waiting.id, None, at(1)).await?.is_none());
    assert_eq!(stored(store, &waiting.id).await?, waiting);
    Ok(())
}
