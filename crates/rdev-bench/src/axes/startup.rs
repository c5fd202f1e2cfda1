//! Time from the start of the process to the first answer, and memory while idle.

use std::time::{Duration, Instant};

use super::Setup;
use crate::servers::{Rdev, sandbox_agent};
use crate::stats::{median, millis};
use crate::table::{Report, Row, beside};

const IDLE: Duration = Duration::from_secs(2);

pub(super) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let (mut fresh, mut second, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..setup.size([7, 3, 2]) {
        let data = setup.folder.join(format!("startup-{round}"));
        for times in [&mut fresh, &mut second] {
            let began = Instant::now();
            let rdev = Rdev::start(&setup.rdev, &data).await?;
            times.push(millis(began.elapsed()));
            drop(rdev);
        }
        if let Some(program) = &setup.sandbox_agent {
            let began = Instant::now();
            let peer = sandbox_agent(program, &setup.folder).await?;
            theirs.push(millis(began.elapsed()));
            drop(peer);
        }
    }
    let theirs = setup.has_peers().then(|| median(&theirs));
    for (name, times) in [("no data yet", &fresh), ("with its data", &second)] {
        let ours = median(times);
        report.row(Row {
            axis: format!("start to first 200, ms ({name})"),
            rdev: format!("{ours:.1}"),
            peer: beside("sandbox-agent", theirs.map(|theirs| format!("{theirs:.1}"))),
            ratio: theirs.map_or("-".into(), |theirs| format!("{:.2}", ours / theirs)),
            aim: "<= 100 ms",
            met: Some(ours <= 100.0),
        });
    }
    idle_memory(setup, report).await
}

/// Measures the memory of both while both are idle.
async fn idle_memory(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..setup.size([3, 1, 1]) {
        let rdev = Rdev::start(&setup.rdev, &setup.folder.join("startup-0")).await?;
        let peer = match &setup.sandbox_agent {
            Some(program) => Some(sandbox_agent(program, &setup.folder).await?),
            None => None,
        };
        tokio::time::sleep(IDLE).await;
        ours.push(rdev.server.memory()? / 1e6);
        if let Some(peer) = peer {
            theirs.push(peer.memory()? / 1e6);
        }
    }
    let ours = median(&ours);
    let theirs = setup.has_peers().then(|| median(&theirs));
    report.row(Row {
        axis: "idle memory, MB".into(),
        rdev: format!("{ours:.1}"),
        peer: beside("sandbox-agent", theirs.map(|theirs| format!("{theirs:.1}"))),
        ratio: theirs.map_or("-".into(), |theirs| format!("{:.2}", ours / theirs)),
        aim: "<= 20 MB",
        met: Some(ours <= 20.0),
    });
    Ok(())
}
