//! A thousand subscribers of one stream, beside nginx with nchan and the same messages.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Setup;
use crate::http::{Answer, READ_BYTES, connect, request};
use crate::servers::{PROJECT, Rdev, Server, cpu, nchan};
use crate::sse::{Counter, Numbers};
use crate::stats::median;
use crate::table::{Report, Row, beside, short};

/// Time for memory to settle.
const SETTLE: Duration = Duration::from_secs(2);
/// Time after which a burst counts as having lost events.
const BURST_TIMEOUT: Duration = Duration::from_secs(60);
/// Text of a message after its number: about as long as a line of a build log.
pub(super) const TEXT: &str =
    "of a build that says what it does, with about as many words as a line of a log has";

struct Subscriber {
    socket: TcpStream,
    answer: Answer,
    counter: Counter,
}

/// One burst, from its first message to the last event of the last subscriber.
struct Burst {
    deliveries_a_second: f64,
    bytes_an_event: f64,
    server_us_an_event: f64,
    client_us_an_event: f64,
}

pub(super) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let subscribers = setup.size([1_000, 50, 50]);
    idle(setup, subscribers, report).await?;
    bursts(setup, subscribers, report).await
}

/// Starts nginx with nchan, unless no peer is measured.
pub(super) async fn peer(setup: &Setup) -> anyhow::Result<Option<Server>> {
    Ok(if setup.has_peers() { Some(nchan(&setup.folder).await?) } else { None })
}

/// Measures the memory of a waiting subscriber. Each round has new servers: memory that one has used before is not used by its next
/// subscribers for the first time.
async fn idle(setup: &Setup, subscribers: usize, report: &mut Report) -> anyhow::Result<()> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..setup.size([3, 1, 1]) {
        let rdev = Rdev::start(&setup.rdev, &setup.folder.join("fanout")).await?;
        ours.push(idle_rdev(&rdev, subscribers).await?);
        if let Some(nginx) = peer(setup).await? {
            theirs.push(idle_nchan(&nginx, subscribers).await?);
        }
    }
    let ours = median(&ours);
    let theirs = setup.has_peers().then(|| median(&theirs));
    report.row(Row {
        axis: format!("{subscribers} idle subscribers, KiB each"),
        rdev: format!("{ours:.1}"),
        peer: beside("nchan", theirs.map(|theirs| format!("{theirs:.1}"))),
        ratio: theirs.map_or("-".into(), |theirs| format!("{:.2}", ours / theirs)),
        aim: "<= 12 KiB",
        met: Some(ours <= 12.0),
    });
    Ok(())
}

async fn bursts(setup: &Setup, subscribers: usize, report: &mut Report) -> anyhow::Result<()> {
    let (messages, rounds) = (setup.size([1_000, 100, 100]), setup.size([5, 2, 1]));
    let rdev = Rdev::start(&setup.rdev, &setup.folder.join("fanout")).await?;
    let nginx = peer(setup).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        ours.push(burst_rdev(setup, &rdev, subscribers, messages, round).await?);
        if let Some(nginx) = &nginx {
            theirs.push(burst_nchan(nginx, subscribers, messages, round).await?);
        }
    }
    let of =
        |bursts: &[Burst], figure: fn(&Burst) -> f64| median(&bursts.iter().map(figure).collect::<Vec<_>>());
    let rate = |bursts| of(bursts, |burst| burst.deliveries_a_second);
    let ratio = nginx.as_ref().map(|_| rate(&ours) / rate(&theirs));
    report.row(Row {
        axis: format!("{messages} events to {subscribers}, deliveries/s"),
        rdev: short(rate(&ours)),
        peer: beside("nchan", nginx.as_ref().map(|_| short(rate(&theirs)))),
        ratio: ratio.map_or("-".into(), |ratio| format!("{ratio:.1}")),
        aim: ">= 1",
        met: ratio.map(|ratio| ratio >= 1.0),
    });
    for (name, bursts) in [("rdev", &ours), ("nchan", &theirs)].into_iter().filter(|(_, b)| !b.is_empty()) {
        report.fact(format!(
            "burst, {name}: {:.0} bytes an event; processor time an event: server {:.2} us, generator {:.2} us",
            of(bursts, |burst| burst.bytes_an_event),
            of(bursts, |burst| burst.server_us_an_event),
            of(bursts, |burst| burst.client_us_an_event),
        ));
    }
    Ok(())
}

async fn idle_rdev(rdev: &Rdev, subscribers: usize) -> anyhow::Result<f64> {
    let (id, url) = rdev.submit("sleep 60").await?;
    tokio::time::sleep(SETTLE).await;
    let before = rdev.server.memory()?;
    let get = rdev.request("GET", &url, "text/event-stream", "");
    let all = subscribe(rdev.server.port, &get, subscribers).await?;
    tokio::time::sleep(SETTLE).await;
    let each = (rdev.server.memory()? - before) / 1024.0 / subscribers as f64;
    drop(all);
    rdev.client()?.cancel_command(PROJECT, &id).await?;
    Ok(each)
}

async fn idle_nchan(nginx: &Server, subscribers: usize) -> anyhow::Result<f64> {
    tokio::time::sleep(SETTLE / 2).await;
    let before = nginx.tree_memory()?;
    let all = subscribe(nginx.port, &nchan_get("idle"), subscribers).await?;
    tokio::time::sleep(SETTLE).await;
    let each = (nginx.tree_memory()? - before) / 1024.0 / subscribers as f64;
    drop(all);
    Ok(each)
}

pub(super) fn nchan_get(channel: &str) -> Vec<u8> {
    request("GET", &format!("/sub?id={channel}"), &[("Accept", "text/event-stream")], "")
}

