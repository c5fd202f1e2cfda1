//! Tasks of the pool: accepting, reading, cancelling, retrying.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rdev_domain::{Job, JobId, JobStatus, ProjectId, TaskKind, Validate};
use rdev_ports::{Clock, TaskFilter};
use rdev_services::{Events, Pool, SubmitTask, Tasks};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::envelope::{Data, List, replayed};
use crate::error::{ApiError, ErrorBody};
use crate::extract::{Caller, Idempotency, JsonBody, Query, TaskPath, page_cursor, page_limit};
use crate::routes::commands::Queued;
use crate::routes::events::{After, answer, event_number, last_event_id};
use crate::routes::output;
use crate::routes::work::{LeftDto, TaskBody, TaskDto};
use crate::sse::agent::AgentForm;
use crate::sse::payload::ServerSentEvent;
use crate::sse::{Opening, Streams};

/// `?status=` of the tasks that have used up their attempts.
const DEAD: &str = "dead";

/// Add a task. It runs in the next worker of the pool that is free.
#[utoipa::path(post, path = "/queue/tasks", tag = "queue", operation_id = "add_task",
    request_body = TaskBody, params(
        ("Idempotency-Key" = Option<String>, Header, nullable = false, description = "A repetition with the same key gives the first answer", min_length = 1, max_length = 255, pattern = "^[!-~]+$")),
    responses(
    (status = 202, description = "Stored: it will run", body = Data<TaskDto>, headers(("Location" = String, description = "Where the task is read"), ("Idempotent-Replayed" = Option<String>, description = "`true` on the answer to a repetition"))),
    (status = 409, description = "The idempotency key was used for another request", body = ErrorBody),
    (status = 422, description = "Fields are not valid: `details` names each", body = ErrorBody)))]
pub(crate) async fn submit(
    State(tasks): State<Tasks>,
    Caller(caller): Caller,
    JsonBody { body, idempotency }: JsonBody<TaskBody>,
) -> Result<Response, ApiError> {
    let (submit, noted) = body.read();
    let (task, asked) = tasks.submit(&caller, SubmitTask { idempotency, ..submit }, noted).await?;
    let location = [(header::LOCATION, format!("/queue/tasks/{}", task.id))];
    let body = with_details(&tasks, task).await?;
    Ok((StatusCode::ACCEPTED, replayed(asked), location, body).into_response())
}

/// Which tasks.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TaskPage {
    /// `pending`, `running`, `completed`, `failed`, `cancelled`, `timed_out`; or `dead`: failed or timed out,
    /// with no attempt left.
    #[param(pattern = "^(pending|running|completed|failed|cancelled|timed_out|dead)$")]
    status: Option<String>,
    /// `build`, `test`, `deploy` or `shell`.
    #[param(pattern = "^(build|test|deploy|shell)$")]
    kind: Option<String>,
    /// The project that they are done for.
    #[param(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    project: Option<String>,
    /// Most entries of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// `meta.next_cursor` of the page before.
    #[param(pattern = "^cmd-[0-9a-f]{32}$")]
    cursor: Option<String>,
}

impl TaskPage {
    fn filter(&self) -> Result<TaskFilter, ApiError> {
        let mut validate = Validate::default();
        let statuses = match self.status.as_deref() {
            None => Vec::new(),
            Some(DEAD) => vec![JobStatus::Failed, JobStatus::TimedOut],
            Some(name) => JobStatus::parse(name).map_or_else(
                || {
                    validate.fail("status", "accepted is the name of a status, or dead");
                    Vec::new()
                },
                |status| vec![status],
            ),
        };
        let kind = self.kind.as_deref().and_then(|name| {
            let kind = TaskKind::parse(name);
            if kind.is_none() {
                validate.fail("kind", "accepted is build, test, deploy or shell");
            }
            kind
        });
        let project: Option<ProjectId> =
            self.project.as_deref().and_then(|project| validate.parse("project", project));
        validate.finish()?;
        Ok(TaskFilter { statuses, kind, project })
    }
}

/// Tasks, newest first.
#[utoipa::path(get, path = "/queue/tasks", tag = "queue", operation_id = "list_tasks", params(TaskPage), responses(
    (status = 200, description = "A page of tasks", body = List<TaskDto>),
    (status = 422, description = "A parameter is not valid", body = ErrorBody)))]
