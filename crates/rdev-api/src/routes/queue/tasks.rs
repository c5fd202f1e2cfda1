//! Tasks of the pool: accepting, reading, cancelling, retrying.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rdev_api_types as types;
use rdev_api_types::{
    Data, ErrorBody, LastEventIdHeader, List, ReplyQuery, StreamEvent, StreamItem, SubscriptionQuery,
    TaskBody, TaskPage, TaskStreamQuery, WaitQuery,
};
use rdev_domain::{JobId, JobKind, JobStatus, ProjectId, Validate};
use rdev_ports::JobFilter;
use rdev_services::{ListJobs, SubmitTask, TaskView, Tasks};

use super::artefacts;
use super::convert::{TASK_TYPES, read, shown, task_kind};
use crate::envelope::{data, page, replayed};
use crate::error::{ApiError, quoted};
use crate::extract::{
    Caller, Idempotency, JsonBody, Query, TaskPath, Wait, page_cursor, page_limit, stream_filter,
};
use crate::routes::begin::{job_begin, since};
use crate::routes::reply_as::ReplyAs;
use crate::sse::{Opening, Shape, Streams, stored_output};

/// Add a task.
///
/// The task runs in the next free worker of the pool. With `Accept: text/event-stream`, or `application/x-ndjson`, the answer
/// is the task's event stream.
#[utoipa::path(post, path = "/queue/tasks", tag = "queue", operation_id = "add_task",
    request_body = TaskBody, params(ReplyQuery),
    responses(
    (status = 202, description = "Acceptance: the task is stored and will run", body = Data<types::Task>, headers(("Location" = String, description = "Path of the task"))),
    (status = 409, description = "The project that the task is done for is being deleted, or the idempotency key was used for another request", body = ErrorBody),
    (status = 422, description = "Fields are not valid: `details` names each", body = ErrorBody)))]
pub(crate) async fn submit(
    State(tasks): State<Tasks>,
    State(streams): State<Streams>,
    Caller(caller): Caller,
    reply_as: ReplyAs,
    JsonBody { body, idempotency }: JsonBody<TaskBody>,
) -> Result<Response, ApiError> {
    let (submit, noted) = read(body);
    let submit = SubmitTask { idempotency, ..submit };
    let (id, asked, reply) = match reply_as {
        ReplyAs::Accepted => {
            let (task, asked) = tasks.submit(&caller, submit, noted).await?;
            (task.job.id.clone(), asked, (StatusCode::ACCEPTED, view(task)).into_response())
        }
        ReplyAs::Events(opening, shape) => {
            let (task, asked, reader) = tasks.submit_and_follow(&caller, submit, noted).await?;
            (task.id, asked, streams.command(opening, reader, shape))
        }
    };
    let location = [(header::LOCATION, format!("/queue/tasks/{id}"))];
    Ok((replayed(asked), location, reply).into_response())
}

/// Reads the filter of a page.
fn list_of(page: &TaskPage) -> Result<ListJobs, ApiError> {
    let mut validate = Validate::default();
    let statuses = page.status.as_ref().and_then(|wanted| {
        let status = wanted.known().and_then(|status| JobStatus::parse(status.as_str()));
        if status.is_none() {
            let shown = quoted(&wanted.to_string());
            let accepted: Vec<_> = types::Status::ALL.iter().map(|status| status.as_str()).collect();
            validate.fail("status", format!("{shown} is not valid: {}", accepted.join(", ")));
        }
        status
    });
    let kind = page.kind.as_ref().and_then(|wanted| {
        let kind = wanted.known().and_then(task_kind);
        if kind.is_none() {
            validate.fail("type", format!("{} is not valid: {TASK_TYPES}", quoted(&wanted.to_string())));
        }
        kind
    });
    let project: Option<ProjectId> =
        page.project.as_deref().and_then(|project| validate.parse("project", project));
    validate.finish()?;
    let stream = page.stream_id.as_deref().map(stream_filter).transpose()?;
    let statuses = statuses.into_iter().collect();
    let filter = JobFilter { statuses, kind: kind.map(JobKind::Task), project, stream, from: None };
    Ok(ListJobs { filter, since: since(page.since.as_deref())? })
}

/// List tasks, newest first.
///
/// A cursor is independent of the filters: it goes on before a task, under any of them.
#[utoipa::path(get, path = "/queue/tasks", tag = "queue", operation_id = "list_tasks", params(TaskPage), responses(
    (status = 200, description = "A page of tasks", body = List<types::Task>)))]
pub(crate) async fn list(
    State(tasks): State<Tasks>,
    Query(query): Query<TaskPage>,
) -> Result<Json<List<types::Task>>, ApiError> {
    let limit = page_limit(query.limit)?;
    let before: Option<JobId> = page_cursor(query.cursor.as_deref())?;
    let tasks = tasks.list(list_of(&query)?, before.as_ref(), limit + 1).await?;
    let tasks = tasks.iter().map(|task| shown(task, None, None)).collect();
    Ok(page(tasks, limit, |task| task.id.clone()))
}

