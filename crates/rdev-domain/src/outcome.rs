use std::time::Duration;

/// How a command came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The way it ended.
    pub ending: Ending,
    /// Exit code of its process, if that was reached; 128 + the number for a death by signal.
    pub exit_code: Option<i32>,
    /// Why it did not complete, in words for people: an agent's own message, the missing program.
    pub message: Option<String>,
    /// Time from the start of its process to its end.
    pub duration: Duration,
}

/// The way a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Exit code 0, and an agent's result where there is an agent.
    Completed,
    /// Anything else that nobody asked for.
    Failed(Reason),
    /// Somebody asked for its end.
    Cancelled,
    /// Its time was up.
    TimedOut,
}

/// Why a command failed, honestly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its exit code was not 0.
    ExitCode,
    /// A signal that rdev did not send killed it.
    Signal,
    /// Its program could not be executed.
    SpawnFailed,
    /// The runner that supervised it is gone, so its end is unknown.
    RunnerLost,
    /// The runner's journal of it was damaged on its disk, so its end is unknown.
    JournalDamaged,
    /// The pod in which it ran was deleted or replaced.
    PodLost,
    /// The pod in which it ran was evicted from its node.
    PodEvicted,
    /// The container in which it ran ended, and was started anew.
    PodRestarted,
    /// The node of its pod does not answer.
    NodeLost,
    /// Its pod was not ready in time.
    PodNotReady,
    /// It, or the container in which it ran, needed more memory than it may have.
    OomKilled,
    /// The cluster does not let rdev run programs in its pod.
    ExecForbidden,
    /// The image of its pod has no shell.
    NoShell,
    /// The pod has no usable runner, and none could be copied into it.
    RunnerMissing,
    /// The folder of runs of its pod is that of another pod as well.
    RunsShared,
    /// The agent ended without a result.
    NoResult,
    /// The model service refused the credentials.
    Auth,
    /// The model service reported a used-up quota or rate limit.
    Quota,
    /// The model service failed or was not reached.
    ModelUnavailable,
    /// The agent reported another error.
    AgentError,
    /// The agent reached its limit of turns.
    MaxTurns,
    /// The agent came to a result, and did not end after it.
    HungAfterResult,
    /// The runner in its place cannot start it.
    RunnerFailed,
}

/// What keeps a command from running, or has ended it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The reason of a command that ends by it.
    pub reason: Reason,
    /// A sentence for people.
    pub message: String,
}

impl Failure {
    /// For this reason.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// With a message that every store can hold.
    #[must_use]
    pub fn storable(self) -> Self {
        Self { message: storable(self.message), ..self }
    }
}

const REASONS: [(Reason, &str); 23] = [
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
];

impl Reason {
    /// Its name in answers, events and stores.
    pub fn as_str(self) -> &'static str {
        REASONS.iter().find(|(reason, _)| *reason == self).map_or("", |(_, name)| name)
    }

    /// The reason of that name.
    pub fn parse(name: &str) -> Option<Self> {
        REASONS.iter().find(|(_, known)| *known == name).map(|(reason, _)| *reason)
    }
}

impl Ending {
    /// The `reason` of the complete event: `None` for a completed command.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Completed => None,
            Self::Cancelled => Some("cancelled"),
            Self::TimedOut => Some("timeout"),
            Self::Failed(reason) => Some(reason.as_str()),
        }
    }

    /// The ending that [`Ending::reason`] and the status were made from.
    pub fn from_status_and_reason(status: crate::JobStatus, reason: Option<&str>) -> Option<Self> {
        match status {
            crate::JobStatus::Completed => Some(Self::Completed),
            crate::JobStatus::Cancelled => Some(Self::Cancelled),
            crate::JobStatus::TimedOut => Some(Self::TimedOut),
            crate::JobStatus::Failed => reason.and_then(Reason::parse).map(Self::Failed),
            crate::JobStatus::Pending | crate::JobStatus::Running => None,
        }
    }
}

impl Outcome {
    /// An end without a process of its own: nothing ran, or nobody knows how it went.
    pub fn without_process(ending: Ending, message: impl Into<String>) -> Self {
        Self { ending, exit_code: None, message: Some(message.into()), duration: Duration::ZERO }
    }

    /// With a message that every store can hold.
    #[must_use]
    pub fn storable(self) -> Self {
        Self { message: self.message.map(storable), ..self }
    }
}

/// As every store can hold it: Postgres has no texts with NUL in them, and programs say what they like.
fn storable(message: String) -> String {
    if message.contains('\0') { message.replace('\0', "\u{fffd}") } else { message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobStatus;

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
