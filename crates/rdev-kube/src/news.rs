//! News for those who listen from now on. One who is far behind misses some.

use std::future::pending;

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// News of which somebody has yet to hear.
const NEWS_MAX: usize = 4096;

/// Tells all that listen.
pub(crate) struct News<T>(broadcast::Sender<T>);

impl<T: Clone> Default for News<T> {
    fn default() -> Self {
        Self(broadcast::Sender::new(NEWS_MAX))
    }
}

impl<T: Clone + Send + 'static> News<T> {
    pub(crate) fn tell(&self, news: T) {
        // Nobody may be listening.
        self.0.send(news).unwrap_or_default();
    }

    /// News that are told from now on. They never end.
    pub(crate) fn listen(&self) -> impl Stream<Item = T> + Send + use<T> {
        unfold(self.0.subscribe(), |mut news| async {
            loop {
                match news.recv().await {
                    Ok(told) => return Some((told, news)),
                    Err(RecvError::Lagged(_)) => {}
                    // Nothing will be told any more, which is no news.
                    Err(RecvError::Closed) => pending::<()>().await,
                }
            }
        })
    }
}
