//! Event streams of a project, and tickets for browsers to read them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use rdev_api_types::{
    AgentQuery, Data, ErrorBody, LastEventIdHeader, ProjectEventsQuery, ProjectPath, StreamEvent, StreamItem,
    StreamPath, SubscriptionQuery, Ticket,
};
use rdev_domain::{Error, ProjectId, Resource, StreamId};
use rdev_engine::JobBegin;
use rdev_services::{Events, StreamRef, TicketIssuer};

use crate::error::ApiError;
use crate::extract::{Idempotency, InProject, Query, StreamInProject};
use crate::keys::AcceptedKey;
use crate::routes::begin::{job_begin, log_begin};
use crate::routes::events::issue;
use crate::sse::{Opening, Shape, Streams};
use crate::tickets::Tickets;

/// Stream the events of one stream, or of the whole project.
///
/// A project's stream has its commands, and the tasks that are done for it. It begins with the oldest event that is stored,
/// up to 30 days ago: `last_event_id=latest` or `since` begin later.
#[utoipa::path(get, path = "/projects/{project}/events", tag = "events", operation_id = "project_events",
    params(ProjectPath, ProjectEventsQuery, SubscriptionQuery,
           LastEventIdHeader), responses(
    (status = 200, description = "Events as they are stored: `output`, `error`, `agent`, `status`, `complete`, `gap`, `heartbeat`. Ends after `complete` when it is one command's stream", content(
        (StreamEvent = "text/event-stream"),
        (StreamItem = "application/x-ndjson"))),
    (status = 204, description = "The stream is over, and the subscriber has all of it"),
    (status = 404, description = "There is no such project or stream", body = ErrorBody)))]
pub(crate) async fn project_events(
    State(events): State<Events>,
    State(streams): State<Streams>,
    InProject(project): InProject,
    Query(which): Query<ProjectEventsQuery>,
    Query(query): Query<SubscriptionQuery>,
    headers: HeaderMap,
    opening: Opening,
) -> Result<Response, ApiError> {
    let shape = Shape::asked(&query, which.agent.as_deref(), &headers)?;
    if let Some(stream) = &which.stream_id {
        let stream: StreamId = stream.parse().map_err(|_| Error::not_found(Resource::Stream, stream))?;
        let begin = job_begin(&query, &headers)?;
        return one_stream((&events, &streams, opening), (&project, &stream), begin, shape).await;
    }
    let (begin, asked) = log_begin(&query, &headers)?;
    let view = events.follow_project(&project, shape.types.has_output(), begin).await?;
    Ok(streams.log(opening, view, asked, shape))
}

/// Stream the events of one stream.
#[utoipa::path(get, path = "/projects/{project}/events/{stream_id}", tag = "events", operation_id = "stream_events",
    params(StreamPath, SubscriptionQuery, AgentQuery,
           LastEventIdHeader), responses(
    (status = 200, description = "Events as they are stored; ends after `complete`", content(
        (StreamEvent = "text/event-stream"),
        (StreamItem = "application/x-ndjson"))),
    (status = 204, description = "The stream is over, and the subscriber has all of it"),
    (status = 404, description = "There is no such project or stream", body = ErrorBody)))]
pub(crate) async fn stream_events(
    State(events): State<Events>,
    State(streams): State<Streams>,
    StreamInProject(project, stream): StreamInProject,
    Query(query): Query<SubscriptionQuery>,
    Query(agent): Query<AgentQuery>,
    headers: HeaderMap,
    opening: Opening,
) -> Result<Response, ApiError> {
    let shape = Shape::asked(&query, agent.agent.as_deref(), &headers)?;
    let begin = job_begin(&query, &headers)?;
    one_stream((&events, &streams, opening), (&project, &stream), begin, shape).await
}

/// Create a ticket to read the project's events.
///
/// As `POST /events/ticket` for the path of the project's stream: the ticket opens each stream of the project.
#[utoipa::path(post, path = "/projects/{project}/events/ticket", tag = "events", operation_id = "issue_ticket",
    params(ProjectPath),
    responses(
    (status = 200, description = "The ticket", body = Data<Ticket>),
    (status = 404, description = "There is no such project", body = ErrorBody)))]
pub(crate) async fn ticket(
    State(issuer): State<TicketIssuer>,
    State(tickets): State<Tickets>,
    Extension(key): Extension<Arc<AcceptedKey>>,
    InProject(project): InProject,
    Idempotency(idempotency): Idempotency,
) -> Result<Response, ApiError> {
    issue((&issuer, &tickets), &key, &StreamRef::Project(project), idempotency.as_ref()).await
}

async fn one_stream(
    (events, streams, opening): (&Events, &Streams, Opening),
    (project, stream): (&ProjectId, &StreamId),
    begin: JobBegin,
    shape: Shape,
) -> Result<Response, ApiError> {
    let subscription = events.follow_stream(project, stream, begin).await?;
    Ok(streams.subscription(opening, subscription, shape))
}
