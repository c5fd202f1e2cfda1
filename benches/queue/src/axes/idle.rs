//! What a worker costs the database while there is nothing to do, set up as for the latency.

use std::time::Duration;

use futures_util::future::try_join_all;

use super::{Setup, empty};
use crate::contender::Contender;
use crate::postgres::Server;
use crate::table::{Report, Row};

/// Time for a worker to begin, and to look for what it has missed.
const BEGINNING: Duration = Duration::from_secs(3);
/// Beyond the measurement.
const END: Duration = Duration::from_secs(1);

pub(super) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let mut contenders = setup.contenders(false).await?;
    // One rdev is like the other.
    contenders.remove(1);
    let time = Duration::from_secs(setup.size(60, 10));
    // At once: each has its own database, which counts.
    let rates =
        try_join_all(contenders.iter_mut().map(|contender| idle(&mut **contender, &setup.server, time)))
            .await?;
    let all = contenders.iter().zip(&rates);
    let Some((best, least)) = all.clone().filter(|(c, _)| !c.is_rdev()).min_by(|a, b| a.1.total_cmp(b.1))
    else {
        return Ok(());
    };
    report.row(Row {
        axis: "transactions/s of an idle queue".into(),
        rdev: format!("{:.1}", rates[0]),
        peer: format!("{} {least:.1}", best.name()),
        ratio: format!("{:.2}x", rates[0] / least),
        aim: "-",
        met: None,
    });
    let figures: Vec<String> = all.map(|(c, rate)| format!("{} {rate:.1}", c.name())).collect();
    report.fact(format!("idle, transactions a second (pg_stat_database): {}", figures.join("; ")));
    Ok(())
}

async fn idle(contender: &mut dyn Contender, server: &Server, time: Duration) -> anyhow::Result<f64> {
    empty(contender).await?;
    let url = contender.database().to_owned();
    let measure = async {
        tokio::time::sleep(BEGINNING).await;
        let before = server.transactions(&url).await?;
        tokio::time::sleep(time).await;
        Ok(server.transactions(&url).await? - before)
    };
    let (counted, ()) = tokio::try_join!(measure, contender.idle(BEGINNING + time + END))?;
    Ok(counted as f64 / time.as_secs_f64())
}
