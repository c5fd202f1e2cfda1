//! The router: every route, with what a caller needs for it.

use std::any::Any;
use std::io::Write;
use std::sync::Arc;

use anyhow::Context;
use axum::extract::FromRef;
use axum::http::{StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use ipnet::IpNet;
use rdev_domain::Error;
use rdev_domain::Scope::{ProjectsExecute, ProjectsRead, QueueRead, QueueWrite, WorkersRead, WorkersWrite};
use rdev_engine::Pulse;
use rdev_ports::{Clock, Pods, TaskQueue};
use rdev_services::{Commands, Events, Pool, Projects, Tasks};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::routes;

use crate::access::{Access, Api, Gate};
use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::request::{Identify, identify};
use crate::routes::docs::Document;
use crate::routes::{
    artefacts, commands, docs, events, health, metrics, output, projects, queue, tickets, workers,
};
use crate::sse::Streams;
use crate::tickets::Tickets;

/// What handlers take apart; each names the piece that it needs. Axum clones the state for every request,
/// so it is one pointer.
#[derive(Clone)]
pub struct AppState(pub(crate) Arc<Pieces>);

/// The pieces of the state.
pub(crate) struct Pieces {
    /// The projects.
    pub(crate) projects: Projects,
    /// Accepting and reading of commands.
    pub(crate) commands: Commands,
    /// Tasks of the pool.
    pub(crate) tasks: Tasks,
    /// The workers of the pool.
    pub(crate) pool: Pool,
    /// Reading of events.
    pub(crate) events: Events,
    /// Answers that do not end.
    pub(crate) streams: Streams,
    /// Tickets for browsers.
    pub(crate) tickets: Tickets,
    /// What Prometheus is told.
    pub(crate) metrics: Metrics,
    /// Who may call.
    pub(crate) gate: Gate,
    /// Proxies whose X-Forwarded-For counts.
    pub(crate) trusted_proxies: Arc<[IpNet]>,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
    /// What `/ready` asks.
    pub(crate) pods: Arc<dyn Pods>,
    /// What `/ready` asks, and remembers the first use of idempotency keys.
    pub(crate) queue: Arc<dyn TaskQueue>,
    /// What `/ready` asks about the loop that runs commands.
    pub(crate) worker: Pulse,
}

macro_rules! pieces {
    ($($field:ident: $piece:ty),* $(,)?) => {
        $(impl FromRef<AppState> for $piece {
            fn from_ref(state: &AppState) -> Self {
                state.0.$field.clone()
            }
        })*
    };
}

pieces! {
    projects: Projects,
    commands: Commands,
    tasks: Tasks,
    pool: Pool,
    events: Events,
    streams: Streams,
    tickets: Tickets,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    pods: Arc<dyn Pods>,
    queue: Arc<dyn TaskQueue>,
    worker: Pulse,
}

/// What tells how the server is, without a key.
fn probes() -> Api {
    Api::default()
        .route(Access::Public, routes!(health::health))
        .route(Access::Public, routes!(health::ready))
        .route(Access::Public, routes!(metrics::metrics))
}

/// Every route, with what a caller needs for it. With probes on a listener of their own, figures are told there alone.
fn api(probes_elsewhere: bool) -> Api {
    let read = Access::Scope(ProjectsRead);
    let execute = Access::Scope(ProjectsExecute);
    let (read_queue, write_queue) = (Access::Scope(QueueRead), Access::Scope(QueueWrite));
    let (read_workers, write_workers) = (Access::Scope(WorkersRead), Access::Scope(WorkersWrite));
    let read_events = Access::ScopeOrTicket(ProjectsRead);
    let api = Api::default()
        .route(Access::Public, routes!(health::health))
        .route(Access::Public, routes!(health::ready));
    let api = if probes_elsewhere { api } else { api.route(Access::Public, routes!(metrics::metrics)) };
    api.route(Access::Public, routes!(docs::page))
        .route(Access::Public, routes!(docs::script))
        .route(Access::Public, routes!(docs::openapi))
        .route(read, routes!(projects::list))
        .route(read, routes!(projects::get))
        .route(execute, routes!(commands::claude))
        .route(execute, routes!(commands::shell))
        .route(execute, routes!(commands::git))
        .route(read, routes!(commands::list))
        .route(read, routes!(commands::get))
        .route(read, routes!(output::output))
        .route(execute, routes!(commands::cancel))
        .route(read_events, routes!(events::project_events))
        .route(read_events, routes!(events::stream_events))
        .route(read, routes!(tickets::issue))
        .route(write_queue, routes!(queue::submit))
        .route(read_queue, routes!(queue::list))
        .route(read_queue, routes!(queue::get))
        .route(read_queue, routes!(queue::events))
        .route(read_queue, routes!(queue::output))
        .route(read_queue, routes!(artefacts::list))
        .route(read_queue, routes!(artefacts::get))
        .route(write_queue, routes!(queue::cancel))
        .route(write_queue, routes!(queue::retry))
        .route(read_queue, routes!(queue::stats))
        .route(read_workers, routes!(workers::list))
        .route(read_workers, routes!(workers::pool))
        .route(read_workers, routes!(workers::get))
        .route(write_workers, routes!(workers::drain))
}

/// The OpenAPI document, as committed in `openapi.json`.
pub fn document() -> anyhow::Result<String> {
    Ok(api(false).document().to_pretty_json()? + "\n")
}

/// Writes the OpenAPI document to standard output.
pub fn print_document() -> anyhow::Result<()> {
    std::io::stdout().write_all(document()?.as_bytes()).context("standard output")
}

/// What the listeners answer with.
pub(crate) struct Apps {
    pub(crate) api: Router,
    /// Of the listener of probes, if there is one.
    pub(crate) probes: Option<Router>,
}

/// The application.
pub(crate) fn apps(state: &AppState, probes_elsewhere: bool) -> anyhow::Result<Apps> {
    Ok(Apps {
        api: app(api(probes_elsewhere), state)?,
        probes: probes_elsewhere.then(|| app(probes(), state)).transpose()?,
    })
}

fn app(api: Api, state: &AppState) -> anyhow::Result<Router> {
    let (router, openapi) = api.guarded_by(&state.0.gate);
    let document = Document::from(openapi.to_json()?);
    let identity =
        Identify { clock: state.0.clock.clone(), trusted_proxies: state.0.trusted_proxies.clone() };
    Ok(router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(Extension(document))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(identity, identify))
        .with_state(state.clone()))
}

async fn not_found(uri: Uri) -> ApiError {
    let message = format!("there is nothing at {:?}; /docs lists what there is", uri.path());
    ApiError::new(StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND", message)
}

async fn method_not_allowed() -> ApiError {
    let message = "this path does not take this method; the Allow header lists those that it takes";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
}

/// A handler that panics costs its caller a 500, and nobody else anything. The panic's own words are in the log.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::from(Error::Internal(anyhow::anyhow!("a handler panicked"))).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use axum::routing::get;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::*;

    #[tokio::test]
    async fn a_handler_that_panics_is_answered_for() {
        async fn bad() -> StatusCode {
            panic!("as it happens")
        }
        let router: Router = Router::new().route("/", get(bad)).layer(CatchPanicLayer::custom(panicked));
        let answer = TowerToHyperService::new(router).call(Request::new(Body::empty())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers()["content-type"], "application/json");
    }
}
