//! Tasks of the pool: request, schedule and retries.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Ending, Job, JobState, JobStatus, Outcome, ProjectId, Result, Retrying, Timestamp};

/// Shortest pause before another attempt; it doubles with each further attempt.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest pause before another attempt.
const BACKOFF_LAST: Duration = Duration::from_secs(600);
/// Default number of attempts of a kind that may run more than once.
const ATTEMPTS_DEFAULT: u32 = 3;

/// Kind of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Makes a result from a checkout.
    Build,
    /// Checks a checkout.
    Test,
    /// Changes an outside system: runs once by default.
    Deploy,
    /// Any other work.
    Shell,
}

impl TaskKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Build, Self::Test, Self::Deploy, Self::Shell];

    /// Returns the kind's name in requests, answers and stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Test => "test",
            Self::Deploy => "deploy",
            Self::Shell => "shell",
        }
    }

    /// Parses the name of a kind.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Returns the default number of attempts: 1 for deploys, 3 otherwise.
    pub fn attempts_default(self) -> u32 {
        match self {
            Self::Build | Self::Test | Self::Shell => ATTEMPTS_DEFAULT,
            Self::Deploy => 1,
        }
    }
}

/// Steps in a clean checkout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "work")]
pub struct TaskRequest {
    /// Kind of the task.
    pub kind: TaskKind,
    /// Repository to check out; `None`: the steps run in an empty folder.
    pub repository: Option<String>,
    /// Branch, tag or commit; `None`: the default branch of the repository.
    pub git_ref: Option<String>,
    /// Lines for `sh`, run one after the other.
    pub steps: Vec<String>,
    /// Environment variables of the steps.
    pub env: BTreeMap<String, String>,
    /// Patterns of files in the checkout to store.
    #[serde(default)]
    pub artefacts: Vec<String>,
    /// Project that the task is done for.
    pub project: Option<ProjectId>,
    /// At most one task of this key runs at a time.
    pub concurrency_key: Option<String>,
}

impl TaskRequest {
    /// Returns the concurrency key: the caller's, for deploys by default the repository.
    pub fn key(&self) -> Option<String> {
        let by_default = (self.kind == TaskKind::Deploy).then_some(self.repository.as_ref()).flatten();
        self.concurrency_key.as_ref().or(by_default).map(|key| format!("pool:{key}"))
    }
}

/// Priority, start time and attempts of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Priority: a higher one runs first; default 0.
    pub priority: i32,
    /// Earliest start.
    pub run_after: Option<Timestamp>,
    /// Most attempts of a round: the first round, and each retry by hand.
    pub max_attempts: u32,
    /// Number of starts, in all rounds.
    pub attempts: u32,
    /// Number of starts in the rounds before the present one.
    pub earlier_attempts: u32,
    /// End of the last attempt that has not completed.
    pub last_error: Option<String>,
}

impl Default for Schedule {
    /// Starts at once, with one attempt.
    fn default() -> Self {
        Self {
            priority: 0,
            run_after: None,
            max_attempts: 1,
            attempts: 0,
            earlier_attempts: 0,
            last_error: None,
        }
    }
}

impl Schedule {
    /// Tells whether another attempt follows the `attempts`th one, which ended in this way.
    pub fn allows_retry(&self, attempts: u32, ending: Ending) -> bool {
        match ending {
            Ending::Completed | Ending::Cancelled => false,
            Ending::Failed(_) | Ending::TimedOut => attempts < self.attempts_allowed(),
        }
    }

    /// Tells whether another attempt follows one that ended through no fault of its own. Such an attempt
    /// does not count, and only a job that may run more than once gets another.
    pub fn allows_uncounted_retry(&self) -> bool {
        self.max_attempts > 1
    }

    /// Returns the total number of starts allowed by the end of the present round.
    pub fn attempts_allowed(&self) -> u32 {
        self.earlier_attempts.saturating_add(self.max_attempts)
    }

    /// Returns the pause after the `attempts`th attempt: a `fraction` (0 to 1) of a time that doubles
    /// with every attempt of a round, so tasks that failed together do not retry together.
    pub fn backoff(&self, attempts: u32, fraction: f64) -> Duration {
        let of_round = attempts.saturating_sub(self.earlier_attempts);
        let doubled = 1_u32.checked_shl(of_round.saturating_sub(1)).unwrap_or(u32::MAX);
        BACKOFF_FIRST.saturating_mul(doubled).min(BACKOFF_LAST).mul_f64(fraction.clamp(0.0, 1.0))
    }
}

