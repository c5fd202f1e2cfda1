//! Progress of commands and tasks: where they stand, and why.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

closed_set! {
    /// Status of a command or a task.
    Status {
        /// Stored, and waiting for a worker.
        Pending = "pending",
        /// Started, or about to be.
        Running = "running",
        /// Running, and waiting for an approval.
        WaitingApproval = "waiting_approval",
        /// Running, and waiting for room in a quota.
        WaitingQuota = "waiting_quota",
        /// Running, and waiting for room in a budget.
        WaitingBudget = "waiting_budget",
        /// Ended with exit code 0, and with an agent's result where an agent ran.
        Completed = "completed",
        /// Ended in a way that nobody asked for; `reason` has the cause.
        Failed = "failed",
        /// Ended on request.
        Cancelled = "cancelled",
        /// Ended because its time limit was reached.
        TimedOut = "timed_out",
    }
}

impl Status {
    /// Returns true for the statuses of a command or task that has ended.
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::TimedOut)
    }
}

closed_set! {
    /// Cause of an end without success, or of a delay.
    Reason {
        /// Its process ended with an exit code other than 0.
        ExitCode = "exit_code",
        /// A signal that rdev did not send killed its process.
        Signal = "signal",
        /// Its program could not be executed.
        SpawnFailed = "spawn_failed",
        /// The runner that supervised it is gone, so its end is unknown.
        RunnerLost = "runner_lost",
        /// The runner's journal was damaged on its disk, so its end is unknown.
        JournalDamaged = "journal_damaged",
        /// Its pod was deleted or replaced.
        PodLost = "pod_lost",
        /// Its pod was evicted from its node.
        PodEvicted = "pod_evicted",
        /// Its container ended and was started anew.
        PodRestarted = "pod_restarted",
        /// The node of its pod does not answer.
        NodeLost = "node_lost",
        /// Its pod was not ready in time.
        PodNotReady = "pod_not_ready",
        /// It, or its container, needed more memory than it may have.
        OomKilled = "oom_killed",
        /// The cluster does not let rdev run programs in its pod.
        ExecForbidden = "exec_forbidden",
        /// The image of its pod has no shell.
        NoShell = "no_shell",
        /// Its pod has no usable runner, and none could be copied into it.
        RunnerMissing = "runner_missing",
        /// Two pods share the folder in which runs are kept.
        RunsShared = "runs_shared",
        /// The agent ended without a result.
        NoResult = "no_result",
        /// The model service refused the credentials.
        Auth = "auth",
        /// The model service reported a used-up quota or rate limit.
        Quota = "quota",
        /// The model service failed or was not reached.
        ModelUnavailable = "model_unavailable",
        /// The agent reported another error.
        AgentError = "agent_error",
        /// The agent reached its limit of turns.
        MaxTurns = "max_turns",
        /// The agent gave a result and did not end after it.
        HungAfterResult = "hung_after_result",
        /// The runner in its pod cannot start it.
        RunnerFailed = "runner_failed",
        /// A step of the operation failed for good, and what was made is kept.
        Degraded = "degraded",
        /// A step of the operation failed for good, and everything that was made is taken back.
        RolledBack = "rolled_back",
        /// Something is left that the operation could not take back, or not remove.
        Stuck = "stuck",
        /// A caller asked for its end.
        Cancelled = "cancelled",
        /// Its time limit was reached.
        Timeout = "timeout",
        /// A caller asked for another round; only in `status` events of tasks.
        Retried = "retried",
    }
}

closed_set! {
    /// Cause for which a pending command or task does not start.
    BlockedBy {
        /// Another command runs in its workspace.
        Workspace = "workspace",
        /// Every worker of the pool is busy.
        PoolFull = "pool_full",
        /// No worker of the pool is ready.
        NoReadyWorker = "no_ready_worker",
        /// The pod of its project is not ready.
        PodNotReady = "pod_not_ready",
        /// Another task of its concurrency key runs, or comes first.
        ConcurrencyKey = "concurrency_key",
        /// Its `run_after` has not come.
        RunAfter = "run_after",
        /// rdev itself runs as many commands as it may.
        WorkerConcurrency = "worker_concurrency",
    }
}

/// Position of a pending command or task in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct QueuePosition {
    /// Position, from 1 on.
    #[cfg_attr(feature = "schema", schema(example = 3))]
    pub position: u64,
    /// Cause for which it does not start; null where it is about to, since a worker is free.
    pub blocked_by: Option<BlockedBy>,
}

/// Progress of a command or a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Progress {
    /// Time limit in milliseconds, of each attempt.
    pub timeout_ms: u64,
    /// True once a caller has asked for its end.
    pub cancel_requested: bool,
    /// Id of the key whose request it is.
    #[cfg_attr(feature = "schema", schema(example = "admin"))]
    pub created_by: String,
    /// Time of its acceptance.
    pub created_at: Timestamp,
    /// Start of its last attempt; null before the first.
    pub started_at: Option<Timestamp>,
    /// Time of its end; null before.
    pub ended_at: Option<Timestamp>,
    /// Milliseconds from the start of its process to its end; null before.
    pub duration_ms: Option<u64>,
    /// Exit code of its process, of a task that of the last step; 128 + the number for a death by signal; null where
    /// no process ended.
    pub exit_code: Option<i32>,
    /// Cause of its end without success, or while it is `running` of the delay; null otherwise.
    pub reason: Option<Reason>,
    /// Explanation of the reason, for people.
    pub message: Option<String>,
    /// Queue position and blocking cause. Set only in the answer for a single pending command or task.
    pub queue: Option<QueuePosition>,
}
