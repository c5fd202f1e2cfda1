//! Streams of events as rdev-client reads them, with waits that end.

use jiff::Timestamp;
use rdev_client::types::{self, Event};
use rdev_client::{EventStream, Received, Subscription};
use tokio::time::Instant;

use super::{PATIENCE, within};

/// A stream that is open. Dropping it cuts the connection.
pub(crate) struct Events {
    stream: EventStream,
    /// When something was last received that is no sign of life.
    last_news: Instant,
}

impl Events {
    /// Connects, to begin after an event or with the first one; a refusal fails the story.
    pub(crate) async fn connect(subscription: Subscription, after: Option<&str>) -> Self {
        let subscription = match after {
            Some(id) => subscription.after(id),
            None => subscription,
        };
        let stream = within("the beginning of a stream", subscription.connect()).await;
        let stream = stream.expect("the subscription is accepted");
        Self { stream, last_news: Instant::now() }
    }

    /// The next event; the stream must not end before it.
    pub(crate) async fn event(&mut self) -> Received {
        self.next().await.expect("the stream ended where an event was due")
    }

    /// The next event; `None` at the end of the stream, orderly or cut. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Received> {
        let received = match within("the next event", self.stream.next()).await? {
            Ok(received) => received,
            Err(error) if error.is_temporary() && error.failure().is_none() => return None,
            Err(error) => panic!("{error:?}"),
        };
        match received.event {
            Event::Heartbeat(_) => {
                assert!(self.last_news.elapsed() < PATIENCE, "only heartbeats for {PATIENCE:?}");
            }
            Event::Unknown => panic!("an event that is not documented: {received:?}"),
            _ => self.last_news = Instant::now(),
        }
        Some(received)
    }

    /// Everything up to the stream's end.
    pub(crate) async fn rest(&mut self) -> Vec<Received> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

/// Properties of an event that stories look at.
pub(crate) trait ReceivedExt {
    /// Its number in its stream, for events that have one.
    fn seq(&self) -> Option<u64>;
    /// The stream that it is of.
    fn stream(&self) -> Option<&str>;
    /// When it happened; gaps have no time.
    fn at(&self) -> Timestamp;
    /// The id, which it must have.
    fn id(&self) -> &str;
}

impl ReceivedExt for Received {
    fn seq(&self) -> Option<u64> {
        self.event.seq()
    }

    fn stream(&self) -> Option<&str> {
        self.event.stream_id()
    }

    fn at(&self) -> Timestamp {
        moment(self.event.timestamp().unwrap_or_else(|| panic!("no time on {self:?}")))
    }

    fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_else(|| panic!("no id on {self:?}"))
    }
}

/// A time of the wire, which compares with others.
pub(crate) fn moment(timestamp: &types::Timestamp) -> Timestamp {
    timestamp.as_str().parse().unwrap_or_else(|error| panic!("{timestamp} is no time: {error}"))
}

/// Paths of an event stream of each kind: `s` of the project `demo`, and those of a task and an operation that do not exist.
pub(crate) fn event_streams() -> [String; 5] {
    let none = "0".repeat(32);
    [
        "/events".to_owned(),
        "/projects/demo/events".to_owned(),
        "/projects/demo/events/s".to_owned(),
        format!("/queue/tasks/cmd-{none}/events"),
        format!("/operations/op-{none}/events"),
    ]
}
