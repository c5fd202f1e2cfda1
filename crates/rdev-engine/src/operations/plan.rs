//! Plans: the steps of operations, as they are made and taken back.

use std::sync::Arc;

use async_trait::async_trait;
use rdev_domain::{JobId, Made, OperationPlan, OperationRequest, ProjectId, Result};

/// Step of an operation, as it is made and taken back. Both calls are safe to repeat after an unknown outcome.
///
/// Each call takes 5 min at most, and is then abandoned as one that failed by `Unavailable`.
#[async_trait]
pub trait Step: Send + Sync {
    /// Makes the step. What is there already is read back and compared: it is the step's own, or in the way.
    ///
    /// # Errors
    /// `Unavailable` for a failure that may pass: the step is tried again. Any other error is for good.
    async fn ensure(&self, context: &StepContext) -> Result<Ensured>;

    /// Takes back what the step made. What is gone already is done. `made` is empty where it is not known whether the
    /// step made anything.
    ///
    /// # Errors
    /// As [`ensure`](Self::ensure).
    async fn undo(&self, context: &StepContext, made: &Made) -> Result<()>;
}

/// End of a call to make a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ensured {
    /// The step is made. Has the ids of what is there then, never a secret.
    Done(Made),
    /// A part of the step is made, and a call that follows at once makes more. Each part has all attempts.
    More,
}

/// Operation to which a step belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepContext {
    /// Id of the operation.
    pub operation: JobId,
    /// Project of the operation.
    pub project: ProjectId,
}

/// Steps of an operation, in order, and its rules.
#[derive(Clone)]
pub struct Plan {
    /// Each step with its name, unique in the operation, 1 to 40 of a-z, 0-9 and `_`.
    pub steps: Vec<(&'static str, Arc<dyn Step>)>,
    /// Rules by which the next action is decided.
    pub rules: OperationPlan,
}

/// Source of the plans of all operations.
pub trait Plans: Send + Sync {
    /// Returns the plan of an operation. It is the same for the same request.
    ///
    /// # Errors
    /// When this process cannot do such an operation.
    fn plan(&self, request: &OperationRequest) -> Result<Plan>;
}
