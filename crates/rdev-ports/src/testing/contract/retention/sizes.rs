//! Files count in what is kept, and no step of retention removes much at once.

use bytes::Bytes;
use rdev_domain::{
    Artefact, Chunk, Content, JobId, Outcome, Position, Result, Seq, SkipReason, Target, TaskKind,
};

use super::Store;
use super::prune::prune;
use crate::testing::contract::steps::*;
use crate::testing::{chunk, task};
use crate::{ArtefactWrite, Fence, PART_BYTES_MAX, PruneRule, READ_BYTES, STEP_BYTES_MAX};

const PART: u64 = PART_BYTES_MAX as u64;

/// The steps that keep files of so many parts each.
fn files(parts: &[u32]) -> Vec<ArtefactWrite> {
    let mut steps = vec![ArtefactWrite::Anew];
    for (file, parts) in (0..).zip(parts) {
        let bytes = Bytes::from(vec![b'x'; PART_BYTES_MAX]);
        steps.extend((0..*parts).map(|part| ArtefactWrite::Part { file, part, bytes: bytes.clone() }));
        let (path, size) = (format!("file-{file}"), u64::from(*parts) * PART);
        steps.push(ArtefactWrite::Listed {
            file,
            artefact: Artefact { path, size, kept: Content::Stored([7; 32]) },
        });
    }
    steps
}

/// Has the `n`th task started; so many seconds after the start.
async fn start_task(store: &impl Store, n: u64, seconds: u64) -> Result<Fence> {
    store.enqueue(&task(TaskKind::Test, n), None).await?;
    start_next(store, seconds).await
}

async fn start_next(store: &impl Store, seconds: u64) -> Result<Fence> {
    let fence = claim(store, seconds).await?;
    start(store, &fence, "pod-1", None, at(seconds)).await?;
    Ok(fence)
}

/// A task that has left files of so many parts each, and ended so many seconds after the start.
async fn left(store: &impl Store, n: u64, parts: &[u32], seconds: u64) -> Result<JobId> {
    let fence = start_task(store, n, seconds).await?;
    store.keep(&fence, &files(parts)).await?;
    store.finish(&fence, Seq(1), completed(), at(seconds)).await?;
    Ok(fence.id)
}

/// Parts of a task's files that are stored.
async fn parts(store: &impl Store, id: &JobId) -> Result<u64> {
    let mut parts = 0;
    for file in 0..4 {
        for part in 0..30 {
            parts += u64::from(store.part(id, file, part).await?.is_some());
        }
    }
    Ok(parts)
}

async fn kept(store: &impl Store, id: &JobId) -> Result<Vec<Content>> {
    Ok(store.artefacts(id).await?.into_iter().map(|(_, artefact)| artefact.kept).collect())
}

/// Bytes of all that is stored of a task.
async fn bytes(store: &impl Store, id: &JobId) -> Result<u64> {
    let (mut bytes, mut after) = (parts(store, id).await? * PART, Position::ZERO);
    loop {
        let page = store.read_job(id, after, ALL).await?;
        let Some(last) = page.last() else { return Ok(bytes) };
        after = last.position;
        bytes += page.iter().map(|entry| entry.output_bytes() as u64).sum::<u64>();
    }
}

/// Output and files are one size. What ended first goes first, and is listed as removed with its former size.
pub async fn files_count_in_the_size(store: &impl Store) -> Result<()> {
    let old = left(store, 1, &[2, 1], 1).await?;
    let job = run(store, 2).await?;
    let output = Chunk { frames: vec![b'x'; READ_BYTES].into(), ..chunk(1, 1) };
    store.append(&job, vec![output], at(2)).await?;
    let young = left(store, 3, &[1], 3).await?;
    let all = 4 * PART + READ_BYTES as u64;
    assert_eq!(prune(store, PruneRule::Output { bytes_max: all }).await?, 0);
    let before = store.artefacts(&old).await?;
    assert_eq!(prune(store, PruneRule::Output { bytes_max: all - 3 * PART }).await?, 1);
    assert_eq!((parts(store, &old).await?, parts(store, &young).await?), (0, 1));
    let removed = store.artefacts(&old).await?;
    for ((_, before), (_, after)) in before.iter().zip(&removed) {
        let expected = Artefact { kept: Content::Skipped(SkipReason::Removed), ..before.clone() };
        assert_eq!(*after, expected);
    }
    assert_eq!(log(store).await?.len(), 3, "the output is younger");
    assert!(store.read_job(&old, Position::ZERO, ALL).await?.last().is_some_and(rdev_domain::Entry::is_last));
    // Then the output, then the other's.
    assert_eq!(prune(store, PruneRule::Output { bytes_max: PART }).await?, 1);
    assert_eq!((log(store).await?.len(), kept(store, &young).await?), (2, vec![Content::Stored([7; 32])]));
    assert_eq!(prune(store, PruneRule::Output { bytes_max: 0 }).await?, 1);
    assert_eq!(kept(store, &young).await?, [Content::Skipped(SkipReason::Removed)]);
    Ok(())
}

