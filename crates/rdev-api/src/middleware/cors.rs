//! CORS: pages of these origins may call from a browser. Keys are sent in headers, so no cookies are allowed.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use rdev_api_types::{IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED, LAST_EVENT_ID, RATE_LIMIT, RATE_LIMIT_POLICY};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Time for which a browser remembers the answer to a preflight request; Chrome's own maximum.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(2 * 3600);

const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// Headers that callers send, beyond those that browsers always allow.
const REQUEST_HEADERS: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static(IDEMPOTENCY_KEY),
    HeaderName::from_static(LAST_EVENT_ID),
];

/// Headers of responses that pages may read, beyond those that browsers always show.
const RESPONSE_HEADERS: [HeaderName; 9] = [
    header::LOCATION,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
    header::CONTENT_DISPOSITION,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static(IDEMPOTENT_REPLAYED),
    HeaderName::from_static(RATE_LIMIT),
    HeaderName::from_static(RATE_LIMIT_POLICY),
    HeaderName::from_static("rdev-gap"),
];

/// Returns the layer for these origins; `None` without any.
pub(super) fn layer(origins: &[HeaderValue]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods(METHODS)
        .allow_headers(REQUEST_HEADERS)
        .expose_headers(RESPONSE_HEADERS)
        .max_age(PREFLIGHT_MAX_AGE);
    Some(layer)
}
