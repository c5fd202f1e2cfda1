//! Target of a job: the pod of a project, the pool of workers, or rdev itself.

use std::fmt;

use crate::{JobIdPrefix, ProjectId};

/// Target of a job: where it runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The pod of a project.
    Project(ProjectId),
    /// Any worker of the pool.
    Pool,
    /// rdev itself, which does the work of operations.
    Operations,
}

/// Line of the queue in which a job waits, with limits of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Commands of projects.
    Commands,
    /// Tasks of the pool.
    Tasks,
    /// Operations.
    Operations,
}

impl Target {
    /// Returns the lane of the target's jobs.
    pub fn lane(&self) -> Lane {
        match self {
            Self::Project(_) => Lane::Commands,
            Self::Pool => Lane::Tasks,
            Self::Operations => Lane::Operations,
        }
    }

    /// Returns the prefix of the ids of jobs of this target.
    pub fn id_prefix(&self) -> JobIdPrefix {
        match self {
            Self::Project(_) => JobIdPrefix::Command,
            Self::Pool => JobIdPrefix::Task,
            Self::Operations => JobIdPrefix::Operation,
        }
    }
}

impl From<ProjectId> for Target {
    fn from(id: ProjectId) -> Self {
        Self::Project(id)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project(id) => write!(f, "project {id}"),
            Self::Pool => f.write_str("the pool"),
            Self::Operations => f.write_str("the operations"),
        }
    }
}
