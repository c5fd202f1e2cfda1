//! 200,000 numbered lines: nothing is lost and nothing comes twice, whatever happens to readers and server.

use std::time::Duration;

use rdev_client::Received;
use rdev_client::types::{CompleteEvent, Event, Status};
use tokio::time::{Instant, timeout_at};

use crate::support::{Client, Item, RawEvents, ReceivedExt, Runtime, eventually, on_every_runtime};

on_every_runtime! {
    a_reader_cut_at_20_random_points_sees_each_line_once,
    a_slow_reader_delays_nobody_and_holds_no_memory,
    a_server_killed_10_times_loses_no_line_and_starts_nothing_twice,
}

const LINES: u64 = 200_000;
/// Most memory that the server may take for readers and output, beyond what it began with.
const GROWTH_MAX: u64 = 32 * 1024 * 1024;

/// A reader that holds the server to its word: each line once, in order.
#[derive(Default)]
pub(crate) struct Numbered {
    pub(crate) last: u64,
    pub(crate) complete: Option<CompleteEvent>,
}

impl Numbered {
    /// Opens the stream after what this reader has.
    pub(crate) async fn open(&self, client: &Client, stream: &str) -> RawEvents {
        let id = self.last.to_string();
        client.connection(stream, (self.last > 0).then_some(id.as_str())).await
    }

    pub(crate) fn take(&mut self, event: &Received) {
        match &event.event {
            Event::Output(line) => {
                assert_eq!(line.seq, self.last + 1);
                assert_eq!(line.line, line.seq.to_string());
                assert_eq!(event.id(), line.line);
                self.last = line.seq;
            }
            Event::Complete(complete) => {
                assert_eq!(complete.seq, self.last + 1);
                assert!(self.complete.replace(complete.clone()).is_none(), "complete came twice");
            }
            Event::Status(_) | Event::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn read_to_the_end(&mut self, events: &mut RawEvents) {
        while self.complete.is_none() {
            self.take(&events.event().await);
        }
        assert!(events.next().await.is_none(), "the stream ends after complete");
    }

    /// Reads on until it has so many lines, or the end. Where the stream is cut it comes again, as `EventSource`
    /// does.
    pub(crate) async fn read_until(&mut self, client: &Client, stream: &str, lines: u64) {
        let path = format!("/projects/demo/events?stream_id={stream}");
        while self.last < lines && self.complete.is_none() {
            let id = self.last.to_string();
            let open = async || {
                let call = client.get(&path);
                if self.last > 0 { call.header("last-event-id", &id) } else { call }.events_or_later().await
            };
            let mut events = eventually("the stream", open).await;
            while self.last < lines
                && self.complete.is_none()
                && let Some(item) = events.next().await
            {
                if let Item::Event(event) = item {
                    self.take(&event);
                }
            }
        }
    }

    fn has_all(&self, lines: u64) {
        assert_eq!(self.last, lines);
        let complete = self.complete.as_ref().expect("it has read to the end");
        assert_eq!((complete.status, complete.exit_code), (Status::Completed, Some(0)));
    }
}

async fn a_reader_cut_at_20_random_points_sees_each_line_once(on: Runtime) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut points: Vec<u64> = (0..20).map(|_| random.u64(1..LINES)).collect();
    points.sort_unstable();
    let server = on.server().await;
    let client = server.client();
    let accepted = client.shell(&format!("seq {LINES}")).await;

    let mut reader = Numbered::default();
    for point in points {
        let mut events = reader.open(&client, &accepted.stream_id).await;
        while reader.last < point {
            reader.take(&events.event().await);
        }
    }
    let mut events = reader.open(&client, &accepted.stream_id).await;
    reader.read_to_the_end(&mut events).await;
    reader.has_all(LINES);
}

async fn a_slow_reader_delays_nobody_and_holds_no_memory(on: Runtime) {
    slow_beside_fast(on, 20_000).await;
}

#[tokio::test]
#[ignore = "full size: takes minutes"]
async fn a_slow_reader_of_200_000_lines_delays_nobody_and_holds_no_memory() {
    slow_beside_fast(Runtime::Local, LINES).await;
}

async fn slow_beside_fast(on: Runtime, lines: u64) {
    const BYTES_PER_SECOND: u64 = 300_000;
    let server = on.server().await;
    let client = server.client();
    client.run("seq 1000").await;
    let memory = server.memory();
    let accepted = client.shell(&format!("seq {lines}")).await;
    let path = accepted.stream_url.as_str();
    let mut slow = client.get(path).receive_buffer(32 * 1024).events().await.slowed_to(BYTES_PER_SECOND);
    let mut fast = client.get(path).events().await;

    let (mut slowly, mut quickly) = (Numbered::default(), Numbered::default());
    slowly.take(&slow.event().await);
    let slow_when_fast_ended = {
        let mut reading = Box::pin(slowly.read_to_the_end(&mut slow));
        tokio::select! {
            () = quickly.read_to_the_end(&mut fast) => {}
            () = &mut reading => panic!("the slow reader was not slow"),
        }
        reading.await;
        slow.bytes
    };
    quickly.has_all(lines);
    slowly.has_all(lines);
    assert!(slow_when_fast_ended >= lines * 100, "it read the whole stream");
    assert!(memory.grown() < GROWTH_MAX, "grew by {} bytes", memory.grown());
}

async fn a_server_killed_10_times_loses_no_line_and_starts_nothing_twice(on: Runtime) {
    const KILLS: u32 = 10;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut server = on.server().await;
    // It writes for at least 20 s, so that it runs at every kill.
    let command = "echo started >> side-effect
        from=1
        while [ $from -le 200000 ]; do
            seq $from $((from + 999)); from=$((from + 1000)); sleep 0.1
        done";
    let accepted = server.client().shell(command).await;

    let mut reader = Numbered::default();
    for kill in 0..KILLS {
        let mut events = reader.open(&server.client(), &accepted.stream_id).await;
        let at = Instant::now() + Duration::from_millis(random.u64(0..1_000));
        while let Ok(item) = timeout_at(at, events.next()).await {
            match item {
                Some(Item::Event(event)) => reader.take(&event),
                Some(Item::Retry(_)) => {}
                None => panic!("seed {seed}: the stream ended before kill {kill}"),
            }
        }
        assert!(reader.complete.is_none(), "seed {seed}: it was over before kill {kill}");
        server.kill9().await;
        server.restart().await;
    }
    let client = server.client();
    let mut events = reader.open(&client, &accepted.stream_id).await;
    reader.read_to_the_end(&mut events).await;
    reader.has_all(LINES);
    // And again from the start: what is stored is what was seen.
    let mut again = Numbered::default();
    let mut events = again.open(&client, &accepted.stream_id).await;
    again.read_to_the_end(&mut events).await;
    again.has_all(LINES);
    assert_eq!(server.file("side-effect").await.as_deref(), Some("started\n"));
    let command = client.command(&accepted.id).await;
    assert_eq!((command.accepted.status, command.progress.exit_code), (Status::Completed, Some(0)));
}
