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
    /// The place in which it ran was replaced, so its end is unknown.
    PodLost,
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
}

const REASONS: [(Reason, &str); 11] = [
    (Reason::ExitCode, "exit_code"),
    (Reason::Signal, "signal"),
    (Reason::SpawnFailed, "spawn_failed"),
    (Reason::RunnerLost, "runner_lost"),
    (Reason::PodLost, "pod_lost"),
    (Reason::NoResult, "no_result"),
    (Reason::Auth, "auth"),
    (Reason::Quota, "quota"),
    (Reason::ModelUnavailable, "model_unavailable"),
    (Reason::AgentError, "agent_error"),
    (Reason::MaxTurns, "max_turns"),
];

impl Ending {
    /// The `reason` of the complete event: `None` for a completed command.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Completed => None,
            Self::Cancelled => Some("cancelled"),
            Self::TimedOut => Some("timeout"),
            Self::Failed(reason) => REASONS.iter().find(|(r, _)| *r == reason).map(|(_, name)| *name),
        }
    }

    /// The ending that [`Ending::reason`] and the status were made from.
    pub fn from_status_and_reason(status: crate::Status, reason: Option<&str>) -> Option<Self> {
        match status {
            crate::Status::Completed => Some(Self::Completed),
            crate::Status::Cancelled => Some(Self::Cancelled),
            crate::Status::TimedOut => Some(Self::TimedOut),
            crate::Status::Failed => {
                REASONS.iter().find(|(_, name)| Some(*name) == reason).map(|(r, _)| Self::Failed(*r))
            }
            crate::Status::Pending | crate::Status::Running => None,
        }
    }
}

impl Outcome {
    /// An end without a process of its own: nothing ran, or nobody knows how it went.
    pub fn without_process(ending: Ending, message: impl Into<String>) -> Self {
        Self { ending, exit_code: None, message: Some(message.into()), duration: Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    #[test]
    fn every_reason_is_read_back() {
        for (reason, name) in REASONS {
            let ending = Ending::Failed(reason);
            assert_eq!(ending.reason(), Some(name));
            assert_eq!(Ending::from_status_and_reason(Status::Failed, Some(name)), Some(ending));
        }
        assert_eq!(Ending::from_status_and_reason(Status::Failed, Some("?")), None);
        assert_eq!(Ending::from_status_and_reason(Status::Running, None), None);
    }
}
