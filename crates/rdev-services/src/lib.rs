//! Use cases over the ports: accepting commands and tasks, reading their events, the pool, projects.
//!
//! Services are concrete structs that clone cheaply. They know neither HTTP nor SQL nor Kubernetes, nor the
//! runner's frames: whatever runs a job is in `rdev-engine`.

mod execute;
mod operate;
mod projects;

pub use execute::commands::{Commands, SubmitCommand};
pub use execute::events::{Begin, Events, ProjectLogReader, Subscription};
pub use execute::pool::{Pool, PoolUsage, WorkerView};
pub use execute::tasks::{ArtefactFile, BlockedBy, SubmitTask, TaskPorts, Tasks, Waiting};
pub use operate::retention::{Prune, RetentionLimits};
pub use projects::registry::Projects;
