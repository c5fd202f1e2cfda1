//! The trace span of a request: every log line that is written while a request is answered carries its id.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use ipnet::IpNet;
use rdev_domain::{KeyId, beginning};
use tower_http::classify::{ServerErrorsAsFailures, SharedClassifier};
use tower_http::request_id::RequestId;
use tower_http::trace::{MakeSpan, TraceLayer};
use tracing::Span;
use tracing::field::{Empty, display};

use super::client::client;

/// Longest beginning of a path that a span shows, in characters.
const PATH_CHARS_MAX: usize = 256;

type Layer = TraceLayer<SharedClassifier<ServerErrorsAsFailures>, RequestSpan, (), (), (), (), ()>;

/// Returns the layer. A failed request is no event of the layer's own: who makes the error logs its cause, once. That a
/// request is answered is logged by `answers`, which knows more of it.
pub(super) fn layer(trusted_proxies: Arc<[IpNet]>) -> Layer {
    TraceLayer::new_for_http()
        .make_span_with(RequestSpan { trusted_proxies })
        .on_request(())
        .on_response(())
        .on_body_chunk(())
        .on_eos(())
        .on_failure(())
}

#[derive(Clone)]
pub(super) struct RequestSpan {
    trusted_proxies: Arc<[IpNet]>,
}

impl MakeSpan<Body> for RequestSpan {
    fn make_span(&mut self, request: &Request<Body>) -> Span {
        let request_id =
            request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
        // At the highest level, so that an error shows its request whatever else the filter hides.
        tracing::error_span!(
            "request",
            request_id = request_id.map(display),
            client = client(request, &self.trusted_proxies).map(display),
            method = display(request.method()),
            // Without the query, which may hold a ticket.
            path = display(beginning(request.uri().path(), PATH_CHARS_MAX)),
            stream = Empty,
            key = Empty,
        )
    }
}

/// Adds to the span of the present request the key of its caller.
pub(crate) fn record_key(key: &KeyId) {
    Span::current().record("key", display(key));
}

/// Adds to the span of the present request the stream that its query names.
pub(crate) fn record_stream(stream: &str) {
    Span::current().record("stream", beginning(stream, PATH_CHARS_MAX));
}
