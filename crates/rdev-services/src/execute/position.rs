//! Queue position of a pending job, with the cause for which the job waits.

use rdev_domain::{BlockedBy, Job, JobState, Result, Target};
use rdev_ports::{PodRef, Readiness};

use super::ports::JobPorts;

/// Position of a pending job in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuePosition {
    /// Position from 1, which is the next job to run.
    pub position: u64,
    /// Cause for which the job waits.
    pub blocked_by: BlockedBy,
}

/// Returns the position of a job of a project or of the pool; `None` if the job is not pending.
pub(super) async fn queue_position(ports: &JobPorts, job: &Job) -> Result<Option<QueuePosition>> {
    if job.state != JobState::Pending {
        return Ok(None);
    }
    let Some(backlog) = ports.queue.queue_position(&job.id, ports.clock.now()).await? else {
        return Ok(None);
    };
    let blocked_by = match (backlog.blocked_by, job.target()) {
        (Some(cause), _) => cause,
        (None, Target::Pool) => blocked_in_pool(ports).await?,
        (None, Target::Operations) => BlockedBy::WorkerConcurrency,
        (None, Target::Project(id)) => match ports.pods.readiness(&PodRef::Project(id)).await? {
            Some(Readiness::Ready(_)) => BlockedBy::WorkerConcurrency,
            _ => BlockedBy::PodNotReady,
        },
    };
    Ok(Some(QueuePosition { position: backlog.ahead + 1, blocked_by }))
}

async fn blocked_in_pool(ports: &JobPorts) -> Result<BlockedBy> {
    let occupancy = ports.pool.occupancy().await?;
    let workers = ports.pods.workers().await?;
    let is_any_ready = workers.iter().any(|worker| occupancy.takes_tasks(worker));
    Ok(if is_any_ready { BlockedBy::PoolFull } else { BlockedBy::NoReadyWorker })
}
