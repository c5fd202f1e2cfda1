//! The log is read in order, from any position.

use rdev_domain::{Chunk, Entry, LogView, Position, Result, Seq};
use tokio::task::JoinHandle;

use super::Store;
use crate::READ_BYTES;
use crate::testing::contract::steps::*;
use crate::testing::{chunk, job, log_of};

/// A read ends at about [`READ_BYTES`], however large its limit, and the next read returns the rest.
pub async fn a_read_is_bounded_in_bytes(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    let large = |seq| Chunk { frames: vec![b'x'; READ_BYTES / 2].into(), ..chunk(seq, seq) };
    store.append(&fence, (1..=7).map(large).collect(), at(1)).await?;
    let (mut after, mut last_seq) = (Position::ZERO, Seq::ZERO);
    while last_seq < Seq(7) {
        let entries = store.read_job(&fence.id, after, 100).await?;
        assert!(!entries.is_empty() && entries.len() <= 4);
        assert_eq!(store.read_view(&log_of("demo"), after, 100).await?, entries);
        let last = &entries[entries.len() - 1];
        (after, last_seq) = (last.position, last.last_seq);
    }
    Ok(())
}

/// Pages of a command's entries join without a gap, and hold no other command's.
pub async fn the_log_is_read_in_order_from_a_position(store: &impl Store) -> Result<()> {
    let (fence, other) = (run(store, 1).await?, run(store, 2).await?);
    for n in 1..=5 {
        store.append(&fence, vec![chunk(n, n)], at(n)).await?;
        store.append(&other, vec![chunk(n, n)], at(n)).await?;
    }
    store.finish(&fence, Seq(6), completed(), at(6)).await?;
    let whole = store.read_job(&fence.id, Position::ZERO, ALL).await?;
    assert_eq!(whole.len(), 8);
    assert!(whole.iter().all(|entry| entry.job == fence.id));
    assert!(whole.is_sorted_by(|a, b| a.position < b.position && a.last_seq <= b.last_seq));
    let (mut paged, mut after) = (Vec::new(), Position::ZERO);
    loop {
        let page = store.read_job(&fence.id, after, 3).await?;
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        after = last.position;
        paged.extend(page);
    }
    assert_eq!(paged, whole);
    Ok(())
}

/// A project's entries are those of all its commands, as they were stored.
pub async fn a_project_is_read_across_its_commands(store: &impl Store) -> Result<()> {
    let (a, b) = (run(store, 1).await?, run(store, 2).await?);
    store.enqueue(&job("other", 3), None).await?;
    for (fence, n) in [(&a, 1), (&b, 1), (&a, 2)] {
        store.append(fence, vec![chunk(n, n)], at(1)).await?;
    }
    let whole = log(store).await?;
    let told: Vec<_> = whole.iter().map(|entry| (&entry.job, entry.last_seq.0)).collect();
    let (a, b) = (&a.id, &b.id);
    assert_eq!(told, [(a, 0), (a, 0), (b, 0), (b, 0), (a, 1), (b, 1), (a, 2)]);
    assert!(whole.is_sorted_by(|a, b| a.position < b.position));
    assert_eq!(store.read_view(&log_of("demo"), whole[3].position, 2).await?, whole[4..6]);
    assert!(store.read_view(&log_of("empty"), Position::ZERO, ALL).await?.is_empty());
    Ok(())
}

/// Reads a view in pages of this size until its writers are done. Returns every entry that was read.
pub(super) async fn follow_while_written(
    store: &impl Store,
    view: &LogView,
    page: u32,
    writing: Vec<JoinHandle<Result<()>>>,
) -> Result<Vec<Entry>> {
    let (mut followed, mut after) = (Vec::new(), Position::ZERO);
    loop {
        let last_look = writing.iter().all(JoinHandle::is_finished);
        store.last(view, Position::MAX).await?;
        let page = store.read_view(view, after, page).await?;
        match page.last() {
            Some(last) => after = last.position,
            None if last_look => break,
            None => tokio::task::yield_now().await,
        }
        followed.extend(page);
    }
    for writing in writing {
        writing.await.expect("no writer panics")?;
    }
    Ok(followed)
}

/// A reader that follows a project while its commands write sees every entry once, and none before one that it has
/// read.
pub async fn a_reader_that_follows_sees_every_entry_once(store: &impl Store) -> Result<()> {
    const APPENDS: u64 = 150;
    let mut writing = Vec::new();
    for n in 1..=3 {
        let (store, fence) = (store.clone(), run(store, n).await?);
        writing.push(tokio::spawn(async move {
            for n in 1..=APPENDS {
                store.append(&fence, vec![chunk(n, n)], at(1)).await?;
            }
            Result::Ok(())
        }));
    }
    let followed = follow_while_written(store, &log_of("demo"), 5, writing).await?;
    assert_eq!(followed.len() as u64, 3 * (2 + APPENDS));
    assert_eq!(followed, log(store).await?);
    Ok(())
}

