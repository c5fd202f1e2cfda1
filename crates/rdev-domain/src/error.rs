/// Result of everything that can fail in rdev.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be done, independent of how it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The named thing does not exist, or the caller may not know that it does.
    #[error("{kind} {id:?} does not exist")]
    NotFound {
        /// What it is, in lower case: `project`, `command`.
        kind: &'static str,
        /// The id that was asked for.
        id: String,
    },
    /// The request contradicts what is there.
    #[error("{message}")]
    Conflict {
        /// Stable code in UPPER_SNAKE.
        code: &'static str,
        /// What is in the way.
        message: String,
    },
    /// The request is readable, but its content is not acceptable.
    #[error("{} of the request's fields are not valid", .0.len())]
    Invalid(Vec<FieldError>),
    /// A system that is needed does not answer, or is full; the same request may work later.
    #[error("{system} is not available")]
    Unavailable {
        /// Which one.
        system: &'static str,
        /// Its own words, for the log.
        #[source]
        source: anyhow::Error,
    },
    /// The writer's claim on a task has passed to another worker: it must stop.
    #[error("the lease on this task has passed to another worker")]
    LeaseLost,
    /// Anything else: a defect or a broken system.
    #[error("internal error")]
    Internal(#[from] anyhow::Error),
}

/// One field that is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field, as named in the request: `timeout_seconds`, `env.PATH`, `args[2]`.
    pub field: String,
    /// What is wrong, with the value, and what is accepted.
    pub message: String,
}

impl Error {
    /// The named thing does not exist.
    pub fn not_found(kind: &'static str, id: impl std::fmt::Display) -> Self {
        Self::NotFound { kind, id: id.to_string() }
    }

    /// A system that is needed does not answer.
    pub fn unavailable(system: &'static str, source: impl Into<anyhow::Error>) -> Self {
        Self::Unavailable { system, source: source.into() }
    }
}
