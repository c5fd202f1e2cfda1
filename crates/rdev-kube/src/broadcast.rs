//! Broadcast to the current subscribers. A subscriber that falls far behind misses messages.

use std::future::pending;

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Most messages that a subscriber may fall behind.
const BACKLOG_MAX: usize = 4096;

/// Sends messages to all subscribers.
pub(crate) struct Broadcast<T>(broadcast::Sender<T>);

impl<T: Clone> Default for Broadcast<T> {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG_MAX))
    }
}

impl<T: Clone + Send + 'static> Broadcast<T> {
    pub(crate) fn send(&self, message: T) {
        // There may be no subscriber.
        self.0.send(message).unwrap_or_default();
    }

    /// Returns a stream of the messages sent from now on. It never ends.
    pub(crate) fn subscribe(&self) -> impl Stream<Item = T> + Send + use<T> {
        unfold(self.0.subscribe(), |mut receiver| async {
            loop {
                match receiver.recv().await {
                    Ok(message) => return Some((message, receiver)),
                    Err(RecvError::Lagged(_)) => {}
                    // The sender is gone: the stream stays silent.
                    Err(RecvError::Closed) => pending::<()>().await,
                }
            }
        })
    }
}
