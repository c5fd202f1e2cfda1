//! Rules of retention: what is removed, and when.

use std::time::Duration;

use rdev_domain::{
    Chunk, Conflict, Ending, Entry, EntryBody, JobId, Outcome, Position, Reason, Result, Seq, Target,
    TaskKind, Timestamp,
};

use super::Store;
use crate::testing::contract::steps::*;
use crate::testing::{chunk, id, idempotency_key, job, log_of, task};
use crate::{IDEMPOTENCY_KEY_LIFETIME, PruneRule};

/// Steps that no rule here may need more of.
const STEPS_MAX: usize = 10_000;
/// Bytes of one chunk.
const CHUNK: u64 = 18;

/// Follows a rule to its end, as often as it takes for the newest output to be counted.
pub(super) async fn prune(store: &impl Store, rule: PruneRule) -> Result<u64> {
    let mut done = 0;
    for _ in 0..3 {
        let mut steps = 0;
        loop {
            let progress = store.prune(rule).await?;
            done += progress.done;
            steps += 1;
            assert!(steps < STEPS_MAX, "it has no end");
            if !progress.more {
                break;
            }
        }
    }
    Ok(done)
}

fn ended_before(now: Timestamp) -> PruneRule {
    PruneRule::Ended { before: now, now: now + Duration::from_secs(1000) }
}

/// Output that each chunk is as long as.
fn output(first: u64, last: u64) -> Vec<Chunk> {
    (first..=last).map(|n| Chunk { frames: vec![b'x'; CHUNK as usize].into(), ..chunk(n, n) }).collect()
}

/// The `n`th command, with so many lines; it ended so many seconds after the start.
async fn ended(store: &impl Store, n: u64, lines: u64, seconds: u64) -> Result<JobId> {
    let fence = run(store, n).await?;
    store.append(&fence, output(1, lines), at(seconds)).await?;
    store.finish(&fence, Seq(lines + 1), completed(), at(seconds)).await?;
    Ok(fence.id)
}

/// Rest of a command's log: its first and last numbers, where there is output.
async fn numbers(store: &impl Store, id: &JobId) -> Result<Vec<u64>> {
    let entries = store.read_job(id, Position::ZERO, ALL).await?;
    let output = entries.iter().filter(|entry| matches!(entry.body, EntryBody::Output(_)));
    Ok(output.map(|entry| entry.first_seq.0).collect())
}

/// An old job goes with all of its data; a younger one stays as it is.
pub async fn what_ended_long_ago_is_removed_whole(store: &impl Store) -> Result<()> {
    let (old, young) = (ended(store, 1, 3, 10).await?, ended(store, 2, 3, 20).await?);
    let kept = store.read_job(&young, Position::ZERO, ALL).await?;
    assert_eq!(prune(store, ended_before(at(10))).await?, 0);
    assert_eq!(prune(store, ended_before(at(20))).await?, 1);
    assert_eq!(store.job(&demo(), &old).await?, None);
    assert_eq!(store.last_seq(&old).await?, None);
    assert!(store.read_job(&old, Position::ZERO, ALL).await?.is_empty());
    assert_eq!(store.position_of(&old, Seq(u64::MAX)).await?, Position::ZERO);
    assert_eq!(log(store).await?, kept);
    // Its name is free again.
    store.enqueue(&job("demo", 1), None).await?;
    Ok(())
}

/// Unfinished jobs stay, however long ago they were accepted or started.
pub async fn what_has_not_ended_is_never_too_old(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.append(&fence, output(1, 3), at(1)).await?;
    enqueue(store, 2).await?;
    assert_eq!(prune(store, ended_before(at(1_000_000))).await?, 0);
    assert_eq!(log(store).await?.len(), 6);
    store.append(&fence, output(4, 4), at(2)).await?;
    Ok(())
}

