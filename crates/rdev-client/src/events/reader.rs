//! Resuming: connections of one subscription, one after the other.

use std::time::Duration;

use rdev_api_types::{Event, EventName};
use sse_stream::Sse;
use tokio::time::{Instant, sleep, timeout};

use super::decode::Blocks;
use super::source::Source;
use crate::{Error, Result};

/// Shortest and longest delay that the server's `retry:` may ask for.
const RETRY: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(60)];
/// Longest delay that `Retry-After` may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Event as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Id of the event; `None` for events that have none, such as most heartbeats.
    pub id: Option<String>,
    /// The event.
    pub event: Event,
}

/// Reader of one subscription.
pub(super) struct Reader {
    source: Source,
    /// Id after which the next connection begins.
    last_event_id: Option<String>,
    blocks: Option<Blocks>,
    /// Delay before a reconnection that follows no failure.
    delay: Duration,
    /// Connections in a row that gave no event.
    failures: u32,
    /// Time of the last event, or of the opening.
    last_event_at: Option<Instant>,
    is_over: bool,
}

impl Reader {
    /// Makes a reader that begins after an id.
    pub(super) fn new(source: Source, after: Option<String>) -> Self {
        let delay = source.client.inner.reconnect.delay_first;
        Self {
            source,
            last_event_id: after,
            blocks: None,
            delay,
            failures: 0,
            last_event_at: None,
            is_over: false,
        }
    }

    /// Returns the id after which the next connection begins.
    pub(super) fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// Connects before the first event is awaited, after as many failures as the limits allow.
    pub(super) async fn connect(&mut self) -> Result<()> {
        while let Err(error) = self.connection().await {
            self.pause(error).await?;
        }
        Ok(())
    }

    /// Returns the next event, of this connection or of a later one.
    pub(super) async fn next(&mut self) -> Option<Result<Received>> {
        while !self.is_over {
            let trouble = match self.block().await {
                Ok(Some(block)) => match self.take(block) {
                    Some(received) => return Some(received),
                    None => continue,
                },
                // The server has nothing more.
                Ok(None) => break,
                Err(error) => error,
            };
            self.blocks = None;
            if let Err(last) = self.pause(trouble).await {
                self.is_over = true;
                return Some(Err(last));
            }
        }
        None
    }

    /// Makes a connection where there is none and something more may come.
    async fn connection(&mut self) -> Result<()> {
        self.last_event_at.get_or_insert_with(Instant::now);
        if self.blocks.is_none() && !self.is_over {
            self.blocks = self.source.connect(self.last_event_id.as_deref()).await?;
            self.is_over = self.blocks.is_none();
        }
        Ok(())
    }

    /// Returns the next block, after connecting where there is no connection; `None` where nothing more will come.
    async fn block(&mut self) -> Result<Option<Sse>> {
        self.connection().await?;
        let limit = self.source.client.inner.idle_timeout;
        let Some(blocks) = &mut self.blocks else { return Ok(None) };
        match timeout(limit, blocks.next()).await {
            Ok(Some(block)) => block.map(Some).map_err(Error::Stream),
            Ok(None) => Err(Error::Closed),
            Err(_) => Err(Error::Timeout { what: "an event or a heartbeat", limit }),
        }
    }

    /// Takes what a block says; `None` for one without an event.
    fn take(&mut self, block: Sse) -> Option<Result<Received>> {
        if let Some(millis) = block.retry {
            self.delay = Duration::from_millis(millis).clamp(RETRY[0], RETRY[1]);
        }
        // An empty id forgets the one before, as the specification says.
        if let Some(id) = &block.id {
            self.last_event_id = Some(id.clone()).filter(|id| !id.is_empty());
        }
        let data = block.data?;
        self.failures = 0;
        self.last_event_at = Some(Instant::now());
        let name = block.event.as_deref().and_then(|name| name.parse().ok()).unwrap_or(EventName::Unknown);
        let event = match Event::read(name, &mut serde_json::Deserializer::from_str(&data)) {
            Ok(event) => event,
            Err(error) => return Some(Err(Error::Shape(error))),
        };
        self.is_over = self.source.ends && is_last(&event);
        Some(Ok(Received { id: block.id, event }))
    }

    /// Waits until the next connection is due.
    ///
    /// # Errors
    /// The error itself, where no other connection would help.
    async fn pause(&mut self, error: Error) -> Result<()> {
        let reconnect = self.source.client.inner.reconnect;
        let silence = self.last_event_at.map_or(Duration::ZERO, |at| at.elapsed());
        if !error.is_temporary() || silence >= reconnect.give_up_after {
            return Err(error);
        }
        let doubled = self.delay.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        // Readers that were cut together do not come again together.
        let spread = doubled.min(reconnect.delay_max.max(self.delay)).mul_f64(0.5 + fastrand::f64() / 2.0);
        let asked = error.failure().and_then(|failure| failure.retry_after).unwrap_or_default();
        sleep(spread.max(asked.min(RETRY_AFTER_MAX))).await;
        Ok(())
    }
}

/// Returns true for the last event of a command or task.
fn is_last(event: &Event) -> bool {
    match event {
        Event::Complete(_) => true,
        // The command was removed while it was read.
        Event::Gap(gap) => gap.to.is_none(),
        Event::Output(_)
        | Event::Error(_)
        | Event::Lines(_)
        | Event::Agent(_)
        | Event::Status(_)
        | Event::Step(_)
        | Event::ProjectGap(_)
        | Event::Heartbeat(_)
        | Event::Ticket(_)
        | Event::Unknown => false,
    }
}
