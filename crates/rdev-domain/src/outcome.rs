//! Outcomes: how a job ended, and why.

use std::time::Duration;

use crate::JobKind;

/// Result of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Ending of a job.
    pub ending: Ending,
    /// Exit code of the process, if one was reached; 128 + the number for a death by signal.
    pub exit_code: Option<i32>,
    /// Cause in words for people: an agent's own message, the missing program.
    pub message: Option<String>,
    /// Time from the start of the process to its end.
    pub duration: Duration,
}

/// Ending of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Exit code 0, and for an agent its result event.
    Completed,
    /// Without success, and without a request to end.
    Failed(Reason),
    /// Cancelled on request.
    Cancelled,
    /// Stopped by its timeout.
    TimedOut,
}

/// Reason why a job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The exit code was not 0.
    ExitCode,
    /// A signal that rdev did not send killed the process.
    Signal,
    /// The program could not be executed.
    SpawnFailed,
    /// The supervising runner is gone, so the end is unknown.
    RunnerLost,
    /// The runner's journal was damaged on its disk, so the end is unknown.
    JournalDamaged,
    /// The pod of the job was deleted or replaced.
    PodLost,
    /// The pod of the job was evicted from its node.
    PodEvicted,
    /// The container of the job ended and was restarted.
    PodRestarted,
    /// The node of the pod does not answer.
    NodeLost,
    /// The pod was not ready in time.
    PodNotReady,
    /// The job, or its container, exceeded its memory limit.
    OomKilled,
    /// The cluster does not allow rdev to run programs in the pod.
    ExecForbidden,
    /// The image of the pod has no shell.
    NoShell,
    /// The pod has no usable runner, and none could be copied into it.
    RunnerMissing,
    /// Another pod uses the same folder of runs.
    RunsShared,
    /// The agent ended without a result.
    NoResult,
    /// The model service refused the credentials.
    Auth,
    /// The model service reported an exhausted quota or rate limit.
    Quota,
    /// The model service failed or was not reached.
    ModelUnavailable,
    /// The agent reported another error.
    AgentError,
    /// The agent reached its limit of turns.
    MaxTurns,
    /// The agent reported its result, and did not exit afterwards.
    HungAfterResult,
    /// The runner in the pod could not start the job.
    RunnerFailed,
    /// A step of the operation failed for good, and what was made is kept.
    Degraded,
    /// A step of the operation failed for good, and everything that was made is taken back.
    RolledBack,
    /// Something is left that the operation could not take back, or not remove.
    Stuck,
}

/// Cause that keeps a job from running, or has ended it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Reason of a job that ends by this failure.
    pub reason: Reason,
    /// A sentence for people.
    pub message: String,
}

impl Failure {
    /// Returns a failure of this reason.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// Returns the failure with a message that every store accepts.
    #[must_use]
    pub fn storable(self) -> Self {
        Self { message: storable(self.message), ..self }
    }
}

const REASONS: [(Reason, &str); 26] = [
    (Reason::ExitCode, "exit_code"),
    (Reason::Signal, "signal"),
    (Reason::SpawnFailed, "spawn_failed"),
    (Reason::RunnerLost, "runner_lost"),
    (Reason::JournalDamaged, "journal_damaged"),
    (Reason::PodLost, "pod_lost"),
    (Reason::PodEvicted, "pod_evicted"),
    (Reason::PodRestarted, "pod_restarted"),
    (Reason::NodeLost, "node_lost"),
    (Reason::PodNotReady, "pod_not_ready"),
    (Reason::OomKilled, "oom_killed"),
    (Reason::ExecForbidden, "exec_forbidden"),
    (Reason::NoShell, "no_shell"),
    (Reason::RunnerMissing, "runner_missing"),
    (Reason::RunsShared, "runs_shared"),
    (Reason::NoResult, "no_result"),
    (Reason::Auth, "auth"),
    (Reason::Quota, "quota"),
    (Reason::ModelUnavailable, "model_unavailable"),
    (Reason::AgentError, "agent_error"),
    (Reason::MaxTurns, "max_turns"),
    (Reason::HungAfterResult, "hung_after_result"),
    (Reason::RunnerFailed, "runner_failed"),
    (Reason::Degraded, "degraded"),
    (Reason::RolledBack, "rolled_back"),
    (Reason::Stuck, "stuck"),
];