/// Runs a burst. The command waits at a fifo, so it starts after every subscriber.
async fn burst_rdev(
    setup: &Setup,
    rdev: &Rdev,
    subscribers: usize,
    messages: u64,
    round: usize,
) -> anyhow::Result<Burst> {
    let command = format!(
        "mkfifo go{round}; read x <go{round}; exec bash -c 'for ((i=1;i<={messages};i++)); do \
         echo \"message $i {TEXT}\"; done'"
    );
    let (_, url) = rdev.submit(&command).await?;
    let get = rdev.request("GET", &url, "text/event-stream", "");
    let all = subscribe(rdev.server.port, &get, subscribers).await?;
    let fifo = setup.folder.join("fanout/workspaces/demo").join(format!("go{round}"));
    while !fifo.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(SETTLE / 4).await;
    let start = async move {
        tokio::task::spawn_blocking(move || std::fs::write(fifo, "go\n")).await?.map_err(Into::into)
    };
    // The complete event has a number as well.
    burst(&rdev.server, all, messages + 1, start).await
}

async fn burst_nchan(
    nginx: &Server,
    subscribers: usize,
    messages: u64,
    round: usize,
) -> anyhow::Result<Burst> {
    let channel = format!("burst{round}");
    let all = subscribe(nginx.port, &nchan_get(&channel), subscribers).await?;
    tokio::time::sleep(SETTLE / 4).await;
    // All requests in one write on one connection: nothing slows the publisher.
    let posts: Vec<u8> = (1..=messages)
        .flat_map(|number| post(&channel, number, &format!("message {number} {TEXT}")))
        .collect();
    let mut publisher = connect(nginx.port).await?;
    let publish = async move {
        let (mut answers, mut requests) = publisher.split();
        let mut nowhere = tokio::io::sink();
        let sent = async {
            requests.write_all(&posts).await?;
            std::future::pending::<anyhow::Result<()>>().await
        };
        tokio::select! {
            sent = sent => sent,
            read = tokio::io::copy(&mut answers, &mut nowhere) => read.map(|_| ()).map_err(Into::into),
        }
    };
    burst(nginx, all, messages, publish).await
}

/// Returns a request that publishes the data that rdev makes of the same line.
pub(super) fn post(channel: &str, number: u64, line: &str) -> Vec<u8> {
    let data = format!(
        "{{\"stream_id\":\"cmd-0199d7e8c0de7000a0b1c2d3e4f50617\",\"seq\":{number},\"stream\":\"stdout\",\
         \"line\":\"{line}\",\"timestamp\":\"2026-01-24T20:00:00.123456Z\"}}"
    );
    request("POST", &format!("/pub?id={channel}"), &[], &data)
}

/// Connects the subscribers, and waits until each has the head of its answer.
async fn subscribe(port: u16, get: &[u8], count: usize) -> anyhow::Result<Vec<Subscriber>> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let mut socket = connect(port).await?;
        socket.write_all(get).await?;
        all.push(Subscriber { socket, answer: Answer::new(), counter: Counter::new() });
    }
    let mut buffer = vec![0; READ_BYTES];
    for subscriber in &mut all {
        while !subscriber.answer.has_head() {
            anyhow::ensure!(subscriber.take(&mut buffer).await?, "a subscriber was refused");
        }
        anyhow::ensure!(subscriber.answer.is_events, "status {}", subscriber.answer.status);
    }
    Ok(all)
}

impl Subscriber {
    /// Reads what has arrived; false at the end.
    async fn take(&mut self, buffer: &mut [u8]) -> anyhow::Result<bool> {
        self.socket.readable().await?;
        self.try_take(buffer)
    }

    fn try_take(&mut self, buffer: &mut [u8]) -> anyhow::Result<bool> {
        match self.socket.try_read(buffer) {
            Ok(n) => {
                self.answer.feed(&buffer[..n], |bytes| self.counter.push(bytes))?;
                Ok(n > 0)
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// Runs `start`, and counts the events of every subscriber up to `events`.
async fn burst(
    server: &Server,
    all: Vec<Subscriber>,
    events: u64,
    start: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> anyhow::Result<Burst> {
    let (count, own) = (all.len() as f64, std::process::id());
    // On one thread the shared buffer's lock is never contended.
    let buffer = Arc::new(Mutex::new(vec![0; READ_BYTES]));
    let mut readers = JoinSet::new();
    let (server_before, client_before, began) = (server.cpu()?, cpu(own)?, Instant::now());
    for mut subscriber in all {
        let buffer = buffer.clone();
        readers.spawn(async move {
            while subscriber.counter.numbers.count < events {
                subscriber.socket.readable().await?;
                let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
                anyhow::ensure!(subscriber.try_take(&mut buffer)?, "a stream ended early");
            }
            Ok(subscriber.counter)
        });
    }
    let starter = tokio::spawn(start);
    let counted = tokio::time::timeout(BURST_TIMEOUT, readers.join_all()).await;
    let elapsed = began.elapsed();
    starter.abort();
    let mut bytes = 0;
    for counter in counted.context("events were lost")? {
        let counter = counter?;
        let all_once = Numbers { next: events + 1, count: events, repeated: 0, missing: 0 };
        anyhow::ensure!(counter.numbers == all_once, "{:?}", counter.numbers);
        bytes += counter.bytes;
    }
    let deliveries = count * events as f64;
    Ok(Burst {
        deliveries_a_second: deliveries / elapsed.as_secs_f64(),
        bytes_an_event: bytes as f64 / deliveries,
        server_us_an_event: (server.cpu()? - server_before) / deliveries * 1e6,
        client_us_an_event: (cpu(own)? - client_before) / deliveries * 1e6,
    })
}
