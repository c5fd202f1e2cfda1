//! Events over one connection, server-sent or as lines of JSON: nothing but the documented fields, and no resuming.

use std::io::BufRead;
use std::time::Duration;

use hyper::http::HeaderMap;
use rdev_client::Received;
use rdev_client::types::{Event, EventName, RawJson, StreamItem};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use super::exact;
use super::http::Body;
use crate::support::{PATIENCE, within};

/// Item of a stream: the lines between two empty ones.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "nearly every item is an event")]
pub(crate) enum Item {
    /// Milliseconds to wait before connecting again.
    Retry(u64),
    Event(Received),
}

/// A stream that is open. Dropping it cuts the connection.
pub(crate) struct RawEvents {
    pub(crate) headers: HeaderMap,
    body: Body,
    items: Items,
    /// When something was last told that is no sign of life.
    told: Instant,
    pace: Option<Pace>,
    /// So long nothing but heartbeats may come.
    patience: Duration,
    /// Bytes that have come so far.
    pub(crate) bytes: u64,
}

struct Pace {
    bytes_per_second: u64,
    since: Instant,
}

impl RawEvents {
    pub(crate) fn new(headers: HeaderMap, body: Body) -> Self {
        let are_lines = headers.get("content-type").is_some_and(|value| value == "application/x-ndjson");
        let items = Items { are_lines, ..Items::default() };
        Self { headers, body, items, told: Instant::now(), pace: None, patience: PATIENCE, bytes: 0 }
    }

    /// From now on takes no more than so many bytes a second.
    pub(crate) fn slowed_to(mut self, bytes_per_second: u64) -> Self {
        self.pace = Some(Pace { bytes_per_second, since: Instant::now() });
        self
    }

    /// So long nothing but heartbeats may come from now on.
    pub(crate) fn patient_for(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The next event; the stream must not end before it. Passes over `retry`.
    pub(crate) async fn event(&mut self) -> Received {
        loop {
            match self.next().await {
                Some(Item::Event(event)) => return event,
                Some(Item::Retry(_)) => {}
                None => panic!("the stream ended where an event was due"),
            }
        }
    }

    /// Passes over so many heartbeats, none of which has an id, and over what comes between them.
    pub(crate) async fn heartbeats(&mut self, count: u32) {
        let mut beats = 0;
        while beats < count {
            let event = self.event().await;
            if let Event::Heartbeat(_) = event.event {
                assert_eq!(event.id, None, "a heartbeat is nothing to resume from");
                beats += 1;
            }
        }
    }

    /// The next item; `None` at the end of the stream, orderly or cut. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Item> {
        within("the next item", async {
            loop {
                if let Some(item) = self.items.take() {
                    self.note(&item);
                    return Some(item);
                }
                self.wait_for_turn().await;
                let bytes = self.body.next().await?.ok()?;
                self.bytes += bytes.len() as u64;
                self.items.push(&bytes);
            }
        })
        .await
    }

    /// Signs of life alone are not what a test waits for.
    fn note(&mut self, item: &Item) {
        match item {
            Item::Event(Received { event: Event::Heartbeat(_), .. }) => {
                assert!(self.told.elapsed() < self.patience, "only heartbeats for {:?}", self.patience);
            }
            _ => self.told = Instant::now(),
        }
    }

    /// Everything up to the stream's end.
    pub(crate) async fn rest(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        while let Some(item) = self.next().await {
            items.push(item);
        }
        items
    }

    async fn wait_for_turn(&self) {
        if let Some(pace) = &self.pace {
            let due = Duration::from_millis(self.bytes * 1000 / pace.bytes_per_second);
            sleep_until(pace.since + due).await;
        }
    }
}

/// The items in the bytes of a stream.
#[derive(Default)]
pub(crate) struct Items {
    buffer: Vec<u8>,
    read: usize,
    /// Each item is a line of JSON.
    are_lines: bool,
}

impl Items {
    /// The bytes that have come next.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.read);
        self.read = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// One item out of the buffer, if a whole one is there.
    pub(crate) fn take(&mut self) -> Option<Item> {
        if self.are_lines {
            let line = &self.buffer[self.read..];
            let end = line.iter().position(|byte| *byte == b'\n')?;
            self.read += end + 1;
            return Some(Item::Event(event_of_line(&line[..end])));
        }
        loop {
            let bytes = &self.buffer[self.read..];
            let length = block_bytes(bytes)?;
            let text = std::str::from_utf8(&bytes[..length]).expect("events are UTF-8");
            let mut block = Block::default();
            text.lines().filter(|line| !line.is_empty()).for_each(|line| block.line(line));
            self.read += length;
            if let Some(item) = block.item() {
                return Some(item);
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: Option<String>,
    event: EventName,
    data: RawJson,
}

/// The event of a line of JSON.
fn event_of_line(line: &[u8]) -> Received {
    let text = std::str::from_utf8(line).expect("events are UTF-8");
    let read: StreamItem = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    let line: Line = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    assert!(EventName::ALL.contains(&line.event), "an event that is not documented: {text}");
    exact::hold(&read.event, line.data.as_str());
    Received { id: line.id, event: read.event }
}

/// Length of the first item with its empty line.
fn block_bytes(bytes: &[u8]) -> Option<usize> {
    let (mut rest, mut end) = (bytes, 0);
    loop {
        // Reading from memory does not fail.
        let line = rest.skip_until(b'\n').unwrap_or(0);
        end += line;
        if line == 0 || bytes[end - 1] != b'\n' {
            return None;
        }
        if line == 1 {
            return Some(end);
        }
    }
}

/// The lines of one item.
#[derive(Default)]
struct Block {
    retry: Option<u64>,
    id: Option<String>,
    event: Option<String>,
    data: Option<String>,
}

impl Block {
    fn line(&mut self, line: &str) {
        let (field, value) = line.split_once(": ").unwrap_or((line, ""));
        let twice = match field {
            "retry" => self.retry.replace(value.parse().expect("retry is a number")).is_some(),
            "id" => self.id.replace(value.to_owned()).is_some(),
            "event" => self.event.replace(value.to_owned()).is_some(),
            "data" => self.data.replace(value.to_owned()).is_some(),
            "" => false,
            _ => panic!("a line that is none of an event: {line:?}"),
        };
        assert!(!twice, "a field twice in one event: {line:?}");
    }

    fn item(self) -> Option<Item> {
        if let Some(retry) = self.retry {
            assert!(self.data.is_none(), "retry comes by itself");
            return Some(Item::Retry(retry));
        }
        let data = self.data?;
        let name: Option<EventName> = self.event.as_deref().and_then(|name| name.parse().ok());
        let name = name.unwrap_or_else(|| panic!("an event that is not documented: {:?}", self.event));
        let event = Event::read(name, &mut serde_json::Deserializer::from_str(&data));
        let event = event.unwrap_or_else(|error| panic!("{error} in {data}"));
        exact::hold(&event, &data);
        Some(Item::Event(Received { id: self.id, event }))
    }
}
