//! Time from before a task is stored to its start, at a hundred tasks a second.

use super::{Setup, empty, settle};
use crate::stats::{median, percentile};
use crate::table::{Report, Row};

const RATE: u64 = 100;

pub(super) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let mut contenders = setup.contenders(true).await?;
    let mut lags = vec![Vec::new(); contenders.len()];
    for round in 0..setup.size([3, 1, 1]) {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let contender = &mut *contenders[at];
            empty(contender).await?;
            settle(contender).await?;
            lags[at].extend(contender.latency(RATE, setup.size([10, 3, 1])).await?);
        }
    }
    for (share, name) in [(0.5, "p50"), (0.99, "p99")] {
        let all = contenders.iter().zip(&lags).map(|(contender, lags)| (contender, percentile(lags, share)));
        let peers = all.clone().filter(|(contender, _)| !contender.is_rdev());
        let best = peers.min_by(|a, b| a.1.total_cmp(&b.1));
        for (contender, lag) in all.filter(|(contender, _)| contender.is_rdev()) {
            let (_, from) = contender.name().split_once(", ").unwrap_or_default();
            let from = if from == "1 project" { "same replica" } else { from };
            let ratio = best.map(|(_, peer)| lag / peer);
            report.row(Row {
                axis: format!("enqueue to start, ms ({name}, {from})"),
                rdev: format!("{lag:.2}"),
                peer: best.map_or("-".into(), |(best, peer)| format!("{} {peer:.2}", best.name())),
                ratio: ratio.map_or("-".into(), |ratio| format!("{ratio:.2}x")),
                aim: "< 1x",
                met: ratio.map(|ratio| ratio < 1.0),
            });
        }
    }
    let figures: Vec<String> = contenders
        .iter()
        .zip(&lags)
        .map(|(contender, lags)| {
            format!("{} {:.2} / {:.2}", contender.name(), median(lags), percentile(lags, 0.99))
        })
        .collect();
    report
        .fact(format!("enqueue to start, p50 / p99 in ms, at {RATE} tasks a second: {}", figures.join("; ")));
    Ok(())
}
