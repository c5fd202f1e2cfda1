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

pub(super) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let rdev = Rdev::start(&setup.rdev, &setup.folder.join("first-event")).await?;
    let mut client = Client::new(&rdev).await?;
    let (mut bare, mut first, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for sample in 0..setup.size([220, 50, 30]) {
        tokio::time::sleep(PAUSE).await;
        let spawn = bare_spawn()?;
        let (event, complete) = through_rdev(&mut client).await?;
        // The first samples warm up.
        if sample >= 20 {
            bare.push(millis(spawn));
            first.push(millis(event));
            whole.push(millis(complete));
        }
    }
    let added = median(&first) - median(&bare);
    report.row(Row {
        axis: "POST to first event, ms (p50)".into(),
        rdev: format!("{:.2}", median(&first)),
        peer: format!("bare spawn {:.2}", median(&bare)),
        ratio: format!("+{added:.2} ms"),
        aim: "<= +3 ms",
        met: Some(added <= 3.0),
    });
    let (ours, theirs) = (percentile(&first, 0.99), percentile(&bare, 0.99));
    report.row(Row {
        axis: "POST to first event, ms (p99)".into(),
        rdev: format!("{ours:.2}"),
        peer: format!("bare spawn {theirs:.2}"),
        ratio: format!("+{:.2} ms", ours - theirs),
        aim: "-",
        met: None,
    });
    let (p50, p99) = (median(&whole), percentile(&whole, 0.99));
    report.fact(format!("first event: the stream ends after {p50:.2} ms (p50), {p99:.2} ms (p99)"));
    Ok(())
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
