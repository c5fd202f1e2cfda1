//! Work for the pool: what is asked for, when it runs, and how often it is tried.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Ending, Job, JobState, Outcome, ProjectId, Result, Retrying, Timestamp};

/// The first pause before another attempt; doubled with each further one.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// The longest pause before another attempt.
const BACKOFF_LAST: Duration = Duration::from_secs(600);
/// Attempts of what may run more than once, where the caller names no number.
const ATTEMPTS_DEFAULT: u32 = 3;

/// What kind of work a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Makes something out of a checkout.
    Build,
    /// Checks a checkout.
    Test,
    /// Changes something outside: it runs once, unless its caller allows more.
    Deploy,
    /// Anything else.
    Shell,
}

impl TaskKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Build, Self::Test, Self::Deploy, Self::Shell];

    /// Its name in requests, answers and stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Test => "test",
            Self::Deploy => "deploy",
            Self::Shell => "shell",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// How often it is tried, where the caller does not say.
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
    /// What kind of work it is.
    pub kind: TaskKind,
    /// What is checked out; `None`: the steps run in an empty folder.
    pub repository: Option<String>,
    /// Branch, tag or commit; `None`: the repository's own choice.
    pub git_ref: Option<String>,
    /// Lines for `sh`, one after the other.
    pub steps: Vec<String>,
    /// Variables set for them.
    pub env: BTreeMap<String, String>,
    /// Patterns of the files that are kept of the checkout.
    #[serde(default)]
    pub artefacts: Vec<String>,
    /// The project that it is done for.
    pub project: Option<ProjectId>,
    /// At most one task of this key runs at a time.
    pub concurrency_key: Option<String>,
}

impl TaskRequest {
    /// The key of which at most one task runs: the caller's, or for deploys the repository.
    pub fn key(&self) -> Option<String> {
        let by_default = (self.kind == TaskKind::Deploy).then_some(self.repository.as_ref()).flatten();
        self.concurrency_key.as_ref().or(by_default).map(|key| format!("pool:{key}"))
    }
}

/// When a command runs, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Of what waits, the higher runs first.
    pub priority: i32,
    /// Not before this moment.
    pub run_after: Option<Timestamp>,
    /// A round has at most so many attempts: the first round, and each that somebody asks for by hand.
    pub max_attempts: u32,
    /// How often it was started, in all rounds.
    pub attempts: u32,
    /// How often of these in the rounds before the present one.
    pub earlier_attempts: u32,
    /// How the attempt before the present one came to its end.
    pub last_error: Option<String>,
}

impl Default for Schedule {
    /// At once, and once.
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
    /// Whether an attempt that came to this end, the `attempts`th, is followed by another one.
    pub fn allows_retry(&self, attempts: u32, ending: Ending) -> bool {
        match ending {
            Ending::Completed | Ending::Cancelled => false,
            Ending::Failed(_) | Ending::TimedOut => attempts < self.attempts_allowed(),
        }
    }

    /// Tells whether an attempt that was ended by what it had no part in is followed by another one and does not count: where
    /// the command may run more than once.
    pub fn allows_uncounted_retry(&self) -> bool {
        self.max_attempts > 1
    }

    /// How often it may be started by the end of the present round.
    pub fn attempts_allowed(&self) -> u32 {
        self.earlier_attempts.saturating_add(self.max_attempts)
    }

    /// The pause after the `attempts`th attempt: a `fraction` (0 to 1) of a time that doubles with every attempt of a
    /// round, so that tasks which failed together do not come again together.
    pub fn backoff(&self, attempts: u32, fraction: f64) -> Duration {
        let of_round = attempts.saturating_sub(self.earlier_attempts);
        let doubled = 1_u32.checked_shl(of_round.saturating_sub(1)).unwrap_or(u32::MAX);
        BACKOFF_FIRST.saturating_mul(doubled).min(BACKOFF_LAST).mul_f64(fraction.clamp(0.0, 1.0))
    }
}

/// One line on how an attempt ended.
pub fn attempt_error(outcome: &Outcome) -> String {
    let reason = outcome.ending.reason().unwrap_or("completed");
    match (outcome.exit_code, &outcome.message) {
        (_, Some(message)) => format!("{reason}: {message}"),
        (Some(code), None) => format!("{reason}: {code}"),
        (None, None) => reason.to_owned(),
    }
}

impl Job {
    /// Whether it has used up its attempts without success: it is kept, and may be retried by hand.
    pub fn is_dead(&self) -> bool {
        let crate::JobState::Ended { outcome, .. } = &self.state else {
            return false;
        };
        self.spec.is_task() && matches!(outcome.ending, Ending::Failed(_) | Ending::TimedOut)
    }

    /// The command that has ended, as it waits for one more round; and what its log tells of that.
    ///
    /// # Errors
    /// `Conflict` with `TASK_NOT_ENDED`.
    pub fn reopened(&self) -> Result<(Self, Retrying)> {
        let state = self.state.reopen()?;
        let error = match &self.state {
            JobState::Ended { outcome, .. } => attempt_error(outcome),
            JobState::Pending | JobState::Running { .. } => String::new(),
        };
        let attempts = self.schedule.attempts;
        let schedule = Schedule {
            run_after: None,
            earlier_attempts: attempts,
            last_error: Some(error.clone()),
            ..self.schedule.clone()
        };
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
    fn only_what_failed_is_tried_again_and_only_so_often() {
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
