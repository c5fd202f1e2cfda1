//! Lines per second from a command to one client, beside the same command through a pipe into a file, beside what loopback carries
//! of the same events, and beside websocketd. Each must deliver every line, in order, up to the right last one.

use std::fs;
use std::ops::ControlFlow;
use std::process::Command;
use std::time::Instant;

use super::Setup;
use super::renderings::{self, Piped};
use super::run::Client;
use crate::http::{Connection, request};
use crate::servers::{Rdev, Server, loopback, websocketd};
use crate::sse::Counter;
use crate::stats::median;
use crate::table::{Report, Row, short};
use crate::ws;

/// A command that prints numbered lines.
struct Case {
    name: &'static str,
    command: String,
    lines: u64,
    /// True for a command that prints faster than any server forwards.
    floods: bool,
    /// Text before a line's number.
    prefix: &'static str,
    first: u64,
    last: String,
}

pub(super) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let rdev = Rdev::start(&setup.rdev, &setup.folder.join("lines")).await?;
    let flood = setup.size([1_000_000, 50_000, 20_000]);
    let writes = setup.size([300_000, 20_000, 10_000]);
    let cases = [
        Case {
            name: "flood",
            command: format!("seq 1 {flood}"),
            lines: flood,
            floods: true,
            prefix: "",
            first: 1,
            last: flood.to_string(),
        },
        Case {
            name: "a write a line",
            command: format!(
                "bash -c 'for ((i=0;i<{writes};i++)); do echo \"line $i of the build output\"; done'"
            ),
            lines: writes,
            floods: false,
            prefix: "line ",
            first: 0,
            last: format!("line {} of the build output", writes - 1),
        },
    ];
    for case in &cases {
        measure(setup, &rdev, case, report).await?;
    }
    let memory = rdev.server.memory()? / 1e6;
    report.fact(format!("lines: rdev-api holds {memory:.1} MB after these runs"));
    Ok(())
}

async fn measure(setup: &Setup, rdev: &Rdev, case: &Case, report: &mut Report) -> anyhow::Result<()> {
    let websocketd = match setup.has_peers() {
        true => Some(websocketd(&case.command, &setup.folder).await?),
        false => None,
    };
    let mut client = Client::new(rdev).await?;
    let loopback = record(setup, &mut client, case).await?;
    let (mut pipe, mut floor, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut cpu, mut complete, mut bytes) = (0.0, true, 0);
    let rounds = setup.size([5, 2, 1]);
    for _ in 0..rounds {
        pipe.push(through_pipe(setup, case)?);
        floor.push(through_loopback(&loopback, case).await?);

        let (began, cpu_before) = (Instant::now(), rdev.server.cpu()?);
        let counter = client.count(&case.command).await?;
        ours.push(case.lines as f64 / began.elapsed().as_secs_f64());
        cpu += rdev.server.cpu()? - cpu_before;
        bytes = counter.bytes;
        case.check(&counter)?;

        if let Some(websocketd) = &websocketd {
            let began = Instant::now();
            let received = ws::receive(websocketd.port, case.prefix, case.first).await?;
            theirs.push(received.numbers.count as f64 / began.elapsed().as_secs_f64());
            complete &= received.numbers.count == case.lines && received.last == case.last;
        }
    }
    let (pipe, floor, ours, theirs) = (median(&pipe), median(&floor), median(&ours), median(&theirs));
    let name = case.name;
    // When the command itself is the limit, a stream keeps up with it, and no server is faster than another.
    let (aim, least) = if case.floods { (">= 0.5", 0.5) } else { (">= 0.9", 0.9) };
    report.row(Row {
        axis: format!("lines/s, {name}"),
        rdev: short(ours),
        peer: format!("pipe {}", short(pipe)),
        ratio: format!("{:.2}", ours / pipe),
        aim,
        met: Some(ours >= least * pipe),
    });
    report.row(Row {
        axis: format!("lines/s, {name}"),
        rdev: short(ours),
        peer: format!("loopback, the same events {}", short(floor)),
        ratio: format!("{:.2}", ours / floor),
        aim: if case.floods { ">= 0.5" } else { "-" },
        met: case.floods.then_some(ours >= 0.5 * floor),
    });
    let lost = if complete { "" } else { ", INCOMPLETE" };
    if websocketd.is_some() {
        report.row(Row {
            axis: format!("lines/s, {name}"),
            rdev: short(ours),
            peer: format!("websocketd {}{lost}", short(theirs)),
            ratio: format!("{:.1}", ours / theirs),
            aim: if case.floods { ">= 3, then 10" } else { "-" },
            met: case.floods.then_some(ours >= 3.0 * theirs),
        });
    }
    let piped = Piped { name, command: &case.command, lines: case.lines, last: &case.last, pipe };
    renderings::measure(rdev, &piped, rounds, report).await?;
    let a_line = cpu / (rounds as f64 * case.lines as f64) * 1e6;
    let events = bytes as f64 / 1e6;
    report.fact(format!(
        "lines, {name}: {events:.0} MB of events a run; rdev-api without its runner uses {a_line:.2} us of processor a line"
    ));
    Ok(())
}

impl Case {
    /// Fails unless every event was received once and in order, the complete event too.
    fn check(&self, counter: &Counter) -> anyhow::Result<()> {
        let (numbers, last) = (counter.numbers, counter.last_line());
        anyhow::ensure!(numbers.count == self.lines + 1 && numbers.in_order(), "events: {numbers:?}");
        anyhow::ensure!(last == Some(&self.last) && counter.is_complete(), "last line: {last:?}");
        Ok(())
    }
}

/// Runs the command once without a measurement, and starts a server that repeats its events.
async fn record(setup: &Setup, client: &mut Client<'_>, case: &Case) -> anyhow::Result<Server> {
    let mut events = Vec::new();
    let keep = |bytes: &[u8]| {
        events.extend_from_slice(bytes);
        ControlFlow::Continue(())
    };
    client.events(&case.command, keep).await?;
    let file = setup.folder.join("events");
    fs::write(&file, &events)?;
    loopback(&file).await
}

/// Returns lines per second of the recorded events over a socket, to the same client.
async fn through_loopback(loopback: &Server, case: &Case) -> anyhow::Result<f64> {
    let get = request("GET", "/events", &[("Accept", "text/event-stream")], "");
    let began = Instant::now();
    let mut connection = Connection::open(loopback.port).await?;
    let mut counter = Counter::new();
    let mut answer = connection.send(&get, |bytes| counter.push(bytes)).await?;
    let whole = connection.follow(&mut answer, |bytes| {
        counter.push(bytes);
        ControlFlow::Continue(())
    });
    whole.await?;
    let elapsed = began.elapsed().as_secs_f64();
    case.check(&counter)?;
    Ok(case.lines as f64 / elapsed)
}

/// Returns lines per second through a plain pipe into a file.
fn through_pipe(setup: &Setup, case: &Case) -> anyhow::Result<f64> {
    let file = setup.folder.join("piped");
    let began = Instant::now();
    let status =
        Command::new("sh").args(["-c", &format!("{} | cat > \"$0\"", case.command)]).arg(&file).status()?;
    let elapsed = began.elapsed().as_secs_f64();
    let text = fs::read_to_string(&file)?;
    anyhow::ensure!(status.success() && text.lines().count() as u64 == case.lines, "the pipe lost lines");
    anyhow::ensure!(text.lines().last() == Some(&case.last), "the pipe's last line is wrong");
    Ok(case.lines as f64 / elapsed)
}
