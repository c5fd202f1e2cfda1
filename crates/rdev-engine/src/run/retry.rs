//! Retries: pauses between attempts, and waiting for a store or a runtime that is not available.

use std::time::Duration;

use rdev_domain::{Error, JobId, Result};
use rdev_ports::Random;
use tokio::time::{sleep, timeout};

/// First and longest pause between two attempts; a pause doubles each time.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LAST: Duration = Duration::from_secs(5);
/// Longest of the pauses that are drawn; a drawn pause is half as long on average.
const DRAWN_LAST: Duration = Duration::from_secs(10);

/// Longest time of retries for a caller, after the first answer.
const CALLERS_PATIENCE: Duration = Duration::from_secs(3);

/// Pauses that grow.
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(PAUSE_FIRST)
    }
}

impl Backoff {
    /// Tells whether no pause has been made.
    pub(crate) fn is_first(&self) -> bool {
        self.0 == PAUSE_FIRST
    }

    /// Waits for the next pause.
    pub(crate) async fn wait(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(PAUSE_LAST);
    }

    /// Waits for a drawn part of the next pause, so that of many that were cut off together no two retry together.
    pub(crate) async fn wait_drawn(&mut self, random: &dyn Random) {
        sleep(self.0.mul_f64(random.fraction())).await;
        self.0 = (self.0 * 2).min(DRAWN_LAST);
    }
}

/// Retries for 3 s while the answer is `Unavailable`: a caller waits for the answer. A write must be one that the store
/// recognises when its first answer was lost.
///
/// # Errors
/// Those of the last answer.
pub(crate) async fn for_a_caller<T, F: Future<Output = Result<T>>>(mut ask: impl FnMut() -> F) -> Result<T> {
    let mut last = ask().await;
    let asking = async {
        let mut backoff = Backoff::default();
        while let Err(error @ Error::Unavailable { .. }) = &last {
            tracing::debug!(?error, "call for a caller failed, retrying");
            backoff.wait().await;
            last = ask().await;
        }
    };
    // The last answer stands, also when the time is over.
    drop(timeout(CALLERS_PATIENCE, asking).await);
    last
}

/// Retries without end while the answer is `Unavailable`. Every call to a store for a claimed job is made so: the job
/// goes on in its pod meanwhile, its runner keeps the output that is not stored, and a store whose lease another worker
/// has taken answers `LeaseLost`.
///
/// A write is repeated with the same arguments, so that the store recognises one whose answer was lost.
pub(crate) async fn until_available<T, F: Future<Output = Result<T>>>(
    id: &JobId,
    mut ask: impl FnMut() -> F,
) -> Result<T> {
    let mut backoff = Backoff::default();
    loop {
        match ask().await {
            Err(error @ Error::Unavailable { .. }) if backoff.is_first() => {
                tracing::warn!(job = %id, ?error, "call failed, retrying");
            }
            Err(error @ Error::Unavailable { .. }) => {
                tracing::debug!(job = %id, ?error, "call failed, retrying");
            }
            done => return done,
        }
        backoff.wait().await;
    }
}
