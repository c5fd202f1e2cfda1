//! The response with a whole stored output: bytes as written, or NDJSON, as the caller prefers.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use mediatype::{MediaType, Name, names};
use rdev_engine::LogReader;

use super::render::Form;
use super::stored::Stored;
use crate::error::ApiError;
use crate::extract::preferred;

const PLAIN: MediaType<'static> = MediaType::new(names::TEXT, names::PLAIN);
const NDJSON: MediaType<'static> = MediaType::new(names::APPLICATION, Name::new_unchecked("x-ndjson"));
/// Header with the numbers of the first and the last event that retention has removed at the beginning.
const GAP: HeaderName = HeaderName::from_static("rdev-gap");

/// Responds with the stored output, in the form that the caller prefers.
pub(crate) async fn stored_output(reader: LogReader, headers: &HeaderMap) -> Result<Response, ApiError> {
    let (form, content_type) = if preferred(headers, &[PLAIN, NDJSON]) == Some(&NDJSON) {
        (Form::Ndjson, "application/x-ndjson")
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
