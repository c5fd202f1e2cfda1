//! Giving up of a runner that does not answer.

use std::time::Duration;

use rdev_domain::{Ending, Error, Failure, Job, Reason, Result};
use rdev_ports::{Disruption, Pods, Reach};

use super::disruption::{StartedIn, UNREACHED_MAX, cause_of_loss, disruption, unreached_max};

/// Time after which a task that may be retried is taken from a worker of the pool that has not answered its start.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(60);

/// Returns the failure of a task that is retried elsewhere, as its worker has never answered the start. A task that may
/// run but once stays: it is not known whether the task has begun there.
pub(crate) fn give_up_worker(job: &Job, attempt: u32, unreached: Duration) -> Option<Failure> {
    let message = format!("its worker did not say a word for {} s", FIRST_ANSWER_MAX.as_secs());
    let failure = Failure::new(Reason::RunnerLost, message);
    let may_go = job.spec.is_task() && job.schedule.allows_retry(attempt, Ending::Failed(failure.reason));
    (may_go && unreached >= FIRST_ANSWER_MAX).then_some(failure)
}

/// Returns the failure of a job whose pod is lost, or was not reached for too long.
pub(crate) async fn give_up_pod(
    pods: &dyn Pods,
    job: &Job,
    start: StartedIn<'_>,
    unreached: Duration,
) -> Result<Option<Failure>> {
    // Asked first: the runtime uses what this look has found for the next question.
    match disruption(pods, &job.id, start).await? {
        Disruption::Restarted(failure) if unreached > UNREACHED_MAX => return Ok(Some(failure)),
        Disruption::Lost(_) | Disruption::Restarted(_) | Disruption::Unknown | Disruption::None => {}
    }
    let is_given_up = unreached > unreached_max(job);
    match pods.reach(start.pod_ref, start.uid).await {
        Ok(Reach::Lost(failure)) => cause_of_loss(pods, &job.id, start, failure).await.map(Some),
        Ok(Reach::Unreachable { cause, .. }) if is_given_up => Ok(Some(cause)),
        Ok(Reach::Reachable(_)) | Err(Error::Unavailable { .. }) if is_given_up => {
            let message = "the runner was not reached again, its end is unknown";
            Ok(Some(Failure::new(Reason::RunnerLost, message)))
        }
        Ok(Reach::Reachable(_) | Reach::Unreachable { .. }) | Err(Error::Unavailable { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
