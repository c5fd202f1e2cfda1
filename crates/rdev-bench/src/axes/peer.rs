//! sandbox-agent, the direct peer: a short command, a slow reader, and a killed server.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rdev_client::OutputForm;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::Setup;
use super::run::Client;
use crate::http::{Answer, Connection, request};
use crate::servers::{PROJECT, Rdev, Server, sandbox_agent};
use crate::sse::{Counter, leading_number};
use crate::stats::{median, millis, percentile};
use crate::table::{Report, Row, beside};

/// Silence after which a stream counts as finished.
const SILENCE: Duration = Duration::from_secs(2);

pub(super) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let data = setup.folder.join("peer");
    let rdev = Rdev::start(&setup.rdev, &data).await?;
    let peer = match &setup.sandbox_agent {
        Some(program) => Some(sandbox_agent(program, &setup.folder).await?),
        None => None,
    };
    short_command(setup, &rdev, peer.as_ref(), report).await?;

    // Time for which the slow reader reads nothing.
    let stall = Duration::from_secs(setup.size([4, 4, 1]));
    let lines = setup.size([100_000, 20_000, 20_000]);
    let command = format!("bash -c 'for ((i=1;i<={lines};i++)); do echo \"$i of the build output\"; done'");
    let (ours, ours_repeated) = slow_rdev(&rdev, &command, stall).await?;
    let theirs = match &peer {
        Some(peer) => Some(slow_peer(peer, &command, stall).await?),
        None => None,
    };
    report.row(Row {
        axis: format!("a reader that stalls {} s: of {lines} lines", stall.as_secs()),
        rdev: format!("{ours}"),
        peer: beside("sandbox-agent", theirs.map(|theirs| theirs.to_string())),
        ratio: format!("{} lost", lines - ours),
        aim: "0 lost",
        met: Some(ours == lines && ours_repeated == 0),
    });

    let (ours, ours_ran) = killed_rdev(setup, rdev).await?;
    let theirs = match (&setup.sandbox_agent, peer) {
        (Some(program), Some(peer)) => Some(killed_peer(setup, program, peer).await?),
        _ => None,
    };
    report.row(Row {
        axis: "kill -9 of the server: of 40 lines, read after".into(),
        rdev: format!("{ours}"),
        peer: beside("sandbox-agent", theirs.map(|(lines, _)| lines.to_string())),
        ratio: format!("{} lost", 40 - ours),
        aim: "0 lost",
        met: Some(ours == 40),
    });
    let theirs = theirs.map_or(String::new(), |(_, ran)| format!(", to {ran} under sandbox-agent"));
    report.fact(format!("kill -9: the command itself continued to line {ours_ran} under rdev{theirs}"));
    Ok(())
}

async fn short_command(
    setup: &Setup,
    rdev: &Rdev,
    peer: Option<&Server>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut client = Client::new(rdev).await?;
    let mut connection = match peer {
        Some(peer) => Some(Connection::open(peer.port).await?),
        None => None,
    };
    let post = request("POST", "/v1/processes/run", &[], r#"{"command":"/bin/true"}"#);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for sample in 0..setup.size([220, 50, 30]) {
        let began = Instant::now();
        client.count("exec /bin/true").await?;
        let own = millis(began.elapsed());
        // The first samples warm up.
        if sample >= 20 {
            ours.push(own);
        }
        if let Some(connection) = &mut connection {
            let began = Instant::now();
            let (status, body) = connection.call(&post).await?;
            anyhow::ensure!(status == 200, "sandbox-agent: {}", String::from_utf8_lossy(&body));
            if sample >= 20 {
                theirs.push(millis(began.elapsed()));
            }
        }
    }
    let ours_p50 = median(&ours);
    let theirs_p50 = peer.map(|_| median(&theirs));
    report.row(Row {
        axis: "/bin/true to its end, ms (p50)".into(),
        rdev: format!("{ours_p50:.2}"),
        peer: beside("sandbox-agent", theirs_p50.map(|theirs| format!("{theirs:.2}"))),
        ratio: theirs_p50.map_or("-".into(), |theirs| format!("{:.1}", ours_p50 / theirs)),
        aim: "-",
        met: None,
    });
    let ours = percentile(&ours, 0.99);
    let theirs = peer
        .map(|_| format!(", sandbox-agent {:.2} ms (in memory)", percentile(&theirs, 0.99)))
        .unwrap_or_default();
    report.fact(format!("/bin/true, p99: rdev {ours:.2} ms (stored, supervised, survives a crash){theirs}"));
    Ok(())
}

