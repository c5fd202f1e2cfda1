//! Views of the log: the entries of many jobs, from any position or time.

use rdev_domain::{Entry, EntryBody, JobId, LogView, Position, Result, Seq};

use super::Store;
use super::read::follow_while_written;
use crate::testing::contract::steps::*;
use crate::testing::{chunk, job, log_of, operation, task_for};

const EVERYTHING: LogView = LogView { project: None, output: true };

fn without_output(project: &str) -> LogView {
    LogView { output: false, ..log_of(project) }
}

/// Reads a whole view, a few entries at a time.
async fn whole(store: &impl Store, view: &LogView) -> Result<Vec<Entry>> {
    let (mut entries, end) = (Vec::<Entry>::new(), store.last(view, Position::MAX).await?);
    loop {
        let after = entries.last().map_or(Position::ZERO, |entry| entry.position);
        let page = store.read_view(view, after, 3).await?;
        assert!(page.len() <= 3);
        if page.is_empty() {
            assert!(after <= end, "{end:?} is the end");
            return Ok(entries);
        }
        entries.extend(page);
    }
}

fn jobs(entries: &[Entry]) -> Vec<JobId> {
    entries.iter().map(|entry| entry.job.clone()).collect()
}

/// The log of a project holds its commands and the tasks that are done for it; a view without a project holds
/// everything. Without output the other entries are the same.
pub async fn a_view_holds_its_jobs_in_the_order_of_positions(store: &impl Store) -> Result<()> {
    let command = run(store, 1).await?;
    let (other, operation) = (job("other", 2), operation("demo", 3));
    store.enqueue(&other, None).await?;
    store.enqueue(&operation, None).await?;
    let (task, without) = (task_for("demo", 4), crate::testing::task(rdev_domain::TaskKind::Test, 5));
    store.enqueue(&task, None).await?;
    store.enqueue(&without, None).await?;
    store.append(&command, vec![chunk(1, 2), chunk(3, 3)], at(1)).await?;
    store.request_cancel(&task.target(), &task.id, None, at(2)).await?;
    store.finish(&command, Seq(4), completed(), at(3)).await?;

    let everything = whole(store, &EVERYTHING).await?;
    let [one, two, three, four, five] = [&command.id, &other.id, &operation.id, &task.id, &without.id];
    let expected = [one, one, two, three, four, five, one, one, four, one];
    assert_eq!(jobs(&everything), expected.map(Clone::clone));
    assert!(everything.is_sorted_by(|a, b| a.position < b.position));
    let projects: Vec<_> =
        everything[2..6].iter().map(|entry| entry.project.as_ref().map(|id| id.as_str())).collect();
    assert_eq!(projects, [Some("other"), Some("demo"), Some("demo"), None]);

    let is_output = |entry: &&Entry| matches!(entry.body, EntryBody::Output(_));
    let of = |project: &str| -> Vec<Entry> {
        let is_in = |entry: &&Entry| entry.log_project().is_some_and(|id| id.as_str() == project);
        everything.iter().filter(is_in).cloned().collect()
    };
    assert_eq!(of("demo").len(), 7);
    for project in ["demo", "other"] {
        assert_eq!(whole(store, &log_of(project)).await?, of(project));
        let quiet: Vec<Entry> = of(project).iter().filter(|entry| !is_output(entry)).cloned().collect();
        assert_eq!(whole(store, &without_output(project)).await?, quiet);
    }
    let quiet: Vec<Entry> = everything.iter().filter(|entry| !is_output(entry)).cloned().collect();
    assert_eq!((whole(store, &LogView::CHANGES).await?, quiet.len()), (quiet, 8));
    let end = everything[9].position;
    for view in [EVERYTHING, LogView::CHANGES, log_of("demo"), without_output("demo")] {
        assert_eq!(store.last(&view, Position::MAX).await?, end);
        assert_eq!(store.last(&view, end.before()).await?, everything[8].position);
    }
    Ok(())
}

/// A reader of everything that follows while many write sees every entry once, and none before one that it has read.
pub async fn a_reader_of_everything_sees_every_entry_once(store: &impl Store) -> Result<()> {
    const APPENDS: u64 = 60;
    let mut running = Vec::new();
    for n in 1..=4 {
        running.push(run(store, n).await?);
    }
    let mut writing = Vec::new();
    for (writer, fence) in (1..).zip(running) {
        let store = store.clone();
        writing.push(tokio::spawn(async move {
            for n in 1..=APPENDS {
                store.append(&fence, vec![chunk(n, n)], at(1)).await?;
                store.enqueue(&job(&format!("p{n}"), writer * 1000 + n), None).await?;
            }
            Result::Ok(())
        }));
    }
    let followed = follow_while_written(store, &EVERYTHING, 7, writing).await?;
    assert_eq!(followed.len() as u64, 4 * (2 + 2 * APPENDS));
    assert!(followed.is_sorted_by(|a, b| a.position < b.position));
    assert_eq!(followed, whole(store, &EVERYTHING).await?);
    Ok(())
}

/// A reader that begins at a time begins with the first entry that was stored then, or later.
pub async fn an_entry_is_found_by_its_time(store: &impl Store) -> Result<()> {
    for view in [EVERYTHING, LogView::CHANGES, log_of("demo")] {
        assert_eq!(store.last_before(&view, at(9)).await?, Position::ZERO);
    }
    let fence = run(store, 1).await?;
    assert_eq!(store.seq_before(&fence.id, at(0)).await?, None);
    let mut stored = Vec::new();
    for n in 1..=20 {
        stored.extend(store.append(&fence, vec![chunk(n, n)], at(10 * n)).await?);
        store.enqueue(&job("other", 100 + n), None).await?;
    }
    let running = store.position_of(&fence.id, Seq::ZERO).await?;
    let demo = log_of("demo");
    assert_eq!(store.last_before(&demo, at(0)).await?, Position::ZERO);
    assert_eq!(store.last_before(&demo, at(10)).await?, running);
    assert_eq!(store.seq_before(&fence.id, at(10)).await?, Some(Seq::ZERO));
    for (n, entry) in (1..).zip(&stored) {
        assert_eq!(store.last_before(&demo, at(10 * n + 1)).await?, entry.position);
        assert_eq!(store.seq_before(&fence.id, at(10 * n + 1)).await?, Some(Seq(n)));
        assert_eq!(store.seq_before(&fence.id, at(10 * n)).await?, Some(Seq(n - 1)));
    }
    assert_eq!(store.last_before(&log_of("empty"), at(1000)).await?, Position::ZERO);
    assert_eq!(store.seq_before(&job("demo", 9).id, at(1000)).await?, None);
    Ok(())
}
