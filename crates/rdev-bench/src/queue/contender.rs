//! What every queue is asked to do.

use std::time::Duration;

use async_trait::async_trait;

/// Connections that each may have: as many as rdev's pool has.
pub(crate) const CONNECTIONS: u32 = 16;

/// How tasks are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One by one, sixteen at once.
    Single,
    /// In batches, where there are any, a hundred tasks at once.
    Batched,
}

impl Mode {
    /// Tasks that one statement carries.
    pub(crate) const fn batch(self) -> u64 {
        match self {
            Self::Single => 1,
            Self::Batched => 500,
        }
    }

    /// Tasks that are worked on at once.
    pub(crate) const fn at_once(self) -> u64 {
        match self {
            Self::Single => 16,
            Self::Batched => 100,
        }
    }

    /// Calls that store tasks at once.
    pub(crate) const fn senders(self) -> u64 {
        match self {
            Self::Single => 16,
            Self::Batched => 4,
        }
    }
}

/// A queue that is measured, with a database of its own.
#[async_trait]
pub(crate) trait Contender: Send {
    fn name(&self) -> &str;

    /// What it keeps of a finished task.
    fn keeps(&self) -> &str;

    fn database(&self) -> &str;

    /// Whether it is rdev's queue, or one of those beside which it is judged.
    fn is_rdev(&self) -> bool {
        false
    }

    /// The tables that hold tasks: emptied between measurements.
    fn tables(&self) -> &str;

    /// Stores `count` tasks, a multiple of the batch; the time that it took.
    async fn enqueue(&mut self, count: u64, mode: Mode) -> anyhow::Result<Duration>;

    /// Makes `count` tasks wait, however.
    async fn fill(&mut self, count: u64) -> anyhow::Result<()>;

    /// Works off the `count` tasks that wait: the time from the first one's start until all are stored as
    /// finished.
    async fn run(&mut self, count: u64, mode: Mode) -> anyhow::Result<Duration>;

    /// Stores `rate` tasks a second beside a worker that waits for them: for each the time from before it is
    /// stored to its start, in milliseconds.
    async fn latency(&mut self, rate: u64, seconds: u64) -> anyhow::Result<Vec<f64>>;

    /// Keeps a worker waiting for `time`.
    async fn idle(&mut self, time: Duration) -> anyhow::Result<()>;
}