/// Returns the number of distinct lines that a stalling reader gets from rdev, and the number of
/// duplicates.
async fn slow_rdev(rdev: &Rdev, command: &str, stall: Duration) -> anyhow::Result<(u64, u64)> {
    let (_, url) = rdev.submit(command).await?;
    let mut connection = Connection::open(rdev.server.port).await?;
    let mut counter = Counter::new();
    let get = rdev.request("GET", &url, "text/event-stream", "");
    let mut answer = connection.send(&get, |bytes| counter.push(bytes)).await?;
    sleep(stall).await;
    let rest = connection.follow(&mut answer, |bytes| {
        counter.push(bytes);
        ControlFlow::Continue(())
    });
    timeout(Duration::from_secs(30), rest).await??;
    let complete = u64::from(counter.is_complete());
    Ok((counter.numbers.count - complete, counter.numbers.repeated))
}

/// Returns the number of distinct lines that a stalling reader gets from sandbox-agent.
async fn slow_peer(peer: &Server, command: &str, stall: Duration) -> anyhow::Result<u64> {
    let id = peer_start(peer, command).await?;
    let mut connection = Connection::open(peer.port).await?;
    let get = request("GET", &format!("/v1/processes/{id}/logs?follow=true"), &[], "");
    let mut text = Vec::new();
    let mut answer: Answer = connection.send(&get, |bytes| text.extend_from_slice(bytes)).await?;
    sleep(stall).await;
    // The stream does not end with the process, so silence marks its end.
    while let Ok(more) = timeout(SILENCE, connection.read(&mut answer, |b| text.extend_from_slice(b))).await {
        if !more? {
            break;
        }
    }
    let data = text.split(|&byte| byte == b'\n').filter_map(|line| line.strip_prefix(b"data: "));
    let entries: Vec<Value> = data.filter_map(|json| serde_json::from_slice(json).ok()).collect();
    distinct(&entries)
}

async fn peer_start(peer: &Server, command: &str) -> anyhow::Result<String> {
    let body = json!({ "command": "sh", "args": ["-c", command] }).to_string();
    let post = request("POST", "/v1/processes", &[], &body);
    let (_, answer) = Connection::open(peer.port).await?.call(&post).await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    answer["id"].as_str().map(str::to_owned).with_context(|| format!("no id in {answer}"))
}

/// Counts distinct numbered lines in log entries of sandbox-agent; a line may be split over two entries.
fn distinct(entries: &[Value]) -> anyhow::Result<u64> {
    let mut pieces = BTreeSet::new();
    let mut bytes = Vec::new();
    for entry in entries {
        if entry["sequence"].as_u64().is_some_and(|sequence| pieces.insert(sequence)) {
            bytes.extend(STANDARD.decode(entry["data"].as_str().unwrap_or_default())?);
        }
    }
    let lines: BTreeSet<u64> = bytes.split(|&byte| byte == b'\n').filter_map(leading_number).collect();
    Ok(lines.len() as u64)
}

/// Returns a command that prints 40 lines in 2 s, and writes each number to a file first.
fn counting(file: &str) -> String {
    format!("for i in $(seq 1 40); do echo $i >{file}; echo $i; sleep 0.05; done")
}

async fn killed_rdev(setup: &Setup, rdev: Rdev) -> anyhow::Result<(u64, u64)> {
    let file = setup.folder.join("counted-by-rdev");
    let (id, _) = rdev.submit(&counting(&file.to_string_lossy())).await?;
    sleep(Duration::from_millis(700)).await;
    rdev.server.kill()?;
    let rdev = Rdev::start(&setup.rdev, &setup.folder.join("peer")).await?;
    sleep(Duration::from_secs(3)).await;
    let output = rdev.client()?.command_output(PROJECT, &id, OutputForm::Bytes).await?.bytes().await?;
    let lines: BTreeSet<u64> = output.split(|&byte| byte == b'\n').filter_map(leading_number).collect();
    Ok((lines.len() as u64, std::fs::read_to_string(file)?.trim().parse()?))
}

async fn killed_peer(setup: &Setup, program: &Path, peer: Server) -> anyhow::Result<(u64, u64)> {
    let file = setup.folder.join("counted-by-peer");
    let id = peer_start(&peer, &counting(&file.to_string_lossy())).await?;
    sleep(Duration::from_millis(700)).await;
    peer.kill()?;
    let peer = sandbox_agent(program, &setup.folder).await?;
    sleep(Duration::from_secs(3)).await;
    let get = request("GET", &format!("/v1/processes/{id}/logs"), &[], "");
    let (_, answer) = Connection::open(peer.port).await?.call(&get).await?;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let lines = distinct(answer["entries"].as_array().map_or(&[], Vec::as_slice))?;
    Ok((lines, std::fs::read_to_string(file)?.trim().parse()?))
}
