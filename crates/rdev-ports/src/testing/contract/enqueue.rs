use rdev_domain::{EntryBody, JobStatus, Position, Result, Seq};

use super::Store;
use super::steps::*;
use crate::testing::{id, job, new_job, target};

/// The command is stored as it was given, with an entry that says that it is pending.
pub async fn an_accepted_command_is_stored_as_pending(store: &impl Store) -> Result<()> {
    let job = job("demo", 1);
    let entry = entry_of(store.enqueue(new_job(job.clone())).await?);
    assert!(entry.position > Position::ZERO);
    assert_eq!(entry.body, EntryBody::Status(JobStatus::Pending));
    assert_eq!((entry.first_seq, entry.last_seq), (Seq::ZERO, Seq::ZERO));
    assert_eq!((&entry.job, &entry.stream), (&job.id, &job.stream));
    assert_eq!((&entry.target, entry.at), (&job.target(), job.created_at));
    assert_eq!(log(store).await?, [entry]);
    assert_eq!(stored(store, &job.id).await?, job);
    Ok(())
}

/// A second command on a stream of the project is refused.
pub async fn a_stream_name_is_taken_once_in_a_project(store: &impl Store) -> Result<()> {
    let first = enqueue(store, 1).await?;
    let mut second = job("demo", 2);
    second.stream = first.stream;
    assert_conflict(store.enqueue(new_job(second)).await, "STREAM_ID_TAKEN");
    Ok(())
}

/// What was refused is not in the queue, not in the log and never claimed.
pub async fn a_refused_command_leaves_nothing_behind(store: &impl Store) -> Result<()> {
    let first = enqueue(store, 1).await?;
    let mut second = job("demo", 2);
    second.stream = first.stream.clone();
    assert!(store.enqueue(new_job(second.clone())).await.is_err());
    assert_eq!(store.job(&demo(), &second.id).await?, None);
    assert_eq!(log(store).await?.len(), 1);
    assert_eq!(ids(&claim_all(store, 0).await?), [first.id]);
    Ok(())
}

/// Stream names are unique in their project only.
pub async fn a_stream_name_is_free_in_another_project(store: &impl Store) -> Result<()> {
    for (project, n) in [("demo", 1), ("other", 2)] {
        let mut job = job(project, n);
        job.stream = id("nightly");
        entry_of(store.enqueue(new_job(job)).await?);
    }
    for (project, n) in [("demo", 1), ("other", 2)] {
        let found = store.job_of_stream(&target(project), &id("nightly")).await?;
        assert_eq!(found.map(|found| found.id), Some(job(project, n).id));
    }
    Ok(())
}
