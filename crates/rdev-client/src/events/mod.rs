//! Event streams: typed events with their ids, over any number of connections.

mod decode;
mod reader;

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{BoxStream, Stream, StreamExt, unfold};
use rdev_api_types::Event;
use reqwest::RequestBuilder;

use crate::{Client, Result};
use reader::Reader;

/// Event as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Id of the event; `None` for events that have none, such as heartbeats.
    pub id: Option<String>,
    /// The event.
    pub event: Event,
}

/// Subscription to events, before it is opened.
#[derive(Debug, Clone)]
pub struct Subscription {
    client: Client,
    segments: Vec<String>,
    /// Id after which the first connection begins.
    after: Option<String>,
    ends: bool,
}

impl Client {
    /// Subscribes to one stream of a project. It ends after `complete`.
    pub fn stream_events(&self, project: &str, stream: &str) -> Subscription {
        self.subscription(&["projects", project, "events", stream], true)
    }

    /// Subscribes to every command of a project. It ends with the reader.
    pub fn project_events(&self, project: &str) -> Subscription {
        self.subscription(&["projects", project, "events"], false)
    }

    /// Subscribes to a task, over all of its attempts. It ends after `complete`.
    pub fn task_events(&self, id: &str) -> Subscription {
        self.subscription(&["queue", "tasks", id, "events"], true)
    }

    pub(crate) fn subscription(&self, segments: &[&str], ends: bool) -> Subscription {
        let segments = segments.iter().map(|segment| (*segment).to_owned()).collect();
        Subscription { client: self.clone(), segments, after: None, ends }
    }
}

impl Subscription {
    /// Begins after the event of this id; on a project's stream `latest` begins with the next event. Default: the first
    /// event.
    #[must_use]
    pub fn after(mut self, id: impl Into<String>) -> Self {
        self.after = Some(id.into());
        self
    }

    /// Opens the stream. It connects when its first event is awaited.
    pub fn open(self) -> EventStream {
        let last_event_id = self.after.clone();
        let reader = Reader::new(self);
        let received = unfold(reader, |mut reader| async { reader.next().await.map(|next| (next, reader)) });
        EventStream { received: received.fuse().boxed(), last_event_id }
    }

    /// Returns the request for the events after an id.
    fn request(&self, after: Option<&str>) -> RequestBuilder {
        let segments: Vec<&str> = self.segments.iter().map(String::as_str).collect();
        let request = self.client.request(reqwest::Method::GET, &segments);
        let request = request.header(reqwest::header::ACCEPT, "text/event-stream");
        match after {
            Some(id) => request.header(rdev_api_types::LAST_EVENT_ID, id),
            None => request,
        }
    }
}

/// Stream of events that resumes: after any cut it connects again and continues behind the last event.
///
/// It ends after `complete` of a command or task, where the server has nothing more (204), after an error that is not
/// temporary, and after [`Reconnect::give_up_after`](crate::Reconnect::give_up_after) without an event. Dropping a
/// pending [`EventStream::next`] loses nothing.
pub struct EventStream {
    received: BoxStream<'static, Result<Received>>,
    last_event_id: Option<String>,
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").field("last_event_id", &self.last_event_id).finish_non_exhaustive()
    }
}

impl EventStream {
    /// Returns the next event; `None` at the end of the stream.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for an event that has not its documented shape: the stream goes on behind
    /// it. Every other error is the last item.
    pub async fn next(&mut self) -> Option<Result<Received>> {
        StreamExt::next(self).await
    }

    /// Returns the id of the last event that was returned and has one: where a later subscription continues.
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }
}

impl Stream for EventStream {
    type Item = Result<Received>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.received.poll_next_unpin(context);
        if let Poll::Ready(Some(Ok(Received { id: Some(id), .. }))) = &next {
            self.last_event_id = Some(id.clone());
        }
        next
    }
}
