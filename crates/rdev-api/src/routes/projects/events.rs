//! Event streams of a project, and tickets for browsers to read them.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use rdev_api_types::{
    Data, ErrorBody, EventsQuery, LastEventIdHeader, ProjectLastEventIdHeader, ProjectPath, ServerSentEvent,
    StreamPath, StreamQuery, Ticket,
};
use rdev_domain::{Error, ProjectId, Resource, Seq, StreamId};
use rdev_engine::Begin;
use rdev_services::{Events, TicketIssuer};

use crate::convert::time;
use crate::envelope::{data, replayed};
use crate::error::ApiError;
use crate::extract::{Caller, Idempotency, InProject, Query, StreamInProject};
use crate::routes::last_event_id::{event_number, invalid_id, last_event_id};
use crate::sse::agent::AgentForm;
use crate::sse::{Opening, ProjectEventId, Streams};
use crate::tickets::{TICKET_LIFETIME, Tickets};

/// Stream the events of one stream, or of the whole project.
#[utoipa::path(get, path = "/projects/{project}/events", tag = "events", operation_id = "project_events",
    params(ProjectPath, EventsQuery,
           ProjectLastEventIdHeader), responses(
    (status = 200, description = "Events as they are stored: `output`, `error`, `agent`, `status`, `complete`, `gap`, `heartbeat`. Ends after `complete` when it is one command's stream", content_type = "text/event-stream", body = ServerSentEvent),
    (status = 204, description = "The stream is over, and the subscriber has all of it"),
    (status = 404, description = "There is no such project or stream", body = ErrorBody)))]
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
    let log = events.follow_project(&project, begin).await?;
    Ok(streams.project(opening, log, asked, form))
}

/// Stream the events of one stream.
#[utoipa::path(get, path = "/projects/{project}/events/{stream_id}", tag = "events", operation_id = "stream_events",
    params(StreamPath, StreamQuery,
           LastEventIdHeader), responses(
    (status = 200, description = "Events as they are stored; ends after `complete`", content_type = "text/event-stream", body = ServerSentEvent),
    (status = 204, description = "The stream is over, and the subscriber has all of it"),
    (status = 404, description = "There is no such project or stream", body = ErrorBody)))]
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

/// Create a short-lived ticket to read the project's events.
///
/// EventSource cannot send headers: its URL carries the ticket.
#[utoipa::path(post, path = "/projects/{project}/events/ticket", tag = "events", operation_id = "issue_ticket",
    params(ProjectPath),
    responses(
    (status = 200, description = "The ticket", body = Data<Ticket>),
    (status = 404, description = "There is no such project", body = ErrorBody)))]
pub(crate) async fn ticket(
    State(issuer): State<TicketIssuer>,
    State(tickets): State<Tickets>,
    Caller(caller): Caller,
    InProject(project): InProject,
    Idempotency(key): Idempotency,
) -> Result<Response, ApiError> {
    let (issued_at, asked) = issuer.issue(&project, key.as_ref()).await?;
    let expires = issued_at + TICKET_LIFETIME;
    let ticket = tickets.issue(&caller.key, &project, expires);
    let body = data(Ticket { ticket, expires_at: time(expires) });
    // A ticket is as good as a key: no cache and no store keeps it.
    Ok((replayed(asked), [(header::CACHE_CONTROL, "no-store")], body).into_response())
}

async fn one_stream(
    (events, streams, opening): (&Events, &Streams, Opening),
    (project, stream): (&ProjectId, &StreamId),
    after: Option<Seq>,
    form: AgentForm,
) -> Result<Response, ApiError> {
    let subscription = events.follow_stream(project, stream, after).await?;
    Ok(streams.subscription(opening, subscription, after, form))
}

/// Begin of a project's stream.
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