pub(crate) async fn list(
    State(tasks): State<Tasks>,
    Query(page): Query<TaskPage>,
) -> Result<List<TaskDto>, ApiError> {
    let limit = page_limit(page.limit)?;
    let before: Option<JobId> = page_cursor(page.cursor.as_deref())?;
    let tasks = tasks.list(&page.filter()?, before.as_ref(), limit + 1).await?;
    let tasks = tasks.into_iter().map(TaskDto::from).collect();
    Ok(List::page(tasks, limit as usize, |task| task.id.clone()))
}

/// One task.
#[utoipa::path(get, path = "/queue/tasks/{task_id}", tag = "queue", operation_id = "get_task",
    params(("task_id" = String, Path, description = "Id of the task")), responses(
    (status = 200, description = "The task", body = Data<TaskDto>),
    (status = 404, description = "There is no such task", body = ErrorBody)))]
pub(crate) async fn get(
    State(tasks): State<Tasks>,
    TaskPath(id): TaskPath,
) -> Result<Data<TaskDto>, ApiError> {
    let task = tasks.get(&id).await?;
    with_details(&tasks, task).await
}

/// A task's events, over all of its attempts.
#[utoipa::path(get, path = "/queue/tasks/{task_id}/events", tag = "queue", operation_id = "task_events",
    params(("task_id" = String, Path, description = "Id of the task"), After,
           ("Last-Event-ID" = Option<String>, Header, nullable = false, description = "Begin after this event", pattern = "^([0-9]{1,18})?$")), responses(
    (status = 200, description = "Events as they are stored; ends after `complete`", content_type = "text/event-stream", body = ServerSentEvent),
    (status = 204, description = "The stream is over, and the subscriber has all of it"),
    (status = 404, description = "There is no such task", body = ErrorBody),
    (status = 422, description = "A parameter is not valid", body = ErrorBody)))]
pub(crate) async fn events(
    State(tasks): State<Tasks>,
    State(events): State<Events>,
    State(streams): State<Streams>,
    TaskPath(id): TaskPath,
    Query(after): Query<After>,
    headers: HeaderMap,
    opening: Opening,
) -> Result<Response, ApiError> {
    let after = last_event_id(after.last_event_id.as_deref(), &headers, event_number)?;
    let following = events.follow_on(&tasks.get(&id).await?, after).await?;
    // What runs in the pool is no agent.
    Ok(answer(&streams, opening, following, after, AgentForm::Raw))
}

/// The whole output, of all attempts: bytes as written, or with `Accept: application/x-ndjson` the data of every
/// event, one JSON object a line.
#[utoipa::path(get, path = "/queue/tasks/{task_id}/output", tag = "queue", operation_id = "get_task_output",
    params(("task_id" = String, Path, description = "Id of the task")), responses(
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
    output::answer(tasks.output(&id).await?, &headers).await
}

/// Ask for a task's end. Asking again, or after its end, changes nothing.
#[utoipa::path(post, path = "/queue/tasks/{task_id}/cancel", tag = "queue", operation_id = "cancel_task",
    params(("task_id" = String, Path, description = "Id of the task"),
        ("Idempotency-Key" = Option<String>, Header, nullable = false, description = "A repetition with the same key gives the first answer", min_length = 1, max_length = 255, pattern = "^[!-~]+$")),
    responses(
    (status = 200, description = "The task as it stands now; its complete event tells its end", body = Data<TaskDto>, headers(("Idempotent-Replayed" = Option<String>, description = "`true` on the answer to a repetition"))),
    (status = 404, description = "There is no such task", body = ErrorBody),
    (status = 409, description = "The idempotency key was used for another request", body = ErrorBody),
    (status = 422, description = "The idempotency key is not valid", body = ErrorBody)))]
pub(crate) async fn cancel(
    State(tasks): State<Tasks>,
    TaskPath(id): TaskPath,
    Idempotency(key): Idempotency,
) -> Result<Response, ApiError> {
    let (task, asked) = tasks.cancel(&id, key).await?;
    Ok((replayed(asked), Data::new(TaskDto::from(task))).into_response())
}

