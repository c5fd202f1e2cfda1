//! Queue: causes for which a job waits.

/// Cause for which a pending job does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockedBy {
    /// The time before which the job must not run.
    RunAfter,
    /// Another task of the same concurrency key runs, or is first in line.
    ConcurrencyKey,
    /// Another command works in the project's workspace, or is first in line.
    Workspace,
    /// Every worker of the pool is occupied.
    PoolFull,
    /// No worker of the pool is ready.
    NoReadyWorker,
    /// The pod of the job's project is not ready.
    PodNotReady,
    /// The servers run as many jobs as they may.
    WorkerConcurrency,
}

impl BlockedBy {
    /// Every cause.
    pub const ALL: [Self; 7] = [
        Self::RunAfter,
        Self::ConcurrencyKey,
        Self::Workspace,
        Self::PoolFull,
        Self::NoReadyWorker,
        Self::PodNotReady,
        Self::WorkerConcurrency,
    ];

    /// Returns the name of the cause in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RunAfter => "run_after",
            Self::ConcurrencyKey => "concurrency_key",
            Self::Workspace => "workspace",
            Self::PoolFull => "pool_full",
            Self::NoReadyWorker => "no_ready_worker",
            Self::PodNotReady => "pod_not_ready",
            Self::WorkerConcurrency => "worker_concurrency",
        }
    }
}