/// Get one task; with `wait`, at its end.
#[utoipa::path(get, path = "/queue/tasks/{task_id}", tag = "queue", operation_id = "get_task",
    params(types::TaskPath, WaitQuery), responses(
    (status = 200, description = "The task", body = Data<types::Task>),
    (status = 404, description = "There is no such task", body = ErrorBody)))]
pub(crate) async fn get(
    State(tasks): State<Tasks>,
    TaskPath(id): TaskPath,
    wait: Wait,
) -> Result<Json<Data<types::Task>>, ApiError> {
    let task = match wait.answer(tasks.view(&id, wait.longest)).await {
        Some(task) => task?,
        None => tasks.view(&id, None).await?,
    };
    Ok(view(task))
}

/// Stream a task's events, over all of its attempts.
#[utoipa::path(get, path = "/queue/tasks/{task_id}/events", tag = "queue", operation_id = "task_events",
    params(types::TaskPath, TaskStreamQuery, SubscriptionQuery,
           LastEventIdHeader), responses(
    (status = 200, description = "Events as they are stored; ends after `complete`", content(
        (StreamEvent = "text/event-stream"),
        (StreamItem = "application/x-ndjson"))),
    (status = 204, description = "The stream is over, and the subscriber has all of it"),
    (status = 404, description = "There is no such task, or `stream_id` is not that of its stream", body = ErrorBody)))]
pub(crate) async fn events(
    State(tasks): State<Tasks>,
    State(streams): State<Streams>,
    TaskPath(id): TaskPath,
    Query(stream): Query<TaskStreamQuery>,
    Query(query): Query<SubscriptionQuery>,
    headers: HeaderMap,
    opening: Opening,
) -> Result<Response, ApiError> {
    let shape = Shape::asked(&query, None, &headers)?;
    let begin = job_begin(&query, &headers)?;
    let subscription = tasks.follow(&id, stream.stream_id.as_deref(), begin).await?;
    Ok(streams.subscription(opening, subscription, shape))
}

/// Get a task's output, of all attempts.
///
/// Returns the bytes as written; with `Accept: application/x-ndjson` the data of every event, one JSON object a line.
#[utoipa::path(get, path = "/queue/tasks/{task_id}/output", tag = "queue", operation_id = "get_task_output",
    params(types::TaskPath), responses(
    (status = 200, description = "The output", content(
        (String = "text/plain", example = "+ make\n"),
        (String = "application/x-ndjson")),
        headers(("Rdev-Gap" = Option<String>, description = "Numbers of the first and the last event that retention has removed, such as `1-4711`"))),
    (status = 404, description = "There is no such task", body = ErrorBody)))]
pub(crate) async fn output(
    State(tasks): State<Tasks>,
    TaskPath(id): TaskPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    stored_output(tasks.output(&id).await?, &headers).await
}

/// Cancel a task.
///
/// A second request, or one after the task's end, changes nothing.
#[utoipa::path(post, path = "/queue/tasks/{task_id}/cancel", tag = "queue", operation_id = "cancel_task",
    params(types::TaskPath),
    responses(
    (status = 200, description = "The task as it stands now; its complete event tells its end", body = Data<types::Task>),
    (status = 404, description = "There is no such task", body = ErrorBody)))]
pub(crate) async fn cancel(
    State(tasks): State<Tasks>,
    TaskPath(id): TaskPath,
    Idempotency(key): Idempotency,
) -> Result<Response, ApiError> {
    let (task, asked) = tasks.cancel(&id, key).await?;
    Ok((replayed(asked), data(shown(&task, None, None))).into_response())
}

/// Retry a task that has ended.
///
/// Adds one round of as many attempts as the task had at first; its stream goes on where it ended. Without an
/// `Idempotency-Key`, a second request after the round has ended adds one more round.
#[utoipa::path(post, path = "/queue/tasks/{task_id}/retry", tag = "queue", operation_id = "retry_task",
    params(types::TaskPath),
    responses(
    (status = 200, description = "The task waits again", body = Data<types::Task>),
    (status = 404, description = "There is no such task", body = ErrorBody),
    (status = 409, description = "The task has not ended, its project is being deleted, or the idempotency key was used for another request", body = ErrorBody)))]
pub(crate) async fn retry(
    State(tasks): State<Tasks>,
    TaskPath(id): TaskPath,
    Idempotency(key): Idempotency,
) -> Result<Response, ApiError> {
    let (task, asked) = tasks.retry(&id, key).await?;
    Ok((replayed(asked), view(task)).into_response())
}

/// Shows a task with its position and the counts of its files.
fn view(view: TaskView) -> Json<Data<types::Task>> {
    let artefacts = view.artefacts.as_deref().map(artefacts::summary);
    data(shown(&view.job, view.queue, artefacts))
}
