//! Price of a claim with a large table, and behind tasks that may not run, beside a small table.

use std::time::Instant;

use anyhow::Context;

use super::{Setup, empty};
use crate::postgres::run as sql;
use crate::queue::contender::Contender;
use crate::queue::peers::{Peer, Program};
use crate::queue::rdev::{Rdev, Sender, claim};
use crate::stats::{median, millis, percentile};
use crate::table::{Report, Row, short};

/// Claims of a peer in one round: some take a tenth of a second for each.
const PEER_CLAIMS: u64 = 10;
const BATCHES: [u64; 2] = [1, 100];
/// Project whose commands wait for each other.
const KEYED: &str = "keyed";
/// Ratio at which a claim counts as independent of what lies beside it.
const AIM: f64 = 1.3;

pub(super) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let mut small = Rdev::open(setup.server.create("rdev_claim_small").await?, 64, Sender::Own).await?;
    let mut large = Rdev::open(setup.server.create("rdev_claim_large").await?, 64, Sender::Own).await?;
    let tasks = setup.size([1_000_000, 50_000, 4_000]);
    let claims = setup.size([200, 200, 20]);
    fill(&mut large, tasks, tasks).await?;
    for batch in BATCHES {
        fill(&mut small, 0, claims * batch).await?;
        let (small_times, large_times) = beside(&small, &large, batch, claims).await?;
        let (small_time, large_time) = (median(&small_times), median(&large_times));
        let ratio = large_time / small_time;
        report.row(Row {
            axis: format!("claim of {batch}, ms, {0} waiting + {0} finished", short(tasks as f64)),
            rdev: format!("{large_time:.2}"),
            peer: format!("rdev, {} waiting {small_time:.2}", claims * batch),
            ratio: format!("{ratio:.2}x"),
            aim: "<= 1.3x",
            met: Some(ratio <= AIM),
        });
    }
    empty(&large).await?;
    of_boss(setup, tasks, report).await?;
    behind_a_key(&mut small, &mut large, setup.size([100_000, 10_000, 2_000]), claims, report).await
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

/// Returns the times of the claims in each, in milliseconds, measured in turn.
async fn beside(small: &Rdev, large: &Rdev, batch: u64, claims: u64) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let (mut small_times, mut large_times) = (Vec::new(), Vec::new());
    for n in 0..claims {
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
    Ok((small_times, large_times))
}

/// Measures the same for pg-boss, which has a function for a claim.
async fn of_boss(setup: &Setup, tasks: u64, report: &mut Report) -> anyhow::Result<()> {
    let Some(peers) = &setup.peers else { return Ok(()) };
    let small = setup.server.create("pg_boss_claim_small").await?;
    let mut small = Program::open(small, Peer::Boss, peers).await?;
    let large = setup.server.create("pg_boss_claim_large").await?;
    let mut large = Program::open(large, Peer::Boss, peers).await?;
    let rounds = setup.size([5, 2, 1]);
    fill_boss(&mut small, 0, PEER_CLAIMS * rounds).await?;
    fill_boss(&mut large, tasks, tasks).await?;
    let (mut small_times, mut large_times) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        small_times.extend(small.claims(PEER_CLAIMS, 1).await?);
        large_times.extend(large.claims(PEER_CLAIMS, 1).await?);
    }
    let (small, large) = (median(&small_times), median(&large_times));
    report.fact(format!(
        "the same for pg-boss, claims of 1: {large:.2} ms beside {small:.2} ms, {:.2}x",
        large / small
    ));
    Ok(())
}

async fn fill_boss(boss: &mut Program, finished: u64, waiting: u64) -> anyhow::Result<()> {
    if finished > 0 {
        boss.fill(finished).await?;
        sql(boss.database(), "UPDATE pgboss.job SET state = 'completed', completed_on = now()").await?;
    }
    boss.fill(waiting.div_ceil(500) * 500).await?;
    sql(boss.database(), "VACUUM ANALYZE").await?;
    sql(boss.database(), "CHECKPOINT").await
}

/// Measures claims of tasks that may run, behind many that may not because another one of their key is under way.
async fn behind_a_key(
    free: &mut Rdev,
    behind: &mut Rdev,
    blocked: u64,
    claims: u64,
    report: &mut Report,
) -> anyhow::Result<()> {
    fill(free, 0, claims).await?;
    empty(behind).await?;
    behind.one_of_key(KEYED).await?;
    claim(behind.store(), 1).await?;
    behind.one_of_key(KEYED).await?;
    behind.clone_task(blocked - 1, false).await?;
    behind.one(false).await?;
    behind.clone_task(claims - 1, false).await?;
    sql(behind.database(), "VACUUM ANALYZE").await?;
    sql(behind.database(), "CHECKPOINT").await?;
    let (free_times, behind_times) = beside(free, behind, 1, claims).await?;
    let (free_time, behind_time) = (median(&free_times), median(&behind_times));
    let ratio = behind_time / free_time;
    report.row(Row {
        axis: format!("claim of 1, ms, behind {} that wait for one key", short(blocked as f64)),
        rdev: format!("{behind_time:.2}"),
        peer: format!("rdev, none of that key {free_time:.2}"),
        ratio: format!("{ratio:.2}x"),
        aim: "<= 1.3x",
        met: Some(ratio <= AIM),
    });
    let (first, longest) = (behind_times.first().context("no claim")?, percentile(&behind_times, 1.0));
    let begun = Instant::now();
    let none = claim(behind.store(), 1).await?;
    let empty = millis(begun.elapsed());
    anyhow::ensure!(none.is_empty(), "a task was claimed although another one of its key is under way");
    report.fact(format!(
        "claims behind a key: the first takes {first:.2} ms, the longest {longest:.2} ms, one that finds none {empty:.2} ms"
    ));
    Ok(())
}
