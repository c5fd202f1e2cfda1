//! Liveness and readiness.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use rdev_api_types as types;
use rdev_api_types::{ComponentStatus, Components, ReadinessAnswer, ReadinessPart, ReadinessQuery};
use rdev_domain::Result;
use rdev_services::Health;

use crate::extract::Query;

/// Report that the process answers.
#[utoipa::path(get, path = "/health", tag = "system", operation_id = "health",
    responses((status = 200, description = "The process answers", body = types::Health)))]
pub(crate) async fn health() -> Json<types::Health> {
    Json(types::Health { status: ComponentStatus::Ok })
}

/// Report whether the server can do its work.
#[utoipa::path(get, path = "/ready", tag = "system", operation_id = "ready", params(ReadinessQuery), responses(
    (status = 200, description = "Every component is available", body = ReadinessAnswer),
    (status = 503, description = "A component that is needed is down", body = ReadinessAnswer)))]
pub(crate) async fn ready(
    State(health): State<Health>,
    Query(ReadinessQuery { only }): Query<ReadinessQuery>,
) -> (StatusCode, Json<ReadinessAnswer>) {
    let report = health.check(matches!(only, Some(ReadinessPart::Serve))).await;
    let (code, status) = match report.is_ok() {
        true => (StatusCode::OK, ComponentStatus::Ok),
        false => (StatusCode::SERVICE_UNAVAILABLE, ComponentStatus::Down),
    };
    let components = Components {
        database: shown("database", report.database),
        runtime: shown("runtime", report.runtime),
        worker: shown("worker", report.worker),
    };
    (code, Json(ReadinessAnswer { status, components }))
}

/// Shows the status of a component, and logs why it is down: the caller is told no causes.
fn shown(component: &str, check: Result<()>) -> ComponentStatus {
    match check {
        Ok(()) => ComponentStatus::Ok,
        Err(error) => {
            tracing::warn!(component, ?error, "not ready");
            ComponentStatus::Down
        }
    }
}
