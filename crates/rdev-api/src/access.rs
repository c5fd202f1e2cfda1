//! Who may call what. A route gets into the router only with an [`Access`]: there is no other door.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use rdev_domain::{Caller, KeyId, ProjectId, Scope};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{HttpMethod, Operation, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::app::AppState;
use crate::error::ApiError;
use crate::keys::Keys;
use crate::openapi;
use crate::request::RequestMeta;
use crate::tickets::Tickets;

/// What a caller needs for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing.
    Public,
    /// A key with this scope.
    Scope(Scope),
    /// A key with this scope, or a ticket for the project in the path.
    ScopeOrTicket(Scope),
}

/// The routes, each with what it needs.
#[derive(Default)]
pub(crate) struct Api {
    routes: Vec<(Access, UtoipaMethodRouter<AppState>)>,
}

/// Recognises callers, and keeps each within its rate.
#[derive(Clone)]
pub(crate) struct Gate {
    keys: Keys,
    tickets: Tickets,
    rates: Arc<DefaultKeyedRateLimiter<KeyId>>,
}

impl Api {
    /// Adds a path's handlers, all with the same access.
    pub(crate) fn route(mut self, access: Access, methods: UtoipaMethodRouter<AppState>) -> Self {
        self.routes.push((access, methods));
        self
    }

    /// The router, with a guard before every route that is not public; and the document.
    pub(crate) fn guarded_by(self, gate: &Gate) -> (axum::Router<AppState>, OpenApi) {
        self.build(|access, methods| match access {
            Access::Public => methods,
            _ => methods.layer(from_fn_with_state(Arc::new((gate.clone(), access)), guard)),
        })
    }

    /// The document alone.
    pub(crate) fn document(self) -> OpenApi {
        self.build(|_, methods| methods).1
    }

    fn build(
        self,
        guard: impl Fn(Access, MethodRouter<AppState>) -> MethodRouter<AppState>,
    ) -> (axum::Router<AppState>, OpenApi) {
        let mut router = OpenApiRouter::with_openapi(openapi::frame());
        for (access, (schemas, mut paths, methods)) in self.routes {
            for item in paths.paths.values_mut() {
                for (method, operation) in operations(item) {
                    openapi::complete(operation, &method, access);
                    if access != Access::Public {
                        operation.security = Some(security(access));
                    }
                }
            }
            router = router.routes((schemas, paths, guard(access, methods)));
        }
        let (router, mut document) = router.split_for_parts();
        // OpenAPI has no word for a parameter with slashes in it.
        let paths = std::mem::take(&mut document.paths.paths);
        document.paths.paths =
            paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
        (router, document)
    }
}

impl Gate {
    /// Wires the gate; each key may make so many requests a minute, a tenth of them at once.
    pub(crate) fn new(keys: Keys, tickets: Tickets, rate_limit_per_minute: u32) -> Self {
        let rate = NonZeroU32::new(rate_limit_per_minute).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(rate_limit_per_minute / 10).unwrap_or(NonZeroU32::MIN);
        let rates = Arc::new(RateLimiter::keyed(Quota::per_minute(rate).allow_burst(burst)));
        Self { keys, tickets, rates }
    }

    fn admit(&self, access: Access, request: &Request, params: &RawPathParams) -> Result<Caller, ApiError> {
        let (scope, ticket) = match access {
            Access::Scope(scope) => (scope, None),
            Access::ScopeOrTicket(scope) => (scope, ticket(request)),
            Access::Public => return Err(ApiError::unauthorized("this route has no callers")),
        };
        let caller = match ticket {
            Some(ticket) => self.ticket_holder(&ticket, params)?,
            None => self.key_holder(request.headers())?,
        };
        if !caller.has(scope) {
            let message = format!("this needs a key with the scope {}", scope.as_str());
            return Err(ApiError::new(StatusCode::FORBIDDEN, "SCOPE_REQUIRED", message));
        }
        self.within_rate(&caller.key)?;
        Ok(caller)
    }

    fn key_holder(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let key = key(headers)?
            .ok_or_else(|| ApiError::unauthorized("send a key as `Authorization: Bearer rdev_…`"))?;
        self.keys.verify(key).ok_or_else(|| ApiError::unauthorized("this key is not known"))
    }

    fn ticket_holder(&self, ticket: &str, params: &RawPathParams) -> Result<Caller, ApiError> {
        let project = params.iter().find(|(name, _)| *name == "project");
        project
            .and_then(|(_, project)| project.parse::<ProjectId>().ok())
            .and_then(|project| self.tickets.verify(ticket, &project, RequestMeta::current().at))
            .ok_or_else(|| ApiError::unauthorized("this ticket is not valid here, or no longer"))
    }

    fn within_rate(&self, key: &KeyId) -> Result<(), ApiError> {
        self.rates.check_key(key).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let message = format!("too many requests with this key; try again in {seconds} s");
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", message)
                .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
        })
    }
}

async fn guard(
    State(guard): State<Arc<(Gate, Access)>>,
    params: RawPathParams,
    mut request: Request,
    next: Next,
) -> Response {
    let (gate, access) = &*guard;
    match gate.admit(*access, &request, &params) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

/// The key that a request carries, in either of its two places.
fn key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let bearer = value.to_str().ok().and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        });
        let message = "the Authorization header must be `Bearer rdev_…`";
        return bearer.map(Some).ok_or_else(|| ApiError::unauthorized(message));
    }
    Ok(headers.get("x-api-key").and_then(|value| value.to_str().ok()))
}

fn ticket(request: &Request) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Ticket {
        ticket: Option<String>,
    }
    axum::extract::Query::<Ticket>::try_from_uri(request.uri()).ok()?.0.ticket
}

fn security(access: Access) -> Vec<SecurityRequirement> {
    let none: [&str; 0] = [];
    let mut ways = vec![SecurityRequirement::new("bearer", none), SecurityRequirement::new("api_key", none)];
    if matches!(access, Access::ScopeOrTicket(_)) {
        ways.push(SecurityRequirement::new("ticket", none));
    }
    ways
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    [
        (HttpMethod::Get, item.get.as_mut()),
        (HttpMethod::Post, item.post.as_mut()),
        (HttpMethod::Put, item.put.as_mut()),
        (HttpMethod::Patch, item.patch.as_mut()),
        (HttpMethod::Delete, item.delete.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| operation.map(|operation| (method, operation)))
}
