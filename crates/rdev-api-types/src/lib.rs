//! The wire of rdev's HTTP API: bodies of requests, answers and events, as serde types.
//!
//! The server writes these types and clients read them, so a field, a closed set or a limit is written down once.
//! With the feature `schema` each type describes itself for `openapi.json`.
//!
//! # Closed sets
//!
//! Statuses, types, reasons and names of events are enums. A client must survive a newer server, so reading an answer
//! never fails for a value that these types do not know: the value is read as `Unknown`. The server never writes
//! `Unknown`, and the document does not list it. In a request the opposite holds: [`AsWritten`] keeps an unknown value
//! as text, so the server can report it together with every other field that is not valid.
//!
//! Answers ignore unknown fields for the same reason; bodies of requests refuse them.

#[macro_use]
mod set;
#[macro_use]
mod text;

mod agent;
mod artefacts;
mod commands;
mod envelope;
mod error_code;
mod events;
mod git;
mod health;
mod item;
mod links;
mod number;
mod operations;
mod params;
mod progress;
mod projects;
mod shared;
#[cfg(feature = "schema")]
mod streams;
mod tasks;
mod tickets;
mod workers;

pub use agent::{AgentBlock, AgentEvent, AgentEventType, AgentProvider, AgentUsage, Dollars, RawJson};
pub use artefacts::{Artefact, ArtefactProblem, ArtefactSummary};
pub use commands::{Accepted, ClaudeBody, Command, CommandPage, CommandType, ShellBody};
pub use envelope::{Data, Detail, DetailJob, Details, ErrorBody, ErrorInfo, List, ListMeta, Meta};
pub use error_code::ErrorCode;
pub use events::{
    CompleteEvent, Event, EventJob, EventName, GapEvent, GapReason, HeartbeatEvent, JobType, LinesEvent,
    LinesPart, OutputEvent, OutputStream, ProjectGapEvent, StatusEvent, StepEvent,
};
pub use git::{GIT_SUBCOMMANDS, GitBody};
pub use health::{ComponentStatus, Components, Health, ReadinessAnswer, ReadinessPart, ReadinessQuery};
pub use item::StreamItem;
pub use links::Links;
pub use operations::{
    AcceptedOperation, CreateProjectBody, Later, OnFailure, Operation, OperationPage, OperationStatus,
    OperationStep, OperationType, StepError, StepErrorCode, StepState,
};
pub use params::{
    AgentQuery, ArtefactPath, CommandPath, IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED, IdempotencyKeyHeader,
    LAST_EVENT_ID, LastEventIdHeader, OperationPath, ProjectEventsQuery, ProjectPath, RATE_LIMIT,
    RATE_LIMIT_POLICY, ReplyQuery, StreamPath, SubscriptionQuery, TaskPath, WaitQuery, WorkerPath,
};
pub use progress::{BlockedBy, Progress, QueuePosition, Reason, Status};
pub use projects::{Project, ProjectPage, ProjectStatus};
pub use set::{AsWritten, UnknownValue};
pub use shared::{
    PAGE_DEFAULT, PAGE_MAX, StreamName, TimeoutSeconds, Timestamp, VariableName, VariableValue,
};
#[cfg(feature = "schema")]
pub use streams::StreamEvent;
pub use tasks::{QueueStats, QueueWait, Step, Task, TaskBody, TaskPage, TaskStreamQuery, TaskType};
pub use tickets::{Ticket, TicketBody};
pub use workers::{DrainBody, Pool, Worker, WorkerStatus};
