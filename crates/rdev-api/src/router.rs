//! The router: every route with its scope, and the builder that lets no route in without one.
//!
//! To add an endpoint: a handler in `routes/`, and one line in `api`.

use std::io::Write;
use std::sync::Arc;

use anyhow::Context;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get};
use axum::{Extension, Router};
use rdev_domain::Scope::{
    ProjectsExecute, ProjectsRead, ProjectsWrite, QueueRead, QueueWrite, WorkersRead, WorkersWrite,
};
use rdev_ports::IdempotentAnswers;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::access::{Access, Gate, Guard, Queries, guard};
use crate::error::ApiError;
use crate::idempotency::once;
use crate::middleware::Middleware;
use crate::openapi::{self, Examples};
use crate::routes::docs::Document;
use crate::routes::projects::{self, commands, events as project_events, output, submit};
use crate::routes::queue::{artefacts, stats, tasks};
use crate::routes::{docs, events, health, metrics, operations, workers};
use crate::state::AppState;
use rdev_api_types::ErrorCode;

/// Returns the routes of the listener of probes: none needs a key.
fn probes() -> Api<AppState> {
    Api::default()
        .route(Access::Public, routes!(health::health))
        .route(Access::Public, routes!(health::ready))
        .route(Access::Public, routes!(metrics::metrics))
}

/// Returns every route of the API, with its scope. Where probes have a listener of their own, /metrics is there alone.
fn api(probes_elsewhere: bool) -> Api<AppState> {
    let read = Access::Scope(ProjectsRead);
    let (execute, write) = (Access::Scope(ProjectsExecute), Access::Scope(ProjectsWrite));
    let (read_queue, write_queue) = (Access::Scope(QueueRead), Access::Scope(QueueWrite));
    let (read_workers, write_workers) = (Access::Scope(WorkersRead), Access::Scope(WorkersWrite));
    let (read_events, read_task_events) = (Access::Stream(ProjectsRead), Access::Stream(QueueRead));
    let api = Api::default()
        .route(Access::Public, routes!(health::health))
        .route(Access::Public, routes!(health::ready));
    let api = if probes_elsewhere { api } else { api.route(Access::Public, routes!(metrics::metrics)) };
    api.page("/", get(docs::root))
        .page("/docs", get(docs::page))
        .page("/docs/", get(docs::page_with_slash))
        .page(docs::SCRIPT_PATH, get(docs::script))
        .page("/favicon.ico", get(docs::icon))
        .route(Access::Public, routes!(docs::openapi))
        .route(read, routes!(projects::list))
        .route(read, routes!(projects::get))
        .route(write, routes!(projects::create))
        .route(write, routes!(projects::delete))
        .route(read, routes!(operations::list))
        .route(read, routes!(operations::get))
        .route(read_events, routes!(operations::events))
        .route(write, routes!(operations::cancel))
        .route(write, routes!(operations::retry))
        .route(execute, routes!(submit::claude))
        .route(execute, routes!(submit::shell))
        .route(execute, routes!(submit::git))
        .route(read, routes!(commands::list))
        .route(read, routes!(commands::get))
        .route(read, routes!(output::output))
        .route(execute, routes!(commands::cancel))
        .route(read_events, routes!(project_events::project_events))
        .route(read_events, routes!(project_events::stream_events))
        .route(read, routes!(project_events::ticket))
        .route(read_events, routes!(events::all))
        .route(read, routes!(events::ticket))
        .route(write_queue, routes!(tasks::submit))
        .route(read_queue, routes!(tasks::list))
        .route(read_queue, routes!(tasks::get))
        .route(read_task_events, routes!(tasks::events))
        .route(read_queue, routes!(tasks::output))
        .route(read_queue, routes!(artefacts::list))
        .route(read_queue, routes!(artefacts::get))
        .route(write_queue, routes!(tasks::cancel))
        .route(write_queue, routes!(tasks::retry))
        .route(read_queue, routes!(stats::stats))
        .route(read_workers, routes!(workers::list))
        .route(read_workers, routes!(workers::pool))
        .route(read_workers, routes!(workers::get))
        .route(write_workers, routes!(workers::drain))
}

/// Returns the OpenAPI document, with its examples.
fn document(probes_elsewhere: bool) -> anyhow::Result<OpenApi> {
    let examples = Examples::recorded().context("examples of the document")?;
    let (_, mut document) = api(probes_elsewhere).build(&examples, |_, _, methods| methods);
    examples.define_in(&mut document);
    Ok(document)
}

