//! Operations: durable sagas over a project, made of steps that are taken one after the other.
//!
//! An operation is a job whose work rdev does itself. Its steps are rows, and [`next_action`] decides from them alone what
//! comes next: so any process goes on where another one stopped.

mod decide;
mod error;
mod step;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use decide::{NextAction, OperationEnd, OperationPlan, next_action};
pub use error::{StepError, StepErrorCode};
pub use step::{Made, OperationStep, StepChange, StepEvent, StepState, StepStatus};

use crate::{Conflict, Ending, Error, Job, JobSpec, JobState, ProjectId, Reason, Result};

/// Work of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OperationRequest {
    /// Makes a project: a workspace with a git repository in it.
    CreateProject {
        /// The new project.
        project: ProjectId,
        /// Consequence of a step that fails for good.
        on_failure: OnFailure,
    },
    /// Removes a project with everything of it.
    DeleteProject {
        /// The project.
        project: ProjectId,
    },
}

/// Consequence of a step that fails for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Takes back everything that was made, in reverse.
    #[default]
    Rollback,
    /// Keeps what was made, so that its cause can be found, and the operation can be retried.
    Keep,
}

/// Kind of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationKind {
    /// Makes a project.
    CreateProject,
    /// Removes a project.
    DeleteProject,
}

impl OperationKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::CreateProject, Self::DeleteProject];

    /// Returns the kind's name in answers and stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateProject => "create_project",
            Self::DeleteProject => "delete_project",
        }
    }

    /// Parses the name of a kind.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl OperationRequest {
    /// Returns the kind of the operation.
    pub fn kind(&self) -> OperationKind {
        match self {
            Self::CreateProject { .. } => OperationKind::CreateProject,
            Self::DeleteProject { .. } => OperationKind::DeleteProject,
        }
    }

    /// Returns the project that the operation is about.
    pub fn project(&self) -> &ProjectId {
        match self {
            Self::CreateProject { project, .. } | Self::DeleteProject { project } => project,
        }
    }

    /// Returns the concurrency key: of a project one operation at a time is accepted and runs.
    pub fn key(&self) -> String {
        format!("project:{}", self.project())
    }
}

impl fmt::Display for OperationRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self {
            Self::CreateProject { .. } => "creation",
            Self::DeleteProject { .. } => "deletion",
        };
        write!(f, "{verb} of project {}", self.project())
    }
}

/// Status of an operation, derived from the state of its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationStatus {
    /// Accepted, and going on or about to.
    Running,
    /// Every step is done.
    Completed,
    /// A step failed for good, and what was made is kept.
    Degraded,
    /// A step failed for good, and everything that was made is taken back.
    RolledBack,
    /// Something is left that was not taken back, or not removed.
    Stuck,
    /// Cancelled on request, and everything that was made is taken back.
    Cancelled,
}

impl OperationStatus {
    /// Returns the status of an operation whose job is in this state.
    pub fn of(state: &JobState) -> Self {
        let JobState::Ended { outcome, .. } = state else { return Self::Running };
        match outcome.ending {
            Ending::Completed => Self::Completed,
            Ending::Cancelled => Self::Cancelled,
            Ending::Failed(Reason::Degraded) => Self::Degraded,
            Ending::Failed(Reason::RolledBack) => Self::RolledBack,
            // Any other end leaves steps that are neither done nor taken back.
            Ending::Failed(_) | Ending::TimedOut => Self::Stuck,
        }
    }

    /// Returns the status's name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Degraded => "degraded",
            Self::RolledBack => "rolled_back",
            Self::Stuck => "stuck",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Job {
    /// Returns the operation that the job is; `None` for a command and a task.
    pub fn operation(&self) -> Option<&OperationRequest> {
        match &self.spec {
            JobSpec::Operation(request) => Some(request),
            JobSpec::Command { .. } | JobSpec::Task(_) => None,
        }
    }

    /// Returns the error for a request beside this operation, which has not ended.
    pub fn operation_in_progress(&self) -> Error {
        let what = self.operation().map_or_else(String::new, ToString::to_string);
        let message = format!("{what} has not ended: operation {}", self.id);
        Error::conflict(Conflict::OperationInProgress, message)
    }

    /// Checks that the operation can be retried by hand: it has ended, and not by completing.
    ///
    /// # Errors
    /// `Conflict` with `OPERATION_NOT_RETRYABLE`.
    pub(crate) fn check_operation_retry(&self) -> Result<()> {
        match OperationStatus::of(&self.state) {
            status @ (OperationStatus::Running | OperationStatus::Completed) => {
                let message = format!(
                    "the operation is {}: only one that is degraded, rolled_back, stuck or cancelled can be retried",
                    status.as_str()
                );
                Err(Error::conflict(Conflict::OperationNotRetryable, message))
            }
            OperationStatus::Degraded
            | OperationStatus::RolledBack
            | OperationStatus::Stuck
            | OperationStatus::Cancelled => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, Timestamp};

    #[test]
    fn the_status_follows_from_the_state_of_the_job() {
        let ended = |ending| JobState::Ended {
            started_at: None,
            ended_at: Timestamp::from_micros(1),
            outcome: Outcome::without_process(ending, "m"),
        };
        for (state, status) in [
            (JobState::Pending, "running"),
            (JobState::running(Timestamp::from_micros(1)), "running"),
            (ended(Ending::Completed), "completed"),
            (ended(Ending::Cancelled), "cancelled"),
            (ended(Ending::TimedOut), "stuck"),
            (ended(Ending::Failed(Reason::Degraded)), "degraded"),
            (ended(Ending::Failed(Reason::RolledBack)), "rolled_back"),
            (ended(Ending::Failed(Reason::Stuck)), "stuck"),
            (ended(Ending::Failed(Reason::RunnerLost)), "stuck"),
        ] {
            assert_eq!(OperationStatus::of(&state).as_str(), status, "{state:?}");
        }
    }

    #[test]
    fn a_request_is_read_back_and_names_its_project() {
        let project: ProjectId = "shop".parse().unwrap();
        let create =
            OperationRequest::CreateProject { project: project.clone(), on_failure: OnFailure::Keep };
        let json = serde_json::to_string(&create).unwrap();
        assert_eq!(json, r#"{"type":"create_project","project":"shop","on_failure":"keep"}"#);
        assert_eq!(serde_json::from_str::<OperationRequest>(&json).unwrap(), create);
        let delete = OperationRequest::DeleteProject { project };
        assert_eq!(create.key(), delete.key());
        assert_eq!(
            [&create, &delete].map(ToString::to_string),
            ["creation of project shop", "deletion of project shop"]
        );
    }
}
