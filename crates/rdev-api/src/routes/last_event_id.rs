//! The event after which a stream begins: `Last-Event-ID`, or `?last_event_id=`.

use axum::http::HeaderMap;
use rdev_api_types::LAST_EVENT_ID;
use rdev_domain::Seq;

use crate::error::ApiError;
use crate::sse::number;

/// Reads the last event id. A browser that reconnects sends the header, and the query that it began with: the header is
/// newer, and wins. Both must be valid.
pub(crate) fn last_event_id<T>(
    query: Option<&str>,
    headers: &HeaderMap,
    parse: impl Fn(&str) -> Result<T, ApiError>,
) -> Result<Option<T>, ApiError> {
    let header = headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?"));
    let read = |id: Option<&str>| id.filter(|id| !id.is_empty()).map(&parse).transpose();
    let (header, query) = (read(header)?, read(query)?);
    Ok(header.or(query))
}

/// Parses the number of an event in one stream.
pub(crate) fn event_number(id: &str) -> Result<Seq, ApiError> {
    number(id).map(Seq).ok_or_else(|| invalid_id("the number of an event, 1 to 18 digits"))
}

/// Makes the error of an id that is not valid.
pub(super) fn invalid_id(accepted: &str) -> ApiError {
    ApiError::invalid_field("last_event_id", format!("it is not valid: accepted is {accepted}"))
}