/// Files that went with their task make room.
pub async fn removed_files_are_counted_no_more(store: &impl Store) -> Result<()> {
    left(store, 1, &[2], 1).await?;
    let young = left(store, 2, &[2], 2).await?;
    let fits = PruneRule::Output { bytes_max: 4 * PART };
    assert_eq!(prune(store, fits).await?, 0);
    assert_eq!(prune(store, PruneRule::Ended { before: at(2), now: at(100) }).await?, 1);
    left(store, 3, &[2], 3).await?;
    assert_eq!(prune(store, fits).await?, 0);
    assert_eq!(parts(store, &young).await?, 2);
    Ok(())
}

/// Files of a task that runs again count with its next end alone, whether they are the same or others.
pub async fn files_of_a_task_that_runs_again_weigh_once(store: &impl Store) -> Result<()> {
    let failed =
        || Outcome::without_process(rdev_domain::Ending::Failed(rdev_domain::Reason::ExitCode), "said");
    let fence = start_task(store, 1, 0).await?;
    store.keep(&fence, &files(&[3])).await?;
    store.finish(&fence, Seq(1), failed(), at(1)).await?;
    let other = left(store, 2, &[1], 2).await?;
    let fits = PruneRule::Output { bytes_max: 4 * PART };
    assert_eq!(prune(store, fits).await?, 0);
    let mut seconds = 10;
    for (seq, anew) in [(2, None), (3, Some(files(&[2, 1]))), (4, Some(files(&[1])))] {
        store.reopen(&Target::Pool, &fence.id, None, at(seconds)).await?.expect("it has ended");
        assert_eq!(prune(store, fits).await?, 0);
        let again = start_next(store, seconds).await?;
        if let Some(steps) = anew {
            store.keep(&again, &steps).await?;
        }
        assert_eq!(prune(store, fits).await?, 0);
        store.finish(&again, Seq(seq), failed(), at(seconds)).await?;
        assert_eq!(prune(store, fits).await?, 0, "round {seq}");
        seconds += 10;
    }
    // They are now the youngest.
    assert_eq!(prune(store, PruneRule::Output { bytes_max: PART }).await?, 1);
    assert_eq!((parts(store, &other).await?, parts(store, &fence.id).await?), (0, 1));
    Ok(())
}

/// A step removes [`STEP_BYTES_MAX`] at most, by age or by size, of files or of output. No listed file has lost a part.
pub async fn a_step_is_bounded_in_bytes(store: &impl Store) -> Result<()> {
    for (n, rule) in
        [(1, PruneRule::Output { bytes_max: 0 }), (2, PruneRule::Ended { before: at(100), now: at(200) })]
    {
        let fence = start_task(store, n, n).await?;
        let output = |n| Chunk { frames: vec![b'x'; READ_BYTES].into(), ..chunk(n, n) };
        for first in (1..=80).step_by(20) {
            store.append(&fence, (first..first + 20).map(output).collect(), at(n)).await?;
        }
        store.keep(&fence, &files(&[12, 1, 4])).await?;
        store.finish(&fence, Seq(81), completed(), at(n)).await?;
        let mut before = bytes(store, &fence.id).await?;
        let (all, mut steps) = (before, 0);
        while before > 0 {
            store.prune(rule).await?;
            let after = bytes(store, &fence.id).await?;
            assert!(before - after <= STEP_BYTES_MAX, "{} bytes in one step", before - after);
            let whole = kept(store, &fence.id).await?.iter().any(|kept| matches!(kept, Content::Stored(_)));
            assert_eq!(whole, parts(store, &fence.id).await? == 17, "{after} bytes are left");
            (before, steps) = (after, steps + 1);
            assert!(steps < 100, "it has no end: {after} bytes are left");
        }
        assert!(steps as u64 >= all / STEP_BYTES_MAX);
        prune(store, rule).await?;
        let is_there = store.job(&Target::Pool, &fence.id).await?.is_some();
        assert_eq!(is_there, matches!(rule, PruneRule::Output { .. }));
    }
    Ok(())
}
