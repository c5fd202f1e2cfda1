//! A power cut at any moment: a server and its runners are watched by strace while they serve some tasks, and from what
//! they have written and flushed comes the folder that a cut would have left. The next server must keep what the first
//! one has promised.
//!
//! Nothing is preloaded: the runner is a static program. Effects and what clients were told are read from the same
//! trace, so their order with the flushes is certain.

mod disk;
mod order;
mod told;
mod trace;
mod verdict;

use std::fs;
use std::path::Path;

use fastrand::Rng;
use rdev_client::types::Data;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::oracle::{Kind, Task, seed};
use crate::support::{Client, Fixture, ReceivedExt, Server, eventually, within};
use disk::Disk;
use told::{Stored, Told};
use verdict::Severity;

/// Cuts of the test run, of four times as many that there are.
const SAMPLE: usize = 16;
/// Starts a server that is watched, together with all that it starts. Strace is not its parent.
///
/// The project is made beforehand and flushed, also under the eyes of strace: the server would make one by git, whose calls
/// the disk does not know.
const WATCHED: &str =
    "exec strace -D -f -y -xx -s 8388608 --seccomp-bpf -e \"trace=$TRACE_CALLS\" -o \"$TRACE\" sh -c '
    (umask 077; mkdir \"$RDEV_DATA_DIR\" \"$RDEV_DATA_DIR/workspaces\" \"$RDEV_DATA_DIR/workspaces/demo\")
    sync \"$(dirname \"$RDEV_DATA_DIR\")\" \"$RDEV_DATA_DIR\" \"$RDEV_DATA_DIR/workspaces\"
    exec \"$0\"' \"$0\"";

#[tokio::test]
async fn a_power_cut_at_some_moments_breaks_no_promise() {
    cut_at(Some(SAMPLE)).await;
}

#[tokio::test]
#[ignore = "minutes: scripts/chaos.sh"]
async fn a_power_cut_at_any_moment_breaks_no_promise() {
    cut_at(None).await;
}

/// A task that was accepted.
#[derive(Debug, Clone)]
struct Accepted {
    task: Task,
    id: String,
}

/// The life before the cut.
struct FirstLife {
    server: Server,
    /// The key that its clients have.
    client: Client,
    accepted: Vec<Accepted>,
    /// The side effects and the trace, which are on another disk.
    outside: TempDir,
}

async fn cut_at(sample: Option<usize>) {
    let mut random = Rng::with_seed(seed("RDEV_POWER_SEED"));
    let FirstLife { mut server, client, accepted, outside } = live().await;
    let (data, trace) = (server.fixture().data_dir(), outside.path().join("trace"));
    let effects = outside.path().join("ran");
    let new =
        || (Disk::new(data.parent().expect("it is in a folder").to_owned()), Told::new(effects.clone()));

    let (mut disk, mut told) = new();
    let mut moments = 0;
    for step in trace::steps(&trace) {
        moments += usize::from(disk.is_news(&step));
        order::hold(&disk, &step, &accepted, &effects);
        told.take(&step);
        disk.take(&step);
    }
    disk.is_as(&data);
    assert!(
        accepted.iter().all(|accepted| told.accepted().contains(&accepted.id)),
        "every answer is in the trace"
    );

    // The last one is after all flushes.
    let mut chosen: Vec<usize> = (0..moments).collect();
    random.shuffle(&mut chosen);
    chosen.truncate(sample.unwrap_or(moments));
    println!("{} of {moments} moments", chosen.len());
    let (mut disk, mut told) = new();
    let mut moment = 0;
    for step in trace::steps(&trace) {
        // The later, the more was promised while the disk was like this.
        if disk.is_news(&step) {
            if chosen.contains(&moment) {
                println!("cut {moment}");
                fs::write(&effects, &told.effects).expect("there is room");
                disk.restore(&data);
                server.restart().await;
                let verdict = Severity { accepted: &accepted, told: &told, before: &client, server: &server };
                verdict.every_promise_is_kept(&effects).await;
                server.lose_power().await;
            }
            moment += 1;
        }
        told.take(&step);
        disk.take(&step);
    }
}

/// Serves tasks, of which some have ended and are forgotten by their runners, and one still runs.
async fn live() -> FirstLife {
    let outside = tempfile::tempdir().expect("a temporary folder");
    let fixture = Fixture::new()
        .without_projects()
        .started_by(WATCHED)
        .with("TRACE", outside.path().join("trace").display().to_string())
        .with("TRACE_CALLS", trace::CALLS)
        .with("RDEV_POOL_SLOTS", "2");
    let mut server = fixture.start().await;
    let client = server.client();
    let demo = Kind::InProject("demo");
    let mut accepted = Vec::new();
    let mut readers = JoinSet::new();
    for (number, (kind, lines)) in
        [(demo, 2), (Kind::Once, 2), (Kind::MayRepeat, 3), (Kind::Once, 30), (demo, 1)]
            .into_iter()
            .enumerate()
    {
        let task = accept(&client, Task { number, kind, lines }, outside.path()).await;
        let (events, path) = (client.clone(), task.task.stream(&task.id));
        readers.spawn(async move { events.get(&path).events().await.rest().await });
        accepted.push(task);
    }
    within("the end of all streams", readers.join_all()).await;
    let runs = server.fixture().data_dir().join("runs");
    eventually("journals that are freed", async || (journals_freed(&runs) == accepted.len()).then_some(()))
        .await;
    // It runs still when the power goes, and where it begins anew it ends in time.
    let last = accept(&client, Task { number: accepted.len(), kind: demo, lines: 200 }, outside.path()).await;
    let mut events = client.get(&last.task.stream(&last.id)).events().await;
    while events.event().await.seq() != Some(3) {}
    accepted.push(last);
    server.lose_power().await;
    server.watched_no_more();
    FirstLife { server, client, accepted, outside }
}

async fn accept(client: &Client, task: Task, marks: &Path) -> Accepted {
    let answer = client.post(&task.home(), &task.body(marks)).send().await;
    Accepted { task, id: answer.part::<Data<Stored>>(202).data.id }
}

/// Returns the number of runs that the runner may forget.
fn journals_freed(runs: &Path) -> usize {
    let runs = fs::read_dir(runs).expect("the folder of runs can be listed").flatten();
    runs.filter(|run| run.path().join("collected").exists()).count()
}
