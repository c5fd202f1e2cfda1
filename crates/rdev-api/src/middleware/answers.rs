//! One log line about each answer.

use std::time::Duration;

use axum::http::header;
use axum::response::Response;
use tracing::field::display;

/// Paths that machines ask again and again, and what a page loads by itself: their answers are logged at debug.
const QUIET: [&str; 4] = ["/health", "/ready", "/metrics", "/favicon.ico"];
/// Folder of the files that a page loads.
const ASSETS: &str = "/docs/";

/// Tells whether the answers at a path are of little interest.
pub(super) fn is_quiet(path: &str) -> bool {
    QUIET.contains(&path) || path.starts_with(ASSETS)
}

/// Logs the answer to the present request, whose span names the request. `duration` is the time to the head of the
/// answer: an event stream begins then.
pub(super) fn log(response: &Response, duration: Duration, is_quiet: bool) {
    let status = response.status().as_u16();
    let duration_ms = duration.as_micros() as f64 / 1000.0;
    // What was made: by it the line leads to those of a job.
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    let location = location.map(display);
    if is_quiet {
        tracing::debug!(status, duration_ms, location, "answered");
    } else {
        tracing::info!(status, duration_ms, location, "answered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_machines_ask_again_and_again_is_quiet() {
        for path in ["/health", "/ready", "/metrics", "/docs/scalar.js", "/favicon.ico"] {
            assert!(is_quiet(path), "{path}");
        }
        for path in ["/", "/docs", "/projects", "/healthy"] {
            assert!(!is_quiet(path), "{path}");
        }
    }
}
