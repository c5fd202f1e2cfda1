//! The most subscribers that follow a steady rate of messages, of one stream and of a project's, beside nginx with nchan.
//!
//! Each message has the time at which it was made, and each subscriber the time at which it arrives.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use memchr::memmem::Finder;
use memchr::memrchr;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Setup;
use super::fanout::{TEXT, nchan_get, peer, post};
use crate::http::{Answer, READ_BYTES, connect};
use crate::queue::now;
use crate::servers::{Rdev, Server, cpu};
use crate::sse::{Numbers, leading_number};
use crate::stats::{millis, percentile};
use crate::table::{Report, Row, beside};

const P99_MAX_MS: f64 = 250.0;
/// Messages per second of the ladder.
const RATE: u64 = 20;
/// Time after the last message in which it has to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
/// Step of the latencies, and the greatest one that is told apart.
const STEP_US: i64 = 100;
const STEPS: usize = 200_000;
/// Lateness of the generator's own timer (p99) from which on its figures are as much its own as the server's.
const LATE_MS: f64 = 25.0;
const TICK: Duration = Duration::from_millis(10);

/// A source of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feed {
    Stream,
    Project,
    Nchan,
}

impl Feed {
    fn name(self) -> &'static str {
        match self {
            Self::Stream => "one stream",
            Self::Project => "a project's stream",
            Self::Nchan => "nchan",
        }
    }
}

/// Load of one measurement.
#[derive(Debug, Clone, Copy)]
struct Load {
    subscribers: usize,
    rate: u64,
    messages: u64,
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
struct Steady {
    p50: f64,
    p99: f64,
    /// Subscribers that did not receive every message once and in order.
    lost: usize,
    /// Lateness of the generator's own timer (p99), in milliseconds.
    late: f64,
    /// Processor time of server and generator, in shares of one processor.
    shares: [f64; 2],
}

impl Steady {
    fn keeps(&self) -> bool {
        self.lost == 0 && self.p99 < P99_MAX_MS
    }

    fn generator_is_late(&self) -> bool {
        self.late > LATE_MS
    }

    /// Returns the p99, and a note where it may be a limit of the generator.
    fn p99_text(&self) -> String {
        let note = if self.generator_is_late() { ", the generator is late" } else { "" };
        format!("{:.1}{note}", self.p99)
    }

    fn text(&self) -> String {
        let lost =
            if self.lost > 0 { format!(", {} subscribers LOST messages", self.lost) } else { String::new() };
        let late = if self.generator_is_late() {
            format!(", and the generator itself is {:.0} ms late", self.late)
        } else {
            String::new()
        };
        let [server, generator] = self.shares.map(|share| share * 100.0);
        format!(
            "{:.1} / {:.1}{lost}; server {server:.0}%, generator {generator:.0}% of a processor{late}",
            self.p50, self.p99
        )
    }
}

/// The measured servers.
struct Servers<'a> {
    setup: &'a Setup,
    rdev: Rdev,
    nginx: Option<Server>,
    /// Number of the next command, which has a fifo of its own, or of the next channel.
    next: usize,
}

pub(super) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let rdev = Rdev::start(&setup.rdev, &setup.folder.join("subscribers")).await?;
    let mut servers = Servers { setup, rdev, nginx: peer(setup).await?, next: 0 };
    ladder(&mut servers, report).await?;
    at_one_a_second(&mut servers, report).await
}

