//! Access to routes: the scope that each needs, the gate that checks keys and rates, and the guard before each path.
//!
//! A route gets into the router only with an [`Access`]. The key is checked before anything else of a request.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use rdev_domain::{KeyId, Principal, Scope};

use crate::error::ApiError;
use crate::keys::Keys;
use crate::request::RequestMeta;
use crate::server::ConnectionUsage;
use crate::stream_path::stream_at;
use crate::tickets::Tickets;

/// Longest beginning of an unknown parameter that the error shows, in characters.
const SHOWN_CHARS_MAX: usize = 80;

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
    rates: Arc<DefaultKeyedRateLimiter<KeyId>>,
    /// Rates of connections to streams: all pages of a key connect again at once when a server has restarted.
    stream_rates: Arc<DefaultKeyedRateLimiter<KeyId>>,
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
    match guard.pass(&mut request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

impl Guard {
    /// Guards a path that needs `access`, and takes these query parameters.
    pub(crate) fn new(gate: Gate, access: Access, queries: Queries) -> Self {
        Self { gate, access, queries }
    }

    /// Puts the caller on the request. A path that cannot be parsed is refused by its handler.
    fn pass(&self, request: &mut Request) -> Result<(), ApiError> {
        if self.access != Access::Public {
            let caller = self.gate.admit(self.access, request)?;
            if let Some(connection) = request.extensions().get::<Arc<ConnectionUsage>>() {
                connection.authenticate();
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
    /// Makes a gate that lets each key make `rate_limit_per_minute` requests, a tenth of them at once, and open as many
    /// streams, all of them at once.
    pub(crate) fn new(keys: Keys, tickets: Tickets, rate_limit_per_minute: u32) -> Self {
        let rate = NonZeroU32::new(rate_limit_per_minute).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(rate_limit_per_minute / 10).unwrap_or(NonZeroU32::MIN);
        let rates = Arc::new(RateLimiter::keyed(Quota::per_minute(rate).allow_burst(burst)));
        let stream_rates = Arc::new(RateLimiter::keyed(Quota::per_minute(rate)));
        Self { keys, tickets, rates, stream_rates }
    }

    fn admit(&self, access: Access, request: &mut Request) -> Result<Principal, ApiError> {
        let (scope, rates, ticket) = match access {
            Access::Scope(scope) => (scope, &self.rates, None),
            Access::Stream(scope) => (scope, &self.stream_rates, ticket(request)),
            Access::Public => return Err(ApiError::unauthorized("this route has no callers")),
        };
        let caller = match ticket {
            Some(ticket) => self.ticket_holder(&ticket, request)?,
            None => self.key_holder(request.headers())?,
        };
        check_scope(&caller, scope)?;
        within_rate(rates, &caller.key)?;
        Ok(caller)
    }

    fn key_holder(&self, headers: &HeaderMap) -> Result<Principal, ApiError> {
        let key = key(headers)?
            .ok_or_else(|| ApiError::unauthorized("send a key as `Authorization: Bearer rdev_…`"))?;
        self.keys.verify(key).ok_or_else(|| ApiError::unauthorized("this key is not known"))
    }

    fn ticket_holder(&self, ticket: &str, request: &mut Request) -> Result<Principal, ApiError> {
        let stream = stream_at(request.uri()).ok();
        let verified =
            stream.and_then(|stream| self.tickets.verify(ticket, &stream, RequestMeta::current().at));
        let caller = verified.and_then(|verified| {
            let caller = self.keys.principal(&verified.key)?;
            request.extensions_mut().insert(verified.ticket);
            Some(caller)
        });
        caller.ok_or_else(|| ApiError::unauthorized("this ticket is not valid here, or no longer"))
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
    Err(ApiError::new(StatusCode::FORBIDDEN, "SCOPE_REQUIRED", message))
}

fn within_rate(rates: &DefaultKeyedRateLimiter<KeyId>, key: &KeyId) -> Result<(), ApiError> {
    rates.check_key(key).map_err(|until| {
        let wait = until.wait_time_from(DefaultClock::default().now());
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let message = format!("too many requests with this key; try again in {seconds} s");
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", message)
            .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    })
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
