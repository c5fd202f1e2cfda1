//! Many commands at once, on SQLite and on Postgres: memory of the server, and leases.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use rdev_client::types::ShellBody;

use super::Setup;
use crate::servers::{PROJECT, Rdev};
use crate::table::{Report, Row};

const MEMORY_MB_MAX: f64 = 400.0;
/// Lines of the server's log after which a job was not the worker's any more.
const LOST: [&str; 3] = ["another worker has taken over", "lease released", "lease will expire"];
/// Time for all commands to start, and for the last to end.
const PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(200);

pub(super) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    measure(setup, "SQLite", None, report).await?;
    let url = setup.postgres.create("rdev_commands").await?;
    measure(setup, "Postgres", Some(url), report).await
}

async fn measure(setup: &Setup, name: &str, url: Option<String>, report: &mut Report) -> anyhow::Result<()> {
    let count = setup.size([1_000_usize, 100, 20]);
    // The leases are renewed many times while all commands run.
    let (lease, seconds) = (setup.size(["30", "10", "3"]), setup.size([90, 20, 4]));
    let at_once = count.to_string();
    let mut settings = vec![("RDEV_WORKER_CONCURRENCY", at_once.as_str()), ("RDEV_LEASE_SECONDS", lease)];
    settings.extend(url.as_deref().map(|url| ("RDEV_DATABASE_URL", url)));
    let data = setup.folder.join(format!("commands-{name}"));
    let rdev = Rdev::start_with(&setup.rdev, &data, &settings).await?;
    let idle = rdev.server.memory()? / 1e6;
    let enough = data.join("workspaces").join(PROJECT).join("enough");
    let started = start(&rdev, &data, count).await;
    if started.is_ok() {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
    // They end whatever has happened: they outlive the server.
    fs::write(enough, "")?;
    let (ids, started) = started?;
    let client = rdev.client()?;
    for id in &ids {
        let command = client.await_command(PROJECT, id, 60).await?;
        anyhow::ensure!(command.progress.exit_code == Some(0), "{command:?}");
    }
    let peak = rdev.server.peak_memory()? / 1e6;
    let log = fs::read_to_string(data.with_extension("log")).context("the server's log")?;
    let lost = log.lines().filter(|line| LOST.iter().any(|text| line.contains(text))).count();
    report.row(Row {
        axis: format!("{count} commands at once, MB at most ({name})"),
        rdev: format!("{peak:.1}"),
        peer: format!("rdev, idle {idle:.1}"),
        ratio: format!("+{:.0} KiB each", (peak - idle) * 1e6 / 1024.0 / count as f64),
        aim: "<= 400 MB",
        met: Some(peak <= MEMORY_MB_MAX),
    });
    report.row(Row {
        axis: format!("{count} commands at once, leases lost ({name})"),
        rdev: format!("{lost}"),
        peer: "-".into(),
        ratio: format!("{lost} lost"),
        aim: "0 lost",
        met: Some(lost == 0),
    });
    report.fact(format!(
        "{count} commands at once on {name}: all have begun after {:.1} s, and ran for {seconds} s with leases of {lease} s",
        started.as_secs_f64()
    ));
    Ok(())
}

/// Starts commands that wait for a file; returns their ids, and the time until all have begun.
async fn start(rdev: &Rdev, data: &Path, count: usize) -> anyhow::Result<(Vec<String>, Duration)> {
    let command = "echo begun >>begun; until [ -e enough ]; do sleep 2; done; echo ended";
    let body = ShellBody { timeout_seconds: Some(600.into()), ..ShellBody::new(command) };
    let client = rdev.client()?;
    let began = Instant::now();
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(client.run_shell(PROJECT, &body).await?.id.clone());
    }
    let file = data.join("workspaces").join(PROJECT).join("begun");
    let begun = || fs::read_to_string(&file).map_or(0, |text| text.lines().count());
    while begun() < count {
        anyhow::ensure!(began.elapsed() < PATIENCE, "{} of {count} commands have begun", begun());
        tokio::time::sleep(POLL).await;
    }
    Ok((ids, began.elapsed()))
}
