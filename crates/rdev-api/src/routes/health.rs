//! Whether the process lives, and whether it can do its work.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use rdev_domain::Result;
use rdev_engine::Pulse;
use rdev_ports::{Pods, TaskQueue};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use crate::extract::Query;

/// Longest time that a component may take to answer.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Lives.
#[utoipa::path(get, path = "/health", tag = "system", operation_id = "health",
    responses((status = 200, description = "The process answers", body = Health)))]
pub(crate) async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// `ok` when every component is.
    #[schema(example = "ok")]
    status: &'static str,
    components: Components,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Components {
    /// The store of commands and events: it can be written.
    #[schema(example = "ok")]
    database: &'static str,
    /// Runtime in which commands run; with `only=serve`, that its projects are known, be it from before.
    #[schema(example = "ok")]
    runtime: &'static str,
    /// The loop that runs commands.
    #[schema(example = "ok")]
    worker: &'static str,
}

/// A part of the work.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Part {
    /// Answering requests.
    Serve,
}

/// The work that is asked about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// `serve`: whether requests are answered, for a load balancer. A cluster that is away is no reason to send no
    /// requests: history, streams and cancels need none, and what is accepted waits.
    #[param(nullable = false, inline)]
    only: Option<Part>,
}

/// Can do its work.
#[utoipa::path(get, path = "/ready", tag = "system", operation_id = "ready", params(Asked), responses(
    (status = 200, description = "Every component is available", body = Readiness),
    (status = 503, description = "A component that is needed is down", body = Readiness)))]
pub(crate) async fn ready(
    State(queue): State<Arc<dyn TaskQueue>>,
    State(pods): State<Arc<dyn Pods>>,
    State(worker): State<Pulse>,
    Query(Asked { only }): Query<Asked>,
) -> (StatusCode, Json<Readiness>) {
    let runtime = async {
        match only {
            None => pods.check().await,
            // Until they are known, requests for projects cannot be answered.
            Some(Part::Serve) => pods.projects().await.map(drop),
        }
    };
    let (database, runtime, worker) = tokio::join!(
        state("database", queue.check()),
        state("runtime", runtime),
        state("worker", async { worker.check() })
    );
    let ok = [database, runtime, worker] == ["ok"; 3];
    let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let status = if ok { "ok" } else { "down" };
    (code, Json(Readiness { status, components: Components { database, runtime, worker } }))
}

async fn state(component: &str, check: impl Future<Output = Result<()>>) -> &'static str {
    match timeout(CHECK_TIMEOUT, check).await {
        Ok(Ok(())) => "ok",
        Ok(Err(error)) => {
            tracing::warn!(component, ?error, "not ready");
            "down"
        }
        Err(_) => {
            tracing::warn!(component, "not ready: no answer in {CHECK_TIMEOUT:?}");
            "down"
        }
    }
}
