//! Streams of events.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use rdev_domain::{Error, ProjectId, Resource, Seq, StreamId};
use rdev_services::{Begin, Events, Subscription};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{InProject, Query, StreamInProject};
use crate::sse::payload::ServerSentEvent;
use crate::sse::{Opening, ProjectEventId, Streams, number};

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// One command's stream; without it, every command of the project.
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
    stream_id: Option<String>,
    /// Begin after this event; the header `Last-Event-ID` says the same, and counts before it. On a
    /// project's stream `latest` begins with what comes next.
    #[param(pattern = "^([0-9]{1,18}|[0-9]{1,18}-[0-9]{1,18}|latest)?$")]
    last_event_id: Option<String>,
}

/// Where to begin.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct After {
    /// Begin after this event; the header `Last-Event-ID` says the same, and counts before it.
    #[param(pattern = "^([0-9]{1,18})?$")]
    pub(crate) last_event_id: Option<String>,
}

/// Events of one stream, or of the whole project.
#[utoipa::path(get, path = "/projects/{project}/events", tag = "events", operation_id = "project_events",
    params(("project" = String, Path, description = "Id of the project", example = "demo"), Which,
           ("Last-Event-ID" = Option<String>, Header, nullable = false, description = "Begin after this event", pattern = "^([0-9]{1,18}|[0-9]{1,18}-[0-9]{1,18}|latest)?$")), responses(
    (status = 200, description = "Events as they are stored: `output`, `error`, `status`, `complete`, `gap`, `heartbeat`. Ends after `complete` when it is one command's stream", content_type = "text/event-stream", body = ServerSentEvent),
    (status = 204, description = "The stream is over, and the subscriber has all of it"),
    (status = 404, description = "There is no such project or stream", body = ErrorBody),
    (status = 422, description = "A parameter is not valid", body = ErrorBody)))]
pub(crate) async fn project_events(
    State(events): State<Events>,
    State(streams): State<Streams>,
    InProject(project): InProject,
    Query(which): Query<Which>,
    headers: HeaderMap,
    opening: Opening,
) -> Result<Response, ApiError> {
    if let Some(stream) = &which.stream_id {
        let stream: StreamId = stream.parse().map_err(|_| Error::not_found(Resource::Stream, stream))?;
        let after = last_event_id(which.last_event_id.as_deref(), &headers, event_number)?;
        return one_stream(&events, &streams, opening, &project, &stream, after).await;
    }
    let asked = last_event_id(which.last_event_id.as_deref(), &headers, project_begin)?;
    let (begin, asked) = match asked {
        None => (Begin::Start, None),
        Some(ProjectBegin::Latest) => (Begin::Latest, None),
        Some(ProjectBegin::After(id)) => (id.begin(), Some(id)),
    };
    let following = events.follow_project(&project, begin).await?;
    Ok(streams.project(opening, following, asked))
}

/// Events of one stream.
#[utoipa::path(get, path = "/projects/{project}/events/{stream_id}", tag = "events", operation_id = "stream_events",
    params(("project" = String, Path, description = "Id of the project", example = "demo"),
           ("stream_id" = String, Path, description = "The command's stream"), After,
           ("Last-Event-ID" = Option<String>, Header, nullable = false, description = "Begin after this event", pattern = "^([0-9]{1,18})?$")), responses(
    (status = 200, description = "Events as they are stored; ends after `complete`", content_type = "text/event-stream", body = ServerSentEvent),
    (status = 204, description = "The stream is over, and the subscriber has all of it"),
    (status = 404, description = "There is no such project or stream", body = ErrorBody),
    (status = 422, description = "A parameter is not valid", body = ErrorBody)))]
pub(crate) async fn stream_events(
    State(events): State<Events>,
    State(streams): State<Streams>,
    StreamInProject(project, stream): StreamInProject,
    Query(after): Query<After>,
    headers: HeaderMap,
    opening: Opening,
) -> Result<Response, ApiError> {
    let after = last_event_id(after.last_event_id.as_deref(), &headers, event_number)?;
    one_stream(&events, &streams, opening, &project, &stream, after).await
}

async fn one_stream(
    events: &Events,
    streams: &Streams,
    opening: Opening,
    project: &ProjectId,
    stream: &StreamId,
    after: Option<Seq>,
) -> Result<Response, ApiError> {
    let following = events.follow_stream(project, stream, after).await?;
    Ok(answer(streams, opening, following, after))
}

/// What a subscription is answered with.
pub(crate) fn answer(
    streams: &Streams,
    opening: Opening,
    following: Subscription,
    after: Option<Seq>,
) -> Response {
    match following {
        Subscription::Over => StatusCode::NO_CONTENT.into_response(),
        Subscription::Open(follow) => streams.command(opening, follow, after),
    }
}

/// A browser that reconnects sends the header, and the query that it began with: the header is newer. Both
/// must be sound.
pub(crate) fn last_event_id<T>(
    query: Option<&str>,
    headers: &HeaderMap,
    parse: impl Fn(&str) -> Result<T, ApiError>,
) -> Result<Option<T>, ApiError> {
    let header = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
    let read = |id: Option<&str>| id.filter(|id| !id.is_empty()).map(&parse).transpose();
    let (header, query) = (read(header)?, read(query)?);
    Ok(header.or(query))
}

/// The number of an event in one stream.
pub(crate) fn event_number(id: &str) -> Result<Seq, ApiError> {
    number(id).map(Seq).ok_or_else(|| invalid_id("the number of an event, 1 to 18 digits"))
}

/// Where to begin in a project's stream.
enum ProjectBegin {
    Latest,
    After(ProjectEventId),
}

fn project_begin(id: &str) -> Result<ProjectBegin, ApiError> {
    if id == "latest" {
        return Ok(ProjectBegin::Latest);
    }
    let accepted = "the id of an event of this stream, or `latest`";
    id.parse().map(ProjectBegin::After).map_err(|()| invalid_id(accepted))
}

fn invalid_id(accepted: &str) -> ApiError {
    ApiError::invalid_field("last_event_id", format!("it is not valid: accepted is {accepted}"))
}
