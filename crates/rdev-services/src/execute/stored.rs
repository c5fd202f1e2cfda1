//! The check of a job once it is stored, against the deletion of its project.

use rdev_domain::{Error, Job, Result};
use rdev_engine::Submitter;
use rdev_ports::{Clock, Occurrence};

/// Checks again, by `check_open`, that the project of a job takes work: its deletion may have begun while the job was being
/// stored, and ends only jobs that were stored before the deletion looked. A refused job is cancelled. A job stays where
/// the check cannot be made; a repeated request stored nothing, and is not checked.
///
/// # Errors
/// `NotFound` and `Conflict` of the check; those of the cancellation.
pub(super) async fn check_stored(
    submitter: &Submitter,
    clock: &dyn Clock,
    (job, occurrence): (&Job, Occurrence),
    check_open: impl Future<Output = Result<()>>,
) -> Result<()> {
    if occurrence == Occurrence::First
        && let Err(refusal @ (Error::NotFound { .. } | Error::Conflict { .. })) = check_open.await
    {
        submitter.cancel((&job.target(), &job.id), None, clock.now()).await?;
        return Err(refusal);
    }
    Ok(())
}
