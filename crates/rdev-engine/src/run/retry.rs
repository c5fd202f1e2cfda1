//! Asking again: pauses between attempts, and waiting for what is not available.

use std::time::Duration;

use rdev_domain::{Error, JobId, Result};
use rdev_ports::Random;
use tokio::time::{sleep, timeout};

/// Pauses between two attempts: doubled each time, up to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LAST: Duration = Duration::from_secs(5);
/// Longest pause of those that are drawn, which are half as long on average.
const DRAWN_LAST: Duration = Duration::from_secs(10);

/// Longest that a store is asked again for a caller, after its first answer.
const CALLERS_PATIENCE: Duration = Duration::from_secs(3);

/// Pauses that grow, from the first to the last.
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(PAUSE_FIRST)
    }
}

impl Backoff {
    pub(crate) fn is_first(&self) -> bool {
        self.0 == PAUSE_FIRST
    }

    pub(crate) async fn wait(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(PAUSE_LAST);
    }

    /// Waits for some part of the pause: of many that were cut off together no two come again together.
    pub(crate) async fn wait_drawn(&mut self, random: &dyn Random) {
        sleep(self.0.mul_f64(random.fraction())).await;
        self.0 = (self.0 * 2).min(DRAWN_LAST);
    }
}

/// Asks again for some seconds while what is asked is not available: somebody waits for the answer, and comes again
/// where it is that it could not be had. A write is one that is recognised when its answer was lost.
///
/// # Errors
/// As the last answer.
pub(crate) async fn for_a_caller<T, F: Future<Output = Result<T>>>(mut ask: impl FnMut() -> F) -> Result<T> {
    let mut last = ask().await;
    let asking = async {
        let mut backoff = Backoff::default();
        while let Err(error @ Error::Unavailable { .. }) = &last {
            tracing::debug!(?error, "asked in vain for a caller, trying again");
            backoff.wait().await;
            last = ask().await;
        }
    };
    // Over: the last answer stands.
    drop(timeout(CALLERS_PATIENCE, asking).await);
    last
}

/// Asks again while what is asked is not available. The way that everything of an execution is asked of a store:
/// the command goes on in its place meanwhile, its runner keeps what is not stored, and should another worker take
/// over, the store says so (`LeaseLost`).
///
/// A write is asked for with the same arguments each time, so that one whose answer was lost is recognised.
pub(crate) async fn until_available<T, F: Future<Output = Result<T>>>(
    id: &JobId,
    mut ask: impl FnMut() -> F,
) -> Result<T> {
    let mut backoff = Backoff::default();
    loop {
        match ask().await {
            Err(error @ Error::Unavailable { .. }) if backoff.is_first() => {
                tracing::warn!(job = %id, ?error, "asked in vain, trying again");
            }
            Err(error @ Error::Unavailable { .. }) => {
                tracing::debug!(job = %id, ?error, "asked in vain, trying again");
            }
            done => return done,
        }
        backoff.wait().await;
    }
}
