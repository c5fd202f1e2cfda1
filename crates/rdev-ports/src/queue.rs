//! The queue as callers see it: accept a job, read it, cancel it, reopen it.

use async_trait::async_trait;
use rdev_domain::{
    BlockedBy, Entry, IdempotencyKey, Job, JobId, JobKind, JobStatus, ProjectId, Result, StreamId, Target,
    Timestamp,
};

use crate::Occurrence;

/// The queue of jobs, as callers use it. Workers use [`TaskLeases`](crate::TaskLeases).
///
/// Every method is one transaction: all of its changes are stored, or none. The log entries about a change are stored
/// in the transaction of the change.
///
/// A caller whose answer was lost may call `enqueue` again with the same arguments, the time included: the first call's
/// entry comes back, and nothing is stored twice. No method returns `LeaseLost`.
#[async_trait]
pub trait TaskQueue: Send + Sync {
    /// Stores a job as pending, with an entry of that status, under the concurrency key of its specification
    /// ([`JobSpec::concurrency_key`](rdev_domain::JobSpec::concurrency_key)). From the return on, the job survives the
    /// death of every process; that of the machine after [`TaskQueue::settled`], which the caller waits for before it
    /// answers anybody. Meanwhile the job may be claimed; its start waits for the same. Under an idempotency key that was
    /// used before nothing is stored, and the first job comes back. Of a project one operation at a time is accepted: while
    /// the same one has not ended, nothing is stored, and it comes back.
    ///
    /// # Errors
    /// `Conflict` with `StreamIdTaken` when the target has a stream of that name, or had one that retention removed
    /// less than [`STREAM_NAME_LIFETIME`](crate::STREAM_NAME_LIFETIME) ago, and with `IdempotencyKeyReused` when the
    /// key was used for another request. `OperationInProgress` when another operation of the project has not ended.
    async fn enqueue(&self, job: &Job, idempotency: Option<&IdempotencyKey>) -> Result<Enqueued>;

    /// Waits until every job that was stored before this call survives the death of the machine.
    async fn settled(&self) -> Result<()>;

    /// Returns the time of the first use of this idempotency key: `now` for a new key, which is remembered.
    ///
    /// # Errors
    /// `Conflict` with `IdempotencyKeyReused` when the key was used for another request.
    async fn first_use(&self, key: &IdempotencyKey, now: Timestamp) -> Result<Timestamp>;

    /// Requests the cancellation of a job. A job that no worker holds ends at once, unless it is an operation of which a
    /// step has begun: a worker takes that back first. For any other the request is
    /// stored, and the worker learns of it with its next start or renewal. A second request changes nothing; one under
    /// an idempotency key that was used before changes nothing even when the job has been reopened since. `None` when
    /// the target has no such job.
    ///
    /// # Errors
    /// `Conflict` with `IdempotencyKeyReused` when the key was used for another request.
    async fn request_cancel(
        &self,
        target: &Target,
        id: &JobId,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<CancelRequested>>;

    /// Requeues a task of the pool that has ended, for one more round of as many attempts as the first; or an operation
    /// that has ended without success, whose failed steps are made again, and whose stuck ones are taken back again. Its
    /// log stays whole: the complete entry reads as a former end from then on, followed by an entry without a number of
    /// its own. Under an idempotency key that was used before nothing changes. `None` when the target, the pool or the
    /// operations, has no such job.
    ///
    /// # Errors
    /// `Conflict` with `TaskNotEnded`, of an operation `OperationNotRetryable`, also when a later one of its project has
    /// completed, or `OperationInProgress` while another one of its project has not ended; with `IdempotencyKeyReused` when the key was used for another request.
    async fn reopen(
        &self,
        target: &Target,
        id: &JobId,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<Reopened>>;

    /// Returns one job of a target; `None` when the target has no such job.
    async fn job(&self, target: &Target, id: &JobId) -> Result<Option<Job>>;

    /// Returns the job whose events a stream of the target carries; `None` when there is no such stream.
    async fn job_of_stream(&self, target: &Target, stream: &StreamId) -> Result<Option<Job>>;

    /// Returns up to `limit` jobs of a target that match a filter and are older than `before`, newest first. Pages join
    /// under any filter: `before` is an id, and belongs to none.
    async fn jobs(
        &self,
        target: &Target,
        filter: &JobFilter,
        before: Option<&JobId>,
        limit: u32,
    ) -> Result<Vec<Job>>;

    /// Returns the position of a pending job in its queue; `None` when the job is not pending.
    async fn queue_position(&self, id: &JobId, now: Timestamp) -> Result<Option<BacklogPosition>>;

    /// Returns those of these jobs, of any target, that have not ended, in no order.
    async fn unfinished(&self, ids: &[JobId]) -> Result<Vec<Unfinished>>;

    /// Checks that the store can be written. A success may be up to 1 s old.
    ///
    /// # Errors
    /// `Unavailable` or `Internal` when the store cannot be written.
    async fn check(&self) -> Result<()>;
}

/// Answer of [`TaskQueue::enqueue`].
#[derive(Debug, Clone)]
pub enum Enqueued {
    /// The job is stored, by this call or by an earlier one whose answer was lost. The entry has the status `pending`.
    New(Entry),
    /// The same request was stored before, as this job, which has another id.
    Existing(Box<Job>),
}

/// Answer of [`TaskQueue::request_cancel`].
#[derive(Debug, Clone)]
pub struct CancelRequested {
    /// The job after the request.
    pub job: Job,
    /// The complete entry, when the job ended with this request.
    pub entry: Option<Entry>,
    /// First or repeated request under the idempotency key.
    pub asked: Occurrence,
}

/// Answer of [`TaskQueue::reopen`].
#[derive(Debug, Clone)]
pub enum Reopened {
    /// The task is pending again, by this call, which stored the entry.
    New(Box<Job>, Entry),
    /// The same request reopened the task before. The job is as it stands now.
    Existing(Box<Job>),
}

/// Conditions on the jobs of a list. The default matches every job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Accepted statuses; empty for any. `Running` also matches jobs that wait for an approval, a quota or a budget:
    /// the store has these as running.
    pub statuses: Vec<JobStatus>,
    /// Kind of the job; `None` for any.
    pub kind: Option<JobKind>,
    /// Project for which the job is done; `None` for any.
    pub project: Option<ProjectId>,
    /// Stream of the job; `None` for any.
    pub stream: Option<StreamId>,
    /// Least id; `None` for any. Ids sort by time.
    pub from: Option<JobId>,
}

impl JobFilter {
    /// Tells whether only jobs that have not ended can match.
    pub fn is_unfinished(&self) -> bool {
        !self.statuses.is_empty() && self.statuses.iter().all(|status| !status.is_end())
    }
}

/// Position of a pending job in its queue: that of the pool, or that of all commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogPosition {
    /// Number of pending jobs before this one.
    pub ahead: u64,
    /// Cause of the wait, as far as the queue knows: `RunAfter`; `ConcurrencyKey` of a task, `Workspace` of a command;
    /// `None` for causes outside of the queue.
    pub blocked_by: Option<BlockedBy>,
}

/// A job that is pending or running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Id of the job.
    pub id: JobId,
    /// Number of attempts that were started. All before the last have ended.
    pub attempt: u32,
}
