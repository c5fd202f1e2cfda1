//! The queue: jobs from their acceptance to their end. The table `jobs` has a row for each job that is kept, `queue` one for
//! each that has not ended.

pub(crate) mod accept;
pub(crate) mod backlog;
mod cancel;
pub(crate) mod claim;
mod end;
pub(crate) mod heads;
pub(crate) mod idempotency;
pub(crate) mod lease;
pub(crate) mod read;
mod reopen;
pub(crate) mod rows;
mod start;
pub(crate) mod virtual_time;

use async_trait::async_trait;
use rdev_domain::{IdempotencyKey, Job, JobId, Result, StreamId, Target, Timestamp};
use rdev_ports::{BacklogPosition, CancelRequested, Enqueued, JobFilter, Reopened, TaskQueue, Unfinished};

use crate::store::SqlStore;

#[async_trait]
impl TaskQueue for SqlStore {
    async fn enqueue(&self, job: &Job, idempotency: Option<&IdempotencyKey>) -> Result<Enqueued> {
        accept::enqueue(self, job, idempotency).await
    }

    async fn settled(&self) -> Result<()> {
        self.db.settled().await
    }

    async fn first_use(&self, key: &IdempotencyKey, now: Timestamp) -> Result<Timestamp> {
        accept::first_use(self, key, now).await
    }

    async fn request_cancel(
        &self,
        target: &Target,
        id: &JobId,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<CancelRequested>> {
        cancel::request_cancel(self, target, id, idempotency, now).await
    }

    async fn reopen(
        &self,
        target: &Target,
        id: &JobId,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<Reopened>> {
        reopen::reopen(self, (target, id), idempotency, now).await
    }

    async fn job(&self, target: &Target, id: &JobId) -> Result<Option<Job>> {
        read::job(self, target, id).await
    }

    async fn job_of_stream(&self, target: &Target, stream: &StreamId) -> Result<Option<Job>> {
        read::job_of_stream(self, target, stream).await
    }

    async fn jobs(
        &self,
        target: &Target,
        filter: &JobFilter,
        before: Option<&JobId>,
        limit: u32,
    ) -> Result<Vec<Job>> {
        read::jobs(self, target, filter, before, limit).await
    }

    async fn queue_position(&self, id: &JobId, now: Timestamp) -> Result<Option<BacklogPosition>> {
        read::queue_position(self, id, now).await
    }

    async fn unfinished(&self, ids: &[JobId]) -> Result<Vec<Unfinished>> {
        read::unfinished(self, ids).await
    }

    async fn check(&self) -> Result<()> {
        self.write_check.check(&self.db).await
    }
}
