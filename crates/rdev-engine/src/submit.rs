//! Submission, cancellation and reopening of jobs: stored first, announced afterwards.

use std::sync::Arc;

use rdev_domain::{EntryBody, IdempotencyKey, Job, JobId, Result, Target, Timestamp};
use rdev_ports::{Enqueued, Occurrence, Reopened, TaskQueue};

use crate::run::job_log;
use crate::run::retry::for_a_caller;
use crate::{TailCache, Wakeups};

/// Stores what callers ask of jobs, and wakes whoever waits for it.
#[derive(Clone)]
pub struct Submitter {
    queue: Arc<dyn TaskQueue>,
    tails: TailCache,
    wakeups: Wakeups,
}

impl Submitter {
    /// Wires the submitter.
    pub fn new(queue: Arc<dyn TaskQueue>, tails: TailCache, wakeups: Wakeups) -> Self {
        Self { queue, tails, wakeups }
    }

    /// Stores a new job and announces the job to the workers; returns the first job where the idempotency key was used
    /// before. A store whose answer is lost is asked again for some seconds under the same id, so that a caller who
    /// repeats the request without an idempotency key does not have the job run twice.
    ///
    /// # Errors
    /// `Conflict` when the stream's name is taken, or the idempotency key was used for another request; `Unavailable`
    /// when the store stays away.
    pub async fn submit(&self, job: Job, idempotency: Option<IdempotencyKey>) -> Result<(Job, Occurrence)> {
        let accepted = match for_a_caller(|| self.queue.enqueue(&job, idempotency.as_ref())).await? {
            Enqueued::New(entry) => {
                self.tails.publish(entry);
                self.wakeups.notify_job(&job.target());
                (job, Occurrence::First)
            }
            Enqueued::Existing(job) => (*job, Occurrence::Repeated),
        };
        // A worker prepares the job meanwhile.
        for_a_caller(|| self.queue.settled()).await?;
        Ok(accepted)
    }

    /// Requests the cancellation of a job, and announces the request to the job's worker; `None` when the target has no
    /// such job.
    ///
    /// # Errors
    /// `Conflict` when the idempotency key was used for another request.
    pub async fn cancel(
        &self,
        (target, id): (&Target, &JobId),
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<(Job, Occurrence)>> {
        let cancel = self.queue.request_cancel(target, id, idempotency, now).await?;
        let Some(cancel) = cancel else { return Ok(None) };
        if let Some(entry) = cancel.entry {
            if let EntryBody::Complete(outcome) = &entry.body {
                // It has never begun, so no worker logs its end.
                job_log::ended(&cancel.job, outcome);
            }
            self.tails.publish(entry);
        }
        // A repeated request, too: the process that stored the first one may have died before its announcement.
        if cancel.job.cancel_requested {
            self.wakeups.cancel(id);
        }
        Ok(Some((cancel.job, cancel.asked)))
    }

    /// Reopens an ended task or operation for one more round of attempts; `None` when the target has no such job.
    ///
    /// # Errors
    /// `Conflict` when the job has not ended, or cannot be retried, and when the idempotency key was used for another request.
    pub async fn reopen(
        &self,
        (target, id): (&Target, &JobId),
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<(Job, Occurrence)>> {
        Ok(match self.queue.reopen(target, id, idempotency, now).await? {
            Some(Reopened::New(task, entry)) => {
                self.tails.publish(entry);
                self.wakeups.notify_work();
                Some((*task, Occurrence::First))
            }
            Some(Reopened::Existing(task)) => Some((*task, Occurrence::Repeated)),
            None => None,
        })
    }
}
