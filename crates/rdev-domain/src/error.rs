//! The one error of rdev.

/// Result of every fallible function in rdev.
pub type Result<T> = std::result::Result<T, Error>;

/// Failure of a request, independent of its protocol.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The named thing does not exist, or the caller may not know that it exists.
    #[error("{kind} {id:?} does not exist")]
    NotFound {
        /// Kind of the thing, in lower case: `project`, `command`.
        kind: &'static str,
        /// The requested id.
        id: String,
    },
    /// The request contradicts the current state.
    #[error("{message}")]
    Conflict {
        /// Stable code in UPPER_SNAKE.
        code: &'static str,
        /// Description of the conflict.
        message: String,
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
    /// The lease on a job has passed to another worker: this writer must stop.
    #[error("the lease on this task has passed to another worker")]
    LeaseLost,
    /// A defect, or a broken system.
    #[error("internal error")]
    Internal(#[from] anyhow::Error),
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
    /// Returns the error for a thing that does not exist.
    pub fn not_found(kind: &'static str, id: impl std::fmt::Display) -> Self {
        Self::NotFound { kind, id: id.to_string() }
    }

    /// Returns the error for a required system that does not answer.
    pub fn unavailable(system: &'static str, source: impl Into<anyhow::Error>) -> Self {
        Self::Unavailable { system, source: source.into() }
    }
}