impl Reason {
    /// Returns the reason's name in answers, events and stores.
    pub fn as_str(self) -> &'static str {
        REASONS.iter().find(|(reason, _)| *reason == self).map_or("", |(_, name)| name)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        REASONS.iter().map(|(reason, _)| *reason)
    }

    /// Tells whether a job of this kind may fail for the reason.
    pub fn is_of(self, kind: JobKind) -> bool {
        match self {
            Self::NoResult
            | Self::Auth
            | Self::Quota
            | Self::ModelUnavailable
            | Self::AgentError
            | Self::MaxTurns
            | Self::HungAfterResult => kind.agent().is_some(),
            Self::Degraded | Self::RolledBack | Self::Stuck => matches!(kind, JobKind::Operation(_)),
            Self::ExitCode
            | Self::Signal
            | Self::SpawnFailed
            | Self::RunnerLost
            | Self::JournalDamaged
            | Self::PodLost
            | Self::PodEvicted
            | Self::PodRestarted
            | Self::NodeLost
            | Self::PodNotReady
            | Self::OomKilled
            | Self::ExecForbidden
            | Self::NoShell
            | Self::RunnerMissing
            | Self::RunsShared
            | Self::RunnerFailed => !matches!(kind, JobKind::Operation(_)),
        }
    }

    /// Parses the name of a reason.
    pub fn parse(name: &str) -> Option<Self> {
        REASONS.iter().find(|(_, known)| *known == name).map(|(reason, _)| *reason)
    }
}

impl Ending {
    /// Returns the `reason` of the complete event: `None` for a completed job.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Completed => None,
            Self::Cancelled => Some("cancelled"),
            Self::TimedOut => Some("timeout"),
            Self::Failed(reason) => Some(reason.as_str()),
        }
    }

    /// Restores the ending from its status and [`Ending::reason`].
    pub fn from_status_and_reason(status: crate::JobStatus, reason: Option<&str>) -> Option<Self> {
        match status {
            crate::JobStatus::Completed => Some(Self::Completed),
            crate::JobStatus::Cancelled => Some(Self::Cancelled),
            crate::JobStatus::TimedOut => Some(Self::TimedOut),
            crate::JobStatus::Failed => reason.and_then(Reason::parse).map(Self::Failed),
            crate::JobStatus::Pending
            | crate::JobStatus::Running
            | crate::JobStatus::WaitingApproval
            | crate::JobStatus::WaitingQuota
            | crate::JobStatus::WaitingBudget => None,
        }
    }
}

impl Outcome {
    /// Returns the outcome of a job without a process, or of one whose process left no result.
    pub fn without_process(ending: Ending, message: impl Into<String>) -> Self {
        Self { ending, exit_code: None, message: Some(message.into()), duration: Duration::ZERO }
    }

    /// Returns the outcome with a message that every store accepts.
    #[must_use]
    pub fn storable(self) -> Self {
        Self { message: self.message.map(storable), ..self }
    }
}

/// Replaces NUL: Postgres stores no text with NUL, and programs may print any byte.
fn storable(message: String) -> String {
    if message.contains('\0') { message.replace('\0', "\u{fffd}") } else { message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CommandKind, JobStatus, OperationKind, TaskKind};

    #[test]
    fn a_reason_is_of_the_jobs_that_may_fail_for_it() {
        let of = |kind: JobKind| Reason::all().filter(|reason| reason.is_of(kind)).collect::<Vec<_>>();
        let (agent, shell) = (JobKind::Command(CommandKind::Claude), JobKind::Command(CommandKind::Shell));
        assert!(of(agent).contains(&Reason::Auth) && of(agent).contains(&Reason::PodLost));
        assert!(!of(shell).contains(&Reason::Auth) && of(shell).contains(&Reason::ExitCode));
        assert_eq!(of(JobKind::Task(TaskKind::Shell)), of(shell));
        let operation = of(JobKind::Operation(OperationKind::CreateProject));
        assert_eq!(operation, [Reason::Degraded, Reason::RolledBack, Reason::Stuck]);
        // Each is some kind's.
        assert_eq!(of(agent).len() + operation.len(), REASONS.len());
    }

    #[test]
    fn every_reason_is_read_back() {
        for (reason, name) in REASONS {
            let ending = Ending::Failed(reason);
            assert_eq!(ending.reason(), Some(name));
            assert_eq!(Ending::from_status_and_reason(JobStatus::Failed, Some(name)), Some(ending));
        }
        assert_eq!(Ending::from_status_and_reason(JobStatus::Failed, Some("?")), None);
        assert_eq!(Ending::from_status_and_reason(JobStatus::Running, None), None);
    }
}
