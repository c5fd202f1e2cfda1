//! Streams of events, as their readers hold them.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{BoxStream, Stream, StreamExt, unfold};

use super::reader::{Reader, Received};
use crate::Result;

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
    /// Makes the stream of a reader.
    pub(super) fn of(reader: Reader) -> Self {
        let last_event_id = reader.last_event_id().map(str::to_owned);
        let received = unfold(reader, |mut reader| async { reader.next().await.map(|next| (next, reader)) });
        Self { received: received.fuse().boxed(), last_event_id }
    }

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
