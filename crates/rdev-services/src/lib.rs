//! Use cases over the ports: accepting commands, running them, reading their events.
//!
//! Services are concrete structs that clone cheaply. They know the runner's frames, and neither HTTP nor
//! SQL nor Kubernetes.

mod agent;
mod attach;
mod collect;
mod commands;
mod endings;
mod events;
mod execution;
mod executor;
mod intake;
mod invocation;
mod journal_gc;
mod journal_sweep;
mod live;
mod log_reader;
mod periodic;
mod pool;
mod projects;
mod pulse;
mod refusal;
mod replica_sync;
mod retention;
mod retry;
mod runner;
mod tail;
mod tasks;
mod waking;
mod worker;

pub use commands::{Commands, SubmitCommand};
pub use events::{Begin, Events, ProjectLogReader, Subscription};
pub use journal_sweep::Journals;
pub use live::Live;
pub use log_reader::{LogReader, Next};
pub use periodic::{Periodic, PeriodicJob};
pub use pool::{Pool, PoolUsage, WorkerView};
pub use projects::Projects;
pub use pulse::Pulse;
pub use replica_sync::ReplicaSync;
pub use retention::{Prune, RetentionLimits};
pub use tasks::{ArtefactFile, BlockedBy, SubmitTask, TaskPorts, Tasks, Waiting};
pub use worker::{Worker, WorkerConfig, WorkerPorts};
