//! The times of jobs: leases, limits, waits.

use std::time::Duration;

use clap::Args;

use super::parse::whole;

/// Times of jobs.
#[derive(Debug, Clone, Args)]
pub struct JobsConfig {
    /// A task whose worker is silent for so many seconds is taken over
    #[arg(long, env = "RDEV_LEASE_SECONDS", default_value = "30", value_parser = whole::<u64>(3, 3600))]
    lease_seconds: u64,

    /// Limit in seconds for a command that names none
    #[arg(long, env = "RDEV_COMMAND_TIMEOUT_SECONDS", default_value = "3600", value_parser = whole::<u64>(1, 604_800))]
    command_timeout_seconds: u64,

    /// Seconds that a command waits for its project's pod to be ready
    #[arg(long, env = "RDEV_POD_WAIT_SECONDS", default_value = "300", value_parser = whole::<u64>(1, 86_400))]
    pod_wait_seconds: u64,

    /// Seconds between two searches of a place for output whose copy is stored, which still takes space there
    #[arg(long, env = "RDEV_JOURNAL_SEARCH_SECONDS", default_value = "3600", value_parser = whole::<u64>(1, 86_400))]
    journal_search_seconds: u64,
}

impl JobsConfig {
    /// Returns the time after which the jobs of a silent worker are taken over.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds)
    }

    /// Returns the time limit of a job that names none.
    pub fn command_timeout(&self) -> Duration {
        Duration::from_secs(self.command_timeout_seconds)
    }

    /// Returns the longest time that a command waits for its project's pod.
    pub fn pod_wait(&self) -> Duration {
        Duration::from_secs(self.pod_wait_seconds)
    }

    /// Returns the time between two searches of a pod for journals that nobody has freed.
    pub fn journal_search(&self) -> Duration {
        Duration::from_secs(self.journal_search_seconds)
    }
}
