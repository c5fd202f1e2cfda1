//! The response with a whole stored output: bytes as written, or NDJSON, as the caller prefers.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use rdev_engine::LogReader;

use super::negotiation::{NDJSON_TYPE, prefers_data};
use super::render::Form;
use super::stored::Stored;
use crate::error::ApiError;

/// Header with the numbers of the first and the last event that retention has removed at the beginning.
const GAP: HeaderName = HeaderName::from_static("rdev-gap");

/// Responds with the stored output, in the form that the caller prefers.
pub(crate) async fn stored_output(reader: LogReader, headers: &HeaderMap) -> Result<Response, ApiError> {
    let (form, content_type) = if prefers_data(headers) {
        (Form::Data, NDJSON_TYPE)
    } else {
        (Form::Bytes, "text/plain; charset=utf-8")
    };
    let stored = Stored::begin(reader, form).await?;
    let gap = stored.missing().map(|missing| [(GAP, missing)]);
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        // The bytes are a command's: no browser may take them for a page.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, gap, Body::from_stream(stored.bytes())).into_response())
}
