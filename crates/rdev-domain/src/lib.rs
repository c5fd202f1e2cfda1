//! Domain of rdev: ids, jobs and their states, events, errors.
//!
//! Nothing here is asynchronous, does I/O or reads the clock: the same input gives the same output. The
//! crate must not know HTTP, SQL, Kubernetes or the runner's frames.

mod agent;
mod artefact;
mod checkout;
mod error;
mod event;
mod git;
mod id;
mod job;
mod json;
mod kind;
mod operation;
mod outcome;
mod project;
mod queue;
mod scope;
mod target;
mod task;
mod text;
mod time;
mod validate;

pub use agent::{AgentBlock, AgentEvent, AgentProvider, AgentUsage, AgentVerdict};
pub use artefact::{Artefact, Content, SkipReason};
pub use error::{Conflict, Error, FieldError, Resource, Result, causes};
pub use event::{Chunk, Entry, EntryBody, LogView, Position, Retrying, Seq};
pub use git::{Arity, Follows, GitSubcommand, check_git_args, git_subcommand, git_subcommands, git_table};
pub use id::{IdError, JobId, JobIdPrefix, KeyId, ProjectId, StepName, StreamId, WorkerId, WorkerName};
pub use job::{
    AgentRequest, CommandRequest, GitRequest, Job, JobSpec, JobState, JobStatus, ShellRequest, WaitingFor,
};
pub use json::Json;
pub use kind::{CommandKind, JobKind};
pub use operation::{
    Made, NextAction, OnFailure, OperationEnd, OperationKind, OperationPlan, OperationRequest,
    OperationStatus, OperationStep, StepChange, StepError, StepErrorCode, StepEvent, StepState, StepStatus,
    next_action,
};
pub use outcome::{Ending, Failure, Outcome, Reason};
pub use project::{Condition, Project, ProjectStatus};
pub use queue::BlockedBy;
pub use scope::{Principal, Scope};
pub use target::{Lane, Target};
pub use task::{Schedule, TaskKind, TaskRequest, attempt_error};
pub use text::{beginning, shown};
pub use time::Timestamp;
pub use validate::{Limits, Validate};

/// An `Idempotency-Key` with the fingerprint of its first request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// API key of the request: two API keys never share an idempotency key.
    pub key: KeyId,
    /// Value of the header.
    pub value: String,
    /// SHA-256 of method, path and body: another request under the same value is a conflict.
    pub fingerprint: [u8; 32],
}
