//! One server to which all happens at once: its disk is full and has room again, its clock is set, nobody reads its log
//! any more, connections half-close, and it is killed.
//!
//! The promises of [`crate::oracle`] must hold afterwards, and at every moment `/ready` tells whether work can be
//! stored. `scripts/chaos.sh` runs it at full size.

mod readiness;
mod small_disk;
mod weather;

use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use crate::clocks::with_clock;
use crate::oracle::{Addresses, Clients, Keeper, Manners, PROJECTS, Severity, Task, nothing_strange, seed};
use crate::support::{Fixture, Server};
use readiness::Readiness;
use small_disk::{SmallDisk, on_small_disk};
use weather::{Clock, LogReader, Weather};

/// Number of tasks, and times.
#[derive(Debug, Clone, Copy)]
struct Size {
    tasks: usize,
    /// Duration of the faults.
    lasts: Duration,
    /// Longest time from the first task until every one has ended.
    patience: Duration,
}

const SMALL: Size = Size { tasks: 60, lasts: Duration::from_secs(20), patience: Duration::from_secs(120) };
const FULL: Size =
    Size { tasks: 3_000, lasts: Duration::from_secs(600), patience: Duration::from_secs(1_800) };

/// Tasks of the pool that run at once.
const SLOTS: u32 = 4;
/// Has the log read for a while: then its reader dies, or has it open and does not read.
const LOG_READ_FOR_A_WHILE: &str = "read -r bytes < \"$LOG_READS\"; exec \"$0\" 2> >(\
     head -c \"$bytes\" >> \"$LOG\"; ((bytes % 2)) && exec tail --pid=$$ -f /dev/null >&2)";

#[test]
fn one_server_to_which_all_happens_at_once_loses_and_repeats_nothing() {
    on_small_disk("chaos::one_server::at_small_size", 64 << 20);
}

#[test]
#[ignore = "full size: scripts/chaos.sh"]
fn one_server_to_which_all_happens_at_once_for_long() {
    // Each run that is over keeps some 8 KiB for a week.
    on_small_disk("chaos::one_server::at_full_size", 256 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "on a small disk, by one_server_to_which_all_happens_at_once_loses_and_repeats_nothing"]
async fn at_small_size() {
    chaos(SMALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "on a small disk, by one_server_to_which_all_happens_at_once_for_long"]
async fn at_full_size() {
    chaos(FULL).await;
}

async fn chaos(size: Size) {
    let mut random = Rng::with_seed(seed("RDEV_CHAOS_SEED"));
    let disk = SmallDisk::given();
    let (clock, log) = (Clock::new(disk.beside("clock")), LogReader::new(disk.beside("log")));
    log.reads(&mut random);
    let server = start(clock.file(), &log).await;
    let marks = disk.beside("marks");
    std::fs::create_dir(&marks).expect("a folder can be made");

    let tasks: Vec<Task> = (0..size.tasks).map(|number| Task::drawn(number, &mut random)).collect();
    let addresses = Addresses::new(vec![server.client()]);
    let clients = Clients::new(addresses.clone(), &marks, size.patience, Manners::HalfClosing);
    let begun = Instant::now();
    let projects = clients.follow_projects(&tasks);
    let keeper = Keeper::of(0, server, addresses.clone());
    let weather = Weather { keeper: &keeper, servers: &addresses, disk: &disk, clock: &clock, log: &log };
    let (over, readiness) = tokio::sync::watch::channel(false);
    let blowing = async {
        let blown = weather.blow(size.lasts, &mut random).await;
        println!("{blown:?}: {:?}", begun.elapsed());
        over.send_replace(true);
    };
    let ready = Readiness { clients: &clients, disk: &disk };
    let watching = ready.is_truthful(size.tasks, readiness);
    let (mut accepted, asked, ()) = tokio::join!(clients.post_all(tasks, size.lasts), watching, blowing);
    accepted.extend(asked.accepted);
    println!("{} tasks accepted, {} refused: {:?}", accepted.len(), asked.refused, begun.elapsed());

    let verdict = Severity::over(accepted, &clients, begun + size.patience).await;
    println!("all have ended: {:?}", begun.elapsed());
    verdict.each_ran_as_often_as_it_says();
    verdict.none_is_stored_twice().await;
    let lines = verdict.every_server_tells_the_same_streams().await;
    let followed = verdict.followers_saw_the_same(projects).await;
    println!("{lines} lines read, {followed} streams followed: {:?}", begun.elapsed());
    nothing_is_left(keeper.end().await).await;
    nothing_strange(&log.text());
}

async fn start(clock: &Path, log: &LogReader) -> Server {
    let fixture = with_clock(Fixture::new(), clock).started_by(LOG_READ_FOR_A_WHILE).with_workers(SLOTS);
    let fixture =
        log.variables().into_iter().fold(fixture, |fixture, (name, value)| fixture.with(name, value));
    let server = fixture.start().await;
    for project in &PROJECTS[1..] {
        server.add_project(project).await;
    }
    server
}

/// A server that has ended as it was told has left no process, and nothing that was made for a run which did not begin.
async fn nothing_is_left(mut server: Server) {
    server.terminate();
    assert!(server.wait().await.success());
    server.left_nothing().await;
    let runs =
        std::fs::read_dir(server.fixture().data_dir().join("runs")).expect("it can be listed").flatten();
    let names: Vec<_> = runs.map(|run| run.file_name().to_string_lossy().into_owned()).collect();
    assert!(!names.iter().any(|name| name.starts_with(".waiting")), "{names:?}");
}
