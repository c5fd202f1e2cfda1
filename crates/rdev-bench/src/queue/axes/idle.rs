//! What a worker costs the database while there is nothing to do, set up as for the latency.

use std::time::Duration;

use futures_util::future::try_join_all;

use super::{Setup, empty};
use crate::postgres::Server;
use crate::queue::contender::Contender;
use crate::table::{Report, Row};

/// Beyond the measurement.
const END: Duration = Duration::from_secs(1);

pub(super) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let mut contenders = setup.contenders(false).await?;
    // One rdev is like the other.
    contenders.remove(1);
    let time = Duration::from_secs(setup.size([60, 10, 1]));
    // For a worker to begin, and to look for what it has missed.
    let beginning = Duration::from_secs(setup.size([3, 3, 1]));
    // At once: each has its own database, which counts.
    let rates =
        try_join_all(contenders.iter_mut().map(|c| idle(&mut **c, &setup.server, beginning, time))).await?;
    let all = contenders.iter().zip(&rates);
    let best = all.clone().filter(|(c, _)| !c.is_rdev()).min_by(|a, b| a.1.total_cmp(b.1));
    report.row(Row {
        axis: "transactions/s of an idle queue".into(),
        rdev: format!("{:.1}", rates[0]),
        peer: best.map_or("-".into(), |(best, least)| format!("{} {least:.1}", best.name())),
        ratio: best.map_or("-".into(), |(_, least)| format!("{:.2}x", rates[0] / least)),
        aim: "-",
        met: None,
    });
    let figures: Vec<String> = all.map(|(c, rate)| format!("{} {rate:.1}", c.name())).collect();
    report.fact(format!("idle, transactions a second (pg_stat_database): {}", figures.join("; ")));
    Ok(())
}

async fn idle(
    contender: &mut dyn Contender,
    server: &Server,
    beginning: Duration,
    time: Duration,
) -> anyhow::Result<f64> {
    empty(contender).await?;
    let url = contender.database().to_owned();
    let measure = async {
        tokio::time::sleep(beginning).await;
        let before = server.transactions(&url).await?;
        tokio::time::sleep(time).await;
        Ok(server.transactions(&url).await? - before)
    };
    let (counted, ()) = tokio::try_join!(measure, contender.idle(beginning + time + END))?;
    Ok(counted as f64 / time.as_secs_f64())
}
