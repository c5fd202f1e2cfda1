//! Jobs are accepted once, and survive.

use rdev_domain::{Conflict, EntryBody, Job, JobStatus, Position, Result, Seq, TaskKind};

use super::Store;
use crate::testing::contract::steps::*;
use crate::testing::{chunk, id, idempotency_key, job, target, task};

/// A command is stored as it was given, with an entry of the status `pending`.
pub async fn an_accepted_command_is_stored_as_pending(store: &impl Store) -> Result<()> {
    let job = job("demo", 1);
    let entry = entry_of(store.enqueue(&job, None).await?);
    assert!(entry.position > Position::ZERO);
    assert_eq!(entry.body, EntryBody::Status(JobStatus::Pending));
    assert_eq!((entry.first_seq, entry.last_seq), (Seq::ZERO, Seq::ZERO));
    assert_eq!((&entry.job, &entry.stream), (&job.id, &job.stream));
    assert_eq!((entry.kind, entry.project.as_ref()), (job.spec.kind(), job.spec.project()));
    assert_eq!(entry.at, job.created_at);
    assert_eq!(log(store).await?, [entry]);
    assert_eq!(stored(store, &job.id).await?, job);
    Ok(())
}

/// A second command on a stream of the project is refused.
pub async fn a_stream_name_is_taken_once_in_a_project(store: &impl Store) -> Result<()> {
    let first = enqueue(store, 1).await?;
    let mut second = job("demo", 2);
    second.stream = first.stream;
    assert_conflict(store.enqueue(&second, None).await, Conflict::StreamIdTaken);
    Ok(())
}

/// A refused command is not in the queue, not in the log, and never claimed.
pub async fn a_refused_command_leaves_nothing_behind(store: &impl Store) -> Result<()> {
    let first = enqueue(store, 1).await?;
    let mut second = job("demo", 2);
    second.stream = first.stream.clone();
    assert!(store.enqueue(&second, None).await.is_err());
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
        entry_of(store.enqueue(&job, None).await?);
    }
    for (project, n) in [("demo", 1), ("other", 2)] {
        let found = store.job_of_stream(&target(project), &id("nightly")).await?;
        assert_eq!(found.map(|found| found.id), Some(job(project, n).id));
    }
    Ok(())
}

/// A command is accepted once under its id, with an idempotency key or without. A repeated call returns the first
/// entry, whatever has happened to the command since.
pub async fn an_accepted_command_that_comes_again_gets_the_first_answer(store: &impl Store) -> Result<()> {
    let key = idempotency_key("key-1", "a", 1);
    for (job, key) in [(job("demo", 1), None), (job("demo", 2), Some(&key)), (task(TaskKind::Shell, 3), None)]
    {
        let first = entry_of(store.enqueue(&job, key).await?);
        assert_eq!(entry_of(store.enqueue(&job, key).await?), first);
        let fence = claim(store, 0).await?;
        start(store, &fence, "pod-1", None, at(1)).await?;
        store.append(&fence, vec![chunk(1, 1)], at(1)).await?;
        assert_eq!(entry_of(store.enqueue(&job, key).await?), first);
        store.finish(&fence, Seq(2), completed(), at(2)).await?;
        assert_eq!(entry_of(store.enqueue(&job, key).await?), first);
        assert_eq!(store.read_job(&fence.id, Position::ZERO, ALL).await?.len(), 4);
    }
    assert!(claim_all(store, LEASE).await?.is_empty(), "each was stored once");
    Ok(())
}

/// A different command with the same stream name or id is refused.
pub async fn another_command_is_not_taken_for_the_first(store: &impl Store) -> Result<()> {
    let first = enqueue(store, 1).await?;
    let of_its_name = Job { stream: first.stream.clone(), ..job("demo", 2) };
    let of_its_id = Job { created_at: at(1), ..first };
    for other in [of_its_name, of_its_id] {
        assert_conflict(store.enqueue(&other, None).await, Conflict::StreamIdTaken);
    }
    assert_eq!(log(store).await?.len(), 1);
    Ok(())
}
