//! What a claim costs with a large table, beside a small one.

use std::time::Instant;

use super::{Setup, empty};
use crate::contender::Contender;
use crate::node::{Node, Peer};
use crate::postgres::run as sql;
use crate::rdev::{Rdev, Sender, claim};
use crate::stats::{median, millis};
use crate::table::{Report, Row, short};

const CLAIMS: u64 = 200;
/// Some peers take a tenth of a second for each.
const PEER_CLAIMS: u64 = 50;
const BATCHES: [u64; 2] = [1, 100];
/// Project whose commands wait for each other.
const KEYED: &str = "keyed";

pub(super) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let mut small = Rdev::open(setup.server.create("rdev_claim_small").await?, 64, Sender::Own).await?;
    let mut large = Rdev::open(setup.server.create("rdev_claim_large").await?, 64, Sender::Own).await?;
    let tasks = setup.size(1_000_000, 50_000);
    fill(&mut large, tasks, tasks).await?;
    for batch in BATCHES {
        fill(&mut small, 0, CLAIMS * batch).await?;
        let (small_time, large_time) = beside(&small, &large, batch).await?;
        let ratio = large_time / small_time;
        report.row(Row {
            axis: format!("claim of {batch}, ms, {0} waiting + {0} finished", short(tasks as f64)),
            rdev: format!("{large_time:.2}"),
            peer: format!("rdev, {} waiting {small_time:.2}", CLAIMS * batch),
            ratio: format!("{ratio:.2}x"),
            aim: "<= 1.3x",
            met: Some(ratio <= 1.3),
        });
    }
    empty(&large).await?;
    let boss = setup.server.create("pg_boss_claim").await?;
    let mut boss = Node::open(boss, Peer::Boss, &setup.modules).await?;
    let boss_small = boss_claims(&mut boss, 0, PEER_CLAIMS).await?;
    let boss_large = boss_claims(&mut boss, tasks, tasks).await?;
    let boss_ratio = boss_large / boss_small;
    report.fact(format!(
        "the same for pg-boss, claims of 1: {boss_large:.2} ms beside {boss_small:.2} ms, {boss_ratio:.2}x"
    ));
    behind_a_key(&mut small, setup.size(100_000, 10_000), report).await
}

async fn fill(rdev: &mut Rdev, finished: u64, waiting: u64) -> anyhow::Result<()> {
    empty(rdev).await?;
    if finished > 0 {
        rdev.one(true).await?;
        rdev.clone_task(finished - 1, false).await?;
    }
    rdev.one(false).await?;
    rdev.clone_task(waiting - 1, false).await?;
    sql(rdev.database(), "VACUUM ANALYZE").await?;
    sql(rdev.database(), "CHECKPOINT").await
}

/// Median times of a claim in each, in milliseconds, measured in turn.
async fn beside(small: &Rdev, large: &Rdev, batch: u64) -> anyhow::Result<(f64, f64)> {
    let (mut small_times, mut large_times) = (Vec::new(), Vec::new());
    for n in 0..CLAIMS {
        let mut order = [(small, &mut small_times), (large, &mut large_times)];
        // Neither always comes right after the other one's flush.
        if n % 2 == 1 {
            order.reverse();
        }
        for (rdev, times) in order {
            let begun = Instant::now();
            let claims = claim(rdev.store(), batch).await?;
            times.push(millis(begun.elapsed()));
            anyhow::ensure!(claims.len() as u64 == batch, "{} tasks were claimed", claims.len());
        }
    }
    Ok((median(&small_times), median(&large_times)))
}

async fn boss_claims(boss: &mut Node, finished: u64, waiting: u64) -> anyhow::Result<f64> {
    empty(boss).await?;
    if finished > 0 {
        boss.fill(finished).await?;
        sql(boss.database(), "UPDATE pgboss.job SET state = 'completed', completed_on = now()").await?;
    }
    boss.fill(waiting.div_ceil(500) * 500).await?;
    sql(boss.database(), "VACUUM ANALYZE").await?;
    sql(boss.database(), "CHECKPOINT").await?;
    boss.claims(PEER_CLAIMS, 1).await.map(|times| median(&times))
}

/// Tasks that may run, behind many that may not because another one of their key is under way.
async fn behind_a_key(rdev: &mut Rdev, blocked: u64, report: &mut Report) -> anyhow::Result<()> {
    empty(rdev).await?;
    rdev.one_of_key(KEYED).await?;
    claim(rdev.store(), 1).await?;
    rdev.one_of_key(KEYED).await?;
    rdev.clone_task(blocked - 1, false).await?;
    rdev.one(false).await?;
    rdev.clone_task(CLAIMS - 1, false).await?;
    sql(rdev.database(), "VACUUM ANALYZE").await?;
    let axis = format!("claim of 1, ms, behind {} that wait for one key", short(blocked as f64));
    let begun = Instant::now();
    let first = claim(rdev.store(), 1).await;
    let time = millis(begun.elapsed());
    let rdev = match first {
        Ok(claims) if claims.len() == 1 => format!("{time:.2}"),
        Ok(_) => format!("none in {time:.0}"),
        Err(error) => format!("{error} in {time:.0}"),
    };
    report.row(Row { axis, rdev, peer: "-".into(), ratio: "-".into(), aim: "-", met: None });
    Ok(())
}
