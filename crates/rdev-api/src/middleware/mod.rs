//! Middleware around every route, from the outside to the inside: request id, trace span, context and figures of the
//! answer with its log line, CORS, panics.
//!
//! Three layers of tower-http are not used. `RequestBodyLimit` answers 413 in plain text, before the caller's key is
//! checked, and `RequestBodyTimeout` limits the time between two pieces of a body, not the whole: the extractor of bodies
//! does both, and its errors come in the envelope. `Timeout` answers without a body; what a handler waits for has a timeout
//! of its own, whose error names what did not answer.

mod answers;
mod client;
mod context;
mod cors;
mod panic;
mod refused_clients;
mod request_id;
mod trace;

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderValue;
use axum::middleware::from_fn_with_state;
use ipnet::IpNet;
use rdev_ports::Clock;
use tower::ServiceBuilder;
use tower_http::request_id::{PropagateRequestIdLayer, SetRequestIdLayer};

use self::context::Answering;
pub(crate) use self::context::Refusal;
use self::refused_clients::RefusedClients;
use self::request_id::{REQUEST_ID, TimeOrdered};
pub(crate) use self::trace::{record_key, record_stream};

/// Settings and ports of the middleware.
#[derive(Clone)]
pub(crate) struct Middleware {
    /// Clock of requests.
    pub(crate) clock: Arc<dyn Clock>,
    /// Proxies whose X-Forwarded-For counts.
    pub(crate) trusted_proxies: Arc<[IpNet]>,
    /// Origins whose pages may call from a browser; with none CORS is off.
    pub(crate) cors_origins: Arc<[HeaderValue]>,
}

impl Middleware {
    /// Lays the middleware around a finished router.
    pub(crate) fn around<S: Clone + Send + Sync + 'static>(&self, router: Router<S>) -> Router<S> {
        let answering = Answering {
            clock: self.clock.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            refused_clients: RefusedClients::new(),
        };
        let layers = ServiceBuilder::new()
            .map_request(request_id::drop_unsound)
            .layer(SetRequestIdLayer::new(REQUEST_ID, TimeOrdered))
            .layer(PropagateRequestIdLayer::new(REQUEST_ID))
            .layer(trace::layer(self.trusted_proxies.clone()))
            .layer(from_fn_with_state(Arc::new(answering), context::answer))
            .option_layer(cors::layer(&self.cors_origins))
            .layer(panic::layer());
        router.layer(layers)
    }
}
