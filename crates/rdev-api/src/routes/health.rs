//! Liveness and readiness.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use rdev_api_types::{ComponentStatus, Components, Health, ReadinessAnswer, ReadinessPart, ReadinessQuery};
use rdev_domain::Result;
use rdev_engine::Pulse;
use rdev_ports::{Pods, TaskQueue};
use tokio::time::timeout;

use crate::extract::Query;

/// Longest time that a component may take to answer.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// Lives.
#[utoipa::path(get, path = "/health", tag = "system", operation_id = "health",
    responses((status = 200, description = "The process answers", body = Health)))]
pub(crate) async fn health() -> Json<Health> {
    Json(Health { status: ComponentStatus::Ok })
}

/// Can do its work.
#[utoipa::path(get, path = "/ready", tag = "system", operation_id = "ready", params(ReadinessQuery), responses(
    (status = 200, description = "Every component is available", body = ReadinessAnswer),
    (status = 503, description = "A component that is needed is down", body = ReadinessAnswer)))]
pub(crate) async fn ready(
    State(queue): State<Arc<dyn TaskQueue>>,
    State(pods): State<Arc<dyn Pods>>,
    State(worker): State<Pulse>,
    Query(ReadinessQuery { only }): Query<ReadinessQuery>,
) -> (StatusCode, Json<ReadinessAnswer>) {
    let runtime = async {
        match only {
            None => pods.check().await,
            // Until projects are known, requests for them cannot be answered.
            Some(ReadinessPart::Serve) => pods.projects().await.map(drop),
        }
    };
    let (database, runtime, worker) = tokio::join!(
        state("database", queue.check()),
        state("runtime", runtime),
        state("worker", async { worker.check() })
    );
    let is_ok = [database, runtime, worker] == [ComponentStatus::Ok; 3];
    let (code, status) = match is_ok {
        true => (StatusCode::OK, ComponentStatus::Ok),
        false => (StatusCode::SERVICE_UNAVAILABLE, ComponentStatus::Down),
    };
    (code, Json(ReadinessAnswer { status, components: Components { database, runtime, worker } }))
}

async fn state(component: &str, check: impl Future<Output = Result<()>>) -> ComponentStatus {
    match timeout(CHECK_TIMEOUT, check).await {
        Ok(Ok(())) => ComponentStatus::Ok,
        Ok(Err(error)) => {
            tracing::warn!(component, ?error, "not ready");
            ComponentStatus::Down
        }
        Err(_) => {
            tracing::warn!(component, "not ready: no answer in {CHECK_TIMEOUT:?}");
            ComponentStatus::Down
        }
    }
}
