//! What the store adds to a command's first event: stored, claimed, started, its first output appended.

use std::time::{Duration, Instant};

use rdev_ports::testing::chunk;
use rdev_ports::{EventLog, TaskLeases, TaskQueue};
use rdev_sql::SqlStore;

use super::Setup;
use crate::queue::rdev::{claim, now, numbered};
use crate::stats::{median, millis, percentile};
use crate::table::{Report, Row};

const WARMING_UP: u64 = 20;
/// As between two commands of a person or a bot.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let postgres = SqlStore::postgres(&setup.server.create("rdev_first_event").await?).await?;
    let sqlite = SqlStore::sqlite(&setup.folder.join("rdev.db")).await?;
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for n in 0..setup.size([1_000, 200, 40]) {
        for (store, times) in [(&postgres, &mut ours), (&sqlite, &mut floor)] {
            tokio::time::sleep(PAUSE).await;
            let time = first_event(store, n).await?;
            if n >= WARMING_UP {
                times.push(millis(time));
            }
        }
    }
    for (share, name) in [(0.5, "p50"), (0.99, "p99")] {
        let (ours, floor) = (percentile(&ours, share), percentile(&floor, share));
        report.row(Row {
            axis: format!("a first event's way through Postgres, ms ({name})"),
            rdev: format!("{ours:.2}"),
            peer: format!("rdev on SQLite {floor:.2}"),
            ratio: format!("+{:.2} ms", ours - floor),
            aim: "-",
            met: None,
        });
    }
    report.fact(format!("a first event on Postgres is {:.2}x of SQLite", median(&ours) / median(&floor)));
    sqlite.close().await;
    postgres.close().await;
    Ok(())
}

async fn first_event(store: &SqlStore, n: u64) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    store.enqueue(&numbered(n, 1), None).await?;
    let claims = claim(store, 1).await?;
    anyhow::ensure!(claims.len() == 1, "{} commands were claimed", claims.len());
    for claim in claims {
        store.start(&claim.fence, "place", None, now()).await?;
        store.append(&claim.fence, vec![chunk(1, 1)], now()).await?;
    }
    Ok(begun.elapsed())
}