/// Only the last end of a task counts.
pub async fn a_task_that_was_run_again_is_not_removed(store: &impl Store) -> Result<()> {
    store.enqueue(&task(TaskKind::Test, 1), None).await?;
    let fence = claim(store, 0).await?;
    start(store, &fence, "pod-1", None, at(0)).await?;
    let outcome = Outcome::without_process(Ending::Failed(Reason::ExitCode), "said");
    store.finish(&fence, Seq(1), outcome, at(1)).await?;
    store.reopen(&Target::Pool, &fence.id, None, at(2)).await?.expect("it has ended");
    assert_eq!(prune(store, ended_before(at(1_000_000))).await?, 0);
    assert!(store.job(&Target::Pool, &fence.id).await?.is_some());
    Ok(())
}

/// A step removes a little; callers come again while more is left.
pub async fn much_is_removed_in_small_steps(store: &impl Store) -> Result<()> {
    const COMMANDS: u64 = 40;
    const LINES: u64 = 600;
    let large = ended(store, 1, LINES, 10).await?;
    for n in 2..=COMMANDS {
        ended(store, n, 1, 10).await?;
    }
    let last = ended(store, COMMANDS + 1, 1, 20).await?;
    let first = store.prune(ended_before(at(20))).await?;
    assert!(first.more);
    // A command goes with its last entry: what is left of its log has an end.
    if store.job(&demo(), &large).await?.is_some() {
        let rest = store.read_job(&large, Position::ZERO, ALL).await?;
        assert!(rest.last().is_some_and(Entry::is_last));
        assert_eq!(store.last_seq(&large).await?, Some(Seq(LINES + 1)));
    }
    assert_eq!(first.done + prune(store, ended_before(at(20))).await?, COMMANDS);
    assert!(log(store).await?.iter().all(|entry| entry.job == last));
    Ok(())
}

/// The oldest output goes first, also of running jobs, and no more of it than needed.
pub async fn the_oldest_output_goes_first(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.append(&fence, output(1, 3), at(1)).await?;
    let ended = ended(store, 2, 3, 2).await?;
    store.append(&fence, output(4, 6), at(3)).await?;
    let left = async |bytes_max| {
        prune(store, PruneRule::Output { bytes_max }).await?;
        Result::Ok((numbers(store, &fence.id).await?, numbers(store, &ended).await?))
    };
    assert_eq!(left(7 * CHUNK).await?, (vec![3, 4, 5, 6], vec![1, 2, 3]));
    assert_eq!(left(5 * CHUNK + 1).await?, (vec![4, 5, 6], vec![2, 3]));
    assert_eq!(left(CHUNK).await?, (vec![6], vec![]));
    // Nothing is known less of what runs.
    store.append(&fence, output(7, 7), at(4)).await?;
    assert_eq!(left(0).await?, (vec![], vec![]));
    assert_eq!(store.last_seq(&fence.id).await?, Some(Seq(7)));
    store.finish(&fence, Seq(8), completed(), at(5)).await?;
    Ok(())
}

/// A reader learns how a job ended, also where all of its output is gone.
pub async fn entries_about_states_and_ends_outlive_output(store: &impl Store) -> Result<()> {
    let id = ended(store, 1, 5, 1).await?;
    assert_eq!(prune(store, PruneRule::Output { bytes_max: 0 }).await?, 5);
    let left = store.read_job(&id, Position::ZERO, ALL).await?;
    let told: Vec<_> = left.iter().map(|entry| entry.last_seq.0).collect();
    assert_eq!(told, [0, 0, 6]);
    assert!(left[2].is_last());
    // Whoever had a part of it goes on with the end.
    assert!(store.position_of(&id, Seq(2)).await? < left[2].position);
    Ok(())
}

/// A log within its bound loses nothing.
pub async fn output_that_fits_is_left_alone(store: &impl Store) -> Result<()> {
    ended(store, 1, 5, 1).await?;
    let before = log(store).await?;
    assert_eq!(prune(store, PruneRule::Output { bytes_max: 5 * CHUNK }).await?, 0);
    assert_eq!(log(store).await?, before);
    assert_eq!(store.pruned(&log_of("demo")).await?, Position::ZERO);
    Ok(())
}

