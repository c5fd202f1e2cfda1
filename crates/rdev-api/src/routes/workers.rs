//! The workers of the pool.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use rdev_domain::ProjectStatus;
use rdev_services::{Pool, PoolUsage, WorkerView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::envelope::{Data, List, replayed};
use crate::error::{ApiError, ErrorBody};
use crate::extract::{Idempotency, JsonBody, WorkerPath};
use crate::routes::projects::NotReady;

/// A worker of the pool.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Worker)]
pub(crate) struct WorkerDto {
    /// The name of its pod, or of its slot on this machine.
    #[schema(example = "slot-1")]
    id: String,
    /// `ready`, `busy` with as many tasks as it takes, `starting`, `failing`, or `gone` with its pod.
    #[schema(example = "ready")]
    status: &'static str,
    /// Whether it takes nothing new.
    draining: bool,
    /// How many tasks it runs at once.
    #[schema(example = 1)]
    capacity: u32,
    /// How many run in it.
    busy: usize,
    /// The tasks that run in it.
    #[schema(example = json!(["cmd-0199d7e8c0de7000a0b1c2d3e4f50617"]))]
    task_ids: Vec<String>,
    /// Why it is not ready, in one word of the cluster's own; `NotReachable` where its pod is ready and no program can be
    /// started in it, `NotYetReached` until that has been tried.
    /// Or what is wrong although it is: `OomGroup`, its tasks are ended together when one of them needs too much memory.
    #[schema(example = "ImagePullBackOff")]
    reason: Option<String>,
    /// The same for people.
    message: Option<String>,
    /// Since when it is so.
    #[schema(format = DateTime)]
    since: Option<String>,
}

impl From<WorkerView> for WorkerDto {
    fn from(worker: WorkerView) -> Self {
        let status = match worker.status {
            ProjectStatus::Ready if worker.free() == 0 => "busy",
            ProjectStatus::Ready => "ready",
            ProjectStatus::Starting(_) => "starting",
            ProjectStatus::Failing(_) => "failing",
            ProjectStatus::Gone(_) => "gone",
        };
        let NotReady { reason, message, since } = NotReady::of(worker.status, worker.warning);
        Self {
            id: worker.name.to_string(),
            status,
            draining: worker.draining,
            capacity: worker.capacity,
            busy: worker.tasks.len(),
            task_ids: worker.tasks.iter().map(ToString::to_string).collect(),
            reason,
            message,
            since,
        }
    }
}

/// The pool as a whole.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Pool)]
pub(crate) struct PoolDto {
    /// Tasks that can run at once, in workers that are ready, and take new ones.
    capacity: usize,
    /// Tasks that run.
    busy: usize,
    /// Tasks that could begin now.
    idle: usize,
    /// Workers that take nothing new.
    draining: usize,
    /// Workers that are not ready.
    not_ready: usize,
    /// Tasks that wait.
    queue_depth: u64,
}

/// The workers of the pool, by name.
#[utoipa::path(get, path = "/workers", tag = "workers", operation_id = "list_workers", responses(
    (status = 200, description = "All workers", body = List<WorkerDto>)))]
pub(crate) async fn list(State(pool): State<Pool>) -> Result<List<WorkerDto>, ApiError> {
    Ok(List::whole(pool.workers().await?.into_iter().map(WorkerDto::from).collect()))
}

/// The pool as a whole.
#[utoipa::path(get, path = "/workers/pool", tag = "workers", operation_id = "get_pool", responses(
    (status = 200, description = "The pool", body = Data<PoolDto>)))]
pub(crate) async fn pool(State(pool): State<Pool>) -> Result<Data<PoolDto>, ApiError> {
    let PoolUsage { capacity, busy, idle, draining, not_ready } = pool.usage().await?;
    let queue_depth = pool.backlog().await?.waiting();
    Ok(Data::new(PoolDto { capacity, busy, idle, draining, not_ready, queue_depth }))
}

/// One worker.
#[utoipa::path(get, path = "/workers/{worker_id}", tag = "workers", operation_id = "get_worker",
    params(("worker_id" = String, Path, description = "The worker's name", example = "slot-1")), responses(
    (status = 200, description = "The worker", body = Data<WorkerDto>),
    (status = 404, description = "There is no such worker", body = ErrorBody)))]
pub(crate) async fn get(
    State(pool): State<Pool>,
    WorkerPath(name): WorkerPath,
) -> Result<Data<WorkerDto>, ApiError> {
    Ok(Data::new(pool.worker(&name).await?.into()))
}

/// Whether a worker is to take nothing new.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrainBody {
    /// `false` has it take tasks again.
    #[serde(default = "yes")]
    #[schema(default = true)]
    drain: bool,
}

fn yes() -> bool {
    true
}

/// Have a worker take nothing new, or with `{"drain": false}` tasks again. What runs in it goes on. It holds over
/// restarts, until it is said otherwise.
#[utoipa::path(post, path = "/workers/{worker_id}/drain", tag = "workers", operation_id = "drain_worker",
    request_body = Option<DrainBody>, params(("worker_id" = String, Path, description = "The worker's name", example = "slot-1"),
        ("Idempotency-Key" = Option<String>, Header, nullable = false, description = "A repetition with the same key gives the first answer", min_length = 1, max_length = 255, pattern = "^[!-~]+$")),
    responses(
    (status = 200, description = "The worker as it stands now", body = Data<WorkerDto>, headers(("Idempotent-Replayed" = Option<String>, description = "`true` on the answer to a repetition"))),
    (status = 404, description = "There is no such worker", body = ErrorBody),
    (status = 409, description = "The idempotency key was used for another request", body = ErrorBody),
    (status = 422, description = "The idempotency key is not valid", body = ErrorBody)))]
pub(crate) async fn drain(
    State(pool): State<Pool>,
    WorkerPath(name): WorkerPath,
    Idempotency(key): Idempotency,
    body: Option<JsonBody<Option<DrainBody>>>,
) -> Result<Response, ApiError> {
    // The key of a request with a body is for that body.
    let (drain, key) =
        body.map_or((true, key), |body| (body.body.is_none_or(|body| body.drain), body.idempotency));
    let (worker, asked) = pool.set_draining(&name, drain, key).await?;
    Ok((replayed(asked), Data::new(WorkerDto::from(worker))).into_response())
}