/// Have a task that has ended run again: one more round, of as many attempts as it had at first. Its stream goes on
/// where it was.
///
/// Without an `Idempotency-Key`, a repetition after the round has ended is one more round.
#[utoipa::path(post, path = "/queue/tasks/{task_id}/retry", tag = "queue", operation_id = "retry_task",
    params(("task_id" = String, Path, description = "Id of the task"),
        ("Idempotency-Key" = Option<String>, Header, nullable = false, description = "A repetition with the same key is not done again: it gives the task as it stands", min_length = 1, max_length = 255, pattern = "^[!-~]+$")),
    responses(
    (status = 200, description = "The task waits again", body = Data<TaskDto>, headers(("Idempotent-Replayed" = Option<String>, description = "`true` on the answer to a repetition"))),
    (status = 404, description = "There is no such task", body = ErrorBody),
    (status = 409, description = "It has not ended, or the idempotency key was used for another request", body = ErrorBody),
    (status = 422, description = "The idempotency key is not valid", body = ErrorBody)))]
pub(crate) async fn retry(
    State(tasks): State<Tasks>,
    TaskPath(id): TaskPath,
    Idempotency(key): Idempotency,
) -> Result<Response, ApiError> {
    let (task, asked) = tasks.retry(&id, key).await?;
    Ok((replayed(asked), with_details(&tasks, task).await?).into_response())
}

async fn with_details(tasks: &Tasks, task: Job) -> Result<Data<TaskDto>, ApiError> {
    let queue = tasks.waiting(&task).await?.map(Queued::from);
    let left = match task.spec.artefacts() {
        [] => None,
        _ => Some(LeftDto::of(&tasks.artefacts(&task).await?)),
    };
    Ok(Data::new(TaskDto::from(task).with(queue, left)))
}

/// The queue in numbers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueueStats)]
pub(crate) struct StatsDto {
    /// Tasks by status.
    #[schema(example = json!({"pending": 3, "running": 2, "completed": 40}))]
    by_status: BTreeMap<&'static str, u64>,
    /// Tasks by kind, each by status.
    #[schema(example = json!({"test": {"pending": 3}}))]
    by_kind: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// Tasks that failed or timed out, and have no attempt left.
    dead: u64,
    /// How long the oldest task has waited that waits; null when none does.
    oldest_waiting_ms: Option<u64>,
    /// Tasks that run.
    running: u64,
    /// Workers that have a task.
    workers_busy: usize,
    /// Workers that could take one.
    workers_free: usize,
    /// From acceptance, or from `run_after`, to the start, of the newest tasks that have ended; null without any.
    wait_ms: Option<WaitDto>,
}

/// How long tasks waited.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueueWait)]
pub(crate) struct WaitDto {
    /// How many tasks this is about.
    tasks: usize,
    p50: u64,
    p95: u64,
    max: u64,
}

impl WaitDto {
    fn of(ascending_us: &[i64]) -> Option<Self> {
        let last = ascending_us.len().checked_sub(1)?;
        let at = |percent: usize| ascending_us[last * percent / 100].max(0).unsigned_abs() / 1000;
        Some(Self { tasks: last + 1, p50: at(50), p95: at(95), max: at(100) })
    }
}

/// The queue in numbers.
#[utoipa::path(get, path = "/queue/stats", tag = "queue", operation_id = "queue_stats", responses(
    (status = 200, description = "The queue in numbers", body = Data<StatsDto>)))]
pub(crate) async fn stats(
    State(tasks): State<Tasks>,
    State(pool): State<Pool>,
    State(clock): State<Arc<dyn Clock>>,
) -> Result<Data<StatsDto>, ApiError> {
    let (stats, seats) = (tasks.stats().await?, pool.seats().await?);
    let (mut by_status, mut by_kind) = (BTreeMap::new(), BTreeMap::<_, BTreeMap<_, u64>>::new());
    for (kind, status, count) in stats.counts {
        *by_status.entry(status.as_str()).or_default() += count;
        by_kind.entry(kind.as_str()).or_default().insert(status.as_str(), count);
    }
    let count = |status: JobStatus| by_status.get(status.as_str()).copied().unwrap_or(0);
    let age = |at| u64::try_from(clock.now().since(at).as_millis()).unwrap_or(u64::MAX);
    Ok(Data::new(StatsDto {
        dead: count(JobStatus::Failed) + count(JobStatus::TimedOut),
        running: count(JobStatus::Running),
        oldest_waiting_ms: stats.oldest_waiting.map(age),
        workers_busy: seats.busy,
        workers_free: seats.idle,
        wait_ms: WaitDto::of(&stats.waits_us),
        by_status,
        by_kind,
    }))
}
