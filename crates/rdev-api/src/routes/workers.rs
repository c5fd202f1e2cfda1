//! The workers of the pool.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use rdev_api_types as types;
use rdev_api_types::{Data, DrainBody, ErrorBody, List, WorkerStatus};
use rdev_domain::ProjectStatus;
use rdev_services::{Pool, PoolUsage, PoolView, WorkerView};

use crate::convert::NotReady;
use crate::envelope::{data, replayed, whole};
use crate::error::ApiError;
use crate::extract::{Idempotency, JsonBody, WorkerPath};

/// Shows a worker.
fn shown(worker: WorkerView) -> types::Worker {
    let status = match worker.status {
        ProjectStatus::Ready if worker.free() == 0 => WorkerStatus::Busy,
        ProjectStatus::Ready => WorkerStatus::Ready,
        ProjectStatus::Starting(_) => WorkerStatus::Starting,
        ProjectStatus::Failing(_) => WorkerStatus::Failing,
        ProjectStatus::Gone(_) | ProjectStatus::Deleting => WorkerStatus::Gone,
    };
    let NotReady { reason, message, since } = NotReady::of(worker.status, worker.warning);
    types::Worker {
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

/// List the workers of the pool, sorted by name.
#[utoipa::path(get, path = "/workers", tag = "workers", operation_id = "list_workers", responses(
    (status = 200, description = "All workers", body = List<types::Worker>)))]
pub(crate) async fn list(State(pool): State<Pool>) -> Result<Json<List<types::Worker>>, ApiError> {
    Ok(whole(pool.workers().await?.into_iter().map(shown).collect()))
}

/// Get the totals of the pool.
#[utoipa::path(get, path = "/workers/pool", tag = "workers", operation_id = "get_pool", responses(
    (status = 200, description = "The pool", body = Data<types::Pool>)))]
pub(crate) async fn pool(State(pool): State<Pool>) -> Result<Json<Data<types::Pool>>, ApiError> {
    let PoolView { usage, queue_depth } = pool.view().await?;
    let PoolUsage { capacity, busy, idle, draining, not_ready } = usage;
    Ok(data(types::Pool { capacity, busy, idle, draining, not_ready, queue_depth }))
}

/// Get one worker.
#[utoipa::path(get, path = "/workers/{worker_id}", tag = "workers", operation_id = "get_worker",
    params(types::WorkerPath), responses(
    (status = 200, description = "The worker", body = Data<types::Worker>),
    (status = 404, description = "There is no such worker", body = ErrorBody)))]
pub(crate) async fn get(
    State(pool): State<Pool>,
    WorkerPath(name): WorkerPath,
) -> Result<Json<Data<types::Worker>>, ApiError> {
    Ok(data(shown(pool.worker(&name).await?)))
}

/// Drain a worker.
///
/// A draining worker takes no new task, and its running tasks go on; `{"drain": false}` ends the draining. The setting
/// survives restarts.
#[utoipa::path(post, path = "/workers/{worker_id}/drain", tag = "workers", operation_id = "drain_worker",
    request_body = Option<DrainBody>, params(types::WorkerPath),
    responses(
    (status = 200, description = "The worker as it stands now", body = Data<types::Worker>),
    (status = 404, description = "There is no such worker", body = ErrorBody)))]
pub(crate) async fn drain(
    State(pool): State<Pool>,
    WorkerPath(name): WorkerPath,
    Idempotency(key): Idempotency,
    body: Option<JsonBody<Option<DrainBody>>>,
) -> Result<Response, ApiError> {
    let drain = body.and_then(|body| body.body).is_none_or(|body| body.drain);
    let (worker, asked) = pool.set_draining(&name, drain, key).await?;
    Ok((replayed(asked), data(shown(worker))).into_response())
}
