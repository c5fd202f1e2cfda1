//! Who may call what, and with which query. A route gets into the router only with an [`Access`]: there is no other
//! door. A key is asked for before anything else is looked at.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{Query, RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use rdev_domain::{KeyId, Principal, ProjectId, Scope};
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{OpenApi, RefOr};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::app::AppState;
use crate::error::ApiError;
use crate::keys::Keys;
use crate::openapi;
use crate::request::RequestMeta;
use crate::server::Place;
use crate::tickets::Tickets;

/// Characters of an unknown parameter that its caller is shown.
const SHOWN_CHARS_MAX: usize = 80;

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

    /// The router, with a guard before every route; and the document.
    pub(crate) fn guarded_by(self, gate: &Gate) -> (axum::Router<AppState>, OpenApi) {
        self.build(|access, queries, methods| {
            let door = Guard { gate: gate.clone(), access, queries };
            methods.layer(from_fn_with_state(Arc::new(door), guard))
        })
    }

    /// The document alone.
    pub(crate) fn document(self) -> OpenApi {
        self.build(|_, _, methods| methods).1
    }

    fn build(
        self,
        guard: impl Fn(Access, Queries, MethodRouter<AppState>) -> MethodRouter<AppState>,
    ) -> (axum::Router<AppState>, OpenApi) {
        let mut router = OpenApiRouter::with_openapi(openapi::frame());
        for (access, (schemas, mut paths, methods)) in self.routes {
            let mut queries = Queries::new();
            for (method, operation) in paths.paths.values_mut().flat_map(operations) {
                openapi::complete(operation, access);
                if access != Access::Public {
                    operation.security = Some(security(access));
                }
                queries.push((method, query_names(operation, access)));
            }
            router = router.routes((schemas, paths, guard(access, queries, methods)));
        }
        let (router, mut document) = router.split_for_parts();
        // OpenAPI has no word for a parameter with slashes in it.
        let paths = std::mem::take(&mut document.paths.paths);
        document.paths.paths =
            paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
        (router, document)
    }
}

/// The query parameters that each method of a path takes, as the document has them.
type Queries = Vec<(Method, Vec<String>)>;

/// What stands before a path.
struct Guard {
    gate: Gate,
    access: Access,
    queries: Queries,
}

async fn guard(
    State(guard): State<Arc<Guard>>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    match guard.pass(&mut request, params.ok().as_ref()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

impl Guard {
    /// Lets the request pass, with its caller. A path that cannot be read is the handler's to refuse.
    fn pass(&self, request: &mut Request, params: Option<&RawPathParams>) -> Result<(), ApiError> {
        if self.access != Access::Public {
            let caller = self.gate.admit(self.access, request, params)?;
            if let Some(place) = request.extensions().get::<Arc<Place>>() {
                place.recognise();
            }
            request.extensions_mut().insert(caller);
        }
        self.check_query(request.method(), request.uri())
    }

    fn check_query(&self, method: &Method, uri: &Uri) -> Result<(), ApiError> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let known = self.queries.iter().find(|(of, _)| of == method);
        let (Some((_, known)), Some(_)) = (known, uri.query()) else { return Ok(()) };
        let Query(given) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| ApiError::invalid_query(error.body_text()))?;
        let Some((unknown, _)) = given.iter().find(|(name, _)| !known.contains(name)) else { return Ok(()) };
        let unknown: String = unknown.chars().take(SHOWN_CHARS_MAX).collect();
        let accepted = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
        Err(ApiError::invalid_query(format!("{unknown:?} is no query parameter here; accepted: {accepted}")))
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

    fn admit(
        &self,
        access: Access,
        request: &Request,
        params: Option<&RawPathParams>,
    ) -> Result<Principal, ApiError> {
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

    fn key_holder(&self, headers: &HeaderMap) -> Result<Principal, ApiError> {
        let key = key(headers)?
            .ok_or_else(|| ApiError::unauthorized("send a key as `Authorization: Bearer rdev_…`"))?;
        self.keys.verify(key).ok_or_else(|| ApiError::unauthorized("this key is not known"))
    }

    fn ticket_holder(&self, ticket: &str, params: Option<&RawPathParams>) -> Result<Principal, ApiError> {
        let project = params.and_then(|params| params.iter().find(|(name, _)| *name == "project"));
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
    Query::<Ticket>::try_from_uri(request.uri()).ok()?.0.ticket
}

fn security(access: Access) -> Vec<SecurityRequirement> {
    let none: [&str; 0] = [];
    let mut ways = vec![SecurityRequirement::new("bearer", none), SecurityRequirement::new("api_key", none)];
    if matches!(access, Access::ScopeOrTicket(_)) {
        ways.push(SecurityRequirement::new("ticket", none));
    }
    ways
}

/// The names of the query parameters that an operation takes.
fn query_names(operation: &Operation, access: Access) -> Vec<String> {
    let documented = operation.parameters.iter().flatten();
    let in_query = documented.filter_map(|parameter| match parameter {
        RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => Some(parameter.name.clone()),
        _ => None,
    });
    let ticket = (matches!(access, Access::ScopeOrTicket(_))).then(|| "ticket".to_owned());
    in_query.chain(ticket).collect()
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
