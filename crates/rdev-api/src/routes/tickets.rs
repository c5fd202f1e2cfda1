//! Tickets for browsers.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use rdev_ports::{Clock, Occurrence, TaskQueue};
use rdev_services::Projects;
use serde::Serialize;
use utoipa::ToSchema;

use crate::envelope::{Data, replayed};
use crate::error::{ApiError, ErrorBody};
use crate::extract::{Caller, Idempotency, InProject};
use crate::tickets::{TICKET_LIFETIME, Tickets};

/// A ticket, to be used in a URL instead of a key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Ticket)]
pub(crate) struct TicketDto {
    /// For `?ticket=` on the project's event streams.
    ticket: String,
    /// Connections must be opened before; they may last longer.
    #[schema(format = DateTime)]
    expires_at: String,
}

/// A short-lived ticket to read the project's events.
///
/// For EventSource, which cannot send headers.
#[utoipa::path(post, path = "/projects/{project}/events/ticket", tag = "events", operation_id = "issue_ticket",
    params(("project" = String, Path, description = "Id of the project", example = "demo"),
        ("Idempotency-Key" = Option<String>, Header, nullable = false, description = "A repetition with the same key gives the first answer", min_length = 1, max_length = 255, pattern = "^[!-~]+$")),
    responses(
    (status = 200, description = "The ticket", body = Data<TicketDto>, headers(("Idempotent-Replayed" = Option<String>, description = "`true` on the answer to a repetition"))),
    (status = 404, description = "There is no such project", body = ErrorBody),
    (status = 409, description = "The idempotency key was used for another request", body = ErrorBody),
    (status = 422, description = "The idempotency key is not valid", body = ErrorBody)))]
pub(crate) async fn issue(
    State(projects): State<Projects>,
    State(tickets): State<Tickets>,
    State(queue): State<Arc<dyn TaskQueue>>,
    State(clock): State<Arc<dyn Clock>>,
    Caller(caller): Caller,
    InProject(project): InProject,
    Idempotency(key): Idempotency,
) -> Result<Response, ApiError> {
    projects.get(&project).await?;
    let now = clock.now();
    // A ticket is a function of its time, so the first answer can be given again without being stored.
    let first = match &key {
        Some(key) => queue.first_use(key, now).await?,
        None => now,
    };
    let asked = if first < now { Occurrence::Repeated } else { Occurrence::First };
    let expires = first + TICKET_LIFETIME;
    let ticket = tickets.issue(&caller.key, &project, expires);
    let body = Data::new(TicketDto { ticket, expires_at: expires.to_string() });
    Ok((replayed(asked), body).into_response())
}