impl Servers<'_> {
    fn feeds(&self) -> Vec<Feed> {
        let mut feeds = vec![Feed::Stream, Feed::Project];
        feeds.extend(self.nginx.as_ref().map(|_| Feed::Nchan));
        feeds
    }

    async fn measure(&mut self, feed: Feed, load: Load) -> anyhow::Result<Steady> {
        self.next += 1;
        match (feed, &self.nginx) {
            (Feed::Nchan, Some(nginx)) => of_nchan(nginx, self.next, load).await,
            _ => self.of_rdev(feed, load).await,
        }
    }

    /// The command waits at a fifo, so it starts after every subscriber; its pauses are waits at the fifo, too.
    async fn of_rdev(&self, feed: Feed, load: Load) -> anyhow::Result<Steady> {
        let Load { rate, messages, subscribers } = load;
        let (number, pause) = (self.next, 1.0 / rate as f64);
        let command = format!(
            "mkfifo go{number} && exec bash -c 'exec 3<>go{number}; read -u 3 x; for ((i=1;i<={messages};i++)); do \
             echo \"message $i @$EPOCHREALTIME {TEXT}\"; read -t {pause} -u 3 x; done; true'"
        );
        let (_, stream) = self.rdev.submit(&command).await?;
        let path = match feed {
            Feed::Project => "/projects/demo/events?last_event_id=latest".to_owned(),
            Feed::Stream | Feed::Nchan => stream,
        };
        let get = self.rdev.request("GET", &path, "text/event-stream", "");
        let fifo = self.setup.folder.join("subscribers/workspaces/demo").join(format!("go{number}"));
        while !fifo.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let all = subscribe(self.rdev.server.port, &get, subscribers).await?;
        let start = async move {
            tokio::task::spawn_blocking(move || std::fs::write(fifo, "go\n")).await?.map_err(Into::into)
        };
        steady(&self.rdev.server, all, load, start).await
    }
}

async fn of_nchan(nginx: &Server, number: usize, load: Load) -> anyhow::Result<Steady> {
    let channel = format!("steady{number}");
    let all = subscribe(nginx.port, &nchan_get(&channel), load.subscribers).await?;
    let mut publisher = connect(nginx.port).await?;
    let publish = async move {
        let (mut answers, mut requests) = publisher.split();
        let mut nowhere = tokio::io::sink();
        let sent = async {
            let mut tick = tokio::time::interval(Duration::from_secs(1) / load.rate as u32);
            for number in 1..=load.messages {
                tick.tick().await;
                let at = now().as_micros();
                let (seconds, micros) = (at / 1_000_000, at % 1_000_000);
                let line = format!("message {number} @{seconds}.{micros:06} {TEXT}");
                requests.write_all(&post(&channel, number, &line)).await?;
            }
            std::future::pending::<anyhow::Result<()>>().await
        };
        tokio::select! {
            sent = sent => sent,
            read = tokio::io::copy(&mut answers, &mut nowhere) => read.map(|_| ()).map_err(Into::into),
        }
    };
    steady(nginx, all, load, publish).await
}

/// Raises the number of subscribers for each feed until it does not keep the aim.
async fn ladder(servers: &mut Servers<'_>, report: &mut Report) -> anyhow::Result<()> {
    let setup = servers.setup;
    let levels: &[usize] = setup.size([&[1_000, 2_000, 5_000, 10_000], &[100, 500], &[20, 50]]);
    let messages = RATE * setup.size([10, 3, 1]);
    let mut climbs: Vec<Climb> =
        servers.feeds().into_iter().map(|feed| Climb { feed, most: 0, end: None }).collect();
    for &subscribers in levels {
        for climb in climbs.iter_mut().filter(|climb| climb.end.is_none()) {
            let steady = servers.measure(climb.feed, Load { subscribers, rate: RATE, messages }).await?;
            report.fact(format!(
                "{subscribers} subscribers of {}, {RATE} messages/s, p50 / p99 in ms: {}",
                climb.feed.name(),
                steady.text()
            ));
            match steady.keeps() {
                true => climb.most = subscribers,
                false => climb.end = Some(steady),
            }
        }
    }
    let theirs = climbs.iter().find(|climb| climb.feed == Feed::Nchan);
    for ours in climbs.iter().filter(|climb| climb.feed != Feed::Nchan) {
        report.row(Row {
            axis: format!("most subscribers of {}, {RATE} messages/s, p99 < 250 ms", ours.feed.name()),
            rdev: ours.text(),
            peer: beside("nchan", theirs.map(Climb::text)),
            ratio: theirs
                .map_or("-".into(), |theirs| format!("{:.1}", ours.most as f64 / theirs.most as f64)),
            aim: ">= 1",
            met: theirs.map(|theirs| ours.most >= theirs.most),
        });
    }
    Ok(())
}

