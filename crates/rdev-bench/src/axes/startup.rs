//! Time from the start of the process to the first answer, and memory while idle.

use std::time::{Duration, Instant};

use super::Setup;
use crate::servers::{Rdev, sandbox_agent};
use crate::stats::{median, millis};
use crate::table::{Report, Row};

const IDLE: Duration = Duration::from_secs(2);

pub(super) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let (mut fresh, mut second, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..setup.size(7, 2) {
        let data = setup.folder.join(format!("startup-{round}"));
        for times in [&mut fresh, &mut second] {
            let began = Instant::now();
            let rdev = Rdev::start(&setup.rdev, &data).await?;
            times.push(millis(began.elapsed()));
            drop(rdev);
        }
        let began = Instant::now();
        let peer = sandbox_agent(&setup.sandbox_agent, &setup.folder).await?;
        theirs.push(millis(began.elapsed()));
        drop(peer);
    }
    let theirs = median(&theirs);
    for (name, times) in [("no data yet", &fresh), ("with its data", &second)] {
        let ours = median(times);
        report.row(Row {
            axis: format!("start to first 200, ms ({name})"),
            rdev: format!("{ours:.1}"),
            peer: format!("sandbox-agent {theirs:.1}"),
            ratio: format!("{:.2}", ours / theirs),
            aim: "<= 100 ms",
            met: Some(ours <= 100.0),
        });
    }

    let rdev = Rdev::start(&setup.rdev, &setup.folder.join("startup-0")).await?;
    let peer = sandbox_agent(&setup.sandbox_agent, &setup.folder).await?;
    tokio::time::sleep(IDLE).await;
    let (ours, theirs) = (rdev.server.memory()? / 1e6, peer.memory()? / 1e6);
    report.row(Row {
        axis: "idle memory, MB".into(),
        rdev: format!("{ours:.1}"),
        peer: format!("sandbox-agent {theirs:.1}"),
        ratio: format!("{:.2}", ours / theirs),
        aim: "<= 20 MB",
        met: Some(ours <= 20.0),
    });
    Ok(())
}
