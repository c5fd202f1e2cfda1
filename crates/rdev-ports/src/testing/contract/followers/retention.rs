//! Retention and the cursors of followers.

use std::time::Duration;

use rdev_domain::{JobId, ProjectId, Result};

use super::{FIRST, SECOND, Store, batch, read_all};
use crate::testing::contract::steps::{ALL, at, demo, finish_at, run};
use crate::testing::id;
use crate::{DELETION_PATIENCE, FOLLOWER_PATIENCE, FollowerGap, JobFilter, PruneRule, Rest, StepReport};

/// Seconds of the patience.
const PATIENCE: u64 = FOLLOWER_PATIENCE.as_secs();

/// Stores the `n`th command, which ends at this time.
async fn ended(store: &impl Store, n: u64, seconds: u64) -> Result<JobId> {
    let fence = run(store, n).await?;
    finish_at(store, &fence, seconds).await?;
    Ok(fence.id)
}

/// Removes what ended before this time, and returns the number of removed jobs.
async fn prune(store: &impl Store, seconds: u64) -> Result<u64> {
    let before = at(seconds);
    let mut done = 0;
    loop {
        let report = store.prune(PruneRule::Ended { before, now: before + Duration::from_secs(1) }).await?;
        done += report.done;
        if !report.more {
            return Ok(done);
        }
    }
}

/// A job stays until every follower has read its end; then it goes, and nobody is told a gap.
pub async fn retention_waits_for_the_slowest_follower(store: &impl Store) -> Result<()> {
    let before = ended(store, 1, 1).await?;
    let begin = store.open(FIRST, at(1)).await?;
    store.open(SECOND, at(1)).await?;
    let after = ended(store, 2, 2).await?;
    // What lay before the cursors goes.
    assert_eq!(prune(store, 1000).await?, 1);
    assert_eq!(store.job(&demo(), &before).await?, None);
    let told = read_all(store, begin).await?;
    let end = told.last().expect("it has ended").position;
    assert!(store.advance(FIRST, begin, end, at(3)).await?);
    assert_eq!(prune(store, 1000).await?, 0);
    // The end is what counts: all other entries lie before it.
    let all_but_the_end = told[told.len() - 2].position;
    assert!(store.advance(SECOND, begin, all_but_the_end, at(3)).await?);
    assert_eq!(prune(store, 1000).await?, 0);
    assert!(store.job(&demo(), &after).await?.is_some());
    assert!(store.advance(SECOND, all_but_the_end, end, at(4)).await?);
    assert_eq!(prune(store, 1000).await?, 1);
    for (follower, cursor) in [(FIRST, begin), (SECOND, end)] {
        assert_eq!(batch(store, follower, cursor, ALL).await?.entries, []);
    }
    assert_eq!(batch(store, FIRST, end, ALL).await?.gap, None);
    Ok(())
}

/// After the patience the oldest go; a follower that has not read them is told how far, and reads on with the rest.
pub async fn retention_passes_a_follower_after_the_patience(store: &impl Store) -> Result<()> {
    let begin = store.open(FIRST, at(0)).await?;
    ended(store, 1, 10).await?;
    let lost = ended(store, 2, 20).await?;
    let kept = ended(store, 3, 30).await?;
    let told = read_all(store, begin).await?;
    let to = told.iter().rfind(|told| told.job == lost).expect("it has ended").position;
    assert_eq!(prune(store, PATIENCE + 10).await?, 0);
    assert_eq!(batch(store, FIRST, begin, ALL).await?.gap, None);
    assert_eq!(prune(store, PATIENCE + 21).await?, 2);
    // One that is opened later has missed nothing.
    let second = store.open(SECOND, at(40)).await?;
    assert_eq!(batch(store, SECOND, second, ALL).await?.gap, None);
    let rest = batch(store, FIRST, begin, ALL).await?;
    assert_eq!(rest.gap, Some(FollowerGap { after: begin, to }));
    assert_eq!(rest.rest, Rest::Nothing);
    assert!(rest.entries.iter().all(|told| told.entry.job == kept) && !rest.entries.is_empty());
    assert!(store.advance(FIRST, begin, rest.next, at(50)).await?);
    let next = batch(store, FIRST, rest.next, ALL).await?;
    assert_eq!((next.entries, next.gap), (Vec::new(), None));
    Ok(())
}

/// However many jobs wait for a follower, those that ended before and those that need not wait are removed.
pub async fn a_job_that_waits_holds_no_other_up(store: &impl Store) -> Result<()> {
    const JOBS: u64 = 40;
    for n in 1..=JOBS {
        ended(store, n, n).await?;
    }
    let begin = store.open(FIRST, at(JOBS)).await?;
    for n in 1..=JOBS {
        ended(store, 100 + n, 100 + n).await?;
    }
    assert_eq!(prune(store, 1000).await?, JOBS);
    assert_eq!(prune(store, 1000).await?, 0);
    assert_eq!(prune(store, PATIENCE + 101 + JOBS / 2).await?, JOBS / 2);
    assert!(batch(store, FIRST, begin, ALL).await?.gap.is_some());
    Ok(())
}

/// A cursor that nobody moves any more holds nothing up once its follower is closed.
pub async fn retention_does_not_wait_for_a_closed_follower(store: &impl Store) -> Result<()> {
    let begin = store.open(FIRST, at(0)).await?;
    store.open(SECOND, at(0)).await?;
    ended(store, 1, 1).await?;
    let end = read_all(store, begin).await?.last().expect("it has ended").position;
    assert!(store.advance(FIRST, begin, end, at(2)).await?);
    assert_eq!(prune(store, 1000).await?, 0);
    store.close(SECOND).await?;
    assert_eq!(prune(store, 1000).await?, 1);
    Ok(())
}

/// Removes what is stored of the project until a step finds nothing more to do at this time. Returns the number of removed
/// things, and whether something is left.
async fn delete(store: &impl Store, project: &ProjectId, seconds: u64) -> Result<StepReport> {
    let mut done = 0;
    loop {
        let report = store.remove_records(project, at(seconds)).await?;
        done += report.done;
        if !report.more || report.done == 0 {
            return Ok(StepReport { done, more: report.more });
        }
    }
}

/// The deletion of a project waits for a follower as long as a step of it may be repeated; then the follower has a gap.
pub async fn a_deletion_waits_for_the_slowest_follower_and_then_passes_it(store: &impl Store) -> Result<()> {
    const PATIENCE: u64 = DELETION_PATIENCE.as_secs();
    let project = id("demo");
    let begin = store.open(FIRST, at(0)).await?;
    ended(store, 1, 10).await?;
    ended(store, 2, 20).await?;
    let told = read_all(store, begin).await?;
    let to = told.last().expect("it has ended").position;
    let first_end = told.iter().find(|told| told.is_last()).expect("one has ended").position;
    // Both are unread, then the second one alone.
    assert_eq!(delete(store, &project, PATIENCE + 10).await?, StepReport { done: 0, more: true });
    assert!(store.advance(FIRST, begin, first_end, at(30)).await?);
    assert_eq!(delete(store, &project, PATIENCE + 20).await?, StepReport { done: 1, more: true });
    assert_eq!(batch(store, FIRST, first_end, ALL).await?.gap, None);
    assert_eq!(delete(store, &project, PATIENCE + 21).await?, StepReport { done: 1, more: false });
    assert!(store.jobs(&demo(), &JobFilter::default(), None, ALL).await?.is_empty());
    let rest = batch(store, FIRST, first_end, ALL).await?;
    assert_eq!((rest.entries, rest.gap), (Vec::new(), Some(FollowerGap { after: first_end, to })));
    Ok(())
}
