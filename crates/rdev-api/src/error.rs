//! The one way from an error to a response.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rdev_api_types::{Detail, DetailJob, Details, ErrorBody, ErrorCode, ErrorInfo};
use rdev_domain::{Conflict, Error, FieldError, Resource, causes, shown};

use crate::envelope::meta;

/// Seconds after which a caller may try again when a system is down.
const RETRY_UNAVAILABLE_SECONDS: u64 = 2;

/// Shows the beginning of a caller's text, in quotes.
pub(crate) fn quoted(text: &str) -> String {
    format!("{:?}", shown(text))
}

/// An error as the caller sees it.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: ErrorCode,
    message: String,
    details: Option<Details>,
    /// Boxed: a handler's `Result` is as large as its error.
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: None, header: None }
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }

    /// Sets what is wrong with one field.
    pub(crate) fn with_detail(self, field: String, message: String) -> Self {
        Self { details: Some(Details::Fields(vec![Detail { field, message }])), ..self }
    }

    /// Makes a 401: no key, or one that is not accepted.
    pub(crate) fn unauthorized(message: &str) -> Self {
        let challenge = HeaderValue::from_static("Bearer realm=\"rdev\"");
        Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message)
            .with_header(header::WWW_AUTHENTICATE, challenge)
    }

    /// Makes a 400 for a body that cannot be parsed.
    pub(crate) fn invalid_body(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::InvalidBody, message)
    }

    /// Makes a 400 for a query that cannot be parsed, or has an unknown parameter.
    pub(crate) fn invalid_query(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::InvalidQuery, message)
    }

    /// Makes a 422 for one field that is not valid.
    pub(crate) fn invalid_field(field: &str, message: impl Into<String>) -> Self {
        Error::Invalid(vec![FieldError { field: field.to_owned(), message: message.into() }]).into()
    }
}

/// Returns the code for a missing resource.
fn missing(resource: Resource) -> ErrorCode {
    match resource {
        Resource::Project => ErrorCode::ProjectNotFound,
        Resource::Command => ErrorCode::CommandNotFound,
        Resource::Task => ErrorCode::TaskNotFound,
        Resource::Stream => ErrorCode::StreamNotFound,
        Resource::Worker => ErrorCode::WorkerNotFound,
        Resource::Artefact => ErrorCode::ArtefactNotFound,
        Resource::Operation => ErrorCode::OperationNotFound,
    }
}

/// Returns the code for a rule that a request breaks.
fn in_the_way(conflict: Conflict) -> ErrorCode {
    match conflict {
        Conflict::StreamIdTaken => ErrorCode::StreamIdTaken,
        Conflict::IdempotencyKeyReused => ErrorCode::IdempotencyKeyReused,
        Conflict::TaskNotEnded => ErrorCode::TaskNotEnded,
        Conflict::JobEnded => ErrorCode::CommandEnded,
        Conflict::ProjectExists => ErrorCode::ProjectExists,
        Conflict::ProjectDeleting => ErrorCode::ProjectDeleting,
        Conflict::ProjectsAreFound => ErrorCode::ProjectsAreFound,
        Conflict::NameTaken => ErrorCode::NameTaken,
        Conflict::OperationInProgress => ErrorCode::OperationInProgress,
        Conflict::OperationNotRetryable => ErrorCode::OperationNotRetryable,
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::NotFound { resource, .. } => Self::new(StatusCode::NOT_FOUND, missing(resource), message),
            Error::Conflict { conflict, job, .. } => {
                let command_id = job.map(|id| id.to_string());
                let details =
                    command_id.map(|id| Details::Job(DetailJob { command_id: Some(id), task_id: None }));
                Self { details, ..Self::new(StatusCode::CONFLICT, in_the_way(conflict), message) }
            }
            Error::Invalid(fields) => {
                let detail = |error: FieldError| Detail { field: error.field, message: error.message };
                let details = Some(Details::Fields(fields.into_iter().map(detail).collect()));
                Self {
                    details,
                    ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::ValidationFailed, message)
                }
            }
            Error::Unavailable { system, source } => {
                tracing::error!(system, error = causes(&source), "a system is not available");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message)
                    .with_header(header::RETRY_AFTER, RETRY_UNAVAILABLE_SECONDS.into())
            }
            Error::LeaseLost | Error::Internal(_) => {
                tracing::error!(?error, "internal error");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    ErrorCode::Internal,
                    "an internal error; the log has more",
                )
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error =
            ErrorInfo { code: self.code.as_str().to_owned(), message: self.message, details: self.details };
        let mut response = (self.status, Json(ErrorBody { error, meta: meta() })).into_response();
        if let Some(header) = self.header {
            let (name, value) = *header;
            response.headers_mut().insert(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_resources_have_codes_of_their_names() {
        let resources = [
            Resource::Project,
            Resource::Command,
            Resource::Task,
            Resource::Stream,
            Resource::Worker,
            Resource::Artefact,
            Resource::Operation,
        ];
        for resource in resources {
            let code = format!("{}_NOT_FOUND", resource.as_str().to_uppercase());
            assert_eq!(missing(resource).as_str(), code);
        }
    }

    #[test]
    fn broken_rules_have_codes() {
        for (conflict, code) in [
            (Conflict::StreamIdTaken, "STREAM_ID_TAKEN"),
            (Conflict::IdempotencyKeyReused, "IDEMPOTENCY_KEY_REUSED"),
            (Conflict::TaskNotEnded, "TASK_NOT_ENDED"),
            (Conflict::JobEnded, "COMMAND_ENDED"),
            (Conflict::ProjectExists, "PROJECT_EXISTS"),
            (Conflict::ProjectDeleting, "PROJECT_DELETING"),
            (Conflict::ProjectsAreFound, "PROJECTS_ARE_FOUND"),
            (Conflict::NameTaken, "NAME_TAKEN"),
            (Conflict::OperationInProgress, "OPERATION_IN_PROGRESS"),
            (Conflict::OperationNotRetryable, "OPERATION_NOT_RETRYABLE"),
        ] {
            assert_eq!(in_the_way(conflict).as_str(), code);
        }
    }
}
