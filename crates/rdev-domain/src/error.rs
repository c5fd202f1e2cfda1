//! The one error of rdev: a kind that callers decide by, and words for people.

use std::backtrace::BacktraceStatus;
use std::fmt;

use crate::JobId;

/// Result of every fallible function in rdev.
pub type Result<T> = std::result::Result<T, Error>;

/// Describes an error with its causes in one line. A cause with which the text before it ends is left out: many libraries
/// print their causes themselves.
pub fn causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.ends_with(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text
}

/// Failure of a request, independent of its protocol. `Debug` is one line, as logs need it; a backtrace follows where the
/// environment asks for one.
#[derive(thiserror::Error)]
pub enum Error {
    /// The resource does not exist, or the caller may not know that it exists.
    #[error("{} {id:?} does not exist", .resource.as_str())]
    NotFound {
        /// Kind of the resource.
        resource: Resource,
        /// The requested id.
        id: String,
    },
    /// The request contradicts the current state.
    #[error("{message}")]
    Conflict {
        /// The rule that the request breaks.
        conflict: Conflict,
        /// The state that is in the way, for people.
        message: String,
        /// The job that is in the way, where it is one and is known.
        job: Option<JobId>,
    },
    /// The request is readable, but its content is not valid.
    #[error("{} of the request's fields are not valid", .0.len())]
    Invalid(Vec<FieldError>),
    /// A required system does not answer, or is full; the same request may succeed later.
    #[error("{system} is not available")]
    Unavailable {
        /// Name of the system.
        system: &'static str,
        /// Error of the system, for the log.
        #[source]
        source: anyhow::Error,
    },
    /// The claim on a job is not the latest, or the job has ended: the writer must stop. Only methods that take one fence
    /// return this.
    #[error("the lease on this task has passed to another worker")]
    LeaseLost,
    /// A defect, or a broken system.
    #[error("internal error")]
    Internal(#[from] anyhow::Error),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { resource, id } => write!(f, "NotFound({resource:?}, {id:?})"),
            Self::Conflict { conflict, message, .. } => write!(f, "Conflict({conflict:?}, {message:?})"),
            Self::Invalid(fields) => write!(f, "Invalid({fields:?})"),
            Self::Unavailable { system, source } => write!(f, "Unavailable({system}: {})", causes(source)),
            Self::LeaseLost => f.write_str("LeaseLost"),
            Self::Internal(source) => {
                write!(f, "Internal({})", causes(source))?;
                match source.backtrace().status() {
                    BacktraceStatus::Captured => write!(f, "\n{}", source.backtrace()),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// Kind of a resource that a request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// A project.
    Project,
    /// A command of a project.
    Command,
    /// A task of the pool.
    Task,
    /// An event stream of a project.
    Stream,
    /// A worker of the pool.
    Worker,
    /// A file of a task.
    Artefact,
    /// An operation.
    Operation,
}

impl Resource {
    /// Returns the resource's name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Command => "command",
            Self::Task => "task",
            Self::Stream => "stream",
            Self::Worker => "worker",
            Self::Artefact => "artefact",
            Self::Operation => "operation",
        }
    }
}

/// Rule that a request breaks in the present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// The target has, or had, a stream of that name.
    StreamIdTaken,
    /// The idempotency key was used for another request.
    IdempotencyKeyReused,
    /// Only a task that has ended can be retried.
    TaskNotEnded,
    /// The job has ended.
    JobEnded,
    /// A project of that name exists.
    ProjectExists,
    /// The project is being deleted, and takes no commands.
    ProjectDeleting,
    /// The runtime finds its projects, and makes and removes none.
    ProjectsAreFound,
    /// Something that the operation did not make has the name that the operation needs.
    NameTaken,
    /// Another operation of the project has not ended.
    OperationInProgress,
    /// Only an operation that has ended without success can be retried.
    OperationNotRetryable,
}

/// One invalid field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field, as named in the request: `timeout_seconds`, `env.PATH`, `args[2]`.
    pub field: String,
    /// The fault, with the value and the accepted range.
    pub message: String,
}

impl Error {
    /// Returns the error for a resource that does not exist.
    pub fn not_found(resource: Resource, id: impl std::fmt::Display) -> Self {
        Self::NotFound { resource, id: id.to_string() }
    }

    /// Returns the error for a required system that does not answer, or is full.
    pub fn unavailable(system: &'static str, source: impl Into<anyhow::Error>) -> Self {
        Self::Unavailable { system, source: source.into() }
    }

    /// Error for a request that contradicts the current state.
    pub fn conflict(conflict: Conflict, message: impl Into<String>) -> Self {
        Self::Conflict { conflict, message: message.into(), job: None }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no connection: {0}")]
    struct Library(#[source] io::Error);

    #[test]
    fn a_cause_is_told_once() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = Error::unavailable("database", Library(refused));
        let error = anyhow::Error::new(error).context("cannot use the database");
        let told = "cannot use the database: database is not available: no connection: connection refused";
        assert_eq!(causes(&error), told);
        let error = Error::unavailable("database", Library(io::ErrorKind::ConnectionRefused.into()));
        assert_eq!(format!("{error:?}"), "Unavailable(database: no connection: connection refused)");
    }
}
