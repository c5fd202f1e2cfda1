//! Operations: reading, following, cancelling, retrying. They are accepted by the routes of what they work on.

pub(crate) mod convert;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use rdev_api_types as types;
use rdev_api_types::{
    Data, ErrorBody, LastEventIdHeader, List, OperationPage, StreamEvent, StreamItem, SubscriptionQuery,
    WaitQuery,
};
use rdev_domain::{IdError, JobId};
use rdev_ports::JobFilter;
use rdev_services::{ListJobs, Operations};

use self::convert::shown;
use crate::envelope::{data, page, replayed};
use crate::error::ApiError;
use crate::extract::{Idempotency, OperationPath, Query, Wait, page_cursor, page_limit};
use crate::routes::begin::{job_begin, since};
use crate::sse::{Opening, Shape, Streams};

/// List operations, newest first.
#[utoipa::path(get, path = "/operations", tag = "operations", operation_id = "list_operations", params(OperationPage), responses(
    (status = 200, description = "A page of operations", body = List<types::Operation>)))]
pub(crate) async fn list(
    State(operations): State<Operations>,
    Query(query): Query<OperationPage>,
) -> Result<Json<List<types::Operation>>, ApiError> {
    let limit = page_limit(query.limit)?;
    let before: Option<JobId> = page_cursor(query.cursor.as_deref())?;
    let parse = |project: &str| {
        project.parse().map_err(|error: IdError| ApiError::invalid_field("project", error.to_string()))
    };
    let project = query.project.as_deref().map(parse).transpose()?;
    let filter = JobFilter { project, ..JobFilter::default() };
    let list = ListJobs { filter, since: since(query.since.as_deref())? };
    let operations = operations.list(list, before.as_ref(), limit + 1).await?;
    let operations = operations.iter().map(shown).collect();
    Ok(page(operations, limit, |operation| operation.accepted.operation_id.clone()))
}

/// Get one operation, with its steps; with `wait`, at its end.
#[utoipa::path(get, path = "/operations/{operation_id}", tag = "operations", operation_id = "get_operation",
    params(types::OperationPath, WaitQuery), responses(
    (status = 200, description = "The operation", body = Data<types::Operation>),
    (status = 404, description = "There is no such operation", body = ErrorBody)))]
pub(crate) async fn get(
    State(operations): State<Operations>,
    OperationPath(id): OperationPath,
    wait: Wait,
) -> Result<Json<Data<types::Operation>>, ApiError> {
    let operation = match wait.answer(operations.view(&id, wait.longest)).await {
        Some(operation) => operation?,
        None => operations.view(&id, None).await?,
    };
    Ok(data(shown(&operation)))
}

/// Stream an operation's events, over all of its rounds.
///
/// Each change of a step is a `step` event.
#[utoipa::path(get, path = "/operations/{operation_id}/events", tag = "operations", operation_id = "operation_events",
    params(types::OperationPath, SubscriptionQuery,
           LastEventIdHeader), responses(
    (status = 200, description = "Events as they are stored; ends after `complete`", content(
        (StreamEvent = "text/event-stream"),
        (StreamItem = "application/x-ndjson"))),
    (status = 204, description = "The stream is over, and the subscriber has all of it"),
    (status = 404, description = "There is no such operation", body = ErrorBody)))]
pub(crate) async fn events(
    State(operations): State<Operations>,
    State(streams): State<Streams>,
    OperationPath(id): OperationPath,
    Query(query): Query<SubscriptionQuery>,
    headers: HeaderMap,
    opening: Opening,
) -> Result<Response, ApiError> {
    let shape = Shape::asked(&query, None, &headers)?;
    let subscription = operations.follow(&id, job_begin(&query, &headers)?).await?;
    Ok(streams.subscription(opening, subscription, shape))
}

/// Cancel an operation.
///
/// The running step is finished, then everything that was made is taken back. A deletion that has begun to remove files
/// goes on to its end. A second request, or one after the operation's end, changes nothing.
#[utoipa::path(post, path = "/operations/{operation_id}/cancel", tag = "operations", operation_id = "cancel_operation",
    params(types::OperationPath),
    responses(
    (status = 200, description = "The operation as it stands now; its complete event tells its end", body = Data<types::Operation>),
    (status = 404, description = "There is no such operation", body = ErrorBody)))]
pub(crate) async fn cancel(
    State(operations): State<Operations>,
    OperationPath(id): OperationPath,
    Idempotency(key): Idempotency,
) -> Result<Response, ApiError> {
    let (operation, asked) = operations.cancel(&id, key).await?;
    Ok((replayed(asked), data(shown(&operation))).into_response())
}

/// Retry an operation that ended without success.
///
/// The operation goes on where it stopped: failed steps, and those that were taken back, are made again, and stuck ones
/// are taken back again. Its stream goes on where it ended.
#[utoipa::path(post, path = "/operations/{operation_id}/retry", tag = "operations", operation_id = "retry_operation",
    params(types::OperationPath),
    responses(
    (status = 200, description = "The operation goes on", body = Data<types::Operation>),
    (status = 404, description = "There is no such operation", body = ErrorBody),
    (status = 409, description = "It has not ended, or has completed, another one of its project has not ended, or the idempotency key was used for another request", body = ErrorBody)))]
pub(crate) async fn retry(
    State(operations): State<Operations>,
    OperationPath(id): OperationPath,
    Idempotency(key): Idempotency,
) -> Result<Response, ApiError> {
    let (operation, asked) = operations.retry(&id, key).await?;
    Ok((replayed(asked), data(shown(&operation))).into_response())
}
