//! Accepting and cancelling of jobs: stored first, told afterwards.

use rdev_domain::{IdempotencyKey, Job, JobId, Result, Target, Timestamp};
use rdev_ports::{Enqueued, NewJob, Occurrence, TaskQueue};

use crate::Live;
use crate::run::retry::for_a_caller;

/// Stores a command, and rings for it; gives the first one where the idempotency key was used before. Where the store's
/// answer is lost it is asked again under the same id: a caller who was told to come again would have it run twice.
pub async fn accept(
    queue: &dyn TaskQueue,
    live: &Live,
    job: Job,
    idempotency: Option<IdempotencyKey>,
) -> Result<(Job, Occurrence)> {
    let concurrency_key = job.spec.concurrency_key();
    let new = NewJob { job: job.clone(), concurrency_key, idempotency };
    match for_a_caller(|| queue.enqueue(new.clone())).await? {
        Enqueued::New(entry) => {
            live.publish(entry);
            live.work_came();
            Ok((job, Occurrence::First))
        }
        Enqueued::Existing(job) => Ok((*job, Occurrence::Repeated)),
    }
}

/// Asks for a command's end, and tells its worker if that is in this process; `None` for no such command.
pub async fn cancel(
    queue: &dyn TaskQueue,
    live: &Live,
    (target, id): (&Target, &JobId),
    idempotency: Option<&IdempotencyKey>,
    now: Timestamp,
) -> Result<Option<(Job, Occurrence)>> {
    let Some(cancel) = queue.request_cancel(target, id, idempotency, now).await? else { return Ok(None) };
    if let Some(entry) = cancel.entry {
        live.publish(entry);
    }
    // Also of a request that came before: whoever answered it may have died before it told the worker.
    if cancel.job.cancel_requested {
        live.cancel(id);
    }
    Ok(Some((cancel.job, cancel.asked)))
}
