//! Projects and their readiness.

use crate::{Conflict, Error, ProjectId, Result, Timestamp};

/// A project: a workspace with a pod in which commands run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Id of the project, part of every URL.
    pub id: ProjectId,
    /// Readiness for commands.
    pub status: ProjectStatus,
    /// A fault that an operator has to repair, whatever the status.
    pub warning: Option<Condition>,
    /// Path of the workspace, as commands see it.
    pub workspace: String,
    /// Repository of the workspace, as git names it.
    pub repository: Option<String>,
    /// Description for people.
    pub description: Option<String>,
    /// Agent of commands that name no agent.
    pub default_agent: Option<String>,
}

impl Project {
    /// Checks that the project takes commands.
    ///
    /// # Errors
    /// `Conflict` with `PROJECT_DELETING`.
    pub fn check_open(&self) -> Result<()> {
        match self.status {
            ProjectStatus::Deleting => {
                let message = format!("project {} is being deleted, and takes no commands", self.id);
                Err(Error::conflict(Conflict::ProjectDeleting, message))
            }
            ProjectStatus::Ready
            | ProjectStatus::Starting(_)
            | ProjectStatus::Failing(_)
            | ProjectStatus::Gone(_) => Ok(()),
        }
    }
}

/// Readiness of a project for commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectStatus {
    /// Commands start at once.
    Ready,
    /// The pod is starting: commands wait for it.
    Starting(Condition),
    /// The pod fails: commands wait for a limited time, in case the fault passes.
    Failing(Condition),
    /// The pod is gone and has no replacement.
    Gone(Condition),
    /// The project is being deleted, and takes no commands.
    Deleting,
}

impl ProjectStatus {
    /// Returns the cause of a status other than ready; `None` when the project is ready.
    pub fn condition(self) -> Option<Condition> {
        match self {
            Self::Ready | Self::Deleting => None,
            Self::Starting(condition) | Self::Failing(condition) | Self::Gone(condition) => Some(condition),
        }
    }
}

/// Cause of a project that is not ready, or another fault of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// One word, the cluster's own where it has one: `ContainerCreating`, `ImagePullBackOff`.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// Start of the condition.
    pub since: Timestamp,
}
