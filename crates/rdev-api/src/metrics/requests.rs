//! Figures of requests, streams and connections, counted by this process.

use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use metrics::{
    Counter, Gauge, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use tokio::time::Instant;

const REQUESTS: &str = "rdev_http_requests_total";
const REFUSED: &str = "rdev_requests_refused_total";
pub(super) const REQUEST_SECONDS: &str = "rdev_http_request_duration_seconds";
pub(super) const REQUEST_SECONDS_BUCKETS: [f64; 11] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
const STREAMS: &str = "rdev_streams_open";
const STREAMS_REFUSED: &str = "rdev_streams_refused_total";
const CONNECTIONS_CLOSED: &str = "rdev_connections_closed_total";

/// Answers to callers who may not, or not now.
const REFUSALS: [StatusCode; 3] =
    [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS];

/// Describes the figures, and begins those at 0 that have few series.
pub(super) fn install() {
    describe_counter!(REQUESTS, "Requests answered by this process, by route");
    describe_histogram!(REQUEST_SECONDS, "Time to the head of an answer; of streams no more than that");
    describe_counter!(
        REFUSED,
        "Requests refused by this process: 401 no accepted key, 403 no right, 429 too many"
    );
    for status in REFUSALS {
        refused(status).absolute(0);
    }
    describe_gauge!(STREAMS, "Event streams that this process has open");
    describe_counter!(STREAMS_REFUSED, "Event streams refused to keys that had as many open as they may");
    counter!(STREAMS_REFUSED).absolute(0);
    describe_counter!(CONNECTIONS_CLOSED, "Connections closed before their next request, for want of room");
    for reason in [Closed::TooMany, Closed::MadeRoom] {
        reason.counter().absolute(0);
    }
    OpenStream::gauge().set(0);
}

fn refused(status: StatusCode) -> Counter {
    counter!(REFUSED, "status" => status.as_u16().to_string())
}

/// Timer of a request that is being answered.
pub(crate) struct RequestTimer {
    method: &'static str,
    path: Option<MatchedPath>,
    since: Instant,
}

impl RequestTimer {
    /// Starts the timer when the request arrives.
    pub(crate) fn start(request: &Request) -> Self {
        // Methods that clients invent would each be a series of their own.
        let known = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD];
        let names = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
        let method = known.iter().position(|known| known == request.method());
        Self {
            method: method.map_or("other", |at| names[at]),
            path: request.extensions().get::<MatchedPath>().cloned(),
            since: Instant::now(),
        }
    }

    /// Counts the request and its time to the head of the response, which is returned.
    pub(crate) fn stop(self, status: StatusCode) -> Duration {
        let duration = self.since.elapsed();
        // As in the OpenAPI document.
        let path = self.path.as_ref().map_or("none", MatchedPath::as_str).replace("{*", "{");
        let labels = [("method", self.method.to_owned()), ("path", path)];
        histogram!(REQUEST_SECONDS, &labels).record(duration);
        let [method, path] = labels;
        counter!(REQUESTS, &[method, path, ("status", status.as_u16().to_string())]).increment(1);
        if REFUSALS.contains(&status) {
            refused(status).increment(1);
        }
        duration
    }
}

/// Counts an event stream that is refused because its key has as many as it may.
pub(crate) fn stream_refused() {
    counter!(STREAMS_REFUSED).increment(1);
}

/// Reason for closing a connection between two requests, or before its first.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Closed {
    /// Its client has as many connections without a key as it may.
    TooMany,
    /// It was evicted for another connection.
    MadeRoom,
}

impl Closed {
    /// Counts a connection.
    pub(crate) fn count(self) {
        self.counter().increment(1);
    }

    fn counter(self) -> Counter {
        let reason = match self {
            Self::TooMany => "too_many",
            Self::MadeRoom => "made_room",
        };
        counter!(CONNECTIONS_CLOSED, "reason" => reason)
    }
}

/// Open event stream, counted until this is dropped.
pub(crate) struct OpenStream(Gauge);

impl OpenStream {
    /// Counts a stream as open.
    pub(crate) fn begin() -> Self {
        let gauge = Self::gauge();
        gauge.increment(1);
        Self(gauge)
    }

    fn gauge() -> Gauge {
        gauge!(STREAMS)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
