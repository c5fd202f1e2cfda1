//! Retention limits.

use std::time::Duration;

use clap::Args;
use rdev_services::RetentionLimits;

use super::parse::whole;

/// Retention limits.
#[derive(Debug, Clone, Args)]
pub struct RetentionConfig {
    /// Days after which a command or task that has ended is removed, with all that is stored of it; 0: never
    #[arg(long, env = "RDEV_RETENTION_DAYS", default_value = "30", value_parser = whole::<u64>(0, 36_500))]
    pub retention_days: u64,

    /// MiB of output that the event log keeps, of all commands together: beyond that the oldest is removed; 0: no
    /// limit
    #[arg(long, env = "RDEV_RETENTION_LOG_MB", default_value = "10240", value_parser = whole::<u64>(0, 1_000_000_000))]
    pub retention_log_mb: u64,
}

impl RetentionConfig {
    /// Returns the limits, in which a configured 0 is no limit.
    pub fn limits(&self) -> RetentionLimits {
        let (days, mib) = (self.retention_days, self.retention_log_mb);
        RetentionLimits {
            ended: (days > 0).then(|| Duration::from_secs(days * 24 * 3600)),
            output_bytes: (mib > 0).then_some(mib * 1024 * 1024),
        }
    }
}