/// How far a feed has got on the ladder.
struct Climb {
    feed: Feed,
    /// Most subscribers that keep the aim.
    most: usize,
    /// The first measurement that does not keep it.
    end: Option<Steady>,
}

impl Climb {
    /// Returns the number, and a note where it may be a limit of the generator.
    fn text(&self) -> String {
        let is_doubtful = self.end.is_some_and(|end| end.generator_is_late());
        let note = if is_doubtful { ", then the generator is late" } else { "" };
        format!("{}{note}", self.most)
    }
}

async fn at_one_a_second(servers: &mut Servers<'_>, report: &mut Report) -> anyhow::Result<()> {
    let subscribers = servers.setup.size([10_000, 500, 50]);
    let messages = servers.setup.size([10, 3, 2]);
    let mut all = Vec::new();
    for feed in servers.feeds() {
        all.push((feed, servers.measure(feed, Load { subscribers, rate: 1, messages }).await?));
    }
    let theirs = all.iter().find(|(feed, _)| *feed == Feed::Nchan).map(|(_, steady)| *steady);
    for (feed, ours) in all.iter().filter(|(feed, _)| *feed != Feed::Nchan) {
        report.row(Row {
            axis: format!("{subscribers} subscribers of {}, 1 message/s, ms (p99)", feed.name()),
            rdev: ours.p99_text(),
            peer: beside("nchan", theirs.map(|theirs| theirs.p99_text())),
            ratio: theirs.map_or("-".into(), |theirs| format!("{:.2}", ours.p99 / theirs.p99)),
            aim: "< 250 ms",
            met: Some(ours.keeps()),
        });
    }
    for (feed, steady) in &all {
        report.fact(format!(
            "{subscribers} subscribers of {}, 1 message/s, p50 / p99 in ms: {}",
            feed.name(),
            steady.text()
        ));
    }
    Ok(())
}

/// What all subscribers share on their one thread: the lock is never contended.
struct Shared {
    buffer: Vec<u8>,
    /// Counts of latencies, each step of them.
    latencies: Vec<u64>,
    message: Finder<'static>,
}

struct Subscriber {
    socket: TcpStream,
    answer: Answer,
    /// An incomplete line.
    partial: Vec<u8>,
    numbers: Numbers,
}

/// Connects the subscribers, and waits until each has the head of its answer.
async fn subscribe(port: u16, get: &[u8], count: usize) -> anyhow::Result<Vec<Subscriber>> {
    let mut all = Vec::with_capacity(count);
    let mut shared = Shared::new();
    for _ in 0..count {
        let mut socket = connect(port).await?;
        socket.write_all(get).await?;
        let (partial, numbers) = (Vec::new(), Numbers::from(1));
        let mut subscriber = Subscriber { socket, answer: Answer::new(), partial, numbers };
        while !subscriber.answer.has_head() {
            subscriber.socket.readable().await?;
            anyhow::ensure!(subscriber.take(&mut shared)?, "a subscriber was refused");
        }
        anyhow::ensure!(subscriber.answer.is_events, "status {}", subscriber.answer.status);
        all.push(subscriber);
    }
    Ok(all)
}

impl Shared {
    fn new() -> Self {
        Self { buffer: vec![0; READ_BYTES], latencies: vec![0; STEPS], message: Finder::new(b"message ") }
    }

