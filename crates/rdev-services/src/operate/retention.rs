//! Retention: a periodic job removes what is older, or more, than the limits.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{Result, Timestamp};
use rdev_engine::PeriodicJob;
use rdev_ports::{IDEMPOTENCY_KEY_LIFETIME, PruneRule, Retention, STREAM_NAME_LIFETIME, StepReport};

/// Period of the removal.
const PERIOD: Duration = Duration::from_secs(60);

/// Limits of what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionLimits {
    /// Age after its end at which a job is removed; `None`: never.
    pub ended: Option<Duration>,
    /// Most bytes of output and of files, of all jobs together; `None`: no limit.
    pub output_bytes: Option<u64>,
}

/// Removes what exceeds the limits.
pub struct Prune {
    store: Arc<dyn Retention>,
    limits: RetentionLimits,
}

impl Prune {
    /// Wires the job.
    pub fn new(store: Arc<dyn Retention>, limits: RetentionLimits) -> Self {
        Self { store, limits }
    }

    /// Returns the rules. Whatever else is kept for a time gets a rule in the port, and here.
    fn rules(&self, now: Timestamp) -> impl Iterator<Item = PruneRule> {
        let RetentionLimits { ended, output_bytes } = self.limits;
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
            let report = self.store.prune(rule).await?;
            done += report.done;
            if report.more {
                return Ok(StepReport { done, more: true });
            }
        }
        Ok(StepReport { done, more: false })
    }
}
