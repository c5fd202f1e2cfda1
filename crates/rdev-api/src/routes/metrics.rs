//! Figures for Prometheus.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::metrics::Metrics;

/// Content type of Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Get the metrics, in Prometheus' text format.
///
/// Metrics of the queue and the pool come from the store, and are the same on every replica: take their maximum, not
/// their sum.
#[utoipa::path(get, path = "/metrics", tag = "system", operation_id = "metrics", responses(
    (status = 200, description = "Prometheus' text format", content_type = "text/plain", body = String)))]
pub(crate) async fn metrics(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, "no-store")], metrics.text().await)
}