    /// Returns the latency below which a share of all lies, in milliseconds.
    fn latency(&self, share: f64) -> f64 {
        let wanted = (self.latencies.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut below = 0;
        let step = self.latencies.iter().position(|count| {
            below += count;
            below >= wanted.max(1)
        });
        step.map_or(f64::INFINITY, |step| (step as i64 * STEP_US) as f64 / 1e3)
    }

    /// Counts the messages of whole lines, `message N @SECONDS.MICROS …`.
    fn count(message: &Finder<'_>, latencies: &mut [u64], numbers: &mut Numbers, lines: &[u8], now_us: i64) {
        for at in message.find_iter(lines) {
            let rest = &lines[at + 8..];
            let Some(number) = leading_number(rest) else { continue };
            let Some(stamp) = rest.iter().take(24).position(|byte| *byte == b'@') else { continue };
            let seconds = leading_number(&rest[stamp + 1..]).unwrap_or_default();
            // Ten digits of seconds, a point, six of microseconds.
            let micros = rest.get(stamp + 12..).and_then(leading_number).unwrap_or_default();
            numbers.see(number);
            let latency = now_us - (seconds * 1_000_000 + micros) as i64;
            latencies[((latency / STEP_US).max(0) as usize).min(STEPS - 1)] += 1;
        }
    }
}

impl Subscriber {
    /// Reads what has arrived; false at the end.
    fn take(&mut self, shared: &mut Shared) -> anyhow::Result<bool> {
        let n = match self.socket.try_read(&mut shared.buffer) {
            Ok(n) => n,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let Shared { buffer, latencies, message } = shared;
        let (partial, numbers, now_us) = (&mut self.partial, &mut self.numbers, now().as_micros());
        self.answer.feed(&buffer[..n], |bytes| match memrchr(b'\n', bytes) {
            Some(end) if partial.is_empty() && end + 1 == bytes.len() => {
                Shared::count(message, latencies, numbers, bytes, now_us);
            }
            Some(end) => {
                partial.extend_from_slice(&bytes[..=end]);
                Shared::count(message, latencies, numbers, partial, now_us);
                partial.clear();
                partial.extend_from_slice(&bytes[end + 1..]);
            }
            None => partial.extend_from_slice(bytes),
        })?;
        Ok(n > 0)
    }
}

/// Runs `start`, and has every subscriber receive the messages.
async fn steady(
    server: &Server,
    all: Vec<Subscriber>,
    load: Load,
    start: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> anyhow::Result<Steady> {
    let shared = Arc::new(Mutex::new(Shared::new()));
    let mut readers = JoinSet::new();
    for mut subscriber in all {
        let shared = shared.clone();
        readers.spawn(async move {
            while subscriber.numbers.count < load.messages {
                subscriber.socket.readable().await?;
                let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                anyhow::ensure!(subscriber.take(&mut shared)?, "a stream ended early");
            }
            anyhow::ensure!(subscriber.numbers.in_order(), "{:?}", subscriber.numbers);
            anyhow::Ok(())
        });
    }
    let late = Arc::new(Mutex::new(Vec::new()));
    let timer = tokio::spawn(own_lateness(late.clone()));
    let (own, began) = (std::process::id(), Instant::now());
    let before = [server.cpu()?, cpu(own)?];
    let starter = tokio::spawn(start);
    let until = tokio::time::Instant::now()
        + Duration::from_secs_f64(load.messages as f64 / load.rate as f64)
        + PATIENCE;
    let mut whole = 0;
    while !readers.is_empty() {
        tokio::select! {
            read = readers.join_next() => whole += usize::from(matches!(read, Some(Ok(Ok(()))))),
            () = tokio::time::sleep_until(until) => break,
        }
    }
    starter.abort();
    timer.abort();
    let (after, seconds) = ([server.cpu()?, cpu(own)?], began.elapsed().as_secs_f64());
    let late = late.lock().unwrap_or_else(PoisonError::into_inner);
    let shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Steady {
        p50: shared.latency(0.5),
        p99: shared.latency(0.99),
        lost: load.subscribers - whole,
        late: percentile(&late, 0.99),
        shares: std::array::from_fn(|at| (after[at] - before[at]) / seconds),
    })
}

/// Records the lateness of a timer, in milliseconds. As a task of its own it waits in the same line as the subscribers that have
/// something to read.
async fn own_lateness(late: Arc<Mutex<Vec<f64>>>) {
    loop {
        let due = Instant::now() + TICK;
        tokio::time::sleep_until(due.into()).await;
        late.lock().unwrap_or_else(PoisonError::into_inner).push(millis(due.elapsed()));
    }
}