/// Writes the OpenAPI document to standard output, as committed in `openapi.json`.
///
/// # Errors
/// When standard output takes no bytes.
pub(crate) fn print_document() -> anyhow::Result<()> {
    std::io::stdout()
        .write_all((document(false)?.to_pretty_json()? + "\n").as_bytes())
        .context("standard output")
}

/// Routers of the listeners.
pub(crate) struct Routers {
    /// The API.
    pub(crate) api: Router,
    /// Probes and metrics, where they have a listener of their own.
    pub(crate) probes: Option<Router>,
}

impl Routers {
    /// Builds the routers, with the gate before every route, then the layer of idempotent POSTs, and the middleware around
    /// all.
    pub(crate) fn new(
        state: &AppState,
        gate: &Gate,
        answers: &Arc<dyn IdempotentAnswers>,
        middleware: &Middleware,
        probes_elsewhere: bool,
    ) -> Self {
        let described = Document::new(move || Ok(document(probes_elsewhere)?.to_json()?));
        // A start does without the examples.
        let examples = Examples::default();
        let router = |api: Api<AppState>| {
            let (router, _) = api.build(&examples, |access, queries, methods| {
                let of_path = Guard::new(gate.clone(), access, queries);
                let methods = methods.layer(from_fn_with_state(answers.clone(), once));
                methods.layer(from_fn_with_state(Arc::new(of_path), guard))
            });
            let router = router
                .fallback(not_found)
                .method_not_allowed_fallback(method_not_allowed)
                .layer(Extension(described.clone()));
            middleware.around(router).with_state(state.clone())
        };
        Self { api: router(api(probes_elsewhere)), probes: probes_elsewhere.then(|| router(probes())) }
    }
}

/// Routes, each with its access.
struct Api<S> {
    routes: Vec<(Access, UtoipaMethodRouter<S>)>,
    pages: Vec<(&'static str, MethodRouter<S>)>,
}

impl<S> Default for Api<S> {
    fn default() -> Self {
        Self { routes: Vec::new(), pages: Vec::new() }
    }
}

impl<S: Clone + Send + Sync + 'static> Api<S> {
    /// Adds the handlers of one path, all with the same access.
    fn route(mut self, access: Access, methods: UtoipaMethodRouter<S>) -> Self {
        self.routes.push((access, methods));
        self
    }

    /// Adds a page for people, which needs no key and is no part of the document.
    fn page(mut self, path: &'static str, methods: MethodRouter<S>) -> Self {
        self.pages.push((path, methods));
        self
    }

    /// Builds the router and the document. `guard` lays the guard of a path around its handlers.
    fn build(
        self,
        examples: &Examples,
        guard: impl Fn(Access, Queries, MethodRouter<S>) -> MethodRouter<S>,
    ) -> (Router<S>, OpenApi) {
        let mut router = OpenApiRouter::with_openapi(openapi::frame());
        for (access, (schemas, mut paths, methods)) in self.routes {
            let mut queries = Queries::new();
            for (method, operation) in paths.paths.values_mut().flat_map(operations) {
                openapi::complete(&method, operation, access, examples);
                queries.push((method, openapi::query_names(operation, access)));
            }
            router = router.routes((schemas, paths, guard(access, queries, methods)));
        }
        let (mut router, mut document) = router.split_for_parts();
        for (path, methods) in self.pages {
            router = router.route(path, methods);
        }
        // OpenAPI has no word for a parameter with slashes in it.
        let paths = std::mem::take(&mut document.paths.paths);
        document.paths.paths =
            paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
        openapi::refer_from_envelopes(&mut document);
        (router, document)
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::GET, item.get.as_mut()),
        (Method::POST, item.post.as_mut()),
        (Method::PUT, item.put.as_mut()),
        (Method::PATCH, item.patch.as_mut()),
        (Method::DELETE, item.delete.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| operation.map(|operation| (method, operation)))
}

async fn not_found(uri: Uri) -> ApiError {
    let message = format!("there is nothing at {:?}; /docs lists what there is", uri.path());
    ApiError::new(StatusCode::NOT_FOUND, ErrorCode::RouteNotFound, message)
}

async fn method_not_allowed() -> ApiError {
    let message = "this path does not take this method; the Allow header lists those that it takes";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::MethodNotAllowed, message)
}
