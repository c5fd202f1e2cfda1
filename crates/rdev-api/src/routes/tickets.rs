//! Tickets for browsers.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use rdev_api_types::{Data, ErrorBody, IdempotencyKeyHeader, ProjectPath, Ticket};
use rdev_ports::{Clock, Occurrence, TaskQueue};
use rdev_services::Projects;

use crate::envelope::{data, replayed};
use crate::error::ApiError;
use crate::extract::{Caller, Idempotency, InProject};
use crate::routes::progress::time;
use crate::tickets::{TICKET_LIFETIME, Tickets};

/// A short-lived ticket to read the project's events.
///
/// For EventSource, which cannot send headers.
#[utoipa::path(post, path = "/projects/{project}/events/ticket", tag = "events", operation_id = "issue_ticket",
    params(ProjectPath,
        IdempotencyKeyHeader),
    responses(
    (status = 200, description = "The ticket", body = Data<Ticket>, headers(("Idempotent-Replayed" = Option<String>, description = "`true` on the answer to a repetition"))),
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
    let body = data(Ticket { ticket, expires_at: time(expires) });
    Ok((replayed(asked), body).into_response())
}