/// Returns one line about the end of an attempt.
pub fn attempt_error(outcome: &Outcome) -> String {
    let reason = outcome.ending.reason().unwrap_or("completed");
    match (outcome.exit_code, &outcome.message) {
        (_, Some(message)) => format!("{reason}: {message}"),
        (Some(code), None) => format!("{reason}: {code}"),
        (None, None) => reason.to_owned(),
    }
}

impl Job {
    /// Tells whether the job has used all attempts without success: it is stored, and may be retried by
    /// hand.
    pub fn is_dead(&self) -> bool {
        let crate::JobState::Ended { outcome, .. } = &self.state else {
            return false;
        };
        self.spec.is_task() && matches!(outcome.ending, Ending::Failed(_) | Ending::TimedOut)
    }

    /// Returns the ended job, pending for one more round, and the entry for its log.
    ///
    /// # Errors
    /// `Conflict` with `TASK_NOT_ENDED`, of an operation with `OPERATION_NOT_RETRYABLE`.
    pub fn reopened(&self) -> Result<(Self, Retrying)> {
        if self.operation().is_some() {
            self.check_operation_retry()?;
        }
        let state = self.state.reopen()?;
        let error = match &self.state {
            JobState::Ended { outcome, .. } => attempt_error(outcome),
            JobState::Pending | JobState::Running { .. } => String::new(),
        };
        let has_completed = self.state.status() == JobStatus::Completed;
        let last_error = if has_completed { self.schedule.last_error.clone() } else { Some(error.clone()) };
        let attempts = self.schedule.attempts;
        let schedule =
            Schedule { run_after: None, earlier_attempts: attempts, last_error, ..self.schedule.clone() };
        let retrying =
            Retrying { attempt: attempts + 1, reason: "retried".to_owned(), message: error, counted: false };
        Ok((Self { state, schedule, cancel_requested: false, ..self.clone() }, retrying))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;

    #[test]
    fn only_failures_are_retried_up_to_the_limit() {
        let schedule = Schedule { max_attempts: 3, ..Schedule::default() };
        let failed = Ending::Failed(Reason::ExitCode);
        for (attempts, ending, again) in [
            (1, failed, true),
            (2, Ending::TimedOut, true),
            (3, failed, false),
            (1, Ending::Cancelled, false),
            (1, Ending::Completed, false),
        ] {
            assert_eq!(schedule.allows_retry(attempts, ending), again, "{attempts} {ending:?}");
        }
        let second_round = Schedule { earlier_attempts: 2, ..schedule };
        assert_eq!(
            [3, 4, 5].map(|attempts| second_round.allows_retry(attempts, failed)),
            [true, true, false]
        );
    }

    #[test]
    fn pauses_double_to_a_limit_and_are_spread() {
        let first_round = Schedule::default();
        let whole = |attempts| first_round.backoff(attempts, 1.0);
        assert_eq!([1, 2, 3].map(whole), [1, 2, 4].map(Duration::from_secs));
        assert_eq!([20, 33, u32::MAX].map(whole), [BACKOFF_LAST; 3]);
        assert_eq!(first_round.backoff(3, 0.0), Duration::ZERO);
        assert_eq!(first_round.backoff(3, 0.5), Duration::from_secs(2));
        let second_round = Schedule { earlier_attempts: 20, ..first_round };
        assert_eq!(
            [21, 22].map(|attempts| second_round.backoff(attempts, 1.0)),
            [1, 2].map(Duration::from_secs)
        );
    }

    #[test]
    fn a_deploy_runs_once_and_one_at_a_time() {
        let work = |kind, key: Option<&str>| TaskRequest {
            kind,
            repository: Some("https://host/repo".to_owned()),
            git_ref: None,
            steps: Vec::new(),
            env: BTreeMap::new(),
            artefacts: Vec::new(),
            project: None,
            concurrency_key: key.map(str::to_owned),
        };
        assert_eq!(work(TaskKind::Deploy, None).key().unwrap(), "pool:https://host/repo");
        assert_eq!(work(TaskKind::Deploy, Some("live")).key().unwrap(), "pool:live");
        assert_eq!(work(TaskKind::Build, None).key(), None);
        assert_eq!(TaskKind::ALL.map(TaskKind::attempts_default), [3, 3, 1, 3]);
    }
}
