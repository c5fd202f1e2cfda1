//! Event streams.

use std::time::Duration;

use clap::Args;

use super::parse::whole;

/// Event streams.
#[derive(Debug, Clone, Args)]
pub struct StreamsConfig {
    /// Seconds between heartbeats of a silent event stream
    #[arg(long, env = "RDEV_HEARTBEAT_SECONDS", default_value = "10", value_parser = whole::<u64>(1, 300))]
    heartbeat_seconds: u64,
}

impl StreamsConfig {
    /// Returns the time between heartbeats of a silent event stream.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.heartbeat_seconds)
    }
}