/// Output that another rule has removed makes room.
pub async fn removed_output_is_counted_no_more(store: &impl Store) -> Result<()> {
    ended(store, 1, 5, 1).await?;
    let young = ended(store, 2, 5, 2).await?;
    let fits = PruneRule::Output { bytes_max: 10 * CHUNK };
    assert_eq!(prune(store, fits).await?, 0);
    assert_eq!(prune(store, ended_before(at(2))).await?, 1);
    ended(store, 3, 5, 3).await?;
    assert_eq!(prune(store, fits).await?, 0);
    assert_eq!(numbers(store, &young).await?, [1, 2, 3, 4, 5]);
    Ok(())
}

/// The position is one of the target alone and never goes backwards. No position is assigned twice.
pub async fn a_log_says_how_far_it_was_pruned(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    let early = store.append(&fence, output(1, 2), at(1)).await?;
    store.enqueue(&job("other", 3), None).await?;
    let ended = ended(store, 2, 2, 2).await?;
    let end = store.last(&log_of("demo"), Position::MAX).await?;
    assert_eq!(store.pruned(&log_of("demo")).await?, Position::ZERO);
    prune(store, ended_before(at(3))).await?;
    assert_eq!(store.pruned(&log_of("demo")).await?, end);
    assert_eq!(store.pruned(&log_of("other")).await?, Position::ZERO);
    prune(store, PruneRule::Output { bytes_max: 0 }).await?;
    assert!(store.pruned(&log_of("demo")).await? >= end && end > early[1].position);
    assert_eq!(store.job(&demo(), &ended).await?, None);
    let next = store.append(&fence, output(3, 3), at(4)).await?;
    assert!(next[0].position > end);
    Ok(())
}

/// A key goes after its lifetime, unless it was used anew meanwhile.
pub async fn keys_are_removed_after_their_lifetime(store: &impl Store) -> Result<()> {
    let key = |value| idempotency_key("key-1", value, 1);
    let accept = async |n, value, now: Timestamp| {
        let mut job = job("demo", n);
        job.created_at = now;
        store.enqueue(&job, Some(&key(value))).await
    };
    let later = at(0) + IDEMPOTENCY_KEY_LIFETIME + Duration::from_secs(1);
    entry_of(accept(1, "a", at(0)).await?);
    entry_of(accept(2, "b", at(0)).await?);
    entry_of(accept(3, "b", later).await?);
    let overdue = PruneRule::Keys { before: later - IDEMPOTENCY_KEY_LIFETIME };
    assert_eq!(prune(store, PruneRule::Keys { before: at(0) }).await?, 0);
    assert_eq!(prune(store, overdue).await?, 1);
    assert_eq!(store.first_use(&key("b"), later).await?, later);
    Ok(())
}

/// A stream name that a caller chose stays taken for a while after its job is gone, in its own project only.
pub async fn a_name_is_not_given_again_soon(store: &impl Store) -> Result<()> {
    let named = |project, n| {
        let mut job = job(project, n);
        job.stream = id("nightly");
        job
    };
    for job in [named("demo", 1), job("demo", 2)] {
        store.enqueue(&job, None).await?;
        let fence = claim(store, 0).await?;
        store.finish(&fence, Seq(1), completed(), at(1)).await?;
    }
    let removed_at = at(100);
    assert_eq!(prune(store, PruneRule::Ended { before: at(50), now: removed_at }).await?, 2);
    for key in [None, Some(&idempotency_key("key-1", "a", 1))] {
        assert_conflict(store.enqueue(&named("demo", 3), key).await, Conflict::StreamIdTaken);
    }
    store.enqueue(&named("other", 4), None).await?;
    store.enqueue(&job("demo", 2), None).await?;
    assert_eq!(prune(store, PruneRule::Streams { before: removed_at }).await?, 0);
    assert_conflict(store.enqueue(&named("demo", 5), None).await, Conflict::StreamIdTaken);
    assert_eq!(prune(store, PruneRule::Streams { before: removed_at + Duration::from_micros(1) }).await?, 1);
    store.enqueue(&named("demo", 5), None).await?;
    Ok(())
}
