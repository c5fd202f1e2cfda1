//! Collecting of files that is given up: what is stored by then stays, and the rest is told as lost.

use std::time::Duration;

use bytes::Bytes;
use rdev_domain::{Artefact, Content, Job, JobId, SkipReason};
use rdev_ports::Artefacts;
use rdev_runner::files::Item;

use crate::support::{Answer, Bench, Collecting};

/// A whole file and the first half of another.
fn one_and_a_half(path: &str) -> Vec<Item> {
    let file = |path: &str, size| Item::File { path: path.to_owned(), size };
    let piece = || Item::Piece(Bytes::from_static(b"four"));
    vec![file(path, 4), piece(), file("half", 8), piece()]
}

async fn begin(attempt: impl IntoIterator<Item = (Vec<Item>, Collecting)>) -> (Bench, JobId) {
    let bench = Bench::new([Answer::Runs(1)]);
    bench.pods.set_collections(attempt);
    let id = bench.submit_task(&["a", "half", "*.log"]).await;
    (bench, id)
}

fn is_over(task: &Job, _: &[Artefact]) -> bool {
    task.state.is_ended()
}

/// That of a try the first file is kept, and that of everything else it is said that it is lost.
async fn assert_kept(bench: &Bench, id: &JobId, files: &[Artefact], path: &str) {
    let told: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.size)).collect();
    let lost: &[_] =
        if path == "a" { &[("half", 0), ("*.log", 0)] } else { &[("a", 0), ("half", 0), ("*.log", 0)] };
    assert_eq!(told, [&[(path, 4)], lost].concat());
    assert!(matches!(files[0].kept, Content::Stored(_)));
    assert!(files[1..].iter().all(|file| file.kept == Content::Skipped(SkipReason::Lost)));
    let store = &bench.store.memory;
    assert_eq!(store.part(id, 0, 0).await.expect("it answers").as_deref(), Some(&b"four"[..]));
    assert_eq!(store.part(id, 1, 0).await.expect("it answers"), None);
}

fn collected(bench: &Bench) -> usize {
    let controls = bench.pods.controls.lock().expect("nobody panics with it");
    controls.iter().filter(|argv| argv.iter().any(|word| word == "collect")).count()
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_fails_is_tried_three_times() {
    let attempt = ["0", "1", "a"].map(|path| (one_and_a_half(path), Collecting::Ends));
    let (bench, id) = begin(attempt).await;
    let (files, took) = bench.task_when(&id, is_over).await;
    assert_kept(&bench, &id, &files, "a").await;
    assert_eq!(collected(&bench), 3);
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_try_has_stored_stays_where_the_next_one_brings_nothing() {
    let attempt = [(one_and_a_half("0"), Collecting::Ends), (Vec::new(), Collecting::Ends)];
    let (bench, id) = begin(attempt).await;
    let (files, _) = bench.task_when(&id, is_over).await;
    assert_kept(&bench, &id, &files, "0").await;
    assert_eq!(collected(&bench), 3);
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_not_reached_is_waited_for_as_long_as_for_a_command() {
    let (bench, id) = begin([(one_and_a_half("a"), Collecting::IsCut)]).await;
    let (files, took) = bench.task_when(&id, is_over).await;
    assert_kept(&bench, &id, &files, "a").await;
    assert!(took > Duration::from_secs(300) && took < Duration::from_secs(310), "{took:?}");
    assert!(collected(&bench) > 3);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_ends_collecting_soon() {
    let (bench, id) = begin([(one_and_a_half("a"), Collecting::Hangs)]).await;
    bench.task_when(&id, |_, files| !files.is_empty()).await;
    bench.cancel_task(&id).await;
    let (files, took) = bench.task_when(&id, is_over).await;
    assert_kept(&bench, &id, &files, "a").await;
    assert!(took >= Duration::from_secs(10) && took < Duration::from_secs(11), "{took:?}");
    assert_eq!(collected(&bench), 1);
}
