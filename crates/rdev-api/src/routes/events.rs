//! The stream over all that a key may see, and tickets for browsers to read streams.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use rdev_api_types::{
    AgentQuery, Data, ErrorBody, LastEventIdHeader, StreamEvent, StreamItem, SubscriptionQuery, Ticket,
    TicketBody,
};
use rdev_domain::IdempotencyKey;
use rdev_services::{Events, StreamRef, TicketIssuer};

use crate::access::check_scope;
use crate::convert::time;
use crate::envelope::{data, replayed};
use crate::error::ApiError;
use crate::extract::{JsonBody, Query};
use crate::keys::AcceptedKey;
use crate::routes::begin::log_begin;
use crate::sse::{Opening, Shape, Streams};
use crate::stream_path::stream_at;
use crate::tickets::{TICKET_LIFETIME, Tickets};

/// Stream the events of everything that the key may see.
///
/// Commands of all projects, tasks and operations, in one order. Ids are opaque, and resume.
#[utoipa::path(get, path = "/events", tag = "events", operation_id = "all_events",
    params(SubscriptionQuery, AgentQuery, LastEventIdHeader), responses(
    (status = 200, description = "Events as they are stored; ends when the server stops", content(
        (StreamEvent = "text/event-stream"),
        (StreamItem = "application/x-ndjson")))))]
pub(crate) async fn all(
    State(events): State<Events>,
    State(streams): State<Streams>,
    Query(query): Query<SubscriptionQuery>,
    Query(agent): Query<AgentQuery>,
    headers: HeaderMap,
    opening: Opening,
) -> Result<Response, ApiError> {
    let shape = Shape::asked(&query, agent.agent.as_deref(), &headers)?;
    let (begin, asked) = log_begin(&query, &headers)?;
    let view = events.follow_all(shape.types.has_output(), begin).await?;
    Ok(streams.log(opening, view, asked, shape))
}

/// Create a ticket to read one event stream.
///
/// EventSource cannot send headers: its URL carries the ticket. It is good for an hour, and the stream sends the next one.
#[utoipa::path(post, path = "/events/ticket", tag = "events", operation_id = "create_ticket",
    request_body = TicketBody,
    responses(
    (status = 200, description = "The ticket", body = Data<Ticket>),
    (status = 404, description = "There is no such stream", body = ErrorBody),
    (status = 422, description = "The path is no stream's: `details` names it", body = ErrorBody)))]
pub(crate) async fn ticket(
    State(issuer): State<TicketIssuer>,
    State(tickets): State<Tickets>,
    Extension(key): Extension<Arc<AcceptedKey>>,
    JsonBody { body, idempotency }: JsonBody<TicketBody>,
) -> Result<Response, ApiError> {
    let path: Result<Uri, String> = body.path.parse().map_err(|_| "it is no path".to_owned());
    let stream =
        path.and_then(|path| stream_at(&path)).map_err(|why| ApiError::invalid_field("path", why))?;
    issue((&issuer, &tickets), &key, &stream, idempotency.as_ref()).await
}

/// Issues a ticket for a stream, where the holder of the key may read it.
pub(super) async fn issue(
    (issuer, tickets): (&TicketIssuer, &Tickets),
    key: &AcceptedKey,
    stream: &StreamRef,
    idempotency: Option<&IdempotencyKey>,
) -> Result<Response, ApiError> {
    check_scope(key.principal(), stream.scope())?;
    let (issued_at, asked) = issuer.issue(stream, idempotency).await?;
    let expires = issued_at + TICKET_LIFETIME;
    let ticket = tickets.issue(key, stream, expires);
    let body = data(Ticket { ticket, expires_at: time(expires) });
    // A ticket is as good as a key: no cache and no store keeps it.
    Ok((replayed(asked), [(header::CACHE_CONTROL, "no-store")], body).into_response())
}
