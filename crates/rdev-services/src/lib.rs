//! Use cases over the ports: accepting commands, running them, reading their events.
//!
//! Services are concrete structs that clone cheaply. They know the runner's frames, and neither HTTP nor
//! SQL nor Kubernetes.

mod agent;
mod chores;
mod collect;
mod commands;
mod endings;
mod events;
mod execution;
mod executor;
mod follow;
mod frames;
mod invocation;
mod janitor;
mod journals;
mod live;
mod patience;
mod pool;
mod projects;
mod pulse;
mod refusal;
mod replicas;
mod retention;
mod runner;
mod supervise;
mod tail;
mod tasks;
mod waking;
mod worker;

pub use chores::{Chore, Chores};
pub use commands::{Commands, Submit};
pub use events::{Begin, Events, Following, ProjectFollow};
pub use follow::{Follow, Next};
pub use journals::Journals;
pub use live::Live;
pub use pool::{Pool, Seats, WorkerView};
pub use projects::Projects;
pub use pulse::Pulse;
pub use replicas::Replicas;
pub use retention::{Keeping, Prune};
pub use tasks::{ArtefactFile, BlockedBy, SubmitWork, TaskPorts, Tasks, Waiting};
pub use worker::{Worker, WorkerConfig, WorkerPorts};
