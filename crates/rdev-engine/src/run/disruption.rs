//! Disruptions of a pod since a job was started in it.

use std::time::Duration;

use rdev_domain::{Failure, Job, JobId, Result, Timestamp};
use rdev_ports::{Disruption, PodRef, Pods};

use super::retry::until_available;

/// Time beyond a job's timeout after which the job is given up if its runner was not reached; for a job that was killed
/// with its container, the whole time.
pub(crate) const UNREACHED_MAX: Duration = Duration::from_secs(300);

/// Returns the time without an answer of its runner after which a job is given up.
pub(crate) fn unreached_max(job: &Job) -> Duration {
    job.timeout.saturating_add(UNREACHED_MAX)
}

/// Pod in which a job was started, and the time of the start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StartedIn<'a> {
    pub(crate) pod_ref: &'a PodRef,
    pub(crate) uid: &'a str,
    pub(crate) at: Timestamp,
}

/// Returns the disruption of the pod since the start. Waits while the runtime is not available.
pub(crate) async fn disruption(pods: &dyn Pods, job: &JobId, start: StartedIn<'_>) -> Result<Disruption> {
    until_available(job, || pods.disruption(start.pod_ref, start.uid, start.at)).await
}

/// Returns the cause for which a job was lost with its pod; `failure` if no other cause is known.
pub(crate) async fn cause_of_loss(
    pods: &dyn Pods,
    job: &JobId,
    start: StartedIn<'_>,
    failure: Failure,
) -> Result<Failure> {
    Ok(match disruption(pods, job, start).await? {
        Disruption::Lost(failure) | Disruption::Restarted(failure) => failure,
        Disruption::Unknown | Disruption::None => failure,
    })
}
