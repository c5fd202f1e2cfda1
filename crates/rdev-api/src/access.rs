//! Access to routes: the scope that each needs, the gate that checks keys and rates, and the guard before each path.
//!
//! A route gets into the router only with an [`Access`]. The key is checked before anything else of a request.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rdev_api_types::ErrorCode;
use rdev_domain::{Principal, Scope, shown};

use crate::error::{ApiError, quoted};
use crate::keys::{AcceptedKey, Keys};
use crate::middleware::{record_key, record_stream};
use crate::rates::{Allowance, Rates};
use crate::request::RequestMeta;
use crate::server::ConnectionUsage;
use crate::stream_path::stream_at;
use crate::tickets::Tickets;

/// Access that a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// None: no key is asked for.
    Public,
    /// A key with this scope.
    Scope(Scope),
    /// A key with this scope, or a ticket for the event stream at the path. Connections to streams have a rate of their own.
    Stream(Scope),
}

/// Gate: authenticates callers, and keeps each key within its rate.
#[derive(Clone)]
pub(crate) struct Gate {
    keys: Keys,
    tickets: Tickets,
    rates: Rates,
    /// Rates of connections to streams: all pages of a key connect again at once when a server has restarted.
    stream_rates: Rates,
}

/// Query parameters that each method of a path takes, as the document lists them.
pub(crate) type Queries = Vec<(Method, Vec<String>)>;

/// Guard before one path.
pub(crate) struct Guard {
    gate: Gate,
    access: Access,
    queries: Queries,
}

/// Runs the handler when the request passes the guard, and answers in its place when not.
pub(crate) async fn guard(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let mut allowance = None;
    let mut response = match guard.pass(&mut request, &mut allowance) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    if let Some(allowance) = allowance {
        allowance.tell(response.headers_mut());
    }
    response
}

impl Guard {
    /// Guards a path that needs `access`, and takes these query parameters.
    pub(crate) fn new(gate: Gate, access: Access, queries: Queries) -> Self {
        Self { gate, access, queries }
    }

    /// Puts the caller's key on the request, and notes what is left of the caller's rate. A path that cannot be parsed is
    /// refused by its handler.
    fn pass(&self, request: &mut Request, allowance: &mut Option<Allowance>) -> Result<(), ApiError> {
        if self.access != Access::Public {
            let (key, rates) = self.gate.admit(self.access, request)?;
            record_key(key.id());
            let (left, within_rate) = rates.take(key.id());
            *allowance = Some(left);
            within_rate?;
            if let Some(connection) = request.extensions().get::<Arc<ConnectionUsage>>() {
                connection.authenticate();
            }
            request.extensions_mut().insert(key);
        }
        self.check_query(request.method(), request.uri())
    }

    fn check_query(&self, method: &Method, uri: &Uri) -> Result<(), ApiError> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let known = self.queries.iter().find(|(of, _)| of == method);
        let (Some((_, known)), Some(_)) = (known, uri.query()) else { return Ok(()) };
        let Query(given) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| ApiError::invalid_query(error.body_text()))?;
        if let Some((_, stream)) = given.iter().find(|(name, _)| name == "stream_id") {
            record_stream(stream);
        }
        let Some((unknown, _)) = given.iter().find(|(name, _)| !known.contains(name)) else { return Ok(()) };
        let accepted = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
        let message = format!("there is no such query parameter here; accepted: {accepted}");
        let error = ApiError::invalid_query(format!("{}: {message}", quoted(unknown)));
        Err(error.with_detail(shown(unknown).to_owned(), message))
    }
}

impl Gate {
    /// Makes a gate that lets each key make `rate_limit_per_minute` requests, a tenth of them at once, and open as many
    /// streams, all of them at once.
    pub(crate) fn new(keys: Keys, tickets: Tickets, rate_limit_per_minute: u32) -> Self {
        let (rates, stream_rates) =
            (Rates::new(rate_limit_per_minute), Rates::at_once(rate_limit_per_minute));
        Self { keys, tickets, rates, stream_rates }
    }

    /// Returns the caller's key, and the rates that count for the request.
    fn admit(&self, access: Access, request: &mut Request) -> Result<(Arc<AcceptedKey>, &Rates), ApiError> {
        let (scope, rates, ticket) = match access {
            Access::Scope(scope) => (scope, &self.rates, None),
            Access::Stream(scope) => (scope, &self.stream_rates, ticket(request)),
            Access::Public => return Err(ApiError::unauthorized("this route has no callers")),
        };
        // A key counts where there are both: clients made of the document send what they have in every place it names.
        let key = match (key(request.headers())?, ticket) {
            (None, Some(ticket)) => self.key_of_ticket(&ticket, request)?,
            (key, _) => self.accepted(key)?,
        };
        check_scope(key.principal(), scope)?;
        Ok((key, rates))
    }

    fn accepted(&self, key: Option<&str>) -> Result<Arc<AcceptedKey>, ApiError> {
        let key =
            key.ok_or_else(|| ApiError::unauthorized("send a key as `Authorization: Bearer rdev_…`"))?;
        self.keys.verify(key).cloned().ok_or_else(|| ApiError::unauthorized("this key is not known"))
    }

    fn key_of_ticket(&self, ticket: &str, request: &mut Request) -> Result<Arc<AcceptedKey>, ApiError> {
        let now = RequestMeta::current().at;
        let stream = stream_at(request.uri()).ok();
        let valid = stream.and_then(|stream| self.tickets.verify(ticket, &stream, &self.keys, now));
        let valid =
            valid.ok_or_else(|| ApiError::unauthorized("this ticket is not valid here, or no longer"))?;
        let key = valid.key.clone();
        request.extensions_mut().insert(valid);
        Ok(key)
    }
}

/// Checks that a caller has a scope.
///
/// # Errors
/// 403 `SCOPE_REQUIRED`.
pub(crate) fn check_scope(caller: &Principal, scope: Scope) -> Result<(), ApiError> {
    if caller.has(scope) {
        return Ok(());
    }
    let message = format!("this needs a key with the scope {}", scope.as_str());
    Err(ApiError::new(StatusCode::FORBIDDEN, ErrorCode::ScopeRequired, message))
}

/// Returns the key that a request carries, in `Authorization` or `X-API-Key`.
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
