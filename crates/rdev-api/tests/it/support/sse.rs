//! Server-sent events, read as a browser reads them.

use std::io::BufRead;
use std::time::Duration;

use hyper::http::HeaderMap;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};

use super::http::Body;
use super::{PATIENCE, within};

/// What a stream holds between two empty lines.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    /// How long to wait before connecting again.
    Retry(u64),
    Event(Event),
}

#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) told: Told,
}

#[derive(Debug, Clone)]
pub(crate) enum Told {
    Output(OutputLine),
    Error(OutputLine),
    Agent(Box<AgentLine>),
    Status(Status),
    Step(Step),
    Complete(Complete),
    Gap(Gap),
    ProjectGap(ProjectGap),
    Heartbeat(Heartbeat),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutputLine {
    pub(crate) stream_id: String,
    pub(crate) seq: u64,
    pub(crate) stream: String,
    pub(crate) line: String,
    #[serde(default)]
    pub(crate) partial: bool,
    pub(crate) timestamp: Timestamp,
}

/// A line of an agent that was understood.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentLine {
    pub(crate) stream_id: String,
    pub(crate) seq: u64,
    pub(crate) provider: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) text: Option<String>,
    pub(crate) tool: Option<String>,
    pub(crate) tool_use_id: Option<String>,
    pub(crate) input: Option<Box<RawValue>>,
    #[expect(dead_code, reason = "it may be there, and nobody looks at it")]
    pub(crate) content: Option<Box<RawValue>>,
    pub(crate) is_error: Option<bool>,
    pub(crate) session_id: Option<String>,
    pub(crate) usage: Option<Usage>,
    pub(crate) cost_usd: Option<f64>,
    #[serde(default)]
    #[expect(dead_code, reason = "it may be there, and nobody looks at it")]
    pub(crate) blocks: Vec<Box<RawValue>>,
    pub(crate) timestamp: Timestamp,
}

/// Tokens of a turn.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the fields must be there, and nobody looks at them")]
pub(crate) struct Usage {
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) cache_read_tokens: u64,
    pub(crate) cache_write_tokens: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Status {
    pub(crate) stream_id: String,
    pub(crate) status: String,
    pub(crate) attempt: Option<u32>,
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) timestamp: Timestamp,
}

/// A change of an operation's step.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) stream_id: String,
    pub(crate) seq: u64,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) attempt: u32,
    pub(crate) error: Option<Box<RawValue>>,
    pub(crate) timestamp: Timestamp,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Complete {
    pub(crate) stream_id: String,
    pub(crate) seq: u64,
    pub(crate) status: String,
    pub(crate) exit_code: Option<i32>,
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) duration_ms: u64,
    pub(crate) timestamp: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gap {
    pub(crate) stream_id: String,
    pub(crate) from: u64,
    pub(crate) to: Option<u64>,
    pub(crate) reason: String,
}

/// On a project's stream.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProjectGap {
    pub(crate) from: Option<String>,
    pub(crate) to: String,
    pub(crate) reason: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Heartbeat {
    pub(crate) timestamp: Timestamp,
}

/// A stream that is open. Dropping it cuts the connection.
pub(crate) struct Events {
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

impl Events {
    pub(crate) fn new(headers: HeaderMap, body: Body) -> Self {
        Self {
            headers,
            body,
            items: Items::default(),
            told: Instant::now(),
            pace: None,
            patience: PATIENCE,
            bytes: 0,
        }
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
    pub(crate) async fn event(&mut self) -> Event {
        loop {
            match self.next().await {
                Some(Item::Event(event)) => return event,
                Some(Item::Retry(_)) => {}
                None => panic!("the stream ended where an event was due"),
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
            Item::Event(Event { told: Told::Heartbeat(_), .. }) => {
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
        let told = match self.event.as_deref() {
            Some("output") => serde_json::from_str(&data).map(Told::Output),
            Some("error") => serde_json::from_str(&data).map(Told::Error),
            Some("agent") => serde_json::from_str(&data).map(Told::Agent),
            Some("status") => serde_json::from_str(&data).map(Told::Status),
            Some("step") => serde_json::from_str(&data).map(Told::Step),
            Some("complete") => serde_json::from_str(&data).map(Told::Complete),
            Some("gap") => serde_json::from_str(&data)
                .map(Told::Gap)
                .or_else(|_| serde_json::from_str(&data).map(Told::ProjectGap)),
            Some("heartbeat") => serde_json::from_str(&data).map(Told::Heartbeat),
            other => panic!("an event that is not documented: {other:?}"),
        };
        let told = told.unwrap_or_else(|error| panic!("{error} in {data}"));
        Some(Item::Event(Event { id: self.id, told }))
    }
}

impl Event {
    /// Its number in its stream, for events that have one.
    pub(crate) fn seq(&self) -> Option<u64> {
        match &self.told {
            Told::Output(line) | Told::Error(line) => Some(line.seq),
            Told::Agent(line) => Some(line.seq),
            Told::Step(step) => Some(step.seq),
            Told::Complete(complete) => Some(complete.seq),
            Told::Status(_) | Told::Gap(_) | Told::ProjectGap(_) | Told::Heartbeat(_) => None,
        }
    }

    /// When it happened.
    pub(crate) fn at(&self) -> Timestamp {
        match &self.told {
            Told::Output(line) | Told::Error(line) => line.timestamp,
            Told::Agent(line) => line.timestamp,
            Told::Status(status) => status.timestamp,
            Told::Step(step) => step.timestamp,
            Told::Complete(complete) => complete.timestamp,
            Told::Gap(_) | Told::ProjectGap(_) => panic!("{:?}", self.told),
            Told::Heartbeat(heartbeat) => heartbeat.timestamp,
        }
    }

    /// The stream that it is of.
    pub(crate) fn stream(&self) -> Option<&str> {
        match &self.told {
            Told::Output(line) | Told::Error(line) => Some(&line.stream_id),
            Told::Agent(line) => Some(&line.stream_id),
            Told::Step(step) => Some(&step.stream_id),
            Told::Complete(complete) => Some(&complete.stream_id),
            Told::Status(status) => Some(&status.stream_id),
            Told::Gap(gap) => Some(&gap.stream_id),
            Told::ProjectGap(_) | Told::Heartbeat(_) => None,
        }
    }

    /// The id, which it must have.
    pub(crate) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_else(|| panic!("no id on {self:?}"))
    }
}
