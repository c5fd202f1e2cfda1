//! The queue in numbers.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use rdev_api_types as types;
use rdev_api_types::{Data, QueueStats, QueueWait};
use rdev_services::{Pool, QueueView};

use super::convert::task_type;
use crate::convert::{millis, status};
use crate::envelope::data;
use crate::error::ApiError;

/// Measures waiting times, given in ascending order; `None` without any.
fn queue_wait(ascending_us: &[i64]) -> Option<QueueWait> {
    let last = ascending_us.len().checked_sub(1)?;
    let at = |percent: usize| ascending_us[last * percent / 100].max(0).unsigned_abs() / 1000;
    Some(QueueWait { tasks: last + 1, p50: at(50), p95: at(95), max: at(100) })
}

/// Get the totals of the queue.
#[utoipa::path(get, path = "/queue/stats", tag = "queue", operation_id = "queue_stats", responses(
    (status = 200, description = "The queue in numbers", body = Data<QueueStats>)))]
pub(crate) async fn stats(State(pool): State<Pool>) -> Result<Json<Data<QueueStats>>, ApiError> {
    let QueueView { stats, oldest_waiting, usage } = pool.queue().await?;
    let (mut by_status, mut by_type) = (BTreeMap::new(), BTreeMap::<_, BTreeMap<_, u64>>::new());
    for (kind, of_status, count) in stats.counts {
        *by_status.entry(status(of_status)).or_default() += count;
        by_type.entry(task_type(kind)).or_default().insert(status(of_status), count);
    }
    let count = |status: types::Status| by_status.get(&status).copied().unwrap_or(0);
    Ok(data(QueueStats {
        dead: count(types::Status::Failed) + count(types::Status::TimedOut),
        running: count(types::Status::Running),
        oldest_waiting_ms: oldest_waiting.map(millis),
        workers_busy: usage.busy,
        workers_free: usage.idle,
        wait_ms: queue_wait(&stats.waits_us),
        by_status,
        by_type,
    }))
}
