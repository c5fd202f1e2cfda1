//! The parts of the server that others need: background tasks of which none may end before the server stops.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Longest time that the parts have to end after a stop. With what follows them the process ends within 10 s.
const END_TIMEOUT: Duration = Duration::from_secs(7);

/// Error of a part that ended while it was needed.
#[derive(Debug, thiserror::Error)]
#[error("{name} has ended while it was needed: the process ends, to be restarted")]
pub(crate) struct PartEnded {
    name: &'static str,
}

/// The parts, each a task.
pub(crate) struct Parts {
    running: JoinSet<()>,
    names: HashMap<Id, &'static str>,
    stop: CancellationToken,
}

impl Parts {
    /// Makes an empty set, whose parts may end once `stop` is cancelled.
    pub(crate) fn until(stop: CancellationToken) -> Self {
        Self { running: JoinSet::new(), names: HashMap::new(), stop }
    }

    /// Starts a part.
    pub(crate) fn start(&mut self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        let task = self.running.spawn(part);
        self.names.insert(task.id(), name);
    }

    /// Watches a part that runs elsewhere, and cancels `failed` when it ends.
    pub(crate) fn watch(&mut self, name: &'static str, failed: CancellationToken) {
        let stop = self.stop.clone();
        self.start(name, async move {
            stop.run_until_cancelled(failed.cancelled()).await;
        });
    }

    /// Waits until all have ended. The first that ends before the stop, or panics, stops the others.
    ///
    /// # Errors
    /// The first part that ended before the stop, or panicked.
    pub(crate) async fn run(mut self) -> Result<(), PartEnded> {
        let mut failed = None;
        let mut give_up: Option<Instant> = None;
        loop {
            let next = self.running.join_next_with_id();
            let ended = match give_up {
                Some(at) => timeout_at(at, next).await,
                None => tokio::select! {
                    ended = next => Ok(ended),
                    () = self.stop.cancelled() => {
                        give_up = Some(Instant::now() + END_TIMEOUT);
                        continue;
                    }
                },
            };
            let ended = match ended {
                Ok(Some(ended)) => ended,
                Ok(None) => break,
                Err(_) => {
                    let parts: Vec<&str> = self.names.values().copied().collect();
                    tracing::warn!(?parts, "parts did not end in time");
                    break;
                }
            };
            let panicked = ended.is_err();
            let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
            let name = self.names.remove(&id).unwrap_or("a part of the server");
            if panicked || !self.stop.is_cancelled() {
                tracing::error!(part = name, panicked, "a part ended while it was needed");
                failed.get_or_insert(PartEnded { name });
                self.stop.cancel();
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn the_end_of_one_part_stops_the_others_and_is_reported_by_its_name() {
        let endings: [fn() -> (); 2] = [|| (), || panic!("as it happens")];
        for ending in endings {
            let stop = CancellationToken::new();
            let mut parts = Parts::until(stop.clone());
            parts.start("the listener", stop.clone().cancelled_owned());
            parts.start("the worker", async move { ending() });
            let ended = parts.run().await.unwrap_err();
            assert!(ended.to_string().starts_with("the worker has ended"), "{ended}");
            assert!(stop.is_cancelled());
        }
    }

    #[tokio::test]
    async fn what_ends_after_the_stop_is_in_order() {
        let stop = CancellationToken::new();
        let mut parts = Parts::until(stop.clone());
        parts.start("the worker", stop.clone().cancelled_owned());
        stop.cancel();
        parts.run().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_after_the_stop_is_left() {
        let stop = CancellationToken::new();
        let mut parts = Parts::until(stop.clone());
        parts.start("the worker", pending());
        stop.cancel();
        parts.run().await.unwrap();
    }
}
