//! Liveness and readiness.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rdev_api_types as types;
use rdev_api_types::{ComponentStatus, Components, ReadinessAnswer, ReadinessPart, ReadinessQuery};
use rdev_domain::{Error, causes};
use rdev_services::Health;

use crate::build;
use crate::error::{ApiError, quoted};
use crate::extract::Query;

/// Report that the process answers.
#[utoipa::path(get, path = "/health", tag = "system", operation_id = "health",
    responses((status = 200, description = "The process answers", body = types::Health)))]
pub(crate) async fn health() -> Json<types::Health> {
    let (version, commit) = (build::VERSION.to_owned(), build::COMMIT.to_owned());
    Json(types::Health { status: ComponentStatus::Ok, version, commit })
}

/// Report whether the server can do its work.
#[utoipa::path(get, path = "/ready", tag = "system", operation_id = "ready", params(ReadinessQuery), responses(
    (status = 200, description = "Every component is available", body = ReadinessAnswer),
    (status = 503, description = "A component that is needed is down", body = ReadinessAnswer)))]
pub(crate) async fn ready(
    State(health): State<Health>,
    Query(ReadinessQuery { only }): Query<ReadinessQuery>,
) -> Result<Response, ApiError> {
    let part = only.map(|only| {
        only.known().ok_or_else(|| {
            let accepted = ReadinessPart::Serve.as_str();
            ApiError::invalid_field("only", format!("{} is not valid: {accepted}", quoted(&only.to_string())))
        })
    });
    let report = health.check(part.transpose()? == Some(ReadinessPart::Serve)).await;
    let (code, status) = match report.is_ok() {
        true => (StatusCode::OK, ComponentStatus::Ok),
        false => (StatusCode::SERVICE_UNAVAILABLE, ComponentStatus::Down),
    };
    let mut messages = Vec::new();
    let mut shown = |component: &str, check: rdev_domain::Result<()>| match check {
        Ok(()) => ComponentStatus::Ok,
        Err(error) => {
            let message = format!("{component}: {}", why(error));
            tracing::warn!("not ready: {message}");
            messages.push(message);
            ComponentStatus::Down
        }
    };
    let components = Components {
        database: shown("database", report.database),
        runtime: shown("runtime", report.runtime),
        worker: shown("worker", report.worker),
    };
    let message = (!messages.is_empty()).then(|| messages.join("; "));
    Ok((code, Json(ReadinessAnswer { status, components, message })).into_response())
}

/// Returns the cause of a component's failure. It is shown to whoever asks: it names systems and addresses, never a secret.
fn why(error: Error) -> String {
    match error {
        Error::Unavailable { source, .. } | Error::Internal(source) => causes(&source),
        error => error.to_string(),
    }
}
