//! The number of jobs that run at once.

use clap::Args;

use super::parse::whole;

/// Number of jobs at once.
#[derive(Debug, Clone, Args)]
pub struct PoolConfig {
    /// Commands of projects run at once by this process
    #[arg(long, env = "RDEV_WORKER_CONCURRENCY", default_value = "8", value_parser = whole::<u32>(1, 1024))]
    pub worker_concurrency: u32,

    /// Tasks of the queue that the local runtime runs at once; in a cluster the pool is as large as it has workers
    #[arg(long, env = "RDEV_POOL_SLOTS", default_value = "2", value_parser = whole::<u32>(0, 256))]
    pub pool_slots: u32,
}
