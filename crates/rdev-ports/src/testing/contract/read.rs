use rdev_domain::{Job, Position, Result, Seq};

use super::Store;
use super::steps::*;
use crate::testing::{id, job, new_job, target};
use crate::{Retry, Unfinished};

/// A command is seen in its own project, and in no other.
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
    store.enqueue(new_job(expected.clone())).await?;
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
    store.enqueue(new_job(job("other", 3))).await?;
    let page = |jobs: Vec<Job>| jobs.into_iter().map(|c| c.id).collect::<Vec<_>>();
    let first = page(store.jobs(&demo(), None, 3).await?);
    assert_eq!(first, [5, 4, 2].map(|n| job("demo", n).id));
    let second = page(store.jobs(&demo(), first.last(), 3).await?);
    assert_eq!(second, [job("demo", 1).id]);
    assert!(store.jobs(&demo(), second.last(), 3).await?.is_empty());
    assert!(store.jobs(&target("empty"), None, 3).await?.is_empty());
    Ok(())
}

/// Commands of all homes that wait or run are told, with their attempts. One that has ended, and one that
/// nobody has stored, are not.
pub async fn of_many_commands_the_unfinished_are_told(store: &impl Store) -> Result<()> {
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
    store.enqueue(new_job(pending.clone())).await?;
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

/// A store that can be written says so, however many ask at once, and shows nothing of how it found out.
pub async fn a_store_that_can_be_written_is_sound(store: &impl Store) -> Result<()> {
    store.enqueue(new_job(job("demo", 1))).await?;
    let before = (store.jobs(&demo(), None, 9).await?, store.last(&demo(), Position::MAX).await?);
    for done in futures_util::future::join_all((0..20).map(|_| store.check())).await {
        done?;
    }
    assert_eq!((store.jobs(&demo(), None, 9).await?, store.last(&demo(), Position::MAX).await?), before);
    Ok(())
}
