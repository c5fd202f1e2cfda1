//! Beginnings of subscribers: after the event of `Last-Event-ID` or `?last_event_id=`, else at the time `?since=`, else at
//! the start.

use axum::http::HeaderMap;
use rdev_api_types::{LAST_EVENT_ID, SubscriptionQuery};
use rdev_domain::{Seq, Timestamp};
use rdev_engine::{Begin, JobBegin};

use crate::error::{ApiError, quoted};
use crate::sse::{LogEventId, number};

/// Begins with the next event.
const LATEST: &str = "latest";

/// Place that a request names.
enum Place<T> {
    Start,
    Latest,
    After(T),
    Since(Timestamp),
}

/// Reads where a subscriber begins in the stream of one job.
///
/// # Errors
/// 422 that names the parameter and what is accepted.
pub(crate) fn job_begin(query: &SubscriptionQuery, headers: &HeaderMap) -> Result<JobBegin, ApiError> {
    let accepted = "the number of an event, 1 to 18 digits, or `latest`";
    Ok(match place(query, headers, |id| number(id).map(Seq), accepted)? {
        Place::Start => JobBegin::Start,
        Place::Latest => JobBegin::Latest,
        Place::After(seq) => JobBegin::After(seq),
        Place::Since(at) => JobBegin::Since(at),
    })
}

/// Reads where a subscriber begins in a log of several jobs, and the id that it has sent.
///
/// # Errors
/// 422 that names the parameter and what is accepted.
pub(crate) fn log_begin(
    query: &SubscriptionQuery,
    headers: &HeaderMap,
) -> Result<(Begin, Option<LogEventId>), ApiError> {
    let accepted = "the id of an event of this stream, or `latest`";
    Ok(match place(query, headers, |id| id.parse::<LogEventId>().ok(), accepted)? {
        Place::Start => (Begin::Start, None),
        Place::Latest => (Begin::Latest, None),
        Place::After(id) => (id.begin(), Some(id)),
        Place::Since(at) => (Begin::Since(at), None),
    })
}

/// A browser that reconnects sends the header, and the query that it began with: the header is newer, and wins. All of
/// them must be valid.
fn place<T>(
    query: &SubscriptionQuery,
    headers: &HeaderMap,
    parse: impl Fn(&str) -> Option<T>,
    accepted: &str,
) -> Result<Place<T>, ApiError> {
    let after = |id: &str| match id {
        LATEST => Ok(Place::Latest),
        id => parse(id).map(Place::After).ok_or_else(|| {
            ApiError::invalid_field("last_event_id", format!("it is not valid: accepted is {accepted}"))
        }),
    };
    let header = headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?"));
    let read = |id: Option<&str>| id.filter(|id| !id.is_empty()).map(after).transpose();
    let (header, asked) = (read(header)?, read(query.last_event_id.as_deref())?);
    let since = since(query.since.as_deref())?.map(Place::Since);
    Ok(header.or(asked).or(since).unwrap_or(Place::Start))
}

/// Reads `?since=`.
///
/// # Errors
/// 422 when it is no time.
pub(crate) fn since(text: Option<&str>) -> Result<Option<Timestamp>, ApiError> {
    let parse = |text: &str| {
        Timestamp::parse(text).ok_or_else(|| {
            let accepted = "accepted is a time as 2026-01-24T20:00:00Z, with `%2B` for `+`";
            let message = format!("{} is not valid: {accepted}", quoted(text));
            ApiError::invalid_field("since", message)
        })
    };
    text.map(parse).transpose()
}
