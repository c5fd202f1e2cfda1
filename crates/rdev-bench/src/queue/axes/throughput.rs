//! Tasks a second: stored, and worked off.

use std::time::Duration;

use super::{Setup, empty, settle};
use crate::queue::contender::{Contender, Mode};
use crate::queue::peers::Peer;
use crate::stats::median;
use crate::table::{Report, Row, short};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Enqueue,
    Run,
}

const MEASURED: [(What, Mode, &str); 4] = [
    (What::Enqueue, Mode::Single, "enqueue/s, one by one"),
    (What::Enqueue, Mode::Batched, "enqueue/s, batched"),
    (What::Run, Mode::Single, "claim+complete/s, one by one"),
    (What::Run, Mode::Batched, "claim+complete/s, batched"),
];

/// The tasks that find out how many are worth measuring: a multiple of every batch of a peer.
const FIRST: u64 = 500;
/// The same without peers.
const FIRST_SMOKE: u64 = 100;
const TASKS_MAX: u64 = 200_000;

pub(super) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let mut contenders = setup.contenders(false).await?;
    let judged = contenders.len();
    contenders.extend(setup.peer("graphile_rust_deleting", Peer::GraphileRustDeleting).await?);
    contenders.extend(setup.peer("graphile_node_deleting", Peer::GraphileNodeDeleting).await?);
    let kept: Vec<String> = contenders[1..judged]
        .iter()
        .map(|contender| format!("{}: {}", contender.name(), contender.keeps()))
        .collect();
    report.fact(format!("what is kept of a finished task: {}", kept.join("; ")));
    for (what, mode, axis) in MEASURED {
        // Nothing is kept of what has only been stored.
        let measured = if what == What::Run { contenders.len() } else { judged };
        let rates = rates(&mut contenders[..measured], what, mode, setup).await?;
        tell(report, axis, &contenders[..measured], &rates, judged);
    }
    Ok(())
}

/// The median rate of each contender, measured in turn.
async fn rates(
    contenders: &mut [Box<dyn Contender>],
    what: What,
    mode: Mode,
    setup: &Setup,
) -> anyhow::Result<Vec<f64>> {
    let first = setup.size([FIRST, FIRST, FIRST_SMOKE]);
    let mut counts = Vec::new();
    for contender in &mut *contenders {
        let rate = measure(&mut **contender, what, mode, first).await?;
        let wanted = (rate * setup.size([3.0, 0.7, 0.1])) as u64 / first * first;
        counts.push(wanted.clamp(first, TASKS_MAX));
    }
    let mut rates = vec![Vec::new(); contenders.len()];
    for round in 0..setup.size([5, 1, 1]) {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            rates[at].push(measure(&mut *contenders[at], what, mode, counts[at]).await?);
        }
    }
    Ok(rates.iter().map(|rates| median(rates)).collect())
}

async fn measure(contender: &mut dyn Contender, what: What, mode: Mode, count: u64) -> anyhow::Result<f64> {
    empty(contender).await?;
    let time: Duration = if what == What::Enqueue {
        settle(contender).await?;
        contender.enqueue(count, mode).await?
    } else {
        contender.fill(count).await?;
        settle(contender).await?;
        contender.run(count, mode).await?
    };
    Ok(count as f64 / time.as_secs_f64())
}

fn tell(report: &mut Report, axis: &str, contenders: &[Box<dyn Contender>], rates: &[f64], judged: usize) {
    let all = contenders.iter().zip(rates);
    let peers = all.clone().take(judged).filter(|(contender, _)| !contender.is_rdev());
    let best = peers.max_by(|a, b| a.1.total_cmp(b.1));
    for (contender, rate) in all.clone().filter(|(contender, _)| contender.is_rdev()) {
        let ratio = best.map(|(_, peer)| rate / peer);
        let (_, projects) = contender.name().split_once(", ").unwrap_or_default();
        report.row(Row {
            axis: format!("{axis} ({projects})"),
            rdev: short(*rate),
            peer: best.map_or("-".into(), |(best, peer)| format!("{} {}", best.name(), short(*peer))),
            ratio: ratio.map_or("-".into(), |ratio| format!("{ratio:.2}x")),
            aim: "> 1x",
            met: ratio.map(|ratio| ratio > 1.0),
        });
    }
    let figures: Vec<String> =
        all.map(|(contender, rate)| format!("{} {}", contender.name(), short(*rate))).collect();
    report.fact(format!("{axis}: {}", figures.join("; ")));
}
