//! Operations: their steps as the engine stores them, and as services read them.

use async_trait::async_trait;
use rdev_domain::{
    Entry, IdempotencyKey, Job, JobId, OperationRequest, OperationStep, ProjectId, Result, Seq, StepEvent,
    StepName, Target, Timestamp,
};

use crate::{Fence, StepReport};

/// Steps of operations, as the engine stores them. An operation is a job, which [`TaskLeases`](crate::TaskLeases) claims,
/// starts and ends.
///
/// Every method is one transaction. Where the answer to a call was lost, the caller may repeat the call with the same
/// arguments, the time included: nothing is stored twice, and the first answer comes back.
#[async_trait]
pub trait OperationSteps: Send + Sync {
    /// Stores the steps of an operation as pending, numbered from 1, unless it has steps already. Returns its steps in the
    /// order of their numbers.
    ///
    /// # Errors
    /// `LeaseLost` when the fence is not the job's latest claim, or the job has ended.
    async fn plan(&self, fence: &Fence, names: &[StepName]) -> Result<Vec<OperationStep>>;

    /// Stores the state that a step reaches by an event, with an entry numbered `seq`, which must follow the last stored
    /// number. Returns the step and the entry.
    ///
    /// # Errors
    /// `LeaseLost` when the fence is not the job's latest claim, the job does not run, or `seq` does not follow the last
    /// stored number. `Internal` when the event cannot happen in the step's state, or there is no such step.
    async fn advance(
        &self,
        fence: &Fence,
        number: u32,
        event: StepEvent,
        seq: Seq,
        now: Timestamp,
    ) -> Result<(OperationStep, Entry)>;
}

/// Operations, as services read them. They are accepted, cancelled and reopened by [`TaskQueue`](crate::TaskQueue).
#[async_trait]
pub trait Operations: Send + Sync {
    /// Returns the steps of these operations, each with the id of its operation, in the order of ids and numbers.
    async fn steps(&self, ids: &[JobId]) -> Result<Vec<(JobId, OperationStep)>>;

    /// Returns the operation that a request has begun before: the one that was accepted under this idempotency key, else
    /// the one of the project that has not ended. Where that one has the same request, the key leads to the operation
    /// from then on, also after its end.
    ///
    /// # Errors
    /// `Conflict` with `IdempotencyKeyReused` when the key was used for another request.
    async fn earlier(
        &self,
        request: &OperationRequest,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<Job>>;
}

/// Everything that the store has of a project, as its deletion removes it.
#[async_trait]
pub trait ProjectRecords: Send + Sync {
    /// Returns up to `limit` commands and tasks of a project that have not ended, with their targets. Operations are not
    /// among them.
    async fn unfinished_of(&self, project: &ProjectId, limit: u32) -> Result<Vec<(Target, JobId)>>;

    /// Removes a part of what is stored of a project: its commands and tasks that have ended, with their entries, files
    /// and idempotency keys. Operations stay. A reader of a removed log is told, and the names of removed streams stay
    /// taken for [`STREAM_NAME_LIFETIME`](crate::STREAM_NAME_LIFETIME). A step is small; `more` of the report tells
    /// whether another one is needed. A job whose end a follower of the log has not read stays until the follower has,
    /// as in [`Retention`](crate::Retention): a step that finds only such jobs removes nothing and reports more.
    async fn remove_records(&self, project: &ProjectId, now: Timestamp) -> Result<StepReport>;
}
