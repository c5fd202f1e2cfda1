//! A sign of life of a loop that works for others.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdev_domain::{Error, Result};
use tokio::time::Instant;

/// Tells whether a loop turns; clones share it.
#[derive(Debug, Clone)]
pub struct Pulse {
    last: Arc<Mutex<Instant>>,
    limit: Duration,
}

impl Pulse {
    /// A loop that is taken for dead when it has not turned for `limit`. It counts as alive when this is made.
    pub fn new(limit: Duration) -> Self {
        Self { last: Arc::new(Mutex::new(Instant::now())), limit }
    }

    /// The loop turns.
    pub(crate) fn beat(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Fails when the loop has not turned for too long.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn check(&self) -> Result<()> {
        let still_for = self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        if still_for <= self.limit {
            return Ok(());
        }
        Err(Error::unavailable("worker", anyhow::anyhow!("its loop has not turned for {still_for:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stands_still_is_told_until_it_turns_again() {
        let pulse = Pulse::new(Duration::from_secs(90));
        tokio::time::advance(Duration::from_secs(90)).await;
        pulse.check().unwrap();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(matches!(pulse.check(), Err(Error::Unavailable { system: "worker", .. })));
        pulse.beat();
        pulse.check().unwrap();
    }
}
