//! The figures of a grown rdev beside those of an empty one, in turn.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use rdev_ports::{PruneRule, Retention, TaskQueue};
use rdev_sql::SqlStore;

use super::fill::{Filled, OLDEST_LINES};
use crate::common::Size;
use crate::http::Connection;
use crate::queue::{claim, now, numbered, work};
use crate::servers::Rdev;
use crate::sse::Counter;
use crate::stats::{median, millis};
use crate::table::{Report, Row, short};

/// Time in which a server that has begun finds what it has to do.
const SETTLE: Duration = Duration::from_secs(3);
/// First pages, each with the words for it.
const PAGES: [(&str, &str); 3] = [
    ("/projects/demo/commands", "first page of commands"),
    ("/queue/tasks", "first page of tasks"),
    ("/projects", "first page of projects"),
];
/// Ratio at which a figure counts as independent of growth.
const AIM: f64 = 1.3;
/// Entries that retention has to remove in a second.
const RETENTION_AIM: f64 = 1_000.0;

/// A grown rdev, an empty one, and the name of their database.
#[derive(Debug)]
pub(crate) struct Beside<'a> {
    pub(crate) name: &'static str,
    pub(crate) grown: &'a Filled,
    pub(crate) empty: &'a Filled,
    pub(crate) size: Size,
}

impl Beside<'_> {
    pub(crate) async fn all(&self, program: &Path, report: &mut Report) -> anyhow::Result<()> {
        self.reads(program, report).await?;
        self.claims(report).await?;
        self.retention(report).await
    }

    fn row(&self, what: &str, grown: &[f64], empty: &[f64], aimed: bool) -> Row {
        let (grown, empty) = (median(grown), median(empty));
        let ratio = grown / empty;
        Row {
            axis: format!("{}: {what}, ms", self.name),
            rdev: format!("{grown:.2}"),
            peer: format!("empty {empty:.2}"),
            ratio: format!("{ratio:.2}x"),
            aim: if aimed { "<= 1.3x" } else { "-" },
            met: aimed.then_some(ratio <= AIM),
        }
    }

    /// Measures pages and replays through two servers.
    async fn reads(&self, program: &Path, report: &mut Report) -> anyhow::Result<()> {
        let (grown, empty) = (self.grown.server(program).await?, self.empty.server(program).await?);
        tokio::time::sleep(SETTLE).await;
        for (path, what) in PAGES {
            let (mut of_grown, mut of_empty) = (Vec::new(), Vec::new());
            let (mut to_grown, mut to_empty) =
                (Connection::open(grown.server.port).await?, Connection::open(empty.server.port).await?);
            for _ in 0..self.size.of([200, 50, 10]) {
                of_grown.push(page(&grown, &mut to_grown, path).await?);
                of_empty.push(page(&empty, &mut to_empty, path).await?);
            }
            report.row(self.row(what, &of_grown, &of_empty, true));
        }
        let (mut of_grown, mut of_empty) = (Vec::new(), Vec::new());
        for _ in 0..self.size.of([20, 5, 2]) {
            of_grown.push(replay(&grown, &self.grown.oldest).await?);
            of_empty.push(replay(&empty, &self.empty.oldest).await?);
        }
        let what = format!("replay of the oldest stream, {OLDEST_LINES} lines");
        report.row(self.row(&what, &of_grown, &of_empty, true));
        Ok(())
    }

    /// Measures a claim of the only job that waits.
    async fn claims(&self, report: &mut Report) -> anyhow::Result<()> {
        let (grown, empty) = (self.grown.store().await?, self.empty.store().await?);
        let (mut of_grown, mut of_empty) = (Vec::new(), Vec::new());
        for number in 0..self.size.of([200, 50, 10]) {
            of_grown.push(claim_of(&grown, number).await?);
            of_empty.push(claim_of(&empty, number).await?);
        }
        report.row(self.row("claim", &of_grown, &of_empty, true));
        grown.close().await;
        empty.close().await;
        Ok(())
    }

    /// Measures the removal of the jobs that ended first.
    async fn retention(&self, report: &mut Report) -> anyhow::Result<()> {
        let sides = [self.grown, self.empty];
        let (mut before, mut times) = ([0, 0], [Duration::ZERO; 2]);
        for (filled, before) in sides.iter().zip(&mut before) {
            *before = filled.database().await?.entries().await?;
        }
        let stores = [self.grown.store().await?, self.empty.store().await?];
        for _ in 0..self.size.of([5, 3, 2]) {
            for (store, time) in stores.iter().zip(&mut times) {
                *time += prune(store, self.size.of([20, 10, 2])).await?;
            }
        }
        for store in &stores {
            store.close().await;
        }
        let mut rates = [0.0, 0.0];
        for (at, filled) in sides.iter().enumerate() {
            let removed = before[at] - filled.database().await?.entries().await?;
            rates[at] = removed as f64 / times[at].as_secs_f64();
        }
        let [grown, empty] = rates;
        report.row(Row {
            axis: format!("{}: retention, entries/s", self.name),
            rdev: short(grown),
            peer: format!("empty {}", short(empty)),
            ratio: format!("{:.2}x", grown / empty),
            aim: ">= 1000/s",
            met: Some(grown >= RETENTION_AIM),
        });
        Ok(())
    }
}

/// Returns the time of one page, in milliseconds.
async fn page(rdev: &Rdev, connection: &mut Connection, path: &str) -> anyhow::Result<f64> {
    let get = rdev.request("GET", path, "application/json", "");
    let began = Instant::now();
    let (status, body) = connection.call(&get).await?;
    let time = millis(began.elapsed());
    anyhow::ensure!(status == 200, "GET {path}: {status} {}", String::from_utf8_lossy(&body));
    Ok(time)
}

/// Returns the time of a whole stream, in milliseconds.
async fn replay(rdev: &Rdev, url: &str) -> anyhow::Result<f64> {
    let get = rdev.request("GET", url, "text/event-stream", "");
    let mut counter = Counter::new();
    let began = Instant::now();
    let mut connection = Connection::open(rdev.server.port).await?;
    let mut answer = connection.send(&get, |bytes| counter.push(bytes)).await?;
    let whole = connection.follow(&mut answer, |bytes| {
        counter.push(bytes);
        ControlFlow::Continue(())
    });
    whole.await?;
    let time = millis(began.elapsed());
    let numbers = counter.numbers;
    anyhow::ensure!(counter.is_complete() && numbers.in_order(), "the replay is not whole: {numbers:?}");
    anyhow::ensure!(numbers.count == OLDEST_LINES + 1, "the replay has {} events", numbers.count);
    Ok(time)
}

/// Returns the time of a claim, in milliseconds; the job ends after it.
async fn claim_of(store: &SqlStore, number: u64) -> anyhow::Result<f64> {
    store.enqueue(&numbered(number, 1), None).await?;
    let began = Instant::now();
    let claims = claim(store, 1).await?;
    let time = millis(began.elapsed());
    anyhow::ensure!(claims.len() == 1, "{} jobs were claimed", claims.len());
    for claim in &claims {
        work(store, claim).await?;
    }
    Ok(time)
}

/// Removes as much as so many steps do; returns their time.
async fn prune(store: &SqlStore, steps: u32) -> anyhow::Result<Duration> {
    let now = now();
    let began = Instant::now();
    for _ in 0..steps {
        let step = store.prune(PruneRule::Ended { before: now, now }).await?;
        // A step may remove a part of a large job.
        anyhow::ensure!(step.done > 0 || step.more, "nothing was left to remove");
    }
    Ok(began.elapsed())
}
