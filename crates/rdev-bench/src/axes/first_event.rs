//! Time from a POST to the first output event of the command, beside a bare spawn of the same command.

use std::io::Read;
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use memchr::memmem;

use super::Setup;
use super::run::Client;
use crate::servers::Rdev;
use crate::stats::{median, millis, percentile};
use crate::table::{Report, Row};

const COMMAND: &str = "echo x";
/// Pause between samples, as between two commands of a person or a bot: rdev cleans up after the previous
/// one meanwhile.
const PAUSE: Duration = Duration::from_millis(25);

/// Times of one server, in milliseconds.
#[derive(Default)]
struct Times {
    /// To the first output event.
    first: Vec<f64>,
    /// To the end of the stream.
    whole: Vec<f64>,
}

pub(super) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let sqlite = Rdev::start(&setup.rdev, &setup.folder.join("first-event")).await?;
    let url = setup.postgres.create("rdev_first_event").await?;
    let settings = [("RDEV_DATABASE_URL", url.as_str())];
    let postgres =
        Rdev::start_with(&setup.rdev, &setup.folder.join("first-event-postgres"), &settings).await?;
    let mut servers =
        [(Client::new(&sqlite).await?, Times::default()), (Client::new(&postgres).await?, Times::default())];
    let mut bare = Vec::new();
    for sample in 0..setup.size([220, 50, 30]) {
        tokio::time::sleep(PAUSE).await;
        // The first samples warm up.
        let counts = sample >= 20;
        let spawn = bare_spawn()?;
        if counts {
            bare.push(millis(spawn));
        }
        for (client, times) in &mut servers {
            tokio::time::sleep(PAUSE).await;
            let (event, complete) = through_rdev(client).await?;
            if counts {
                times.first.push(millis(event));
                times.whole.push(millis(complete));
            }
        }
    }
    let [(_, on_sqlite), (_, on_postgres)] = &servers;
    tell("SQLite", (on_sqlite, &bare), ("<= +1.5 ms", 1.5), report);
    tell("Postgres", (on_postgres, &bare), ("<= +2.5 ms", 2.5), report);
    Ok(())
}

/// Adds the rows of one server. The aim is the median time that rdev may add to a spawn.
fn tell(
    database: &str,
    (times, bare): (&Times, &[f64]),
    (aim, aim_ms): (&'static str, f64),
    report: &mut Report,
) {
    let added = median(&times.first) - median(bare);
    report.row(Row {
        axis: format!("POST to first event, {database}, ms (p50)"),
        rdev: format!("{:.2}", median(&times.first)),
        peer: format!("bare spawn {:.2}", median(bare)),
        ratio: format!("+{added:.2} ms"),
        aim,
        met: Some(added <= aim_ms),
    });
    let (ours, theirs) = (percentile(&times.first, 0.99), percentile(bare, 0.99));
    report.row(Row {
        axis: format!("POST to first event, {database}, ms (p99)"),
        rdev: format!("{ours:.2}"),
        peer: format!("bare spawn {theirs:.2}"),
        ratio: format!("+{:.2} ms", ours - theirs),
        aim: "-",
        met: None,
    });
    let (p50, p99) = (median(&times.whole), percentile(&times.whole, 0.99));
    report
        .fact(format!("first event, {database}: the stream ends after {p50:.2} ms (p50), {p99:.2} ms (p99)"));
}

fn bare_spawn() -> anyhow::Result<Duration> {
    let began = Instant::now();
    let mut child = Command::new("sh").args(["-c", COMMAND]).stdout(Stdio::piped()).spawn()?;
    let mut byte = [0];
    if let Some(pipe) = &mut child.stdout {
        pipe.read_exact(&mut byte)?;
    }
    let first = began.elapsed();
    child.wait()?;
    Ok(first)
}

/// Returns the time to the first output event, and to the end of the stream.
async fn through_rdev(client: &mut Client<'_>) -> anyhow::Result<(Duration, Duration)> {
    let began = Instant::now();
    let (mut seen, mut first) = (Vec::new(), None);
    client
        .events(COMMAND, |bytes| {
            seen.extend_from_slice(bytes);
            if first.is_none() && memmem::find(&seen, b"event: output").is_some() {
                first = Some(began.elapsed());
            }
            ControlFlow::Continue(())
        })
        .await?;
    let text = String::from_utf8_lossy(&seen);
    let first = first.ok_or_else(|| anyhow::anyhow!("no output event: {text}"))?;
    anyhow::ensure!(text.contains("\"line\":\"x\"") && text.contains("event: complete"), "{text}");
    Ok((first, began.elapsed()))
}