/// The last entry is one of the project alone, up to any position.
pub async fn the_last_entry_of_a_project_is_found(store: &impl Store) -> Result<()> {
    assert_eq!(store.last(&log_of("demo"), Position::MAX).await?, Position::ZERO);
    let fence = run(store, 1).await?;
    let entries = store.append(&fence, vec![chunk(1, 1), chunk(2, 2)], at(1)).await?;
    store.enqueue(&job("other", 2), None).await?;
    assert_eq!(store.last(&log_of("demo"), Position::MAX).await?, entries[1].position);
    let (first, second) = (entries[0].position, entries[1].position);
    for (to, last) in
        [(second, second), (second.before(), first), (first, first), (Position::ZERO, Position::ZERO)]
    {
        assert_eq!(store.last(&log_of("demo"), to).await?, last, "up to {to:?}");
    }
    assert!(store.last(&log_of("other"), Position::MAX).await? > entries[1].position);
    Ok(())
}

/// Reading goes on after the last entry that was read whole: one that was read in part comes again.
pub async fn a_position_is_the_last_entry_that_was_seen(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    let chunks: Vec<Chunk> = vec![chunk(1, 3), chunk(4, 6)];
    let entries = store.append(&fence, chunks, at(1)).await?;
    let complete = store.finish(&fence, Seq(7), completed(), at(2)).await?;
    let running = log(store).await?[1].position;
    let expected = [
        (0, running),
        (2, running),
        (3, entries[0].position),
        (5, entries[0].position),
        (6, entries[1].position),
        (7, complete.position),
        (8, complete.position),
        (u64::MAX, complete.position),
    ];
    for (seq, position) in expected {
        assert_eq!(store.position_of(&fence.id, Seq(seq)).await?, position, "seq {seq}");
    }
    Ok(())
}

/// A status counts as read with the event before it.
pub async fn status_entries_count_as_seen(store: &impl Store) -> Result<()> {
    let waiting = job("demo", 1);
    let pending = entry_of(store.enqueue(&waiting, None).await?);
    assert_eq!(store.position_of(&waiting.id, Seq::ZERO).await?, pending.position);
    let fence = claim(store, 0).await?;
    let running = start(store, &fence, "pod-1", None, at(0)).await?.entry;
    let running = running.expect("an entry says that it is running");
    assert_eq!(store.position_of(&waiting.id, Seq::ZERO).await?, running.position);
    assert_eq!(store.position_of(&waiting.id, Seq(4)).await?, running.position);
    Ok(())
}

/// A reader of a job without entries begins at the start.
pub async fn a_position_of_what_has_no_entries_is_zero(store: &impl Store) -> Result<()> {
    enqueue(store, 1).await?;
    let unknown = job("demo", 2).id;
    assert_eq!(store.position_of(&unknown, Seq(5)).await?, Position::ZERO);
    Ok(())
}

/// Unknown jobs are not in the answer.
pub async fn the_ends_of_many_logs_are_found_at_once(store: &impl Store) -> Result<()> {
    assert!(store.ends(&[]).await?.is_empty());
    let (first, second) = (run(store, 1).await?, run(store, 2).await?);
    let entries = store.append(&first, vec![chunk(1, 1), chunk(2, 2)], at(1)).await?;
    let complete = store.finish(&second, Seq(1), completed(), at(2)).await?;
    let asked = [first.id.clone(), job("demo", 3).id, second.id.clone()];
    let mut ends = store.ends(&asked).await?;
    ends.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(ends, [(first.id, entries[1].position), (second.id, complete.position)]);
    Ok(())
}

/// Flushing changes no log, and may happen at any time. That it survives the machine, each store tests by itself.
pub async fn flushing_changes_nothing(store: &impl Store) -> Result<()> {
    store.flush().await?;
    let fence = run(store, 1).await?;
    let (appended, flushed) =
        futures_util::future::join(store.append(&fence, vec![chunk(1, 3)], at(1)), store.flush()).await;
    flushed?;
    let before = log(store).await?;
    assert_eq!(before[2..], appended?);
    for _ in 0..2 {
        store.flush().await?;
        assert_eq!(log(store).await?, before);
    }
    assert_eq!(store.append(&fence, vec![chunk(4, 4)], at(2)).await?.len(), 1);
    Ok(())
}
