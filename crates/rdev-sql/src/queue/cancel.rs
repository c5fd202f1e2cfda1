//! Jobs are cancelled: at once, or by the worker that holds them.

use rdev_domain::{Ending, IdempotencyKey, JobId, JobState, Outcome, Result, Seq, Target, Timestamp};
use rdev_ports::{CancelRequested, Occurrence};

use super::end::end;
use super::heads::lock_key_of;
use super::idempotency;
use super::rows::{leased, locked};
use crate::db::{Commit, execute, write};
use crate::operations;
use crate::store::SqlStore;

pub(super) async fn request_cancel(
    store: &SqlStore,
    target: &Target,
    id: &JobId,
    idempotency: Option<&IdempotencyKey>,
    now: Timestamp,
) -> Result<Option<CancelRequested>> {
    write!(&store.db, Commit::Visible, |tx| {
        let key = lock_key_of(&mut tx, id.as_str()).await?;
        let Some(row) = locked(&mut tx, id.as_str()).await? else {
            return Ok(None);
        };
        let mut job = row.job()?;
        let seq = Seq(row.last_seq as u64).next();
        if job.target() != *target {
            return Ok(None);
        }
        let asked = idempotency::asked(&mut tx, idempotency, Some(id), now).await?;
        if asked == Occurrence::Repeated || job.state.is_ended() || job.cancel_requested {
            return Ok(Some(CancelRequested { job, entry: None, asked }));
        }
        execute!(&mut tx, "UPDATE queue SET cancel_requested = TRUE WHERE id = $1", id.as_str())?;
        job.cancel_requested = true;
        let is_leased = leased(&mut tx, id, now).await?;
        // Of an operation that is retried something may be there already, which its worker takes back.
        let has_begun = job.operation().is_some() && operations::has_begun(&mut tx, id).await?;
        if job.state != JobState::Pending || is_leased || has_begun {
            return Ok(Some(CancelRequested { job, entry: None, asked }));
        }
        let outcome = Outcome::without_process(Ending::Cancelled, "cancelled before it started");
        let (job, entry) = end(&mut tx, job, key.as_deref(), seq, outcome, now).await?;
        Ok(Some(CancelRequested { job, entry: Some(entry), asked }))
    })
}
