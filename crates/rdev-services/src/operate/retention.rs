//! What is not kept for ever: a chore.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{Result, Timestamp};
use rdev_engine::PeriodicJob;
use rdev_ports::{IDEMPOTENCY_KEY_LIFETIME, PruneRule, Retention, STREAM_NAME_LIFETIME, StepReport};

/// How often it is looked whether there is something to remove. The stores count on it that nothing takes so
/// long: see `LogSize` in `rdev-sql`.
const PERIOD: Duration = Duration::from_secs(60);

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionLimits {
    /// Commands are removed so long after their end; `None`: never.
    pub ended: Option<Duration>,
    /// Bytes of output in the log and of files, of all commands together; `None`: as many as there are.
    pub output_bytes: Option<u64>,
}

/// Removes what is older, or more, than is to be kept.
pub struct Prune {
    store: Arc<dyn Retention>,
    keeping: RetentionLimits,
}

impl Prune {
    /// Wires the chore.
    pub fn new(store: Arc<dyn Retention>, keeping: RetentionLimits) -> Self {
        Self { store, keeping }
    }

    /// To keep something else for a time only: its rule in the port, and here.
    fn rules(&self, now: Timestamp) -> impl Iterator<Item = PruneRule> {
        let RetentionLimits { ended, output_bytes } = self.keeping;
        [
            Some(PruneRule::Keys { before: now - IDEMPOTENCY_KEY_LIFETIME }),
            Some(PruneRule::Streams { before: now - STREAM_NAME_LIFETIME }),
            ended.map(|age| PruneRule::Ended { before: now - age, now }),
            output_bytes.map(|bytes_max| PruneRule::Output { bytes_max }),
        ]
        .into_iter()
        .flatten()
    }
}

#[async_trait]
impl PeriodicJob for Prune {
    fn name(&self) -> &'static str {
        "retention"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn step(&self, now: Timestamp) -> Result<StepReport> {
        let mut done = 0;
        for rule in self.rules(now) {
            let progress = self.store.prune(rule).await?;
            done += progress.done;
            if progress.more {
                return Ok(StepReport { done, more: true });
            }
        }
        Ok(StepReport { done, more: false })
    }
}
