//! Streams of events.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use rdev_api_types::{
    ErrorBody, EventsQuery, LAST_EVENT_ID, LastEventIdHeader, ProjectLastEventIdHeader, ProjectPath,
    ServerSentEvent, StreamPath, StreamQuery,
};
use rdev_domain::{Error, ProjectId, Resource, Seq, StreamId};
use rdev_engine::{Begin, Subscription};
use rdev_services::Events;

use crate::error::ApiError;
use crate::extract::{InProject, Query, StreamInProject};
use crate::sse::agent::AgentForm;
use crate::sse::{Opening, ProjectEventId, Streams, number};

/// Events of one stream, or of the whole project.
#[utoipa::path(get, path = "/projects/{project}/events", tag = "events", operation_id = "project_events",
    params(ProjectPath, EventsQuery,
           ProjectLastEventIdHeader), responses(
    (status = 200, description = "Events as they are stored: `output`, `error`, `agent`, `status`, `complete`, `gap`, `heartbeat`. Ends after `complete` when it is one command's stream", content_type = "text/event-stream", body = ServerSentEvent),
    (status = 204, description = "The stream is over, and the subscriber has all of it"),
    (status = 404, description = "There is no such project or stream", body = ErrorBody),
    (status = 422, description = "A parameter is not valid", body = ErrorBody)))]
pub(crate) async fn project_events(
    State(events): State<Events>,
    State(streams): State<Streams>,
    InProject(project): InProject,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
    opening: Opening,
) -> Result<Response, ApiError> {
    let form = AgentForm::asked(query.agent.as_deref())?;
    if let Some(stream) = &query.stream_id {
        let stream: StreamId = stream.parse().map_err(|_| Error::not_found(Resource::Stream, stream))?;
        let after = last_event_id(query.last_event_id.as_deref(), &headers, event_number)?;
        return one_stream((&events, &streams, opening), (&project, &stream), after, form).await;
    }
    let asked = last_event_id(query.last_event_id.as_deref(), &headers, project_begin)?;
    let (begin, asked) = match asked {
        None => (Begin::Start, None),
        Some(ProjectBegin::Latest) => (Begin::Latest, None),
        Some(ProjectBegin::After(id)) => (id.begin(), Some(id)),
    };
    let following = events.follow_project(&project, begin).await?;
    Ok(streams.project(opening, following, asked, form))
}

/// Events of one stream.
#[utoipa::path(get, path = "/projects/{project}/events/{stream_id}", tag = "events", operation_id = "stream_events",
    params(StreamPath, StreamQuery,
           LastEventIdHeader), responses(
    (status = 200, description = "Events as they are stored; ends after `complete`", content_type = "text/event-stream", body = ServerSentEvent),
    (status = 204, description = "The stream is over, and the subscriber has all of it"),
    (status = 404, description = "There is no such project or stream", body = ErrorBody),
    (status = 422, description = "A parameter is not valid", body = ErrorBody)))]
pub(crate) async fn stream_events(
    State(events): State<Events>,
    State(streams): State<Streams>,
    StreamInProject(project, stream): StreamInProject,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
    opening: Opening,
) -> Result<Response, ApiError> {
    let form = AgentForm::asked(query.agent.as_deref())?;
    let after = last_event_id(query.last_event_id.as_deref(), &headers, event_number)?;
    one_stream((&events, &streams, opening), (&project, &stream), after, form).await
}

async fn one_stream(
    (events, streams, opening): (&Events, &Streams, Opening),
    (project, stream): (&ProjectId, &StreamId),
    after: Option<Seq>,
    form: AgentForm,
) -> Result<Response, ApiError> {
    let following = events.follow_stream(project, stream, after).await?;
    Ok(answer(streams, opening, following, after, form))
}

/// What a subscription is answered with.
pub(crate) fn answer(
    streams: &Streams,
    opening: Opening,
    following: Subscription,
    after: Option<Seq>,
    form: AgentForm,
) -> Response {
    match following {
        Subscription::Complete => StatusCode::NO_CONTENT.into_response(),
        Subscription::Open(follow) => streams.command(opening, follow, after, form),
    }
}

/// A browser that reconnects sends the header, and the query that it began with: the header is newer. Both
/// must be sound.
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
