//! Decision for a claimed job: asks the pods and the pool, and can store nothing.

use std::sync::Arc;
use std::time::Duration;

use rdev_domain::{Error, Job, JobState, Outcome, Reason, Result, Target, Timestamp};
use rdev_ports::{Claim, Clock, Pod, PodRef, Pods, PoolQueue, Reach, Readiness, Slot};

use super::disruption::{StartedIn, cause_of_loss, unreached_max};
use super::outcome::{failed, never_started};
use super::retry::until_available;
use super::slots::FreeSlots;

/// Decision for a claimed job.
pub(crate) enum Decision {
    /// Start the job in this pod, and in this slot of the pool; or attach to the job where it was started.
    Run(Pod, Option<Slot>),
    /// Start the task in the first of these slots that no other task has occupied by then.
    RunInPool(FreeSlots),
    /// End the job: nothing of it can run any more.
    End(Outcome),
    /// Release the claim for a while: the job has waited for its pod since then.
    Postpone(Timestamp),
}

/// Decides what becomes of claimed jobs.
pub(crate) struct Decider<'a> {
    pub(crate) pods: &'a Arc<dyn Pods>,
    pub(crate) pool: &'a dyn PoolQueue,
    pub(crate) clock: &'a dyn Clock,
    /// Longest wait of a job for its pod to be ready.
    pub(crate) pod_patience: Duration,
}

impl Decider<'_> {
    /// Returns the decision for a claimed job.
    ///
    /// # Errors
    /// When the runtime or the store fails for another reason than that it is not available.
    pub(crate) async fn decide(&self, claim: &Claim) -> Result<Decision> {
        let pod_ref = match (claim.job.target(), &claim.slot) {
            (Target::Project(id), _) => PodRef::Project(id),
            (Target::Pool, Some(slot)) => PodRef::Worker(slot.worker.clone()),
            (Target::Pool, None) => return self.decide_in_pool(claim).await,
            (Target::Operations, _) => {
                return Err(Error::Internal(anyhow::anyhow!("an operation has no pod: {}", claim.fence.id)));
            }
        };
        match (&claim.pod_uid, &claim.job.state) {
            (Some(uid), JobState::Running { started_at, .. }) => {
                self.decide_started(claim, StartedIn { pod_ref: &pod_ref, uid, at: *started_at }).await
            }
            _ => self.decide_pending(claim, &pod_ref).await,
        }
    }

    async fn decide_pending(&self, claim: &Claim, pod_ref: &PodRef) -> Result<Decision> {
        let job = &claim.job;
        let readiness = match self.pods.readiness(pod_ref).await {
            // No pod is known, so this one is not known to be ready.
            Err(Error::Unavailable { .. }) => return Ok(Decision::Postpone(waiting_since(job))),
            readiness => readiness?,
        };
        Ok(match readiness {
            Some(Readiness::Ready(pod)) => Decision::Run(pod, claim.slot.clone()),
            Some(Readiness::NotReady { .. }) if job.cancel_requested => Decision::End(never_started()),
            Some(Readiness::NotReady { cause, since }) => {
                let since = since.max(waiting_since(job));
                if self.clock.now().since(since) <= self.pod_patience {
                    Decision::Postpone(since)
                } else {
                    Decision::End(failed(cause.reason, cause.message))
                }
            }
            Some(Readiness::Unusable { cause }) => Decision::End(failed(cause.reason, cause.message)),
            None => Decision::End(failed(Reason::PodLost, format!("{pod_ref} is gone"))),
        })
    }

    /// A started job goes on in its pod, even where a newer pod has come beside it, or the pod is about to be deleted.
    async fn decide_started(&self, claim: &Claim, start: StartedIn<'_>) -> Result<Decision> {
        let failure = match self.pods.reach(start.pod_ref, start.uid).await {
            Ok(Reach::Reachable(pod)) => return Ok(Decision::Run(pod, claim.slot.clone())),
            Ok(Reach::Unreachable { cause, since }) => {
                let since = since.max(start.at);
                if self.clock.now().since(since) <= unreached_max(&claim.job) {
                    return Ok(Decision::Postpone(since));
                }
                cause
            }
            Ok(Reach::Lost(failure)) => cause_of_loss(&**self.pods, &claim.fence.id, start, failure).await?,
            Err(Error::Unavailable { .. }) => return Ok(Decision::Postpone(start.at)),
            Err(error) => return Err(error),
        };
        Ok(Decision::End(failed(failure.reason, failure.message)))
    }

    /// A task of the pool takes a free slot of a ready worker, and waits while there is none.
    async fn decide_in_pool(&self, claim: &Claim) -> Result<Decision> {
        if claim.job.cancel_requested {
            return Ok(Decision::End(never_started()));
        }
        let occupancy = until_available(&claim.fence.id, || self.pool.occupancy()).await?;
        let workers = match self.pods.workers().await {
            Err(Error::Unavailable { .. }) => Vec::new(),
            workers => workers?,
        };
        let slots = workers.iter().flat_map(|worker| occupancy.free_slots(worker)).collect();
        Ok(Decision::RunInPool(FreeSlots::new(self.pods, slots)))
    }
}

/// Returns the time since which a job that has not started waits for its pod.
pub(crate) fn waiting_since(job: &Job) -> Timestamp {
    job.schedule.run_after.map_or(job.created_at, |due| due.max(job.created_at))
}
