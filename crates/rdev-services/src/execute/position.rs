//! Queue position of a pending job, with the cause for which the job waits.

use rdev_domain::{BlockedBy, Job, JobState, Result, Target};
use rdev_ports::{PodRef, Readiness};

use super::ports::JobPorts;

/// Position of a pending job in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuePosition {
    /// Position from 1, which is the next job to run.
    pub position: u64,
    /// Cause for which the job waits; `None` for a job that is about to start, since a seat or a slot is free.
    pub blocked_by: Option<BlockedBy>,
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
        (Some(cause), _) => Some(cause),
        (None, Target::Pool) => blocked_in_pool(ports).await?,
        (None, Target::Operations) => blocked_by_seats(ports.seats.free_for_operations()),
        (None, Target::Project(id)) => match ports.pods.readiness(&PodRef::Project(id)).await? {
            Some(Readiness::Ready(_)) => blocked_by_seats(ports.seats.free_for_commands()),
            _ => Some(BlockedBy::PodNotReady),
        },
    };
    Ok(Some(QueuePosition { position: backlog.ahead + 1, blocked_by }))
}

/// Another process with a free seat claims the job at once, so the seats of this one tell.
fn blocked_by_seats(free: u32) -> Option<BlockedBy> {
    (free == 0).then_some(BlockedBy::WorkerConcurrency)
}

async fn blocked_in_pool(ports: &JobPorts) -> Result<Option<BlockedBy>> {
    let occupancy = ports.pool.occupancy().await?;
    let workers = ports.pods.workers().await?;
    if !workers.iter().any(|worker| occupancy.takes_tasks(worker)) {
        return Ok(Some(BlockedBy::NoReadyWorker));
    }
    let has_free_slot = workers.iter().any(|worker| occupancy.free_slots(worker).next().is_some());
    Ok((!has_free_slot).then_some(BlockedBy::PoolFull))
}
