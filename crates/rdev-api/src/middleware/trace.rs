//! The trace span of a request: every log line that is written while a request is answered carries its id.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use ipnet::IpNet;
use tower_http::classify::{ServerErrorsAsFailures, SharedClassifier};
use tower_http::request_id::RequestId;
use tower_http::trace::{MakeSpan, OnResponse, TraceLayer};
use tracing::Span;

use super::client::client;

/// Longest beginning of a path that a span shows, in characters.
const PATH_CHARS_MAX: usize = 256;

type Layer = TraceLayer<SharedClassifier<ServerErrorsAsFailures>, RequestSpan, (), Answered, (), (), ()>;

/// Returns the layer. A failed request is no event of the layer's own: who makes the error logs its cause, once.
pub(super) fn layer(trusted_proxies: Arc<[IpNet]>) -> Layer {
    TraceLayer::new_for_http()
        .make_span_with(RequestSpan { trusted_proxies })
        .on_request(())
        .on_response(Answered)
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
        // At the highest level, so that an error shows its request whatever else the filter hides.
        tracing::error_span!(
            "request",
            request_id =
                request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok()),
            client = client(request, &self.trusted_proxies).map(tracing::field::display),
            method = request.method().as_str(),
            // Without the query, which may hold a ticket.
            path = beginning(request.uri().path()),
        )
    }
}

#[derive(Clone)]
pub(super) struct Answered;

impl<B> OnResponse<B> for Answered {
    fn on_response(self, response: &Response<B>, latency: Duration, _: &Span) {
        tracing::debug!(status = response.status().as_u16(), ?latency, "answered");
    }
}

fn beginning(path: &str) -> &str {
    path.char_indices().nth(PATH_CHARS_MAX).map_or(path, |(end, _)| &path[..end])
}
